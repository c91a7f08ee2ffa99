"""Agents of duration-cap against peers, a second time without those who hide them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats import peers

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome

_RAISED = np.log(3.0)
"""Log-odds by which an agent's own calls drop more than the median agent's, at least:
far outside of what honest agents differ by."""
_SURE = 2.0  # standard errors by which they do
_MOST = 1 / 3  # of the agents: more are no longer a few who stand apart
_FEWEST_PEERS = 6
_LOOKS = 2.0
_SWAPPED = (
    "expected",
    "effect",
    "low",
    "high",
    "ratio",
    "ratio_low",
    "ratio_high",
)


@frozen
class Counts:
    """Calls around a cutoff, one row per agent and stratum.

    Args:
        subject: Agent of each row, shape (n_rows,).
        stratum: Queue and layout of each row.
        near: Calls in the window below the cutoff.
        over: Calls in the window as long above it.
        trials: Calls below, near and over.
        n_subjects: Number of agents.
        dispersion: Day-to-day dispersion per agent; None where days are not known.
        min_excess: Excess that does not count.
    """

    subject: IntArray
    stratum: IntArray
    near: IntArray
    over: IntArray
    trials: IntArray
    n_subjects: int
    dispersion: FloatArray | None
    min_excess: float

    def ask(
        self, learn: BoolArray | None = None, about: BoolArray | None = None
    ) -> Outcome:
        """Compare agents, or those asked about, with some of them; None is all."""
        return peers.excess(
            self.subject,
            self.stratum,
            self.near,
            self.trials,
            n_subjects=self.n_subjects,
            dispersion=self.dispersion,
            min_excess=self.min_excess,
            learn=learn,
            about=about,
        )

    def per_agent(self, values: FloatArray | IntArray) -> FloatArray:
        """Add up rows per agent, shape (n_subjects,)."""
        total = np.bincount(self.subject, weights=values, minlength=self.n_subjects)
        return np.asarray(total, dtype=np.float64)


def excess(counts: Counts) -> Outcome:
    """Compare agents with all peers, and raised ones also with those not raised.

    Several agents who game a cap widen the spread from which honest agents are told,
    and so hide each other. Those whose own calls stop at the cutoff far more abruptly
    than the median agent's are therefore compared once more, with the agents who are
    not like that. Both comparisons share the error budget of these
    agents (Bonferroni); the others keep theirs whole.

    Source:
        Masking of outliers by each other and search from a clean subset: Hadi (1992),
        J. R. Stat. Soc. B 54(3), 761-771.
    """
    plain = counts.ask()
    raised = raised_agents(counts) & plain.testable
    rest = int((plain.testable & ~raised).sum())
    number = int(raised.sum())
    if not 2 <= number <= _MOST * (number + rest) or rest < _FEWEST_PEERS:
        return plain
    return _merged(plain, counts.ask(learn=~raised, about=raised), raised)


def raised_agents(counts: Counts) -> BoolArray:
    """Say whose own calls drop at the cutoff far more than the median agent's.

    Calls near the cutoff are compared with those over it, and with all others around
    it, of which there are enough where long calls are rare. Both are held against what
    the agent's mix of queues gives, so that a queue whose calls end there does not
    raise those who serve it.
    """
    return _beyond(counts, counts.over) | _beyond(counts, counts.trials - counts.near)


def _beyond(counts: Counts, others: IntArray) -> BoolArray:
    """Say whose calls near the cutoff are too many for their other ones."""
    both = counts.near + others
    size = int(counts.stratum.max(initial=-1)) + 1
    total = np.bincount(counts.stratum, weights=both, minlength=size)
    hits = np.bincount(counts.stratum, weights=counts.near, minlength=size)
    share = ((hits + 0.5) / (total + 1.0))[counts.stratum]
    near, rest = counts.per_agent(counts.near) + 1.0, counts.per_agent(others) + 1.0
    usual = (counts.per_agent(both * share) + 1.0) / (
        counts.per_agent(both * (1.0 - share)) + 1.0
    )
    drop = np.log(near / rest) - np.log(usual)
    seen = near + rest > 2.0
    if not seen.any():
        return seen
    error = np.sqrt(1.0 / near + 1.0 / rest)
    raised: BoolArray = drop - np.median(drop[seen]) - _SURE * error > _RAISED
    return raised & seen


def _merged(plain: Outcome, again: Outcome, raised: BoolArray) -> Outcome:
    """Let the smaller p-value of each raised agent count, doubled."""
    first = np.where(raised, np.minimum(plain.p_value * _LOOKS, 1.0), plain.p_value)
    second = np.where(raised, np.minimum(again.p_value * _LOOKS, 1.0), np.inf)
    better = second < first
    values = {
        name: np.where(better, getattr(again, name), getattr(plain, name))
        for name in _SWAPPED
    }

    def interval(rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
        out = np.full((2, len(rows)), np.nan)
        for outcome, mine in ((plain, ~better[rows]), (again, better[rows])):
            if outcome.interval is not None:
                out[:, mine] = outcome.interval(rows[mine], level)
        return out[0], out[1]

    def breaking_point(rows: IntArray, p_threshold: float) -> FloatArray:
        out = np.full(len(rows), np.nan)
        for i, row in enumerate(rows.tolist()):
            inner = (again if better[row] else plain).breaking_point
            own = p_threshold / _LOOKS if raised[row] else p_threshold
            if inner is not None:
                out[i] = inner(np.array([row]), own)[0]
        return out

    return replace(
        plain,
        p_value=np.where(better, second, first),
        interval=interval,
        breaking_point=breaking_point,
        **values,
    )
