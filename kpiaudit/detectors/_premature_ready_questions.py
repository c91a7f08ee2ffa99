"""Two questions of each agent: stamped just before the promise, and then waited?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats import conjunction, peers, selection
from kpiaudit.stats.dispersion import day_dispersion
from kpiaudit.stats.odds import Tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome

_MIN_OPEN_LATE = 20
_TOGETHER = 0.2
"""Correlation of honest agents' answers to the two questions.

Habits may go together more closely than that; the answers, which carry the noise of
counts and the doubt about the honest spread, were seen to do so by .15 to .25. With .15
newcomers who stand out in both are named too often where honest agents differ much.
"""
_TOGETHER_FEW, _FEW = 0.3, 12
"""The same in centres of at most so many agents, whose peers say little of how much
honest agents differ. With .2, 8 of 84 honest centres of eight agents, one in six of
them a newcomer, named somebody; with .3, 6 did."""
_KEYS = ("pair", "agent_id", "clock")


@frozen
class Limits:
    """The hypotheses: what an honest agent may still show.

    Args:
        events: Long waits after stamps near the promise, beyond peers'.
        wait_ratio: Odds of a long wait, near the promise, as a multiple of honest odds.
        near_ratio: Odds of a stamp near the promise, as a multiple of honest odds.
        extra_ms: Longer wait, for each order in excess, that is not worth a finding.
        min_near: Fewest orders stamped near the promise.
        min_days: Fewest days with such orders.
    """

    events: float
    wait_ratio: float
    near_ratio: float
    extra_ms: float
    min_near: int
    min_days: int


@frozen
class Counted:
    """The summaries of one pair, with agents numbered in their order."""

    ids: NDArray[Any]
    cells: Summary
    subject: IntArray
    days: Summary
    day_subject: IntArray

    @classmethod
    def of(cls, summaries: Summaries, pair: str, ids: NDArray[Any]) -> Counted:
        """Take one pair's rows; `ids` are all agents, sorted."""
        cells = of_pair(summaries["cells"], pair)
        days = of_pair(summaries["days"], pair)
        names = ids.astype(str)
        days = days.where(np.isin(days["agent_id"].astype(str), names))
        return cls(
            ids=ids,
            cells=cells,
            subject=np.searchsorted(names, cells["agent_id"].astype(str)),
            days=days,
            day_subject=np.searchsorted(names, days["agent_id"].astype(str)),
        )

    def total(self, name: str) -> FloatArray:
        """Sum a count over each agent's cells, shape (n_agents,)."""
        each = self.cells.floats(name)
        sums = np.bincount(self.subject, weights=each, minlength=len(self.ids))
        return np.asarray(sums, dtype=np.float64)

    def totals(self) -> dict[str, FloatArray]:
        """Return all counts per agent."""
        names = [n for n in self.cells.columns if n not in _KEYS]
        return {name: self.total(name) for name in names}

    def dispersion(self, events: str, trials: str) -> FloatArray:
        """Return each agent's variance between days over the binomial one."""
        return day_dispersion(
            self.day_subject,
            self.days.ints("day"),
            self.days.ints(events),
            self.days.ints(trials),
            n_subjects=len(self.ids),
        )

    def distinct_days(self, name: str) -> FloatArray:
        """Count the days on which each agent has such orders."""
        some = (self.days.ints(name) > 0).astype(np.float64)
        days = np.bincount(self.day_subject, weights=some, minlength=len(self.ids))
        return np.asarray(days, dtype=np.float64)


@frozen
class Answers:
    """What the two questions gave for one pair of stamp and later instant.

    Args:
        near: Whether more is stamped just before the promise.
        waited: Whether exactly that waits longer, with all figures of both.
    """

    near: Outcome
    waited: Outcome

    def joined(self, wait_p: FloatArray, pair: str) -> Outcome:
        """Return both questions as one, with p-values for a false discovery rate.

        Honest agents who are unusual in one respect are common, in both they are rare.
        Where many are so in the first, by effort, the second has to tell by itself.

        Args:
            wait_p: The second question's p-value, of all its witnesses together,
                shape (n_agents,).
            pair: The pair of stamp and later instant.

        Source:
            Wang, Gui, Su, Sabatti & Owen (2022), Annals of Statistics 50(4):1890-1909
            (both of two questions).
        """
        alone, own = self.waited.breaking_point, self.waited.p_value
        few = int((~np.isnan(own)).sum()) <= _FEW
        together = _TOGETHER_FEW if few else _TOGETHER

        def apart(rows: IntArray, level: float) -> FloatArray:
            if alone is None:
                return np.full(len(rows), np.inf)
            share = np.maximum(own[rows], 1e-300) / np.maximum(wait_p[rows], 1e-300)
            each = [
                alone(rows[i : i + 1], level * x) for i, x in enumerate(share.tolist())
            ]
            return np.concatenate(each)

        waited = replace(self.waited, p_value=wait_p, breaking_point=apart)

        def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
            return conjunction.breaking_point(
                self.near,
                waited,
                rows,
                threshold,
                together=together,
                about=f"{pair} all",
            )

        p, alone_p = (
            conjunction.carried(
                self.near.p_value, each, together=together, about=f"{pair} {witnesses}"
            )
            for witnesses, each in (("all", wait_p), ("own", own))
        )
        return replace(
            self.waited,
            p_value=p,
            extra={**self.waited.extra, "own_p_value": alone_p},
            breaking_point=breaking_point,
        )


