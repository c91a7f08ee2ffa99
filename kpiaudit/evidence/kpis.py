"""KPIs of calls, as a dashboard shows them and without the calls in excess."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.findings import Restated
from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IN_TIME_S = 20.0
"""The usual target of a service level: answered within so many seconds."""
RESOLVED_DAYS = 7
"""A contact counts as resolved if the customer is not heard of again for so long."""
SUMS = (
    *("calls", "handled", "handle_ms", "handle_sq", "offered", "in_time"),
    *("known", "quiet"),
)
"""What the KPIs are made of; `handle_ms` and its square in tenths of a second."""
_Z = 1.959964


@frozen
class Sums:
    """Sums over some subject's calls, and over the flagged ones among them."""

    whole: Mapping[str, float]
    flagged: Mapping[str, float]


def restated(
    wanted: Sequence[str],
    sums: Sums,
    excess: tuple[float, float, float],
    *,
    further: bool = False,
) -> list[Restated]:
    """Take the excess among the flagged calls out of what each KPI counts.

    Args:
        wanted: KPIs, as a detector's `restates` names them.
        sums: Of the subject's calls.
        excess: Flagged calls in excess, and the ends of their interval.
        further: The upper end holds calls like the flagged ones that are not among
            them, such as a customer's further ones; else it ends at the flagged calls.

    Returns:
        Those of which there is enough to say something.
    """
    ways = {
        "handle_time": _handle_time,
        "service_level": _service_level,
        "first_contact_resolution": _resolution,
    }
    if not sums.flagged["calls"]:
        return []
    most = sums.whole["calls"] if further else sums.flagged["calls"]
    value, low, high = (min(max(x, 0.0), most) for x in excess)
    out = [ways[name](sums, (value, low, high)) for name in wanted]
    return [item for item in out if item is not None]


def _handle_time(sums: Sums, excess: Any) -> Restated | None:
    """Without the calls in excess, or with each of them lasting as long as the rest."""
    n, total = sums.whole["calls"], sums.whole["handle_ms"]
    each = sums.flagged["handle_ms"] / sums.flagged["calls"]
    if n - excess[2] < 20:
        return None
    means = [(total - x * each) / (n - x) / 10.0 for x in excess]
    variance = max(sums.whole["handle_sq"] / n - (total / n) ** 2, 0.0) / 100.0
    # What these callers would have talked about is drawn from the rest.
    noise = _Z * float(np.sqrt(variance * excess[0])) / n
    return Restated(
        kpi="average_handle_time",
        reported=total / n / 10.0,
        restated=means[0],
        low=means[0] - float(np.hypot(means[0] - means[1], noise)),
        high=means[0] + float(np.hypot(means[2] - means[0], noise)),
        unit="s",
        assumption="the calls in excess would have lasted as long as the other ones",
    )


def _service_level(sums: Sums, excess: Any) -> Restated | None:
    offered, in_time = sums.whole["offered"], sums.whole["in_time"]
    part = sums.flagged["in_time"] / sums.flagged["calls"]
    if offered < 20 or not part:
        return None
    value, high, low = ((in_time - x * part) / offered for x in excess)
    return Restated(
        kpi="service_level",
        reported=in_time / offered,
        restated=value,
        low=max(low, 0.0),
        high=high,
        unit="share",
        assumption=f"calls that reached an agent, answered within {IN_TIME_S:.0f} s; a "
        "call that was ended at once was not answered",
    )


def _resolution(sums: Sums, excess: Any) -> Restated | None:
    known, quiet = sums.whole["known"], sums.whole["quiet"]
    calls, seen = sums.flagged["calls"], sums.flagged["known"]
    if known < 50 or seen < 5:
        return None
    odd = sums.flagged["quiet"] / seen
    usual = (quiet - sums.flagged["quiet"]) / max(known - seen, 1.0)

    def gamed(x: float) -> tuple[float, float]:
        """Quiet ones among x calls: as the other flagged ones, or what these leave."""
        alike = x * seen / calls * odd
        left = sums.flagged["quiet"] - (calls - x) * seen / calls * usual
        return min(max(left, 0.0), alike), alike

    # Of the flagged calls only some are gamed: which ones is a draw without return.
    noise = _Z * np.sqrt(
        max(excess[0] * seen / calls * (1 - min(excess[0] / calls, 1)), 0.0)
        * odd
        * (1 - odd)
    )
    least, most = gamed(excess[1])[0], gamed(excess[2])[1]
    lost = gamed(excess[0])[0]
    value = (quiet - lost) / known
    return Restated(
        kpi="first_contact_resolution",
        reported=quiet / known,
        restated=max(value, 0.0),
        low=max(value - float(np.hypot(most - lost, noise)) / known, 0.0),
        high=value + float(np.hypot(lost - least, noise)) / known,
        unit="share",
        assumption=f"not followed by a contact within {RESOLVED_DAYS} days; the "
        "calls in excess resolved nothing",
    )


def as_shown(item: Restated | None, sums: Sums) -> Restated | None:
    """Move a detector's own KPI to where the dashboard shows it.

    A test leaves out calls that it can't compare (of an outage, of one customer within
    minutes), or the part of the handle time that it does not look at. What the excess
    changes stays the same; what was reported is the figure over all calls.

    Args:
        item: The KPI as the detector gives it; one that calls don't make up stays.
        sums: Of all the subject's calls.
    """
    if item is None or item.reported is None:
        return item
    whole = sums.whole
    shown = {
        "calls_handled": whole["handled"],
        "average_handle_time": whole["handle_ms"] / max(whole["calls"], 1.0) / 10.0,
    }.get(item.kpi)
    if not shown:
        return item
    by = shown - item.reported
    parts = (item.restated, item.low, item.high)
    again, low, high = (None if x is None else x + by for x in parts)
    return replace(item, reported=shown, restated=again, low=low, high=high)


def rate_of_all(
    parts: Sequence[tuple[Restated, float, float, float]], top: float, size: float
) -> Restated | None:
    """Restate a share of everybody from those of some, to whose records some are added.

    Args:
        parts: A subject's share as restated, how many records that adds, and the
            subject's numerator and denominator as they are.
        top: Numerator of everybody.
        size: Denominator of everybody.

    Returns:
        The share; half-widths are added, since all rest on one yardstick. None without
        parts.
    """
    told = [part for part in parts if None not in (part[0].restated, part[0].low)]
    if not told or not size:
        return None
    added = sum(more for _, more, _, _ in told)

    def at(name: str) -> float:
        gained = sum(getattr(i, name) * (own + more) - k for i, more, k, own in told)
        return float(top + gained) / (size + added)

    return replace(
        told[0][0],
        reported=top / size,
        restated=at("restated"),
        low=at("low"),
        high=at("high"),
        assumption="",
    )
