"""The shapes an honest spread may have, and the grid on which all of them live."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammainc, ndtr

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpiaudit.stats.outcome import FloatArray

_HALF_RANGE = 5.0
_FINE = 0.3
_POINTS = 161
_SHIFT_AT_MOST = 0.7
_LIFTS = ((2.0, 0.45), (16.0, 1.1 / 16.0), (16.0, 1.65 / 16.0))
"""Gamma densities (shape, scale) of a lift: of any size; about x3; about x5."""


@dataclass(frozen=True, kw_only=True)
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


def _normal(x: FloatArray, tau: FloatArray) -> FloatArray:
    return np.asarray(ndtr(x / tau), dtype=np.float64)


def _heavy(x: FloatArray, tau: FloatArray) -> FloatArray:
    # Closed form of the t distribution with 4 degrees of freedom, scaled to sd tau.
    t = np.clip(x / tau, -1e6, 1e6) * np.sqrt(2.0)
    s = t / np.sqrt(4.0 + t * t)
    return np.asarray(0.5 + 0.75 * (s - s**3 / 3.0), dtype=np.float64)


def _skewed(skewness: float) -> Callable[[FloatArray, FloatArray], FloatArray]:
    a = 4.0 / skewness**2

    def cdf(x: FloatArray, tau: FloatArray) -> FloatArray:
        g = np.clip(a + x / tau * np.sqrt(a), 0.0, 1e6)
        return np.asarray(gammainc(a, g), dtype=np.float64)

    return cdf


def _shift(multiple: float, tau: FloatArray) -> FloatArray:
    """Return how far newcomers lie above the rest: several widths, but no doubling."""
    return np.asarray(np.minimum(multiple * tau, _SHIFT_AT_MOST), dtype=np.float64)


def _grouped(
    group: float, multiple: float
) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def cdf(x: FloatArray, tau: FloatArray) -> FloatArray:
        both = (1.0 - group) * ndtr(x / tau) + group * ndtr(
            (x - _shift(multiple, tau)) / tau
        )
        return np.asarray(both, dtype=np.float64)

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


@dataclass(frozen=True, kw_only=True)
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

    def masses(self, shape: Shape, mu: FloatArray, tau: FloatArray) -> FloatArray:
        """Return the probability of each cell, shape (len(mu), n_points)."""
        inner = shape.cdf(self.edges[None, :] - mu[:, None], tau[:, None])
        ones = np.ones((len(mu), 1))
        return np.diff(np.hstack([0.0 * ones, inner, ones]), axis=1)


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
    inner = [gammainc(shape, gap / scale) for shape, scale in _LIFTS]
    out = np.stack([np.diff(np.hstack([0 * ones, i, ones])) for i in inner])
    out.flags.writeable = False
    return out
