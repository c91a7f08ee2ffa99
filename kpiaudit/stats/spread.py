"""How much honest subjects differ: a posterior over shapes, places and widths.

The honest log-odds of subjects, relative to a reference, are drawn from one of several
shapes (normal, heavy-tailed, skewed to the right, a group of newcomers). A share of the
subjects may lie higher for another reason. Everything is integrated on one fixed grid
of log-odds, so that a shape is nothing but a row of cell masses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammainc, ndtr

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpiaudit.stats.outcome import FloatArray

_HALF_RANGE = 5.0
_FINE = 0.3
_POINTS = 161
_TAU_LOW, _TAU_HIGH = 0.02, 2.5
_TAU_SCALE = 0.25
_STEPS = np.linspace(-1.0, 1.0, 7)
_ROUNDS = 4
ALONE = 400
"""Up to this many subjects each one is left out of its own yardstick."""
SHARES = np.array([0.0, 0.01, 0.04, 0.12, 0.25, 0.45])
_SHARE_PRIOR = np.array([0.3, 0.2, 0.2, 0.15, 0.1, 0.05])


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A family of honest spreads: its cdf in units of the width, and its prior."""

    name: str
    prior: float
    cdf: Callable[[FloatArray, FloatArray], FloatArray]
    group: float = 0.0
    shift: float = 0.0

    def sd(self, tau: FloatArray) -> FloatArray:
        """Return the standard deviation at width `tau`."""
        between = self.group * (1.0 - self.group) * self.shift**2
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


def _grouped(
    group: float, shift: float
) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def cdf(x: FloatArray, tau: FloatArray) -> FloatArray:
        both = (1.0 - group) * ndtr(x / tau) + group * ndtr((x - shift) / tau)
        return np.asarray(both, dtype=np.float64)

    return cdf


