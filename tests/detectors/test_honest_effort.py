"""Claim: effort before a deadline, well done, leaves nobody with a finding."""

import numpy as np
import pytest

from kpiaudit.detectors import _early_closure_questions as closed
from kpiaudit.detectors import _premature_ready_questions as ready
from kpiaudit.detectors.base import Summary
from kpiaudit.stats.multiplicity import q_values
from kpiaudit.stats.outcome import Outcome

AGENTS, DAYS, PER_DAY = 120, 60, 13
NEAR, LATE, BACK = 0.07, 0.27, 0.08
"""Of all that is done: shortly before it is due, after it, and what comes back."""
CENTRES = 16
PAIR = "ready>handed"
RULES = ["closed", "ready"]


def summaries(seed: int, eager: float, *, gamers: int = 0) -> dict[str, Summary]:
    """Count a centre for both rules; every second agent brings late work in.

    What the first of them bring in comes back every second time.
    """
    rng = np.random.default_rng(seed)
    shape = (AGENTS, DAYS)
    total = rng.poisson(PER_DAY, shape)
    late = rng.binomial(total, LATE)
    near = rng.binomial(total - late, NEAR / (1 - LATE))
    # Honest agents differ in how much comes back, near the deadline as elsewhere.
    odds = BACK / (1 - BACK) * np.exp(0.2 * rng.standard_normal((AGENTS, 1)))
    chance = np.broadcast_to(odds / (1 + odds), shape)
    who = np.arange(AGENTS)[:, None]
    moved = rng.binomial(late, np.where(who % 2 == 0, eager, 0.0))
    back = rng.binomial(near, chance)
    back = back + rng.binomial(moved, np.where(who < gamers, 0.5, chance))
    near = near + moved
    all_back = back + rng.binomial(total - near, chance)
    ids = np.array([f"A{i:03d}" for i in range(AGENTS)], dtype=object)
    known = {"near": near, "near_known": near, "open_late": late + near - moved}
    known |= {f"near_{name}": back for name in ("bounced", "long")}
    sums = {"known": total, "bounced": all_back, "long": all_back, **known}
    cells = {name: each.sum(axis=1) for name, each in sums.items()}
    rest = all_back - back
    cells |= {
        f"{where}_wait_ms": 60_000 * (5 * n + 15 * long).sum(axis=1)
        for where, n, long in (("near", near, back), ("far", total - near, rest))
    }
    zero = np.zeros(AGENTS, dtype=np.int64)
    cells |= {"agent_id": ids, "clock": zero, "due_part": zero}
    day = np.tile(np.arange(20_000, 20_000 + DAYS), AGENTS)
    days = {name: each.ravel() for name, each in known.items()}
    days |= {"agent_id": np.repeat(ids, DAYS), "due_day": day, "day": day}
    return {"cells": Summary(columns=cells), "days": Summary(columns=days)}


def ask(rule: str, made: dict[str, Summary]) -> Outcome:
    """Ask both questions of one rule, as it is shipped."""
    if rule == "closed":
        counted = closed.Counted.of(made)
        limits = closed.Limits(
            events=1.0, bounce_ratio=1.0, near_ratio=1.0, min_near=10
        )
        return closed.ask(counted, limits, "due")
    made = {
        name: Summary(columns={**rows.columns, "pair": np.full(len(rows), PAIR)})
        for name, rows in made.items()
    }
    allowed = ready.Limits(
        events=1.0,
        wait_ratio=1.0,
        near_ratio=1.0,
        extra_ms=60_000.0,
        min_near=10,
        min_days=10,
    )
    answers = ready.ask(ready.Counted.of(made, PAIR, ready.all_agents(made)), allowed)
    return answers.joined(answers.waited.p_value, PAIR)


def reported(rule: str, seed: int, eager: float, *, gamers: int = 0) -> np.ndarray:
    """Return who is reported, at an error rate of 5 %."""
    outcome = ask(rule, summaries(seed, eager, gamers=gamers))
    return np.nan_to_num(q_values(outcome.p_value), nan=1.0) <= 0.05


@pytest.mark.parametrize("eager", [0.3, 0.6])
@pytest.mark.parametrize("rule", RULES)
def test_effort_at_every_second_agent_is_no_finding(rule: str, eager: float) -> None:
    wrong = sum(bool(reported(rule, seed, eager).any()) for seed in range(CENTRES))
    assert wrong <= 1


@pytest.mark.parametrize("rule", RULES)
def test_what_comes_back_is_found_among_the_eager(rule: str) -> None:
    hit = reported(rule, 1, 0.4, gamers=12)
    # Every second of the first twelve brings work in, and it comes back.
    assert hit[:12:2].mean() > 0.8
    assert not hit[12:].any()
