"""Queues and the whole floor of duration-cap, against a smooth curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy as sp

from kpiaudit.detectors._duration_cap_agents import (
    GUARD,
    at_least,
    guarded,
    more_often,
    of_cap,
    summed,
)
from kpiaudit.detectors._duration_cap_cuts import LONGEST_S, flattened
from kpiaudit.detectors._duration_cap_find import bin_width, histogram
from kpiaudit.frozen import frozen
from kpiaudit.stats.bunching import excess_below
from kpiaudit.stats.curves import Bins, fit_curves
from kpiaudit.stats.excess import Bunching
from kpiaudit.stats.outcome import Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kpiaudit.detectors._duration_cap_find import Cap, Layout, Windows
    from kpiaudit.detectors.base import Found, Summaries, Summary
    from kpiaudit.stats.outcome import FloatArray, IntArray

_HUMP = 2.0
"""A smooth hump leaves at least half as much above the cutoff as below it."""

_MEDIAN_EXCESS = 0.05  # of the median agent, for a finding about everybody
_LEVEL = 0.05  # of the questions about the median agent and about a change
_STANDS_OUT = 0.01  # p-value from which an agent's customers don't count for the floor
_MIN_REPEATS = 30  # calls near the cutoff with a known customer
_MIN_AGENTS = 5
_MIN_CURVE = 200  # calls below the window, to continue a curve from there
_BEFORE, _ROOM = 150, 60  # seconds of the curve below, and needed above the cutoff


@frozen
class Pile:
    """What a curve says about a queue or the floor at one cutoff.

    Args:
        ids: `all` first, then queues.
        outcome: In the order of `ids`; `extra` holds `relative`, `past_share` and the
            p-values of the single questions.
        edges: Ends of the bins in seconds, shape (n_bins + 1,).
        counts: Calls per bin, shape (n_subjects, n_bins).
        curve: Expected ones, same shape.
    """

    ids: NDArray[Any]
    outcome: Outcome
    edges: IntArray
    counts: IntArray
    curve: FloatArray


@frozen
class _Place:
    """Where the curve is drawn: windows and bins of one cutoff on some sites."""

    layout: Layout
    at: Windows
    width: int
    window: int

    @property
    def cut(self) -> bool:
        """Say whether the platform ends calls around the cutoff."""
        high = self.at.high
        return any(high - 3 <= cut < high + _ROOM for cut in self.layout.cuts)


def piles(
    summaries: Summaries,
    found: Found,
    cap: Cap,
    agents: tuple[NDArray[Any], FloatArray],
    *,
    window: int,
    min_relative: float,
) -> Pile | None:
    """Test the floor and each queue against a smooth curve through its durations.

    Three questions, all of which have to be answered: do calls pile up below the
    cutoff, is the edge sharp (a hump lies on both sides), and does the median agent
    show it. Where customers are known, a fourth: do those call again who were not with
    an agent that stands out alone. With a period before, a fifth: is it new.

    Args:
        summaries: What `summarize` gave, collected.
        found: What the first stage found.
        cap: The cutoff.
        agents: Agents' ids and p-values at this cutoff.
        window: Seconds below the cutoff.
        min_relative: Pile-up that does not count, as a share of the usual calls.

    Returns:
        None where the cutoff leaves no room for a curve.
    """
    layout: Layout = found["layouts"][0]
    at = layout.windows(cap.halves[0][1], window)
    width = bin_width(window, layout.unit)
    reach = -(-(at.high - at.low) // width) * width
    if at.low < 2 * reach or at.high + _ROOM + 2 * reach >= LONGEST_S:
        return None
    place = _Place(layout=layout, at=at, width=width, window=reach)
    names = found["seconds"].coded("queue")[0]
    ids = np.array(["all", *names], dtype=object)
    counts = _histograms(found["seconds"], ids, cap, layout)
    shape = _curve(counts, place, min_relative)
    sharp = sharpness(counts, place, min_relative)
    median = np.array(
        [_median(summaries, cap, i, shape, at, ids) for i in range(len(ids))]
    )
    again = _repeats(summaries, cap, names, agents)
    change = _change(found, ids, cap, place, shape)
    # A few calls may pass the test of a count while their excess could be nil.
    nil = np.where(shape.low > 0.0, 0.0, 1.0)
    p_value = guarded(np.fmax(shape.p_value, sharp), nil, _LEVEL)
    p_value = guarded(p_value, median, _LEVEL)
    p_value = guarded(p_value, again, GUARD)
    p_value = guarded(p_value, change, _LEVEL)
    extra = {
        "relative": shape.relative,
        "past_share": shape.share,
        "p_pile": shape.p_value,
        "p_sharp": sharp,
        "p_median": median,
        "p_again": again,
        "p_change": change,
        "cap_s": np.full(len(ids), float(cap.cap_s)),
    }
    return Pile(
        ids=ids,
        outcome=_outcome(shape, p_value, extra),
        edges=shape.edges,
        counts=shape.counts,
        curve=shape.counterfactual,
    )


def _outcome(
    shape: Bunching, p_value: FloatArray, extra: dict[str, FloatArray]
) -> Outcome:
    usual = np.maximum(shape.expected, 1e-9)
    return Outcome(
        trials=shape.n.astype(np.float64),
        observed=shape.observed,
        expected=shape.expected,
        p_value=np.where(np.isnan(shape.p_value), np.nan, p_value),
        effect=shape.excess,
        low=shape.low,
        high=shape.high,
        ratio=shape.observed / usual,
        ratio_low=1 + shape.low / usual,
        ratio_high=1 + shape.high / usual,
        extra=extra,
    )


def _histograms(
    seconds: Summary, ids: NDArray[Any], cap: Cap, layout: Layout
) -> IntArray:
    """Return calls per second of the floor and of each queue, (n_ids, n_seconds)."""
    sites, site = seconds.coded("site_id")
    mine = seconds.where(np.isin(sites, layout.sites)[site])
    return np.array(
        [
            aligned(mine if i == 0 else mine.having("queue", str(name)), cap, layout)
            for i, name in enumerate(ids)
        ]
    )


def aligned(rows: Summary, cap: Cap, layout: Layout) -> IntArray:
    """Lay the halves of the days so that their cutoffs coincide, calls per second."""
    reference = cap.halves[0][1]
    total = np.zeros(LONGEST_S + 1)
    for parity, cutoff in cap.halves:
        column = {None: None, 0: "even", 1: "odd"}[parity]
        counts = flattened(histogram(rows, column), layout.cuts)
        total += np.roll(counts, reference - cutoff)
    # the last entry holds all longer calls
    return np.round(total[:-120]).astype(np.int64)


def _curve(counts: IntArray, place: _Place, min_relative: float) -> Bunching:
    """Measure the pile-up; where the platform cuts, from the curve below alone."""
    high = place.at.high
    if not place.cut:
        return excess_below(
            counts,
            high,
            window=place.window,
            bin_width=place.width,
            min_relative=min_relative,
            heaps=place.layout.heaps,
        )
    return _curve_below(counts, place, min_relative)


def _curve_below(counts: IntArray, place: _Place, min_relative: float) -> Bunching:
    """Continue the curve from below the window where nothing lies above it."""
    high, width = place.at.high, place.width
    start = max(high % width, high - _BEFORE // width * width)
    edges = np.arange(start, high + 1, width)
    parts = (len(edges) - 1, width)
    free = np.resize(place.layout.free, counts.shape[1])
    calls = (counts * free)[:, start:high].reshape(len(counts), *parts).sum(axis=2)
    room = free[start:high].reshape(parts).sum(axis=1).astype(np.float64)
    near = edges[:-1] >= high - place.window
    bins = Bins(
        counts=calls.astype(np.float64),
        exposure=np.broadcast_to(room, calls.shape),
        fitted=np.broadcast_to(~near, calls.shape),
        window=near,
        block=int(near.sum()),
    )
    curves = fit_curves(bins, degrees=range(1, 4))
    seen, usual = calls[:, near].sum(axis=1), curves.window
    tested = usual * (1 + min_relative)
    spread = curves.variance * (1 + min_relative) ** 2
    z = (seen - tested) / np.sqrt(curves.dispersion * (tested + spread) + 1e-9)
    half = 1.96 * np.sqrt(curves.dispersion * (seen + curves.variance))
    enough = (calls[:, ~near].sum(axis=1) >= _MIN_CURVE) & (usual >= 3)
    blank = np.where(enough, 0.0, np.nan)
    return Bunching(
        observed=seen + blank,
        expected=usual + blank,
        excess=seen - usual + blank,
        low=seen - usual - half + blank,
        high=seen - usual + half + blank,
        z=z + blank,
        p_value=sp.special.ndtr(-z) + blank,
        share=np.full(len(calls), np.nan),
        relative=(seen - usual) / np.maximum(usual, 1e-9) + blank,
        dispersion=curves.dispersion + blank,
        n=calls.sum(axis=1),
        edges=edges,
        counts=calls,
        counterfactual=curves.mean,
    )


def sharpness(counts: IntArray, place: _Place, min_relative: float) -> FloatArray:
    """Ask whether the pile stops at the cutoff, as a hump of calls would not.

    The excess below the cutoff less twice the excess above it is compared with the
    pile-up that does not count. Calls that were cut are missing above, honest
    humps and reminders lie on both sides.

    Args:
        counts: Calls per second, shape (n_histograms, n_seconds).
        place: Where the cutoff lies.
        min_relative: Pile-up that does not count, as a share of the usual calls.

    Returns:
        p-values, nan where the platform cuts calls and nothing lies above.
    """
    if place.cut:
        return np.full(len(counts), np.nan)
    window, high = place.window, place.at.high
    both = excess_below(
        counts,
        high + window,
        window=2 * window,
        bin_width=place.width,
        heaps=place.layout.heaps,
    )
    left = both.edges[:-1]
    near, over = (
        (left >= start) & (left < start + window) for start in (high - window, high)
    )
    seen = [both.counts[:, mask].sum(axis=1) for mask in (near, over)]
    usual = [both.counterfactual[:, mask].sum(axis=1) for mask in (near, over)]
    contrast = seen[0] - usual[0] - _HUMP * (seen[1] - usual[1])
    variance = both.dispersion * (usual[0] * (1 + min_relative) + _HUMP**2 * usual[1])
    fit = 0.25 * ((both.high - both.low) / 3.92) ** 2
    z = (contrast - min_relative * usual[0]) / np.sqrt(np.maximum(variance + fit, 1.0))
    return np.asarray(np.where(np.isnan(both.p_value), 1.0, sp.special.ndtr(-z)))


def _median(
    summaries: Summaries,
    cap: Cap,
    number: int,
    shape: Bunching,
    at: Windows,
    ids: NDArray[Any],
) -> float:
    """Ask whether most agents have more calls near the cutoff than the curve gives.

    Returns:
        P(so many agents above their expected number) if the median agent had 5 % more
        than expected at most; nan with fewer than five agents.
    """
    rows = of_cap(summaries["agents"], cap)
    mine = rows.ints("period") == 1
    if number:
        mine &= rows.same("queue", str(ids[number]))
    rows = rows.where(mine)
    agent, index = rows.coded("agent_id")
    near = summed(index, rows.floats("near"), len(agent))
    below = summed(index, rows.floats("below"), len(agent))
    enough = near + below >= 10
    if enough.sum() < _MIN_AGENTS:
        return float("nan")
    left = shape.edges[:-1]
    curve = shape.counterfactual[number]
    usual = curve[(left >= at.low) & (left < at.high)].sum()
    far = curve[(left >= at.low - 3 * at.width) & (left < at.low)].sum()
    odds = usual / max(far, 1e-9) * (1 + _MEDIAN_EXCESS)
    above = near[enough] > odds * below[enough]
    n, k = float(enough.sum()), float(above.sum())
    return float(at_least(np.array([k]), np.array([n]), 0.5)[0])


def _repeats(
    summaries: Summaries,
    cap: Cap,
    queues: NDArray[Any],
    agents: tuple[NDArray[Any], FloatArray],
) -> FloatArray:
    """Ask whether customers call again after calls near the cutoff.

    Agents who stand out by themselves are left out: a few of them are no floor.

    Returns:
        p-values of a rate at most 1.3 times that after the other calls around it, of
        the floor and of each queue; nan where too few customers are known.
    """
    if "repeats" not in summaries:
        return np.full(1 + len(queues), np.nan)
    rows = of_cap(summaries["repeats"], cap)
    ids, p_value = agents
    alone = ids[np.nan_to_num(p_value, nan=1.0) <= _STANDS_OUT].astype(str)
    names, agent = rows.coded("agent_id")
    rows = rows.where(~np.isin(names, alone)[agent])

    def one(mine: Summary) -> float:
        counts = ("near_again", "near", "rest_again", "rest")
        k, near, k_rest, rest = (float(mine.ints(name).sum()) for name in counts)
        if min(near, rest) < _MIN_REPEATS:
            return float("nan")
        return more_often(k, near, k_rest, rest)

    some = [rows, *(rows.having("queue", str(queue)) for queue in queues)]
    return np.array([one(mine) for mine in some])


def _change(
    found: Found, ids: NDArray[Any], cap: Cap, place: _Place, after: Bunching
) -> FloatArray:
    """Ask whether the pile-up is larger than before the cap, scaled to as many calls.

    Returns:
        One-sided p-values, nan without a period before or with too few calls in it.

    Source:
        Difference in bunching: Brown (2013), Journal of Public Economics 105, 143-155.
    """
    before = found.get("before")
    if before is None or not len(before):
        return np.full(len(ids), np.nan)
    old = _curve(_histograms(before, ids, cap, place.layout), place, 0.0)
    scale = after.expected / np.maximum(old.expected, 1e-9)
    half = [(b.high - b.low) / 3.92 for b in (after, old)]
    error = np.sqrt(half[0] ** 2 + (scale * half[1]) ** 2)
    z = (after.excess - scale * old.excess) / np.maximum(error, 1e-9)
    return np.where(np.isnan(old.p_value), np.nan, sp.special.ndtr(-z))