def _shapes() -> tuple[Shape, ...]:
    shapes = [
        Shape(name="normal", prior=0.40, cdf=_normal),
        Shape(name="heavy", prior=0.15, cdf=_heavy),
        Shape(name="skewed", prior=0.10, cdf=_skewed(0.6)),
        Shape(name="skewed", prior=0.10, cdf=_skewed(1.2)),
        Shape(name="skewed", prior=0.05, cdf=_skewed(2.0)),
    ]
    shapes += [
        Shape(name="group", prior=0.05, cdf=_grouped(g, d), group=g, shift=d)
        for g in (0.08, 0.16)
        for d in (0.4, 0.65)
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

    def lifted(self) -> FloatArray:
        """Return the chance that a subject at one point is lifted to another one.

        Lifts have a gamma density with mean 0.9: most doublings or triplings of the
        odds, a few much more, hardly any too small to matter.
        """
        gap = np.maximum(self.edges[None, :] - self.points[:, None], 0.0)
        inner = gammainc(2.0, gap / 0.45)
        ones = np.ones((len(self.points), 1))
        return np.diff(np.hstack([0.0 * ones, inner, ones]), axis=1)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The posterior of the honest spread, on a set of hypotheses.

    Args:
        grid: The log-odds on which everything lives, shape (n_points,).
        shape: Index into `SHAPES` per hypothesis, shape (n_hypotheses,).
        mu: Location per hypothesis.
        tau: Width per hypothesis.
        masses: Honest cell masses, shape (n_hypotheses, n_points).
        weight: Posterior weight, shape (n_hypotheses, n_shares), sums to 1.
    """

    grid: Grid
    shape: FloatArray
    mu: FloatArray
    tau: FloatArray
    masses: FloatArray
    weight: FloatArray

    @property
    def honest(self) -> FloatArray:
        """Return the honest distribution, all hypotheses averaged, (n_points,)."""
        out: FloatArray = self.weight.sum(axis=1) @ self.masses
        return out

    @property
    def sd(self) -> FloatArray:
        """Return the honest standard deviation per hypothesis."""
        out = np.zeros(len(self.tau))
        for index, shape in enumerate(SHAPES):
            mine = self.shape == index
            out[mine] = shape.sd(self.tau[mine])
        return out

    @property
    def mean_sd(self) -> float:
        """Return the posterior mean of the honest standard deviation."""
        return float(self.weight.sum(axis=1) @ self.sd)

    def sd_quantile(self, level: float) -> float:
        """Return a posterior quantile of the honest standard deviation."""
        order = np.argsort(self.sd)
        mass = np.cumsum(self.weight.sum(axis=1)[order])
        at = min(int(np.searchsorted(mass, level)), len(mass) - 1)
        return float(self.sd[order][at])

    def shape_weight(self, name: str) -> float:
        """Return the posterior probability of the shapes of one name."""
        names = np.array([s.name for s in SHAPES])
        mine = names[self.shape.astype(np.int64)] == name
        return float(self.weight[mine].sum())


def fit_spread(likelihood: FloatArray, grid: Grid, *, start: float) -> Spread:
    """Return the posterior of the honest spread given every subject's likelihood.

    Location and width are integrated on a small lattice per shape, which is moved to
    and shrunken around the posterior four times.

    Args:
        likelihood: Of each subject at each grid point, highest value 1, shape
            (n_subjects, n_points).
        grid: Where the likelihoods were evaluated.
        start: First guess of the width.

    Returns:
        The posterior.

    Source:
        Box & Tiao (1968), Biometrika 55:119-129 (contaminated models, integrated);
        Hoeting, Madigan, Raftery & Volinsky (1999), Statistical Science 14:382-417
        (averaging models by their marginal likelihood); Gelman (2006), Bayesian
        Analysis 1:515-533 (half-Cauchy prior of a spread between groups).
    """
    lifted = likelihood @ grid.lifted().T
    centre = float(grid.points[len(grid.points) // 2])
    parts = [
        _fit_shape(shape, likelihood, lifted, grid=grid, at=(centre, start))
        for shape in SHAPES
    ]
    logs = [
        log + np.log(s.prior) for s, (_, _, _, log) in zip(SHAPES, parts, strict=True)
    ]
    top = max(float(log.max()) for log in logs)
    weight = np.vstack([np.exp(log - top) for log in logs])
    sizes = [len(mu) for mu, _, _, _ in parts]
    return Spread(
        grid=grid,
        shape=np.repeat(np.arange(len(SHAPES), dtype=np.float64), sizes),
        mu=np.concatenate([mu for mu, _, _, _ in parts]),
        tau=np.concatenate([tau for _, tau, _, _ in parts]),
        masses=np.vstack([masses for _, _, masses, _ in parts]),
        weight=weight / weight.sum(),
    )


def _fit_shape(
    shape: Shape,
    likelihood: FloatArray,
    lifted: FloatArray,
    *,
    grid: Grid,
    at: tuple[float, float],
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Zoom in on one shape: locations, widths, masses, log weights incl. cell area."""
    mu0, log_tau0 = at[0], float(np.log(at[1]))
    mu_half, tau_half = 2.5 * at[1] + 0.3, 1.8
    low, high = np.log(_TAU_LOW), np.log(_TAU_HIGH)
    for last in range(_ROUNDS):
        log_tau0 = float(np.clip(log_tau0, low, high))
        bottom = max(low, log_tau0 - tau_half)
        top = max(min(high, log_tau0 + tau_half), bottom + 0.05)
        mus = mu0 + mu_half * _STEPS
        log_taus = np.linspace(bottom, top, len(_STEPS))
        mu, log_tau = (a.ravel() for a in np.meshgrid(mus, log_taus))
        tau = np.exp(log_tau)
        masses = grid.masses(shape, mu, tau)
        log = joint_log(likelihood, lifted, masses)
        log += (
            np.log(_SHARE_PRIOR)
            + (log_tau - np.log1p((tau / _TAU_SCALE) ** 2))[:, None]
        )
        d_mu, d_tau = mus[1] - mus[0], log_taus[1] - log_taus[0]
        if last == _ROUNDS - 1:
            break
        weight = np.exp(log - log.max()).sum(axis=1)
        weight /= weight.sum()
        mu0, log_tau0 = float(weight @ mu), float(weight @ log_tau)
        mu_sd = float(np.sqrt(weight @ (mu - mu0) ** 2))
        tau_sd = float(np.sqrt(weight @ (log_tau - log_tau0) ** 2))
        mu_half = float(np.clip(3.0 * mu_sd, 0.3 * mu_half, mu_half)) + 0.2 * d_mu
        tau_half = float(np.clip(3.0 * tau_sd, 0.3 * tau_half, tau_half)) + 0.2 * d_tau
    return mu, tau, masses, log + np.log(d_mu * d_tau)


def joint_log(
    likelihood: FloatArray, lifted: FloatArray, masses: FloatArray
) -> FloatArray:
    """Return the log likelihood of all subjects per hypothesis and share lifted."""
    own = likelihood @ masses.T
    other = lifted @ masses.T
    out = np.empty((masses.shape[0], len(SHARES)))
    for j, share in enumerate(SHARES):
        out[:, j] = np.log((1.0 - share) * own + share * other + 1e-280).sum(axis=0)
    return out


def without_each(
    spread: Spread, likelihood: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return, per subject, the honest distribution that the others alone give.

    Args:
        spread: The posterior from all subjects.
        likelihood: Of the subjects, as `fit_spread` took it.

    Returns:
        The honest cell masses given all others, shape (n_subjects, n_points), or one
        row for all where there are more than `ALONE` of them; and the probability that
        the subject was lifted, given all, shape (n_subjects,).

    Source:
        Gelfand, Dey & Chang (1992), Bayesian Statistics 4:147-167 (leave-one-out
        predictive distributions by reweighting).
    """
    if len(likelihood) > ALONE:
        # One among so many hardly moves the posterior.
        honest = spread.honest
        shares = spread.weight.sum(axis=0)
        own = (likelihood @ honest) * float(shares @ (1.0 - SHARES)) + 1e-280
        other = (likelihood @ (spread.grid.lifted().T @ honest)) * float(
            shares @ SHARES
        )
        return honest[None, :], other / (own + other)
    own = likelihood @ spread.masses.T
    other = (likelihood @ spread.grid.lifted().T) @ spread.masses.T
    weight = np.zeros_like(own)
    lifted = np.zeros(len(own))
    for j, share in enumerate(SHARES):
        both = (1.0 - share) * own + share * other + 1e-280
        weight += spread.weight[:, j] / both
        lifted += (share * other / both) @ spread.weight[:, j]
    weight /= weight.sum(axis=1, keepdims=True)
    return weight @ spread.masses, lifted
