"""Lazy counts of short calls: who had them, what followed, where and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.detectors import _incentives as incentives
from kpiaudit.frozen import frozen
from kpiaudit.tables.neighbours import REACH_MS, Sequence, legs, with_neighbours
from kpiaudit.tables.sharing import narrow, once, settled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Several

    from kpiaudit.detectors.base import Found, Summaries
    from kpiaudit.tables.dataset import Dataset, Frame
    from kpiaudit.tables.order import Order

BLOCKS_MS = (600_000, 3_600_000)
"""Lengths of the blocks in which an outage is looked for: ten minutes and an hour."""

LONGEST_MS = 2_000_000_000
"""A call's length and the wait for its redial, together, are less than 23 days."""

LONGEST_S = 86_400
"""A longer talk is a slip of the pen or of the unit; it is left out."""

DENSITY_S = 60
"""Durations below this many seconds are counted second by second."""


@frozen
class Windows:
    """Lengths that the counting needs, in the units of the parameters.

    Args:
        short_s: A shorter talk is a short call.
        next_s: Talk from `short_s` up to here is a longer call of the same kind.
        redial_ms: A call of the same customer within this time is a redial.
        episode_ms: Short calls of one customer this near are one episode.
    """

    short_s: float
    next_s: float
    redial_ms: int
    episode_ms: int


def flag(condition: Any) -> Any:
    """Return 1 where a condition holds and 0 elsewhere, nulls included."""
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int64)


def has(data: Dataset, column: str) -> bool:
    """Say whether the calls have a column."""
    return data.has(f"calls.{column}")


def calls(data: Dataset, windows: Windows) -> Frame:
    """Return incoming legs with the flags `handled`, `short` and `next`."""
    talk = nw.col("talk_s")
    # A negative length is no short call, and one of days was no call at all.
    handled = ~nw.col("agent_id").is_null() & (talk >= 0) & (talk <= LONGEST_S)
    if has(data, "outcome") and not data.answered:
        outcome = nw.col("outcome")
        handled = handled & (outcome.is_null() | (outcome == "answered"))
    brief = nw.col("talk_s") < windows.short_s
    if has(data, "ended_by"):
        # passing a caller on is another pattern, with a detector of its own
        ended = nw.col("ended_by")
        brief = brief & (ended.is_null() | (ended != "transfer"))
    following = (nw.col("talk_s") >= windows.short_s) & (
        nw.col("talk_s") < windows.next_s
    )
    frame = data.table("calls")
    if has(data, "direction"):
        way = nw.col("direction")
        frame = frame.filter(way.is_null() | (way != "outbound"))
    return frame.with_columns(
        handled=flag(handled),
        short=flag(handled & brief),
        next=flag(handled & following),
    )


def followed(data: Dataset, windows: Windows, found: Found) -> Frame:
    """Add what the same customer did before and after to each handled call.

    The columns added are `again` (the customer had a short call moments before, with
    whomever), `known` (customer known, and the whole window is inside the export and
    not where a clock was set back)
    and `redial`. Numbers that call again and again in silence are left out, and so
    are outages, once the customers' sequences have been read.
    """
    frame = calls(data, windows)
    last = data.period.get("calls")
    silent, shared = list(found.get("silent", ())), list(found.get("shared", ()))
    if not has(data, "customer_id") or last is None or not has(data, "at_ms"):
        kept = frame.with_columns(again=nw.lit(0), known=nw.lit(0), redial=nw.lit(0))
        return _handled(kept, data, found)
    customer = nw.col("customer_id")
    if silent:
        frame = frame.filter(customer.is_null() | ~customer.is_in(silent))
    named = ~customer.is_null()
    if shared:
        named = named & ~customer.is_in(shared)
    frame = frame.with_columns(named=flag(named))
    # A shared number's callers are told apart here, but not in the common order, and
    # windows longer than the order reaches need the caller's name.
    far = _horizon_ms(windows) > REACH_MS
    order = None if shared or far else data.orders.get("calls")
    if order is None:
        # Callers without a number are customers of their own: null would be one.
        alone = nw.concat_str([nw.lit("\x00"), nw.col("call_id")])
        caller = nw.when(named).then(customer).otherwise(alone)
        frame = frame.with_columns(caller=caller)
    return _handled(_sequence(frame, data, windows, last[1], order), data, found)


def _horizon_ms(windows: Windows) -> int:
    return max(LONGEST_MS, windows.redial_ms, windows.episode_ms)