def of_pair(rows: Summary, pair: str) -> Summary:
    """Return the rows of one pair of stamp and later instant."""
    return rows.where(rows.same("pair", pair))


def pairs_of(summaries: Summaries) -> tuple[str, ...]:
    """Return the pairs of stamp and later instant that were counted, sorted."""
    return tuple(np.unique(summaries["cells"]["pair"].astype(str)).tolist())


def all_agents(summaries: Summaries) -> NDArray[Any]:
    """Return the agents of all pairs, sorted, as an object array of text."""
    return np.unique(summaries["cells"]["agent_id"].astype(str)).astype(object)


def ask(counted: Counted, limits: Limits, learn: BoolArray | None = None) -> Answers:
    """Ask both questions of one pair; both have to be answered with yes.

    Args:
        counted: Counts of one pair.
        limits: What honest agents may show.
        learn: From whom to learn what is honest, shape (n_agents,); None stands for
            all.

    Returns:
        The second answer is nan for agents with too few days, and 1 where the longer
        waits are too short to matter.
    """
    waited = selection.withheld(
        _tables(counted),
        min_trouble=float(limits.min_near),
        min_excess=limits.events,
        min_ratio=limits.wait_ratio,
        dispersion=counted.dispersion("near_long", "near_known"),
        learn=learn,
    )
    near = _near(counted, limits, learn)
    days = counted.distinct_days("near_known")
    totals = counted.totals()
    extra_ms = _extra_wait(totals, limits.min_near)
    # Waits that are longer by seconds are longer for reasons of no interest here.
    trivial = extra_ms < limits.extra_ms * np.maximum(waited.extra["within"], 1.0)
    wait_p = np.where(trivial & ~np.isnan(waited.p_value), 1.0, waited.p_value)
    wait_p[days < limits.min_days] = np.nan
    waited = replace(waited, p_value=wait_p)
    rest = np.maximum(totals["near_known"].sum() - totals["near_known"], 1.0)
    others = totals["near_long"].sum() - totals["near_long"]
    extra = totals | {
        "near_p_value": near.p_value,
        "near_expected": near.expected,
        "near_low": near.low,
        "near_high": near.high,
        "near_ratio": near.ratio,
        "wait_p_value": waited.p_value,
        "peers_near_long_rate": others / rest,
        "extra_ms": extra_ms,
        "near_days": days,
    }

    waited = replace(waited, extra={**waited.extra, **extra})
    return Answers(near=near, waited=waited)


def _near(counted: Counted, limits: Limits, learn: BoolArray | None) -> Outcome:
    """Compare stamps just before the promise with what was still open then."""
    cells = counted.cells
    return peers.excess(
        counted.subject,
        cells.ints("clock"),
        cells.ints("near"),
        cells.ints("open_late"),
        n_subjects=len(counted.ids),
        dispersion=counted.dispersion("near", "open_late"),
        min_ratio=limits.near_ratio,
        min_trials=_MIN_OPEN_LATE,
        learn=learn,
    )


def _tables(counted: Counted) -> Tables:
    """Return a table per agent and clock: near the promise against a short wait."""
    cells = counted.cells
    return Tables.of(
        counted.subject,
        cells.ints("clock"),
        contacts=cells.ints("known"),
        invited=cells.ints("known") - cells.ints("long"),
        trouble=cells.ints("near_known"),
        both=cells.ints("near_known") - cells.ints("near_long"),
        n_subjects=len(counted.ids),
    )


def _extra_wait(totals: dict[str, FloatArray], min_near: int) -> FloatArray:
    """Return how much longer all near orders waited than the agent's others, in ms.

    Where couriers are timed to the promise, everybody's other orders wait longer, and
    how much so at the median agent is taken off.
    """
    near = np.maximum(totals["near_known"], 1.0)
    far = np.maximum(totals["known"] - totals["near_known"], 1.0)
    longer = totals["near_wait_ms"] / near - totals["far_wait_ms"] / far
    asked = totals["near_known"] >= min_near
    usual = float(np.median(longer[asked])) if asked.any() else 0.0
    return np.asarray(near * (longer - min(usual, 0.0)), dtype=np.float64)
