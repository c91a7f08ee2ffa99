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

from kpiaudit.stats.shapes import SHAPES, Grid, lifts

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray
    from kpiaudit.stats.shapes import Shape

_TAU_LOW, _TAU_HIGH = 0.02, 2.5
_TAU_SCALE = 0.25
_THIN = 100
_LEAST = 1e-75
"""Likelihoods are cut here, so that a product of four stays a normal number."""
_CREDIT = 3.0
"""A shape counts in full if it is at least a third as credible as the best one."""
ALONE = 400
"""Up to this many subjects each one is left out of its own yardstick."""
KIND = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
SHARE = np.array([0.0, 0.01, 0.04, 0.12, 0.25, 0.45] + [0.12, 0.25, 0.45] * 2)
_SHARE_PRIOR = np.array(
    [0.3, 0.2, 0.15, 0.1, 0.06, 0.03, 0.04, 0.03, 0.01, 0.04, 0.03, 0.01]
)
"""Share of lifted subjects and kind of their lift, and how likely beforehand."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The posterior of the honest spread, on a set of hypotheses.

    Args:
        grid: The log-odds on which everything lives, shape (n_points,).
        shape: Index into `SHAPES` per hypothesis, shape (n_hypotheses,).
        mu: Location per hypothesis.
        tau: Width per hypothesis.
        masses: Honest cell masses, shape (n_hypotheses, n_points).
        weight: Posterior weight, shape (n_hypotheses, len(SHARE)), sums to 1.
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
    def everybody(self) -> FloatArray:
        """Return the distribution of all subjects, lifted or not, (n_points,)."""
        weight = self.weight.sum(axis=0)
        out = float(weight @ (1.0 - SHARE)) * self.honest
        for kind, moves in enumerate(lifts()):
            share = float((weight * SHARE)[kind == KIND].sum())
            out = out + share * (self.honest @ moves)
        return out

    @property
    def sd(self) -> FloatArray:
        """Return the honest standard deviation per hypothesis."""
        out = np.zeros(len(self.tau))
        for index, shape in enumerate(SHAPES):
            mine = self.shape == index
            out[mine] = shape.sd(self.tau[mine])
        return out

    def draw(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Draw log-odds of honest subjects: one posterior hypothesis, then subjects.

        Drawing the hypothesis first keeps what the peers leave open about the spread.
        """
        which = rng.choice(len(self.tau), p=self.weight.sum(axis=1))
        mass = np.maximum(self.masses[which], 0.0)
        points = self.grid.points
        edges = np.concatenate([points[:1], self.grid.edges, points[-1:]])
        cell = rng.choice(len(points), size=size, p=mass / mass.sum())
        out: FloatArray = edges[cell] + rng.random(size) * (
            edges[cell + 1] - edges[cell]
        )
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


@dataclass(frozen=True, kw_only=True)
class _Lattice:
    """Where the posterior of one shape is looked for: centres and half-widths."""

    mode: float
    log_tau: float
    mode_half: float
    tau_half: float

    @classmethod
    def around(cls, spread: Spread, shape: int, by: float) -> _Lattice:
        """Enclose what an earlier fit left of a shape, moved by some log-odds."""
        mine = spread.shape == shape
        weight = spread.weight[mine].sum(axis=1)
        weight = weight / max(float(weight.sum()), 1e-300)
        log_tau = np.log(spread.tau[mine])
        mode = spread.mu[mine] - SHAPES[shape].mode * spread.tau[mine] + by
        centre, middle = float(weight @ mode), float(weight @ log_tau)
        return cls(
            mode=centre,
            log_tau=middle,
            mode_half=5.0 * np.sqrt(float(weight @ (mode - centre) ** 2)) + 0.15,
            tau_half=5.0 * np.sqrt(float(weight @ (log_tau - middle) ** 2)) + 0.5,
        )


