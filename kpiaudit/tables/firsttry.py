"""Whole columns of plain numbers, or of one kind of stamp, in one expression each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import polars as pl

from kpiaudit.tables import dates, parse

if TYPE_CHECKING:
    from kpiaudit.tables.columns import Column

_TYPES = {"instant": pl.Int64(), "count": pl.Int64()}


def waits(column: Column) -> bool:
    """Say whether the whole column may be needed to read one of its cells."""
    if column.kind in {"instant", "stamp"}:
        return not column.plan.formats
    return column.kind in {"duration", "number", "count"}


def unclear(column: Column, semicolons: bool) -> bool:
    """Say whether nothing can be read before all is seen.

    Args:
        column: One that may have to wait.
        semicolons: Whether these part the file's fields: 1.234 may be 1234 then.
    """
    clock = column.kind == "duration" and ":" in (column.cell.unit or "")
    return clock or (semicolons and column.kind in {"duration", "number"})


def attempt(cells: pl.Series, column: Column) -> pl.Expr | None:
    """Return how a part of a column may be read as it stands, None if at no try.

    Args:
        cells: The part.
        column: Its first shape of stamps is noted there.
    """
    text = pl.col(cells.name)
    if cells.null_count() == len(cells):
        return text.cast(_TYPES.get(column.kind, pl.Float64()), strict=False)
    if column.kind == "instant":
        return _stamps(cells, text, column)
    number = text.cast(pl.Float64, strict=False)
    if column.kind == "count":
        return parse.counts(number)
    size = parse.scale(column.cell.unit) if column.kind == "duration" else 1.0
    return number if size == 1 else number * size


def _stamps(cells: pl.Series, text: pl.Expr, column: Column) -> pl.Expr | None:
    plan = column.plan
    if plan.unit:
        return dates.instants(text.str.strip_chars(), plan)
    if not plan.shapes:
        plan.shapes += dates.sampled(cells.drop_nulls(), step=25)
    if len(plan.shapes) != 1 or "{order}" in plan.shapes[0].format:
        return None
    shape = plan.shapes[0]
    # Most offsets are a plain Z: no pattern has to be looked for in the cell.
    if dates.may_be_utc(shape) and dates.ends_in_z(cells):
        return dates.in_utc(text, shape)
    return dates.by_shape(text, shape, plan)


def whole(found: pl.Series, cells: pl.Series, column: Column) -> bool:
    """Say whether every cell was read, and none as what it can't be.

    Args:
        found: What was read.
        cells: The texts.
        column: Whose.
    """
    if found.null_count() != cells.null_count():
        return False
    if found.null_count() == len(found):
        return True
    if found.dtype.is_float():
        return math.isfinite(float(found.sum()))
    if column.kind != "instant":
        return True
    low, high = found.min(), found.max()
    return bool(low > dates.FIRST_MS and high < dates.LAST_MS)  # type: ignore[operator]
