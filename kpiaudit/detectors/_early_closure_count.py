"""Lazy counts of closures: how near the deadline, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.detectors import _early_closure_events as events
from kpiaudit.detectors import _early_closure_score as score
from kpiaudit.detectors import _incentives as incentives
from kpiaudit.frozen import frozen
from kpiaudit.tables.sharing import once
from kpiaudit.tables.windows import NEVER, Along, upcoming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Found
    from kpiaudit.tables.dataset import Dataset, Frame

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
BULK_MS = 600_000
"""Closures of one agent within such a block count as one sweep."""

CLOCKS_H = (1, 3, 6, 12, 30, 60, 100, 200, 400)
"""Lengths of the clock, in hours, at which a new stratum begins."""

POSITIONS = 300
"""Hundredths of the clock that are counted: up to three times its length."""

_RARE = (0.05, 3)
"""Any next ticket of a customer counts if one falls into the window by chance at most
this often, or the customer has at most so many: a category is easily written."""
_SOME = (0.2, 6)
"""The same for the next ticket on the same matter; beyond, nothing follows from it."""

LEAD_MIN = 480
"""Minutes on both sides of the deadline that are counted one by one."""

COUNTS = (
    "due",
    "met",
    "open_late",
    "near",
    "just_after",
    "known",
    "bounced",
    "near_known",
    "near_bounced",
    "near_reopened",
    "near_followed",
    "side_known",
    "side_bounced",
)


@frozen
class Windows:
    """What the counting needs from the parameters.

    Args:
        near_per_mille: The last thousandths of the clock that are near the deadline.
        bounce_ms: Within this time a closure can bounce.
        quick_ms: A reopened ticket resolved again this fast saw no work.
        bulk: Closures in ten minutes from which they are a sweep.
        since_day: First day counted, in days since 1970-01-01; None counts all.
    """

    near_per_mille: int
    bounce_ms: int
    quick_ms: int
    bulk: int
    since_day: int | None


def flag(condition: Any) -> Any:
    """Return 1 where a condition holds and 0 elsewhere, nulls included."""
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int64)


def has(data: Dataset, *columns: str) -> bool:
    """Say whether the tickets have these columns."""
    return data.has(*(f"tickets.{column}" for column in columns))


def mode(data: Dataset) -> str:
    """Return what stands for the deadline: `due`, `sla` or, without any, `none`."""
    if has(data, "due_at"):
        return "due"
    return "sla" if has(data, "sla_met") else "none"


def can_bounce(data: Dataset) -> bool:
    """Say whether the tickets tell what became of a closure."""
    return (
        has(data, "reopened_at")
        or has(data, "reopen_count")
        or has(data, "customer_id")
        or events.usable(data)
    )


def closures(data: Dataset, windows: Windows, found: Found) -> Frame:
    """Return tickets of known agents with the flags named in `COUNTS`, 0 or 1."""
    return _judged(_closed(data, windows, found), data, windows, found)


def _closed(data: Dataset, windows: Windows, found: Found) -> Frame:
    """Return tickets of known agents with their first closure, if there is one."""
    frame = data.table("tickets").filter(
        ~nw.col("agent_id").is_null() & ~nw.col("opened_at").is_null()
    )
    if windows.since_day is not None:
        frame = frame.filter(nw.col("day") >= windows.since_day)
    frame = events.joined(frame, data, found)
    return _first_closure(frame, data, windows, mode(data))


def _judged(frame: Frame, data: Dataset, windows: Windows, found: Found) -> Frame:
    """Set aside what is no agent's own closure, and add the flags."""
    frame = _swept(frame, windows, found)
    frame = _bounced(frame, data, windows, found)
    return _flagged(frame, windows, found, mode(data))


def _first_closure(frame: Frame, data: Dataset, windows: Windows, how: str) -> Frame:
    """Add `done_at`, the first closure, and `reopen_at`; drop what is unknown."""
    reopen = nw.col("reopened_at") if has(data, "reopened_at") else nw.lit(None)
    frame = frame.with_columns(
        reopen_at=_first(nw.col("event_reopened"), reopen.cast(nw.Int64)),
        done_at=_first(nw.col("event_resolved"), nw.col("resolved_at")),
    )
    # An export that overwrites the first closure hides when it was.
    hidden = flag(
        nw.col("event_resolved").is_null() & (nw.col("reopen_at") <= nw.col("done_at"))
    )
    frame = frame.with_columns(hidden=hidden)
    if how == "due":
        frame = frame.filter(nw.col("hidden") == 0)
    return frame.filter(
        nw.col("done_at").is_null() | (nw.col("done_at") >= nw.col("opened_at"))
    )


def _first(one: Any, other: Any) -> Any:
    return nw.when(~one.is_null()).then(one).otherwise(other)


