"""What the honest spread says about one subject: tail, interval, ratio, robustness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen
from kpiaudit.stats.tails import fast_upper_tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.stats.outcome import FloatArray, IntArray
    from kpiaudit.stats.shapes import Grid
    from kpiaudit.stats.spread import Spread
    from kpiaudit.stats.yardstick import Yardstick

_CAP = 50.0
_BLOCK = 512


@frozen
class Model:
    """Moments of every subject's count along the grid, and its honest distribution."""

    grid: Grid
    k: FloatArray
    n: FloatArray
    phi: FloatArray
    peers: FloatArray
    mean: FloatArray
    variance: FloatArray
    null_mean: FloatArray
    null_variance: FloatArray
    likelihood: FloatArray
    yardstick: Yardstick

    def weights(self, rows: IntArray) -> FloatArray:
        """Return the honest distribution of some rows, shape (len(rows), points)."""
        return _rows(self.yardstick.honest, rows)

    def predictive(self, rows: IntArray, along: FloatArray) -> FloatArray:
        """Return the p-value of rows from their tails along the grid.

        The shape under which the events are least surprising decides, as far as the
        peers leave that shape credible; averaging alone would let a shape that the
        peers can't tell from another pass at half its weight.
        """
        demanding = self.yardstick.demanding
        if len(demanding) == 1:
            each = along @ demanding[0].T
        else:
            each = np.einsum("nq,nsq->ns", along, demanding[rows])
        return np.asarray(np.clip(each.max(axis=1), 0.0, 1.0), dtype=np.float64)

    def spread_variance(self, rows: IntArray) -> FloatArray:
        """Return some rows' variance under the null, shape (len(rows), points)."""
        v = self.null_variance[rows]
        out = self.peers[rows, None] * v
        out += self.phi[rows, None]
        out *= v
        return np.asarray(out, dtype=np.float64)


def _rows(values: FloatArray, rows: IntArray) -> FloatArray:
    """Return some rows of an array whose single row may serve for all."""
    if len(values) == 1:
        return np.broadcast_to(values, (len(rows), *values.shape[1:]))
    return values[rows]


def tails(model: Model, rows: IntArray) -> FloatArray:
    """Return P(K >= k) under the null along the grid, shape (len(rows), points)."""
    variance = model.spread_variance(rows)
    exact = _rows(model.yardstick.demanding.max(axis=1), rows) > 1e-10
    return fast_upper_tail(
        model.k[rows, None], model.null_mean[rows], variance, exact=exact
    )


def log_odds_ratio(k: FloatArray, n: FloatArray, mean: FloatArray) -> FloatArray:
    """Return the log-odds of a subject against its expected rate, kept finite."""
    own = np.log((k + 0.5) / (n - k + 0.5))
    return np.asarray(own - np.log((mean + 0.5) / (n - mean + 0.5)), dtype=np.float64)


def p_values(model: Model) -> FloatArray:
    """Return the predictive p-value per subject; nan where p <= .05 is out of reach."""
    # In blocks that stay in a core's own cache.
    blocks = [
        np.arange(start, min(start + _BLOCK, len(model.k)))
        for start in range(0, len(model.k), _BLOCK)
    ]
    empty = [np.zeros(0)]
    return np.concatenate([_p_values(model, rows) for rows in blocks] or empty)


def _p_values(model: Model, rows: IntArray) -> FloatArray:
    weights = model.weights(rows)
    p = model.predictive(rows, tails(model, rows))
    # Only where non-events are few can events in every trial be no surprise.
    mean, n = model.null_mean[rows], model.n[rows]
    spare = weights.sum(axis=1) * n - np.einsum("nq,nq->n", weights, mean)
    few = np.flatnonzero(spare < 30.0)
    full = mean[few] / np.maximum(n[few], 1.0)[:, None]
    likely = np.sum(weights[few] * np.minimum(full, 1.0) ** n[few, None], axis=1)
    p[few[likely > 0.05]] = np.nan
    return p


def quantile(grid: Grid, weights: FloatArray, level: float) -> FloatArray:
    """Return a quantile of log-odds per row of cell masses, shape (n,)."""
    return quantiles(grid, weights, (level,))[0]


