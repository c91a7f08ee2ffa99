"""Calls of duration-cap that pile up below a cutoff with nobody to lay them at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.stats import multiplicity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.detectors._duration_cap_find import Cap
    from kpiaudit.detectors._duration_cap_floor import Pile
    from kpiaudit.detectors.base import Found, Tested

_LEAST = 0.2  # of what a smooth curve expects
_CLEAR = 1e-6
_LEVEL = 0.05


def sentences(
    found: Found, piles: Sequence[Pile | None], tested: Sequence[Tested]
) -> tuple[str, ...]:
    """Say where calls pile up clearly though no agent, queue or floor stands out.

    Args:
        found: What the first stage found.
        piles: Per cutoff, the curves through the durations.
        tested: What the rule tested.
    """
    if _anybody(tested):
        return ()
    out = []
    for number, (cap, pile) in enumerate(zip(found["caps"], piles, strict=True)):
        relative, p = _clearest(found, number, pile)
        if relative >= _LEAST and p <= _CLEAR:
            out.append(
                f"Calls pile up below {_clock(cap)} more than a smooth curve expects "
                f"({relative:.0%} more), but the data do not say at whom: no agent, "
                "queue or floor stands out in all that was asked. A natural peak there "
                "looks the same."
            )
    return tuple(out)


def _anybody(tested: Sequence[Tested]) -> bool:
    """Say whether anything is reported at the usual level of the rule."""
    sizes = [int(t.outcome.testable.sum()) for t in tested]
    p = np.concatenate([t.outcome.p_value for t in tested])
    weight = np.ones_like(p)
    weight[~np.isnan(p)] = multiplicity.kind_weights(sizes, [t.share for t in tested])
    return bool((multiplicity.q_values(p, weight) <= _LEVEL).any())


def _clearest(found: Found, number: int, pile: Pile | None) -> tuple[float, float]:
    """Return the relative excess and its p-value, of the search or of the floor."""
    if number < len(found["cutoffs"]):  # the caps of the search of all calls come first
        cutoff = found["cutoffs"][number]
        return float(cutoff.relative), float(cutoff.p_value)
    if pile is None:
        return 0.0, 1.0
    floor = pile.outcome
    # the floor's own p-value is against the pile-up that does not count, not against 0
    error = max(float(floor.high[0] - floor.low[0]) / 3.92, 1e-9)
    relative, z = float(floor.extra["relative"][0]), float(floor.effect[0]) / error
    return (relative, float(sp.special.ndtr(-z))) if np.isfinite(z) else (0.0, 1.0)


def _clock(cap: Cap) -> str:
    return f"{cap.cap_s // 60}:{cap.cap_s % 60:02d}"
