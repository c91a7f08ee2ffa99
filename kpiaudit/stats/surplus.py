"""How many contacts with trouble went missing that a subject's others would not lose.

The conditional test of `kpiaudit.stats.selection` holds all margins fixed. That is
right for a p-value, but not for a size: whatever a pattern adds is in the margins as
well, so that part of it would be expected. The size is therefore counted from the
subject's contacts without trouble, which the pattern leaves alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen
from kpiaudit.stats.predictive import quantile
from kpiaudit.stats.reference import Counts
from kpiaudit.stats.response import Response

if TYPE_CHECKING:
    from kpiaudit.stats.odds import Tables
    from kpiaudit.stats.outcome import FloatArray, IntArray
    from kpiaudit.stats.shapes import Grid


@frozen
class Surplus:
    """Missing contacts with trouble, and what would be missing without a pattern.

    Args:
        grid: Log-odds that an honest subject may deviate by.
        honest: Cell masses of the honest distribution, shape (n or 1, n_points).
        missing: Contacts with trouble that were not invited, shape (n,).
        trials: Contacts with trouble.
        phi: Variance of such a count over the binomial one.
        mean: Missing ones that the subject's other contacts and the peers' odds ratio
            would give, along the grid, shape (n, n_points).
        unsure: Variance of that expectation, as the subject's other contacts and the
            peers are so few, in logits, shape (n,).
        slope: Change of the expectation with these logits, shape (n, n_points).
    """

    grid: Grid
    honest: FloatArray
    missing: FloatArray
    trials: FloatArray
    phi: FloatArray
    mean: FloatArray
    unsure: FloatArray
    slope: FloatArray

    @classmethod
    def of(
        cls,
        tables: Tables,
        peers: FloatArray,
        *,
        grid: Grid,
        honest: FloatArray,
        phi: FloatArray,
        unsure: FloatArray,
    ) -> Surplus:
        """Carry the rate of other contacts over to those with trouble.

        Args:
            tables: The tables.
            peers: Peers' log odds ratio of invitation per table.
            grid: Log-odds that an honest subject may deviate by.
            honest: Cell masses of the honest distribution, shape (n or 1, n_points).
            phi: Variance over the binomial one, >= 1, shape (n,).
            unsure: Variance of the peers' log odds ratio, shape (n,).
        """
        easy = tables.contacts - tables.trouble
        kept = tables.invited - tables.both + 0.5
        gone = easy + 1.0 - kept
        log_odds = np.log(gone / kept) - peers
        missing = tables.trouble - tables.both
        counts = Counts(
            subject=tables.subject,
            stratum=tables.stratum,
            k=missing,
            n=tables.trouble,
            offset=np.zeros(len(missing)),
            n_subjects=tables.n_subjects,
            n_strata=1,
        )
        mean, slope = Response.of(counts, log_odds).at(grid.points)
        rate = 1.0 / (1.0 + np.exp(-log_odds))
        weight = tables.trouble * rate * (1.0 - rate)
        share = weight / np.maximum(tables.per_subject(weight), 1e-300)[tables.subject]
        own = tables.per_subject(share**2 * (1.0 / kept + 1.0 / gone))
        return cls(
            grid=grid,
            honest=honest,
            missing=tables.per_subject(missing),
            trials=tables.per_subject(tables.trouble),
            phi=phi,
            mean=mean,
            unsure=phi * own + unsure,
            slope=slope,
        )

    @property
    def expected(self) -> FloatArray:
        """Return how many would be missing without a pattern, shape (n,)."""
        return np.asarray(np.sum(self.honest * self.mean, axis=1), dtype=np.float64)

    def interval(self, rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the excess's interval of some rows at a level.

        Source:
            Zou & Donner (2008), Statistics in Medicine 27:1693-1702 (interval of a
            difference from two separate intervals).
        """
        alpha = (1.0 - level) / 2.0
        z = float(sp.special.ndtri(1.0 - alpha))
        k, n, phi = self.missing[rows], self.trials[rows], self.phi[rows]
        a, b = k / phi + 0.5, (n - k) / phi + 0.5
        own_low = n * np.where(k > 0.0, sp.special.betaincinv(a, b, alpha), 0.0)
        own_high = n * np.where(k < n, sp.special.betaincinv(a, b, 1.0 - alpha), 1.0)
        honest = self.honest if len(self.honest) == 1 else self.honest[rows]
        honest = np.broadcast_to(honest, (len(rows), honest.shape[1]))
        base = np.sum(honest * self.mean[rows], axis=1)
        slope = np.sum(honest * self.slope[rows], axis=1)
        doubt = z**2 * self.unsure[rows] * slope**2
        base_low, base_high = (
            self._at(rows, quantile(self.grid, honest, tail))
            for tail in (alpha, 1.0 - alpha)
        )
        down = np.sqrt((k - own_low) ** 2 + (base_high - base) ** 2 + doubt)
        up = np.sqrt((own_high - k) ** 2 + (base - base_low) ** 2 + doubt)
        return k - base - down, k - base + up

    def _at(self, rows: IntArray, theta: FloatArray) -> FloatArray:
        """Return the expectation of rows at one log-odds each, shape (len(rows),)."""
        points = self.grid.points
        cell = np.clip(np.searchsorted(points, theta) - 1, 0, len(points) - 2)
        step = points[cell + 1] - points[cell]
        part = np.clip((theta - points[cell]) / step, 0.0, 1.0)
        left, right = self.mean[rows, cell], self.mean[rows, cell + 1]
        return np.asarray(left * (1.0 - part) + right * part, dtype=np.float64)
