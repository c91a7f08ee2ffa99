"""Other KPIs that flagged calls move, and what the whole floor's would have been."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np

from kpiaudit.detectors.base import Summary
from kpiaudit.evidence.kpis import (
    IN_TIME_S,
    RESOLVED_DAYS,
    SUMS,
    Sums,
    as_shown,
    rate_of_all,
    restated,
)
from kpiaudit.tables import neighbours
from kpiaudit.tables.dataset import ROW
from kpiaudit.tables.engine import collect, flag
from kpiaudit.tables.order import marks
from kpiaudit.tables.sharing import once, settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kpiaudit.evidence.runs import Run
    from kpiaudit.findings import Finding, Restated
    from kpiaudit.stats.outcome import BoolArray
    from kpiaudit.tables.dataset import Frame

_AS_ITS_AGENTS = "the whole team; its agents' records in excess as in their findings"
_KEYS = ("call_id", "agent_id", "at_ms")


def restate(runs: Sequence[Run]) -> None:
    """Restate what the findings of some rules move; one read for each of them.

    Args:
        runs: All rules; those without findings are left alone.
    """
    for run in (run for run in runs if run.findings):
        frames = _frames(run) if _countable(run) else {}
        small = run.data.small
        read = collect(frames, small=small, alike=False) if frames else {}
        add(run, {name: Summary.of(frame) for name, frame in read.items()})


def _countable(run: Run) -> bool:
    return bool(run.rule.detector.restates) and run.data.has(
        "calls.agent_id", "calls.call_id", "calls.at_ms", "calls.talk_s"
    )


def _frames(run: Run) -> dict[str, Frame]:
    """Return what has to be counted of all calls and of the flagged, off one sum."""
    sums = once(
        _marked(run)
        .group_by("agent_id", "queue", "mine")
        .agg(calls=nw.len(), **{n: nw.col(n).sum() for n in _SUMMED})
    )
    return {
        "whole": _told(sums),
        "flagged": _told(sums.filter(nw.col("mine") == 1)),
    }


_SUMMED = ("handled", "tenths", "square", "offered", "in_time", "known", "quiet")


def _told(sums: Frame) -> Frame:
    """Add sums up per agent and queue, under the names that are used here."""
    names = {"calls": "calls", "tenths": "handle_ms", "square": "handle_sq"}
    names |= {name: name for name in _SUMMED if name not in names}
    return (
        sums.group_by("agent_id", "queue")
        .agg(**{new: nw.col(old).sum() for old, new in names.items()})
        .select(
            "agent_id", "queue", **{n: nw.col(n).cast(nw.Int64) for n in names.values()}
        )
        .sort("agent_id", "queue")
    )


def _marked(run: Run) -> Frame:
    """Return what the KPIs are made of, with `mine`: 1 for flagged calls, else 0."""
    calls, order = run.data.table("calls"), run.data.orders.get("calls")
    rows = run.flagged
    if rows is None:
        detector = run.rule.detector
        flagged = detector.records(run.data, ("floor", "all"), run.found)["flagged"]
        if order is None or not neighbours.numbered(flagged):
            keys = settled({"": flagged.select(*_KEYS).unique()}, small=run.data.small)[
                ""
            ]
            one = nw.lit(1).cast(nw.Int64)
            base = _base(run, calls).join(
                keys.with_columns(mine=one), on=list(_KEYS), how="left"
            )
            return base.with_columns(nw.col("mine").fill_null(0))
        places = collect({"": flagged.select(ROW)})[""][ROW]
        # The windows below two caps may share calls: each counts once.
        rows = marks(order, places.to_numpy())
    native = calls.to_native()
    return _base(run, nw.from_native(native.with_columns(mine=rows.look())), "mine")


def _base(run: Run, calls: Frame, *kept: str) -> Frame:
    """Return a row per answered call with what the KPIs are made of.

    Args:
        run: A rule with findings.
        calls: All calls.
        kept: Columns to keep beside; by default what names a call.
    """
    data = run.data
    zero = nw.lit(0).cast(nw.Int64)
    parts = [c for c in ("talk_s", "hold_s", "wrap_s") if data.has(f"calls.{c}")]
    handle = sum((nw.col(c).fill_null(0.0) for c in parts[1:]), nw.col("talk_s"))
    answered = ~nw.col("agent_id").is_null() & ~nw.col("talk_s").is_null()
    frame = calls.filter(answered)
    waited = data.has("calls.wait_s")
    wait = nw.col("wait_s")
    known, quiet = zero, zero
    if data.has("calls.customer_id"):
        span = RESOLVED_DAYS * 86_400_000
        last = (data.period.get("calls") or (0, 0))[1] - span
        how = neighbours.Sequence(
            per="customer_id",
            at="at_ms",
            id="call_id",
            horizon_ms=span,
            then=neighbours.legs(data),
            order=data.orders.get("calls"),
        )
        frame = neighbours.with_neighbours(frame, how)
        there = ~nw.col("customer_id").is_null() & (nw.col("at_ms") <= last)
        known, quiet = flag(there), flag(there & nw.col("next_gap_ms").is_null())
    detector = run.rule.detector
    if detector.later_only and detector.since_day is not None and data.has("calls.day"):
        day = nw.col("day")
        frame = frame.filter(day.is_null() | (day >= detector.since_day))
    taken = nw.lit(1).cast(nw.Int64)
    if data.has("calls.direction"):
        way = nw.col("direction")
        taken = flag(way.is_null() | (way != "outbound"))
    if data.has("calls.outcome") and not data.answered:
        outcome = nw.col("outcome")
        taken = taken * flag(outcome.is_null() | (outcome == "answered"))
    tenths = (handle * 10).round().cast(nw.Int64)
    queue = nw.col("queue").fill_null("") if data.has("calls.queue") else nw.lit("")
    named = [name for name in kept or _KEYS if name != "agent_id"]
    return frame.select(
        "agent_id",
        *named,
        queue=queue,
        handled=taken,
        # Whole tenths of a second: a sum of floats depends on their order.
        tenths=tenths,
        square=tenths * tenths,
        offered=flag(~wait.is_null()) if waited else zero,
        in_time=flag(wait <= IN_TIME_S) if waited else zero,
        known=known,
        quiet=quiet,
    )


def add(run: Run, collected: Mapping[str, Summary]) -> None:
    """Restate further KPIs of every finding, and those of the whole floor.

    Args:
        run: A rule with findings.
        collected: What `frames` asked for; empty where there is nothing of that kind.
    """
    whole, flagged = collected.get("whole"), collected.get("flagged")
    if whole is not None and flagged is not None:
        for index, finding in enumerate(run.findings):
            if finding.subject.kind not in {"agent", "queue", "floor"}:
                continue
            sums = _sums(finding, whole, flagged)
            further = finding.subject.kind == "floor"
            more = _further(run, sums, [finding], further=further)
            run.findings[index] = replace(
                finding,
                restated=as_shown(finding.restated, sums),
                also_restated=(*finding.also_restated, *more),
            )
    for index, finding in enumerate(run.findings):
        if finding.subject.kind == "team":
            run.findings[index] = _team(run, finding, whole, flagged)
    people = [f for f in run.findings if f.subject.kind == "agent"]
    if not people:
        return
    run.restated = [*_own_kpi(run, people), *_rate(run, people)]
    if whole is not None and flagged is not None:
        sums = _all(people, whole, flagged)
        run.restated = [i for own in run.restated if (i := as_shown(own, sums))]
        run.restated += _further(run, sums, people)


def _team(
    run: Run, finding: Finding, whole: Summary | None, flagged: Summary | None
) -> Finding:
    """Restate a team: all its agents, those with a finding as these restate them."""
    members = [
        f for f in run.findings if f.part_of == finding.id and f.subject.kind == "agent"
    ]
    everybody = [a for a, team in run.team.items() if team == finding.subject.id]
    own = next(iter(_own_kpi(run, members, everybody)), None)
    more = _rate(run, members, everybody)
    if whole is not None and flagged is not None:
        there = np.isin(whole["agent_id"].astype(str), everybody)
        sums = _all(members, whole.where(there), flagged)
        own = as_shown(own, sums)
        more += _further(run, sums, members)
    own = None if own is None else replace(own, assumption=_AS_ITS_AGENTS)
    return replace(finding, restated=own, also_restated=tuple(more))


def _further(
    run: Run, sums: Sums, findings: Sequence[Finding], *, further: bool = False
) -> list[Restated]:
    """Restate what the flagged calls move, on days that were not tested as well."""
    detector = run.rule.detector
    days = detector.days_each(run.found)
    flagged = {name: days * count for name, count in sums.flagged.items()}
    value, low, high = (days * count for count in _excess(findings))
    return restated(
        detector.restates,
        Sums(whole=sums.whole, flagged=flagged),
        (value, low, high),
        further=further,
    )


def _excess(findings: Sequence[Finding]) -> tuple[float, float, float]:
    """Add up excess records, and the half-widths of their intervals.

    Errors are not independent: all agents are held against the same yardstick.
    """
    value = [f.effect.value or 0.0 for f in findings]
    low = [f.effect.low if f.effect.low is not None else 0.0 for f in findings]
    high = [
        f.effect.high if f.effect.high is not None else float(f.n) for f in findings
    ]
    return float(np.sum(value)), float(np.sum(low)), float(np.sum(high))


def _sums(finding: Finding, whole: Summary, flagged: Summary) -> Sums:
    kind, who = finding.subject.kind, finding.subject.id

    def mine(rows: Summary) -> Summary:
        if kind == "floor":
            return rows
        return rows.having("agent_id" if kind == "agent" else "queue", who)

    return Sums(whole=_total(mine(whole)), flagged=_total(mine(flagged)))


def _all(people: Sequence[Finding], whole: Summary, flagged: Summary) -> Sums:
    """Sum everybody's calls, and the flagged ones of those with a finding."""
    named = np.isin(flagged["agent_id"].astype(str), [f.subject.id for f in people])
    return Sums(whole=_total(whole), flagged=_total(flagged.where(named)))


