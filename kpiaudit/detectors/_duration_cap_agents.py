"""Agents of duration-cap, against their peers and against themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy as sp

from kpiaudit.detectors import _duration_cap_masked as masked
from kpiaudit.detectors import _duration_cap_repeats as repeats
from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors._duration_cap_score import followed
from kpiaudit.detectors._duration_cap_search import among_cutoffs
from kpiaudit.stats.dispersion import day_dispersion
from kpiaudit.stats.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from kpiaudit.detectors._duration_cap_find import Cap
    from kpiaudit.detectors._duration_cap_search import Blocks
    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

GUARD = 0.01
"""A second question has to be answered at this level; the first gives the p-value."""

_PEERS = 0.05
"""Where other cutoffs are the yardstick, peers in the same queues must agree so far."""
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
    return summaries["totals"].coded("agent_id")[0].astype(object)


def agents(
    summaries: Summaries,
    cap: Cap,
    *,
    min_excess: float,
    min_days: int,
    score: Outcome | None = None,
    blocks: Blocks | None = None,
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
        score: Whether these calls follow the score of a bonus; None if none is known.
        blocks: Calls per agent all over, where one agent's calls proposed the cutoff.
    """
    ids = all_agents(summaries)
    rows = of_cap(summaries["agents"], cap)
    later = rows.where(rows.ints("period") == 1)
    subject = later.places("agent_id", ids)
    trials = later.ints("below") + later.ints("near") + later.ints("over")
    days, dispersion = _days(summaries, cap, ids)
    base = later.ints("near").sum() / max(trials.sum(), 1)
    counts = masked.Counts(
        subject=subject,
        stratum=stratum(later),
        near=later.ints("near"),
        over=later.ints("over"),
        trials=trials,
        n_subjects=len(ids),
        dispersion=dispersion,
        min_excess=min_excess * (1 - base),
    )
    plain = masked.excess(counts)
    raw = followed(plain, score)
    zones = {
        zone: summed(subject, later.floats(zone), len(ids))
        for zone in ("below", "near", "over", "beyond")
    }
    first = raw.p_value
    if blocks is not None:
        first = guarded(
            among_cutoffs(blocks, cap.halves, min_excess=counts.min_excess),
            first,
            _PEERS,
        )
    again, best, chosen = np.full(len(ids), np.nan), first, None
    if "repeats" in summaries:
        asked = repeats.Repeats.of(of_cap(summaries["repeats"], cap), ids)
        others = asked.ordinary()
        chosen = None if others is None else counts.ask(learn=others)
        best = repeats.looked(first, chosen.p_value if chosen else None)
        again = asked.ask(best)
    both = repeats.combined(first, again, best)
    least = guarded(np.zeros(len(ids)), own_drop(**zones), GUARD)
    before = rows.where(rows.ints("period") == 0)
    if len(before):
        least = guarded(least, own_change(zones, before, ids, dispersion), 0.05)
    p_value = guarded(both, least, 0.0)
    if days is not None:
        p_value = np.where(days < min_days, np.nan, p_value)
    facts = zones | {
        "cap_s": np.full(len(ids), float(cap.cap_s)),
        "p_peers": plain.p_value,
        "p_again": again,
        "p_least": least,
        **incentives.told(score),
    }
    if days is not None:
        facts["days"] = days
    breaking = _breaking(raw, chosen, again)
    return _rescaled(
        replace(raw, p_value=p_value, extra=facts, breaking_point=breaking)
    )


