"""Lazy counts of orders: how near the promise, and how long they waited afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.frozen import frozen
from kpiaudit.tables.sharing import once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kpiaudit.detectors.base import Found
    from kpiaudit.tables.dataset import Dataset, Frame

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000

STAMPS = ("ready", "delivered")
ENDS: Mapping[str, tuple[str, ...]] = {
    "ready": ("received", "handed", "courier"),
    "delivered": ("received",),
}
"""What tells when an order stamped so was really there, the best first."""

COLUMN: Mapping[str, str] = {
    "ready": "ready_at",
    "delivered": "delivered_at",
    "received": "received_at",
    "handed": "handed_over_at",
    "courier": "courier_arrived_at",
}
FROM_COURIER = "_from_courier"
"""Ends so named are counted from the later of the stamp and the courier's arrival.

Before its courier is there, every order waits that was ready early, and those most
that were ready long before. Where couriers are timed to the promise, only this wait
says that an order was not ready.
"""
OPTIONAL = (
    "ready_at",
    "delivered_at",
    "received_at",
    "handed_over_at",
    "courier_arrived_at",
    "recorded_at",
    "placed_at",
    "site_id",
)

SIDE = 60
"""Minutes on each side of the promise in which stamps are counted by the minute."""

OFFSET_TICK_S, OFFSET_TICKS = 15, 120
"""Waits until the handover are counted in such ticks, up to half an hour."""

CLOCKS_MIN = (15, 25, 35, 45, 60, 90, 120, 240, 720, 1440, 4320)
"""Minutes between order and promise at which a new stratum begins."""

_LONGEST_MS = 7 * DAY_MS
_CLIP_MS = 4 * HOUR_MS
_TIE = 61_001
_JAM_FEWEST = 4

COUNTS = (
    "orders",
    "met",
    "open_late",
    "near",
    "just_after",
    "known",
    "long",
    "near_known",
    "near_long",
    "near_there",
    "near_there_long",
    "far_there",
    "far_there_long",
    "near_burst",
    "near_burst_long",
    "far_burst",
    "far_burst_long",
    "near_offline",
    "near_offline_long",
    "far_offline",
    "far_offline_long",
    "near_five",
    "far_five",
    "near_wait_ms",
    "far_wait_ms",
    "jammed",
)


@frozen
class Windows:
    """What the counting needs from the parameters.

    Args:
        near_ms: Stamps in this time before the promise are near it.
        long_percent: Waits beyond this percentile of their site and hour are long.
        burst: Stamps of one agent written in one minute from which they are a batch.
        offline_ms: Written by the server this much after the stamp is offline.
        since_day: First day counted, in days since 1970-01-01; None counts all.
    """

    near_ms: int
    long_percent: int
    burst: int
    offline_ms: int
    since_day: int | None


def flag(condition: Any) -> Any:
    """Return 1 where a condition holds and 0 elsewhere, nulls included."""
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int64)


def has(data: Dataset, *columns: str) -> bool:
    """Say whether the handovers have these columns."""
    return data.has(*(f"handovers.{column}" for column in columns))


def given(data: Dataset) -> Mapping[str, Frame]:
    """Count which instants are filled, who stamps, and what is on five minutes."""
    there = {
        f"n_{c}": flag(~nw.col(c).is_null()) if has(data, c) else nw.lit(0)
        for c in OPTIONAL
    }
    rounded = {
        f"five_{s}": flag(_on_five(COLUMN[s])) if has(data, COLUMN[s]) else nw.lit(0)
        for s in STAMPS
    }
    own = nw.lit(0)
    if has(data, "actor_id"):
        own = flag(nw.col("actor_id") == nw.col("agent_id"))
    sums = {**there, **rounded, "n_own": own, "n": nw.lit(1)}
    frame = (
        data.table("handovers")
        .filter(~nw.col("agent_id").is_null() & ~nw.col("promised_at").is_null())
        .with_columns(**{k: v.cast(nw.Int64) for k, v in sums.items()}, one=nw.lit(1))
        .group_by("one")
        .agg(**{name: nw.col(name).sum() for name in sums})
        .sort("one")
    )
    return {"given": frame}


def _on_five(column: str) -> Any:
    return (nw.col(column) // MINUTE_MS) % 5 == 0


def orders(data: Dataset, windows: Windows, pair: str, found: Found) -> Frame:
    """Return stamped orders of known agents with the columns named in `COUNTS`.

    Args:
        data: The dataset.
        windows: What is near, long, a batch and offline.
        pair: Stamp and end, as `ready>received`; without an end `ready>`.
        found: What the first stage found.
    """
    stamp, _, end = pair.partition(">")
    frame = data.table("handovers").filter(
        ~nw.col("agent_id").is_null()
        & ~nw.col("promised_at").is_null()
        & ~nw.col(COLUMN[stamp]).is_null()
    )
    if has(data, "placed_at"):
        # Nothing is ready before it was ordered; stamps may be in whole minutes.
        placed = nw.col("placed_at")
        sane = nw.col(COLUMN[stamp]) >= placed - MINUTE_MS
        frame = frame.filter(placed.is_null() | sane)
    if windows.since_day is not None:
        frame = frame.filter(nw.col("day") >= windows.since_day)
    if found.get("actors_known"):
        actor = nw.col("actor_id")
        frame = frame.filter(actor.is_null() | (actor == nw.col("agent_id")))
    site = nw.lit("")
    if has(data, "site_id"):
        named = ~nw.col("site_id").is_null()
        site = nw.when(named).then(nw.col("site_id")).otherwise(nw.lit(""))
    wait, since = nw.lit(None).cast(nw.Int64), nw.col(COLUMN[stamp])
    if end.endswith(FROM_COURIER):
        came = nw.col("courier_arrived_at")
        # Without an arrival the comparison is null, and so is the wait.
        since = nw.when(came.is_null() | (came > since)).then(came).otherwise(since)
    if end:
        wait = nw.col(end_column(end)) - since
    frame = frame.with_columns(
        site=site,
        stamp=nw.col(COLUMN[stamp]),
        left=nw.col("promised_at") - nw.col(COLUMN[stamp]),
        clock=_clock(data),
        wait=nw.when((wait > -DAY_MS) & (wait <= _LONGEST_MS)).then(wait),
    )
    frame = _waited(frame, windows)
    return _flagged(frame, data, windows, stamp)


def end_column(end: str) -> str:
    """Return the column of a later instant, whatever it is counted from."""
    return COLUMN[end.removesuffix(FROM_COURIER)]


def _clock(data: Dataset) -> Any:
    """Return the class of the time between order and promise."""
    if not has(data, "placed_at"):
        return nw.lit(0).cast(nw.Int64)
    clock = nw.col("promised_at") - nw.col("placed_at")
    return sum(
        (flag(clock > minutes * MINUTE_MS) for minutes in CLOCKS_MIN),
        start=nw.lit(0).cast(nw.Int64),
    )


def _waited(frame: Frame, windows: Windows) -> Frame:
    """Add `known`, and `long`: among the longest waits of its site and hour.

    Equal waits are told apart by an arbitrary but fixed order, so that the share of
    long waits is the same whatever the precision of the clocks. Hours of a day in
    which most of the others at the site waited long are set aside (`jammed`): no
    courier came.
    """
    frame = frame.with_columns(
        known=flag(~nw.col("wait").is_null()), tie=nw.col("at_ms") % _TIE
    )
    place = ("site", "hour")
    rank = nw.col("known").cum_sum().over(*place, order_by=("wait", "tie", "order_id"))
    frame = frame.with_columns(rank=rank, size=nw.col("known").sum().over(*place))
    is_long = nw.col("rank") * 100 > nw.col("size") * windows.long_percent
    frame = frame.with_columns(long=flag(is_long) * nw.col("known"))
    moment = ("site", "day", "hour")
    others = {
        f"others_{name}": nw.col(name).sum().over(*moment)
        - nw.col(name).sum().over(*moment, "agent_id")
        for name in ("known", "long")
    }
    frame = frame.with_columns(**others)
    jam = (nw.col("others_known") >= _JAM_FEWEST) & (
        nw.col("others_long") * 2 >= nw.col("others_known")
    )
    frame = frame.with_columns(jammed=flag(jam) * nw.col("known"))
    return frame.with_columns(
        known=nw.col("known") * (1 - nw.col("jammed")),
        long=nw.col("long") * (1 - nw.col("jammed")),
    )


def _flagged(frame: Frame, data: Dataset, windows: Windows, stamp: str) -> Frame:
    left = nw.col("left")
    none = nw.lit(0).cast(nw.Int64)
    there, offline = none, none
    if has(data, "courier_arrived_at") and stamp == "ready":
        there = flag(nw.col("courier_arrived_at") <= nw.col("stamp") + MINUTE_MS)
    if has(data, "recorded_at"):
        late = nw.col("recorded_at") - nw.col("stamp") >= windows.offline_ms
        offline = flag(late)
    written = nw.col("recorded_at" if has(data, "recorded_at") else "stamp")
    frame = frame.with_columns(minute=written // MINUTE_MS).with_columns(
        in_minute=nw.col("known").count().over("agent_id", "minute")
    )
    clipped = (
        nw.when(nw.col("wait") > _CLIP_MS)
        .then(nw.lit(_CLIP_MS))
        .when(nw.col("wait") < -_CLIP_MS)
        .then(nw.lit(-_CLIP_MS))
        .otherwise(nw.col("wait"))
    )
    near = flag((left >= 0) & (left < windows.near_ms))
    frame = frame.with_columns(
        orders=nw.lit(1).cast(nw.Int64),
        met=flag(left >= 0),
        open_late=flag(left < windows.near_ms),
        near=near,
        just_after=flag((left < 0) & (left >= -windows.near_ms)),
        near_known=near * nw.col("known"),
        far_known=(1 - near) * nw.col("known"),
        there=there,
        offline=offline,
        burst=flag(nw.col("in_minute") >= windows.burst),
        five=flag(_on_five("stamp")),
        clipped=nw.when(nw.col("known") == 1).then(clipped).otherwise(none),
    )
    near_known, far_known = nw.col("near_known"), nw.col("far_known")
    split = {}
    for name in ("there", "burst", "offline"):
        for side, members in (("near", near_known), ("far", far_known)):
            split[f"{side}_{name}"] = members * nw.col(name)
            split[f"{side}_{name}_long"] = members * nw.col(name) * nw.col("long")
    return frame.with_columns(
        near_long=near_known * nw.col("long"),
        near_five=near_known * nw.col("five"),
        far_five=far_known * nw.col("five"),
        near_wait_ms=near_known * nw.col("clipped"),
        far_wait_ms=far_known * nw.col("clipped"),
        **split,
    )


def summaries(
    data: Dataset, windows: Windows, pairs: Sequence[str], found: Found
) -> Mapping[str, Frame]:
    """Count per agent and clock, per agent and day, per minute, and per wait."""
    parts: dict[str, list[Frame]] = {name: [] for name in KEYS}
    for pair in pairs:
        frame = once(orders(data, windows, pair, found).with_columns(pair=nw.lit(pair)))
        parts["cells"].append(_sums(frame, "cells", COUNTS))
        parts["days"].append(
            _sums(
                frame.filter(nw.col("open_late") == 1),
                "days",
                ("open_late", "near", "near_known", "near_long"),
            )
        )
        parts["positions"].append(_positions(frame))
        parts["offsets"].append(_offsets(frame))
    return {
        name: (
            frames[0] if len(frames) == 1 else nw.concat(frames, how="vertical")
        ).sort(*KEYS[name])
        for name, frames in parts.items()
        if frames
    }


def _sums(frame: Frame, name: str, counts: Sequence[str]) -> Frame:
    sums = {count: nw.col(count).cast(nw.Int64).sum() for count in counts}
    return frame.group_by(*KEYS[name]).agg(**sums)


def _positions(frame: Frame) -> Frame:
    """Count stamps by the minute; minute 59 is the last before the promise."""
    left, side = nw.col("left"), SIDE * MINUTE_MS
    return (
        frame.filter((left >= -side) & (left < side))
        .with_columns(position=2 * SIDE - 1 - (left + side) // MINUTE_MS)
        .group_by(*KEYS["positions"])
        .agg(
            n=nw.col("orders").sum(),
            known=nw.col("known").sum(),
            long=nw.col("long").sum(),
        )
    )


def _offsets(frame: Frame) -> Frame:
    """Count waits by ticks, on even and odd days, for those at or above zero."""
    tick_ms = OFFSET_TICK_S * 1000
    wait = nw.col("wait")
    return (
        frame.filter((wait >= 0) & (wait < OFFSET_TICKS * tick_ms))
        .with_columns(tick=wait // tick_ms, parity=nw.col("day") % 2)
        .group_by(*KEYS["offsets"])
        .agg(n=nw.col("orders").sum())
    )


KEYS: Mapping[str, tuple[str, ...]] = {
    "cells": ("pair", "agent_id", "clock"),
    "days": ("pair", "agent_id", "day"),
    "positions": ("pair", "position"),
    "offsets": ("pair", "agent_id", "parity", "tick"),
}
