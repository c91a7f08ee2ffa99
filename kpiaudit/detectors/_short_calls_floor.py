"""Does everybody do it? The floor's short calls against its own longer ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.detectors._short_calls_count import DENSITY_S
from kpiaudit.stats.curves import poisson_fit
from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Summaries

MIN_AGENTS = 6
"""With fewer, not even all of them showing it would be evidence at the 2 % level."""
_MIN_CALLS = 100
_MIN_DENSITY = 80
MANY = 0.15
"""Share of the agents who may each be far beyond the minimum for innocent reasons, such
as a bad row of seats."""
_PLAIN = 0.005
"""A median agent this clear speaks for the whole floor, however many are far beyond."""
_FAR = 2.0
"""Far beyond the minimum is this many times as much."""
_REDIAL_TIMES = 2.0
"""Callers who were cut off dial again more often than after any other call."""


def redials_known(summaries: Summaries) -> bool:
    """Say whether it is known of any call whether its customer rang again."""
    counts = summaries["counts"]
    return bool((counts.ints("short_known") + counts.ints("long_known")).any())


def test(summaries: Summaries, *, short_s: float, min_share: float) -> Outcome | None:
    """Test whether the median agent's short calls exceed what longer ones foretell.

    Beside it: whether far too many agents exceed twice the minimum, though the median
    one does not. The smaller p-value is doubled.

    Args:
        summaries: `counts` and `density`.
        short_s: Shorter talk is a short call.
        min_share: The hypothesis is that the median agent has at most this share of
            calls above the extrapolation: silent callers, wrong numbers and lines
            leave a few everywhere.

    Returns:
        An outcome with one row, or None where there is too little to ask. The ends of
        its effect are bounds on what can't be told apart: the lower one takes off as
        many calls as the hypothesis lets pass, the upper one is all short calls, with
        customers' further ones within an episode (`again`).

    Source:
        Dixon & Mood (1946), JASA 41:557-566 (sign test of a median); counterfactual
        by extrapolating a fitted density: Chetty et al. (2011), QJE 126:749-804.
    """
    agents = _per_agent(summaries)
    ratio = _extrapolation(summaries, short_s)
    enough = agents["calls"] >= _MIN_CALLS
    if ratio is None or enough.sum() < MIN_AGENTS:
        return None
    agents = {name: values[enough] for name, values in agents.items()}
    calls, short = agents["calls"], agents["short"]
    excess = short / calls - ratio * agents["density"] / calls
    p = _sign(excess - min_share)
    far = excess > _FAR * min_share
    known = agents["long_known"].sum()
    long_rate = agents["long_redialled"].sum() / max(known, 1.0)
    if known > 0:
        # Above twice what follows longer calls, at the median agent again.
        more = (
            agents["short_redialled"]
            - _REDIAL_TIMES * long_rate * agents["short_known"]
        )
        p = max(p, _sign(np.where(agents["short_known"] > 0, more, -1.0)))
        far &= more > 0
    # A large minority is its own peers and hides; it is counted, whoever they are.
    p_many = _tail(int(far.sum()), len(far), MANY)
    many = p_many < p and p > _PLAIN
    p = min(1.0, 2.0 * (p_many if many else p))
    who = far if many else np.ones(len(far), dtype=np.bool_)
    total = calls[who].sum()
    middle = float(np.median(excess[who]))
    low = _median_least(excess[who]) * total
    # A queue whose calls are short bends the curve: it may foretell far too many.
    again = agents["again"][who].sum()
    high = short[who].sum() + again
    innocent = min_share * total
    return _one(
        trials=total,
        observed=short[who].sum(),
        p=p,
        effect=(middle * total, max(low - innocent, 0.0), high),
        expected=short[who].sum() - middle * total,
        extra={
            "median_share": middle,
            "min_share": min_share,
            "innocent": innocent,
            "again": again,
            "many": float(far.sum()) if many else 0.0,
            "extrapolated_share": float(np.median(ratio * agents["density"] / calls)),
            "agents": float(enough.sum()),
            "agents_above": float((excess > min_share).sum()),
            "short_redialled": agents["short_redialled"].sum(),
            "short_known": agents["short_known"].sum(),
            "long_rate": long_rate,
        },
    )


def _per_agent(summaries: Summaries) -> dict[str, FloatArray]:
    counts, rows = summaries["counts"], summaries["density"]
    ids, agent = counts.coded("agent_id")
    out = {
        name: _sums(agent, counts.floats(name), len(ids))
        for name in counts.columns
        if name not in {"agent_id", "queue"}
    }
    longer = rows.ints("second") >= 10
    owner = rows.places("agent_id", ids).clip(0, len(ids) - 1)
    weights = np.where(longer, rows.floats("calls"), 0.0)
    again = np.zeros(len(ids))
    if "bursts" in summaries:
        # There every short call counts, here an episode of one customer's once.
        every = summaries["bursts"]
        place = every.places("agent_id", ids).clip(0, len(ids) - 1)
        again = _sums(place, every.floats("short"), len(ids)) - out["short"]
    return out | {
        "density": _sums(owner, weights, len(ids)),
        "again": np.maximum(again, 0.0),
    }


def _sums(owner: IntArray, values: FloatArray, size: int) -> FloatArray:
    return np.bincount(owner, weights=values, minlength=size).astype(np.float64)


def _extrapolation(summaries: Summaries, short_s: float) -> float | None:
    """Return short calls foretold per call of 10 to 59 s: the more generous curve."""
    rows = summaries["density"]
    counts = np.bincount(
        rows.ints("second"), weights=rows.floats("calls"), minlength=DENSITY_S
    )[:DENSITY_S]
    start = int(np.ceil(short_s))
    base = counts[start:].sum()
    if base < _MIN_DENSITY:
        return None
    x = ((np.arange(DENSITY_S) - 35.0) / 25.0).astype(np.float64)
    weights = (np.arange(DENSITY_S) >= start).astype(np.float64)
    foretold = []
    for degree in (1, 2):
        design: FloatArray = np.vander(x, degree + 1, increasing=True)
        beta, covariance = poisson_fit(
            counts[None, :].astype(np.float64),
            design,
            weights=weights[None, :],
            offset=np.zeros((1, DENSITY_S)),
        )
        mean = np.exp(design[:start] @ beta[0])
        gradient = mean @ design[:start]
        sd = float(np.sqrt(gradient @ covariance[0] @ gradient))
        foretold.append(float(mean.sum()) + 2.0 * sd)
    return max(foretold) / float(base)


def _sign(values: FloatArray) -> float:
    """Return P(at least as many above 0) if the median is at most 0."""
    return _tail(int((values > 0).sum()), len(values), 0.5)


def _tail(count: int, size: int, share: float) -> float:
    """Return P(at least `count` of `size`) if each is one with this probability."""
    return float(sp.special.bdtrc(count - 1, size, share)) if count else 1.0


def _median_least(values: FloatArray) -> float:
    """Return the lower end of a median's 95 % interval, from order statistics."""
    n = len(values)
    below = 1.0 - sp.special.bdtrc(np.arange(n), n, 0.5)
    return float(np.sort(values)[int((below <= 0.025).sum())])


def _one(
    *,
    trials: float,
    observed: float,
    p: float,
    effect: tuple[float, float, float],
    expected: float,
    extra: dict[str, float],
) -> Outcome:
    def at(value: float) -> FloatArray:
        return np.array([value], dtype=np.float64)

    nan = float("nan")
    ratio = observed / max(expected, 0.5)
    return Outcome(
        trials=at(trials),
        observed=at(observed),
        expected=at(expected),
        p_value=at(p),
        effect=at(effect[0]),
        low=at(effect[1]),
        high=at(effect[2]),
        ratio=at(ratio),
        ratio_low=at(nan),
        ratio_high=at(nan),
        extra={name: at(float(value)) for name, value in extra.items()},
    )
