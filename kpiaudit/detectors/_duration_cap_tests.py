"""The tests of duration-cap: agents against peers, queues and floor against a curve."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betainc, expit, ndtr

from kpiaudit.detectors._duration_cap_find import (
    LONGEST_S,
    bin_width,
    flattened,
    histogram,
)
from kpiaudit.stats import peers
from kpiaudit.stats.bunching import excess_below
from kpiaudit.stats.dispersion import day_dispersion
from kpiaudit.stats.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kpiaudit.detectors._duration_cap_find import Cap, Layout
    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import FloatArray, IntArray

GUARD = 0.01
"""A second question has to be answered at this level; the first gives the p-value."""

_HUMP = 2.0
"""A smooth hump leaves at least half as much above the cutoff as below it."""
_MEDIAN_EXCESS = 0.05  # of the median agent, for a finding about everybody
_MEDIAN_LEVEL = 0.05
_EACH = 0.1  # both questions have to be answered at this level to be combined
_MIN_KNOWN = 10  # of an agent's customers, near the cutoff and around it
_MIN_REPEATS = 30  # calls near the cutoff with a known customer
_REPEAT_RATIO = 1.3
_FIELDS = (
    "trials",
    "observed",
    "expected",
    "effect",
    "low",
    "high",
    "ratio",
    "ratio_low",
    "ratio_high",
)


def all_agents(summaries: Summaries) -> NDArray[Any]:
    """Return the ids of all agents with answered calls, sorted, (n_agents,)."""
    return np.unique(summaries["totals"]["agent_id"].astype(str)).astype(object)


def index_of(values: NDArray[Any], among: NDArray[Any]) -> IntArray:
    """Return the positions of texts in a sorted array that holds them all."""
    return np.searchsorted(among.astype(str), values.astype(str)).astype(np.int64)


def agents(
    summaries: Summaries, cap: Cap, *, min_excess: float, min_days: int
) -> Outcome:
    """Test every agent's calls near one cutoff against peers, and against the agent.

    The trials are the agent's calls below, near and over the cutoff: displaced calls
    leave only the smallest of the three, so the excess is hardly understated. What is
    left of that is put right by the factor 1 / (1 - rate).

    Args:
        summaries: What `summarize` gave, collected.
        cap: The cutoff.
        min_excess: Excess calls that don't count.
        min_days: Fewest days with calls around the cutoff.
    """
    ids = all_agents(summaries)
    rows = _of_cap(summaries["agents"], cap)
    later = rows.where(rows.ints("period") == 1)
    subject = index_of(later["agent_id"], ids)
    trials = later.ints("below") + later.ints("near") + later.ints("over")
    days, dispersion = _days(summaries, cap, ids)
    base = later.ints("near").sum() / max(trials.sum(), 1)
    raw = peers.excess(
        subject,
        stratum(later),
        later.ints("near"),
        trials,
        n_subjects=len(ids),
        dispersion=dispersion,
        min_excess=min_excess * (1 - base),
    )
    zones = {
        zone: _summed(subject, later.floats(zone), len(ids))
        for zone in ("below", "near", "over", "beyond")
    }
    again = own_repeats(summaries, cap, ids)
    p_value = guarded(combined(raw.p_value, again), own_drop(**zones), GUARD)
    before = rows.where(rows.ints("period") == 0)
    if len(before):
        p_value = guarded(p_value, own_change(zones, before, ids, dispersion), 0.05)
    if days is not None:
        p_value = np.where(days < min_days, np.nan, p_value)
    facts = zones | {
        "cap_s": np.full(len(ids), float(cap.cap_s)),
        "p_peers": raw.p_value,
        "p_again": again,
    }
    if days is not None:
        facts["days"] = days
    return _rescaled(replace(raw, p_value=p_value, extra=facts))


def stratum(rows: Summary) -> IntArray:
    """Number the combinations of queue and layout, shape (n_rows,)."""
    names = np.char.add(
        rows["queue"].astype(str), np.char.add("\x1f", rows["layout"].astype(str))
    )
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def guarded(p_value: FloatArray, second: FloatArray, level: float) -> FloatArray:
    """Keep p-values whose second question is answered; raise the others.

    p-values only ever grow, so they stay valid whatever the second question is worth.

    Args:
        p_value: Of the first question, nan where untestable.
        second: p-values of the second; nan where it can't be asked.
        level: From here on the second one counts.
    """
    worse = np.fmax(p_value, np.where(second > level, second, 0.0))
    return np.where(np.isnan(p_value), np.nan, worse)


def combined(p_value: FloatArray, again: FloatArray) -> FloatArray:
    """Let repeat calls add to the comparison with peers.

    Where a pile-up is no larger than an unusual habit, what became of these customers
    decides: a settled call is not followed by another. Nine tenths of the error budget
    stay with the comparison alone, a tenth goes to both questions together.

    Args:
        p_value: Of the comparison with peers, nan where untestable.
        again: Of the repeat calls; nan where customers are not known.

    Returns:
        p-values, shape (n_agents,).

    Source:
        Fisher (1932), Statistical Methods for Research Workers, 4th ed., section 21.1
        (p-values of independent questions); weights: Genovese, Roeder & Wasserman
        (2006), Biometrika 93(3), 509-524.
    """
    product = np.maximum(p_value * again, 1e-300)
    both = product * (1 - np.log(product))
    shown = (p_value <= _EACH) & (again <= _EACH)
    best = np.fmin(p_value / 0.9, np.where(shown, both / 0.1, np.inf))
    known = ~np.isnan(again)
    return np.asarray(np.where(known, np.minimum(best, 1.0), p_value))


def own_repeats(summaries: Summaries, cap: Cap, ids: NDArray[Any]) -> FloatArray:
    """Ask whether customers call again after an agent's calls near the cap.

    The rate is held against 1.3 times that of the same agent's other calls around the
    cap, given how many called again in all; and it has to exceed that after peers'
    calls near the cap.

    Returns:
        p-values, shape (n_agents,), nan where fewer than ten customers are known.

    Source:
        Przyborowski & Wilenski (1940), Biometrika 31, 313-323 (two Poisson means).
    """
    if "repeats" not in summaries:
        return np.full(len(ids), np.nan)
    rows = _of_cap(summaries["repeats"], cap)
    index = index_of(rows["agent_id"], ids)
    names = ("near", "near_again", "rest", "rest_again")
    near, k, rest, k_rest = (_summed(index, rows.floats(n), len(ids)) for n in names)
    weight = near * _REPEAT_RATIO
    own = _at_least(k, k + k_rest, weight / np.maximum(weight + rest, 1e-9))
    others = (k.sum() - k, np.maximum(near.sum() - near, 1e-9))
    peers_p = _at_least(k, k + others[0], near / np.maximum(near + others[1], 1e-9))
    out = guarded(own, peers_p, _EACH)
    return np.where((near < _MIN_KNOWN) | (rest < _MIN_KNOWN), np.nan, out)


def own_drop(
    *, below: FloatArray, near: FloatArray, over: FloatArray, beyond: FloatArray
) -> FloatArray:
    """Ask whether an agent's own calls drop at the cutoff more than they slope anyway.

    The slope comes from the wider windows on both sides, whose centres lie five widths
    apart while those of the two windows at the cutoff lie one apart; a hump's curvature
    cancels. It keeps agents with another mix of calls, whose numbers fall around
    the cutoff, from being taken for agents whose calls stop there.

    Returns:
        P(at least `near` of `near + over`) without a drop, shape (n_agents,); nan where
        nothing lies above the cutoff for anybody.
    """
    if over.sum() + beyond.sum() < 0.02 * (below.sum() + near.sum()):
        return np.full(len(near), np.nan)  # the platform ends calls here
    slope = np.log((below + 1) / (beyond + 1)) / 5
    p = expit(np.clip(slope, -1.0, 1.0))
    n = near + over
    return np.asarray(_at_least(near, n, p))


def own_change(
    zones: dict[str, FloatArray],
    before: Summary,
    ids: NDArray[Any],
    dispersion: FloatArray | None,
) -> FloatArray:
    """Ask whether an agent's share near the cutoff rose with the cap's beginning.

    Returns:
        One-sided p-values of the log odds ratio, nan with fewer than 20 calls before.

    Source:
        Woolf (1955), Annals of Human Genetics 19, 251-253.
    """
    index = index_of(before["agent_id"], ids)
    old = {
        zone: _summed(index, before.floats(zone), len(ids))
        for zone in ("below", "near", "over")
    }
    rest, old_rest = zones["below"] + zones["over"], old["below"] + old["over"]
    cells = [c + 0.5 for c in (zones["near"], rest, old["near"], old_rest)]
    difference = np.log(cells[0] / cells[1]) - np.log(cells[2] / cells[3])
    phi = 1.0 if dispersion is None else dispersion
    z = difference / np.sqrt(phi * sum(1 / c for c in cells))
    return np.where(old["near"] + old_rest < 20, np.nan, ndtr(-z))


def _summed(index: IntArray, values: FloatArray, size: int) -> FloatArray:
    return np.asarray(
        np.bincount(index, weights=values, minlength=size), dtype=np.float64
    )


def _of_cap(rows: Summary, cap: Cap) -> Summary:
    return rows.where(rows.ints("cap_s") == cap.cap_s)


def _days(
    summaries: Summaries, cap: Cap, ids: NDArray[Any]
) -> tuple[FloatArray | None, FloatArray | None]:
    """Return each agent's days around the cutoff, and the day-to-day dispersion."""
    if "days" not in summaries:
        return None, None
    rows = _of_cap(summaries["days"], cap)
    subject = index_of(rows["agent_id"], ids)
    days = np.bincount(subject, minlength=len(ids)).astype(np.float64)
    dispersion = day_dispersion(
        subject,
        rows.ints("day"),
        rows.ints("near"),
        rows.ints("trials"),
        n_subjects=len(ids),
    )
    return days, dispersion


