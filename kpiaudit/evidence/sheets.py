"""Records behind a finding, as text that a person can read or open elsewhere."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any

from kpiaudit.outputs.clean import visible
from kpiaudit.outputs.csv import cell

if TYPE_CHECKING:
    import polars as pl

_HELPERS = {"at_ms", "day", "hour"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def readable(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Turn collected canonical rows into plain values, in a stable order.

    Instants come out as ISO 8601 in UTC, columns without any value are left out, and
    the rows are ordered by time and then by all their values.
    """
    empty = {c.name for c in frame.get_columns() if c.null_count() == len(c)}
    ordered = frame.sort(frame.columns, nulls_last=True)
    if "at_ms" in frame.columns:
        ordered = ordered.sort("at_ms", nulls_last=True, maintain_order=True)
    names = [n for n in frame.columns if n not in _HELPERS | empty]
    return [
        {name: _plain(name, value) for name, value in zip(names, row, strict=True)}
        for row in ordered.select(names).iter_rows()
    ]


def _plain(name: str, value: Any) -> Any:
    if value is not None and (name == "at" or name.endswith("_at")):
        return (_EPOCH + timedelta(milliseconds=int(value))).isoformat()
    # JSON has no infinity; no export means one.
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def whole(rows: list[dict[str, Any]], *, finding_id: str, limit: int) -> str:
    """Render one JSON object: the finding, how many records it has, the first ones.

    Args:
        rows: All of them, from `readable`.
        finding_id: Id of the finding.
        limit: How many to print.
    """
    told = {"finding": finding_id, "total": len(rows), "records": rows[:limit]}
    return json.dumps(told, ensure_ascii=True, indent=2) + "\n"


def render(rows: list[dict[str, Any]], *, form: str) -> str:
    """Render rows as `text`, `csv` or `ndjson`; what they hold comes out harmless.

    Args:
        rows: From `readable`.
        form: The format.

    Raises:
        ValueError: There is no such format.
    """
    if form == "ndjson":
        return "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows)
    names = list(rows[0]) if rows else []
    if form == "csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([cell(row[name]) for name in names] for row in rows)
        return buffer.getvalue()
    if form == "text":
        return _columns(names, rows)
    raise ValueError(f"no such format: {form}")


def _columns(names: list[str], rows: list[dict[str, Any]]) -> str:
    table = [names, *([_text(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(names))]
    lines = (
        "  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True))
        for line in table
    )
    return "".join(line.rstrip() + "\n" for line in lines)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return visible(f"{value:g}" if isinstance(value, float) else str(value))
