"""Many subjects who show two things at once, and so hide each other from peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray

_CALM = 0.3
"""Subjects up to this quantile stand for what honest ones have in common."""
_FEW = 0.1
"""Share of honest subjects, such as newcomers, who may show both by habit or luck."""
_MASKED = 0.01
"""Level from which those who show both are taken out of everybody's yardstick."""
_FEWEST = 6


@frozen
class Many:
    """How many subjects show both, and who.

    Args:
        p_value: Of the hypothesis that at most a tenth of the subjects show both.
        showing: Who does, shape (n_subjects,).
        used: Who could be asked, shape (n_subjects,).
    """

    p_value: float
    showing: BoolArray
    used: BoolArray

    @property
    def learn(self) -> BoolArray | None:
        """Return from whom to learn what is honest; None stands for all.

        Only where it is beyond doubt that more than a few show both are they left out.
        Elsewhere, and so in nearly every honest centre, nothing changes: leaving out
        whoever stands out would make honest subjects look more alike than they are.
        """
        if self.p_value > _MASKED or (self.used & ~self.showing).sum() < _FEWEST:
            return None
        return ~self.showing


def many(
    first: FloatArray,
    second: FloatArray,
    used: BoolArray,
    *,
    ratios: tuple[float, float],
) -> Many:
    """Test whether more than a tenth of the subjects show both.

    Each log-odds is held against its lower third over all subjects, so that neither
    what everybody has in common nor up to two thirds who do it move the yardstick much.

    Args:
        first: One log-odds per subject, shape (n_subjects,).
        second: Another one, which is nil by nature where nothing is the matter; its
            yardstick is never below nil.
        used: Who has enough to be asked.
        ratios: Odds from which each of them shows, as a multiple of the calm ones'.

    Returns:
        The test and who shows both; p-value 1 without anybody to ask.

    Source:
        Clopper & Pearson (1934), Biometrika 26:404-413 (the exact binomial tail).
    """
    if not used.any():
        return Many(p_value=1.0, showing=np.zeros_like(used), used=used)
    calm = max(float(np.quantile(second[used], _CALM)), 0.0)
    shows = used & (second >= calm + np.log(ratios[1]))
    shows &= first >= np.quantile(first[used], _CALM) + np.log(ratios[0])
    k, n = float(shows.sum()), float(used.sum())
    p = 1.0 if k <= 0.0 else float(sp.special.betainc(k, n - k + 1.0, _FEW))
    return Many(p_value=p, showing=shows, used=used)


def log_odds(k: FloatArray, n: FloatArray) -> FloatArray:
    """Return log-odds of k in n that stay finite, shape as given."""
    return np.asarray(np.log((k + 0.5) / (n - k + 0.5)), dtype=np.float64)
