"""How a canonical column comes about, in words for a person who reads `inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpiaudit.tables.mapping import fold

if TYPE_CHECKING:
    from kpiaudit.tables.mapping import Cell, Condition, Target, When

_UNITS = {
    "ms": "milliseconds",
    "min": "minutes",
    "h": "hours",
    "days": "days",
    "hh:mm": "hours and minutes",
    "mm:ss": "minutes and seconds",
    "hh:mm:ss": "hours, minutes and seconds (hh:mm:ss)",
    "epoch_s": "seconds since 1970",
    "epoch_ms": "milliseconds since 1970",
    "epoch_us": "microseconds since 1970",
    "excel": "days since 1900, as in Excel",
}
_SHOWN = 4  # codes of a column; the rest is in the preset


def how(cell: Cell, name: str) -> str:
    """Say where the cells of a canonical column come from.

    Args:
        cell: How they come about.
        name: The canonical column, which is not repeated if the source has its name;
            empty to name the source in any case.

    >>> from kpiaudit.tables.mapping import Cell
    >>> how(Cell(columns=("Queue.Duration",), unit="ms"), "wait_s")
    'from Queue.Duration, in milliseconds'
    """
    if cell.constant is not None:
        return f"always '{cell.constant}'"
    parts = [_source(cell, name)]
    if cell.plus:
        parts.append(f"plus {' and '.join(cell.plus)}")
    if cell.unit in _UNITS:
        parts.append(f"in {_UNITS[cell.unit]}")
    if cell.timezone:
        parts.append(f"in the zone {cell.timezone}")
    if cell.extract:
        parts.append("a part of it")
    if cell.when:
        on = dict.fromkeys(c.column for c in cell.when)
        parts.append(f"for some values of {' and '.join(on)} only")
    said = ", ".join(part for part in parts if part)
    return said + _codes(cell)


def _source(cell: Cell, name: str) -> str:
    if cell.template is not None:
        return f"put together as {', else '.join((cell.template, *cell.instead))}"
    if cell.date is not None:
        return f"from {cell.date}" + (f" and {cell.time}" if cell.time else "")
    if cell.cases:
        return f"decided by {', '.join(cell.needs())}"
    if [fold(c) for c in cell.columns] == [name]:
        return ""
    return f"from {', else '.join(cell.columns)}"


def left_out(target: Target) -> str:
    """Say which rows a mapping leaves out, after the number of them.

    >>> from kpiaudit.tables.mapping import Condition, Target
    >>> gone = ((Condition(column="status", any_of=("deleted",)),),)
    >>> left_out(Target(table="tickets", drop=gone))
    'rows were left out: those where status is deleted'
    """
    said = []
    if target.only:
        said.append(f"all but those where {_either(target.only)}")
    if target.drop:
        said.append(f"those where {_either(target.drop)}")
    return f"rows were left out: {'; and '.join(said)}"


def _either(groups: tuple[When, ...]) -> str:
    return ", or ".join(" and ".join(map(_holds, group)) for group in groups)


def _holds(one: Condition) -> str:
    said = []
    if one.any_of is not None:
        said.append(f"is {' or '.join(map(_text, one.any_of))}")
    if one.none_of is not None:
        said.append(f"is not {' or '.join(map(_text, one.none_of))}")
    if one.above is not None:
        said.append(f"is above {one.above:g}")
    if one.below is not None:
        said.append(f"is below {one.below:g}")
    if one.present is not None:
        said.append("is filled" if one.present else "is empty")
    return f"{one.column} {' and '.join(said)}"


def _text(value: str) -> str:
    return value or "empty"


def _codes(cell: Cell) -> str:
    pairs = [f"{old} = {new}" for old, new in cell.values.items() if new and old != new]
    if not pairs:
        return ""
    more = ", ..." if len(pairs) > _SHOWN else ""
    return f" ({', '.join(pairs[:_SHOWN])}{more})"
