"""The whole floor: if everybody closes early, peers hide it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy as sp

from kpiaudit.detectors._early_closure_count import LEAD_MIN, POSITIONS
from kpiaudit.stats import bunching
from kpiaudit.stats.many import log_odds, many
from kpiaudit.stats.outcome import Outcome

if TYPE_CHECKING:
    from kpiaudit.detectors._early_closure_questions import Counted
    from kpiaudit.detectors.base import Summaries
    from kpiaudit.stats.many import Many
    from kpiaudit.stats.outcome import BoolArray, FloatArray

_MIN_AGENTS = 6
_MIN_EACH = 5
_BUNCHED = 0.1
"""Closures may lie this share above the smooth curve before the deadline."""
_PRIOR = 20.0
_HOUR = 60
_MORE, _TWICE = 1.5, 2.0
_MANY, _LEVEL = 0.1, 0.05
_WORDED = ("due", "met", "near_known", "near_bounced")
_NORMAL_95 = 1.959963984540054
_HALF = 0.5
"""Added to both sides of an odds ratio, so that it stays finite."""


def test(
    counted: Counted, summaries: Summaries, *, near: int, min_ratio: float
) -> Outcome | None:
    """Ask whether closures before the deadline bounce all over the floor.

    Three answers are needed: closures pile up just before the deadline against a
    smooth curve; they bounce more than `min_ratio` times the odds of the same agents'
    closures in the second half of the clock and after the deadline; and the median
    agent shows that, or many agents show half as much again each by themselves.
    Honest effort before a deadline gives the first alone.

    Args:
        counted: Counts per agent.
        summaries: With closures per hundredth of the clock and per minute.
        near: Width of the window, in hundredths of the clock.
        min_ratio: The hypothesis is a ratio of at most this.

    Returns:
        One subject; None with fewer than six agents who have enough closures.
    """
    used = _used(counted)
    log_ratio, error = _contrast(counted)
    piled = _piled(summaries, near)
    if int(used.sum()) < _MIN_AGENTS or np.isnan(error) or piled is None:
        return None
    freedom = float(used.sum()) - 1.0
    p_contrast = float(
        sp.special.stdtr(freedom, (np.log(min_ratio) - log_ratio) / error)
    )
    p_agents, shown = _agents(counted, used, min_ratio)
    observed = float(counted.total("near_bounced").sum())
    trials = float(counted.total("near_known").sum())
    rate = observed / trials

    def unlike(log_odds: float) -> float:
        """Return the near closures that bounced due to this log odds ratio."""
        return observed - trials * _odds(rate, -log_odds)

    low, high = log_ratio - _NORMAL_95 * error, log_ratio + _NORMAL_95 * error
    one: dict[str, float] = {
        "trials": trials,
        "observed": observed,
        "expected": observed - unlike(log_ratio),
        "p_value": max(piled["piled_p_value"], p_contrast, p_agents),
        "effect": unlike(log_ratio),
        "low": unlike(low),
        "high": unlike(high),
        "ratio": float(np.exp(log_ratio)),
        "ratio_low": float(np.exp(low)),
        "ratio_high": float(np.exp(high)),
    }
    extra = piled | shown
    extra |= {"contrast_p_value": p_contrast, "agents": float(used.sum())}
    extra |= {name: float(counted.total(name).sum()) for name in _WORDED}
    arrays: dict[str, Any] = {name: np.array([value]) for name, value in one.items()}
    return Outcome(
        **arrays,
        extra={name: np.array([value]) for name, value in extra.items()},
    )


def _odds(rate: float, log_odds: float) -> float:
    """Return the rate whose odds are a multiple of another's."""
    odds = rate / max(1.0 - rate, 1e-12) * float(np.exp(log_odds))
    return odds / (1.0 + odds)


def _used(counted: Counted) -> BoolArray:
    near, side = counted.total("near_known"), counted.total("side_known")
    return np.asarray((near >= _MIN_EACH) & (side >= _MIN_EACH), dtype=np.bool_)


def _contrast(counted: Counted) -> tuple[float, float]:
    """Return the log odds ratio of bouncing, near against beside, and its error.

    Mantel-Haenszel over agents and clocks; the error is the jackknife over agents,
    since an agent's closures are not independent of each other.
    """
    cells = counted.cells
    a, m = cells.floats("near_bounced"), cells.floats("near_known")
    c, k = cells.floats("side_bounced"), cells.floats("side_known")
    n = np.maximum(m + k, 1.0)
    size = len(counted.ids)
    top, bottom = (
        np.bincount(counted.subject, weights=each, minlength=size).astype(np.float64)
        for each in (a * (k - c) / n, (m - a) * c / n)
    )
    if size < 2 or max(top.sum(), bottom.sum()) <= 0.0:
        return float("nan"), float("nan")
    # Where everybody does it, there may be nothing elsewhere to hold it against.
    top, bottom = top + _HALF / size, bottom + _HALF / size
    without = (top.sum() - top, bottom.sum() - bottom)
    each = np.log(without[0]) - np.log(without[1])
    error = np.sqrt((size - 1) / size * np.sum((each - each.mean()) ** 2))
    return float(np.log(top.sum() / bottom.sum())), float(max(error, 1e-9))