def _sequence(
    frame: Frame, data: Dataset, windows: Windows, last_ms: int, order: Order | None
) -> Frame:
    end = nw.col("at_ms") + (nw.col("talk_s") * 1000).cast(nw.Int64)
    if has(data, "ended_at"):
        # A stamp that no call can bear (before it began, days later) says nothing.
        lasted = nw.col("ended_at") - nw.col("at_ms")
        usable = (lasted >= 0) & (lasted <= LONGEST_S * 1000)
        end = nw.when(usable).then(nw.col("ended_at")).otherwise(end)
    how = Sequence(
        per="caller",
        at="at_ms",
        id="call_id",
        mark="short",
        horizon_ms=_horizon_ms(windows),
        then=legs(data),
        order=order,
    )
    frame = with_neighbours(frame.with_columns(end_ms=end), how)
    after_end = nw.col("at_ms") + nw.col("next_gap_ms") - nw.col("end_ms")
    soon = after_end <= windows.redial_ms
    near = nw.col("mark_gap_ms") <= windows.episode_ms
    until = nw.col("end_ms") + windows.redial_ms
    whole = until <= last_ms
    near = near & (nw.col("short") == 1)
    if order is None:
        # Callers without a number and calls without an id are nobody's episode.
        near = near & ~nw.col("caller").is_null()
    for first, last in data.doubled.get("calls", ()):
        # Where a clock was set back nobody knows what came within minutes.
        whole = whole & ((until < first) | (nw.col("at_ms") > last))
    return frame.with_columns(
        again=flag(near),
        known=flag((nw.col("named") == 1) & whole),
        redial=flag(soon & (nw.col("next_same") == 0)),
    )


def _handled(frame: Frame, data: Dataset, found: Found) -> Frame:
    frame = frame.filter(nw.col("handled") == 1)
    if found.get("coarse") and has(data, "site_id"):
        frame = frame.filter(~_at_coarse(found))
    for kind, place, start, length in found.get("outages", ()):
        inside = (nw.col("at_ms") >= start) & (nw.col("at_ms") < start + length)
        if kind and has(data, kind):
            inside = inside & (nw.col(kind) == place)
        frame = frame.filter(~inside | inside.is_null())
    return frame


def _at_coarse(found: Found) -> Any:
    """Say whether a call is of a site whose lengths are rounded too much to be told."""
    return nw.col("site_id").fill_null("").is_in(list(found["coarse"]))


def only_elsewhere(summaries: Summaries) -> int:
    """Count the agents of such sites who have no call anywhere else."""
    if "coarse" not in summaries:
        return 0
    there = summaries["coarse"]["agent_id"]
    return len(set(there.tolist()) - set(summaries["counts"]["agent_id"].tolist()))


def text(column: str) -> Any:
    """Return a text column with null as the empty text, so that it can be a stratum."""
    return nw.col(column).fill_null("").alias(column)


def weighed(frame: Frame) -> Frame:
    """Add what `totals` sums up: 0 or 1 a call, an episode of short calls as one."""
    # Small: polars keeps these columns of all rows until the last sum is done.
    small = {n: nw.col(n).cast(nw.Int8) for n in ("again", "short", "redial", "known")}
    frame = frame.with_columns(next=nw.col("next").cast(nw.Int8), **small)
    one = 1 - nw.col("again")
    known = nw.col("known") * one
    return frame.with_columns(
        one=one,
        k=nw.col("short") * one,
        m=nw.col("next"),
        f=known * nw.col("short"),
        r=known * nw.col("short") * nw.col("redial"),
        g=known * (1 - nw.col("short")),
        h=known * (1 - nw.col("short")) * nw.col("redial"),
    )


def _waiting(frame: Frame, data: Dataset) -> Frame:
    """Add what is counted by; texts of few words, and short numbers.

    `second` is that of the talk, below `DENSITY_S` seconds, and -1 beyond; `block` is
    the number of a block of time, -1 without a time.
    """
    talk = nw.col("talk_s")
    brief = nw.when(talk < DENSITY_S).then(talk - talk % 1.0).otherwise(nw.lit(-1.0))
    frame = frame.with_columns(second=brief.cast(nw.Int8))
    if has(data, "at_ms"):
        frame = frame.with_columns(_block())
    if has(data, "day"):
        frame = frame.with_columns(nw.col("day").cast(nw.Int32))
    by = [n for n in ("station", "trunk", "ended_by") if has(data, n)]
    names = frame.collect_schema().names()
    waiting = frame.select(n for n in names if n in _COUNTED)
    return narrow(waiting, ("agent_id", "queue", *by))


_COUNTED = {
    *("agent_id", "queue", "station", "trunk", "ended_by", "monitored"),
    *("day", "hour", "block", "second", "talk_s", "hold_s", "wrap_s"),
    *("again", "short", "one", "k", "m", "f", "r", "g", "h"),
}
"""What anything is counted by or added up: the rest need not be stored."""


