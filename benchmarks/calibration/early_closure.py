"""Centres for early-closure: single tickets, counted as the detector's queries do."""

from __future__ import annotations

import numpy as np

from calibration.worlds import Cell, Floor, Made, grouped, names, table, tilt
from kpiaudit.detectors.early_closure import EarlyClosure

DAYS, PER_DAY = 60, 15.0
CLOCKS_H = np.array([24, 72])
LOG_MEAN, LOG_SD = -0.5, 0.8
"""Of the time to resolve, in multiples of the clock."""
BOUNCE, BOUNCE_EARLY = 0.08, 0.5
MIN_EFFECT = 1.0
STRENGTHS = (0.1, 0.2, 0.4, 0.8)


def make(cell: Cell, rng: np.random.Generator) -> Made:
    """Simulate one centre; a share of the late tickets is closed just in time.

    Gamers' tickets then come back; in the modes `effort` nobody games, and agents who
    make an effort solve theirs.
    """
    floor = Floor.of(cell, rng, DAYS)
    gamer, eager = floor.gamers(), floor.eager()
    load = rng.poisson(floor.workload(PER_DAY)[:, None], (cell.agents, DAYS))
    agent = np.repeat(np.arange(cell.agents), load.sum(axis=1))
    day = np.concatenate([np.repeat(np.arange(DAYS), each) for each in load])
    n = len(agent)
    clock = (rng.random(n) < 0.4).astype(np.int64)
    hours = CLOCKS_H[clock]
    length = 0.5 * floor.habit().mean(axis=1)[agent]
    at = np.exp(LOG_MEAN + length + LOG_SD * rng.standard_normal(n))
    # Honest haste: late tickets within a tenth of the clock still met, or the reverse.
    effect = floor.habit()[agent, day]
    close = (at >= 0.9) & (at < 1.1)
    switch = np.clip(np.where(at >= 1, effect, -effect) / 2, 0, 1)
    at = np.where(close & (rng.random(n) < switch), 2 - at, at)
    share = np.where(gamer, cell.strength, eager)[agent]
    moved = (at >= 1) & (rng.random(n) < share)
    at = np.where(moved, 1 - rng.random(n) * 0.5 / hours, at)
    early = moved & gamer[agent]
    level = floor.habit()[agent, day]
    near = (at >= 0.9) & (at < 1)
    level = level + np.where(near, floor.habit()[agent, day], 0.0)
    chance = np.where(early, BOUNCE_EARLY, tilt(BOUNCE, level))
    bounced = rng.random(n) < chance
    tickets = {"agent": agent, "day": day, "clock": clock, "at": at, "bounced": bounced}
    ids = names(cell.agents)
    return Made(
        detector=EarlyClosure(),
        min_effect=MIN_EFFECT,
        summaries=_summaries(tickets, ids, rng),
        found={"mode": "due"},
        gamer=gamer,
        # Beyond the bounces that the same tickets would have had without the pattern.
        excess=np.bincount(
            agent[early],
            weights=(bounced - tilt(BOUNCE, level))[early],
            minlength=cell.agents,
        ),
        ids=ids,
    )


def _summaries(tickets, ids: np.ndarray, rng: np.random.Generator):
    at, bounced, agent = tickets["at"], tickets["bounced"], tickets["agent"]
    one = np.ones(len(at), dtype=bool)
    near = (at >= 0.9) & (at < 1)
    reopened = bounced & (rng.random(len(at)) < 0.7)
    side = ((at >= 0.5) & (at < 0.9)) | ((at >= 1) & (at < 3))
    late = at >= 0.9
    cells = grouped(
        [agent, tickets["clock"], rng.integers(0, 3, len(at))],
        due=one,
        met=at < 1,
        open_late=late,
        near=near,
        just_after=(at >= 1) & (at < 1.1),
        known=one,
        bounced=bounced,
        near_known=near,
        near_bounced=near & bounced,
        near_reopened=near & reopened,
        near_followed=near & bounced & ~reopened,
        side_known=side,
        side_bounced=side & bounced,
    )
    days = grouped(
        [agent, tickets["day"]],
        open_late=late,
        near=near,
        near_known=near,
        near_bounced=near & bounced,
    )
    hundredth = np.minimum(at * 100, 299).astype(np.int64)
    within = at < 3
    places = grouped(
        [hundredth[within]], n=one[within], known=one[within], bounced=bounced[within]
    )
    lead = np.floor((at - 1) * CLOCKS_H[tickets["clock"]] * 60)
    inside = (lead >= -480) & (lead < 480)
    leads = grouped([lead[inside].astype(np.int64) + 480], n=one[inside])
    part = {"clock": cells.pop("1"), "due_part": cells.pop("2")}
    return {
        "cells": table(agent_id=ids[cells.pop("0")], **part, **cells),
        "days": table(agent_id=ids[days.pop("0")], due_day=days.pop("1"), **days),
        "positions": table(position=places.pop("0"), **places),
        "leads": table(lead=leads.pop("0") - 480, **leads),
    }
