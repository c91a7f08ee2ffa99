"""The calls around a cutoff: a tenth of all, from which most else is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np

from kpiaudit.detectors._duration_cap_counts import (
    BELOW,
    BEYOND,
    NEAR,
    OVER,
    has,
)
from kpiaudit.tables.engine import flag
from kpiaudit.tables.neighbours import Sequence, legs, with_neighbours
from kpiaudit.tables.sharing import settled

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence as Several

    from kpiaudit.detectors._duration_cap_find import Cap, Layout
    from kpiaudit.tables.dataset import Dataset, Frame


def placed(
    calls: Frame, cap: Cap, layouts: Several[Layout], window: int, parity: bool
) -> Frame:
    """Keep the calls around a cutoff, with `cap_s`, `layout` and `zone`.

    Args:
        calls: From `usable_calls`.
        cap: The cutoff.
        layouts: How sites record.
        window: Width of the window below the cutoff, in seconds.
        parity: The calls have days.
    """
    second, zone, where = nw.col("second"), nw.lit(-1), nw.lit(0)
    spans = [
        layout.windows(cutoff, window) for _, cutoff in cap.halves for layout in layouts
    ]
    calls = calls.filter(
        second >= min((at.low - 3 * at.width for at in spans), default=0),
        second < max((at.high + 4 * at.width for at in spans), default=0),
    )
    for number, layout in enumerate(layouts):
        here = nw.col("site_id").is_in(list(layout.sites))
        if not layout.free.all():
            free = np.flatnonzero(layout.free).tolist()
            here = here & (second % 60).is_in(free)
        if layout.cuts:
            here = here & ~second.is_in(list(layout.cuts))
        where = nw.when(here).then(number).otherwise(where)
        for half, cutoff in cap.halves:
            at = layout.windows(cutoff, window)
            inside = here & second.is_between(
                at.low - 3 * at.width, at.high + 4 * at.width, closed="left"
            )
            if half is not None and parity:
                inside = inside & (nw.col("parity") == half)
            code = (
                nw.when(second < at.low)
                .then(BELOW)
                .otherwise(
                    nw.when(second < at.high)
                    .then(NEAR)
                    .otherwise(
                        nw.when(second < at.high + at.width)
                        .then(OVER)
                        .otherwise(BEYOND)
                    )
                )
            )
            zone = nw.when(inside).then(code).otherwise(zone)
    return calls.with_columns(
        cap_s=nw.lit(cap.cap_s).cast(nw.Int64),
        zone=zone.cast(nw.Int64),
        layout=where.cast(nw.Int64),
    ).filter(nw.col("zone") >= 0)


def calls_around(
    data: Dataset,
    calls: Frame,
    place: Callable[[Frame], Frame],
    hours: float | None,
) -> tuple[Frame, Frame | None]:
    """Return the calls around the cutoffs, and those with what follows them.

    Where the calls were sorted by customer both are one frame, which is computed here:
    a tenth of the calls, from which everything else is counted.

    Args:
        data: The dataset.
        calls: Its calls.
        place: Says which of some calls are asked about, and how.
        hours: Within which a next contact counts; None if customers are not known.
    """
    if hours is not None and not data.orders.get("calls"):
        return place(calls), place(with_next_contact(data, hours))
    near = place(calls if hours is None else with_next_contact(data, hours))
    there = near.collect_schema().names()
    near = near.select(name for name in _ASKED if name in there)
    rows = data.rows.get("calls", 0)
    near = settled({"": near}, rows=rows, small=data.small)[""]
    return near, None if hours is None else near


_ASKED = (
    *("agent_id", "queue", "station", "trunk", "ended_by", "transfer_type", "hold_s"),
    *("at_ms", "day", "hour", "named", "next_gap_ms", "next_same"),
    *("cap_s", "layout", "period", "zone"),
)
"""Columns of calls around the cutoffs from which anything is counted."""


def with_next_contact(data: Dataset, hours: float) -> Frame:
    """Return the calls with how long after them the same customer's next row comes.

    Legs of one contact share `call_id`; a leg is no new contact (`next_same`). `named`
    is 1 where the customer is known. Calls of unknown ones are there only if the calls
    were sorted before: in a window they would be one customer.
    """
    known = ~nw.col("customer_id").is_null()
    order = data.orders.get("calls")
    calls = data.table("calls").with_columns(named=flag(known))
    how = Sequence(
        per="customer_id",
        at="at_ms",
        id="call_id" if has(data, "call_id") else None,
        horizon_ms=int(hours * 3_600_000),
        then=legs(data),
        order=order,
    )
    return with_neighbours(calls if order else calls.filter(known), how)
