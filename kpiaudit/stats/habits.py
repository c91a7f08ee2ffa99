"""Habits that honest subjects could have, several of each subject, drawn together.

A subject who is unusual in one respect is often so in others: a newcomer is slow at
everything. Replicas in which every habit is drawn by itself hardly ever have such
subjects, and tell of fewer false alarms than there are. So each subject's habits are
drawn from what its own counts leave open, all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen
from kpiaudit.stats.joint import KIND, SHARE
from kpiaudit.stats.shapes import lifts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray
    from kpiaudit.stats.spread import Spread

_SWEEPS = 20
_LAST = 5
_LEARN_FROM = 400
"""Subjects from whom it is learnt how habits go together; more tell little more."""
_APART = 6.0
"""How habits go together is doubted as if so many subjects had shown no connection."""
_FAR = 8.0


@frozen
class Standing:
    """What one comparison with peers leaves open about each subject's log-odds.

    Args:
        spread: The honest spread.
        likelihood: Of kinds of subject at each grid point, shape (n_kinds, n_points).
        place: The kind of each subject, shape (n_subjects,).
    """

    spread: Spread
    likelihood: FloatArray
    place: IntArray


@frozen
class _Scale:
    """One habit under one hypothesis about its honest spread, as normal scores.

    Args:
        edges: Log-odds at the edges of the grid's cells, shape (n_points + 1,).
        scores: Normal scores of the same edges.
        likelihood: Of each subject per cell, shape (n_subjects, n_points).
    """

    edges: FloatArray
    scores: FloatArray
    likelihood: FloatArray

    @classmethod
    def of(
        cls,
        standing: Standing,
        outside: BoolArray,
        rng: np.random.Generator,
        *,
        apart: bool,
    ) -> _Scale:
        """Draw a hypothesis; of subjects outside, nothing is known.

        The others are honest unless the hypothesis says clearly that they stand apart.
        """
        spread = standing.spread
        flat = rng.choice(spread.weight.size, p=spread.weight.ravel())
        which, how = divmod(int(flat), len(SHARE))
        seen = standing.likelihood[standing.place]
        share = float(SHARE[how]) if apart else 0.0
        honest = np.maximum(spread.masses[which], 1e-300)
        lifted = honest @ lifts()[KIND[how]]
        # Who stands clearly apart and is not reported stays there: a newcomer.
        stays = share * (seen @ lifted) > (1.0 - share) * (seen @ honest)
        mass = honest + share * (lifted - honest)
        known = np.where(outside[:, None], 1.0, seen)
        known = np.where((stays & ~outside)[:, None], known, known * (honest / mass))
        below = np.append(0.0, np.cumsum(mass / mass.sum()))
        # From the nearer end, so that the upper tail is as fine as the lower one.
        above = np.append(np.cumsum((mass / mass.sum())[::-1])[::-1], 0.0)
        score = np.where(
            below < 0.5,
            sp.special.ndtri(below),
            -sp.special.ndtri(np.clip(above, 0.0, 1.0)),
        )
        points = spread.grid.points
        return cls(
            edges=np.concatenate([points[:1], spread.grid.edges, points[-1:]]),
            scores=np.maximum.accumulate(np.clip(score, -_FAR, _FAR)),
            likelihood=known,
        )

    def some(self, rows: IntArray) -> _Scale:
        return _Scale(
            edges=self.edges, scores=self.scores, likelihood=self.likelihood[rows]
        )

    def drawn(
        self, mean: FloatArray, sd: float, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Draw scores and log-odds, where normal scores are expected around a mean."""
        z = (self.scores - mean[:, None]) / sd
        low, high = sp.special.ndtr(z), sp.special.ndtr(-z)
        # Differences of the smaller tail; both ends are otherwise lost in rounding.
        prior = np.where(
            z[:, :-1] > 0.0, high[:, :-1] - high[:, 1:], low[:, 1:] - low[:, :-1]
        )
        mass = np.cumsum(np.maximum(prior, 1e-290) * self.likelihood, axis=1)
        at = rng.random(len(mass)) * mass[:, -1]
        cell = np.minimum((mass < at[:, None]).sum(axis=1), mass.shape[1] - 1)
        inside = rng.random(len(mass))

        def at_place(of: FloatArray) -> FloatArray:
            return np.asarray(of[cell] + inside * (of[cell + 1] - of[cell]))

        return at_place(self.scores), at_place(self.edges)