def _total(rows: Summary) -> dict[str, float]:
    return {name: float(rows.floats(name).sum()) for name in SUMS}


def _own_kpi(
    run: Run, people: Sequence[Finding], among: Sequence[str] | None = None
) -> list[Restated]:
    """Restate the rule's own KPI for everybody together, or for some agents.

    Each agent counts with what the KPI counts; those with a finding are restated.
    """
    where = run.rule.detector.floor_kpi
    if not people or where is None or where[0] not in run.summaries:
        return []
    rows = run.summaries[where[0]]
    if among is not None:
        rows = rows.where(np.isin(rows["agent_id"].astype(str), list(among)))
    if "pair" in rows:
        rows = rows.where(_same_pair(rows, where, people[0]))
    top = rows.floats(where[1])
    counted = rows.floats(where[2]) if where[2] else np.ones(len(rows))
    known = [f.restated for f in people if f.restated is not None]
    if not known or not counted.sum() or where[1] not in rows:
        return []
    down = up = shift = 0.0
    for finding in people:
        item = finding.restated
        if item is None or None in (item.reported, item.restated, item.low, item.high):
            continue
        weight = (
            float(counted[rows.same("agent_id", finding.subject.id)].sum())
            if where[2]
            else 1.0
        )
        shift += weight * (item.restated - item.reported)  # type: ignore[operator]
        down += weight * (item.restated - item.low)  # type: ignore[operator]
        up += weight * (item.high - item.restated)  # type: ignore[operator]
    size = float(counted.sum()) if where[2] else 1.0
    reported = where[3] * float(top.sum()) / size
    value = reported + shift / size
    return [
        replace(
            known[0],
            reported=reported,
            restated=value,
            low=value - float(down) / size,
            high=value + float(up) / size,
            assumption="",
        )
    ]


