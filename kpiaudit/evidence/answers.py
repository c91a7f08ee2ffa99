"""What one source says about some records, from counts per agent, queue and hour."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats import contrast as stats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpiaudit.detectors.base import Alternative, Summary
    from kpiaudit.detectors.sources import Source
    from kpiaudit.stats.contrast import Contrast, Innocent, Peers
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

FEWEST = 10
"""Flagged records that a source must be able to answer about."""
FEWEST_INNOCENT = 30
"""Innocent records that it must be able to answer about."""
FEWEST_EVENTS = 5
"""Times that something must have followed, over both; else it hardly ever happens."""


@frozen
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
    learnt: dict[bytes, Peers | None] = field(default_factory=dict)

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
            learnt={},
        )

    def named(self, names: Iterable[str]) -> BoolArray:
        """Say which agents, by number, are among these names."""
        out = np.zeros(len(self.agents), dtype=np.bool_)
        out[[self.agents[name] for name in names if name in self.agents]] = True
        return out

    def whose(self, cells: BoolArray | IntArray) -> BoolArray:
        """Say which agents, by number, have a cell among these."""
        return np.bincount(self.agent[cells], minlength=len(self.agents)) > 0

    def levels(self, cells: BoolArray | IntArray) -> list[IntArray]:
        """Return the strata of some cells: by queue, then by queue and hour."""
        queue = self.queue[cells]
        return [queue, queue * 24 + self.hour[cells]]

    def honest(
        self, peers: Peers | None, about: IntArray, members: int
    ) -> Innocent | None:
        """Return the innocent share that peers give for the mix of some cells."""
        if peers is None:
            return None
        return peers.innocent(
            mine=self.levels(about), size=self.records[about], members=members
        )

    def peers(self, cells: BoolArray | IntArray) -> Peers | None:
        """Learn from some cells what innocent records are followed by."""
        if self.records[cells].sum() < FEWEST_INNOCENT:
            return None
        return stats.Peers.of(
            stratum=self.levels(cells),
            peer=self.agent[cells],
            events=self.events[cells],
            records=self.records[cells],
        )

    def without(self, agents: BoolArray) -> Peers | None:
        """Learn from the flagged cells of all but some agents, once for the same ones.

        Args:
            agents: Who is no innocent peer, by number.
        """
        key = agents.tobytes()
        if key not in self.learnt:
            self.learnt[key] = self.peers(~self.control & ~agents[self.agent])
        return self.learnt[key]

    def of_agents(self, agents: BoolArray) -> IntArray:
        """Return the cells of some agents, by number, in their order."""
        who = np.flatnonzero(agents)
        if len(who) != 1:
            return np.flatnonzero(agents[self.agent])

        def runs() -> tuple[IntArray, IntArray]:
            ends = np.cumsum(np.bincount(self.agent, minlength=len(self.agents)))
            order = np.argsort(self.agent, kind="stable")
            return order, np.concatenate([[0], ends])

        order, starts = self.rows.once("cells of agents", runs)
        return np.asarray(order[starts[who[0]] : starts[who[0] + 1]])

    def flagged(self, agent: str) -> IntArray:
        """Return the flagged cells of one agent."""
        mine = self.of_agents(self.named([agent]))
        return np.asarray(mine[~self.control[mine]])

    @property
    def with_flagged(self) -> BoolArray:
        """Say which agents, by number, have a flagged cell."""
        return self.rows.once("flagged", lambda: self.whose(~self.control))


@frozen
class Answer:
    """What one source says about one finding.

    Args:
        events: Flagged records that were followed by it.
        records: Flagged records that it can answer about.
        honest: The best innocent alternative: that with the largest share.
        contrast: The flagged records against that one.
        own: That alternative is the subject's own other records.
        easier: The flagged records against the other alternative, where there is one.
        below_all: The flagged records have clearly less than every alternative.
    """

    events: float
    records: float
    honest: Innocent
    contrast: Contrast
    own: bool
    below_all: bool
    easier: Contrast | None = None


def answered(
    cells: Cells, about: IntArray, named: set[str], alternative: Alternative
) -> Answer | None:
    """Hold the records of some cells against the best innocent alternative there is."""
    records, events = cells.records[about].sum(), cells.events[about].sum()
    if records < FEWEST:
        return None
    own, found = cells.whose(about), cells.named(named)
    everybody = not (cells.with_flagged & ~own).any()
    candidates: list[tuple[bool, Innocent]] = []
    if not everybody and (own.sum() == 1 or not (own & ~found).any()):
        # Those who are findings themselves are no innocent peers.
        peers = cells.without(own | found | cells.named([""]))
        honest = cells.honest(peers, about, int(own.sum()))
        if honest is None:
            return None
        candidates.append((False, honest))
    if alternative.control:
        mine = cells.of_agents(own)
        mine = mine[cells.control[mine]]
        spread = candidates[0][1] if candidates else None
        control = _own_control(cells, mine, about, spread)
        candidates += [] if control is None else [(True, control)]
    happened = events + sum(innocent.events for _, innocent in candidates)
    if not candidates or happened < FEWEST_EVENTS:
        return None
    is_own, honest = max(candidates, key=lambda pair: pair[1].rate)
    least = min((innocent for _, innocent in candidates), key=lambda one: one.rate)
    highest, lowest = (
        stats.contrast(float(events), float(records), one) for one in (honest, least)
    )
    return Answer(
        events=float(events),
        records=float(records),
        honest=honest,
        contrast=highest,
        own=is_own,
        # The largest of some shares is large by chance: it would speak against many.
        below_all=highest.high < 0 and lowest.high < 0,
        easier=lowest if len(candidates) > 1 else None,
    )


def _own_control(
    cells: Cells, mine: IntArray, about: IntArray, peers: Innocent | None
) -> Innocent | None:
    """Learn from the subject's own control records; one agent has no spread."""
    agents = int(cells.whose(mine).sum())
    if agents >= stats.MIN_PEERS:
        return cells.honest(cells.peers(mine), about, agents)
    records, events = cells.records[mine].sum(), cells.events[mine].sum()
    if records < FEWEST_INNOCENT or peers is None:
        return None
    rate = float((events + 0.5) / (records + 1.0))
    # As uncertain as its own size makes it, and as the peers' spread allows.
    weight = 1.0 / (1.0 / records + 1.0 / peers.weight)
    return replace(peers, rate=rate, weight=weight, events=events, records=records)


@frozen
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
