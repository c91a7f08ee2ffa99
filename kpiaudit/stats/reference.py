"""What each subject's peers give in the strata where that subject works."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray, IntArray

_BETWEEN_PRIOR = 0.3
"""Standard deviation of strata on the log-odds scale where two or three show little."""


@frozen
class Counts:
    """Rows of counts, already sorted out.

    Args:
        subject: Index per row.
        stratum: Index per row, in [0, n_strata).
        k: Events per row.
        n: Trials per row, > 0.
        offset: Log-odds known beforehand per row.
        n_subjects: Number of subjects.
        n_strata: Number of strata.
    """

    subject: IntArray
    stratum: IntArray
    k: FloatArray
    n: FloatArray
    offset: FloatArray
    n_subjects: int
    n_strata: int

    def per_subject(self, values: FloatArray) -> FloatArray:
        """Add up row values per subject, shape (n_subjects,)."""
        sums = np.bincount(self.subject, weights=values, minlength=self.n_subjects)
        return np.asarray(sums, dtype=np.float64)

    def per_stratum(self, values: FloatArray) -> FloatArray:
        """Add up row values per stratum, shape (n_strata,)."""
        sums = np.bincount(self.stratum, weights=values, minlength=self.n_strata)
        return np.asarray(sums, dtype=np.float64)

    def per_cell(self, values: FloatArray) -> FloatArray:
        """Return per row the sum of its subject's values in its stratum."""
        if self._cell is None:
            return values
        sums = np.bincount(self._cell, weights=values)
        return np.asarray(sums[self._cell], dtype=np.float64)

    @cached_property
    def _cell(self) -> IntArray | None:
        """Number subjects' strata per row; None where every row has its own."""
        key = self.subject * self.n_strata + self.stratum
        if (key[1:] > key[:-1]).all():
            return None
        keys, cell = np.unique(key, return_inverse=True)
        return None if len(keys) == len(key) else cell.astype(np.int64)


def peer_log_odds(
    counts: Counts, trust: FloatArray, *, spread: float
) -> tuple[FloatArray, FloatArray, float]:
    """Return what peers give per row, and the variance of that per subject.

    Each stratum's rate is that of the other subjects there, shrunken towards the rate
    of all strata by as much as strata are seen to resemble each other; so a subject
    who is nearly alone in a stratum is measured against the rest, with a wide margin.

    Args:
        counts: The rows.
        trust: Weight of each subject as a peer, in [0, 1], shape (n_subjects,).
        spread: Standard deviation between honest subjects, log-odds.

    Returns:
        Log-odds per row including the row's offset; the variance of the subject's
        mean log-odds that is due to the peers being few, shape (n_subjects,); and the
        part of a stratum's own rate in what its peers give, on average, in [0, 1].

    Source:
        Efron & Morris (1975), JASA 70:311-319 (shrinking several rates together);
        DerSimonian & Laird (1986), Controlled Clinical Trials 7:177-188 (variance
        between them by moments).
    """
    a = trust[counts.subject]
    k, n = a * counts.k, a * counts.n
    base = _solve(counts, k, n)
    p = sp.special.expit(base + counts.offset)
    if counts.n_strata == 1:
        # The location of the spread absorbs any error here, so nothing is added.
        return base + counts.offset, np.zeros(counts.n_subjects), 0.0
    sum_k, sum_m = counts.per_stratum(k), counts.per_stratum(n * p)
    sum_v = counts.per_stratum(n * p * (1.0 - p))
    present = np.bincount(
        counts.stratum, weights=n, minlength=counts.n_strata
    ) ** 2 / np.maximum(_squares(counts, n), 1e-300)
    shift, noise = _log_ratio(sum_k, sum_m, sum_v)
    between = _between(shift, noise + spread**2 / np.maximum(present, 1.0))
    k_own, m_own, v_own = (counts.per_cell(x) for x in (k, n * p, n * p * (1.0 - p)))
    s = counts.stratum
    rest_v = np.maximum(sum_v[s] - v_own, 0.0)
    # A prior worth 1 / between of information, centred on the common rate.
    prior = 1.0 / between
    weight = np.maximum(rest_v, 1e-12)
    gap = _leave_out(sum_k[s] - k_own, sum_m[s] - m_own, weight)
    peers = np.maximum(present[s] - 1.0, 1e-9)
    precision = 1.0 / (1.0 / weight + spread**2 / peers)
    kept = precision / (precision + prior)
    log_odds = base + counts.offset + gap * kept
    variance = 1.0 / (precision + prior)
    share = counts.n * p * (1.0 - p)
    total = np.maximum(counts.per_subject(share), 1e-300)
    part = share / total[counts.subject]
    cell_part = counts.per_cell(part)
    own_rate = float(share @ kept / max(float(share.sum()), 1e-300))
    return log_odds, counts.per_subject(part * cell_part * variance), own_rate


def _solve(counts: Counts, k: FloatArray, n: FloatArray) -> float:
    """Return the common log-odds at which expected events equal the observed ones."""
    events, trials = float(k.sum()), float(n.sum())
    base = float(sp.special.logit((events + 0.5) / (trials + 1.0)))
    if not counts.offset.any():
        return base
    for _ in range(12):
        p = sp.special.expit(base + counts.offset)
        step = (events + 0.5 - (n @ p) * (trials + 1.0) / max(trials, 1.0)) / max(
            float(n @ (p * (1.0 - p))), 0.1
        )
        base += float(np.clip(step, -1.0, 1.0))
    return base


def _squares(counts: Counts, n: FloatArray) -> FloatArray:
    """Return per stratum the sum of squared trials of subjects."""
    own = counts.per_cell(n)
    return counts.per_stratum(n * own)


def _log_ratio(
    k: FloatArray, m: FloatArray, v: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return log-odds of observed against expected events, and their variance."""
    safe = np.maximum(v, 1e-12)
    return np.clip((k - m) / (safe + 0.5), -3.0, 3.0), 1.0 / (safe + 0.5)


def _leave_out(k: FloatArray, m: FloatArray, v: FloatArray) -> FloatArray:
    """Return the log-odds by which the others exceed the common rate, kept finite."""
    m = np.maximum(m, 1e-9)
    # v = m q: the odds follow from the expected count and its variance.
    q = np.clip(v / m, 1e-6, 1.0)
    n = m / np.clip(1.0 - q, 1e-9, 1.0)
    odds = np.log((k + 0.5) / np.maximum(n - k + 0.5, 0.5))
    common = np.log((m + 0.5) / np.maximum(n - m + 0.5, 0.5))
    return np.asarray(odds - common, dtype=np.float64)


def _between(shift: FloatArray, noise: FloatArray) -> float:
    """Return the variance between strata, leaning on a prior where they are few."""
    weight = 1.0 / noise
    mean = float(weight @ shift / weight.sum())
    q = float(weight @ (shift - mean) ** 2)
    free = len(shift) - 1.0
    spare = float(weight.sum() - (weight @ weight) / weight.sum())
    moment = max(0.0, (q - free) / max(spare, 1e-300))
    return max((2.0 * _BETWEEN_PRIOR**2 + free * moment) / (2.0 + free), 0.01)
