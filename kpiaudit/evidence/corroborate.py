"""Ask the other tables about exactly the flagged records, for all findings at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors.base import Summary
from kpiaudit.evidence import following
from kpiaudit.findings import Corroboration, Effect, RestsOn
from kpiaudit.stats import contrast as stats
from kpiaudit.tables.engine import collect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kpiaudit.detectors.base import Alternative
    from kpiaudit.detectors.sources import Source
    from kpiaudit.evidence.runs import Run
    from kpiaudit.findings import Finding
    from kpiaudit.stats.contrast import Contrast, Innocent
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray
    from kpiaudit.tables.dataset import Dataset

FEWEST = 10
"""Flagged records that a source must be able to answer about."""
FEWEST_INNOCENT = 30
"""Innocent records that it must be able to answer about."""
FEWEST_EVENTS = 5
"""Times that something must have followed, over both; else it hardly ever happens."""


def corroborate(runs: Iterable[Run], data: Dataset) -> None:
    """Add to every finding what other sources say about its records.

    The frames of all rules are collected together: one read of the other tables,
    however many findings there are.

    Args:
        runs: All rules; those without findings are left alone.
        data: All tables.
    """
    asked: list[tuple[Run, tuple[Source, ...]]] = []
    frames = {}
    for run in runs:
        if not run.findings:
            continue
        chosen, lacking = following.usable(run, data)
        if lacking:
            run.unheard.append(
                "What these could say about the flagged records, as the export lacks "
                f"them: {'; '.join(lacking)}."
            )
        asked.append((run, chosen))
        for name, frame in following.counts(run, data, chosen).items():
            frames[f"{len(asked) - 1}/{name}"] = frame
    collected = {name: _Cells.of(Summary.of(f)) for name, f in collect(frames).items()}
    for number, (run, chosen) in enumerate(asked):
        for source in chosen:
            name = source.id if source.id in {"survey", "reopened"} else "followed"
            cells = collected.get(f"{number}/{name}")
            if cells is not None and len(cells.agent):
                _ask(run, source, cells.about(source), data)
        _weigh(run)


def _ask(run: Run, source: Source, cells: _Cells, data: Dataset) -> None:
    """Add one source's answer to each finding of a rule."""
    named = {f.subject.id for f in run.findings if f.subject.kind == "agent"}
    for index, finding in enumerate(run.findings):
        about = _about(finding, run.findings, cells)
        answer = _answer(cells, about, named, run.rule.detector.alternative)
        if answer is None:
            continue
        item = _said(source, answer, run.rule.detector.alternative)
        origin = data.origin(source.written)
        rests = RestsOn(column=source.written, origin=origin, role="corroboration")
        kept = tuple(c for c in finding.corroboration if c.source != item.source)
        columns = {r.column for r in finding.rests_on}
        run.findings[index] = replace(
            finding,
            corroboration=(*kept, item),
            rests_on=finding.rests_on
            if source.written in columns
            else (*finding.rests_on, rests),
        )


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """Counts per agent, queue and hour, as arrays of one length.

    Agents and queues are numbers, their places among the sorted names: every finding is
    held against every source, and texts compared each time would cost as much as
    counting did.
    """

    rows: Summary
    agents: dict[str, int]
    queues: dict[str, int]
    agent: IntArray
    queue: IntArray
    hour: IntArray
    control: BoolArray
    records: FloatArray
    events: FloatArray

    @classmethod
    def of(cls, rows: Summary) -> _Cells:
        """Number the agents and queues; the counts are those of no source yet."""
        agents, agent = np.unique(rows["agent_id"].astype(str), return_inverse=True)
        queues, queue = np.unique(rows["queue"].astype(str), return_inverse=True)
        nothing = np.zeros(len(rows))
        return cls(
            rows=rows,
            agents={name: place for place, name in enumerate(agents.tolist())},
            queues={name: place for place, name in enumerate(queues.tolist())},
            agent=agent.astype(np.int64),
            queue=queue.astype(np.int64),
            hour=rows.ints("hour"),
            control=rows.ints("control") == 1,
            records=nothing,
            events=nothing,
        )

    def about(self, source: Source) -> _Cells:
        """Return the same cells with the counts of one source."""
        return replace(
            self,
            records=self.rows.floats(f"n_{source.key}"),
            events=self.rows.floats(f"k_{source.key}"),
        )

    def named(self, names: Iterable[str]) -> BoolArray:
        """Say which agents, by number, are among these names."""
        out = np.zeros(len(self.agents), dtype=np.bool_)
        out[[self.agents[name] for name in names if name in self.agents]] = True
        return out

    def whose(self, mask: BoolArray) -> BoolArray:
        """Say which agents, by number, have a cell among these."""
        return np.bincount(self.agent[mask], minlength=len(self.agents)) > 0

    def levels(self, mask: BoolArray) -> list[IntArray]:
        """Return the strata of some cells: by queue, then by queue and hour."""
        queue = self.queue[mask]
        return [queue, queue * 24 + self.hour[mask]]

    def honest(
        self, mask: BoolArray, about: BoolArray, members: int
    ) -> Innocent | None:
        """Learn the innocent share from some cells, for the mix of others."""
        if self.records[mask].sum() < FEWEST_INNOCENT:
            return None
        return stats.innocent(
            stratum=self.levels(mask),
            peer=self.agent[mask],
            events=self.events[mask],
            records=self.records[mask],
            mine=self.levels(about),
            size=self.records[about],
            members=members,
        )


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What one source says about one finding."""

    events: float
    records: float
    honest: Innocent
    contrast: Contrast
    own: bool


def _about(finding: Finding, findings: Sequence[Finding], cells: _Cells) -> BoolArray:
    """Select the cells of a finding's own flagged records."""
    kind, who = finding.subject.kind, finding.subject.id
    flagged = ~cells.control
    if kind == "agent":
        return np.asarray(flagged & (cells.agent == cells.agents.get(who, -1)))
    if kind == "queue":
        return np.asarray(flagged & (cells.queue == cells.queues.get(who, -1)))
    if kind == "team":
        members = [f.subject.id for f in findings if f.part_of == finding.id]
        return np.asarray(flagged & cells.named(members)[cells.agent])
    return flagged