def _swept(frame: Frame, windows: Windows, found: Found) -> Frame:
    """Take out automatic closures and month-end sweeps."""
    local = nw.col("day") * DAY_MS + nw.col("hour") * HOUR_MS
    frame = frame.with_columns(
        done_day=(local + nw.col("done_at") - nw.col("opened_at")) // DAY_MS,
        block=nw.col("done_at") // BULK_MS,
    ).with_columns(in_block=nw.col("ticket_id").count().over("agent_id", "block"))
    days = list(found.get("sweep_days", ()))
    if days:
        sweep = (nw.col("in_block") >= windows.bulk) & nw.col("done_day").is_in(days)
        frame = frame.with_columns(sweep=flag(sweep & ~nw.col("done_at").is_null()))
        frame = frame.filter(nw.col("sweep") == 0)
    minutes = list(found.get("auto_age_min", ()))
    if minutes:
        age = (nw.col("done_at") - nw.col("opened_at")) // MINUTE_MS
        frame = frame.with_columns(auto=flag(age.is_in(minutes)))
        frame = frame.filter(nw.col("auto") == 0)
    return frame.filter(nw.col("automatic") == 0)


def _bounced(frame: Frame, data: Dataset, windows: Windows, found: Found) -> Frame:
    """Add `reopened`, `followed` and `bounced`, 0 or 1."""
    back = nw.col("reopen_at") - nw.col("done_at")
    in_time = (back >= 0) & (back <= windows.bounce_ms)
    if mode(data) != "due":
        in_time = in_time | (nw.col("hidden") == 1)
    reopened = flag(in_time & (_thanks(data, windows, found) == 0))
    late_work = nw.col("event_worked") - nw.col("done_at")
    worked_on = (late_work > windows.quick_ms) & (late_work <= windows.bounce_ms)
    reopened = flag((reopened == 1) | worked_on)
    if has(data, "reopen_count") and not has(data, "reopened_at"):
        counted = (nw.col("reopen_count") > 0) & nw.col("reopen_at").is_null()
        reopened = reopened + flag(counted)
    frame = frame.with_columns(reopened=reopened)
    if has(data, "customer_id"):
        frame = _followed(frame, data, windows, found)
    else:
        frame = frame.with_columns(followed=nw.lit(0).cast(nw.Int64))
    either = (nw.col("reopened") == 1) | (nw.col("followed") == 1)
    return frame.with_columns(bounced=flag(either))


def _thanks(data: Dataset, windows: Windows, found: Found) -> Any:
    """Say 1 where a reopening was followed by no work: a reply, resolved at once."""
    again = _first(
        nw.col("event_again"),
        nw.when(nw.col("resolved_at") > nw.col("reopen_at")).then(
            nw.col("resolved_at")
        ),
    )
    if has(data, "closed_at"):
        delay = int(found.get("auto_close_ms", 0))
        closed = nw.col("closed_at")
        after = nw.when(closed - delay >= nw.col("reopen_at")).then(closed - delay)
        again = _first(again, _first(after, closed))
    quick = (again - nw.col("reopen_at")) <= windows.quick_ms
    if found.get("work_logged"):
        return flag(nw.col("worked") == 0)
    return flag(quick)


def _followed(frame: Frame, data: Dataset, windows: Windows, found: Found) -> Frame:
    """Add `followed`: the customer's next ticket on the same matter comes in time."""
    matter = nw.lit("")
    if has(data, "category"):
        matter = _first(nw.col("category"), nw.lit(""))
    whose = ("customer_id", "matter", "ticket_id")
    opened = (
        data.table("tickets")
        .filter(~nw.col("customer_id").is_null() & ~nw.col("opened_at").is_null())
        .with_columns(matter=matter)
        .select(*whose, at=nw.col("opened_at"), kind=nw.lit(0))
    )
    done = (
        frame.filter(~nw.col("customer_id").is_null() & ~nw.col("done_at").is_null())
        .with_columns(matter=matter)
        .select(*whose, at=nw.col("done_at"), kind=nw.lit(1))
    )
    windows_in = int(found.get("span_ms", 0)) / windows.bounce_ms
    rare, some = (max(n, round(p * windows_in)) for p, n in (_RARE, _SOME))
    order = ("at", "kind", "ticket_id")
    is_open = 1 - nw.col("kind")
    both = nw.concat([opened, done], how="vertical")
    for name, whose_next in (
        ("any_next", ("customer_id",)),
        ("same_next", ("customer_id", "matter")),
    ):
        # The earliest opening at or after each closure.
        both = upcoming(both, Along(per=whose_next, order=order), "kind", {name: 0})
    soon = (
        nw.when(nw.col("all") <= rare)
        .then(nw.col("any_next"))
        .otherwise(
            nw.when(nw.col("many") <= some)
            .then(nw.col("same_next"))
            .otherwise(nw.lit(NEVER))
        )
    )
    following = (
        both.with_columns(
            all=is_open.sum().over("customer_id"),
            many=is_open.sum().over("customer_id", "matter"),
        )
        .filter(nw.col("kind") == 1)
        .with_columns(next_opened=soon)
        .group_by("ticket_id")
        .agg(next_opened=nw.col("next_opened").min())
    )
    wait = nw.col("next_opened") - nw.col("done_at")
    return frame.join(following, on="ticket_id", how="left").with_columns(
        followed=flag(wait <= windows.bounce_ms)
    )


