"""Rows that were delivered twice, found by hashes and left out where there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from kpiaudit.tables import schema
from kpiaudit.tables.copies import duplicate_ids, duplicate_rows, names_of_row
from kpiaudit.tables.engine import collect, counted

if TYPE_CHECKING:
    from kpiaudit.tables.dataset import Frame
    from kpiaudit.tables.engines.backend import Backend

Note = tuple[str, int, str]


def without_copies(
    table: str, frame: Frame, names: list[str], rows: int, engine: Backend
) -> tuple[Frame, int, list[Note]]:
    """Leave out rows that equal another in every column.

    Where all names of rows differ, which hashes tell in one pass over few columns, no
    row can equal another. Only otherwise are all columns compared, once, and the rest
    is kept on disk.

    Args:
        table: Which.
        frame: Its rows, with all columns.
        names: These columns.
        rows: Their number.
        engine: The engine.

    Returns:
        The frame, its rows, and notes: kind, count, sentence.
    """
    key = schema.key(table)
    anchors = set(schema.ANCHORS.get(table, ())) & set(names)
    if key is None and not anchors:
        return frame, rows, []
    per = names_of_row(table, names) if key else names
    if _distinct(frame, per, engine) == rows:
        return frame, rows, []
    notes: list[Note] = []
    if _distinct(frame, names, engine) < rows:
        whole = frame.unique(subset=names, keep="any")
        frame = nw.from_native(engine.kept(whole.to_native())).lazy()
        left = int(counted(frame, {"rows": nw.len()})["rows"])
        if left < rows:
            notes.append(duplicate_rows(rows - left))
        rows = left
    if key and not (table == "calls" and "started_at" not in per):
        notes += _same_ids(frame, key, per)
    return frame, rows, notes


def _distinct(frame: Frame, names: list[str], engine: Backend) -> int:
    """Count the different hashes; grouped, since engines spill that to disk."""
    native = engine.select(frame.to_native(), {"h": engine.hashed(names)})
    hashes = nw.from_native(native).lazy().group_by("h").agg(n=nw.len())
    return int(counted(hashes, {"rows": nw.len()})["rows"])


def _same_ids(frame: Frame, key: str, per: list[str]) -> list[Note]:
    groups = frame.filter(~nw.col(key).is_null()).group_by(per).agg(n=nw.len())
    again = groups.filter(nw.col("n") > 1).select(
        count=(nw.col("n") - 1).cast(nw.Int64).sum(), some=nw.col(key).min()
    )
    count, some = collect({"": again})[""].row(0)
    return [duplicate_ids(int(count), per, str(some))] if count else []
