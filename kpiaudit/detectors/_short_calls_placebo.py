"""Short calls where nothing is to be found: other windows, and honest replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors import _short_calls_questions as questions
from kpiaudit.detectors._incentives import CELLS
from kpiaudit.detectors.base import Summary, Tested, Verdicts
from kpiaudit.stats import peers, replicate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.detectors.base import Summaries
    from kpiaudit.stats.outcome import FloatArray, IntArray

WINDOWS = ((20, 30), (30, 40), (40, 50))
"""Ends of ten seconds each, at which nobody gains by hanging up; in seconds."""
_UNTIL = 60


def windows(summaries: Summaries) -> Iterator[Verdicts]:
    """Ask whether some agents end far more calls in other windows than peers do."""
    rows = summaries["density"]
    if not len(rows):
        return
    ids, agent = np.unique(rows["agent_id"].astype(str), return_inverse=True)
    second, calls = rows.ints("second"), rows.ints("calls")
    for low, high in WINDOWS:
        inside, around = (
            _sums(agent, calls, (second >= low) & (second < high)),
            _sums(agent, calls, (second >= low) & (second < _UNTIL)),
        )
        outcome = peers.excess(
            np.arange(len(ids)),
            np.zeros(len(ids), dtype=np.int64),
            inside,
            around,
            n_subjects=len(ids),
        )
        told = Tested(kind="agent", ids=ids.astype(object), outcome=outcome)
        yield Verdicts(tested=(told,))


def _sums(agent: IntArray, calls: IntArray, where: Any) -> IntArray:
    return np.bincount(agent, weights=calls * where).astype(np.int64)


def replicas(summaries: Summaries, number: int, seed: int) -> Iterator[Summaries]:
    """Draw every agent's three habits from the fitted honest spread, and the counts.

    Calls per agent, queue and day stay what they were, and so do the customers who are
    known; what the same agent does on one day goes together.
    """
    asked = questions.ask(summaries, min_excess=0.0)
    if "days" not in summaries or any(o.draw is None for o in asked.plain):
        return
    # What follows the score in the real counts must not vouch for drawn ones.
    drawn_from = {name: s for name, s in summaries.items() if name != CELLS}
    for each in range(number):
        rng = np.random.default_rng([seed, each])
        yield {**drawn_from, **_drawn(summaries, asked, rng)}


def _drawn(
    summaries: Summaries, asked: questions.Asked, rng: np.random.Generator
) -> dict[str, Summary]:
    counts, days = summaries["counts"], summaries["days"]
    names = asked.ids.astype(str)
    who = np.searchsorted(names, counts["agent_id"].astype(str))
    kept = np.isin(days["agent_id"].astype(str), names)
    days = days.where(kept)
    by_day = np.searchsorted(names, days["agent_id"].astype(str))
    queue = np.unique(counts["queue"].astype(str), return_inverse=True)[1]
    old = {name: counts.ints(name) for name in _NAMES}
    under = old["short"] + old["next"]
    new, new_day = {}, {}
    chain = (
        ("under", under, old["calls"], "calls"),
        ("short", old["short"], under, "under"),
        ("short_known", old["short_known"], old["short"], "short"),
        ("short_redialled", old["short_redialled"], old["short_known"], "short_known"),
    )
    drawn: dict[str, IntArray] = {"calls": old["calls"]}
    per_day: dict[str, IntArray] = {"calls": days.ints("calls")}
    habits = dict(zip(("under", "short", "short_redialled"), asked.plain, strict=False))
    for name, events, trials, parent in chain:
        base = replicate.rates(queue, events, trials)
        theta, phi = np.zeros(len(names)), 1.0
        outcome = habits.get(name)
        if outcome is not None and outcome.draw is not None:
            theta, phi = outcome.draw(rng, len(names)), outcome.facts["dispersion"]
        weight = drawn[parent] * _odds(base + theta[who])
        total = np.bincount(who, weights=weight, minlength=len(names))
        size = np.bincount(who, weights=drawn[parent], minlength=len(names))
        own = np.log(np.clip(total / np.maximum(size - total, 1e-9), 1e-9, 1e9))
        per_day[name] = replicate.events(per_day[parent], own[by_day], phi, rng)
        sums = np.bincount(by_day, weights=per_day[name], minlength=len(names))
        drawn[name] = replicate.split(
            sums.astype(np.int64), who, weight, drawn[parent], rng
        )
    new = _columns(old, drawn)
    new_day = _columns({n: days.ints(n) for n in _NAMES}, per_day)
    return {
        "counts": Summary(columns={**counts.columns, **new}),
        "days": Summary(columns={**days.columns, **new_day}),
    }


_NAMES = (
    "calls",
    "short",
    "next",
    "short_known",
    "short_redialled",
    "long_known",
    "long_redialled",
)


def _odds(log_odds: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)), dtype=np.float64)


def _columns(old: dict[str, IntArray], new: dict[str, IntArray]) -> dict[str, IntArray]:
    known = old["short_known"] + old["long_known"]
    return {
        "short": new["short"],
        "next": new["under"] - new["short"],
        "short_known": new["short_known"],
        "short_redialled": new["short_redialled"],
        "long_known": np.maximum(known - new["short_known"], old["long_redialled"]),
    }
