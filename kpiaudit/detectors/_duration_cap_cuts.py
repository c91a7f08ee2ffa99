"""Calls that the platform itself ends at a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.stats.outcome import FloatArray, IntArray

LONGEST_S = 3600
"""Longer calls share the last second of the histogram."""

_SPIKE = 8.0  # times its neighbours
_NOTHING_ABOVE = 0.25  # of the calls of the spike


def automatic_cuts(counts: IntArray, unit: int = 1) -> tuple[int, ...]:
    """Find the second at which the platform ends what is still open.

    All such calls stand in one second or two next to each other, far above their
    neighbours, and hardly any call is longer: an agent can't hit a second so exactly,
    and colleagues' longer calls would lie above.

    Args:
        counts: Calls per second, the last entry holding all longer ones.
        unit: Recording unit.

    Returns:
        The seconds, at most two; empty if there is no such cut.
    """
    pair = counts[:-unit] + counts[unit:]
    above = np.concatenate([np.cumsum(counts[::-1])[::-1], [0]])
    beyond = above[np.minimum(np.arange(len(pair)) + unit + 1, len(counts))]
    enough = max(30.0, 0.002 * float(above[0]))
    likely = np.flatnonzero((pair >= enough) & (beyond <= _NOTHING_ABOVE * pair))
    for at in likely[(likely >= 30 * unit) & (likely < LONGEST_S - unit)].tolist():
        usual = max(float(np.median(counts[at - 10 * unit : at : unit])), 1.0)
        if pair[at] >= _SPIKE * usual and counts[at] >= 3 * usual:
            second = counts[at + unit] > 3 * usual
            return (at, at + unit) if second else (at,)
    return ()


def flattened(counts: FloatArray, cuts: Sequence[int]) -> FloatArray:
    """Lower automatic cuts to the level before them, so that they draw no cutoff."""
    out = counts.copy()
    for cut in cuts:
        out[cut] = np.median(counts[max(cut - 15, 0) : max(cut - 5, 1)])
    return out
