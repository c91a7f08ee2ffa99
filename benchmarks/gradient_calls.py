"""Calls for gradient.py, whose agents may look at the score before each hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from calibration import short_calls as usual
from calibration.worlds import names, table, tilt

from kpiaudit.detectors._incentives import CELLS
from kpiaudit.detectors._incentives_schemes import Scheme

AGENTS, DAYS, HOURS, FIRST = 120, 61, 9, 20_513  # 2026-03-01, a Sunday
MONTHS = (0, 31, 61)
HONEST = {
    "habits": "agents differ by sd 0.2, days by 0.3 (log-odds)",
    "wide habits": "agents differ by sd 0.4",
    "novices": "a sixth starts slow, with 2.7 times the short calls, and learns",
    "bad seats": "a fifth sits for three weeks where the line drops",
    "hard queues": "every second fortnight in a queue with five times as many",
    "drifting": "habits drift by sd 0.4 over the period",
    "month's end": "everybody has 1.6 times as many in the last week",
}
MIN_EFFECT = usual.MIN_EFFECT
STRENGTHS = (0.02, 0.03, 0.04, 0.05)
BONUSES = (700.0, 900.0, 1050.0)
DAY_SD = 0.3


@dataclass(frozen=True, kw_only=True)
class World:
    """One centre: counts for the detector, and who games."""

    summaries: dict
    found: dict
    gamer: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What does not depend on the score: pace, queues, habits.

    Args:
        pace: Calls per worked day, shape (agents,).
        speed: Multiplier of it, shape (agents, days); 0 where nobody works.
        mix: Share of the queues in odd and even fortnights.
        queues: Multiplier of short calls per queue.
        habit: Log-odds of short calls, shape (agents, days).
    """

    pace: np.ndarray
    speed: np.ndarray
    mix: tuple[np.ndarray, np.ndarray]
    queues: np.ndarray
    habit: np.ndarray


def floor(kind: str, rng: np.random.Generator) -> Floor:
    """Draw a floor with one innocent reason for short calls that come and go."""
    sd = 0.4 if kind == "wide habits" else 0.2
    shape, day = (AGENTS, DAYS), np.arange(DAYS)
    pace = 45.0 * np.exp(0.12 * rng.standard_normal(AGENTS))
    pace = np.where(rng.random(AGENTS) < 0.2, 0.6, 1.0) * pace
    queues, mix = usual.QUEUES, rng.dirichlet(np.full(3, 3.0), AGENTS)
    other, speed = mix, np.ones(shape)
    habit = sd * rng.standard_normal((AGENTS, 1)) + DAY_SD * rng.standard_normal(shape)
    if kind == "novices":
        new = (rng.random(AGENTS) < 1 / 6)[:, None] * np.exp(-day / 25.0)
        habit, speed = habit + new, 1 - 0.3 * new
    if kind == "bad seats":
        start = rng.integers(0, DAYS, AGENTS)[:, None]
        sits = (rng.random(AGENTS) < 0.2)[:, None] & (day >= start) & (day < start + 21)
        habit = habit + 1.2 * sits
    if kind == "hard queues":
        queues, other = np.array([0.7, 1.0, 5.0]), rng.dirichlet(np.ones(3), AGENTS)
    if kind == "drifting":
        slope = 2 * sd * rng.standard_normal((AGENTS, 1))
        habit = habit + slope * np.linspace(-0.5, 0.5, DAYS)
    if kind == "month's end":
        habit = habit + 0.5 * np.isin(day, np.r_[24:31, 54:61])
    works = ((day + 6) % 7 < 5) & (rng.random(shape) < 0.95)
    return Floor(
        pace=pace, speed=speed * works, mix=(mix, other), queues=queues, habit=habit
    )


def make(
    kind: str,
    seed: int,
    *,
    bonus: float = 900.0,
    gamers: int = 0,
    strength: float = 0.0,
    follow: bool = True,
) -> World:
    """Simulate a centre hour by hour; gamers may look at the score before each."""
    rng = np.random.default_rng([seed, len(kind), gamers])
    of = floor(kind, rng)
    gamer = np.zeros(AGENTS, dtype=bool)
    gamer[rng.choice(AGENTS, gamers, replace=False)] = True
    calls = np.zeros((AGENTS, 3, DAYS, HOURS), dtype=np.int64)
    natural, cut = np.zeros_like(calls), np.zeros_like(calls)
    score = np.zeros(AGENTS)
    for d in range(DAYS):
        score *= d not in MONTHS
        end = next(month for month in MONTHS if month > d)
        rate = tilt(usual.SHORT * of.queues[None, :], of.habit[:, d, None])
        today = of.pace * of.speed[:, d]
        for h in range(HOURS):
            n = rng.poisson((today / HOURS)[:, None] * of.mix[d // 14 % 2])
            left = of.pace * 0.68 * (end - 1 - d) + today * (1 - h / HOURS)
            missing = bonus - score
            near = (missing > 0) & (missing > 0.5 * left) & (missing < 1.5 * left)
            on = gamer & (near | (not follow))
            k = rng.binomial(n, rate)
            calls[:, :, d, h], natural[:, :, d, h] = n, k
            cut[:, :, d, h] = rng.binomial(n - k, strength * on[:, None])
            score += n.sum(axis=1)
    scheme = Scheme(
        kpi="calls_handled",
        kind="agent",
        subject="",
        threshold=bonus,
        above=True,
        period="month",
        first=FIRST,
        last=FIRST + DAYS,
    )
    return World(
        summaries=summaries(calls, natural, cut, rng),
        found={"schemes": (scheme,)},
        gamer=gamer,
    )


def summaries(
    calls: np.ndarray, natural: np.ndarray, cut: np.ndarray, rng: np.random.Generator
) -> dict:
    """Return what the detector's test reads."""
    ids = names(AGENTS)
    per_day, short, dumped = (each.sum(axis=3) for each in (calls, natural, cut))

    def share(base: float) -> np.ndarray:
        own = 0.2 * rng.standard_normal((AGENTS, 1))
        return tilt(base, own + DAY_SD * rng.standard_normal((AGENTS, DAYS)))[:, None]

    known, told = rng.binomial(short, usual.KNOWN), rng.binomial(dumped, usual.KNOWN)
    long_known = rng.binomial(per_day - short - dumped, usual.KNOWN)
    counts = {
        "calls": per_day,
        "short": short + dumped,
        "next": rng.binomial(per_day - short - dumped, share(usual.NEXT)),
        "short_known": known + told,
        "short_redialled": rng.binomial(known, share(usual.REDIAL))
        + rng.binomial(told, usual.REDIAL_CUT),
        "long_known": long_known,
        "long_redialled": rng.binomial(long_known, share(usual.REDIAL_LONG)),
    }
    queue = np.array(["Q0", "Q1", "Q2"], dtype=object)
    some = np.nonzero(calls)
    days = {name: each.sum(axis=1).ravel() for name, each in counts.items()}
    return {
        "counts": usual.counts_of(ids, counts),
        "days": table(
            agent_id=np.repeat(ids, DAYS),
            day=np.tile(FIRST + np.arange(DAYS), AGENTS),
            **days,
        ),
        "density": usual.density_of(ids, counts, rng),
        CELLS: table(
            agent_id=ids[some[0]],
            queue=queue[some[1]],
            day=FIRST + some[2],
            hour=8 + some[3],
            contacts=calls[some],
            seconds=300 * calls[some],
            trials=calls[some],
            events=(natural + cut)[some],
        ),
    }