def _rate(
    run: Run, people: Sequence[Finding], among: Sequence[str] | None = None
) -> list[Restated]:
    """Restate the rule's share for everybody together, or for some agents."""
    where = run.rule.detector.floor_rate
    if where is None or where[1] not in run.summaries:
        return []
    rows = run.summaries[where[1]]
    if where[2] not in rows or where[3] not in rows:
        return []
    if among is not None:
        rows = rows.where(np.isin(rows["agent_id"].astype(str), list(among)))
    top, size = rows.floats(where[2]), rows.floats(where[3])
    parts = []
    for finding in people:
        mine = rows.same("agent_id", finding.subject.id)
        own = float(top[mine].sum()), float(size[mine].sum())
        parts += [
            (item, max(_added(run, finding), 0.0), *own)
            for item in finding.also_restated
            if item.kpi == where[0]
        ]
    item = rate_of_all(parts, float(top.sum()), float(size.sum()))
    return [] if item is None else [item]


def _added(run: Run, finding: Finding) -> float:
    """Return how many records a finding adds to the share of its rule."""
    name = run.rule.detector.rate_adds
    told = [e.value for e in finding.evidence if e.name == name]
    value = told[0] if told else finding.effect.value
    return value or 0.0


def _same_pair(
    rows: Summary, where: tuple[str, str, str, float], finding: Finding
) -> BoolArray:
    """Select the pair of stamps that a finding is about, by its reported KPI."""
    pairs, index = np.unique(rows["pair"].astype(str), return_inverse=True)
    mine = rows.same("agent_id", finding.subject.id)
    top = np.bincount(index[mine], rows.floats(where[1])[mine], len(pairs))
    size = np.bincount(index[mine], rows.floats(where[2])[mine], len(pairs))
    said = finding.restated.reported if finding.restated is not None else None
    off = np.abs(top / np.maximum(size, 1.0) - (said or 0.0))
    return np.asarray(index == int(np.argmin(np.where(size > 0, off, np.inf))))
