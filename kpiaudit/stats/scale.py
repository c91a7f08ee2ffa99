"""One habit of honest subjects, under one hypothesis about how they differ in it.

Log-odds are told as normal scores of the hypothesis, so that several habits of a
subject can be drawn together whatever the shape of each.
"""

from __future__ import annotations

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

_FAR = 8.0
_LEAST = 1e-290


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
class Given:
    """What subjects' other habits say of one.

    Args:
        mean: Expected normal score, shape (n_subjects,).
        sd: Of scores around it.
        more: What the other habits' noise says, as a factor of the likelihood, shape
            (n_subjects, n_points); None where counts have nothing in common.
    """

    mean: FloatArray
    sd: float
    more: FloatArray | None


@frozen
class Scale:
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
        shape: int | None = None,
    ) -> Scale:
        """Draw a hypothesis, of one shape if it is given.

        Of subjects outside, nothing is known; the others are honest unless the
        hypothesis says clearly that they stand apart.
        """
        spread = standing.spread
        weight = spread.weight
        if shape is not None:
            weight = weight * (spread.shape == shape)[:, None]
            weight = weight / weight.sum()
        flat = rng.choice(weight.size, p=weight.ravel())
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
        return cls(
            edges=spread.grid.ends,
            scores=np.maximum.accumulate(np.clip(score, -_FAR, _FAR)),
            likelihood=known,
        )

    def some(self, rows: IntArray) -> Scale:
        """Return the same of some subjects."""
        return Scale(
            edges=self.edges, scores=self.scores, likelihood=self.likelihood[rows]
        )

    def _mass(self, given: Given) -> FloatArray:
        """Return the mass of each cell, shape (n_subjects, n_points).

        The sum over cells is how well the subject's counts agree with what is expected.
        """
        z = (self.scores - given.mean[:, None]) / given.sd
        low, high = sp.special.ndtr(z), sp.special.ndtr(-z)
        # Differences of the smaller tail; both ends are otherwise lost in rounding.
        prior = np.where(
            z[:, :-1] > 0.0, high[:, :-1] - high[:, 1:], low[:, 1:] - low[:, :-1]
        )
        mass = np.maximum(prior, _LEAST) * self.likelihood
        return np.asarray(mass if given.more is None else mass * given.more)

    def gain(self, given: Given) -> float:
        """Return how much likelier all subjects' counts are given their other habits.

        Logged, against what the counts are under the hypothesis alone.
        """
        alone = self.likelihood @ np.diff(sp.special.ndtr(self.scores))
        both = self._mass(given).sum(axis=1)
        ratio = np.maximum(both, _LEAST) / np.maximum(alone, _LEAST)
        return float(np.log(ratio).sum())

    def drawn(
        self, given: Given, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray]:
        """Draw each subject's normal score and log-odds."""
        mass = np.cumsum(self._mass(given), axis=1)
        at = rng.random(len(mass)) * mass[:, -1]
        cell = np.minimum((mass < at[:, None]).sum(axis=1), mass.shape[1] - 1)
        inside = rng.random(len(mass))

        def at_place(of: FloatArray) -> FloatArray:
            return np.asarray(of[cell] + inside * (of[cell + 1] - of[cell]))

        return at_place(self.scores), at_place(self.edges)


@frozen
class SharedNoise:
    """Chance that several habits' counts have in common, as they count the same events.

    Whoever's repeat contacts happened to be invited seldom will be seen to be so by the
    complaints among them as well. Without this, one accident would count as several
    pieces of evidence about the habits.

    Args:
        log: Logged likelihood of each habit, shapes (n_subjects, n_points).
        points: Log-odds of each habit's grid, shapes (n_points,).
        at: Log-odds that the counts alone say, shape (n_habits, n_subjects).
        sd: Their noise, same shape.
        precision: Inverse correlation of the noise, shape (n_habits, n_habits).
    """

    log: tuple[FloatArray, ...]
    points: tuple[FloatArray, ...]
    at: FloatArray
    sd: FloatArray
    precision: FloatArray

    @classmethod
    def of(
        cls,
        standings: Sequence[Standing],
        correlation: FloatArray,
        rows: IntArray,
        outside: BoolArray,
    ) -> SharedNoise:
        """Take likelihoods for normal ones where they are held against each other.

        Args:
            standings: Of each habit.
            correlation: Of the noise.
            rows: Which subjects.
            outside: Of all subjects, those of whose counts nothing is taken.
        """
        unknown = outside[rows][:, None]
        likelihoods = [
            np.where(unknown, 1.0, each.likelihood[each.place[rows]])
            for each in standings
        ]
        points = tuple(each.spread.grid.points for each in standings)
        at, sd = [], []
        for standing, likelihood in zip(standings, likelihoods, strict=True):
            x = standing.spread.grid.points
            # Points lie closer in the middle, so each stands for its own width.
            mass = likelihood * np.diff(standing.spread.grid.ends)
            mass = mass / mass.sum(axis=1, keepdims=True)
            mean = mass @ x
            noise = np.sqrt(np.maximum(mass @ x**2 - mean**2, 1e-6))
            at.append(mean)
            sd.append(np.where(outside[rows], np.inf, noise))
        return cls(
            log=tuple(np.log(np.maximum(each, 1e-300)) for each in likelihoods),
            points=points,
            at=np.array(at),
            sd=np.array(sd),
            precision=np.asarray(np.linalg.inv(correlation), dtype=np.float64),
        )

    def given(self, habit: int, odds: FloatArray) -> FloatArray:
        """Return what the other habits' noise says of one, as a factor per cell.

        Args:
            habit: Which one.
            odds: Log-odds of all habits, shape (n_habits, n_subjects).
        """
        own = float(self.precision[habit, habit])
        noise = (self.at - odds) / self.sd
        others = self.precision[habit] @ noise - own * noise[habit]
        away = self.points[habit] - self.at[habit][:, None]
        log = (own - 1.0) * self.log[habit]
        log += (others / self.sd[habit])[:, None] * away
        return np.asarray(np.exp(log - log.max(axis=1, keepdims=True)))
