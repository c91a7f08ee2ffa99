"""Smooth Poisson curves through many histograms, of a degree the data choose."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kpiaudit.stats.outcome import BoolArray, FloatArray

_RIDGE = 1e-8
_ETA = 30.0
_TOLERANCE = 1e-5  # Newton doubles the digits: the step after is far smaller
_PATIENCE = 3  # degrees without improvement before a histogram is left alone


@frozen
class Curves:
    """Fitted curves, one per histogram.

    Args:
        mean: Calls per bin without the extra columns and the level, in all bins, shape
            (n_histograms, n_bins).
        window: Fitted calls in the bins asked about, shape (n_histograms,).
        variance: Of `window`, by the delta method, for Poisson counts.
        dispersion: Pearson's chi-square over its degrees of freedom, at least 1, the
            larger one of bins and blocks of bins, shape (n_histograms,).
        criterion: Schwarz's criterion, shape (n_histograms,); smaller is better.
        degree: Chosen degree, shape (n_histograms,).
    """

    mean: FloatArray
    window: FloatArray
    variance: FloatArray
    dispersion: FloatArray
    criterion: FloatArray
    degree: NDArray[np.int64]


@frozen
class Bins:
    """Counts in bins, and what is to be done with each bin.

    Args:
        counts: Shape (n_histograms, n_bins).
        exposure: Free seconds in each bin; where 0 the bin is not used. Same shape.
        fitted: The bins that the curve is fitted to, same shape.
        window: The bins that are asked about, shape (n_bins,).
        block: Bins to a block, for the dispersion of sums as long as the window.
        level: Share of the curve that is expected in each bin, same shape; None = all.
    """

    counts: FloatArray
    exposure: FloatArray
    fitted: BoolArray
    window: BoolArray
    block: int
    level: FloatArray | None = None


def poisson_fit(
    counts: FloatArray, design: FloatArray, *, weights: FloatArray, offset: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Fit log-linear Poisson regressions that share their columns, all at once.

    Args:
        counts: Shape (n_histograms, n_bins).
        design: Columns, shape (n_bins, n_columns).
        weights: 0 leaves a bin out, shape (n_histograms, n_bins).
        offset: Logarithm of the exposure, same shape.

    Returns:
        Coefficients, shape (n_histograms, n_columns), and their covariance, shape
        (n_histograms, n_columns, n_columns).

    Source:
        Iteratively reweighted least squares: Nelder & Wedderburn (1972), Journal of the
        Royal Statistical Society A 135(3), 370-384.
    """
    n_bins, k = design.shape
    products = (design[:, :, None] * design[:, None, :]).reshape(n_bins, k * k)
    ridge = _RIDGE * np.eye(k)

    def information(mean: FloatArray, rows: NDArray[np.int64]) -> FloatArray:
        return np.asarray(((mean * weights[rows]) @ products).reshape(-1, k, k) + ridge)

    rows = np.arange(len(counts))
    right = ((counts + 0.5) * weights * (np.log(counts + 0.5) - offset)) @ design
    first = information(counts + 0.5, rows)
    beta: FloatArray = np.asarray(np.linalg.solve(first, right[..., None])[..., 0])
    for _ in range(30):
        mean = _mean(beta[rows], design, offset[rows])
        score = ((counts[rows] - mean) * weights[rows]) @ design
        step = np.linalg.solve(information(mean, rows), score[..., None])[..., 0]
        size = np.abs(step).max(axis=1)
        beta[rows] += step * np.minimum(1.0, 2.0 / np.maximum(size, 1e-12))[:, None]
        rows = rows[size > _TOLERANCE]
        if not len(rows):
            break
    final = _mean(beta, design, offset)
    covariance = np.linalg.inv(information(final, np.arange(len(counts))))
    return beta, np.asarray(covariance, dtype=np.float64)


def fit_curves(
    bins: Bins,
    *,
    extra: FloatArray | None = None,
    penalty: int = 0,
    degrees: Sequence[int],
) -> Curves:
    """Fit a curve to each histogram, with the degree that Schwarz's criterion prefers.

    Args:
        bins: The counts.
        extra: Further columns, such as a step at the cutoff, shape (n_bins, n_extra).
        penalty: Parameters that count in the criterion but stand for left-out bins.
        degrees: Candidates, ascending. A histogram with few usable bins gets the lower
            ones only (three bins to a parameter).

    Returns:
        The curves.

    Source:
        Schwarz (1978), Annals of Statistics 6(2), 461-464; the degree of a bunching
        counterfactual by an information criterion: Bosch, Dekker & Strohmaier (2020),
        International Tax and Public Finance 27, 1269-1287.
    """
    n_extra = 0 if extra is None else extra.shape[1]
    usable = (bins.fitted & (bins.exposure > 0)).sum(axis=1)
    best: Curves | None = None
    for degree in degrees:
        columns = _basis(bins.counts.shape[1], degree)
        if extra is not None:
            columns = np.hstack([columns, extra])
        if best is None:
            best = _fit_one(bins, columns, degree=degree, penalty=penalty)
            continue
        rows = np.flatnonzero(
            (usable >= 3 * (degree + 1 + n_extra)) & (degree - best.degree <= _PATIENCE)
        )
        if not len(rows):
            break
        fit = _fit_one(select(bins, rows), columns, degree=degree, penalty=penalty)
        best = put(best, pick([take(best, rows), fit]), rows)
    if best is None:
        raise ValueError("at least one degree is needed")
    return best


