"""Centres for perfect-scores: single answers to surveys, counted per agent."""

from __future__ import annotations

import numpy as np

from calibration.worlds import Cell, Floor, Made, grouped, names, table, tilt
from kpiaudit.detectors.perfect_scores import PerfectScores

DAYS, PER_DAY = 42, 8.0
TOP, TROUBLE, AFTER = 0.55, 0.1, -1.2
FAST_TOP, FAST_OTHER, OWN, GIFT = 0.15, 0.12, 0.01, 0.02
EXCELLENT = 1.2
"""Log-odds by which customers like an excellent agent better."""
MIN_EFFECT = 3.0
STRENGTHS = (0.05, 0.1, 0.2, 0.4)
"""Share of the respondents who are made to give the top score at once; half of them on
the agent's device, half against a credit."""


def make(cell: Cell, rng: np.random.Generator) -> Made:
    """Simulate one centre."""
    floor = Floor.of(cell, rng, DAYS)
    gamer = floor.gamers()
    load = rng.poisson(floor.workload(PER_DAY)[:, None], (cell.agents, DAYS))
    agent = np.repeat(np.arange(cell.agents), load.sum(axis=1))
    day = np.concatenate([np.repeat(np.arange(DAYS), each) for each in load])
    n = len(agent)

    def drawn(base: np.ndarray | float, more: np.ndarray | float = 0.0) -> np.ndarray:
        return rng.random(n) < tilt(base, floor.habit()[agent, day] + more)

    excellent = (np.arange(cell.agents) % 3 == 0) & (cell.mode == "excellent")
    liked = EXCELLENT * excellent[agent]
    coached = gamer[agent] & (rng.random(n) < cell.strength)
    trouble = drawn(TROUBLE, -0.5 * liked)
    cost = AFTER + floor.habit()[agent, day]
    honest = drawn(TOP, liked + np.where(trouble, cost, 0.0))
    top = honest | coached
    fast = drawn(np.where(top, FAST_TOP, FAST_OTHER)) | coached
    device = rng.random(n) < 0.5
    own = drawn(OWN) | (coached & device)
    gift = drawn(GIFT) | (coached & ~device)
    signed = fast | own | gift
    one = np.ones(n, dtype=bool)
    columns = {
        "answers": one,
        "top": top,
        "timed_top": top,
        "fast_top": top & fast,
        "placed_top": top,
        "owned_top": top & own,
        "asked": one,
        "known_top": top,
        "troubled": trouble,
        "troubled_top": trouble & top,
        "followed_top": top,
        "gift_top": top & gift,
        "signed": signed,
        "signed_top": signed & top,
        "rare": own | gift,
        "rare_top": (own | gift) & top,
        "milli": np.where(top, 5000, 3000),
        "top_milli": 5000 * top,
        "timed_other": ~top,
        "fast_other": ~top & fast,
        "followed_other": ~top,
        "gift_other": ~top & gift,
    }
    ids = names(cell.agents)
    counts = grouped([agent, rng.integers(0, 2, n)], **columns)
    days = grouped([agent, day], **columns)
    size = len(counts["0"])
    text = {
        "agent_id": ids[counts.pop("0")],
        "queue": np.array(["Q0", "Q1"], dtype=object)[counts.pop("1")],
        "contact": np.full(size, "phone", dtype=object),
        "channel": np.full(size, "email", dtype=object),
        "administered_by": np.full(size, "", dtype=object),
    }
    who = {"agent_id": ids[days.pop("0")], "day": days.pop("1") + 20000}
    return Made(
        detector=PerfectScores(),
        min_effect=MIN_EFFECT,
        summaries={"counts": table(**text, **counts), "days": table(**who, **days)},
        found={},
        gamer=gamer,
        excess=np.bincount(agent[coached & ~honest], minlength=cell.agents),
        ids=ids,
    )
