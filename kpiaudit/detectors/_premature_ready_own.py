"""Each agent against its own orders: what stays visible when many peers do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc

from kpiaudit.stats.tails import upper_tail

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray, IntArray

_QUARTILE = 0.6744897501960817
_SPREADS = 3.0
"""Honest agents are within this many standard deviations of the floor's lower half."""
_MIN_AGENTS = 4
_FEWEST = 10.0
_PRIOR = 20.0
_PER_LOG_ODDS = 0.39
"""Mean score per log odds of a wait in the longest tenth, if waits grow in scale.

With exponential waits of scale s that share is .1^(1/s) and the mean score about s;
the derivative of its log odds at s = 1 is log(10) / .9.
"""
_PER_EVENT = _PER_LOG_ODDS / 0.09
"""Score per such wait in excess, likewise."""


def piled(
    near: FloatArray,
    sides: FloatArray,
    *,
    usual: float,
    allowed: float,
    dispersion: FloatArray,
) -> FloatArray:
    """Test whether stamps near the promise exceed the agent's own on both sides.

    Args:
        near: Stamps in the window before the promise, shape (n_agents,).
        sides: Stamps in the two windows before it and the two after the promise.
        usual: Share of the near ones that a smooth curve through the floor's stamps
            gives, in (0, 1); nan if there is none.
        allowed: The hypothesis is odds of at most this multiple of it.
        dispersion: Variance over the binomial one, shape (n_agents,).

    Returns:
        One-sided p-values; nan where there is nothing to compare.

    Source:
        Johnson, Kemp & Kotz (2005), Univariate Discrete Distributions, section 3.4
        (binomial tail as an incomplete beta function).
    """
    if np.isnan(usual):
        return np.full_like(near, np.nan)
    odds = allowed * usual / (1.0 - usual)
    k, n = near / dispersion, (near + sides) / dispersion
    tail = betainc(np.maximum(k, 1e-9), n - k + 1.0, odds / (1.0 + odds))
    p = np.where(near > 0.0, tail, 1.0)
    return np.where(sides > 0.0, p, np.nan)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Sums of scores per agent and clock; a score is high after a long wait.

    Args:
        subject: Index of the agent per cell.
        near: Orders near the promise.
        near_score: Sum of their scores.
        far: The agent's other orders.
        far_score: Sum of their scores.
        squares: Sum of squared scores, all orders.
        n_subjects: How many agents there are.
    """

    subject: IntArray
    near: FloatArray
    near_score: FloatArray
    far: FloatArray
    far_score: FloatArray
    squares: FloatArray
    n_subjects: int

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum values per cell over each agent's cells, shape (n_subjects,)."""
        return np.asarray(
            np.bincount(self.subject, weights=values, minlength=self.n_subjects),
            dtype=np.float64,
        )


def waited(
    scores: Scores,
    *,
    allowed: float,
    events: float,
    spread: float,
    dispersion: FloatArray,
) -> FloatArray:
    """Test whether orders near the promise wait longer beyond any honest habit.

    The agent's mean score near the promise, less that of the agent's other orders with
    promises of the same length, is compared with a bound, not with peers one by one:
    what the lower quartile of all agents has in common, and on top of it `allowed`, or
    three standard deviations of honest habits if that is more. It holds as long as
    fewer than about two thirds of the agents show the pattern.

    Args:
        scores: Sums per agent and clock.
        allowed: Honest odds of one of the longest tenth of waits are at most this
            multiple of the common ones.
        events: The hypothesis is an excess of at most this many such waits as well.
        spread: Standard deviation of honest log odds of such a wait.
        dispersion: Variance over that of independent orders, shape (n_agents,).

    Returns:
        One-sided p-values; nan with fewer than two orders on a side, or with fewer
        than four agents.

    Source:
        Savage (1956), Annals of Mathematical Statistics 27:590-615 (scores for waits
        whose tails grow longer); Panjer (1981), ASTIN Bulletin 12:22-26 (the tail).
    """
    use = (scores.near > 0) & (scores.far > 0)
    near, far = (np.where(use, each, 0.0) for each in (scores.near, scores.far))
    usual = near * scores.far_score / np.maximum(far, 1.0)
    observed = scores.sums(np.where(use, scores.near_score, 0.0))
    expected, n = scores.sums(usual), scores.sums(near)
    known = (n >= _FEWEST) & (scores.sums(far) >= _FEWEST)
    nothing = np.full(scores.n_subjects, np.nan)
    if int(known.sum()) < _MIN_AGENTS:
        return nothing
    single = _variance(scores)
    weight = scores.sums(near * (1.0 + near / np.maximum(far, 1.0)))
    noise = single * weight * dispersion
    shift = (observed[known] - expected[known]) / n[known]
    bound = _common(shift, noise[known] / n[known] ** 2, spread * _PER_LOG_ODDS)
    bound += max(float(np.log(allowed)), _SPREADS * spread) * _PER_LOG_ODDS
    mean = np.maximum(expected + np.maximum(n * bound, events * _PER_EVENT), 1e-9)
    # Scores spread in proportion to their mean, as waits with longer tails do.
    wider = (mean / np.maximum(expected, 1e-9)) ** 2
    p = nothing
    p[known] = upper_tail(
        observed[known], mean[known], np.maximum(noise * wider, 1e-9)[known]
    )
    return p


def _variance(scores: Scores) -> FloatArray:
    """Return the variance of one score, of an agent's orders far from the promise.

    Orders near the promise are left out by their mean only: what they add is the
    pattern itself. Few orders are filled up with the scores' own variance of 2.
    """
    n = scores.sums(scores.near + scores.far)
    total = scores.sums(scores.near_score + scores.far_score)
    squares = scores.sums(scores.squares)
    own = np.maximum(squares - total**2 / np.maximum(n, 1.0), 0.0)
    return np.asarray((own + 2.0 * _PRIOR) / (n + _PRIOR), dtype=np.float64)


def _common(shift: FloatArray, variance: FloatArray, spread: float) -> float:
    """Return the longer wait that agents have in common, from their lower quarter.

    Gaming pushes one way, so the lower quartile is the honest agents' even where half
    of all do it; it is moved up by what noise and honest differences take from it.
    """
    noise = float(np.sqrt(np.median(variance) + spread**2))
    return max(float(np.quantile(shift, 0.25)) + _QUARTILE * noise, 0.0)
