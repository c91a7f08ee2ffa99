"""The whole floor: if everybody closes early, peers hide it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import betainc, stdtr

from kpiaudit.stats import bunching
from kpiaudit.stats.outcome import Outcome

if TYPE_CHECKING:
    from kpiaudit.detectors._early_closure_questions import Counted
    from kpiaudit.detectors.base import Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray

_MIN_AGENTS = 6
_MIN_EACH = 5
_POSITIONS = 300
_BUNCHED = 0.1
"""Closures may lie this share above the smooth curve before the deadline."""
_PRIOR = 20.0
_NORMAL_95 = 1.959963984540054


def test(
    counted: Counted, positions: Summary, *, near: int, min_ratio: float
) -> Outcome | None:
    """Ask whether the median agent's closures before the deadline bounce.

    Three answers are needed: closures pile up just before the deadline against a
    smooth curve; they bounce more than `min_ratio` times the odds of the same agents'
    closures in the second half of the clock and after the deadline; and more than half
    of the agents show that. Honest effort before a deadline gives the first alone.

    Args:
        counted: Counts per agent.
        positions: Closures per hundredth of the clock.
        near: Width of the window, in hundredths.
        min_ratio: The hypothesis is a ratio of at most this.

    Returns:
        One subject; None with fewer than six agents who have enough closures.
    """
    used = _used(counted)
    log_ratio, error = _contrast(counted)
    piled = _piled(positions, near)
    if int(used.sum()) < _MIN_AGENTS or np.isnan(error) or piled is None:
        return None
    freedom = float(used.sum()) - 1.0
    p_contrast = float(stdtr(freedom, (np.log(min_ratio) - log_ratio) / error))
    p_median, above = _median(counted, used, min_ratio)
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
        "p_value": max(piled["piled_p_value"], p_contrast, p_median),
        "effect": unlike(log_ratio),
        "low": unlike(low),
        "high": unlike(high),
        "ratio": float(np.exp(log_ratio)),
        "ratio_low": float(np.exp(low)),
        "ratio_high": float(np.exp(high)),
    }
    extra = piled | {
        "contrast_p_value": p_contrast,
        "median_p_value": p_median,
        "agents": float(used.sum()),
        "agents_above": above,
    }
    extra |= {n: float(counted.total(n).sum()) for n in ("due", "met", "near_bounced")}
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
    top = np.bincount(counted.subject, weights=a * (k - c) / n, minlength=size)
    bottom = np.bincount(counted.subject, weights=(m - a) * c / n, minlength=size)
    without = (top.sum() - top, bottom.sum() - bottom)
    if size < 2 or min(without[0].min(), without[1].min()) <= 0.0:
        return float("nan"), float("nan")
    each = np.log(without[0]) - np.log(without[1])
    error = np.sqrt((size - 1) / size * np.sum((each - each.mean()) ** 2))
    return float(np.log(top.sum() / bottom.sum())), float(max(error, 1e-9))


def _median(counted: Counted, used: BoolArray, min_ratio: float) -> tuple[float, float]:
    """Return the sign test that more than half of the agents exceed the ratio.

    An agent counts if the closures that bounced reach beyond the middle of what the
    agent's own closures beside the deadline give at that ratio: at most every second
    honest agent does.
    """
    side, bounced = counted.total("side_known"), counted.total("side_bounced")
    overall = bounced.sum() / max(side.sum(), 1.0)
    rate = (bounced + _PRIOR * overall) / (side + _PRIOR)
    odds = min_ratio * rate / (1.0 - rate)
    near, back = counted.total("near_known"), counted.total("near_bounced")
    above = used & (_upper(back, near, odds / (1.0 + odds)) <= 0.5)
    agents, count = float(used.sum()), float(above.sum())
    p = _upper(np.array([count]), np.array([agents]), np.array([0.5]))
    return float(p[0]), count


def _upper(k: FloatArray, n: FloatArray, p: FloatArray) -> FloatArray:
    """Return the binomial probability of k or more in n."""
    tail = betainc(np.maximum(k, 1.0), np.maximum(n - k + 1.0, 1.0), p)
    return np.where(k <= 0.0, 1.0, tail)


def _piled(positions: Summary, near: int) -> dict[str, float] | None:
    """Return how far closures pile up before the deadline; None if too few."""
    counts = np.zeros(_POSITIONS, dtype=np.int64)
    counts[positions.ints("position")] = positions.ints("n")
    width = 2 if near % 2 == 0 else 1
    piled = bunching.excess_below(
        counts,
        100,
        window=near,
        bin_width=width,
        before=60,
        after=100,
        reach=60,
        min_relative=_BUNCHED,
        heaps=(),
    )
    if np.isnan(piled.p_value[0]):
        return None
    return {
        "piled_p_value": float(piled.p_value[0]),
        "piled_excess": float(piled.excess[0]),
        "piled_low": float(piled.low[0]),
        "piled_high": float(piled.high[0]),
    }
