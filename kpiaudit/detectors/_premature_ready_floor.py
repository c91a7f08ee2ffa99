"""The whole floor: if everybody stamps early, peers hide it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy as sp

from kpiaudit.detectors._premature_ready_count import SIDE
from kpiaudit.stats import bunching
from kpiaudit.stats.many import log_odds, many
from kpiaudit.stats.outcome import Outcome

if TYPE_CHECKING:
    from kpiaudit.detectors._premature_ready_questions import Counted
    from kpiaudit.detectors.base import Summary
    from kpiaudit.stats.many import Many
    from kpiaudit.stats.outcome import BoolArray, FloatArray

_MIN_AGENTS = 6
_MIN_EACH = 10
_PRIOR = 20.0
_GATE = 0.05
"""The pile-up has to reach this level; the waits carry the error rate."""
_MANY_NEAR = 1.5
"""Odds of stamping before the promise, as a multiple of the calmer agents'."""
_NORMAL_95 = 1.959963984540054
_HALF = 0.5
"""Added to both sides of an odds ratio, so that it stays finite."""


def test(
    counted: Counted,
    positions: Summary,
    *,
    window: int,
    step: int,
    min_pile: float,
    min_ratio: float,
    many_ratio: float,
    extra_ms: float,
) -> Outcome | None:
    """Ask whether most agents, or many, stamp before the promise and then wait.

    Most: stamps pile up just before the promise against a smooth curve; long waits
    follow them at more than `min_ratio` times the odds of the same agents' other
    orders, and more than half of the agents show that. People who hurry before a
    promise give the first alone.

    Many: more than a tenth of the agents show both, more stamps before the promise and
    longer waits after those, beyond what the calmer agents have in common. The smaller
    p-value counts twice. In either case the waits have to be longer by at least
    `extra_ms` for each long one in excess.

    Args:
        counted: Counts per agent.
        positions: Stamps per minute around the promise.
        window: Width of the window before the promise, in minutes.
        step: Width of the bins, in minutes; divides the window.
        min_pile: The hypothesis is a pile-up of at most this share.
        min_ratio: The hypothesis is an odds ratio of at most this.
        many_ratio: An agent shows longer waits from this multiple of the common odds.
        extra_ms: Longer waits than this, in milliseconds, are worth a finding.

    Returns:
        One subject; None with fewer than six agents who have enough orders.
    """
    used = _used(counted)
    log_ratio, error = _contrast(counted)
    piled = pile(positions, window=window, step=step, min_pile=min_pile)
    if int(used.sum()) < _MIN_AGENTS or np.isnan(error) or piled is None:
        return None
    freedom = float(used.sum()) - 1.0
    p_contrast = float(
        sp.special.stdtr(freedom, (np.log(min_ratio) - log_ratio) / error)
    )
    p_median, above = _median(counted, used, min_ratio)
    observed = float(counted.total("near_long").sum())
    trials = float(counted.total("near_known").sum())

    def due_to(log_odds: float) -> float:
        """Return the long waits near the promise that this log odds ratio makes."""
        return observed - trials * _odds(observed / trials, -log_odds)

    p_most = max(p_contrast, p_median)
    if piled["piled_p_value"] > _GATE:
        p_most = max(p_most, piled["piled_p_value"])
    both = showing(counted, many_ratio)
    p = min(2.0 * min(p_most, both.p_value), 1.0)
    extra = _extra_wait(counted)
    if extra < extra_ms * max(due_to(log_ratio), 1.0):
        p = 1.0
    one: dict[str, float] = {
        "trials": trials,
        "observed": observed,
        "expected": observed - due_to(log_ratio),
        "p_value": p,
        "effect": due_to(log_ratio),
        "low": due_to(log_ratio - _NORMAL_95 * error),
        "high": due_to(log_ratio + _NORMAL_95 * error),
        "ratio": float(np.exp(log_ratio)),
        "ratio_low": float(np.exp(log_ratio - _NORMAL_95 * error)),
        "ratio_high": float(np.exp(log_ratio + _NORMAL_95 * error)),
    }
    more = {name: float(values.sum()) for name, values in counted.totals().items()}
    more |= piled
    more |= {
        "contrast_p_value": p_contrast,
        "median_p_value": p_median,
        "agents": float(used.sum()),
        "agents_above": above,
        "most_p_value": p_most,
        "many_p_value": both.p_value,
        "agents_showing": float(both.showing.sum()),
        "extra_ms": extra,
    }
    return _one(one, more)


