"""Three questions of the same agents, whose honest answers don't depend on each other.

Calls under half a minute of all calls; short ones of those; redialled ones of the short
ones. Each looks only at what the one before has selected, so chance alone ties none to
another, and an honest agent who is extreme in one has no reason to be so in the next.
Hanging up raises all three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats import peers
from kpiaudit.stats.dispersion import day_dispersion

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome

MIN_DAYS = 10
"""Fewer days than this are one bad fortnight, not a habit."""

NAMES = ("brief", "shape", "repeat")

_MIN_TRIALS = (20, 5, 3)
_LARGE_QUEUE = 200
"""Short calls with a known customer from which a queue has a redial rate of its own."""


@frozen
class Question:
    """Events of trials per row of counts, and who is asked with whom as peers.

    Args:
        agent: Index of the agent per row.
        stratum: Index of the queue per row.
        events: Events per row.
        trials: Trials per row.
        size: How many agents there are.
        dispersion: Of days, per agent; None where there are no days.
        min_trials: Agents with fewer trials are not asked.
        min_excess: The hypothesis is an excess of at most this many events.
    """

    agent: IntArray
    stratum: IntArray
    events: IntArray
    trials: IntArray
    size: int
    dispersion: FloatArray | None
    min_trials: int
    min_excess: float = 0.0

    @property
    def usable(self) -> BoolArray:
        """Say which agents have enough trials."""
        return self._sum(self.trials) >= self.min_trials

    def score(self) -> FloatArray:
        """Return the log of observed over expected events, per agent."""
        _, stratum = np.unique(self.stratum, return_inverse=True)
        events = np.bincount(stratum, weights=self.events)
        trials = np.bincount(stratum, weights=self.trials)
        rate = events / np.maximum(trials, 1.0)
        expected = self._sum(self.trials * rate[stratum])
        out: FloatArray = np.log((self._sum(self.events) + 0.5) / (expected + 0.5))
        return out

    def ask(
        self,
        learn: BoolArray | None = None,
        about: BoolArray | None = None,
        *,
        tested: bool = True,
    ) -> Outcome:
        """Compare agents, or those asked about, with some of them; None is all.

        Where they are not `tested`, only sizes are given and no p-values.
        """
        return peers.excess(
            self.agent,
            self.stratum,
            self.events,
            self.trials,
            n_subjects=self.size,
            dispersion=self.dispersion,
            min_excess=self.min_excess,
            min_trials=self.min_trials,
            learn=learn,
            about=about,
            tested=tested,
        )

    def _sum(self, values: Any) -> FloatArray:
        sums = np.bincount(self.agent, weights=values, minlength=self.size)
        return sums.astype(np.float64)


@frozen
class Asked:
    """What was asked, and the answers with everybody as peers.

    Args:
        ids: Agents, object array of shape (n_agents,).
        rate: Short calls of all calls, for the size of the effect; without p-values.
        questions: The questions of `NAMES`; the last is left out where customers are
            unknown.
        scores: For each, the score in another question by which peers may be chosen.
        plain: Outcome of each.
        days: Days with calls per agent; nan where there are no days.
    """

    ids: Any
    rate: Outcome
    questions: tuple[Question, ...]
    scores: tuple[FloatArray, ...]
    plain: tuple[Outcome, ...]
    days: FloatArray


def ask(summaries: Summaries, *, min_excess: float) -> Asked:
    """Ask every question of every agent."""
    counts = summaries["counts"]
    ids, agent = counts.coded("agent_id")
    _, queue = counts.coded("queue")
    days = _Days.of(summaries, ids)

    def question(
        events: tuple[str, ...],
        trials: tuple[str, ...],
        least: int,
        *,
        large: int = 0,
        excess: float = 0.0,
    ) -> Question:
        total = np.bincount(queue, weights=_added(counts, trials))
        return Question(
            agent=agent,
            # Queues with few trials stand together: a hundred tiny cells tell less.
            stratum=np.where(total >= large, np.arange(len(total)), -1)[queue],
            events=_added(counts, events),
            trials=_added(counts, trials),
            size=len(ids),
            dispersion=days.dispersion(events, trials),
            min_trials=least,
            min_excess=excess,
        )

    under = ("short", "next")
    brief = question(under, ("calls",), _MIN_TRIALS[0], excess=min_excess)
    shape = question(("short",), under, _MIN_TRIALS[1])
    scores = brief.score(), shape.score()
    asked = [(brief, scores[1]), (shape, scores[0])]
    if _added(counts, ("short_known",)).sum() > 0:
        # Some queues' callers ring again more than others', whoever hung up on them.
        again = question(
            ("short_redialled",), ("short_known",), _MIN_TRIALS[2], large=_LARGE_QUEUE
        )
        asked.append((again, scores[0] + scores[1]))
    return Asked(
        ids=ids.astype(object),
        rate=question(("short",), ("calls",), _MIN_TRIALS[0]).ask(tested=False),
        questions=tuple(each for each, _ in asked),
        scores=tuple(score for _, score in asked),
        plain=tuple(each.ask() for each, _ in asked),
        days=days.seen,
    )


def _added(rows: Summary, names: tuple[str, ...]) -> IntArray:
    out: IntArray = rows.ints(names[0])
    for name in names[1:]:
        out += rows.ints(name)
    return out


@frozen
class _Days:
    """Counts per agent and day, where the export has days."""

    rows: Summary | None
    agent: IntArray
    size: int

    @classmethod
    def of(cls, summaries: Summaries, ids: Any) -> _Days:
        rows = summaries.get("days")
        if rows is None or not len(rows):
            return cls(rows=None, agent=np.zeros(0, dtype=np.int64), size=len(ids))
        return cls(rows=rows, agent=rows.places("agent_id", ids), size=len(ids))

    @property
    def seen(self) -> FloatArray:
        if self.rows is None:
            return np.full(self.size, np.nan)
        some = self.rows.ints("calls") > 0
        return np.bincount(self.agent[some], minlength=self.size).astype(np.float64)

    def dispersion(
        self, events: tuple[str, ...], trials: tuple[str, ...]
    ) -> FloatArray | None:
        if self.rows is None:
            return None
        return day_dispersion(
            self.agent,
            self.rows.ints("day"),
            _added(self.rows, events),
            _added(self.rows, trials),
            n_subjects=self.size,
        )