def _rescaled(raw: Outcome) -> Outcome:
    """Turn excess within the trials into calls moved below the cutoff."""
    rate = raw.expected / np.maximum(raw.trials, 1.0)
    scale = 1 / np.maximum(1 - rate, 0.05)
    inner = raw.interval

    def interval(rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
        if inner is None:
            nan = np.full(len(rows), np.nan)
            return nan, nan
        low, high = inner(rows, level)
        return low * scale[rows], high * scale[rows]

    return replace(
        raw,
        expected=raw.observed - raw.effect * scale,
        effect=raw.effect * scale,
        low=raw.low * scale,
        high=raw.high * scale,
        interval=interval,
        smallest_detectable=raw.smallest_detectable * float(np.nanmedian(scale))
        if np.isfinite(scale).any()
        else float("nan"),
    )


def strongest(outcomes: Sequence[Outcome]) -> Outcome:
    """Merge the outcomes of several cutoffs: each subject's strongest one counts.

    The smallest p-value is multiplied by the number of cutoffs (Bonferroni).
    """
    if len(outcomes) == 1:
        return outcomes[0]
    p = np.array([o.p_value for o in outcomes])
    best = np.argmin(np.where(np.isnan(p), np.inf, p), axis=0)
    at = np.arange(p.shape[1])
    tests = np.maximum((~np.isnan(p)).sum(axis=0), 1)

    def chosen(arrays: Sequence[FloatArray]) -> FloatArray:
        return np.asarray(np.array(arrays)[best, at])

    def interval(rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
        low, high = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        for number, outcome in enumerate(outcomes):
            mine = best[rows] == number
            if mine.any() and outcome.interval is not None:
                low[mine], high[mine] = outcome.interval(rows[mine], level)
        return low, high

    def breaking_point(rows: IntArray, p_threshold: float) -> FloatArray:
        out = np.full(len(rows), np.nan)
        for number, outcome in enumerate(outcomes):
            mine = best[rows] == number
            if mine.any() and outcome.breaking_point is not None:
                out[mine] = outcome.breaking_point(rows[mine], p_threshold / len(p))
        return out

    extras = set.intersection(*(set(o.extra) for o in outcomes))
    return Outcome(
        **{name: chosen([getattr(o, name) for o in outcomes]) for name in _FIELDS},
        p_value=np.minimum(chosen(list(p)) * tests, 1.0),
        facts=outcomes[0].facts,
        extra={name: chosen([o.extra[name] for o in outcomes]) for name in extras},
        interval=interval if outcomes[0].interval else None,
        breaking_point=breaking_point if outcomes[0].breaking_point else None,
        smallest_detectable=outcomes[0].smallest_detectable,
    )


def part(outcome: Outcome, rows: slice) -> Outcome:
    """Cut some subjects out of an outcome that has no functions."""
    return Outcome(
        **{name: getattr(outcome, name)[rows] for name in _FIELDS},
        p_value=outcome.p_value[rows],
        extra={name: values[rows] for name, values in outcome.extra.items()},
    )


@dataclass(frozen=True, kw_only=True)
class Pile:
    """What a curve says about a queue or the floor at one cutoff.

    Args:
        ids: `all` first, then queues.
        outcome: In the order of `ids`; `extra` holds what `Bunching` has and the
            p-values of the further questions.
        edges: Ends of the bins in seconds, shape (n_bins + 1,).
        counts: Calls per bin, shape (n_subjects, n_bins).
        curve: Expected ones, same shape.
    """

    ids: NDArray[Any]
    outcome: Outcome
    edges: IntArray
    counts: IntArray
    curve: FloatArray


def piles(
    seconds: Summary,
    summaries: Summaries,
    cap: Cap,
    layout: Layout,
    *,
    window: int,
    min_relative: float,
) -> Pile:
    """Test the floor and each queue against a smooth curve through its durations.

    Three questions, all of which have to be answered: do calls pile up below the
    cutoff, is the edge sharp (a hump lies on both sides), and does the median agent
    show it. Where customers are known, a fourth: do these customers call again.

    Args:
        seconds: The first stage's summary: one measure, later period.
        summaries: What `summarize` gave, collected.
        cap: The cutoff.
        layout: The sites whose calls are tested.
        window: Seconds below the cutoff.
        min_relative: Pile-up that does not count, as a share of the usual calls.
    """
    mine = seconds.where(np.isin(seconds["site_id"].astype(str), layout.sites))
    queues = np.unique(mine["queue"].astype(str))
    ids = np.array(["all", *queues], dtype=object)
    counts = np.array(
        [
            aligned(mine if i == 0 else mine.where(mine["queue"] == name), cap, layout)
            for i, name in enumerate(ids)
        ]
    )
    reference = cap.halves[0][1]
    at = layout.windows(reference, window)
    width = bin_width(window, layout.unit)
    near_width = -(-(at.high - at.low) // width) * width
    heaps = layout.heaps
    shape = excess_below(
        counts,
        at.high,
        window=near_width,
        bin_width=width,
        min_relative=min_relative,
        heaps=heaps,
    )
    both = excess_below(
        counts,
        at.high + near_width,
        window=2 * near_width,
        bin_width=width,
        heaps=heaps,
    )
    sharp = sharpness(both, at.high, near_width, min_relative)
    median = np.array(
        [_median(summaries, cap, i, shape, at, ids) for i in range(len(ids))]
    )
    again = np.array(
        [_repeats(summaries, cap, None if i == 0 else q) for i, q in enumerate(ids)]
    )
    p_value = np.maximum(shape.p_value, np.where(np.isnan(sharp), 1.0, sharp))
    p_value = guarded(p_value, median, _MEDIAN_LEVEL)
    p_value = guarded(p_value, again, GUARD)
    p_value = np.where(np.isnan(shape.p_value), np.nan, p_value)
    outcome = Outcome(
        trials=shape.n.astype(np.float64),
        observed=shape.observed,
        expected=shape.expected,
        p_value=p_value,
        effect=shape.excess,
        low=shape.low,
        high=shape.high,
        ratio=shape.observed / np.maximum(shape.expected, 1e-9),
        ratio_low=1 + shape.low / np.maximum(shape.expected, 1e-9),
        ratio_high=1 + shape.high / np.maximum(shape.expected, 1e-9),
        extra={
            "relative": shape.relative,
            "past_share": shape.share,
            "p_pile": shape.p_value,
            "p_sharp": sharp,
            "p_median": median,
            "p_again": again,
            "cap_s": np.full(len(ids), float(cap.cap_s)),
        },
    )
    return Pile(
        ids=ids,
        outcome=outcome,
        edges=shape.edges,
        counts=shape.counts,
        curve=shape.counterfactual,
    )


def aligned(rows: Summary, cap: Cap, layout: Layout) -> IntArray:
    """Lay the halves of the days so that their cutoffs coincide, calls per second."""
    reference = cap.halves[0][1]
    total = np.zeros(LONGEST_S + 1)
    for parity, cutoff in cap.halves:
        column = {None: None, 0: "even", 1: "odd"}[parity]
        counts = flattened(histogram(rows, column), layout.cuts)
        total += np.roll(counts, reference - cutoff)
    total[-120:] = 0.0  # the last entry holds all longer calls
    return np.round(total).astype(np.int64)


def sharpness(both: Any, high: int, width: int, min_relative: float) -> FloatArray:
    """Ask whether the pile stops at the cutoff, as a hump of calls would not.

    The excess below the cutoff less twice the excess above it is compared with the
    pile-up that does not count. Calls that were cut are missing above, honest
    humps and reminders lie on both sides.

    Args:
        both: Bunching of both windows together.
        high: The cutoff.
        width: Of each window.
        min_relative: As a share of the usual calls.
    """
    left = both.edges[:-1]
    parts = []
    for start in (high - width, high):
        inside = (left >= start) & (left < start + width)
        parts.append(
            (
                both.counts[:, inside].sum(axis=1),
                both.counterfactual[:, inside].sum(axis=1),
            )
        )
    (near, near_fit), (over, over_fit) = parts
    contrast = near - near_fit - _HUMP * (over - over_fit)
    variance = both.dispersion * (near_fit * (1 + min_relative) + _HUMP**2 * over_fit)
    fit = 0.25 * ((both.high - both.low) / 3.92) ** 2
    z = (contrast - min_relative * near_fit) / np.sqrt(np.maximum(variance + fit, 1.0))
    return np.asarray(np.where(np.isnan(both.p_value), np.nan, ndtr(-z)))


def _median(
    summaries: Summaries, cap: Cap, number: int, shape: Any, at: Any, ids: NDArray[Any]
) -> float:
    """Ask whether most agents have more calls near the cutoff than the curve gives.

    Returns:
        P(so many agents above their expected number) if the median agent had 5 % more
        than expected at most; nan with fewer than five agents.
    """
    rows = _of_cap(summaries["agents"], cap)
    mine = rows.ints("period") == 1
    if number:
        mine &= rows["queue"] == ids[number]
    rows = rows.where(mine)
    agent, index = np.unique(rows["agent_id"].astype(str), return_inverse=True)
    near = np.bincount(index, weights=rows.ints("near"), minlength=len(agent))
    below = np.bincount(index, weights=rows.ints("below"), minlength=len(agent))
    enough = near + below >= 10
    if enough.sum() < 5:
        return float("nan")
    left = shape.edges[:-1]
    curve = shape.counterfactual[number]
    usual = curve[(left >= at.low) & (left < at.high)].sum()
    far = curve[(left >= at.low - 3 * at.width) & (left < at.low)].sum()
    odds = usual / max(far, 1e-9) * (1 + _MEDIAN_EXCESS)
    above = near[enough] > odds * below[enough]
    n, k = int(enough.sum()), int(above.sum())
    return float(_at_least(np.array([float(k)]), np.array([float(n)]), 0.5)[0])


def _at_least(k: FloatArray, n: FloatArray, p: FloatArray | float) -> FloatArray:
    """Return P(at least k of n) with probability p each."""
    tail = betainc(np.maximum(k, 1.0), np.maximum(n - k, 0.0) + 1.0, p)
    return np.asarray(np.where(k > 0, tail, 1.0))


def _repeats(summaries: Summaries, cap: Cap, queue: str | None) -> float:
    """Ask whether customers call again after calls near the cutoff, of all agents.

    Returns:
        p-value of a rate at most 1.3 times that after the other calls around it;
        nan where too few customers are known.
    """
    if "repeats" not in summaries:
        return float("nan")
    rows = _of_cap(summaries["repeats"], cap)
    if queue is not None:
        rows = rows.where(rows["queue"] == queue)
    near, rest = rows.ints("near").sum(), rows.ints("rest").sum()
    if min(near, rest) < _MIN_REPEATS:
        return float("nan")
    return more_often(
        rows.ints("near_again").sum(), near, rows.ints("rest_again").sum(), rest
    )


def more_often(
    k: float, n: float, k_base: float, n_base: float, ratio: float = _REPEAT_RATIO
) -> float:
    """Return the one-sided p-value of a rate at most `ratio` times another.

    Source:
        Wald test of two rates with added halves, Agresti & Caffo (2000), The American
        Statistician 54(4), 280-288.
    """
    p, base = (k + 0.5) / (n + 1), (k_base + 0.5) / (n_base + 1)
    variance = p * (1 - p) / (n + 1) + ratio**2 * base * (1 - base) / (n_base + 1)
    return float(ndtr(-(p - ratio * base) / np.sqrt(variance)))
