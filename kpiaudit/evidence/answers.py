"""What one source says about some records, from counts per agent, queue and hour."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.stats import contrast as stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpiaudit.detectors.base import Alternative, Summary
    from kpiaudit.detectors.sources import Source
    from kpiaudit.stats.contrast import Contrast, Innocent
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

FEWEST = 10
"""Flagged records that a source must be able to answer about."""
FEWEST_INNOCENT = 30
"""Innocent records that it must be able to answer about."""
FEWEST_EVENTS = 5
"""Times that something must have followed, over both; else it hardly ever happens."""


@dataclass(frozen=True, kw_only=True)
class Cells:
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
    def of(cls, rows: Summary) -> Cells:
        """Number the agents and queues; the counts are those of no source yet."""
        agents, agent = rows.coded("agent_id")
        queues, queue = rows.coded("queue")
        nothing = np.zeros(len(rows))
        return cls(
            rows=rows,
            agents={name: place for place, name in enumerate(agents.tolist())},
            queues={name: place for place, name in enumerate(queues.tolist())},
            agent=agent,
            queue=queue,
            hour=rows.ints("hour"),
            control=rows.ints("control") == 1,
            records=nothing,
            events=nothing,
        )

    def about(self, source: Source) -> Cells:
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
class Answer:
    """What one source says about one finding."""

    events: float
    records: float
    honest: Innocent
    contrast: Contrast
    own: bool


def answered(
    cells: Cells, about: BoolArray, named: set[str], alternative: Alternative
) -> Answer | None:
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
    return Answer(
        events=float(events),
        records=float(records),
        honest=honest,
        contrast=stats.contrast(float(events), float(records), honest),
        own=is_own,
    )


def _own_control(
    cells: Cells, mine: BoolArray, about: BoolArray, peers: Innocent | None
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


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What other sources were asked about a rule's records, and their counts.

    Args:
        sources: Those that could be asked.
        lacking: What is missing for the others, in words.
        cells: Counts by the name of the summary that they came in.
    """

    sources: tuple[Source, ...]
    lacking: tuple[str, ...]
    cells: dict[str, Cells]

    def answers(self) -> Iterator[tuple[Source, Cells]]:
        """Yield each source with its own counts."""
        for source in self.sources:
            name = source.id if source.id in {"survey", "reopened"} else "followed"
            cells = self.cells.get(name)
            if cells is not None and len(cells.agent):
                yield source, cells.about(source)
