"""Whether the upper side of a sample reaches further than the lower."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray

_AT_MOST = 1000


def asymmetry(y: FloatArray) -> tuple[float, float, float]:
    """Return how much longer the upper quarter is than the lower, with its interval."""
    y = np.sort(y)
    if len(y) > _AT_MOST:
        y = y[np.round(np.linspace(0, len(y) - 1, _AT_MOST)).astype(np.int64)]
    draws = np.random.default_rng(20051).integers(0, len(y), (200, len(y)))
    q25, q50, q75 = np.quantile(y[draws], [0.25, 0.5, 0.75], axis=1)
    tiny = 1e-9
    own = np.quantile(y, [0.25, 0.5, 0.75])
    g = (own[2] - own[1] + tiny) / (own[1] - own[0] + tiny)
    low, high = np.quantile((q75 - q50 + tiny) / (q50 - q25 + tiny), [0.025, 0.975])
    return float(g), float(low), float(high)
