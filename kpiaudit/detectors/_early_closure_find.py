"""What is automatic in the closing of tickets, found before anybody is compared."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from kpiaudit.detectors import _early_closure_count as count
from kpiaudit.detectors import _early_closure_events as events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Found, Summaries, Summary
    from kpiaudit.tables.dataset import Dataset, Frame

_OPTIONAL = ("due_at", "sla_met", "reopened_at", "customer_id", "category")
_EPOCH = date(1970, 1, 1)
_EVERYBODY = 0.5
"""A delay is automatic if at least this share of the agents has it."""
_AUTO_CLOSE = 0.3
"""Share of the closed tickets that an automatic close has to reach."""
_AUTO_CLOSE_H = 12
_FEWEST = 20
_ALIVE = 0.1
"""A week with less than this share of the usual week's openings is a thin tail."""


def frames(data: Dataset) -> Mapping[str, Frame]:
    """Count openings per day, ages at closure, and delays until the final close."""
    tickets = data.table("tickets").filter(
        ~nw.col("agent_id").is_null() & ~nw.col("opened_at").is_null()
    )
    out = {
        "openings": tickets.group_by("day")
        .agg(n=nw.len(), last_at=nw.col("opened_at").max())
        .with_columns(**_given(data))
        .sort("day"),
        "agents": tickets.group_by("agent_id").agg(n=nw.len()).sort("agent_id"),
        "ages": _delays(
            tickets, nw.col("resolved_at") - nw.col("opened_at"), count.MINUTE_MS
        ),
    }
    if count.has(data, "closed_at"):
        out["delays"] = _delays(
            tickets, nw.col("closed_at") - nw.col("resolved_at"), count.HOUR_MS
        )
    return out | dict(events.discovered(data))


def _given(data: Dataset) -> dict[str, Any]:
    """Return which columns there are, 0 or 1: `find` sees nothing but summaries."""
    return {
        f"has_{column}": nw.lit(int(count.has(data, column))) for column in _OPTIONAL
    }


