"""When a call's customer is next in contact, wherever that is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np
import polars as pl

from kpiaudit.tables.neighbours import REACH_MS, flags_of
from kpiaudit.tables.order import NEVER, Columns, Order, Part, beside
from kpiaudit.tables.packed import ascending

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kpiaudit.tables.byrow import Held
    from kpiaudit.tables.dataset import Dataset

CONTACT = "next_contact_ms"
"""Column with the time from a call's end to its customer's next contact."""


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
    native = native.with_columns(order.beside[CONTACT].look().alias(CONTACT))
    gap = pl.col(CONTACT)
    native = native.with_columns(
        pl.when(gap >= 0).then(gap).cast(pl.Int64).alias(CONTACT)
    )
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
    flags = flags_of(counts, order, None)

    def ask(part: Part) -> tuple[NDArray[np.uint32], Columns]:
        group = part.group()
        contact = (flags[part.row] > 0) & (part.at != NEVER)
        contact[contact] = _first_legs(group[contact], part.id[contact])
        at, owner = part.at[contact], group[contact]
        # The first contact of a customer after each row's place, then on to its end.
        spot = np.cumsum(contact)
        early = part.over < part.at
        if early.any():  # an end before the beginning: look from the first one on
            spot[early] = (spot - contact)[part.first][group[early] - 1]
        left = np.arange(len(spot))
        gap = np.full(len(spot), -1, dtype=np.int32)
        while len(left):
            there = spot[left] < len(at)
            left = left[there]
            here = spot[left]
            left, here = (x[owner[here] == group[left]] for x in (left, here))
            after = at[here] - part.over[left]
            done = after > 0
            near = done & (after <= REACH_MS)
            gap[left[near]] = after[near]
            left = left[~done]
            spot[left] += 1
        return part.row, {CONTACT: gap}

    return beside(order, ask, empty={CONTACT: np.int32(-1)}, over=True)


def _first_legs(
    group: NDArray[np.uint32], id_: NDArray[np.uint32]
) -> NDArray[np.bool_]:
    """Say which rows are the first of their customer's contact, in their order."""
    both = (group.astype(np.uint64) << np.uint64(32)) | id_
    ordered_ = ascending(both)
    again = ordered_[1:][ordered_[1:] == ordered_[:-1]]
    first = np.ones(len(both), dtype=np.bool_)
    if len(again):
        legs = np.flatnonzero(np.isin(both, again))
        first[legs] = pl.Series(both[legs]).is_first_distinct().to_numpy()
    return first
