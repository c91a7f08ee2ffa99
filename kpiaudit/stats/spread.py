"""How much honest subjects differ: a posterior over shapes, places and widths.

The honest log-odds of subjects, relative to a reference, are drawn from one of several
shapes (normal, heavy-tailed, skewed to the right, a group of newcomers). A share of the
subjects may lie higher for another reason. Everything is integrated on one fixed grid
of log-odds, so that a shape is nothing but a row of cell masses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats.joint import KIND, SHARE, Evidence, joint_log
from kpiaudit.stats.shapes import SHAPES, Grid, lifts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.stats.outcome import FloatArray

_TAU_LOW, _TAU_HIGH = 0.02, 2.5
_TAU_SCALE = 0.25
_THIN = 100
_PRIOR = np.array([shape.prior for shape in SHAPES])
_SHARE_PRIOR = np.array(
    [0.3, 0.2, 0.15, 0.1, 0.06, 0.03, 0.04, 0.03, 0.01, 0.04, 0.03, 0.01]
)
"""Share of lifted subjects and kind of their lift, and how likely beforehand."""


@frozen
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

    @property
    def shape_weights(self) -> FloatArray:
        """Return the posterior probability of each of `SHAPES`."""
        each = self.weight.sum(axis=1)
        which = self.shape.astype(np.int64)
        sums = np.bincount(which, weights=each, minlength=len(SHAPES))
        return np.asarray(sums, dtype=np.float64)

    def shape_weight(self, name: str) -> float:
        """Return the posterior probability of the shapes of one name."""
        mine = [shape.name == name for shape in SHAPES]
        return float(self.shape_weights[mine].sum())


@frozen
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
    likelihood: FloatArray,
    grid: Grid,
    *,
    start: float,
    near: Spread | None = None,
    rough: bool = False,
) -> Spread:
    """Return the posterior of the honest spread given every subject's likelihood.

    Location and width are integrated on a small lattice per shape, which is moved to
    and shrunken around the posterior a few times.

    Args:
        likelihood: Of each subject at each grid point, highest value 1, shape
            (n_subjects, n_points).
        grid: Where the likelihoods were evaluated.
        start: First guess of the width.
        near: An earlier posterior of nearly the same likelihoods: the search begins
            and stays around it.
        rough: Another fit follows: with many subjects single precision is enough to
            tell whom to trust as a peer, and where the next search begins.

    Returns:
        The posterior.

    Source:
        Box & Tiao (1968), Biometrika 55:119-129 (contaminated models, integrated);
        Hoeting, Madigan, Raftery & Volinsky (1999), Statistical Science 14:382-417
        (averaging models by their marginal likelihood); Gelman (2006), Bayesian
        Analysis 1:515-533 (half-Cauchy prior of a spread between groups).
    """
    evidence = Evidence.of(likelihood)
    if near is None:
        centre = float(grid.points[len(grid.points) // 2])
        wide = _Lattice(
            mode=centre,
            log_tau=float(np.log(start)),
            mode_half=2.5 * start + 0.3,
            tau_half=1.8,
        )
        box = _Boxes.of([wide] * len(SHAPES))
    else:
        box = _Boxes.of([_near(near, index, grid) for index in range(len(SHAPES))])
    active = np.ones(len(SHARE), dtype=np.bool_)
    rounds = _rounds(len(likelihood), first=near is None)
    many = len(likelihood) > 2 * _THIN
    for number, (at_most, fine) in enumerate(rounds, start=1):
        short = many and (rough or number < len(rounds))
        look = _Look.at(box, grid, wide=not fine)
        some = evidence.thinned(at_most, fine=fine)
        if short:
            some = some.in_short()
        log = joint_log(some, look.masses, active)
        log += np.log(_SHARE_PRIOR)
        log += (look.log_tau - np.log1p((look.tau / _TAU_SCALE) ** 2))[:, :, None]
        # What a look rules out in every shape need not be looked at again.
        each = np.exp(log - log.max(axis=(1, 2), keepdims=True))
        active = (each.sum(axis=1) > 1e-8 * each.sum(axis=(1, 2))[:, None]).any(axis=0)
        box = box.zoomed(look, each)
    log += np.log(look.areas * _PRIOR)[:, None, None]
    weight = np.exp(log - log.max())
    n_each = look.tau.shape[1]
    return Spread(
        grid=grid,
        shape=np.repeat(np.arange(len(SHAPES), dtype=np.float64), n_each),
        mu=look.mu.ravel(),
        tau=look.tau.ravel(),
        masses=look.masses.reshape(-1, len(grid.points)),
        weight=weight.reshape(-1, len(SHARE)) / weight.sum(),
    )


def _rounds(n: int, *, first: bool) -> list[tuple[int, bool]]:
    """Return how many subjects each look reads at most, and whether on all points.

    Many subjects leave a small target: it is approached with few of them first.
    """
    few, some = _THIN, 3 * _THIN
    start = [(2 * _THIN if n <= 2 * _THIN else few, False)] if first else []
    if n <= 2 * _THIN:
        return [*start, *[(n, True)] * 3]
    return [*start, *([(few, True)] if first else []), (some, True), *[(n, True)] * 2]


def _near(spread: Spread, shape: int, grid: Grid) -> _Lattice:
    middle = len(grid.points) // 2
    moved = float(grid.points[middle] - spread.grid.points[middle])
    return _Lattice.around(spread, shape, moved)


@frozen
class _Boxes:
    """Where the posterior of every shape is looked for, one entry per shape."""

    mode: FloatArray
    log_tau: FloatArray
    mode_half: FloatArray
    tau_half: FloatArray

    @classmethod
    def of(cls, lattices: Sequence[_Lattice]) -> _Boxes:
        """Put the lattices of all shapes side by side."""

        def each(name: str) -> FloatArray:
            return np.array([getattr(one, name) for one in lattices], dtype=np.float64)

        return cls(
            mode=each("mode"),
            log_tau=each("log_tau"),
            mode_half=each("mode_half"),
            tau_half=each("tau_half"),
        )

    def zoomed(self, look: _Look, both: FloatArray) -> _Boxes:
        """Move to what a look has found, and shrink."""
        weight = both.sum(axis=2)
        weight = weight / weight.sum(axis=1, keepdims=True)
        mode = (weight * look.mode).sum(axis=1)
        log_tau = (weight * look.log_tau).sum(axis=1)
        mode_sd, tau_sd = (
            np.sqrt((weight * (values - centre[:, None]) ** 2).sum(axis=1))
            for values, centre in ((look.mode, mode), (look.log_tau, log_tau))
        )
        return _Boxes(
            mode=mode,
            log_tau=log_tau,
            mode_half=np.clip(3.0 * mode_sd, 0.3 * self.mode_half, self.mode_half)
            + 0.2 * look.d_mode,
            tau_half=np.clip(3.0 * tau_sd, 0.3 * self.tau_half, self.tau_half)
            + 0.2 * look.d_tau,
        )


@frozen
class _Look:
    """Hypotheses of all shapes on one lattice each, shape (shapes, hypotheses)."""

    mode: FloatArray
    log_tau: FloatArray
    tau: FloatArray
    mu: FloatArray
    masses: FloatArray
    d_mode: FloatArray
    d_tau: FloatArray

    @property
    def areas(self) -> FloatArray:
        """Return the size of a lattice's cell, per shape."""
        return self.d_mode * self.d_tau

    @classmethod
    def at(cls, box: _Boxes, grid: Grid, *, wide: bool) -> _Look:
        """Lay the lattices; a first look is wide, on pairs of the grid's cells."""
        low, high = np.log(_TAU_LOW), np.log(_TAU_HIGH)
        middle = np.clip(box.log_tau, low, high)
        bottom = np.maximum(low, middle - box.tau_half)
        top = np.maximum(np.minimum(high, middle + box.tau_half), bottom + 0.05)
        # Many lifted subjects make a second mode, so the first look is fine as well.
        many = (15, 9) if wide else (7, 7)
        steps = np.linspace(-1.0, 1.0, many[0])
        modes = box.mode[:, None] + box.mode_half[:, None] * steps
        log_taus = np.linspace(bottom, top, many[1], axis=1)
        mode = np.tile(modes, (1, many[1]))
        log_tau = np.repeat(log_taus, many[0], axis=1)
        tau = np.exp(log_tau)
        # Mode and width of a skewed shape are nearly independent, mean and width not.
        mu = mode + np.array([[shape.mode] for shape in SHAPES]) * tau
        masses = np.stack(
            [
                grid.masses(shape, mu[i], tau[i], pairs=wide)
                for i, shape in enumerate(SHAPES)
            ]
        )
        return cls(
            mode=mode,
            log_tau=log_tau,
            tau=tau,
            mu=mu,
            masses=masses,
            d_mode=modes[:, 1] - modes[:, 0],
            d_tau=log_taus[:, 1] - log_taus[:, 0],
        )
