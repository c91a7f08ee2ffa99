"""Each agent against its own orders: what stays visible when many peers do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc

from kpiaudit.stats.noncentral import corners
from kpiaudit.stats.odds import odds_ratio
from kpiaudit.stats.tails import upper_tail

if TYPE_CHECKING:
    from kpiaudit.stats.odds import Tables
    from kpiaudit.stats.outcome import BoolArray, FloatArray

_QUARTILE = 0.6744897501960817
_SPREADS = 3.0
"""Honest agents lie within this many standard deviations of the floor's lower half."""
_MIN_AGENTS = 4
_REACH = 5.0


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


def waited(
    tables: Tables, *, allowed: float, spread: float, dispersion: FloatArray
) -> FloatArray:
    """Test whether long waits go with stamps near the promise beyond any honest habit.

    The agent's odds ratio is compared with a bound, not with peers one by one: what the
    lower quartile of all agents has in common, times `allowed`, or times three standard
    deviations of honest habits if that is more. It holds as long as fewer than about
    two thirds of the agents show the pattern.

    Args:
        tables: Trouble is being near the promise, an invitation a wait that is not
            long.
        allowed: Honest odds ratios are at most this multiple of the common one.
        spread: Standard deviation of honest log odds ratios.
        dispersion: Variance over the conditional one, shape (n_agents,).

    Returns:
        One-sided p-values; nan without information or with fewer than four agents.

    Source:
        Cornfield (1956), Proc. 3rd Berkeley Symp. 4:135-148 (the conditional test
        against an odds ratio other than 1).
    """
    own = odds_ratio(tables)
    some = ~np.isnan(own.log) & (own.variance < 1.0)
    nothing = np.full(tables.n_subjects, np.nan)
    if int(some.sum()) < _MIN_AGENTS:
        return nothing
    common = _common(-own.log[some], own.variance[some], spread)
    bound = common + max(float(np.log(allowed)), _SPREADS * spread)
    sums = corners(
        tables.subject,
        row=tables.trouble,
        column=tables.contacts - tables.invited,
        total=tables.contacts,
        log_odds=np.zeros(len(tables.subject)),
        points=np.array([min(bound, _REACH)]),
        n_subjects=tables.n_subjects,
    )
    long = tables.per_subject(tables.trouble - tables.both)
    mean, variance = sums.mean[:, 0], sums.variance[:, 0] * dispersion
    known = _known(mean, variance)
    p = nothing
    p[known] = upper_tail(long[known], mean[known], variance[known])
    return p


def _known(mean: FloatArray, variance: FloatArray) -> BoolArray:
    return np.asarray((mean > 1e-9) & (variance > 1e-9), dtype=np.bool_)


def _common(log: FloatArray, variance: FloatArray, spread: float) -> float:
    """Return the log odds ratio that agents have in common, from their lower quarter.

    Gaming pushes one way, so the lower quartile is the honest agents' even where half
    of all do it; it is moved up by what noise and honest differences take from it.
    """
    noise = float(np.sqrt(np.median(variance) + spread**2))
    return max(float(np.quantile(log, 0.25)) + _QUARTILE * noise, 0.0)