def together(
    standings: Sequence[Standing],
    outside: BoolArray,
    rng: np.random.Generator,
    *,
    apart: bool = True,
) -> tuple[FloatArray, ...]:
    """Draw every subject's habits from what its counts leave open.

    Each habit keeps the spread that was fitted to it; normal scores of a subject's
    habits are correlated, by how much is learnt from the subjects. Subjects outside
    teach nothing, and get habits of some honest subject.

    Args:
        standings: Of each habit, about the same subjects.
        outside: Whose counts are not taken for honest, shape (n_subjects,).
        rng: Random numbers.
        apart: Whether subjects who seem to stand apart from the honest spread, but are
            not outside, stay there; otherwise they are taken for the most unusual of
            the others.

    Returns:
        Log-odds of each habit, shape (n_subjects,).

    Source:
        Hoff (2007), Annals of Applied Statistics 1(1), 265-283 (a Gaussian copula whose
        scores are drawn given the others); Barnard, McCulloch & Meng (2000), Statistica
        Sinica 10, 1281-1311 (a correlation from an inverse Wishart); Rubin (1987),
        Multiple Imputation for Nonresponse in Surveys (draws have the spread that
        shrunken estimates lack).
    """
    if not standings:
        return ()
    scales = [_Scale.of(each, outside, rng, apart=apart) for each in standings]
    inside = np.flatnonzero(~outside)
    learn = inside[:: max(1, -(-len(inside) // _LEARN_FROM))]
    some = [each.some(learn) for each in scales]
    state = _State.of(some, len(learn), np.eye(len(some)), rng)
    for _ in range(_SWEEPS if len(standings) > 1 else 0):
        state.sweep(rng)
        state.learn(rng)
    every = _State.of(scales, len(outside), state.correlation, rng)
    every.scores[:, learn] = state.scores
    for _ in range(_LAST):
        every.sweep(rng)
    return tuple(every.odds)


@dataclass(kw_only=True)
class _State:
    """Normal scores and log-odds by habit and subject, and the scores' correlation."""

    scales: list[_Scale]
    scores: FloatArray
    odds: FloatArray
    correlation: FloatArray

    @classmethod
    def of(
        cls,
        scales: list[_Scale],
        size: int,
        correlation: FloatArray,
        rng: np.random.Generator,
    ) -> _State:
        """Begin anywhere in what is expected of honest subjects."""
        shape = (len(scales), size)
        return cls(
            scales=scales,
            scores=np.linalg.cholesky(correlation) @ rng.standard_normal(shape),
            odds=np.zeros(shape),
            correlation=correlation,
        )

    def sweep(self, rng: np.random.Generator) -> None:
        """Draw each habit given the subject's others (Gibbs)."""
        precision = np.linalg.inv(self.correlation)
        for habit, scale in enumerate(self.scales):
            own = float(precision[habit, habit])
            mean = self.scores[habit] - precision[habit] @ self.scores / own
            drawn = scale.drawn(mean, 1.0 / np.sqrt(own), rng)
            self.scores[habit], self.odds[habit] = drawn

    def learn(self, rng: np.random.Generator) -> None:
        """Draw the correlation given the scores."""
        size = len(self.scales)
        sums = self.scores @ self.scores.T + _APART * np.eye(size)
        freedom = self.scores.shape[1] + _APART + size + 1.0
        # Bartlett's decomposition of a Wishart matrix.
        factor = np.tril(rng.standard_normal((size, size)), -1)
        squares = rng.chisquare(freedom - np.arange(size))
        factor[np.diag_indices(size)] = np.sqrt(squares)
        root = np.linalg.cholesky(np.linalg.inv(sums)) @ factor
        covariance = np.linalg.inv(root @ root.T)
        sd = np.sqrt(np.diag(covariance))
        self.correlation = covariance / np.outer(sd, sd)