def _flagged(frame: Frame, windows: Windows, found: Found, how: str) -> Frame:
    """Add the flags of `COUNTS`, the strata, and the day on which a ticket is due."""
    end = int(found.get("end_ms", 2**62))
    done, due, opened = nw.col("done_at"), nw.col("due_at"), nw.col("opened_at")
    closed = ~done.is_null() & (done <= end)
    if how == "due":
        frame = frame.filter((due > opened) & (due <= end))
        clock = due - opened
        reach = clock * windows.near_per_mille
        begun = done.is_null() | ((due - done) * 1000 <= reach)
        met = closed & (done <= due)
        near = met & begun
        position = (done - opened) * 100 // clock
        side = ((position >= 50) & (position < POSITIONS)) & ~near
        local = nw.col("day") * DAY_MS + nw.col("hour") * HOUR_MS + clock
        frame = frame.with_columns(
            due=flag(due > opened),
            open_late=flag(begun),
            just_after=flag((done > due) & ((done - due) * 1000 <= reach)),
            position=position,
            clock=sum((flag(clock > h * HOUR_MS) for h in CLOCKS_H), start=nw.lit(0)),
            due_day=local // DAY_MS,
            due_part=(local // (8 * HOUR_MS)) % 3,
        )
    else:
        met = closed & (nw.col("sla_met") if how == "sla" else opened.is_null())
        near, side = met, opened.is_null()
        zero = nw.lit(0)
        frame = frame.with_columns(
            due=flag(closed),
            open_late=flag(closed),
            just_after=zero,
            position=zero,
            clock=zero,
            due_day=nw.col("done_day"),
            due_part=zero,
        )
    known = closed & (done + windows.bounce_ms <= end)
    frame = frame.with_columns(
        met=flag(met), near=flag(near), known=flag(known), side_known=flag(known & side)
    )
    bounced, near_known = nw.col("bounced"), nw.col("near") * nw.col("known")
    return frame.with_columns(
        near_known=near_known,
        near_bounced=near_known * bounced,
        near_reopened=near_known * nw.col("reopened"),
        near_followed=near_known * nw.col("followed"),
        side_bounced=nw.col("side_known") * bounced,
        bounced=nw.col("known") * bounced,
    )


def _sums() -> dict[str, Any]:
    return {name: nw.col(name).cast(nw.Int64).sum() for name in COUNTS}


def summaries(data: Dataset, windows: Windows, found: Found) -> Mapping[str, Frame]:
    """Count per agent and stratum, per agent and day, and per place in the clock."""
    if not can_bounce(data):
        return {}
    paid = bool(found.get("schemes"))
    closed = _closed(data, windows, found)
    if paid:
        closed = once(closed)
    frame = once(_judged(closed, data, windows, found))
    by = ("agent_id", "clock", "due_part")
    out = {
        "cells": frame.group_by(*by).agg(**_sums()).sort(*by),
        "days": frame.filter(nw.col("open_late") == 1)
        .group_by("agent_id", "due_day")
        .agg(
            **{
                name: nw.col(name).cast(nw.Int64).sum()
                for name in ("open_late", "near", "near_known", "near_bounced")
            }
        )
        .sort("agent_id", "due_day"),
    }
    if mode(data) == "due":
        place = (nw.col("position") >= 0) & (nw.col("position") < POSITIONS)
        # A closure at the very instant of the deadline is in time.
        at_due = (nw.col("near") == 1) & (nw.col("position") >= 100)
        out["positions"] = (
            frame.filter(place)
            .with_columns(
                position=nw.when(at_due).then(nw.lit(99)).otherwise(nw.col("position"))
            )
            .group_by("position")
            .agg(
                n=nw.len(),
                known=nw.col("known").cast(nw.Int64).sum(),
                bounced=nw.col("bounced").cast(nw.Int64).sum(),
            )
            .sort("position")
        )
        out["leads"] = _leads(frame)
    if paid:
        out[incentives.CELLS] = score.cells(closed, frame, data, found)
    return out


def _leads(frame: Frame) -> Frame:
    """Count closures per minute from the deadline; -1 is the minute before it."""
    late = nw.col("done_at") - nw.col("due_at")
    shift = LEAD_MIN * MINUTE_MS
    # At the very instant of the deadline a closure is in time. Integers are divided
    # where they are positive: engines round negative ones differently.
    minute = (late + shift - 1) // MINUTE_MS - LEAD_MIN
    return (
        frame.filter((late > -shift) & (late <= shift))
        .with_columns(lead=minute)
        .group_by("lead")
        .agg(n=nw.len())
        .sort("lead")
    )
