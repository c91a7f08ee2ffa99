"""Likelihood of all subjects together, per hypothesis about the honest spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats.shapes import lifts

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray

KIND = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
SHARE = np.array([0.0, 0.01, 0.04, 0.12, 0.25, 0.45] + [0.12, 0.25, 0.45] * 2)
"""Share of lifted subjects and kind of their lift."""

_LEAST = 1e-75
"""Likelihoods are cut here, so that a product of four stays a normal number."""
_BLOCK = 80_000
"""Numbers per array in one go: what fits into a core's own cache."""


@frozen
class Evidence:
    """Likelihoods of subjects, and those of subjects lifted in each way.

    Args:
        own: Shape (n_subjects, n_points).
        lifted: Shape (kinds, n_subjects, n_points).
    """

    own: FloatArray
    lifted: FloatArray

    @classmethod
    def of(cls, likelihood: FloatArray) -> Evidence:
        """Add what lifts of each kind make of likelihoods."""
        return cls(own=likelihood, lifted=_lifted(likelihood))

    def thinned(self, at_most: int, *, fine: bool) -> Evidence:
        """Return every so manieth subject, on pairs of points where not fine."""
        step = max(1, len(self.own) // at_most)
        own, lifted = self.own[::step], self.lifted[:, ::step]
        if fine:
            return Evidence(own=own, lifted=lifted)
        return Evidence(own=_in_pairs(own), lifted=_in_pairs(lifted))

    def in_short(self) -> Evidence:
        """Return the same in single precision: good enough to find the posterior.

        Likelihoods are off by less than 1e-6 of themselves, and are multiplied in
        double. In 414 simulated centres of six rules no p-value above 1e-12 moved by
        more than 1e-4 of itself, and nobody in or out of q <= .05 or q <= .5. Half the
        grid's points as well would be a little faster, but moved some by a tenth.
        """
        return Evidence(
            own=self.own.astype(np.float32), lifted=self.lifted.astype(np.float32)
        )


def _lifted(likelihood: FloatArray) -> FloatArray:
    return np.asarray(likelihood @ lifts().transpose(0, 2, 1), dtype=np.float64)


def _in_pairs(values: FloatArray) -> FloatArray:
    """Average neighbours along the last axis; the last of an odd number stays."""
    even = values.shape[-1] // 2 * 2
    means = 0.5 * (values[..., 0:even:2] + values[..., 1:even:2])
    return np.concatenate([means, values[..., even:]], axis=-1)


def joint_log(evidence: Evidence, masses: FloatArray, active: BoolArray) -> FloatArray:
    """Return the log likelihood of all subjects per hypothesis and share lifted.

    Args:
        evidence: Of the subjects.
        masses: Shape (shapes, hypotheses, points).
        active: Which shares are worth a look, shape (len(SHARE),).

    Returns:
        Shape (shapes, hypotheses, len(SHARE)); minus infinity where not active.
    """
    flat = masses.reshape(-1, masses.shape[-1]).astype(evidence.own.dtype, copy=False)
    out = np.full((len(flat), len(SHARE)), -np.inf)
    # Subjects lie along the first axis and blocks stay in the processor's cache.
    block = max(_BLOCK // max(len(evidence.own), 1), 32)
    for start in range(0, len(flat), block):
        part = flat[start : start + block].T
        own = (evidence.own @ part).astype(np.float64, copy=False)
        for kind, each in enumerate(evidence.lifted):
            some = np.flatnonzero(active & (kind == KIND))
            if not len(some):
                continue
            gain = (each @ part).astype(np.float64, copy=False)
            gain -= own
            for j in some:
                both = SHARE[j] * gain
                both += own
                out[start : start + block, j] = _log_product(both)
    return out.reshape(*masses.shape[:2], len(SHARE))


def _log_product(values: FloatArray) -> FloatArray:
    """Return the sum of logs along the first axis, of values in [0, 1].

    Products are much faster than logarithms, so as many are multiplied first as stay
    normal numbers.
    """
    least = float(values.min(initial=1.0))
    if least < _LEAST:
        np.maximum(values, _LEAST, out=values)
        least = _LEAST
    total = np.zeros(values.shape[1])
    while len(values) > 1 and least > 1e-150:
        half = len(values) // 2
        if len(values) % 2:
            total += np.log(values[-1])
        values = values[:half] * values[half : 2 * half]
        least *= least
    total += np.log(values).sum(axis=0)
    return total
