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
from kpiaudit.tables.order import NEVER, Columns, Held, Order, Part, beside
from kpiaudit.tables.parts import parts

if TYPE_CHECKING:
    from collections.abc import Sequence as Several

    from numpy.typing import NDArray

    from kpiaudit.tables.dataset import Dataset, Frame

REACH_MS = 2**31 - 1
"""Longest horizon of the kernel, 24 days; beyond it windows are asked."""
CONTACT = "next_contact_ms"
"""Column with the time from a call's end to its customer's next contact."""


@frozen
class Sequence:
    """Which rows follow each other.

    Args:
        per: Column that names the customer; rows without one are to be left out first.
        at: Instant in integer milliseconds.
        id: Column that names a contact, whose legs share it; None without one.
        mark: Column of 0 and 1; the row before counts only if it is 1 there.
        horizon_ms: Rows farther apart than this count as not following.
        order: The table's rows in this order, if they were sorted already; the frame
            then has `order.ROW`.
    """

    per: str
    at: str
    id: str | None
    mark: str | None = None
    horizon_ms: int
    order: Order | None = None


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


def with_neighbours_too(frames: Several[Frame], how: Sequence) -> list[Frame]:
    """Add them to a frame, and to others that hold some of its rows.

    Args:
        frames: The rows that follow each other; then, if these are `numbered`, others.
        how: As in `with_neighbours`; with an order, if there are others.

    Raises:
        ValueError: There are others, and no order tells where their rows stand.
    """
    if len(frames) == 1:
        return [with_neighbours(frames[0], how)]
    if how.order is None:
        raise ValueError("without an order rows are told apart by nothing")
    native = [frame.to_native() for frame in frames]
    said = _said(native[0], how, how.order)
    return [nw.from_native(_laid(rows, said)) for rows in native]


def with_windows(frame: Frame, how: Sequence) -> Frame:
    """Do it with windows, on any engine."""
    order = (how.at,) if how.id is None else (how.at, how.id)

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
        own = Order(numbered, per=pl.col(how.per).hash(), at=how.at, id=how.id)
        found = with_sorted(numbered, replace(how, order=own))
        return found.drop(ROW).rename({_BEFORE: ROW}, strict=False)
    return _laid(native, _said(native, how, order))


def _said(native: pl.LazyFrame, how: Sequence, order: Order) -> dict[str, Held]:
    """Return how far the rows of a frame are from their neighbours."""
    flags = _flags(native, order, how.mark)

    def ask(part: Part) -> tuple[NDArray[np.uint32], Columns]:
        flag = flags[part.row]
        here = (flag > 0) & (part.at != NEVER)
        if not here.all():
            flag = flag[here]
            group, part = part.group()[here], _only(part, here)
            near = group[1:] == group[:-1]
        else:
            near = ~part.first[1:]
        gap = part.at[1:] - part.at[:-1]
        follows = near & (gap <= how.horizon_ms)
        next_gap = np.full(len(flag), -1, dtype=np.int32)
        next_same = np.zeros(len(flag), dtype=np.int8)
        mark_gap = next_gap.copy()
        next_gap[:-1] = np.where(follows, gap, -1)
        if how.id is not None:
            next_same[:-1] = follows & (part.id[1:] == part.id[:-1])
        mark_gap[1:] = np.where(follows & (flag[:-1] == _MARKED), gap, -1)
        values: Columns = {"next_gap_ms": next_gap, "next_same": next_same}
        return part.row, values | {"mark_gap_ms": mark_gap}

    empty = {
        "next_gap_ms": np.int32(-1),
        "next_same": np.int8(0),
        "mark_gap_ms": np.int32(-1),
    }
    return beside(order, ask, empty=empty)


_BEFORE = f"{ROW}before"


def _laid(native: pl.LazyFrame, said: dict[str, Held]) -> pl.LazyFrame:
    """Lay values beside the rows; null for milliseconds below zero, as for none."""
    laid = native.with_columns(held.look().alias(name) for name, held in said.items())
    gaps = {n: pl.when(pl.col(n) >= 0).then(n) for n in said if n.endswith("_ms")}
    whole = {name: gaps.get(name, pl.col(name)).cast(pl.Int64) for name in said}
    return laid.with_columns(**whole)


_MARKED = 2


def _only(part: Part, here: NDArray[np.bool_]) -> Part:
    return Part(
        row=part.row[here],
        at=part.at[here],
        id=part.id[here],
        first=part.first[here],
    )


def _flags(frame: pl.LazyFrame, order: Order, mark: str | None) -> NDArray[np.uint8]:
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
    flags = _flags(native, order, how.mark)

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


def with_next_contact(data: Dataset) -> Dataset:
    """Add to the calls when, after their end, the customer is in contact again.

    Legs of one contact began when its first one did; outgoing ones are none.

    Args:
        data: A dataset, perhaps with the order of its calls.

    Returns:
        With the column `next_contact_ms` (Int64 milliseconds after the record's end;
        null if nothing follows within 24 days), or as it was without an order.
    """
    order = data.orders.get("calls")
    if order is None:
        return data
    native = data.table("calls").to_native()
    if CONTACT not in order.beside:
        order.beside |= _next_contacts(native, data, order)
    native = _laid(native, {CONTACT: order.beside[CONTACT]})
    return replace(
        data,
        frames={**data.frames, "calls": nw.from_native(native)},
        columns={**data.columns, "calls": data.columns["calls"] | {CONTACT}},
    )


def _next_contacts(
    native: pl.LazyFrame, data: Dataset, order: Order
) -> dict[str, Held]:
    """Return the column of the next contacts, a row per call; -1 for none."""
    counts = native.filter(pl.col("customer_id").is_not_null())
    if data.has("calls.direction"):
        way = pl.col("direction")
        counts = counts.filter(way.is_null() | (way != "outbound"))
    flags, ends = _flags(counts, order, None), order.ends()

    def ask(part: Part) -> tuple[NDArray[np.uint32], Columns]:
        group = part.group()
        contact = (flags[part.row] > 0) & (part.at != NEVER)
        contact[contact] = _first_legs(group[contact], part.id[contact])
        at, owner = part.at[contact], group[contact]
        over = ends.at(part.row)
        # The first contact of a customer after each row's place, then on to its end.
        spot = np.cumsum(contact)
        early = over < part.at
        if early.any():  # an end before the beginning: look from the first one on
            spot[early] = (spot - contact)[part.first][group[early] - 1]
        left = np.arange(len(spot))
        gap = np.full(len(spot), -1, dtype=np.int32)
        while len(left):
            there = spot[left] < len(at)
            left = left[there]
            here = spot[left]
            left, here = (x[owner[here] == group[left]] for x in (left, here))
            after = at[here] - over[left]
            done = after > 0
            near = done & (after <= REACH_MS)
            gap[left[near]] = after[near]
            left = left[~done]
            spot[left] += 1
        return part.row, {CONTACT: gap}

    return beside(order, ask, empty={CONTACT: np.int32(-1)})


def _first_legs(
    group: NDArray[np.uint32], id_: NDArray[np.uint32]
) -> NDArray[np.bool_]:
    """Say which rows are the first of their customer's contact, in their order."""
    both = (group.astype(np.uint64) << np.uint64(32)) | id_
    ordered_ = np.sort(both)
    again = ordered_[1:][ordered_[1:] == ordered_[:-1]]
    first = np.ones(len(both), dtype=np.bool_)
    if len(again):
        legs = np.flatnonzero(np.isin(both, again))
        first[legs] = pl.Series(both[legs]).is_first_distinct().to_numpy()
    return first