def _delays(tickets: Frame, delay: Any, unit_ms: int) -> Frame:
    return (
        tickets.with_columns(delay=delay)
        .filter(nw.col("delay") >= count.HOUR_MS)
        .with_columns(delay=nw.col("delay") // unit_ms)
        .group_by("delay", "agent_id")
        .agg(each=nw.len().cast(nw.Int64))
        .group_by("delay")
        .agg(n=nw.col("each").sum(), agents=nw.len())
        .filter(nw.col("n") >= _FEWEST)
        .sort("delay")
    )


def read(summaries: Summaries) -> Found:
    """Return what was found: where the export ends, automatic and swept closures."""
    openings = summaries["openings"]
    if not len(openings):
        return {}
    agents = len(summaries["agents"])
    given = {c: int(openings.ints(f"has_{c}")[0]) for c in _OPTIONAL}
    found: dict[str, Any] = {
        "mode": "due" if given["due_at"] else "sla" if given["sla_met"] else "none",
        "columns": given,
        "end_ms": _end(openings),
        "span_ms": _end(openings) - int(openings.ints("day").min()) * count.DAY_MS,
        "cut": _end(openings) < int(openings.ints("last_at").max()),
        "sweep_days": _sweep_days(openings),
        "auto_age_min": _auto_ages(summaries["ages"], agents),
    }
    if "delays" in summaries:
        found |= _auto_close(summaries["delays"], summaries["agents"])
    if "log" in summaries:
        found |= _log(summaries["log"])
    return found


def _end(openings: Summary) -> int:
    """Return the last instant up to which follow-ups could have been seen."""
    day, n = openings.ints("day"), openings.floats("n")
    per_day = np.bincount(day - day.min(), weights=n)
    week = np.convolve(per_day, np.ones(7))[: len(per_day)]
    # The week in which the middle ticket falls: a long thin tail must not count.
    order = np.argsort(week, kind="stable")
    middle = np.searchsorted(np.cumsum(per_day[order]), per_day.sum() / 2.0)
    usual = float(week[order][middle])
    alive = np.flatnonzero(week >= _ALIVE * usual)
    last_day = int(alive.max()) + int(day.min())
    if last_day >= int(day.max()):
        return int(openings.ints("last_at").max())
    # The thin tail begins after the last week of ordinary volume.
    busy = np.flatnonzero(per_day >= _ALIVE * usual / 7.0)
    last_day = int(busy[busy <= alive.max()].max()) + int(day.min())
    return int(openings.ints("last_at")[day <= last_day].max())


def _sweep_days(openings: Summary) -> list[int]:
    """Return the last three and the first day of each month, and a month beyond."""
    first, last = int(openings.ints("day").min()), int(openings.ints("day").max())
    return [
        day
        for day in range(first, last + 32)
        if (_EPOCH + timedelta(days=day + 3)).day <= 4
    ]


def _auto_ages(ages: Summary, agents: int) -> list[int]:
    """Return ages, in minutes, at which tickets are resolved by a machine."""
    if not len(ages) or agents < 4:
        return []
    at = dict(zip(ages.ints("delay").tolist(), ages.ints("n").tolist(), strict=True))
    out = []
    for minute, n, who in zip(at, at.values(), ages.ints("agents"), strict=True):
        beside = max(at.get(minute - 1, 0), at.get(minute + 1, 0), _FEWEST)
        if n >= 5 * beside and who >= _EVERYBODY * agents:
            out.append(int(minute))
    return out


def _auto_close(delays: Summary, agents: Summary) -> dict[str, Any]:
    """Return the delay after which tickets close by themselves, if they do."""
    total = float(agents.floats("n").sum())
    late = delays.where(delays.ints("delay") >= _AUTO_CLOSE_H)
    if not len(late) or total <= 0:
        return {}
    hours, n = late.ints("delay"), late.floats("n")
    best = int(np.argmax(n))
    around = np.abs(hours - hours[best]) <= 1
    share = float(n[around].sum()) / total
    widely = float(late.ints("agents")[best]) >= _EVERYBODY * len(agents)
    if share < _AUTO_CLOSE or not widely:
        return {}
    return {
        "auto_close_ms": int(hours[best]) * count.HOUR_MS,
        "auto_close_share": share,
    }


def _log(log: Summary) -> dict[str, Any]:
    done, state = log.ints("is_done") == 1, log.ints("is_state") == 1
    human, n = log.ints("by_agent") == 1, log.floats("n")
    closed = float(n[done].sum())
    return {
        "closures_logged": closed > 0,
        # Ids of another kind in the log would make every closure automatic.
        "closers_known": float(n[done & human].sum()) >= 0.2 * max(closed, 1.0),
        "work_logged": float(n[~state & human].sum()) >= 0.2 * max(closed, 1.0),
    }


def sentences(found: Found) -> tuple[str, ...]:
    """Say in sentences what was found and set aside."""
    out = []
    if "auto_close_ms" in found:
        hours = int(found["auto_close_ms"]) // count.HOUR_MS
        out.append(
            f"{float(found['auto_close_share']):.0%} of the tickets are closed for "
            f"good about {hours} hours after they were resolved, whoever had them: an "
            "automatic close. Times are taken from resolved_at alone."
        )
    if found.get("auto_age_min"):
        ages = ", ".join(str(m) for m in found["auto_age_min"][:5])
        out.append(
            f"Many agents' tickets are resolved exactly {ages} minutes after they were "
            "opened: automatic closures, set aside."
        )
    if found.get("cut"):
        end = (_EPOCH + timedelta(milliseconds=int(found["end_ms"]))).isoformat()
        out.append(
            f"Openings thin out after {end}; later tickets are not counted, since what "
            "followed them can't be seen."
        )
    if found.get("closers_known"):
        out.append("Tickets that nobody among the agents closed are set aside.")
    return tuple(out)