def select(bins: Bins, rows: NDArray[np.int64]) -> Bins:
    """Give the bins of some histograms."""
    return replace(
        bins,
        counts=bins.counts[rows],
        exposure=bins.exposure[rows],
        fitted=bins.fitted[rows],
        level=None if bins.level is None else bins.level[rows],
    )


def _fit_one(bins: Bins, columns: FloatArray, *, degree: int, penalty: int) -> Curves:
    used = bins.fitted & (bins.exposure > 0)
    weights = used.astype(np.float64)
    design, upper = np.linalg.qr(columns)
    smooth = columns.copy()
    smooth[:, degree + 1 :] = 0.0
    offset = np.log(np.maximum(bins.exposure, 1e-9))
    if bins.level is not None:
        offset = offset + np.log(bins.level)
    beta, covariance = poisson_fit(bins.counts, design, weights=weights, offset=offset)
    mean = _mean(beta, design, offset)
    in_window = mean * bins.window
    gradient = in_window @ design
    counts = bins.counts * weights
    fitted = mean * weights
    deviance = 2 * (sp.special.xlogy(counts, counts) - sp.special.xlogy(counts, mean))
    deviance = (deviance - 2 * (counts - fitted)).sum(axis=1)
    n_columns = columns.shape[1] + penalty
    return Curves(
        mean=_mean(beta, smooth @ np.linalg.inv(upper), np.log(bins.exposure + 1e-9)),
        window=in_window.sum(axis=1),
        variance=np.einsum("hk,hkl,hl->h", gradient, covariance, gradient),
        dispersion=np.maximum(
            _pearson(counts, fitted, used, columns.shape[1]),
            _blocked(counts, fitted, used, columns.shape[1], block=bins.block),
        ),
        criterion=deviance + n_columns * np.log(np.maximum(used.sum(axis=1), 2)),
        degree=np.full(len(mean), degree, dtype=np.int64),
    )


def pick(curves: Sequence[Curves]) -> Curves:
    """Keep, for each histogram, the curve with the smallest criterion."""
    best = curves[0]
    for other in curves[1:]:
        best = _where(other.criterion < best.criterion, other, best)
    return best


def take(curves: Curves, rows: NDArray[np.int64]) -> Curves:
    """Give the curves of some histograms."""
    return Curves(**{f.name: getattr(curves, f.name)[rows] for f in fields(Curves)})


def put(curves: Curves, part: Curves, rows: NDArray[np.int64]) -> Curves:
    """Replace the curves of some histograms."""
    changed = {}
    for field in fields(Curves):
        values = getattr(curves, field.name).copy()
        values[rows] = getattr(part, field.name)
        changed[field.name] = values
    return Curves(**changed)


def _where(condition: BoolArray, first: Curves, second: Curves) -> Curves:
    """Choose between two curves for each histogram."""
    chosen = {}
    for field in fields(Curves):
        a, b = getattr(first, field.name), getattr(second, field.name)
        chosen[field.name] = np.where(
            condition[:, None] if a.ndim > 1 else condition, a, b
        )
    return Curves(**chosen)


def _mean(beta: FloatArray, design: FloatArray, offset: FloatArray) -> FloatArray:
    return np.asarray(np.exp(np.clip(beta @ design.T + offset, -_ETA, _ETA)))


def _basis(n_bins: int, degree: int) -> FloatArray:
    centres = (2 * np.arange(n_bins) + 1) / n_bins - 1
    return np.asarray(np.polynomial.legendre.legvander(centres, degree))


def _pearson(
    counts: FloatArray, mean: FloatArray, used: BoolArray, n_columns: int
) -> FloatArray:
    """Give Pearson's chi-square over its degrees of freedom, at least 1."""
    # a bin that expects almost nothing would count for a thousand with a single call
    residual = np.where(used, (counts - mean) ** 2 / np.maximum(mean, 0.25), 0.0)
    freedom = np.maximum(used.sum(axis=1) - n_columns, 1)
    return np.asarray(np.maximum(residual.sum(axis=1) / freedom, 1.0))


def _blocked(
    counts: FloatArray,
    mean: FloatArray,
    used: BoolArray,
    n_columns: int,
    *,
    block: int,
) -> FloatArray:
    """Give the same for blocks of bins: a poor fit shows in neighbours together."""
    whole = counts.shape[1] // block * block
    shape = (len(counts), whole // block, block)
    return _pearson(
        counts[:, :whole].reshape(shape).sum(axis=2),
        mean[:, :whole].reshape(shape).sum(axis=2),
        np.asarray(used[:, :whole].reshape(shape).any(axis=2)),
        n_columns,
    )
