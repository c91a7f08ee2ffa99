"""Thresholds that pay, read from `incentives` and from targets in `kpis`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats import standing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpiaudit.detectors.base import Found, Summaries, Summary
    from kpiaudit.tables.dataset import Dataset, Frame

CALLS_HANDLED = frozenset(
    {"calls_handled", "handled_calls", "calls_answered", "calls", "contacts_handled"}
)
"""KPIs that count an agent's calls, as tables call them."""
HANDLE_TIME = frozenset(
    {"average_handle_time", "average_handling_time", "handle_time", "aht"}
)
"""KPIs that are a mean of seconds per call."""
TICKETS_CLOSED = frozenset(
    {
        "tickets",
        "tickets_closed",
        "tickets_handled",
        "tickets_resolved",
        "tickets_solved",
        "closed_tickets",
        "resolved_tickets",
        "solved_tickets",
        "cases_closed",
        "cases_resolved",
        "incidents_closed",
        "incidents_resolved",
        "closures",
        "resolutions",
    }
)
"""KPIs that count the tickets an agent closed."""
IN_TIME = frozenset(
    {
        "resolved_in_time",
        "resolved_on_time",
        "resolved_within_target",
        "resolved_within_sla",
        "closed_in_time",
        "closed_on_time",
        "sla",
        "sla_met",
        "sla_attainment",
        "sla_compliance",
        "sla_rate",
        "within_sla",
        "within_target",
    }
)
"""KPIs that are the share of an agent's tickets resolved in time."""

_DAY_MS = 86_400_000
_EVER = 2**31
_ALWAYS = _EVER * _DAY_MS
_PERCENT = 100.0
_PERIODS = frozenset({"day", "week", "month", "quarter"})


@frozen
class Scheme:
    """What was paid for, or agreed as a target.

    Args:
        kpi: Its name, in lower case with underscores.
        kind: `agent`, or whatever else the table says.
        subject: Id of the subject; empty for everybody.
        threshold: Value from which it is paid.
        above: It is paid above the threshold.
        period: `day`, `week`, `month`, `quarter` or `span`.
        first: First day, since 1970-01-01.
        last: The day after the last one.
    """

    kpi: str
    kind: str
    subject: str
    threshold: float
    above: bool
    period: str
    first: int
    last: int


def discover(data: Dataset, table: str = "calls") -> dict[str, Frame]:
    """Return the rows of `incentives` and `kpis` that state a threshold.

    Args:
        data: The dataset.
        table: The table whose records make the score.
    """
    if not data.has(f"{table}.day", f"{table}.hour"):
        return {}
    out: dict[str, Frame] = {}
    if data.has("incentives.kpi", "incentives.threshold"):
        out["schemes"] = _rows(
            data,
            "incentives",
            ("kpi", "subject_kind", "subject_id", "direction", "period"),
            "threshold",
            ("valid_from", "valid_to"),
        )
    if data.has("kpis.kpi", "kpis.target", "kpis.period_start", "kpis.period_end"):
        out["targets"] = _rows(
            data,
            "kpis",
            ("kpi", "subject_kind", "subject_id"),
            "target",
            ("period_start", "period_end"),
        )
    return out


def _rows(
    data: Dataset,
    table: str,
    texts: Iterable[str],
    value: str,
    span: tuple[str, str],
) -> Frame:
    """Return a small table without nulls, its span as `first` and `last`."""

    def column(name: str, empty: Any) -> Any:
        if not data.has(f"{table}.{name}"):
            return nw.lit(empty)
        return nw.col(name).fill_null(empty)

    ends = {
        "first": column(span[0], -_ALWAYS).cast(nw.Int64),
        "last": column(span[1], _ALWAYS).cast(nw.Int64),
    }
    chosen = {name: column(name, "") for name in texts}
    names = (*chosen, "threshold", "first", "last")
    return (
        data.table(table)
        .filter(~nw.col("kpi").is_null() & ~nw.col(value).is_null())
        .select(threshold=nw.col(value).cast(nw.Float64), **chosen, **ends)
        .group_by(*names)
        .agg(rows=nw.len())
        .sort(*names)
    )


def find(summaries: Summaries, *, kpis: Iterable[str]) -> dict[str, Any]:
    """Return the schemes on these KPIs, as a part of what the first stage found."""
    wanted = frozenset(kpis)
    schemes = [
        *_read(summaries.get("schemes"), span=False),
        *_read(summaries.get("targets"), span=True),
    ]
    chosen = tuple(s for s in schemes if s.kpi in wanted)
    return {"schemes": chosen} if chosen else {}


def _read(rows: Summary | None, *, span: bool) -> list[Scheme]:
    out: list[Scheme] = []
    if rows is None:
        return out
    for i in range(len(rows)):
        kpi = re.sub(r"[^a-z0-9]+", "_", str(rows["kpi"][i]).lower()).strip("_")
        period = "span" if span else str(rows["period"][i] or "month").lower()
        side = "" if span else str(rows["direction"][i]).lower()
        first, last = (int(rows.ints(name)[i]) for name in ("first", "last"))
        threshold = float(rows.floats("threshold")[i])
        if kpi in IN_TIME and 1.0 < threshold <= _PERCENT:
            threshold /= _PERCENT
        if not threshold > 0 or (period not in _PERIODS and not span):
            continue
        if span and _ALWAYS in (-first, last):
            continue
        out.append(
            Scheme(
                kpi=kpi,
                kind=str(rows["subject_kind"][i]).lower() or "agent",
                subject=str(rows["subject_id"][i]),
                threshold=threshold,
                above=side == "above" if side else kpi not in HANDLE_TIME,
                period=period,
                first=_local_day(first),
                last=_local_day(last),
            )
        )
    return out


def _local_day(instant_ms: int) -> int:
    """Return the day whose local midnight is nearest, in zones up to twelve hours off.

    Schemes begin and end at midnight somewhere; the last second of a day is the end.
    """
    return (instant_ms + _DAY_MS // 2) // _DAY_MS


def targets(found: Found, names: Any) -> list[standing.Target]:
    """Return one target per threshold, with all agents for whom it holds.

    Args:
        found: With the schemes.
        names: Sorted ids of the agents, as text.
    """
    agents: dict[tuple[Any, ...], Any] = {}
    for s in found.get("schemes", ()):
        if s.kind != "agent":
            continue
        # Targets reported month after month have spans, each with its own.
        share = s.kpi in IN_TIME
        mean = share or s.kpi in HANDLE_TIME
        key = (s.first, s.last, s.period, s.threshold, s.above, mean, share)
        mask = agents.setdefault(key, np.zeros(len(names), dtype=np.bool_))
        mask |= (names == s.subject) if s.subject else True
    return [
        standing.Target(
            subjects=mask,
            first=key[0],
            last=key[1],
            period=key[2],
            threshold=key[3],
            above=key[4],
            mean=key[5],
            most=1.0 if key[6] else np.inf,
        )
        for key, mask in sorted(agents.items(), key=lambda item: item[0])
        if mask.any()
    ]