def fit_spread(
    likelihood: FloatArray, grid: Grid, *, start: float, near: Spread | None = None
) -> Spread:
    """Return the posterior of the honest spread given every subject's likelihood.

    Location and width are integrated on a small lattice per shape, which is moved to
    and shrunken around the posterior four times.

    Args:
        likelihood: Of each subject at each grid point, highest value 1, shape
            (n_subjects, n_points).
        grid: Where the likelihoods were evaluated.
        start: First guess of the width.
        near: An earlier posterior of nearly the same likelihoods: the search begins
            and stays around it.

    Returns:
        The posterior.

    Source:
        Box & Tiao (1968), Biometrika 55:119-129 (contaminated models, integrated);
        Hoeting, Madigan, Raftery & Volinsky (1999), Statistical Science 14:382-417
        (averaging models by their marginal likelihood); Gelman (2006), Bayesian
        Analysis 1:515-533 (half-Cauchy prior of a spread between groups).
    """
    lifted = likelihood @ lifts().transpose(0, 2, 1)
    centre = float(grid.points[len(grid.points) // 2])
    wide = _Lattice(
        mode=centre,
        log_tau=float(np.log(start)),
        mode_half=2.5 * start + 0.3,
        tau_half=1.8,
    )
    parts = [
        _fit_shape(
            shape,
            likelihood,
            lifted,
            grid=grid,
            at=wide if near is None else _near(near, index, grid),
            first=near is None,
        )
        for index, shape in enumerate(SHAPES)
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


def _near(spread: Spread, shape: int, grid: Grid) -> _Lattice:
    middle = len(grid.points) // 2
    moved = float(grid.points[middle] - spread.grid.points[middle])
    return _Lattice.around(spread, shape, moved)


def _fit_shape(
    shape: Shape,
    likelihood: FloatArray,
    lifted: FloatArray,
    *,
    grid: Grid,
    at: _Lattice,
    first: bool,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Zoom in on one shape: locations, widths, masses, log weights incl. cell area."""
    mu0, log_tau0 = at.mode, at.log_tau
    mu_half, tau_half = at.mode_half, at.tau_half
    low, high = np.log(_TAU_LOW), np.log(_TAU_HIGH)
    active = np.ones(len(SHARE), dtype=np.bool_)
    # Many subjects leave a small target: it is approached with few of them first.
    rounds = (4 if len(likelihood) <= 2 * _THIN else 6) if first else 3
    for last in range(rounds):
        log_tau0 = float(np.clip(log_tau0, low, high))
        bottom = max(low, log_tau0 - tau_half)
        top = max(min(high, log_tau0 + tau_half), bottom + 0.05)
        # The first look is wide and fine: many lifted subjects make a second mode.
        many = (15, 9) if first and last == 0 else (7, 7)
        mus = mu0 + mu_half * np.linspace(-1.0, 1.0, many[0])
        log_taus = np.linspace(bottom, top, many[1])
        mode, log_tau = (a.ravel() for a in np.meshgrid(mus, log_taus))
        tau = np.exp(log_tau)
        # Mode and width of a skewed shape are nearly independent, mean and width not.
        mu = mode + shape.mode * tau
        masses = grid.masses(shape, mu, tau)
        thin = max(1, len(likelihood) // _THIN) if last < rounds - 3 else 1
        log = _joint_log(likelihood[::thin], lifted[:, ::thin], masses, active)
        log += (
            np.log(_SHARE_PRIOR)
            + (log_tau - np.log1p((tau / _TAU_SCALE) ** 2))[:, None]
        )
        d_mu, d_tau = mus[1] - mus[0], log_taus[1] - log_taus[0]
        if last == rounds - 1:
            break
        both = np.exp(log - log.max())
        # What a first look rules out need not be looked at again.
        active = both.sum(axis=0) > 1e-8 * both.sum()
        weight = both.sum(axis=1) / both.sum()
        mu0, log_tau0 = float(weight @ mode), float(weight @ log_tau)
        mu_sd = float(np.sqrt(weight @ (mode - mu0) ** 2))
        tau_sd = float(np.sqrt(weight @ (log_tau - log_tau0) ** 2))
        mu_half = float(np.clip(3.0 * mu_sd, 0.3 * mu_half, mu_half)) + 0.2 * d_mu
        tau_half = float(np.clip(3.0 * tau_sd, 0.3 * tau_half, tau_half)) + 0.2 * d_tau
    return mu, tau, masses, log + np.log(d_mu * d_tau)


def _joint_log(
    likelihood: FloatArray,
    lifted: FloatArray,
    masses: FloatArray,
    active: BoolArray,
) -> FloatArray:
    """Return the log likelihood of all subjects per hypothesis and share lifted."""
    own = masses @ likelihood.T
    out = np.full((masses.shape[0], len(SHARE)), -np.inf)
    for kind, each in enumerate(lifted):
        some = np.flatnonzero(active & (kind == KIND))
        if len(some):
            gain = masses @ each.T
            gain -= own
            both = SHARE[some, None, None] * gain
            both += own
            out[:, some] = _log_product(both).T
    return out


def _log_product(values: FloatArray) -> FloatArray:
    """Return the sum of logs along the last axis, of values in [0, 1].

    A product of four and one logarithm is three times as fast as four logarithms.
    """
    np.maximum(values, _LEAST, out=values)
    part = values.shape[-1] // 4
    product = values[..., :part] * values[..., part : 2 * part]
    product *= values[..., 2 * part : 3 * part]
    product *= values[..., 3 * part : 4 * part]
    total = np.log(product).sum(axis=-1) + np.log(values[..., 4 * part :]).sum(axis=-1)
    return np.asarray(total, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """The honest distribution by which each subject is measured.

    Arrays have one row per subject, or a single row that serves for all.

    Args:
        honest: Cell masses, all hypotheses averaged, shape (n or 1, n_points).
        demanding: Cell masses that a p-value has to satisfy one by one, shape (n or 1,
            1 + n_shapes, n_points): the average, and each shape as far as the peers
            leave it credible (masses may sum to less than 1).
        lifted: Probability that the subject was lifted, given all, shape (n,).
    """

    honest: FloatArray
    demanding: FloatArray
    lifted: FloatArray


def without_each(
    spread: Spread, likelihood: FloatArray, learnt: BoolArray | None = None
) -> Yardstick:
    """Return, per subject, the honest distribution that the others alone give.

    Args:
        spread: The posterior from all subjects.
        likelihood: Of the subjects, as `fit_spread` took it.
        learnt: Whom the posterior was learnt from; only they are left out of their own
            yardstick. None stands for all.

    Returns:
        One row per subject; one for all where there are more than 400 of them.

    Source:
        Gelfand, Dey & Chang (1992), Bayesian Statistics 4:147-167 (leave-one-out
        predictive distributions by reweighting).
    """
    if len(likelihood) > ALONE:
        # One among so many hardly moves the posterior.
        whole = likelihood @ spread.everybody + 1e-280
        plain = float(spread.weight.sum(axis=0) @ (1.0 - SHARE))
        lifted = np.clip(1.0 - plain * (likelihood @ spread.honest) / whole, 0.0, 1.0)
        return _yardstick(spread, spread.weight.sum(axis=1)[None, :], lifted)
    own = likelihood @ spread.masses.T
    other = likelihood @ lifts().transpose(0, 2, 1) @ spread.masses.T
    weight = np.zeros_like(own)
    lifted = np.zeros(len(own))
    for j, (kind, share) in enumerate(zip(KIND, SHARE, strict=True)):
        both = (1.0 - share) * own + share * other[kind] + 1e-280
        weight += spread.weight[:, j] / both
        lifted += (share * other[kind] / both) @ spread.weight[:, j]
    if learnt is not None:
        weight[~learnt] = spread.weight.sum(axis=1)
    return _yardstick(spread, weight / weight.sum(axis=1, keepdims=True), lifted)


def _yardstick(spread: Spread, weight: FloatArray, lifted: FloatArray) -> Yardstick:
    """Average the hypotheses by weights of shape (n or 1, n_hypotheses)."""
    parts = []
    credible = np.empty((len(weight), len(SHAPES)))
    for index in range(len(SHAPES)):
        mine = spread.shape == index
        part = weight[:, mine]
        credible[:, index] = part.sum(axis=1)
        whole = np.maximum(credible[:, index, None], 1e-300)
        parts.append((part / whole) @ spread.masses[mine])
    shapes = np.stack(parts, axis=1)
    honest = np.sum(credible[:, :, None] * shapes, axis=1)
    best = credible.max(axis=1, keepdims=True)
    credit = np.minimum(1.0, _CREDIT * credible / best)
    demanding = np.concatenate([honest[:, None], credit[:, :, None] * shapes], axis=1)
    return Yardstick(honest=honest, demanding=demanding, lifted=lifted)