def _agents(
    counted: Counted, used: BoolArray, min_ratio: float
) -> tuple[float, dict[str, float]]:
    """Return whether the median agent, or many agents, exceed the ratio.

    The median: an agent counts if the closures that bounced reach beyond the middle of
    what the agent's own closures beside the deadline give at that ratio, which at most
    every second agent below it does. Many: an agent counts whose own closures exceed
    half as much again at 5 %; more than a tenth of agents beyond it and one in twenty
    of the others have to.
    """
    above = used & (_tail(counted, min_ratio) <= 0.5)
    alone = used & (_tail(counted, _MORE * min_ratio) <= _LEVEL)
    agents, middle, many = (float(a.sum()) for a in (used, above, alone))
    expected = _MANY + (1.0 - _MANY) * _LEVEL
    p_median, p_many = (
        float(_upper(np.array([k]), np.array([agents]), np.array([p]))[0])
        for k, p in ((middle, 0.5), (many, expected))
    )
    return min(2.0 * min(p_median, p_many), 1.0), {
        "agents_above": middle,
        "agents_alone": many,
        "median_p_value": p_median,
        "many_p_value": p_many,
    }


def showing(counted: Counted) -> Many:
    """Return who closes more before the deadline and whose closures then bounce."""
    used = _used(counted)
    near, back = counted.total("near_known"), counted.total("near_bounced")
    far, other = counted.total("known") - near, counted.total("bounced") - back
    overall = (other[used].sum() + 0.5) / (far[used].sum() + 1.0)
    usual = (other + _PRIOR * overall) / (far + _PRIOR)
    bounce = log_odds(back, near) - np.log(usual / (1.0 - usual))
    pile = log_odds(counted.total("near"), counted.total("open_late"))
    return many(pile, bounce, used, ratios=(_MORE, _TWICE))


def _tail(counted: Counted, ratio: float) -> FloatArray:
    """Return how likely an agent's bounced closures are if the odds ratio were this."""
    side, bounced = counted.total("side_known"), counted.total("side_bounced")
    overall = bounced.sum() / max(side.sum(), 1.0)
    rate = (bounced + _PRIOR * overall) / (side + _PRIOR)
    odds = ratio * rate / (1.0 - rate)
    near, back = counted.total("near_known"), counted.total("near_bounced")
    return _upper(back, near, odds / (1.0 + odds))


def _upper(k: FloatArray, n: FloatArray, p: FloatArray) -> FloatArray:
    """Return the binomial probability of k or more in n."""
    tail = sp.special.betainc(np.maximum(k, 1.0), np.maximum(n - k + 1.0, 1.0), p)
    return np.where(k <= 0.0, 1.0, tail)


def _piled(summaries: Summaries, near: int) -> dict[str, float] | None:
    """Return how far closures pile up before the deadline; None if too few.

    Measured twice, in hundredths of the clock and in minutes: the first suits clocks
    that run day and night, the second those that stop in the evening.
    """
    positions, leads = summaries["positions"], summaries["leads"]
    place = np.zeros(POSITIONS, dtype=np.int64)
    place[positions.ints("position")] = positions.ints("n")
    minute = np.zeros(2 * LEAD_MIN, dtype=np.int64)
    minute[leads.ints("lead") + LEAD_MIN] = leads.ints("n")
    width = 2 if near % 2 == 0 else 1
    both = (
        bunching.excess_below(
            place,
            100,
            window=near,
            bin_width=width,
            before=60,
            after=100,
            reach=60,
            min_relative=_BUNCHED,
            heaps=(),
        ),
        bunching.excess_below(
            minute,
            LEAD_MIN,
            window=_HOUR,
            bin_width=10,
            before=5 * _HOUR,
            after=5 * _HOUR,
            reach=4 * _HOUR,
            min_relative=_BUNCHED,
            heaps=(),
        ),
    )
    p = np.array([piled.p_value[0] for piled in both])
    if np.isnan(p).all():
        return None
    best = both[int(np.nanargmin(p))]
    return {
        "piled_p_value": min(float(np.nanmin(p)) * float((~np.isnan(p)).sum()), 1.0),
        "piled_excess": float(best.excess[0]),
        "piled_low": float(best.low[0]),
        "piled_high": float(best.high[0]),
    }
