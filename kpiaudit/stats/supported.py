"""An answer that a further one may support, and never weaken.

Not everybody who games does it for the bonus that is known of. Whether the pattern
follows the score is therefore added where it does, and counts for nothing where it does
not; what that choice is worth is taken off exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray

_TOP = 4.0
"""The further answer counts for no more standard deviations than this."""
_FAR = 37.0


def supported(p_value: FloatArray, more: FloatArray, *, weight: float) -> FloatArray:
    """Return p-values of an answer together with whatever supports it.

    The normal score of the answer plus `weight` times the positive part of the other
    one's; its tail is that of half a normal and half the sum of two, so that honest
    subjects, whose two answers have nothing to do with each other, are reported as
    often as by the answer alone.

    Args:
        p_value: Of the answer, shape (n,), nan where untestable.
        more: Of the further one, nan where not asked: the answer stays as it is.
        weight: Of the further answer, beside 1 for the answer itself, above 0.

    Returns:
        Shape (n,); nan where `p_value` is.

    Source:
        Stouffer et al. (1949), The American Soldier 1:45 (sum of normal scores); Owen
        (1956), Annals of Mathematical Statistics 27:1075-1090 (the bivariate normal
        tail).

    >>> supported(np.array([0.01, 0.01]), np.array([0.01, 0.9]), weight=0.4).round(4)
    array([0.0014, 0.0179])
    >>> supported(np.array([0.5]), np.array([1e-30]), weight=0.4).round(2)
    array([0.08])
    """
    score = np.clip(-sp.special.ndtri(p_value), -_FAR, _FAR)
    total = score + weight * _positive(more)
    return np.where(np.isnan(more), p_value, _tail(total, weight))


def needed(threshold: float, more: FloatArray, *, weight: float) -> FloatArray:
    """Return the largest p-value of the answer that is kept at a threshold.

    Args:
        threshold: P-value of both together, in (0, 1).
        more: Of the further answer, shape (n,); nan where not asked.
        weight: Of the further answer.
    """
    low, high = np.float64(-_FAR), np.float64(_FAR)
    for _ in range(80):
        middle = (low + high) / 2.0
        kept = float(_tail(np.array([middle]), weight)[0]) <= threshold
        low, high = (low, middle) if kept else (middle, high)
    p = sp.special.ndtr(-(high - weight * _positive(more)))
    return np.where(np.isnan(more), threshold, p)


def _positive(p_value: FloatArray) -> FloatArray:
    return np.asarray(np.clip(-sp.special.ndtri(p_value), 0.0, _TOP))


def _tail(total: FloatArray, weight: float) -> FloatArray:
    """Return the chance of a sum this large from two honest answers."""
    both = total / np.sqrt(1.0 + weight**2)
    alone = 0.5 * sp.special.ndtr(-total)
    supported = 0.5 * sp.special.ndtr(-both) + sp.special.owens_t(both, weight)
    return np.asarray(np.clip(alone + supported, 0.0, 1.0))
