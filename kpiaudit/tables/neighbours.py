"""What a customer's sequence of contacts says of each: the one before, the one after.

Two forms with one interface and equal results: windows, which every engine knows, and
a kernel for polars, which sorts one packed integer (`order.py`) instead of three
windows of texts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import polars as pl

from kpiaudit.frozen import frozen
from kpiaudit.tables.dataset import ROW
from kpiaudit.tables.order import NEVER, Columns, Order, Part, beside
from kpiaudit.tables.parts import parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kpiaudit.tables.byrow import Held
    from kpiaudit.tables.dataset import Dataset, Frame

REACH_MS = 2**31 - 1
"""Longest horizon of the kernel, 24 days; beyond it windows are asked."""


@frozen
class Sequence:
    """Which rows follow each other.

    Args:
        per: Column that names the customer; rows without one are to be left out first.
        at: Instant in integer milliseconds.
        id: Column that names a contact, whose legs share it; None without one.
        mark: Column of 0 and 1; the row before counts only if it is 1 there.
        horizon_ms: Rows farther apart than this count as not following.
        then: Columns by which legs of one contact are ordered that began at one instant
            (`legs`), missing values first.
        order: The table's rows in this order, if they were sorted already; the frame
            then has `order.ROW`.
    """

    per: str
    at: str
    id: str | None
    mark: str | None = None
    horizon_ms: int
    then: tuple[str, ...] = ()
    order: Order | None = None


def legs(data: Dataset) -> tuple[str, ...]:
    """Return by what legs of one call are ordered where all bear the call's start.

    Rings at several desks, and exports that date each leg by its call: the order in
    which rows happen to stand in a file must not decide what follows what.
    """
    names = ("answered_at", "ended_at", "agent_id", "talk_s")
    return tuple(name for name in names if data.has(f"calls.{name}"))


ADDED = ("next_gap_ms", "next_same", "mark_gap_ms")


def ordered(data: Dataset) -> Dataset:
    """Number the calls' rows where polars reads them, so that one sort serves all.

    Args:
        data: Any dataset.

    Returns:
        The same with `orders`, or as it was if customers or instants are not known.
    """
    if not data.has("calls.customer_id", "calls.call_id", "calls.at_ms"):
        return data
    native = data.table("calls").to_native()
    if not isinstance(native, pl.LazyFrame) or ROW in native.collect_schema():
        return data
    native = native.with_row_index(ROW)
    # A caller without a number is a customer of their own.
    customer, contact = pl.col("customer_id"), pl.col("call_id")
    nobody = pl.col(ROW).hash(seed=2)
    alone = pl.when(contact.is_null()).then(nobody).otherwise(contact.hash(seed=1))
    ends = [pl.col("ended_at")] if data.has("calls.ended_at") else []
    if data.has("calls.talk_s"):
        talk = (pl.col("talk_s").fill_null(0.0) * 1000).cast(pl.Int64, strict=False)
        ends.append(pl.col("at_ms") + talk)
    order = Order(
        native,
        per=pl.when(customer.is_null()).then(alone).otherwise(customer.hash()),
        at="at_ms",
        id="call_id",
        then=legs(data),
        end=pl.coalesce(ends) if ends else None,
    )
    frames = {**data.frames, "calls": nw.from_native(native)}
    return replace(data, frames=frames, orders={**data.orders, "calls": order})


def with_neighbours(frame: Frame, how: Sequence) -> Frame:
    """Add how far each row is from its customer's next and previous one.

    Args:
        frame: Rows with the columns that `how` names.
        how: Which rows follow each other.

    Returns:
        The frame with `next_gap_ms` (Int64; null if nothing follows within the
        horizon), `next_same` (1 if what follows is a leg of the same contact, else 0)
        and `mark_gap_ms` (Int64; null unless a marked row precedes within the
        horizon). Rows of a customer are ordered by instant, then id.
    """
    native = frame.to_native()
    if isinstance(native, pl.LazyFrame) and how.horizon_ms <= REACH_MS:
        return nw.from_native(with_sorted(native, how))
    return with_windows(frame, how)


def numbered(frame: Frame) -> bool:
    """Say whether a frame's rows stand by their place in a table: polars, `ordered`."""
    native = frame.to_native()
    return isinstance(native, pl.LazyFrame) and ROW in native.collect_schema()


