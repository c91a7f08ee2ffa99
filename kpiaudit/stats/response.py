"""Expected events of a subject as functions of one added log-odds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray
    from kpiaudit.stats.reference import Counts

_NODES = 25


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
        sums = np.zeros((3, counts.n_subjects, _NODES))
        for j, node in enumerate(nodes):
            p = expit(log_odds + node)
            mean = counts.n * p
            sums[0, :, j] = counts.per_subject(-counts.n * np.log1p(-p))
            sums[1, :, j] = counts.per_subject(mean)
            sums[2, :, j] = counts.per_subject(mean * (1.0 - p))
        logs = np.log(np.maximum(sums, 1e-300))
        return cls(
            nodes=nodes, log_potential=logs[0], log_mean=logs[1], log_variance=logs[2]
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
        return np.exp(self.log_mean @ matrix), np.exp(self.log_variance @ matrix)

    def potential(self, theta: FloatArray) -> FloatArray:
        """Return minus the log probability of no event, shape (n, len(theta))."""
        return np.exp(self.log_potential @ self._matrix(theta))

    def likelihood(
        self, k: FloatArray, noise: FloatArray, theta: FloatArray
    ) -> FloatArray:
        """Return each subject's likelihood along `theta`, highest value 1.

        Given the strata's rates, the sum of events is sufficient; `noise` is the
        variance over the binomial one, by which the information is divided.
        """
        log = k[:, None] * theta
        log -= self.potential(theta)
        log /= noise[:, None]
        log -= log.max(axis=1, keepdims=True)
        return np.asarray(np.exp(log, out=log))
