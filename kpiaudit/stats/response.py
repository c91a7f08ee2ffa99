"""Expected events of a subject as functions of one added log-odds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.stats.outcome import FloatArray, IntArray
    from kpiaudit.stats.reference import Counts

_NODES = 25
_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
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
        sums = np.zeros((3, _NODES, counts.n_subjects))
        for j, node in enumerate(nodes):
            p = expit(log_odds + node)
            mean = counts.n * p
            sums[0, j] = counts.per_subject(-counts.n * np.log1p(-p))
            sums[1, j] = counts.per_subject(mean)
            sums[2, j] = counts.per_subject(mean * (1.0 - p))
        logs = np.log(np.maximum(sums, 1e-300)).transpose(0, 2, 1).copy()
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


def _blocks(size: int) -> Iterator[slice]:
    """Yield rows in blocks that stay in a core's own cache."""
    for start in range(0, size, _BLOCK):
        yield slice(start, min(start + _BLOCK, size))


def _exp_of(logs: FloatArray, matrix: FloatArray, out: FloatArray) -> FloatArray:
    """Write exp(logs @ matrix) to an array, and return it."""
    np.matmul(logs, matrix, out=out)
    return np.exp(out, out=out)