def fitted(
    summaries: Summaries, cap: Cap, learn: BoolArray | None
) -> tuple[Outcome, FloatArray | None]:
    """Return the plain comparison with peers, and the days' dispersion, at a cutoff.

    Args:
        summaries: What `summarize` gave.
        cap: The cutoff.
        learn: From whom to learn what is honest; None stands for all.
    """
    ids = all_agents(summaries)
    rows = of_cap(summaries["agents"], cap)
    later = rows.where(rows.ints("period") == 1)
    dispersion = _days(summaries, cap, ids)[1]
    counts = masked.Counts(
        subject=later.places("agent_id", ids),
        stratum=stratum(later),
        near=later.ints("near"),
        over=later.ints("over"),
        trials=later.ints("below") + later.ints("near") + later.ints("over"),
        n_subjects=len(ids),
        dispersion=dispersion,
        min_excess=0.0,
    )
    return counts.ask(learn=learn), dispersion


def _breaking(
    raw: Outcome, chosen: Outcome | None, again: FloatArray
) -> Callable[[IntArray, float], FloatArray] | None:
    """Return the breaking point of the combined p-value; repeat calls stay as seen."""
    inner = raw.breaking_point
    if inner is None:
        return None
    other = None if chosen is None else chosen.breaking_point

    def one(row: int, p_threshold: float) -> float:
        at = np.array([row])
        alone, kept = repeats.needed(p_threshold, float(again[row]))
        plain, second = repeats.shares(kept, chosen=other is not None)
        points = [float(inner(at, max(alone, plain))[0])]
        if other is not None and second > 0.0:
            points.append(float(other(at, second)[0]))
        return max(points)

    def breaking_point(rows: IntArray, p_threshold: float) -> FloatArray:
        return np.array([one(row, p_threshold) for row in rows.tolist()])

    return breaking_point


def stratum(rows: Summary) -> IntArray:
    """Number the combinations of queue and layout, shape (n_rows,)."""
    queues, queue = rows.coded("queue")
    layouts, layout = rows.coded("layout")
    key = queue * len(layouts) + layout
    there = np.bincount(key, minlength=len(queues) * len(layouts)) > 0
    return np.asarray((np.cumsum(there) - 1)[key], dtype=np.int64)


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
    p = sp.special.expit(np.clip(slope, -1.0, 1.0))
    n = near + over
    return np.asarray(at_least(near, n, p))


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
    index = before.places("agent_id", ids)
    old = {
        zone: summed(index, before.floats(zone), len(ids))
        for zone in ("below", "near", "over")
    }
    rest, old_rest = zones["below"] + zones["over"], old["below"] + old["over"]
    cells = [c + 0.5 for c in (zones["near"], rest, old["near"], old_rest)]
    difference = np.log(cells[0] / cells[1]) - np.log(cells[2] / cells[3])
    phi = 1.0 if dispersion is None else dispersion
    z = difference / np.sqrt(phi * sum(1 / c for c in cells))
    return np.where(old["near"] + old_rest < 20, np.nan, sp.special.ndtr(-z))


def summed(index: IntArray, values: FloatArray, size: int) -> FloatArray:
    """Add up values per index, shape (size,)."""
    return np.asarray(
        np.bincount(index, weights=values, minlength=size), dtype=np.float64
    )


def of_cap(rows: Summary, cap: Cap) -> Summary:
    """Return the rows of a summary that are about one cutoff."""
    return rows.once(
        f"at {cap.cap_s}", lambda: rows.where(rows.ints("cap_s") == cap.cap_s)
    )


def _days(
    summaries: Summaries, cap: Cap, ids: NDArray[Any]
) -> tuple[FloatArray | None, FloatArray | None]:
    """Return each agent's days around the cutoff, and the day-to-day dispersion."""
    if "days" not in summaries:
        return None, None
    rows = of_cap(summaries["days"], cap)
    subject = rows.places("agent_id", ids)
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
        standing=None,
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
    return float(sp.special.ndtr(-(p - ratio * base) / np.sqrt(variance)))


def at_least(k: FloatArray, n: FloatArray, p: FloatArray | float) -> FloatArray:
    """Return P(at least k of n) with probability p each."""
    tail = sp.special.betainc(np.maximum(k, 1.0), np.maximum(n - k, 0.0) + 1.0, p)
    return np.asarray(np.where(k > 0, tail, 1.0))
