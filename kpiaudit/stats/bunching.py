"""Excess mass below or above a cutoff, against a fitted counterfactual."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kpiaudit.stats.curves import Bins, Curves, fit_curves, pick, put, select, take
from kpiaudit.stats.heaping import Heap, free_seconds, rounding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

_MIN_CALLS = 50  # in the fitted bins: fewer don't carry a curve
_MIN_EXPECTED = 3.0  # in the window
_MAX_DEGREE = 13
_EVIDENT = 3.0  # standard errors from which the missing mass above is modelled too
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, kw_only=True)
class Bunching:
    """Excess mass at a cutoff, of one or many histograms.

    Arrays have shape (n_histograms,) unless said otherwise; nan where the histogram
    can't be tested. Seconds on which rounded durations pile up are left out of all
    counts (see `kpiaudit.stats.heaping`).

    Args:
        observed: Calls in the window at the cutoff.
        expected: Calls the counterfactual puts there.
        excess: Observed less expected.
        low: Lower end of the 95 % interval of `excess`.
        high: Upper end of it.
        z: Excess over the tested minimum, in standard errors.
        p_value: One-sided, of an excess no larger than that minimum; nan = untestable.
        share: Excess as a share of the calls that would have passed the cutoff (those
            that did and the excess), in [0, 1]; 0 without an excess.
        relative: Excess as a share of the expected calls in the window.
        dispersion: Factor on the Poisson variance, at least 1; large = poor fit.
        n: Calls in the bins used.
        edges: Lower ends of the bins and the upper end of the last, (n_bins + 1,).
        counts: Calls per bin, shape (n_histograms, n_bins).
        counterfactual: What the curve expects in each bin, same shape.
    """

    observed: FloatArray
    expected: FloatArray
    excess: FloatArray
    low: FloatArray
    high: FloatArray
    z: FloatArray
    p_value: FloatArray
    share: FloatArray
    relative: FloatArray
    dispersion: FloatArray
    n: IntArray
    edges: IntArray
    counts: IntArray
    counterfactual: FloatArray

    @property
    def testable(self) -> BoolArray:
        """Say which histograms had enough calls, shape (n_histograms,)."""
        return ~np.isnan(self.p_value)


@dataclass(frozen=True, kw_only=True)
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
    return _measure(table, cutoff, frame, free=free, minimum=(min_relative, min_excess))


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
) -> Bunching:
    edges = _edges(frame, cutoff, table.shape[1])
    used = table[:, edges[0] : edges[-1]] * free[edges[0] : edges[-1]]
    binned = used.reshape(len(table), len(edges) - 1, frame.width).sum(axis=2)
    exposure = free[edges[0] : edges[-1]].reshape(-1, frame.width).sum(axis=1)
    beyond = (table[:, cutoff:] * free[cutoff:]).sum(axis=1)
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


def measure_bins(  # noqa: PLR0913  # both callers lay out bins differently
    binned: IntArray,
    exposure: FloatArray,
    edges: IntArray,
    *,
    window: int,
    reach: int,
    degree: int,
    beyond: IntArray,
    minimum: tuple[float, float],
    cutoff: int = 0,
) -> Bunching:
    """Measure the excess in [-window, 0) of binned histograms.

    Args:
        binned: Calls per bin, shape (n_histograms, n_bins).
        exposure: Free seconds per bin, same shape; 0 leaves the bin out.
        edges: Ends of the bins relative to the cutoff, shape (n_bins + 1,).
        window: Width below the cutoff.
        reach: Farthest value where calls may be missing.
        degree: Lowest degree tried.
        beyond: All calls from the cutoff on, shape (n_histograms,).
        minimum: Excess tested against: share of the counterfactual, and calls.
        cutoff: Added to the edges of the result.

    Returns:
        One entry per histogram.
    """
    left = edges[:-1]
    in_window = (left >= -window) & (left < 0)
    bins = Bins(
        counts=binned.astype(np.float64),
        exposure=exposure,
        fitted=np.broadcast_to(~in_window, binned.shape),
        window=in_window,
        block=max(1, int(in_window.sum())),
    )
    degrees = range(degree, max(degree, _MAX_DEGREE) + 1)
    curves = fit_curves(bins, degrees=degrees)
    z, p_value = _test(bins, curves, minimum)
    evident = np.flatnonzero(z > _EVIDENT)
    if len(evident):
        # the test so far is right when nobody moves calls; the size needs the rest
        part = select(bins, evident)
        chosen = _with_missing(
            part, take(curves, evident), left, reach, degrees, beyond[evident]
        )
        curves = put(curves, chosen, evident)
        z[evident], p_value[evident] = _test(part, chosen, minimum)
    return _answer(
        bins, curves, beyond=beyond, z=z, p_value=p_value, edges=edges + cutoff
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


def _with_missing(
    bins: Bins,
    plain: Curves,
    left: IntArray,
    reach: int,
    degrees: range,
    beyond: IntArray,
) -> Curves:
    """Fit again with calls missing above the cutoff.

    Three shapes compete: the calls of the excess come evenly from all those beyond, a
    step of any height, and nothing said up to `reach`.
    """
    above = left >= 0
    near = above & (left < reach)
    even = plain
    observed = (bins.counts * bins.window).sum(axis=1)
    for _ in range(3):
        moved = np.maximum(observed - even.window, 0.0)
        level = np.where(above, (beyond / np.maximum(moved + beyond, 1))[:, None], 1.0)
        even = fit_curves(replace(bins, level=np.maximum(level, 1e-3)), degrees=degrees)
    step = above[:, None].astype(np.float64)
    fits = [even, fit_curves(bins, extra=step, degrees=degrees)]
    if (above & ~near).sum() > 3:
        hole = replace(bins, fitted=bins.fitted & ~near)
        used = int((near & (bins.exposure > 0).any(axis=0)).sum())
        fits.append(fit_curves(hole, penalty=used, degrees=degrees))
    return pick(fits)


def _test(
    bins: Bins, curves: Curves, minimum: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """Test the excess against its minimum; nan where there is too little to say.

    The count in the window is Poisson around a mean known up to a gamma variance, so
    negative binomial; over-dispersion divides both (quasi-likelihood). Half of the
    probability of the observed count belongs to the tail (mid-p).
    """
    observed = (bins.counts * bins.window).sum(axis=1)
    used = bins.fitted & (bins.exposure > 0)
    testable = (bins.counts * used).sum(axis=1) >= _MIN_CALLS
    testable &= curves.window >= _MIN_EXPECTED
    factor = np.maximum(1 + minimum[0], 1 + minimum[1] / np.maximum(curves.window, 1.0))
    tested = curves.window * factor
    variance = curves.variance * factor**2
    sd = np.sqrt(curves.dispersion * (tested + variance))
    z = np.where(testable, (observed - tested) / np.maximum(sd, 1e-9), np.nan)
    phi = curves.dispersion
    tested = np.where(testable, tested, 1.0) / phi
    shape = tested**2 * phi / np.maximum(np.where(testable, variance, 1.0), 1e-6)
    success = tested / (tested + shape)
    tails = [_tail(observed / phi + more, shape, success) for more in (0.0, 1.0)]
    p_value = np.where(testable, (tails[0] + tails[1]) / 2, np.nan)
    return np.asarray(z), np.asarray(p_value)


def _tail(count: FloatArray, shape: FloatArray, success: FloatArray) -> FloatArray:
    """Give P(X >= count) of a negative binomial, also between whole counts."""
    inside = special.betainc(np.maximum(count, 1e-12), shape, success)
    return np.asarray(np.where(count > 0, inside, 1.0))


def _answer(
    bins: Bins,
    curves: Curves,
    *,
    beyond: IntArray,
    z: FloatArray,
    p_value: FloatArray,
    edges: IntArray,
) -> Bunching:
    blank = np.where(np.isnan(p_value), np.nan, 0.0)
    observed = (bins.counts * bins.window).sum(axis=1)
    expected = curves.window + blank
    excess = observed - expected
    spread = np.maximum(observed, curves.window) + curves.variance
    half = _NORMAL_95 * np.sqrt(curves.dispersion * spread)
    positive = np.maximum(excess, 0.0)
    return Bunching(
        observed=observed + blank,
        expected=expected,
        excess=excess,
        low=excess - half,
        high=excess + half,
        z=z,
        p_value=p_value,
        share=positive / np.maximum(positive + beyond, 1.0),
        relative=excess / np.maximum(expected, 1e-9),
        dispersion=curves.dispersion + blank,
        n=np.asarray((bins.counts * (bins.exposure > 0)).sum(axis=1), dtype=np.int64),
        edges=edges,
        counts=bins.counts.astype(np.int64),
        counterfactual=curves.mean,
    )
