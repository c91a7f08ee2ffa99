"""To which units of time a system rounds its durations, and which seconds are free."""

from __future__ import annotations

from dataclasses import replace
from math import gcd, lcm
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

UNITS = (5, 6, 10, 15, 30, 60)
_MINUTE = 60


@frozen
class Heap:
    """A unit to which part of the durations is rounded.

    Args:
        unit: In seconds.
        share: Share of the durations rounded to it, in (0, 1].
        standard_error: Of the share.
    """

    unit: int
    share: float
    standard_error: float


def rounding(
    counts: IntArray, *, min_share: float = 0.005, min_z: float = 4.0
) -> tuple[Heap, ...]:
    """Tell which shares of the durations are rounded to 5, 6, 10, 15, 30 or 60 s.

    A multiple of the unit is compared with the seconds just before and after it, so the
    shape of the durations cancels. Units overlap (a whole minute is also a multiple of
    5 s), hence the contrasts are solved together.

    Args:
        counts: Calls per second of duration, shape (n_values,).
        min_share: Smallest share reported.
        min_z: Smallest share in standard errors.

    Returns:
        The units found, largest share first; empty if every second is in use alike. The
        rest, 1 minus the sum, is recorded to the second.

    Source:
        Heaping as in Roberts & Brewer (2001), Journal of Applied Statistics 28(7),
        887-896 (counts of the heap against its neighbours).
    """
    found = _significant(counts, UNITS, min_share=min_share, min_z=min_z)
    main = found[0] if found else None
    coarser = tuple(u for u in UNITS if main and u > main.unit and u % main.unit == 0)
    if main and coarser and main.share >= 0.5:
        # most seconds are empty: compare the multiples with the next in use
        grid = counts[:: main.unit]
        part = float(grid[1:].sum() / max(counts[1:].sum(), 1))
        units = tuple(u // main.unit for u in coarser)
        rest = [
            replace(
                heap,
                unit=heap.unit * main.unit,
                share=heap.share * part,
                standard_error=heap.standard_error * part,
            )
            for heap in _significant(grid, units, min_share=min_share, min_z=min_z)
        ]
        left = max(main.share - sum(heap.share for heap in rest), 0.0)
        if not rest:
            left = min(max(main.share, part), 1.0)
        others = [h for h in found[1:] if h.unit not in coarser and h.share > 0.05]
        found = [replace(main, share=left), *others, *rest]
    return tuple(sorted(found, key=lambda heap: -heap.share))


def _significant(
    counts: IntArray, units: Sequence[int], *, min_share: float, min_z: float
) -> list[Heap]:
    """List the units whose share is beyond doubt, largest first."""
    shares, errors = _shares(np.atleast_2d(counts), units)
    found = [
        Heap(unit=u, share=float(min(s, 1.0)), standard_error=float(e))
        for u, s, e in zip(units, shares[0], errors[0], strict=True)
        if s >= min_share and s >= min_z * e
    ]
    return sorted(found, key=lambda heap: -heap.share)


def free_seconds(heaps: Sequence[Heap]) -> BoolArray:
    """Say which seconds of the minute hold one kind of duration only.

    A curve through seconds on which rounded durations pile up sees ripples. Those
    seconds are left out, or, where most durations are rounded, all others are.

    Args:
        heaps: What `rounding` found.

    Returns:
        Seconds of the minute to use, shape (60,).
    """
    main, shares = _main_unit(heaps)
    seconds = np.arange(_MINUTE)
    total = np.zeros(_MINUTE)
    for unit, share in shares.items():
        total += np.where(seconds % unit == 0, unit * share, 0.0)
    own = np.where(seconds % main == 0, main * shares[main], 0.0)
    # 2 % of foreign durations in a second move a sum over many seconds by less
    return np.asarray((own > 0) & (own >= 0.98 * total))


def used_share(heaps: Sequence[Heap], free: BoolArray, start: int, stop: int) -> float:
    """Tell which share of the calls of a range lies on its free seconds.

    Args:
        heaps: What `rounding` found.
        free: Seconds used, shape (n_values,).
        start: First second of the range.
        stop: Second after its last.

    Returns:
        A share in [0, 1], as if all seconds of the range were as likely.
    """
    main, shares = _main_unit(heaps)
    used = main * int(free[start:stop].sum()) / max(stop - start, 1)
    return float(min(1.0, used * shares[main]))


def _main_unit(heaps: Sequence[Heap]) -> tuple[int, dict[int, float]]:
    """Give the unit of most durations, and the share of each unit; 1 is the rest."""
    shares = {heap.unit: heap.share for heap in heaps}
    shares[1] = max(0.0, 1 - sum(shares.values()))
    return max(shares, key=lambda unit: shares[unit]), shares


def _shares(counts: IntArray, units: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Estimate the share of each unit, and its error, shapes (n_histograms, n_units).

    A system rounds all durations alike, a cap or an automatic cut changes one place:
    the two minutes that stand out most are left aside.
    """
    period = lcm(*units)
    calls_at = counts.astype(np.float64)
    calls_at[:, :1] = 0.0  # no duration at all is a multiple of everything
    pair = np.pad(calls_at, ((0, 0), (1, 1)))
    contrast = calls_at - (pair[:, :-2] + pair[:, 2:]) / 2
    multiples = [1.0 * (np.arange(period) % unit == 0) for unit in units]
    picks = np.linalg.solve(_overlap(units), np.array(multiples))
    weights = picks - (np.roll(picks, 1, axis=1) + np.roll(picks, -1, axis=1)) / 2
    minutes = _by_minute(calls_at, period)
    values = np.einsum("hms,us->hum", _by_minute(contrast, period), picks)
    noise = np.einsum("hms,us->hum", minutes, weights**2)
    calls = minutes.sum(axis=2)[:, None, :]
    level = values.sum(axis=2) / np.maximum(calls.sum(axis=2), 1.0)
    distance = np.abs(values - level[:, :, None] * calls) / np.sqrt(noise + 1.0)
    aside = np.argsort(distance.max(axis=1), axis=1)[:, -2:]
    keep = np.ones(minutes.shape[:2])
    np.put_along_axis(keep, aside, 0.0, axis=1)
    total = np.maximum((calls[:, 0] * keep).sum(axis=1), 1.0)[:, None]
    shares = np.einsum("hum,hm->hu", values, keep) / total
    variance = np.einsum("hum,hm->hu", noise, keep)
    return shares, np.sqrt(variance + 1.0) / total


def _by_minute(values: FloatArray, period: int) -> FloatArray:
    """Cut into periods around their first second, (n_histograms, n_periods, period)."""
    half = period // 2
    # three at least, for two of them may be left aside
    n_periods = max(3, (values.shape[1] + half) // period + 1)
    behind = n_periods * period - half - values.shape[1]
    cut = np.pad(values, ((0, 0), (half, behind))).reshape(-1, n_periods, period)
    return np.roll(cut, -half, axis=2)


def _overlap(units: Sequence[int]) -> FloatArray:
    """Give the contrast of unit u that durations rounded to unit v cause."""
    return np.array(
        [[gcd(u, v) / u if gcd(u, v) > 1 else 0.0 for v in units] for u in units]
    )
