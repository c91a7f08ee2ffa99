"""Expected events of a subject as functions of one added log-odds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.stats.outcome import FloatArray, IntArray
    from kpiaudit.stats.reference import Counts

_NODES = 25
_BLOCK = 256
_BIN = 0.02
_BINS_AT_MOST = 4096
_DENSE = 4
"""Numbers per row of counts up to which tables of subjects and bins pay."""


@frozen
class Response:
    """Expected events of a subject as smooth functions of one added log-odds.

    They are sums over rows, so they are evaluated at a few Chebyshev nodes and
    interpolated on the log scale, where they are nearly straight.
    """

    nodes: FloatArray
    log_potential: FloatArray
    log_mean: FloatArray
    log_variance: FloatArray
    reach: float = 8.0

    @classmethod
    def of(cls, counts: Counts, log_odds: FloatArray) -> Response:
        """Evaluate the sums over the rows of each subject at the nodes."""
        angle = (2.0 * np.arange(_NODES) + 1.0) / (2.0 * _NODES) * np.pi
        nodes = cls.reach * np.cos(angle)
        logs = np.log(np.maximum(_sums(counts, log_odds, nodes), 1e-300))
        return cls(
            nodes=nodes, log_potential=logs[0], log_mean=logs[1], log_variance=logs[2]
        )

    def of_rows(self, rows: IntArray) -> Response:
        """Return the response of some subjects."""
        return replace(
            self,
            log_potential=self.log_potential[rows],
            log_mean=self.log_mean[rows],
            log_variance=self.log_variance[rows],
        )

    def _matrix(self, theta: FloatArray) -> FloatArray:
        """Return the interpolation from the nodes to `theta`, (nodes, theta)."""
        angle = (2.0 * np.arange(_NODES) + 1.0) / (2.0 * _NODES) * np.pi
        weight = (-1.0) ** np.arange(_NODES) * np.sin(angle)
        gap = np.clip(theta, -self.reach, self.reach)[None, :] - self.nodes[:, None]
        gap = np.where(np.abs(gap) < 1e-12, 1e-12, gap)
        part = weight[:, None] / gap
        out: FloatArray = part / part.sum(axis=0)
        return out

    def at(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return means and binomial variances, each of shape (n, len(theta))."""
        matrix = self._matrix(theta)
        mean, variance = (np.empty((len(self.log_mean), len(theta))) for _ in range(2))
        for rows in _blocks(len(mean)):
            _exp_of(self.log_mean[rows], matrix, mean[rows])
            _exp_of(self.log_variance[rows], matrix, variance[rows])
        return mean, variance

    def likelihood(
        self, k: FloatArray, noise: FloatArray, theta: FloatArray
    ) -> FloatArray:
        """Return each subject's likelihood along `theta`, highest value 1.

        Given the strata's rates, the sum of events is sufficient; `noise` is the
        variance over the binomial one, by which the information is divided.
        """
        matrix = self._matrix(theta)
        out = np.empty((len(k), len(theta)))
        # Minus the log probability of no event, of one block.
        potential = np.empty((_BLOCK, len(theta)))
        for rows in _blocks(len(k)):
            log, less = out[rows], potential[: len(k[rows])]
            np.multiply(k[rows, None], theta, out=log)
            log -= _exp_of(self.log_potential[rows], matrix, less)
            log /= noise[rows, None]
            log -= log.max(axis=1, keepdims=True)
            np.exp(log, out=log)
        return out


def _sums(counts: Counts, log_odds: FloatArray, nodes: FloatArray) -> FloatArray:
    """Return potential, mean and variance of subjects, (3, n_subjects, nodes)."""
    if not len(log_odds):
        return np.zeros((3, counts.n_subjects, len(nodes)))
    bins = np.floor((log_odds - log_odds.min()) * (1.0 / _BIN))
    if bins.max() < _BINS_AT_MOST:
        there = np.bincount(bins.astype(np.int64)) > 0
        if there.sum() * counts.n_subjects <= _DENSE * len(log_odds):
            place = (np.cumsum(there) - 1)[bins.astype(np.int64)]
            return _sums_by_bins(counts, log_odds, nodes, place)
    return _sums_by_rows(counts, log_odds, nodes)


def _sums_by_bins(
    counts: Counts, log_odds: FloatArray, nodes: FloatArray, place: IntArray
) -> FloatArray:
    """Add up rows whose log-odds are nearly the same before anything is evaluated.

    Around the middle of a bin all three are expanded to the third order in the distance
    from there, at most .01, so that they are off by less than 1e-9 of themselves. Of
    the rows only sums of powers of that distance are needed, a few columns of numbers,
    and the rest is one product of matrices.

    Args:
        counts: The rows.
        log_odds: Of peers, per row.
        nodes: Added log-odds.
        place: Bin of each row, numbered from 0 without gaps.
    """
    size = np.bincount(place)
    middle = np.bincount(place, weights=log_odds) / size
    cell = counts.subject * len(size) + place
    gap = log_odds - middle[place]
    powers, weight = [], counts.n
    for order in range(4):
        if order:
            weight = weight * gap * (1.0 / order)
        sums = np.bincount(
            cell, weights=weight, minlength=len(size) * counts.n_subjects
        )
        powers.append(sums.reshape(counts.n_subjects, len(size)))
    p, q, potential = _rates(middle, nodes)
    v = p * q
    skew = v * (1.0 - 2.0 * p)
    curve = v * (1.0 - 6.0 * v)
    last = skew * (1.0 - 12.0 * v)
    chain = [potential, p, v, skew, curve, last]
    out = np.zeros((3, counts.n_subjects, len(nodes)))
    for first in range(3):
        for order, each in enumerate(powers):
            out[first] += each @ chain[first + order]
    return out


def _sums_by_rows(
    counts: Counts, log_odds: FloatArray, nodes: FloatArray
) -> FloatArray:
    """Evaluate every row at every node, in blocks that stay in a core's own cache."""
    out = np.zeros((3, counts.n_subjects * len(nodes)))
    for rows in _blocks(len(log_odds)):
        p, q, potential = _rates(log_odds[rows], nodes)
        n = counts.n[rows, None]
        mean = n * p
        first = int(counts.subject[rows].min())
        own = counts.subject[rows] - first
        at = (own[:, None] * len(nodes) + np.arange(len(nodes))).ravel()
        start = first * len(nodes)
        for each, values in zip(out, (n * potential, mean, mean * q), strict=True):
            sums = np.bincount(at, weights=values.ravel())
            each[start : start + len(sums)] += sums
    return out.reshape(3, counts.n_subjects, len(nodes))


def _rates(
    log_odds: FloatArray, nodes: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return rates, those of no event, and -log of these, (log_odds, nodes) each."""
    odds = np.exp(log_odds)[:, None] * np.exp(nodes)
    q = 1.0 / (1.0 + odds)
    return odds * q, q, np.log1p(odds)


def _blocks(size: int) -> Iterator[slice]:
    """Yield rows in blocks that stay in a core's own cache."""
    for start in range(0, size, _BLOCK):
        yield slice(start, min(start + _BLOCK, size))


def _exp_of(logs: FloatArray, matrix: FloatArray, out: FloatArray) -> FloatArray:
    """Write exp(logs @ matrix) to an array, and return it."""
    np.matmul(logs, matrix, out=out)
    return np.exp(out, out=out)