def with_windows(frame: Frame, how: Sequence) -> Frame:
    """Do it with windows, on any engine."""
    order = (how.at, *(() if how.id is None else (how.id,)), *how.then)

    def beside(name: str, step: int) -> Any:
        return nw.col(name).shift(step).over(how.per, order_by=order)

    wanted = {"next_gap_ms": beside(how.at, -1), "next_same": nw.lit(0)}
    if how.id is not None:
        frame = frame.with_columns(nw.col(how.id).fill_null(""))
        wanted["next_same"] = beside(how.id, -1)
    marked = nw.lit(None, dtype=nw.Int64)
    if how.mark is not None:
        at = nw.when(nw.col(how.mark) == 1).then(nw.col(how.at))
        frame = frame.with_columns(mark_gap_ms=at)
        marked = beside("mark_gap_ms", 1)
    frame = frame.with_columns(**wanted, mark_gap_ms=marked)
    after = nw.col("next_gap_ms") - nw.col(how.at)
    before = nw.col(how.at) - nw.col("mark_gap_ms")
    same = nw.lit(0)
    if how.id is not None:
        leg = nw.col("next_same") == nw.col(how.id)
        same = _flag((after <= how.horizon_ms) & leg)
    return frame.with_columns(
        next_gap_ms=nw.when(after <= how.horizon_ms).then(after),
        next_same=same.cast(nw.Int64),
        mark_gap_ms=nw.when(before <= how.horizon_ms).then(before),
    )


def _flag(condition: Any) -> Any:
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0))


def with_sorted(native: pl.LazyFrame, how: Sequence) -> pl.LazyFrame:
    """Do it with one sort of packed integers, in polars, before anything is collected.

    While it ran inside a query, what that query had read until then waited in memory.
    """
    order = how.order
    there = native.collect_schema().names()
    if order is None or ROW not in there:
        # Numbered for this once: what the rows were called before stays.
        numbered = native.rename({ROW: _BEFORE}, strict=False).with_row_index(ROW)
        per = pl.col(how.per).hash()
        own = Order(numbered, per=per, at=how.at, id=how.id, then=how.then)
        found = with_sorted(numbered, replace(how, order=own))
        return found.drop(ROW).rename({_BEFORE: ROW}, strict=False)
    return _said(native, how, order).laid(native)


@frozen
class _Said:
    """What an order says of a frame's rows, each value by its place in the table.

    Args:
        gap: Milliseconds to the next row among them, -1 for none.
        same: Whether that is a leg of the same contact.
        marked: Milliseconds from the row before, if it is marked; None without marks.
        horizon_ms: Rows farther apart than this count as not following.
        legs: Whether contacts have a name.
    """

    gap: Held
    same: Held
    marked: Held | None
    horizon_ms: int
    legs: bool

    def laid(self, native: pl.LazyFrame) -> pl.LazyFrame:
        """Lay it beside rows; null for none."""
        held = {"next_gap_ms": self.gap, "next_same": self.same}
        if self.marked is not None:
            held["mark_gap_ms"] = self.marked
        native = native.with_columns(h.look().alias(n) for n, h in held.items())
        near = pl.col("next_gap_ms").is_between(0, self.horizon_ms)
        before = pl.col("mark_gap_ms")
        same = pl.when(near).then("next_same").otherwise(0) if self.legs else pl.lit(0)
        marked = pl.when(before >= 0).then(before) if self.marked else pl.lit(None)
        return native.with_columns(
            next_gap_ms=pl.when(near).then("next_gap_ms").cast(pl.Int64),
            next_same=same.cast(pl.Int64),
            mark_gap_ms=marked.cast(pl.Int64),
        )


def _said(native: pl.LazyFrame, how: Sequence, order: Order) -> _Said:
    """Return how far the rows of a frame are from their neighbours."""
    flags = flags_of(native, order, how.mark)
    among = np.packbits(flags > 0)
    if order.among is None or not np.array_equal(order.among, among):
        order.beside |= _following(order, flags)
        order.among = among
    return _Said(
        gap=order.beside["next_gap_ms"],
        same=order.beside["next_same"],
        marked=None if how.mark is None else _marked(order, flags, how.horizon_ms),
        horizon_ms=how.horizon_ms,
        legs=how.id is not None,
    )


def _here(part: Part, flags: NDArray[np.uint8]) -> tuple[Part, Columns]:
    """Return the asked rows of a part, their flags, and which follow the one before."""
    flag = flags[part.row]
    here = (flag > 0) & (part.at != NEVER)
    if here.all():
        return part, {"flag": flag, "near": ~part.first[1:]}
    group, part = part.group()[here], _only(part, here)
    return part, {"flag": flag[here], "near": group[1:] == group[:-1]}


