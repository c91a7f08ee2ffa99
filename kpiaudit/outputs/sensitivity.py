"""What could be found, as text and as JSON."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

from kpiaudit.outputs.clean import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Row = "Mapping[str, Any]"


def render(rows: Sequence[Mapping[str, Any]], *, form: str, width: int = 100) -> str:
    """Render what every rule could find.

    Args:
        rows: One mapping per rule, as the fields of `evidence.sensitivity.Sensitivity`.
        form: `text` or `json`.
        width: Columns of the text.

    Raises:
        ValueError: There is no such format.
    """
    if form == "json":
        return json.dumps({"power": 0.8, "rules": list(rows)}, indent=2) + "\n"
    if form != "text":
        raise ValueError(f"no such format: {form}")
    parts = [_text(row, width) for row in rows]
    return "\n".join([_HEAD, *parts])


_HEAD = (
    "What these data would show with 80% probability. Less than that may be there and "
    "not be seen.\n"
)


def _text(row: Mapping[str, Any], width: int) -> str:
    lines = [visible(str(row["rule"]))]
    for sentence in _sentences(row):
        lines += textwrap.wrap(
            visible(sentence), width, initial_indent="   ", subsequent_indent="   "
        )
    return "\n".join(lines) + "\n"


def _sentences(row: Mapping[str, Any]) -> list[str]:
    if row["reason"] is not None:
        said = [f"nothing can be said: {row['reason']}"]
    else:
        tested = f"{row['tested']:,} subjects tested"
        said = [f"{tested}, {row['untestable']:,} with too little data to say"]
    stake = row["stake"]
    for name, size in row["sizes"].items():
        said.append(
            f"one {name} agent (of {size['agents']:,}, {size['contacts']:,.0f} in the "
            f"comparison each): {_share(size['share'], stake)}"
        )
    for many in row["many"]:
        said.append(
            f"{_part(many)} at once ({many['agents']:,}): {_together(many, stake)}"
        )
    if row["checked"] is not None:
        found, planted = row["checked"]
        said.append(
            f"checked: planted into one usual agent, {found} of {planted} were found"
        )
    if row["supposed"] and row["sizes"]:
        said.append(f"supposed: {row['supposed']}")
    if row["missing"]:
        said.append(f"what would sharpen it: {', '.join(_lacking(row))}")
    return said


def _lacking(row: Mapping[str, Any]) -> list[str]:
    """Name tables rather than one by one the columns that a whole table would bring."""
    tables = row.get("missing_tables", ())
    columns = [n for n in row["missing"] if n.partition(".")[0] not in tables]
    return [*(f"table {name}" for name in tables), *columns]


def _part(many: Mapping[str, Any]) -> str:
    share = 100 * many["part"]
    return "all agents" if share >= 100 else f"{share:.0f}% of the agents"


def _together(many: Mapping[str, Any], stake: str) -> str:
    """Say what so many would have to do; if all do it, peers are no yardstick."""
    if many["share"] is not None:
        return f"{_share(many['share'], stake)} each"
    if many["part"] < 1:
        return f"{_share(None, stake)}, since their peers do the same"
    if many["floor"]:
        return "can't be seen: a floor on which everybody does it looks honest here"
    return "can't be seen if everybody does it: there is nobody to compare with"


def _share(share: float | None, stake: str) -> str:
    if share is None:
        return (
            "no finding says nothing: a pattern in all of "
            f"{stake} could still have been missed"
        )
    return f"no finding means less than {100 * share:.2g}% of {stake}"
