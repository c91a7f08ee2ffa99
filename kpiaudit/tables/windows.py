"""Windows over rows in an order: which row comes before or after, which event is next.

Two forms with one interface and equal results: windows, which every engine knows, and
for polars one sort of the frame, by which groups are told from their neighbours. With
thousands of small groups, as customers are, polars' own windows take ten times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw
import polars as pl

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.tables.dataset import Frame

NEVER = 2**62
"""Instant of an event that does not come."""

_GROUP = "__group__"
_ROOM = 2**24
"""Beyond any day number, on either side of nil: a group and a day make one integer."""


@frozen
class Along:
    """Rows that belong together, and their order.

    Args:
        per: Columns that name the group; a missing name is a name of its own.
        order: Columns by which a group's rows are ordered, missing values first.
    """

    per: tuple[str, ...]
    order: tuple[str, ...]


def stepped(frame: Frame, along: Along, wanted: Mapping[str, tuple[str, int]]) -> Frame:
    """Add values of the rows before or after, as `shift` over the groups.

    Args:
        frame: Any rows; on polars they come back in another order.
        along: The groups.
        wanted: By new name, the column and the shift: 1 is the row before, -1 the row
            after.

    Returns:
        The frame with the columns; null where the group has no such row.
    """
    native = frame.to_native()
    if not isinstance(native, pl.LazyFrame):
        return frame.with_columns(
            **{
                new: nw.col(old).shift(step).over(*along.per, order_by=along.order)
                for new, (old, step) in wanted.items()
            }
        )
    return nw.from_native(
        _sorted(native, along).with_columns(
            pl.when(~_differs(along, step)).then(pl.col(old).shift(step)).alias(new)
            for new, (old, step) in wanted.items()
        )
    )


def highest_before(frame: Frame, along: Along, name: str, floor: int) -> Frame:
    """Replace a column of days by the latest one of the rows before.

    Args:
        frame: Any rows; on polars they come back in another order.
        along: The groups.
        name: Column of whole numbers between -16 and 16 million.
        floor: What stands where no row comes before; no value is less.
    """
    native = frame.to_native()
    if not isinstance(native, pl.LazyFrame):
        before = nw.col(name).shift(1).over(*along.per, order_by=along.order)
        return frame.with_columns(before.alias(name)).with_columns(
            nw.col(name)
            .cum_max()
            .over(*along.per, order_by=along.order)
            .fill_null(floor)
            .alias(name)
        )
    group = pl.col(_GROUP) * _ROOM
    above = pl.col(name).shift(1).fill_null(floor)
    above = pl.when(_differs(along, 1)).then(floor).otherwise(above)
    return nw.from_native(
        _sorted(native, along)
        .with_columns(_differs(along, 1).cum_sum().cast(pl.Int64).alias(_GROUP))
        .with_columns(((group + above).cum_max() - group).alias(name))
        .drop(_GROUP)
    )


def upcoming(frame: Frame, along: Along, kind: str, wanted: Mapping[str, Any]) -> Frame:
    """Add when the next row of a kind comes, among a row itself and those after it.

    Args:
        frame: Any rows; on polars they come back in another order.
        along: The groups; the first column of their order holds whole numbers.
        kind: Column of the kind.
        wanted: By new name, the kind.

    Returns:
        The frame with the columns; `NEVER` where none comes.
    """
    native, at = frame.to_native(), along.order[0]
    if not isinstance(native, pl.LazyFrame):
        never = nw.lit(NEVER).cast(nw.Int64)
        return frame.with_columns(
            **{
                new: nw.when(nw.col(kind) == value).then(nw.col(at)).otherwise(never)
                for new, value in wanted.items()
            }
        ).with_columns(
            **{
                new: nw.col(new)
                .cum_min(reverse=True)
                .over(*along.per, order_by=along.order)
                for new in wanted
            }
        )
    marks = {
        new: pl.when(pl.col(kind) == value).then(pl.col(at))
        for new, value in wanted.items()
    }
    groups = {
        new: pl.when(pl.col(kind) == value).then(pl.col(_GROUP)).backward_fill()
        for new, value in wanted.items()
    }
    return nw.from_native(
        _sorted(native, along)
        .with_columns(_differs(along, 1).cum_sum().alias(_GROUP))
        .with_columns(
            pl.when(groups[new] == pl.col(_GROUP))
            .then(mark.backward_fill())
            .otherwise(pl.lit(NEVER, pl.Int64))
            .alias(new)
            for new, mark in marks.items()
        )
        .drop(_GROUP)
    )


def _sorted(native: pl.LazyFrame, along: Along) -> pl.LazyFrame:
    return native.sort(*along.per, *along.order, maintain_order=True)


def _differs(along: Along, step: int) -> pl.Expr:
    """Say whether the row so many places before is of another group."""
    return pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(name).shift(step)) for name in along.per
    )
