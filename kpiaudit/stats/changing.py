"""Whether a whole floor's odds have changed since a day that was known beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.stats.noncentral import corners
from kpiaudit.stats.odds import odds_ratio
from kpiaudit.stats.outcome import Outcome

if TYPE_CHECKING:
    from kpiaudit.stats.odds import Tables
    from kpiaudit.stats.outcome import FloatArray

_MIN_CHANGED = 8


def changed(before: Tables, after: Tables, *, min_ratio: float = 1.25) -> Outcome:
    """Test whether the whole floor invites less after trouble since a known day.

    Each subject is compared with itself, and the subjects vouch for each other: both
    their weighted mean change and that of the median subject have to go beyond what is
    allowed. Customers who leave before the survey did so before that day as well.

    Args:
        before: Tables of the time before, with the same subjects as `after`.
        after: Tables of the time since.
        min_ratio: The hypothesis is that the odds fell by at most this factor, >= 1.

    Returns:
        One row. `ratio` is the odds ratio after over that before, `effect` the
        invitations that the change cost; nan with fewer than eight subjects.

    Source:
        DerSimonian & Laird (1986), Controlled Clinical Trials 7:177-188; Knapp &
        Hartung (2003), Statistics in Medicine 22:2693-2710 (mean and its variance);
        Berger (1982), Technometrics 24:295-300 (both tests have to reject).
    """
    first, second = odds_ratio(before), odds_ratio(after)
    change, variance = second.log - first.log, first.variance + second.variance
    ok = ~np.isnan(change) & ~np.isnan(variance)
    if ok.sum() < _MIN_CHANGED:
        return Outcome.untestable(np.full(1, np.nan))
    y, noise = change[ok], variance[ok]
    fixed = 1.0 / noise
    q = float(fixed @ (y - np.average(y, weights=fixed)) ** 2)
    scale = float(fixed.sum() - (fixed**2).sum() / fixed.sum())
    weight = 1.0 / (noise + max(0.0, (q - len(y) + 1) / scale))
    mean = float(np.average(y, weights=weight))
    free = len(y) - 1
    own = float(weight @ (y - mean) ** 2) / free
    sd = float(np.sqrt(max(own, 1.0) / weight.sum()))
    allowed = -np.log(min_ratio)
    by_mean = float(sp.special.stdtr(free, (mean - allowed) / sd))
    above = int((y >= allowed).sum())
    by_median = float(sp.special.bdtr(above, len(y), 0.5))
    half = float(sp.special.stdtrit(free, 0.975)) * sd
    ends = np.array([mean, mean - half, mean + half])
    trouble, invited = float(after.trouble.sum()), float(after.both.sum())
    at = float(odds_ratio(after, np.zeros_like(after.subject), 1).log[0])
    missing = [_invited(after, at - end) - _invited(after, at) for end in ends]

    def one(value: float) -> FloatArray:
        return np.array([value], dtype=np.float64)

    return Outcome(
        trials=one(trouble),
        observed=one(trouble - invited),
        expected=one(trouble - invited - missing[0]),
        p_value=one(max(by_mean, by_median)),
        effect=one(missing[0]),
        low=one(missing[2]),
        high=one(missing[1]),
        ratio=one(np.exp(ends[0])),
        ratio_low=one(np.exp(ends[1])),
        ratio_high=one(np.exp(ends[2])),
        facts={"n_subjects_used": float(len(y)), "share_below": float((y < 0).mean())},
    )


def _invited(tables: Tables, log_odds: float) -> float:
    """Return how many contacts with trouble one odds ratio would have invited."""
    sums = corners(
        tables.subject,
        row=tables.trouble,
        column=tables.invited,
        total=tables.contacts,
        log_odds=np.full(len(tables.subject), log_odds),
        points=np.zeros(1),
        n_subjects=tables.n_subjects,
    )
    return float(sums.mean.sum())