def _answer(
    cells: _Cells, about: BoolArray, named: set[str], alternative: Alternative
) -> _Answer | None:
    """Hold the records against the best innocent alternative that there is."""
    records, events = cells.records[about].sum(), cells.events[about].sum()
    if records < FEWEST:
        return None
    own, found = cells.whose(about), cells.named(named)
    everybody = not (cells.whose(~cells.control) & ~own).any()
    candidates: list[tuple[bool, Innocent]] = []
    if not everybody and (own.sum() == 1 or not (own & ~found).any()):
        # Those who are findings themselves are no innocent peers.
        no_peer = own | found | cells.named([""])
        peers = ~cells.control & ~no_peer[cells.agent]
        honest = cells.honest(peers, about, int(own.sum()))
        if honest is None:
            return None
        candidates.append((False, honest))
    if alternative.control:
        mine = cells.control & own[cells.agent]
        spread = candidates[0][1] if candidates else None
        control = _own_control(cells, mine, about, spread)
        candidates += [] if control is None else [(True, control)]
    happened = events + sum(innocent.events for _, innocent in candidates)
    if not candidates or happened < FEWEST_EVENTS:
        return None
    is_own, honest = max(candidates, key=lambda pair: pair[1].rate)
    return _Answer(
        events=float(events),
        records=float(records),
        honest=honest,
        contrast=stats.contrast(float(events), float(records), honest),
        own=is_own,
    )


def _own_control(
    cells: _Cells, mine: BoolArray, about: BoolArray, peers: Innocent | None
) -> Innocent | None:
    """Learn from the subject's own control records; one agent has no spread."""
    agents = int(cells.whose(mine).sum())
    if agents >= stats.MIN_PEERS:
        return cells.honest(mine, about, agents)
    records, events = cells.records[mine].sum(), cells.events[mine].sum()
    if records < FEWEST_INNOCENT or peers is None:
        return None
    rate = float((events + 0.5) / (records + 1.0))
    # As uncertain as its own size makes it, and as the peers' spread allows.
    weight = 1.0 / (1.0 / records + 1.0 / peers.weight)
    return replace(peers, rate=rate, weight=weight, events=events, records=records)


def _times(ratio: float) -> str:
    return "more than 100" if ratio > 100.0 else f"{ratio:.1f}"


def _said(source: Source, answer: _Answer, alternative: Alternative) -> Corroboration:
    """Put an answer into a verdict and words."""
    found, honest = answer.contrast, answer.honest
    against = "the subject's own comparable records" if answer.own else alternative.text
    share = answer.events / answer.records
    detail = (
        f"{share:.1%} of {answer.records:,.0f} flagged records, {honest.rate:.1%} "
        f"after {against}: {found.ratio:.1f} times as often ({_times(found.ratio_low)} "
        f"to {_times(found.ratio_high)})"
    )
    verdict = "silent"
    if found.low > 0:
        verdict = "supports"
    elif found.high < 0:
        verdict = "contradicts"
        detail += "; less than innocent records would show, which speaks against it"
    else:
        detail += f"; it would look the same if {alternative.same_if}"
    counted = source.id in alternative.counted
    if counted:
        detail += "; part of the test itself, so it does not count again"
    return Corroboration(
        source=source.name,
        verdict=verdict,  # type: ignore[arg-type]
        effect=Effect(
            name="share beyond innocent records",
            value=found.difference,
            low=found.low,
            high=found.high,
            unit="share",
        ),
        p_value=found.p_value,
        detail=detail,
        e_value=None if counted else found.e_value,
        voice=source.voice,
    )


def _weigh(run: Run) -> None:
    """Combine what independent voices say about each finding."""
    for index, finding in enumerate(run.findings):
        heard = [
            (item.voice, item.e_value)
            for item in finding.corroboration
            if item.e_value is not None
        ]
        if heard:
            run.findings[index] = replace(
                finding, corroboration_e_value=stats.together(heard)
            )
