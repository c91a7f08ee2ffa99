"""How repeat calls add to the comparison of an agent with peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray

EACH = 0.1
"""Both questions have to be answered at this level to be combined."""


def combined(p_value: FloatArray, again: FloatArray) -> FloatArray:
    """Let repeat calls add to the comparison with peers.

    Where a pile-up is no larger than an unusual habit, what became of these customers
    decides: a settled call is not followed by another. Nine tenths of the error budget
    stay with the comparison alone, a tenth goes to both questions together.

    Args:
        p_value: Of the comparison with peers, nan where untestable.
        again: Of the repeat calls; nan where customers are not known.

    Returns:
        p-values, shape (n_agents,).

    Source:
        Fisher (1932), Statistical Methods for Research Workers, 4th ed., section 21.1
        (p-values of independent questions); weights: Genovese, Roeder & Wasserman
        (2006), Biometrika 93(3), 509-524.
    """
    product = np.maximum(p_value * again, 1e-300)
    both = product * (1 - np.log(product))
    shown = (p_value <= EACH) & (again <= EACH)
    best = np.fmin(p_value / 0.9, np.where(shown, both / 0.1, np.inf))
    known = ~np.isnan(again)
    return np.asarray(np.where(known, np.minimum(best, 1.0), p_value))


def needed(p_value: float, again: float) -> float:
    """Return the largest p-value against peers that `combined` keeps at `p_value`.

    Args:
        p_value: Threshold of the combined one.
        again: Of the repeat calls; nan where customers are not known.
    """
    if np.isnan(again):
        return p_value
    alone = 0.9 * p_value
    if again > EACH:
        return alone
    low, high = -700.0, 0.0  # of the logarithm of the product
    for _ in range(60):
        middle = (low + high) / 2
        kept = np.exp(middle) * (1 - middle) <= 0.1 * p_value
        low, high = (middle, high) if kept else (low, middle)
    return float(max(alone, min(np.exp(low) / max(again, 1e-300), EACH)))
