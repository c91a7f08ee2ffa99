"""Finding a duration cap that nobody named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats.excess import Bunching, measure_bins, of_all_calls
from kpiaudit.stats.heaping import free_seconds, rounding, used_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.stats.heaping import Heap
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

_SHORTEST = 30  # seconds; below lie calls that never became conversations
_SUPPORT = 2  # windows of calls that the curve needs before the one it predicts
_PICKS = 3  # caps tested per half
_ROUND = 30  # caps are mostly multiples of half a minute ...
_ROUND_BONUS = 0.5  # ... worth this many standard errors when choosing
_INTERESTING = 3.0  # standard errors in the half that chooses


@frozen
class Cutoff:
    """A duration below which calls pile up.

    Args:
        cutoff_s: In seconds; the pile lies just below it.
        p_value: Over the whole search (family-wise).
        excess: Calls in excess just below it, in both halves.
        excess_share: The excess as a share of the calls that would have passed it.
        relative: The excess as a share of the expected calls in the window.
        relative_low: Lower end of its 95 % interval.
        z: Excess over the tested minimum, in standard errors.
        missing: Share of the expected calls missing in the window above; 0 without any.
        halves: Halves of the days (1 or 2) that chose it and were confirmed.
        tested_on: `odd` or `even` days that confirmed a second, and that second,
            which the other days had chosen; one pair per half.
    """

    cutoff_s: int
    p_value: float
    excess: float
    excess_share: float
    relative: float
    relative_low: float
    z: float
    missing: float
    halves: int
    tested_on: tuple[tuple[str, int], ...] = ()


@frozen
class _Search:
    """What the scan of one half needs."""

    low: int
    high: int
    window: int
    width: int
    before: int
    after: int
    minimum: float
    min_share: float
    free: BoolArray
    heaps: Sequence[Heap]


def find_cutoffs(  # noqa: PLR0913  # a design choice each, all with defaults
    odd: IntArray,
    even: IntArray,
    *,
    low: int = 60,
    high: int = 1139,
    window: int = 15,
    bin_width: int = 5,
    before: int = 150,
    after: int = 300,
    min_relative: float = 0.03,
    min_share: float = 0.001,
    level: float = 0.05,
    heaps: Sequence[Heap] | None = None,
) -> tuple[Cutoff, ...]:
    """Search every second for a cap below which calls pile up.

    Each half of the days proposes at most three seconds, the other half tests them;
    with Bonferroni's correction for the seconds proposed and the two directions, the
    chance to report anything where there is no cap is at most `level`. The figures of
    each cutoff come from the half that did not choose it.

    Args:
        odd: Calls per second of duration on odd days, shape (n_values,).
        even: The same on even days.
        low: Lowest cutoff, in seconds. Below 75 s (30 s, the window, and two windows
            before it) no curve can be laid, and nothing is found.
        high: Highest cutoff.
        window: Seconds below the cutoff, a multiple of `bin_width`.
        bin_width: In seconds.
        before: Seconds below the cutoff that the curve is fitted to.
        after: Seconds above it, likewise.
        min_relative: Excess tested against, as a share of the expected calls: large
            samples show ripples that mean nothing.
        min_share: Excess tested against, as a share of the calls beyond the cutoff; the
            larger one counts. A ripple where calls are rare can be large in relation.
        level: Family-wise error rate.
        heaps: Rounding of the durations; None finds it.

    Returns:
        The cutoffs, most certain first.

    Source:
        Sample splitting: Cox (1975), Biometrika 62(2), 441-444.
    """
    size = max(len(odd), len(even), high + 1)
    halves = [np.pad(half, (0, size - len(half))) for half in (odd, even)]
    found = rounding(halves[0] + halves[1]) if heaps is None else heaps
    search = _Search(
        low=low,
        high=high,
        window=window,
        width=bin_width,
        before=before,
        after=after,
        minimum=min_relative,
        min_share=min_share,
        free=np.resize(free_seconds(found), size),
        heaps=found,
    )
    confirmed: list[Cutoff] = []
    for days, (choosing, testing) in zip(
        ("even", "odd"), (halves, halves[::-1]), strict=True
    ):
        picks = _choose(choosing, search)
        confirmed += [
            replace(cutoff, tested_on=((days, cutoff.cutoff_s),))
            for cutoff in _confirm(testing, picks, search)
            if cutoff.p_value <= level
        ]
    return _merge(confirmed, window)


def _choose(counts: IntArray, search: _Search) -> list[int]:
    """Propose the cutoffs that stand out most, one after another."""
    cutoffs = np.arange(search.low, search.high + 1)
    coarse = cutoffs[:: search.width]
    bonus = np.where(cutoffs % _ROUND == 0, _ROUND_BONUS, 0.0)
    picks: list[int] = []
    free = search.free
    for _ in range(_PICKS):
        result = _scan(counts, coarse, replace(search, free=free))
        z = np.where(np.isnan(result.z), -np.inf, result.z)
        for pick in picks:
            z[np.abs(coarse - pick) < 2 * search.window] = -np.inf
        best = int(np.argmax(z))
        if z[best] < _INTERESTING:
            break
        near = np.abs(cutoffs - coarse[best]) < search.window
        edge = _edge(counts, cutoffs, replace(search, free=free))
        pick = int(cutoffs[np.argmax(np.where(near, edge + bonus, -np.inf))])
        picks.append(pick)
        free = free.copy()
        free[pick - search.window : pick] = False
    return picks


def _edge(counts: IntArray, cutoffs: IntArray, search: _Search) -> FloatArray:
    """Measure how sharply the calls drop at each cutoff, in standard errors."""
    calls = _sums(counts * search.free)
    free = _sums(search.free.astype(np.int64))
    best = np.full(len(cutoffs), -np.inf)
    for width in (search.window // 3, 2 * search.window // 3, search.window):
        left = _between(calls, cutoffs - width, cutoffs)
        right = _between(calls, cutoffs, cutoffs + width)
        room_left = _between(free, cutoffs - width, cutoffs)
        room_right = _between(free, cutoffs, cutoffs + width)
        share = room_left / np.maximum(room_left + room_right, 1)
        total = left + right
        sd = np.sqrt(np.maximum(total * share * (1 - share), 1.0))
        best = np.maximum(best, (left - share * total) / sd)
    return best


def _confirm(counts: IntArray, picks: list[int], search: _Search) -> list[Cutoff]:
    """Test the proposed cutoffs on the half that did not propose them."""
    found = []
    for pick in picks:
        free = search.free.copy()
        for other in picks:
            if other != pick:
                free[other - search.window : other] = False
        part = replace(search, free=free)
        result = _scan(counts, np.array([pick]), part)
        whole = counts[pick - search.window : pick].sum(keepdims=True)
        result = of_all_calls(result, whole, _part(pick, search))
        if np.isnan(result.p_value[0]):
            continue
        found.append(_cutoff(counts, pick, result, part, tests=2 * len(picks)))
    return found


def _cutoff(
    counts: IntArray, pick: int, result: Bunching, search: _Search, *, tests: int
) -> Cutoff:
    expected = float(result.expected[0])
    above = (result.edges[:-1] >= 0) & (result.edges[:-1] < search.window)
    curve = float(result.counterfactual[0, above].sum())
    there = float(result.counts[0, above].sum())
    return Cutoff(
        cutoff_s=pick,
        p_value=min(1.0, tests * float(result.p_value[0])),
        excess=float(result.excess[0]),
        excess_share=float(result.share[0]),
        relative=float(result.relative[0]),
        relative_low=float(result.low[0]) / max(expected, 1e-9),
        z=float(result.z[0]),
        missing=max(0.0, 1 - there / curve) if curve > 0 else 0.0,
        halves=1,
    )


def _merge(confirmed: list[Cutoff], window: int) -> tuple[Cutoff, ...]:
    """Join what both halves found; the figures stay those of the better test."""
    merged: list[Cutoff] = []
    for cutoff in sorted(confirmed, key=lambda c: (c.p_value, -c.z)):
        twin = next(
            (
                i
                for i, m in enumerate(merged)
                if abs(m.cutoff_s - cutoff.cutoff_s) < window
            ),
            None,
        )
        if twin is None:
            merged.append(cutoff)
        elif merged[twin].halves == 1:
            merged[twin] = replace(
                merged[twin],
                halves=2,
                tested_on=merged[twin].tested_on + cutoff.tested_on,
                excess=merged[twin].excess + cutoff.excess,
            )
    return tuple(merged)


def _scan(counts: IntArray, cutoffs: IntArray, search: _Search) -> Bunching:
    """Measure the excess below each of many cutoffs of one histogram."""
    edges = np.arange(-search.before, search.after + 1, search.width)
    places = np.clip(cutoffs[:, None] + edges, _SHORTEST, len(counts))
    calls = np.diff(_sums(counts * search.free)[places], axis=1)
    room = np.diff(_sums(search.free.astype(np.int64))[places], axis=1)
    held = cutoffs - _SHORTEST >= (1 + _SUPPORT) * search.window
    room = room * held[:, None]
    sums = _sums(counts)
    parts = np.array([_part(int(cutoff), search) for cutoff in cutoffs])
    beyond = (sums[-1] - sums[cutoffs]) * parts
    return measure_bins(
        calls,
        room.astype(np.float64),
        edges,
        window=search.window,
        reach=180,
        degree=3,
        beyond=beyond,
        minimum=(search.minimum, search.min_share * beyond),
    )


def _part(cutoff: int, search: _Search) -> float:
    """Give the share of the calls in the window that lies on free seconds."""
    return used_share(search.heaps, search.free, cutoff - search.window, cutoff)


def _sums(values: IntArray) -> IntArray:
    """Sum from the start, with a leading 0, so that differences are sums of ranges."""
    return np.concatenate([[0], np.cumsum(values)])


def _between(sums: IntArray, start: IntArray, stop: IntArray) -> IntArray:
    last = len(sums) - 1
    return np.asarray(sums[np.clip(stop, 0, last)] - sums[np.clip(start, 0, last)])
