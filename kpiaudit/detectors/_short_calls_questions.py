"""Tests on collected counts: who has more short calls, and what follows them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.stats import peers
from kpiaudit.stats.dispersion import day_dispersion

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome

MIN_DAYS = 10
"""Fewer days than this are one bad fortnight, not a habit."""


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The same agents, asked four questions.

    Args:
        ids: Agents, object array of shape (n_agents,).
        rate: Short calls of all calls.
        shape: Short calls of short and next longer ones.
        redialled: Short calls that the caller redialled, of all calls that can be
            followed; None where customers are unknown.
        repeat: Redialled ones of the short calls; None where customers are unknown.
        days: Days with calls per agent; nan where there are no days.
    """

    ids: Any
    rate: Outcome
    shape: Outcome
    redialled: Outcome | None
    repeat: Outcome | None
    days: FloatArray


def ask(summaries: Summaries, *, min_excess: float, min_ratio: float) -> Questions:
    """Ask every question of every agent."""
    counts = summaries["counts"]
    ids, agent = np.unique(counts["agent_id"].astype(str), return_inverse=True)
    agent = agent.astype(np.int64)
    _, queue = np.unique(counts["queue"].astype(str), return_inverse=True)
    queue = queue.astype(np.int64)
    size = len(ids)
    days = _Days.of(summaries, ids)
    short, calls = counts.ints("short"), counts.ints("calls")
    known = counts.ints("short_known")
    again = counts.ints("short_redialled")
    followed = known + counts.ints("long_known")
    rate = peers.excess(
        agent,
        queue,
        short,
        calls,
        n_subjects=size,
        dispersion=days.dispersion("short", ("calls",)),
        min_excess=min_excess,
        min_ratio=min_ratio,
    )
    shape = peers.excess(
        agent,
        queue,
        short,
        short + counts.ints("next"),
        n_subjects=size,
        dispersion=days.dispersion("short", ("short", "next")),
    )
    redialled = repeat = None
    if followed.sum() > 0:
        redialled = peers.excess(
            agent,
            queue,
            again,
            followed,
            n_subjects=size,
            dispersion=days.dispersion(
                "short_redialled", ("short_known", "long_known")
            ),
            min_ratio=min_ratio,
        )
        # Redials after short calls are few: one stratum, or the counts are tiny.
        repeat = peers.excess(
            agent, np.zeros_like(queue), again, known, n_subjects=size, min_trials=10
        )
    return Questions(
        ids=ids.astype(object),
        rate=rate,
        shape=shape,
        redialled=redialled,
        repeat=repeat,
        days=days.seen,
    )


@dataclass(frozen=True, kw_only=True)
class _Days:
    """Counts per agent and day, where the export has days."""

    rows: Summary | None
    agent: IntArray
    size: int

    @classmethod
    def of(cls, summaries: Summaries, ids: Any) -> _Days:
        rows = summaries.get("days")
        if rows is None or not len(rows):
            return cls(rows=None, agent=np.zeros(0, dtype=np.int64), size=len(ids))
        agent = np.searchsorted(ids, rows["agent_id"].astype(str))
        return cls(rows=rows, agent=agent.astype(np.int64), size=len(ids))

    @property
    def seen(self) -> FloatArray:
        if self.rows is None:
            return np.full(self.size, np.nan)
        some = self.rows.ints("calls") > 0
        return np.bincount(self.agent[some], minlength=self.size).astype(np.float64)

    def dispersion(self, events: str, trials: tuple[str, ...]) -> FloatArray | None:
        if self.rows is None:
            return None
        total = sum(self.rows.ints(name) for name in trials)
        return day_dispersion(
            self.agent,
            self.rows.ints("day"),
            self.rows.ints(events),
            np.asarray(total, dtype=np.int64),
            n_subjects=self.size,
        )


def combine(questions: Questions) -> Outcome:
    """Return one outcome per agent: all questions have to point the same way.

    The largest of several p-values is valid for "at least one of the nulls holds". The
    leading question enters as it is; the others are asked at the square root of the
    level, which is a check that a mere accident does not pass rather than a second
    proof, and costs little power.
    """
    rate = questions.rate
    parts = asked(questions)
    p = np.max([outcome.p_value**power for outcome, power in parts], axis=0)
    p = np.where(questions.days < MIN_DAYS, np.nan, p)

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        points = [
            outcome.breaking_point(rows, threshold ** (1.0 / power))
            for outcome, power in parts
            if outcome.breaking_point is not None
        ]
        lowest: FloatArray = np.min(points, axis=0)
        return lowest

    return replace(
        rate,
        p_value=p,
        breaking_point=breaking_point if rate.breaking_point is not None else None,
        extra=_extra(questions),
        smallest_detectable=_smallest(questions),
    )


def asked(questions: Questions) -> list[tuple[Outcome, float]]:
    """Return the questions that decide, each with the power of its p-value."""
    if questions.redialled is None:
        return [(questions.rate, 1.0), (questions.shape, 1.0)]
    return [
        (questions.redialled, 1.0),
        (questions.rate, 2.0),
        (questions.shape, 2.0),
    ]


def _extra(questions: Questions) -> dict[str, FloatArray]:
    extra = {"days": questions.days, "rate_p": questions.rate.p_value}
    named = {
        "shape": questions.shape,
        "redialled": questions.redialled,
        "repeat": questions.repeat,
    }
    for name, outcome in named.items():
        if outcome is None:
            continue
        for part in ("trials", "observed", "expected", "p_value"):
            extra[f"{name}_{part}"] = getattr(outcome, part)
        for part in ("ratio", "ratio_low", "ratio_high"):
            extra[f"{name}_{part}"] = getattr(outcome, part)
    return extra


def _smallest(questions: Questions) -> float:
    """Return the larger of what the rate and the redials need, in short calls."""
    rate, leading = questions.rate.smallest_detectable, questions.redialled
    if leading is None or questions.repeat is None:
        return rate
    # A redial stands for as many short calls as it takes to see one.
    redials = float(leading.observed.sum())
    short = float(questions.rate.observed.sum())
    if redials <= 0:
        return rate
    return float(np.fmax(rate, leading.smallest_detectable * short / redials))