def _block() -> Any:
    # Four bytes of it: instants of the year 50,000 occur.
    number = (nw.col("at_ms") // BLOCKS_MS[0]) % 2**31
    return number.fill_null(-1).cast(nw.Int32).alias("block")


def totals(keys: Several[str], frame: Frame) -> Frame:
    """Sum up calls, short ones and what followed, per combination of `keys`."""
    return (
        frame.group_by(*keys)
        .agg(
            calls=nw.col("one").sum(),
            short=nw.col("k").sum(),
            next=nw.col("m").sum(),
            short_known=nw.col("f").sum(),
            short_redialled=nw.col("r").sum(),
            long_known=nw.col("g").sum(),
            long_redialled=nw.col("h").sum(),
        )
        .sort(*keys)
    )


def whole_number(column: str) -> Any:
    return nw.col(column).cast(nw.Int64)


def density(frame: Frame) -> Frame:
    """Count calls per agent and second of talk, below `DENSITY_S` seconds."""
    return (
        frame.filter((nw.col("second") >= 0) & (nw.col("again") == 0))
        .with_columns(whole_number("second"))
        .group_by("agent_id", "second")
        .agg(calls=nw.len())
        .sort("agent_id", "second")
    )


def summaries(data: Dataset, windows: Windows, found: Found) -> Mapping[str, Frame]:
    """Return every summary that the test and the wording draw on."""
    frame = followed(data, windows, found)
    queue = "queue" if has(data, "queue") else None
    frame = frame.with_columns(queue=text("queue") if queue else nw.lit(""))
    frame = once(_waiting(weighed(frame), data))
    out = {"counts": totals(("agent_id", "queue"), frame), "density": density(frame)}
    if has(data, "day"):
        dated = frame.filter(~nw.col("day").is_null())
        out["days"] = totals(("agent_id", "day"), dated)
    for column in ("station", "trunk"):
        if has(data, column):
            placed = frame.with_columns(text(column))
            out[column] = totals((column, "agent_id"), placed)
    if queue and has(data, "trunk"):
        lines = frame.with_columns(text("trunk"))
        out["lines"] = totals(("trunk", "queue"), lines)
    for column in ("ended_by", "monitored"):
        if has(data, column):
            split = frame.filter(~nw.col(column).is_null())
            out[column] = totals(("agent_id", column), split)
    if has(data, "at_ms"):
        out["bursts"] = bursts(frame, calls(data, windows), small=data.small)
    if found.get("coarse") and has(data, "site_id"):
        left = calls(data, windows).filter(nw.col("handled") == 1, _at_coarse(found))
        out["coarse"] = left.group_by("agent_id").agg(calls=nw.len()).sort("agent_id")
    if found.get("schemes"):
        one = 1 - nw.col("again")
        out |= incentives.cells(
            frame, data, found, trials=one, events=one * nw.col("short")
        )
    return out


def bursts(frame: Frame, every: Frame, *, small: bool) -> Frame:
    """Count, per agent, short calls in blocks of ten minutes with hardly any other.

    Args:
        frame: From `followed`.
        every: From `calls`; it has all rows of the other, and perhaps more.
        small: Whether all tables have few rows (`Dataset.small`).
    """
    # Nearly every call is a block of its own: only those with three short calls are
    # counted whole, and all others together.
    some = settled(
        {
            "": narrow(every.filter(nw.col("short") == 1), ("agent_id",))
            .with_columns(_block())
            .group_by("agent_id", "block")
            .agg(all_short=nw.len())
            .filter(nw.col("all_short") >= 3)
            .select("agent_id", "block", own=nw.col("block"))
        },
        small=small,
    )[""]
    dense = (nw.col("short") >= 3) & (nw.col("short") * 5 >= nw.col("calls") * 4)
    dense = dense & (nw.col("own") != _NO_BLOCK)
    burst = nw.when(dense).then(nw.col("short")).otherwise(nw.lit(0))
    return (
        frame.join(some, on=["agent_id", "block"], how="left")
        .with_columns(own=nw.col("own").fill_null(_NO_BLOCK))
        .group_by("agent_id", "own")
        .agg(calls=nw.len(), short=nw.col("short").sum())
        .with_columns(burst=burst.cast(nw.Int64))
        .group_by("agent_id")
        .agg(short=nw.col("short").sum(), burst=nw.col("burst").sum())
        .sort("agent_id")
    )


_NO_BLOCK = -2
"""Calls of all blocks that are not looked at; -1 is that of calls without a time."""
