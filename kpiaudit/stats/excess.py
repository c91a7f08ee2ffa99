"""The test of an excess in binned histograms, shared by known and searched cutoffs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen
from kpiaudit.stats.curves import Bins, Curves, fit_curves, pick, put, select, take

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

_MIN_CALLS = 50  # in the fitted bins: fewer don't carry a curve
_MIN_BINS = 3  # on each side of the window: no curve is laid from one side
_MIN_EXPECTED = 3.0  # in the window
_MAX_DEGREE = 13
_EVIDENT = 3.0  # standard errors from which the missing mass above is modelled too
_NORMAL_95 = 1.959963984540054


@frozen
class Bunching:
    """Excess mass at a cutoff, of one or many histograms.

    Arrays have shape (n_histograms,) unless said otherwise; nan where the histogram
    can't be tested. The curve and the test leave out seconds on which rounded durations
    pile up (see `kpiaudit.stats.heaping`); `observed` to `high` stand for all calls.

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


def measure_bins(  # noqa: PLR0913  # both callers lay out bins differently
    binned: IntArray,
    exposure: FloatArray,
    edges: IntArray,
    *,
    window: int,
    reach: int,
    degree: int,
    beyond: FloatArray,
    minimum: tuple[float, float | FloatArray],
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
        beyond: Calls from the cutoff on, shape (n_histograms,), less the share that
            falls on seconds left out.
        minimum: Excess tested against: share of the counterfactual, and calls, one
            number or shape (n_histograms,).
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
    calls = np.broadcast_to(np.asarray(minimum[1], dtype=np.float64), len(binned))
    z, p_value = _test(bins, curves, minimum[0], calls)
    evident = np.flatnonzero(z > _EVIDENT)
    if len(evident):
        # the test so far is right when nobody moves calls; the size needs the rest
        part = select(bins, evident)
        chosen = _with_missing(
            part, take(curves, evident), left, reach, degrees, beyond[evident]
        )
        curves = put(curves, chosen, evident)
        z[evident], p_value[evident] = _test(part, chosen, minimum[0], calls[evident])
    return _answer(
        bins, curves, beyond=beyond, z=z, p_value=p_value, edges=edges + cutoff
    )


def of_all_calls(result: Bunching, observed: IntArray, part: float) -> Bunching:
    """Extend what was measured on the free seconds to all calls of the window.

    Args:
        result: Measured on the free seconds.
        observed: All calls in the window, shape (n_histograms,).
        part: Share of them that lies on free seconds, in [0, 1].

    Returns:
        The same test; excess and interval stand for all calls, and what rounding alone
        puts into the window is expected.
    """
    if part >= 1 or part <= 0:
        return result
    excess = result.excess / part
    seen = observed + 0.0 * excess  # nan stays nan
    return replace(
        result,
        observed=seen,
        expected=seen - excess,
        excess=excess,
        low=result.low / part,
        high=result.high / part,
    )


def _with_missing(
    bins: Bins,
    plain: Curves,
    left: IntArray,
    reach: int,
    degrees: range,
    beyond: FloatArray,
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
    bins: Bins, curves: Curves, min_relative: float, min_excess: FloatArray
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
    below = np.arange(used.shape[1]) < np.argmax(bins.window)
    sides = ((used & below).sum(axis=1), (used & ~below).sum(axis=1))
    testable &= np.minimum(*sides) >= _MIN_BINS
    calls = min_excess / np.maximum(curves.window, 1.0)
    factor = 1 + np.maximum(min_relative, calls)
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
    inside = sp.special.betainc(np.maximum(count, 1e-12), shape, success)
    return np.asarray(np.where(count > 0, inside, 1.0))


def _answer(
    bins: Bins,
    curves: Curves,
    *,
    beyond: FloatArray,
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
