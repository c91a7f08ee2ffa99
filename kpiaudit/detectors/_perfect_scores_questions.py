"""More top scores than peers, and a second sign among them: both, or nothing.

A truly excellent agent has more top scores than peers. Nothing follows from that alone,
so each agent is asked two questions, and the larger p-value decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors._perfect_scores_count import STRATA
from kpiaudit.stats import peers, selection
from kpiaudit.stats.conjunction import both
from kpiaudit.stats.dispersion import day_dispersion
from kpiaudit.stats.odds import Tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome

MIN_DAYS = 10
"""Fewer days with answers than this are one good fortnight, not a habit."""

MIN_ANSWERS = 20
MIN_TOP = 10
"""Top scores (with the columns known) without which a sign is not asked for."""

_TOGETHER = 0.5
"""How far honest answers to the two questions may go together: both count top scores
with a sign, and contented customers may answer sooner."""

SIGNS = ("fast", "device", "trouble", "gift")
"""Second signs, in the order of `extra["sign"]`."""

_PARTS = {
    "fast": ("fast_top", "timed_top"),
    "device": ("owned_top", "placed_top"),
    "gift": ("gift_top", "followed_top"),
}
_POOLED = ("administered_by",)
_BY_CHANNEL = ("contact", "channel", "administered_by")
_FIELDS = ("trials", "observed", "expected", "ratio", "ratio_low", "ratio_high")


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The counts with agents numbered, and their days where there are days."""

    counts: Summary
    days: Summary | None
    ids: Any
    agent: IntArray

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
        return day_dispersion(
            self._day_agent(),
            self.days.ints("day"),
            self.days.ints(events),
            self.days.ints(trials),
            n_subjects=self.size,
        )

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
        return selection.withheld(tables, min_trouble=least)


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


def ask(cells: Cells, *, min_excess: float, min_trouble: int) -> Outcome | None:
    """Return one outcome per agent; None where no second sign can be asked for.

    Args:
        cells: The counts.
        min_excess: The hypothesis is an excess of at most so many top scores.
        min_trouble: Answers after trouble that the sign `trouble` needs.

    Returns:
        The outcome of the rate of top scores, with the p-value of the conjunction of
        the first question (`first_p`) and the smallest among an agent's signs times
        their number (`second_p`): the larger of the two, scaled by the share of agents
        who compete for it, which is for use in a false discovery rate only.

        `extra` has `sign` (index into `SIGNS` of the most telling one; -1 without any),
        `asked` (their number), `agreeing` (how many have p <= .05 by themselves, after
        that correction), `days`, `rate_p`, and per sign and for `gathered` `<sign>_p`
        with trials, observed, expected and the ratio's interval.

    Source:
        Wang, Gui, Su, Sabatti & Owen (2022), Annals of Statistics 50(4):1890-1909
        (both of two questions); Dunn (1961), JASA 56:52-64 (any of several signs).
    """
    second = signs(cells, min_trouble=min_trouble)
    if not second:
        return None
    rate = cells.excess(
        "top", "answers", STRATA, least=MIN_ANSWERS, min_excess=min_excess
    )
    gathered = cells.less_below(("answers", "top"), ("signed", "signed_top"), MIN_TOP)
    first = _first(rate, gathered, min_excess)
    p = np.full((len(SIGNS), cells.size), np.nan)
    for name, outcome in second.items():
        p[SIGNS.index(name)] = outcome.p_value
    asked = (~np.isnan(p)).sum(axis=0)
    filled = np.where(np.isnan(p), np.inf, p)
    driver = np.where(asked > 0, filled.argmin(axis=0), -1)
    smallest = np.where(asked > 0, np.minimum(filled.min(axis=0) * asked, 1.0), np.nan)
    days = cells.worked()
    p_value = both(first, smallest, together=_TOGETHER)
    extra = {
        "sign": driver.astype(np.float64),
        "asked": asked.astype(np.float64),
        "agreeing": (filled * asked <= 0.05).sum(axis=0).astype(np.float64),
        "days": days,
        "rate_p": rate.p_value,
        "gathered_p": gathered.p_value,
        "first_p": first,
        "second_p": smallest,
    }
    for name, outcome in (*second.items(), ("gathered", gathered)):
        extra[f"{name}_p"] = outcome.p_value
        extra |= {f"{name}_{part}": getattr(outcome, part) for part in _FIELDS}
    return replace(
        rate,
        p_value=np.where(days < MIN_DAYS, np.nan, p_value),
        extra=extra,
        breaking_point=_breaking((rate, gathered), second, driver, asked),
        # What the rate would show is no promise: the second sign has to be there.
        smallest_detectable=float("nan"),
    )


def _first(rate: Outcome, gathered: Outcome, min_excess: float) -> FloatArray:
    """Return p-values of the first question, asked in two ways.

    Either the agent has more top scores than peers, or the agent's top scores gather
    where a sign is, more than peers' do, while there are more of them than usual. The
    second way sees through agents who differ much in how well they are liked.
    """
    lifted = rate.effect > min_excess
    other = np.where(lifted | np.isnan(gathered.p_value), gathered.p_value, 1.0)
    twice = ~np.isnan(other)
    p = np.minimum(np.fmin(rate.p_value, other) * (1.0 + twice), 1.0)
    return np.where(np.isnan(rate.p_value), np.nan, p)


def _breaking(
    first: tuple[Outcome, Outcome],
    second: Mapping[str, Outcome],
    driver: IntArray,
    asked: IntArray,
) -> Any:
    """Return a function for how much wider honest spread may be: on both questions."""

    def at(outcome: Outcome, row: int, threshold: float) -> float:
        if outcome.breaking_point is None:
            return float("nan")
        return float(outcome.breaking_point(np.array([row]), threshold)[0])

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        out = []
        for row in rows.tolist():
            own = _fmax([at(each, row, threshold / 2.0) for each in first])
            if driver[row] >= 0:
                sign = second[SIGNS[int(driver[row])]]
                own = float(np.fmin(own, at(sign, row, threshold / asked[row])))
            out.append(own)
        return np.array(out, dtype=np.float64)

    return breaking_point


def _fmax(values: list[float]) -> float:
    there = [value for value in values if not np.isnan(value)]
    return max(there) if there else float("nan")
