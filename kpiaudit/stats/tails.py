"""Upper tails of counts whose mean and variance are known."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray

_POISSON = 1e-7
"""Relative gap of variance and mean below which a count is taken as Poisson."""
_STRIDE, _STENCIL = 3, 6
"""Exact tails are taken at every so manieth point, and laid through so many."""


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
    out[near] = sp.special.gammainc(k[near], mean[near])
    below = some & ~near & (gap < 0.0)
    if below.any():
        m, g, x = mean[below], -gap[below], k[below]
        # Past the end of the matched binomial the tail goes to zero smoothly.
        rest = np.maximum(m * m / g - x + 1.0, 1e-6)
        out[below] = sp.special.betainc(x, rest, np.minimum(g / m, 1.0))
    above = some & ~near & (gap > 0.0)
    if above.any():
        m, g, x = mean[above], gap[above], k[above]
        out[above] = sp.special.betainc(x, m * m / g, g / (m + g))
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
    # Skewness of small counts makes their far tail much fatter than the normal's.
    hard = exact & (z > -7.0) & (z < 9.0 + 20.0 / np.sqrt(mean + 0.1))
    if z.shape[1] <= _STENCIL * _STRIDE:
        out = np.asarray(sp.special.ndtr(-z), dtype=np.float64)
        counts = np.broadcast_to(k, mean.shape)
        out[hard] = upper_tail(counts[hard], mean[hard], variance[hard])
    else:
        out = _between(k, mean, variance, z, hard)
    out[np.broadcast_to(k <= 0.5, mean.shape)] = 1.0
    return out


def _between(
    k: FloatArray,
    mean: FloatArray,
    variance: FloatArray,
    z: FloatArray,
    hard: BoolArray,
) -> FloatArray:
    """Return tails, exact at every third point and interpolated between.

    On the scale of normal scores a tail is nearly a straight line along the grid; the
    interpolated one is off by less than .001 of itself.
    """
    nodes = slice(None, None, _STRIDE)
    near = hard.copy()
    reach = _STENCIL // 2 * _STRIDE
    for by in (1 << i for i in range(reach.bit_length())):
        near[:, by:] |= near[:, :-by]
        near[:, :-by] |= near[:, by:]
    needed = near[:, nodes]
    score = z[:, nodes].copy()
    counts = np.broadcast_to(k, needed.shape)
    tail = upper_tail(
        counts[needed], mean[:, nodes][needed], variance[:, nodes][needed]
    )
    # At its ends a tail says nothing about the score, but the normal's is near.
    told = (tail > 1e-290) & (tail < 1.0 - 1e-12)
    score[needed] = np.where(told, -sp.special.ndtri(tail), score[needed])
    along = score @ _interpolation(z.shape[1])
    return np.asarray(sp.special.ndtr(-np.where(hard, along, z)), dtype=np.float64)


@cache
def _interpolation(points: int) -> FloatArray:
    """Return the weights of nodes in each point: Lagrange's, through six nodes."""
    x = np.arange(points) / _STRIDE
    nodes = -(-points // _STRIDE)
    first = np.clip(np.floor(x) - _STENCIL // 2 + 1, 0, nodes - _STENCIL)
    out = np.zeros((nodes, points))
    for i in range(_STENCIL):
        weight = np.ones(points)
        for j in range(_STENCIL):
            if i != j:
                weight *= (x - first - j) / (i - j)
        out[first.astype(np.int64) + i, np.arange(points)] = weight
    out.flags.writeable = False
    return out
