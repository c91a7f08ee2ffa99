"""Centres for short-calls: counts per agent, queue and day."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from calibration.worlds import (
    Cell,
    Floor,
    Made,
    honest_draws,
    names,
    table,
    tail_grid,
    tilt,
)
from kpiaudit.detectors.short_calls import ShortCalls

DAYS, PER_DAY = 60, 45.0
SHORT, NEXT, MINUTE = 0.018, 0.03, 0.06
QUEUES = np.array([0.7, 1.0, 1.4])
KNOWN, REDIAL, REDIAL_CUT, REDIAL_LONG = 0.9, 0.3, 0.55, 0.04
MIN_EFFECT = 5.0
STRENGTHS = (0.01, 0.02, 0.05, 0.1)


def make(cell: Cell, rng: np.random.Generator) -> Made:
    """Simulate one centre; the planted pattern ends a share of the calls at once."""
    floor = Floor.of(cell, rng, DAYS)
    gamer = floor.gamers()
    per_day = floor.workload(PER_DAY)
    mix = rng.dirichlet(np.full(len(QUEUES), 3.0), cell.agents)
    calls = rng.poisson((per_day[:, None] * mix)[:, :, None], (cell.agents, 3, DAYS))

    def binomial(n: np.ndarray, base: np.ndarray | float) -> np.ndarray:
        return rng.binomial(n, tilt(base, floor.habit()[:, None, :]))

    of_queue = QUEUES[None, :, None]
    short = binomial(calls, SHORT * of_queue)
    following = binomial(calls - short, NEXT * of_queue)
    cut = cell.strength * gamer[:, None, None]
    cut_next = rng.binomial(following, cut)
    cut_rest = rng.binomial(calls - short - following, cut)
    following = following - cut_next
    dumped = cut_next + cut_rest
    known, known_cut = rng.binomial(short, KNOWN), rng.binomial(dumped, KNOWN)
    counts = {
        "calls": calls,
        "short": short + dumped,
        "next": following,
        "short_known": known + known_cut,
        "short_redialled": binomial(known, REDIAL)
        + rng.binomial(known_cut, REDIAL_CUT),
    }
    counts["long_known"] = rng.binomial(calls - counts["short"], KNOWN)
    counts["long_redialled"] = binomial(counts["long_known"], REDIAL_LONG)
    ids = names(cell.agents)
    return Made(
        detector=ShortCalls(),
        min_effect=MIN_EFFECT,
        summaries={
            "counts": counts_of(ids, counts),
            "days": _days(ids, counts),
            "density": density_of(ids, counts, rng),
        },
        found={},
        gamer=gamer,
        ids=ids,
        events=counts["short"].sum(axis=(1, 2)),
        trials=calls.sum(axis=(1, 2)),
        excess=dumped.sum(axis=(1, 2)),
        # The oracle knows the agent's own mix of queues: rates relative to it.
        honest=_honest(cell.family, cell.sd)[None, :] * (mix @ QUEUES)[:, None],
    )


@lru_cache
def _honest(family: str, sd: float) -> np.ndarray:
    """Return an honest agent's rate of short calls as a grid."""
    cell = Cell(detector="short-calls", agents=8, family=family, sd=sd)
    rates = tilt(SHORT, honest_draws(cell, DAYS).habit()).mean(axis=1)
    return tail_grid(rates)


def counts_of(ids: np.ndarray, counts: dict[str, np.ndarray]):
    """Return the summary `counts` from arrays (agents, queues, days)."""
    queue = np.array(["Q0", "Q1", "Q2"], dtype=object)
    return table(
        agent_id=np.repeat(ids, 3),
        queue=np.tile(queue, len(ids)),
        **{name: each.sum(axis=2).ravel() for name, each in counts.items()},
    )


def _days(ids: np.ndarray, counts: dict[str, np.ndarray]):
    return table(
        agent_id=np.repeat(ids, DAYS),
        day=np.tile(np.arange(20000, 20000 + DAYS), len(ids)),
        **{name: each.sum(axis=1).ravel() for name, each in counts.items()},
    )


def density_of(
    ids: np.ndarray, counts: dict[str, np.ndarray], rng: np.random.Generator
):
    """Return the summary `density` of the same arrays."""
    short, following = (counts[n].sum(axis=(1, 2)) for n in ("short", "next"))
    rest = counts["calls"].sum(axis=(1, 2)) - short - following
    parts = (
        rng.multinomial(short, np.full(10, 0.1)),
        rng.multinomial(following, np.full(20, 0.05)),
        rng.multinomial(rng.binomial(rest, MINUTE), np.full(30, 1 / 30)),
    )
    return table(
        agent_id=np.repeat(ids, 60),
        second=np.tile(np.arange(60), len(ids)),
        calls=np.hstack(parts).ravel(),
    )
