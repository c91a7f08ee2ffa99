"""How much more than binomial the events of one subject vary from day to day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray, IntArray

_BLOCK = 16_384
_PRIOR_DAYS = 20.0
"""Weight of the floor's dispersion, in days, where subjects do not visibly differ."""


def day_dispersion(
    subject: IntArray,
    day: IntArray,
    events: IntArray,
    trials: IntArray,
    *,
    n_subjects: int,
) -> FloatArray:
    """Return each subject's variance between days over the binomial variance, >= 1.

    The ratio of summed squares to summed binomial variances is used, because it is
    exactly what inflates the variance of the subject's total. It is shrunken towards
    the ratio of the whole floor, the more the fewer days the subject has.

    Args:
        subject: Index of the subject per row, in [0, n_subjects).
        day: Any integer label of the day (or week) per row; cells may repeat.
        events: Events per row, 0 <= events <= trials.
        trials: Trials per row.
        n_subjects: How many subjects there are, with rows or without.

    Returns:
        Shape (n_subjects,), in [1, inf); the floor's value for a subject without
        rows or with events always or never, 1 where nobody shows anything.

    Source:
        McCullagh & Nelder (1989), Generalized Linear Models, 2nd ed., section 4.5
        (moment estimate of the dispersion); Smyth (2004), Stat. Appl. Genet. Mol.
        Biol. 3:3 (shrinking variances with prior degrees of freedom).
    """
    cell_subject, k, n = _cells(subject, day, events, trials)
    # Only sums over whole numbers are taken row by row, so that they are exact.
    total_k, total_n, k_2, k_n, n_2, n_3, n_4 = _sums(cell_subject, k, n, n_subjects)
    rate = total_k / np.maximum(total_n, 1.0)
    top = np.maximum(k_2 - rate * (2.0 * k_n - rate * n_2), 0.0)
    part, size = rate * (1.0 - rate), np.maximum(total_n, 1.0)
    bottom = part * np.maximum(total_n - n_2 / size, 0.0)
    heavy = part**2 * np.maximum(n_2 - (2.0 * n_3 - n_4 / size) / size, 0.0)
    # Days of equal weight would count one each; unequal ones count for less.
    days = np.where(bottom > 0.0, bottom**2 / np.maximum(heavy, 1e-300), 0.0)
    own = np.where(bottom > 0.0, top / np.maximum(bottom, 1e-300), 1.0)
    floor, prior = _floor(own, days, n=total_n, p=rate)
    shrunken = (days * own + prior * floor) / (days + prior)
    return np.asarray(np.maximum(shrunken, 1.0), dtype=np.float64)


def _sums(
    subject: IntArray, k: FloatArray, n: FloatArray, n_subjects: int
) -> FloatArray:
    """Return sums of k, n, k k, k n, n^2, n^3 and n^4 over sorted subjects' rows."""
    out = np.zeros((7, n_subjects))
    # In blocks that stay in a core's own cache.
    for first in range(0, len(subject), _BLOCK):
        rows = slice(first, first + _BLOCK)
        own, events, trials = subject[rows], k[rows], n[rows]
        start = np.flatnonzero(np.append(True, own[1:] != own[:-1]))
        square = trials * trials
        values = (
            events,
            trials,
            events * events,
            events * trials,
            square,
            square * trials,
            square * square,
        )
        for total, each in zip(out, values, strict=True):
            total[own[start]] += np.add.reduceat(each, start)
    return out


def _cells(
    subject: IntArray, day: IntArray, events: IntArray, trials: IntArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Add up the rows of one subject and day, so that split rows change nothing.

    Cells are sorted by subject.
    """
    if len(subject) == 0:
        empty = np.zeros(0)
        return np.zeros(0, dtype=np.int64), empty, empty
    k, n = events.astype(np.float64), trials.astype(np.float64)
    who = subject.astype(np.int64, copy=False)
    when = day.astype(np.int64, copy=False)
    if _apart(who, when):
        return who, k, n
    days, day_index = np.unique(when, return_inverse=True)
    cells, cell = np.unique(who * len(days) + day_index, return_inverse=True)
    owner = np.asarray(cells // len(days), dtype=np.int64)
    k, n = (np.bincount(cell, weights=each).astype(np.float64) for each in (k, n))
    return owner, k, n


def _apart(subject: IntArray, day: IntArray) -> bool:
    """Say whether rows are sorted by subject and day, one for each, as counted."""
    same = subject[1:] == subject[:-1]
    later = (subject[1:] > subject[:-1]) | (same & (day[1:] > day[:-1]))
    return bool(later.all())


def _floor(
    own: FloatArray, days: FloatArray, *, n: FloatArray, p: FloatArray
) -> tuple[float, float]:
    """Return the floor's dispersion and the days that it is worth as a prior."""
    used = days >= 2.0
    if not used.any():
        return 1.0, _PRIOR_DAYS
    # Capped weights keep one huge subject from standing for the floor, and the
    # trimmed mean keeps a few clustered ones from raising everybody's bar.
    weight = np.minimum(days[used], np.median(days[used]) * 3.0)
    low, high = np.quantile(own[used], [0.02, 0.98])
    values = np.clip(own[used], low, high)
    floor = float(np.average(values, weights=weight))
    per_day = n[used] * p[used] * (1.0 - p[used]) / np.maximum(days[used], 1.0)
    noise = (2.0 * floor**2 + 1.0 / np.maximum(per_day, 0.05)) / days[used]
    between = float(np.average((values - floor) ** 2 - noise, weights=weight))
    if between <= 0.0 or used.sum() < 5:
        return floor, _PRIOR_DAYS * 10.0
    prior = 2.0 * floor**2 / between
    return floor, float(np.clip(prior, _PRIOR_DAYS / 4.0, _PRIOR_DAYS * 10.0))
