"""The questions that agents are asked about their top scores, over strata."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors._perfect_scores_count import STRATA
from kpiaudit.frozen import frozen
from kpiaudit.stats import peers, selection
from kpiaudit.stats.dispersion import day_dispersion
from kpiaudit.stats.odds import Tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome

MIN_ANSWERS = 20
MIN_TOP = 10
"""Top scores (with the columns known) without which a sign is not asked for."""

_MIN_RARE = 6
"""The same for answers that bear a rare sign."""

SIGNS = ("fast", "device", "trouble", "gift")
"""Second signs, in the order of `extra["sign"]`."""

_PARTS = {
    "fast": ("fast_top", "timed_top"),
    "device": ("owned_top", "placed_top"),
    "gift": ("gift_top", "followed_top"),
}
_POOLED = ("administered_by",)
_BY_CHANNEL = ("contact", "channel", "administered_by")


@frozen
class Cells:
    """The counts with agents numbered, and their days where there are days.

    Args:
        counts: The summary.
        days: The same per day; None where there are no days.
        ids: All agents, sorted, shape (n_agents,).
        agent: Index of the agent per row of `counts`.
        noise: Dispersions already computed, by events and trials.
        learn: Who the peers are, shape (n_agents,); None stands for all.
    """

    counts: Summary
    days: Summary | None
    ids: Any
    agent: IntArray
    noise: dict[tuple[str, str], FloatArray | None] = field(default_factory=dict)
    learn: BoolArray | None = None

    @classmethod
    def of(cls, summaries: Summaries) -> Cells:
        """Number the agents of the collected summaries."""
        counts = summaries["counts"]
        ids, agent = np.unique(counts["agent_id"].astype(str), return_inverse=True)
        days = summaries.get("days")
        if days is not None and not len(days):
            days = None
        return cls(
            counts=counts,
            days=days,
            ids=ids.astype(object),
            agent=agent.astype(np.int64),
        )

    @property
    def size(self) -> int:
        """Count the agents."""
        return len(self.ids)

    def among(self, peers: BoolArray) -> Cells:
        """Return the same cells, with some agents as everybody's peers."""
        return replace(self, learn=peers)

    def total(self, name: str) -> FloatArray:
        """Sum a count over each agent's rows, shape (n_agents,)."""
        return np.bincount(
            self.agent, weights=self.counts.floats(name), minlength=self.size
        ).astype(np.float64)

    def above(self, events: str, trials: str, strata: tuple[str, ...]) -> FloatArray:
        """Return the log of an agent's events over those at everybody's rates."""
        stratum = self.stratum(strata)
        k, n = self.counts.floats(events), self.counts.floats(trials)
        rate = np.bincount(stratum, weights=k) / np.maximum(
            np.bincount(stratum, weights=n), 1.0
        )
        expected = np.bincount(
            self.agent, weights=n * rate[stratum], minlength=self.size
        )
        out: FloatArray = np.log((self.total(events) + 0.5) / (expected + 0.5))
        return out

    def stratum(self, names: tuple[str, ...]) -> IntArray:
        """Number the combinations of some strata, shape (n_rows,)."""
        texts = [self.counts[name].astype(str) for name in names]
        keys = ["\x1f".join(parts) for parts in zip(*texts, strict=True)]
        return np.unique(keys, return_inverse=True)[1].astype(np.int64)

    def worked(self) -> FloatArray:
        """Return the days with answers per agent; nan where there are no days."""
        if self.days is None:
            return np.full(self.size, np.nan)
        seen = self.days.ints("answers") > 0
        return np.bincount(self._day_agent()[seen], minlength=self.size).astype(
            np.float64
        )

    def dispersion(self, events: str, trials: str) -> FloatArray | None:
        """Return how much more than binomial an agent's days vary."""
        if self.days is None:
            return None
        if (events, trials) not in self.noise:
            self.noise[events, trials] = day_dispersion(
                self._day_agent(),
                self.days.ints("day"),
                self.days.ints(events),
                self.days.ints(trials),
                n_subjects=self.size,
            )
        return self.noise[events, trials]

    def _day_agent(self) -> IntArray:
        if self.days is None:
            return np.zeros(0, dtype=np.int64)
        names = self.ids.astype(str)
        return np.searchsorted(names, self.days["agent_id"].astype(str)).astype(
            np.int64
        )

    def excess(
        self,
        events: str,
        trials: str,
        strata: tuple[str, ...],
        *,
        least: int,
        min_excess: float = 0.0,
    ) -> Outcome:
        """Ask whether agents have more events than peers in the same strata."""
        return peers.excess(
            self.agent,
            self.stratum(strata),
            self.counts.ints(events),
            self.counts.ints(trials),
            n_subjects=self.size,
            dispersion=self.dispersion(events, trials),
            min_excess=min_excess,
            min_trials=least,
            learn=self.learn,
        )

    def less_below(
        self, contacts: tuple[str, str], marked: tuple[str, str], least: int
    ) -> Outcome:
        """Ask whether scores below the top are rarer, given a mark, than at peers.

        Only the odds ratio within an agent counts, so being better or worse at
        everything does not.

        Args:
            contacts: Counts of answers, and of top scores among them.
            marked: Of answers with the mark, and of top scores among them.
            least: Fewest answers with the mark.
        """
        n, top, some, some_top = (
            self.counts.ints(name) for name in (*contacts, *marked)
        )
        tables = Tables.of(
            self.agent,
            self.stratum(_BY_CHANNEL),
            contacts=n,
            invited=n - top,
            trouble=some,
            both=some - some_top,
            n_subjects=self.size,
        )
        return selection.withheld(tables, min_trouble=least, learn=self.learn)


def signs(cells: Cells, *, min_trouble: int) -> Mapping[str, Outcome]:
    """Return the outcome of every second sign that the columns allow."""
    out: dict[str, Outcome] = {}
    for name in SIGNS:
        if name == "trouble":
            if cells.counts.ints("troubled").sum() > 0:
                out[name] = cells.less_below(
                    ("asked", "known_top"), ("troubled", "troubled_top"), min_trouble
                )
            continue
        events, trials = _PARTS[name]
        if cells.counts.ints(trials).sum() > 0:
            strata = _BY_CHANNEL if name == "fast" else _POOLED
            out[name] = cells.excess(events, trials, strata, least=MIN_TOP)
    return out


def rates(cells: Cells, *, min_excess: float) -> tuple[Outcome, ...]:
    """Ask whether top scores are many, and whether they gather where the signs are.

    They may gather where any sign is, and where one is that few answers bear, the
    agent's own device or a credit: beside the many fast answers that nobody coached a
    few coached ones are lost, beside these they are not. The last is left out where it
    would ask nothing or the same again.
    """
    many = cells.excess(
        "top", "answers", STRATA, least=MIN_ANSWERS, min_excess=min_excess
    )
    gathered = cells.less_below(("answers", "top"), ("signed", "signed_top"), MIN_TOP)
    out = [many, gathered]
    rare = cells.counts.ints("rare").sum() if "rare" in cells.counts else 0
    if 0 < rare < cells.counts.ints("signed").sum():
        marks = ("rare", "rare_top")
        out.append(cells.less_below(("answers", "top"), marks, _MIN_RARE))
    return tuple(out)