def _following(order: Order, flags: NDArray[np.uint8]) -> dict[str, Held]:
    """Return what follows each row among the flagged ones, however they are marked."""

    def ask(part: Part) -> tuple[NDArray[np.uint32], Columns]:
        part, of = _here(part, flags)
        gap = part.at[1:] - part.at[:-1]
        follows = of["near"] & (gap <= REACH_MS)
        next_gap = np.full(len(part.row), -1, dtype=np.int32)
        next_same = np.zeros(len(part.row), dtype=np.int8)
        next_gap[:-1] = np.where(follows, gap, -1)
        next_same[:-1] = follows & (part.id[1:] == part.id[:-1])
        return part.row, {"next_gap_ms": next_gap, "next_same": next_same}

    empty = {"next_gap_ms": np.int32(-1), "next_same": np.int8(0)}
    return beside(order, ask, empty=empty)


def _marked(order: Order, flags: NDArray[np.uint8], horizon_ms: int) -> Held:
    """Return how far each flagged row is from the one before, if that is marked."""

    def ask(part: Part) -> tuple[NDArray[np.uint32], Columns]:
        part, of = _here(part, flags)
        # Few are: only what follows them is looked at.
        at = np.flatnonzero(of["near"] & (of["flag"][:-1] == _MARKED)) + 1
        gap = part.at[at] - part.at[at - 1]
        at, gap = at[gap <= horizon_ms], gap[gap <= horizon_ms]
        return part.row[at], {"mark_gap_ms": gap.astype(np.int32)}

    return beside(order, ask, empty={"mark_gap_ms": np.int32(-1)})["mark_gap_ms"]


_BEFORE = f"{ROW}before"


_MARKED = 2


def _only(part: Part, here: NDArray[np.bool_]) -> Part:
    return Part(
        row=part.row[here],
        at=part.at[here],
        id=part.id[here],
        first=part.first[here],
    )


def flags_of(frame: pl.LazyFrame, order: Order, mark: str | None) -> NDArray[np.uint8]:
    """Return, by position in the table: 1 for a row of the frame, 2 if it is marked."""
    flag = pl.lit(1, pl.UInt8)
    if mark is not None:
        flag += (pl.col(mark) == 1).fill_null(value=False).cast(pl.UInt8)
    out = np.zeros(order.count(), dtype=np.uint8)
    wanted = frame.select(ROW, flag=flag)
    for batch in parts(wanted):
        out[batch[ROW].to_numpy()] = batch["flag"].to_numpy()
    return out


def standing_out(frame: Frame, how: Sequence, *, least: int, most: int) -> Frame:
    """Return the customers with many rows or many marked ones.

    Args:
        frame: Rows with the columns that `how` names.
        how: Who the customer is, and which rows are marked.
        least: Marked rows from which a customer stands out.
        most: Rows from which one does, marked or not.

    Returns:
        One row per such customer, with the column `how.per`.
    """
    native = frame.to_native()
    order = how.order
    if order is None or not isinstance(native, pl.LazyFrame):
        return (
            frame.group_by(how.per)
            .agg(all_rows=nw.len(), all_marked=nw.col(str(how.mark)).sum())
            .filter((nw.col("all_marked") >= least) | (nw.col("all_rows") >= most))
            .select(how.per)
        )
    flags = flags_of(native, order, how.mark)

    def ask(part: Part) -> NDArray[np.uint32]:
        starts = np.flatnonzero(part.first)
        if not len(starts):
            return part.row[:0]
        flag = flags[part.row]
        count = np.add.reduceat((flag > 0).astype(np.int32), starts)
        marked = np.add.reduceat((flag == _MARKED).astype(np.int32), starts)
        much = (marked >= least) | (count >= most)
        # Any row of the frame tells the customer's name: the first one.
        here = np.flatnonzero(np.repeat(much, np.diff(starts, append=len(flag))))
        here = here[flag[here] > 0]
        _, at = np.unique(part.group()[here], return_index=True)
        return part.row[here[at]]

    rows = list(order.each(ask))
    some = pl.Series(np.concatenate(rows) if rows else np.empty(0, dtype=np.uint32))
    return nw.from_native(
        native.filter(pl.col(ROW).is_in(some.implode())).select(how.per)
    )
