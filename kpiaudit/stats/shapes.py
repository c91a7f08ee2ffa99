"""The shapes an honest spread may have, and the grid on which all of them live."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpiaudit.stats.outcome import FloatArray

_HALF_RANGE = 5.0
_FINE = 0.3
_POINTS = 161
_SHIFT_AT_MOST = 0.7
_LIFTS = ((2.0, 0.45), (16.0, 1.1 / 16.0), (16.0, 1.65 / 16.0))
"""Gamma densities (shape, scale) of a lift: of any size; about x3; about x5."""


@frozen
class Shape:
    """A family of honest spreads: its cdf in units of the width, and its prior."""

    name: str
    prior: float
    cdf: Callable[[FloatArray, FloatArray], FloatArray]
    group: float = 0.0
    shift: float = 0.0
    mode: float = 0.0

    def sd(self, tau: FloatArray) -> FloatArray:
        """Return the standard deviation at width `tau`."""
        between = self.group * (1.0 - self.group) * _shift(self.shift, tau) ** 2
        return np.asarray(np.sqrt(tau**2 + between), dtype=np.float64)


_STEPS_PER_SD = 256
_TABLE_SD = 40


@cache
def _table(skewness: float) -> FloatArray:
    """Return the cdf of a gamma of that skewness (0: normal) in steps of its sd.

    A scan evaluates it millions of times; between steps it is read linearly, which is
    off by less than 2e-6, and eight sd out by less than 2e-4 of the tail.
    """
    z = np.arange(2 * _TABLE_SD * _STEPS_PER_SD + 2) / _STEPS_PER_SD - _TABLE_SD
    if skewness == 0.0:
        return np.asarray(sp.special.ndtr(z), dtype=np.float64)
    a = 4.0 / skewness**2
    return np.asarray(sp.special.gammainc(a, np.maximum(a + z * np.sqrt(a), 0.0)))


def _look_up(table: FloatArray, x: FloatArray, tau: FloatArray) -> FloatArray:
    at = x * (_STEPS_PER_SD / tau) + _TABLE_SD * _STEPS_PER_SD
    np.maximum(at, 0.0, out=at)
    np.minimum(at, 2.0 * _TABLE_SD * _STEPS_PER_SD, out=at)
    cell = at.astype(np.int64)
    low = table[cell]
    at -= cell
    at *= table[cell + 1] - low
    at += low
    return at


def _normal(x: FloatArray, tau: FloatArray) -> FloatArray:
    return _look_up(_table(0.0), x, tau)


def _heavy(x: FloatArray, tau: FloatArray) -> FloatArray:
    # Closed form of the t distribution with 4 degrees of freedom, scaled to sd tau.
    t = x * (np.sqrt(2.0) / tau)
    s = t / np.sqrt(4.0 + t * t)
    return np.asarray(0.5 + s * (0.75 - 0.25 * s * s), dtype=np.float64)


def _skewed(skewness: float) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def cdf(x: FloatArray, tau: FloatArray) -> FloatArray:
        return _look_up(_table(skewness), x, tau)

    return cdf


def _shift(multiple: float, tau: FloatArray) -> FloatArray:
    """Return how far newcomers lie above the rest: several widths, but no doubling."""
    return np.asarray(np.minimum(multiple * tau, _SHIFT_AT_MOST), dtype=np.float64)


def _grouped(
    group: float, multiple: float
) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def cdf(x: FloatArray, tau: FloatArray) -> FloatArray:
        rest = _normal(x, tau)
        moved = _normal(x - _shift(multiple, tau), tau)
        return np.asarray(rest + group * (moved - rest), dtype=np.float64)

    return cdf


def _shapes() -> tuple[Shape, ...]:
    shapes = [
        Shape(name="normal", prior=0.30, cdf=_normal),
        Shape(name="heavy", prior=0.30, cdf=_heavy),
        Shape(name="skewed", prior=0.05, cdf=_skewed(0.6), mode=0.3),
        Shape(name="skewed", prior=0.12, cdf=_skewed(1.2), mode=0.6),
        Shape(name="skewed", prior=0.18, cdf=_skewed(2.0), mode=1.0),
    ]
    shapes += [
        Shape(name="group", prior=0.0125, cdf=_grouped(g, d), group=g, shift=d)
        for g in (0.07, 0.16)
        for d in (2.5, 3.5)
    ]
    return tuple(shapes)


SHAPES = _shapes()


@frozen
class Grid:
    """Points on the log-odds scale, dense in the middle, and the edges between them."""

    points: FloatArray
    edges: FloatArray

    @classmethod
    def around(cls, centre: float) -> Grid:
        """Return the grid whose dense part lies around `centre`."""
        top = np.arcsinh(_HALF_RANGE / _FINE)
        half = np.linspace(-top, top, 2 * _POINTS + 1)
        all_points = centre + _FINE * np.sinh(half)
        return cls(points=all_points[1::2], edges=all_points[2:-1:2])

    @property
    def ends(self) -> FloatArray:
        """Return the ends of the points' cells, shape (n_points + 1,)."""
        return np.concatenate([self.points[:1], self.edges, self.points[-1:]])

    def masses(
        self, shape: Shape, mu: FloatArray, tau: FloatArray, *, pairs: bool = False
    ) -> FloatArray:
        """Return the probability of each cell, or pair, shape (len(mu), n_points)."""
        edges = self.edges[1::2] if pairs else self.edges
        cdf = np.empty((len(mu), len(edges) + 2))
        cdf[:, 0], cdf[:, -1] = 0.0, 1.0
        cdf[:, 1:-1] = shape.cdf(edges[None, :] - mu[:, None], tau[:, None])
        return np.asarray(cdf[:, 1:] - cdf[:, :-1], dtype=np.float64)


@cache
def lifts() -> FloatArray:
    """Return the chance that a lift of each kind leads from one point to another.

    It depends on distances only, so it is the same wherever the grid lies.

    Returns:
        Shape (kinds, points, points): rows sum to 1; not to be written to.
    """
    grid = Grid.around(0.0)
    gap = np.maximum(grid.edges[None, :] - grid.points[:, None], 0.0)
    ones = np.ones((len(grid.points), 1))
    inner = [sp.special.gammainc(shape, gap / scale) for shape, scale in _LIFTS]
    out = np.stack([np.diff(np.hstack([0 * ones, i, ones])) for i in inner])
    out.flags.writeable = False
    return out