def quantiles(
    grid: Grid, weights: FloatArray, levels: Sequence[float]
) -> list[FloatArray]:
    """Return several quantiles per row of cell masses, each of shape (n,)."""
    cumulated = np.cumsum(weights, axis=1)
    total = cumulated[:, -1]
    at = np.arange(len(weights))
    edges = np.concatenate([grid.points[:1], grid.edges, grid.points[-1:]])
    out = []
    for level in levels:
        cell = np.argmax(cumulated >= level * total[:, None] - 1e-15, axis=1)
        mass = np.maximum(weights[at, cell], 1e-300)
        part = np.clip((level * total - cumulated[at, cell] + mass) / mass, 0, 1)
        out.append(np.asarray(edges[cell] + part * (edges[cell + 1] - edges[cell])))
    return out


def _rate_at(model: Model, rows: IntArray, theta: FloatArray) -> FloatArray:
    """Return the expected rate of rows at one log-odds each, shape (len(rows),)."""
    points = model.grid.points
    cell = np.clip(np.searchsorted(points, theta) - 1, 0, len(points) - 2)
    part = np.clip((theta - points[cell]) / (points[cell + 1] - points[cell]), 0, 1)
    left, right = model.mean[rows, cell], model.mean[rows, cell + 1]
    size = np.maximum(model.n[rows], 1.0)
    return np.asarray((left * (1.0 - part) + right * part) / size, dtype=np.float64)


def excess_interval(
    model: Model, rows: IntArray, level: float
) -> tuple[FloatArray, FloatArray]:
    """Return the interval of the excess events of some rows at a level."""
    alpha = (1.0 - level) / 2.0
    k, n, phi = model.k[rows], np.maximum(model.n[rows], 1.0), model.phi[rows]
    a, b = k / phi + 0.5, (n - k) / phi + 0.5
    own = k / n
    own_low = np.where(k > 0.0, sp.special.betaincinv(a, b, alpha), 0.0)
    own_high = np.where(k < n, sp.special.betaincinv(a, b, 1.0 - alpha), 1.0)
    weights = model.weights(rows)
    base = np.sum(weights * model.mean[rows], axis=1) / n
    variance = np.sum(weights * model.variance[rows], axis=1)
    extra = sp.special.ndtri(1.0 - alpha) ** 2 * model.peers[rows] * (variance / n) ** 2
    honest = model.yardstick.honest
    honest = honest if len(honest) == 1 else weights
    ends = quantiles(model.grid, honest, (alpha, 1.0 - alpha))
    base_low, base_high = (_rate_at(model, rows, end) for end in ends)
    down = np.sqrt((own - own_low) ** 2 + (base_high - base) ** 2 + extra)
    up = np.sqrt((own_high - own) ** 2 + (base - base_low) ** 2 + extra)
    point = own - base
    return n * (point - down), n * (point + up)


def odds_ratio(
    spread: Spread, model: Model
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the shrunken odds ratio against the honest median, with 95 % interval."""
    honest = spread.honest
    posterior = model.likelihood * spread.everybody
    posterior /= np.maximum(posterior.sum(axis=1, keepdims=True), 1e-300)
    centre = float(quantile(spread.grid, honest[None, :], 0.5)[0])
    middle, low, high = (
        np.exp(end - centre)
        for end in quantiles(spread.grid, posterior, (0.5, 0.025, 0.975))
    )
    return middle, low, high


def spread_to_break(
    spread: Spread, model: Model, rows: IntArray, p_threshold: float
) -> FloatArray:
    """Return the multiple of the honest spread at which rows pass the threshold."""
    if len(rows) == 0:
        return np.zeros(0)
    points = model.grid.points
    centre = float(quantile(model.grid, spread.honest[None, :], 0.5)[0])
    multiples = np.exp(np.linspace(0.0, np.log(_CAP), 60))
    at = centre + multiples[:, None] * (points - centre)
    p = np.empty((len(rows), len(multiples)))
    for place, (row, along) in enumerate(zip(rows, tails(model, rows), strict=True)):
        moved = np.interp(at, points, along)
        p[place] = model.predictive(np.full(len(multiples), row), moved)
    lost = p > p_threshold
    first = np.where(lost.any(axis=1), np.argmax(lost, axis=1), len(multiples) - 1)
    return np.asarray(multiples[first], dtype=np.float64)