def alone(
    counted: Counted, positions: Summary, *, window: int, step: int, min_pile: float
) -> Outcome | None:
    """Ask only whether stamps pile up, where no second instant is known."""
    piled = pile(positions, window=window, step=step, min_pile=min_pile)
    if piled is None:
        return None
    near = float(counted.total("near").sum())
    one = {
        "trials": float(counted.total("orders").sum()),
        "observed": near,
        "expected": near - piled["piled_excess"],
        "p_value": piled["piled_p_value"],
        "effect": piled["piled_excess"],
        "low": piled["piled_low"],
        "high": piled["piled_high"],
        "ratio": float("nan"),
        "ratio_low": float("nan"),
        "ratio_high": float("nan"),
    }
    more = {name: float(values.sum()) for name, values in counted.totals().items()}
    return _one(one, more | piled)


def _one(one: dict[str, float], extra: dict[str, float]) -> Outcome:
    arrays: dict[str, Any] = {name: np.array([value]) for name, value in one.items()}
    return Outcome(
        **arrays, extra={name: np.array([value]) for name, value in extra.items()}
    )


def _odds(rate: float, log_odds: float) -> float:
    """Return the rate whose odds are a multiple of another's."""
    odds = rate / max(1.0 - rate, 1e-12) * float(np.exp(log_odds))
    return odds / (1.0 + odds)


def _used(counted: Counted) -> BoolArray:
    near = counted.total("near_known")
    far = counted.total("known") - near
    return np.asarray((near >= _MIN_EACH) & (far >= _MIN_EACH), dtype=np.bool_)


def _contrast(counted: Counted) -> tuple[float, float]:
    """Return the log odds ratio of a long wait, near against others, and its error.

    Mantel-Haenszel over agents and clocks; the error is the jackknife over agents,
    since an agent's orders are not independent of each other.
    """
    cells = counted.cells
    a, m = cells.floats("near_long"), cells.floats("near_known")
    c, k = cells.floats("long") - a, cells.floats("known") - m
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


def _median(counted: Counted, used: BoolArray, min_ratio: float) -> tuple[float, float]:
    """Return the sign test that more than half of the agents exceed the ratio.

    An agent counts if the long waits reach beyond the middle of what the agent's own
    other orders give at that ratio: at most every second honest agent does.
    """
    near, back = counted.total("near_known"), counted.total("near_long")
    far, slow = counted.total("known") - near, counted.total("long") - back
    overall = slow.sum() / max(far.sum(), 1.0)
    rate = (slow + _PRIOR * overall) / (far + _PRIOR)
    odds = min_ratio * rate / (1.0 - rate)
    above = used & (_upper(back, near, odds / (1.0 + odds)) <= 0.5)
    agents, count = float(used.sum()), float(above.sum())
    p = _upper(np.array([count]), np.array([agents]), np.array([0.5]))
    return float(p[0]), count


def showing(counted: Counted, many_ratio: float) -> Many:
    """Return who stamps more before the promise and whose orders then wait longer."""
    used = _used(counted)
    near, back = counted.total("near_known"), counted.total("near_long")
    far, slow = counted.total("known") - near, counted.total("long") - back
    overall = (slow[used].sum() + 0.5) / (far[used].sum() + 1.0)
    usual = (slow + _PRIOR * overall) / (far + _PRIOR)
    wait = log_odds(back, near) - np.log(usual / (1.0 - usual))
    pile = log_odds(counted.total("near"), counted.total("open_late"))
    return many(pile, wait, used, ratios=(_MANY_NEAR, many_ratio))


def _extra_wait(counted: Counted) -> float:
    near = counted.total("near_known").sum()
    far = counted.total("known").sum() - near
    usual = counted.total("far_wait_ms").sum() / max(far, 1.0)
    return float(counted.total("near_wait_ms").sum() - near * usual)


def _upper(k: FloatArray, n: FloatArray, p: FloatArray) -> FloatArray:
    """Return the binomial probability of k or more in n."""
    tail = sp.special.betainc(np.maximum(k, 1.0), np.maximum(n - k + 1.0, 1.0), p)
    return np.where(k <= 0.0, 1.0, tail)


def pile(
    positions: Summary, *, window: int, step: int, min_pile: float
) -> dict[str, float] | None:
    """Return how far stamps pile up before the promise; None if there are too few."""
    counts = np.zeros(2 * SIDE, dtype=np.int64)
    counts[positions.ints("position")] = positions.ints("n")
    piled = bunching.excess_below(
        counts,
        SIDE,
        window=window,
        bin_width=step,
        before=SIDE,
        after=SIDE,
        reach=SIDE // 2,
        min_relative=min_pile,
        heaps=(),
    )
    if np.isnan(piled.p_value[0]):
        return None
    return {
        "piled_p_value": float(piled.p_value[0]),
        "piled_excess": float(piled.excess[0]),
        "piled_low": float(piled.low[0]),
        "piled_high": float(piled.high[0]),
        "piled_relative": float(piled.relative[0]),
    }
