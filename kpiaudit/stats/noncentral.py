"""Fisher's noncentral hypergeometric distribution, over many 2 x 2 tables at once.

Given its margins, the corner count of a 2 x 2 table whose odds ratio is known follows
this distribution; sums of corners over tables that share a deviation from their own
reference odds ratio form an exponential family in that deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray, IntArray

_HALF_RANGE = 5.2
_NODES = 37
_DENSE = 12.0
_CHUNK = 4_000_000


@frozen
class Corners:
    """Summed corner counts of each subject's tables, as functions of the deviation.

    Args:
        log_norm: Log normalising constant, shape (n_subjects, n_points).
        mean: Mean of the summed corner, same shape.
        variance: Its variance, same shape, >= 0.
    """

    log_norm: FloatArray
    mean: FloatArray
    variance: FloatArray


def corners(
    subject: IntArray,
    *,
    row: FloatArray,
    column: FloatArray,
    total: FloatArray,
    log_odds: FloatArray,
    points: FloatArray,
    n_subjects: int,
) -> Corners:
    """Return moments of each subject's summed corner at every deviation.

    The corner of a table has log odds ratio `log_odds + deviation`. The functions are
    computed at Chebyshev nodes and interpolated: they are analytic up to a distance of
    pi from the real axis, which makes that error negligible. Tables whose corner can
    take more than 48 values are summed with growing steps, good to 0.2 percent of a
    standard deviation's square.

    Args:
        subject: Index of the subject per table, in [0, n_subjects).
        row: First row's total per table (contacts with trouble).
        column: First column's total per table (invited contacts).
        total: Grand total per table, >= row and >= column.
        log_odds: Reference log odds ratio per table.
        points: Deviations, shape (n_points,), within [-5.2, 5.2].
        n_subjects: How many subjects there are.

    Returns:
        Arrays of shape (n_subjects, n_points).

    Source:
        Fisher (1935), JRSS 98:39-54; Harkness (1965), Ann. Math. Stat. 36:938-945 (the
        distribution; all roots of its generating function are real and negative, which
        places the singularities); Trefethen (2013), Approximation Theory and
        Approximation Practice, chapters 5 and 8 (barycentric formula, convergence).
    """
    nodes = _HALF_RANGE * np.cos((np.arange(_NODES) + 0.5) * np.pi / _NODES)
    sums = np.zeros((3, n_subjects, _NODES))
    low = np.maximum(row + column - total, 0.0)
    high = np.minimum(row, column)
    size = _n_corners(high - low)
    for width in np.unique(size):
        mine = np.flatnonzero(size == width)
        step = max(1, int(_CHUNK // (width * _NODES)))
        for start in range(0, len(mine), step):
            part = mine[start : start + step]
            margins = row[part], column[part], total[part], log_odds[part]
            for total_of, values in zip(
                sums,
                _tables(low[part], high[part], margins, nodes, int(width)),
                strict=True,
            ):
                np.add.at(total_of, subject[part], values)
    weights = _interpolation(nodes, points)
    log_norm, mean, variance = (each @ weights for each in sums)
    return Corners(log_norm=log_norm, mean=mean, variance=np.maximum(variance, 1e-12))


def _n_corners(span: FloatArray) -> IntArray:
    """Return how many corner values to visit, rounded up so that tables batch well."""
    exact = span + 1.0
    # Half of a long support is covered by steps that grow with its square root.
    half = np.maximum(span / 2.0 - _DENSE, 0.0)
    coarse = 2.0 * (_DENSE + 4.0 * (np.sqrt(1.0 + half / 2.0) - 1.0)) + 2.0
    need = np.where(exact <= 48, exact, np.minimum(exact, coarse))
    return (8 * np.ceil(need / 8.0)).astype(np.int64)


def _tables(
    low: FloatArray,
    high: FloatArray,
    margins: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
    nodes: FloatArray,
    width: int,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return log norm, mean and variance of each table at each node."""
    row, column, total, log_odds = (m[:, None] for m in margins)
    a, weight = _visited(low, high, width)
    log_weight = np.where(
        weight > 0.0,
        np.log(np.maximum(weight, 1e-300))
        - sp.special.gammaln(a + 1.0)
        - sp.special.gammaln(row - a + 1.0)
        - sp.special.gammaln(column - a + 1.0)
        - sp.special.gammaln(total - row - column + a + 1.0)
        + log_odds * a,
        -np.inf,
    )
    log_weight -= log_weight.max(axis=1, keepdims=True)
    from_low = a - low[:, None]
    logs = log_weight[:, :, None] + from_low[:, :, None] * nodes
    top = logs.max(axis=1)
    mass = np.exp(logs - top[:, None, :])
    norm = mass.sum(axis=1)
    mean = np.einsum("taj,ta->tj", mass, from_low) / norm
    square = np.einsum("taj,ta->tj", mass, from_low**2) / norm
    lows = low[:, None]
    return top + np.log(norm) + lows * nodes, mean + lows, square - mean**2


def _visited(
    low: FloatArray, high: FloatArray, width: int
) -> tuple[FloatArray, FloatArray]:
    """Return the corner values to visit and how many corners each stands for.

    Short supports are visited whole. In long ones the steps grow from both ends inwards
    like the standard deviation does there: the trapezoidal rule is then as good as the
    sum itself.
    """
    span = (high - low)[:, None]
    steps = np.arange(width, dtype=np.float64)[None, :]
    whole = np.minimum(steps, span), np.where(steps <= span, 1.0, 0.0)
    if width >= float(span.max()) + 1.0:
        return low[:, None] + whole[0], whole[1]
    # Solve for the growth that makes the two halves meet exactly in the middle.
    inner = (width - 1) / 2.0 - _DENSE
    half = span / 2.0
    growth = np.maximum((half - _DENSE - inner) / inner**2, 0.0)
    from_end = np.minimum(steps, width - 1 - steps)
    grown = np.maximum(from_end - _DENSE, 0.0)
    distance = from_end + growth * grown**2
    position = np.where(steps <= (width - 1) / 2.0, distance, span - distance)
    short = span + 1.0 <= width
    position = np.where(short, whole[0], position)
    return low[:, None] + position, np.where(
        short, whole[1], 1.0 + 2.0 * growth * grown
    )


def _interpolation(nodes: FloatArray, points: FloatArray) -> FloatArray:
    """Return the matrix from values at Chebyshev nodes to values at `points`."""
    order = np.arange(len(nodes))
    bary = (-1.0) ** order * np.sin((order + 0.5) * np.pi / len(nodes))
    gap = points[None, :] - nodes[:, None]
    near = np.abs(gap) < 1e-12
    terms = bary[:, None] / np.where(near, 1.0, gap)
    out = terms / terms.sum(axis=0)
    hit = near.any(axis=0)
    out[:, hit] = near[:, hit]
    return np.asarray(out, dtype=np.float64)
