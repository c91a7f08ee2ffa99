"""Excess mass below or above a cutoff, against a fitted counterfactual."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats.excess import Bunching as Bunching  # noqa: PLC0414  # for callers
from kpiaudit.stats.excess import measure_bins, of_all_calls
from kpiaudit.stats.heaping import Heap, free_seconds, rounding, used_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.stats.outcome import BoolArray, IntArray


@frozen
class _Frame:
    """Where the window and the curve lie, in values relative to the cutoff."""

    window: int
    width: int
    before: int
    after: int
    reach: int
    degree: int


def excess_below(  # noqa: PLR0913  # a design choice each, all with defaults
    counts: IntArray,
    cutoff: int,
    *,
    window: int = 15,
    bin_width: int = 5,
    before: int = 150,
    after: int = 300,
    reach: int = 180,
    degree: int = 3,
    min_relative: float = 0.0,
    min_excess: float = 0.0,
    heaps: Sequence[Heap] | None = None,
    leave_out: Sequence[tuple[int, int]] = (),
) -> Bunching:
    """Measure the calls that end just below a cutoff beyond what a smooth curve gives.

    The curve is a log-polynomial through all bins but the window; Schwarz's criterion
    picks its degree for each histogram. A natural peak is smooth and the curve follows
    it. Only where the excess is evident are the calls missing above the cutoff modelled
    too (nothing, a lasting step, or bins up to `reach` left out, by the same
    criterion), and size, interval and p-value come from that fit.

    Args:
        counts: Calls per value (second), shape (n_histograms, n_values) or (n_values,).
        cutoff: The value; the window is [cutoff - window, cutoff).
        window: Width, a whole multiple of `bin_width`.
        bin_width: In values; whole multiple of the recording unit.
        before: Values below the cutoff used, cut at the histogram's end.
        after: Values from the cutoff on used, likewise.
        reach: Farthest value from the cutoff on where calls may be missing.
        degree: Lowest degree tried; up to 13 are.
        min_relative: Excess tested against, as a share of the counterfactual.
        min_excess: Excess tested against, in calls; the larger one counts.
        heaps: Rounding of the durations; None finds it in the sum of the histograms,
            () says that every value is in use alike.
        leave_out: Ranges [from, to) not to be used, such as those of other cutoffs.

    Returns:
        One entry per histogram.

    Raises:
        ValueError: If window or ranges are no positive multiples of the bin width.

    Source:
        Chetty, Friedman, Olsen & Pistaferri (2011), Quarterly Journal of Economics
        126(2), 749-804; Kleven & Waseem (2013), QJE 128(2), 669-723. Poisson weights
        and the choice of degree are this module's, see benchmarks.
    """
    table = np.atleast_2d(np.asarray(counts, dtype=np.int64))
    found = rounding(table.sum(axis=0)) if heaps is None else heaps
    free = np.resize(free_seconds(found), table.shape[1])
    for start, stop in leave_out:
        free[start:stop] = False
    frame = _Frame(
        window=window,
        width=bin_width,
        before=before,
        after=after,
        reach=reach,
        degree=degree,
    )
    part = used_share(found, free, max(cutoff - window, 0), cutoff)
    minimum = (min_relative, min_excess * part)
    result = _measure(table, cutoff, frame, free=free, minimum=minimum, part=part)
    return of_all_calls(result, table[:, cutoff - window : cutoff].sum(axis=1), part)


def excess_above(  # noqa: PLR0913  # mirrors excess_below
    counts: IntArray,
    cutoff: int,
    *,
    window: int = 3,
    bin_width: int = 1,
    before: int = 20,
    after: int = 40,
    reach: int = 10,
    degree: int = 3,
    min_relative: float = 0.0,
    min_excess: float = 0.0,
    leave_out: Sequence[tuple[int, int]] = (),
) -> Bunching:
    """Measure the values at or just above a cutoff beyond what a smooth curve gives.

    The mirror image of `excess_below`, for pass marks and targets: the window is
    [cutoff, cutoff + window), and values are missing below. `before` and `after` keep
    their meaning: values below the cutoff, and from it on. `share` is then the excess
    as a share of those that would have stayed below.

    Args:
        counts: Subjects per value, shape (n_histograms, n_values) or (n_values,).
        cutoff: The value.
        window: Width, a whole multiple of `bin_width`.
        bin_width: In values.
        before: Values below the cutoff used, cut at the histogram's end.
        after: Values from the cutoff on used, likewise.
        reach: Farthest value below the cutoff where subjects may be missing.
        degree: Lowest degree tried; up to 13 are.
        min_relative: Excess tested against, as a share of the counterfactual.
        min_excess: Excess tested against, in subjects; the larger one counts.
        leave_out: Ranges [from, to) not to be used, such as those of other pass marks.

    Returns:
        One entry per histogram.

    Raises:
        ValueError: If window or ranges are no positive multiples of the bin width.

    Source:
        Dee, Dobbie, Jacob & Rockoff (2019), American Economic Journal: Applied
        Economics 11(3), 382-423 (exam scores that pile up at the pass mark).
    """
    table = np.atleast_2d(np.asarray(counts, dtype=np.int64))[:, ::-1]
    frame = _Frame(
        window=window,
        width=bin_width,
        before=after,
        after=before,
        reach=reach,
        degree=degree,
    )
    n_values = table.shape[1]
    free = np.ones(n_values, dtype=np.bool_)
    for start, stop in leave_out:
        free[n_values - stop : n_values - start] = False
    found = _measure(
        table, n_values - cutoff, frame, free=free, minimum=(min_relative, min_excess)
    )
    return replace(
        found,
        edges=n_values - found.edges[::-1],
        counts=found.counts[:, ::-1],
        counterfactual=found.counterfactual[:, ::-1],
    )


def _measure(
    table: IntArray,
    cutoff: int,
    frame: _Frame,
    *,
    free: BoolArray,
    minimum: tuple[float, float],
    part: float = 1.0,
) -> Bunching:
    """Measure on the free values, which hold `part` of the calls in the window."""
    edges = _edges(frame, cutoff, table.shape[1])
    used = table[:, edges[0] : edges[-1]] * free[edges[0] : edges[-1]]
    binned = used.reshape(len(table), len(edges) - 1, frame.width).sum(axis=2)
    exposure = free[edges[0] : edges[-1]].reshape(-1, frame.width).sum(axis=1)
    beyond = table[:, cutoff:].sum(axis=1) * part
    return measure_bins(
        binned,
        np.broadcast_to(exposure.astype(np.float64), binned.shape),
        edges - cutoff,
        window=frame.window,
        reach=frame.reach,
        degree=frame.degree,
        beyond=beyond,
        minimum=minimum,
        cutoff=cutoff,
    )


def _edges(frame: _Frame, cutoff: int, n_values: int) -> IntArray:
    """Lay bins out from the cutoff in both directions, inside the histogram."""
    lengths = (frame.window, frame.before, frame.after, frame.reach)
    if frame.width < 1 or frame.window < 1 or min(lengths) < 0:
        raise ValueError("window and bin_width must be positive, ranges not negative")
    if frame.window % frame.width:
        raise ValueError(
            f"window={frame.window} is no multiple of bin_width={frame.width}"
        )
    below = min(frame.before, cutoff) // frame.width
    above = min(frame.after, n_values - cutoff) // frame.width
    if below * frame.width < frame.window or above < 1:
        raise ValueError(
            f"cutoff={cutoff} leaves no room for window={frame.window} "
            f"in a histogram of {n_values} values"
        )
    return np.arange(-below, above + 1, dtype=np.int64) * frame.width + cutoff
