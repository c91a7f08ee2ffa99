"""Upper tails of counts whose mean and variance are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc, gammainc, ndtr

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray

_POISSON = 1e-7
"""Relative gap of variance and mean below which a count is taken as Poisson."""


def upper_tail(k: FloatArray, mean: FloatArray, variance: FloatArray) -> FloatArray:
    """Return P(K >= k) for the Panjer count with this mean and variance.

    A variance below the mean gives a binomial (exactly the binomial that has these
    moments), equality a Poisson, above it a negative binomial. Sums over strata have
    a little less variance than one binomial, clustered days more; both stay within
    the same family, so small counts keep their skewness.

    Args:
        k: Counts, >= 0.
        mean: Means, > 0, broadcast with `k`.
        variance: Variances, > 0, broadcast with `k`.

    Returns:
        Probabilities in [0, 1]; 1 where k is 0.

    Source:
        Panjer (1981), ASTIN Bulletin 12:22-26 (the family); DLMF 8.17.5 and 8.17.24
        (binomial and negative binomial tails as incomplete beta functions).
    """
    k, mean, variance = np.broadcast_arrays(k, mean, variance)
    gap = variance - mean
    out = np.ones(k.shape)
    some = k > 0.5
    near = some & (np.abs(gap) <= _POISSON * mean)
    out[near] = gammainc(k[near], mean[near])
    below = some & ~near & (gap < 0.0)
    if below.any():
        m, g, x = mean[below], -gap[below], k[below]
        # Past the end of the matched binomial the tail goes to zero smoothly.
        rest = np.maximum(m * m / g - x + 1.0, 1e-6)
        out[below] = betainc(x, rest, np.minimum(g / m, 1.0))
    above = some & ~near & (gap > 0.0)
    if above.any():
        m, g, x = mean[above], gap[above], k[above]
        out[above] = betainc(x, m * m / g, g / (m + g))
    return out


def fast_upper_tail(
    k: FloatArray, mean: FloatArray, variance: FloatArray, *, exact: BoolArray
) -> FloatArray:
    """Return `upper_tail`, exact only where it is neither near 0 nor near 1.

    Args:
        k: Counts, shape (n, 1).
        mean: Means, shape (n, q).
        variance: Variances, shape (n, q).
        exact: Where the normal approximation will not do, shape (n, q).

    Returns:
        Probabilities, shape (n, q).
    """
    z = (k - 0.5 - mean) / np.sqrt(variance)
    out = np.asarray(ndtr(-z), dtype=np.float64)
    # Skewness of small counts makes their far tail much fatter than the normal's.
    hard = exact & (z > -7.0) & (z < 9.0 + 20.0 / np.sqrt(mean + 0.1))
    counts = np.broadcast_to(k, mean.shape)
    out[hard] = upper_tail(counts[hard], mean[hard], variance[hard])
    out[np.broadcast_to(k <= 0.5, mean.shape)] = 1.0
    return out
