"""The honest distribution by which each subject is measured, learnt from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats.joint import KIND, SHARE
from kpiaudit.stats.shapes import SHAPES, lifts

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray
    from kpiaudit.stats.spread import Spread

_RULED_OUT = 1e-30
_CREDIT = 3.0
"""A shape counts in full if it is at least a third as credible as the best one."""
ALONE = 400
"""Up to this many subjects each one is left out of its own yardstick."""


@frozen
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
    spread: Spread,
    likelihood: FloatArray,
    learnt: BoolArray | None = None,
    *,
    subjects: int = 0,
) -> Yardstick:
    """Return, per subject, the honest distribution that the others alone give.

    Args:
        spread: The posterior from all subjects.
        likelihood: Of the subjects, as `fit_spread` took it.
        learnt: Whom the posterior was learnt from; only they are left out of their own
            yardstick. None stands for all.
        subjects: How many there are, where several share a likelihood.

    Returns:
        One row per subject; one for all where there are more than 400 of them.

    Source:
        Gelfand, Dey & Chang (1992), Bayesian Statistics 4:147-167 (leave-one-out
        predictive distributions by reweighting).
    """
    if max(len(likelihood), subjects) > ALONE:
        # One among so many hardly moves the posterior.
        weight = spread.weight.sum(axis=1)[None, :]
        return _yardstick(spread, weight, lifted_by(spread, likelihood))
    # Nobody who is left out can bring back what all others rule out this clearly.
    seen = spread.weight.sum(axis=1) > _RULED_OUT
    masses = spread.masses[seen]
    own = likelihood @ masses.T + 1e-280
    weight = np.zeros((len(own), len(spread.weight)))
    part = spread.weight[seen, 0] / own
    lifted = np.zeros(len(own))
    for kind, moves in enumerate(lifts()):
        other = likelihood @ (moves.T @ masses.T) + 1e-280
        gain = other - own
        for j in np.flatnonzero((kind == KIND) & (SHARE > 0.0)):
            both = SHARE[j] * gain
            both += own
            np.divide(spread.weight[seen, j], both, out=both)
            part += both
            lifted += SHARE[j] * np.einsum("nh,nh->n", both, other)
    weight[:, seen] = part
    if learnt is not None:
        weight[~learnt] = spread.weight.sum(axis=1)
    return _yardstick(spread, weight / weight.sum(axis=1, keepdims=True), lifted)


def lifted_by(spread: Spread, likelihood: FloatArray) -> FloatArray:
    """Return the probability that each subject was lifted, all hypotheses averaged."""
    whole = likelihood @ spread.everybody + 1e-280
    plain = float(spread.weight.sum(axis=0) @ (1.0 - SHARE))
    out: FloatArray = 1.0 - plain * (likelihood @ spread.honest) / whole
    return np.clip(out, 0.0, 1.0)


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
