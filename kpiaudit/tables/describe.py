"""How a canonical column comes about, in words for a person who reads `inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpiaudit.tables.mapping import fold

if TYPE_CHECKING:
    from kpiaudit.tables.mapping import Cell

_UNITS = {
    "ms": "milliseconds",
    "min": "minutes",
    "h": "hours",
    "days": "days",
    "hh:mm": "hours and minutes",
    "mm:ss": "minutes and seconds",
    "hh:mm:ss": "a clock",
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
        name: The canonical column, which is not repeated if the source has its name.

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
        # Said of a column of the same name too, which is not repeated otherwise.
        parts[0] = parts[0] or f"from {' or '.join(cell.columns)}"
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


def _codes(cell: Cell) -> str:
    pairs = [f"{old} = {new}" for old, new in cell.values.items() if new and old != new]
    if not pairs:
        return ""
    more = ", ..." if len(pairs) > _SHOWN else ""
    return f" ({', '.join(pairs[:_SHOWN])}{more})"
