"""Centres for premature-ready: single orders, counted as the detector's queries do."""

from __future__ import annotations

import numpy as np

from calibration.worlds import Cell, Floor, Made, grouped, names, table, tilt
from kpiaudit.detectors._premature_ready_find import OPTIONAL
from kpiaudit.detectors.premature_ready import PrematureReady

DAYS, PER_DAY = 42, 20.0
PAIR = "ready>handed"
EARLY, SD, WINDOW = -6.0, 7.0, 5
"""Stamp less promise: mean and sd in minutes; the window before the promise."""
RANK = 0.15
"""A stamp that came early by this pattern leaves a wait among the longest: its rank
is uniform below this."""
MIN_EFFECT = 1.0
STRENGTHS = (0.1, 0.2, 0.4, 0.8)


def make(cell: Cell, rng: np.random.Generator) -> Made:
    """Simulate one centre; a share of the late orders is stamped before the promise.

    In the mode `level` honest agents don't differ in how much longer than their other
    orders those wait that they stamped near the promise. In the modes `effort` nobody
    games, and agents who make an effort have late orders ready just in time.
    """
    floor = Floor.of(cell, rng, DAYS)
    gamer, eager = floor.gamers(), floor.eager()
    load = rng.poisson(floor.workload(PER_DAY)[:, None], (cell.agents, DAYS))
    agent = np.repeat(np.arange(cell.agents), load.sum(axis=1))
    day = np.concatenate([np.repeat(np.arange(DAYS), each) for each in load])
    n = len(agent)
    clock = rng.integers(0, 2, n)
    pace = 3.0 * floor.habit().mean(axis=1)[agent]
    late = EARLY + pace + SD * rng.standard_normal(n)
    close = (late >= -WINDOW) & (late < WINDOW)
    effect = floor.habit()[agent, day]
    switch = np.clip(np.where(late >= 0, effect, -effect) / 2, 0, 1)
    late = np.where(close & (rng.random(n) < switch), -late, late)
    share = np.where(gamer, cell.strength, eager)[agent]
    moved = (late > 0) & (rng.random(n) < share)
    late = np.where(moved, -2.0 * rng.random(n), late)
    early = moved & gamer[agent]
    near = (late > -WINDOW) & (late <= 0)
    level = floor.habit()[agent, day]
    if cell.mode != "level":
        level = level + np.where(near, floor.habit()[agent, day], 0.0)
    # The odds of a rank in the longest tenth are tilted by the habit.
    rank = rng.random(n)
    odds = rank / (1 - rank) * np.exp(-level)
    rank = np.where(early, RANK * rng.random(n), odds / (1 + odds))
    orders = {"agent": agent, "day": day, "clock": clock, "late": late, "rank": rank}
    ids = names(cell.agents)
    return Made(
        detector=PrematureReady(),
        min_effect=MIN_EFFECT,
        summaries=_summaries(orders, ids),
        found={"pairs": (PAIR,), "columns": dict.fromkeys(OPTIONAL, 1.0)},
        gamer=gamer,
        excess=np.bincount(
            agent[early],
            weights=(rank < 0.1)[early] - tilt(0.1, level)[early],
            minlength=cell.agents,
        ),
        ids=ids,
    )


def _summaries(orders, ids: np.ndarray):
    late, rank, agent = orders["late"], orders["rank"], orders["agent"]
    one = np.ones(len(late), dtype=bool)
    open_late = late > -WINDOW
    near = open_late & (late <= 0)
    after = (late > 0) & (late <= WINDOW)
    long = rank < 0.1
    wait = (20.0 - 15.0 * rank) * 60_000
    unknown = np.zeros(len(late))
    ends = ("", "_long")
    wording = {
        f"{where}_{what}{end}": unknown
        for where in ("near", "far")
        for what in ("there", "burst", "offline")
        for end in ends
    } | dict.fromkeys(("near_five", "far_five", "jammed"), unknown)
    cells = grouped(
        [agent, orders["clock"]],
        orders=one,
        met=late <= 0,
        open_late=open_late,
        near=near,
        just_after=after,
        known=one,
        long=long,
        near_known=near,
        near_long=near & long,
        near_wait_ms=wait * near,
        far_wait_ms=wait * ~near,
        **wording,
    )
    days = grouped(
        [agent, orders["day"]],
        open_late=open_late,
        near=near,
        near_known=near,
        near_long=near & long,
    )
    minute = np.ceil(late).astype(np.int64) + 59
    inside = (minute >= 0) & (minute < 120)
    places = grouped(
        [minute[inside]], n=one[inside], known=one[inside], long=long[inside]
    )

    def paired(rows, **columns):
        pair = np.full(len(columns[next(iter(columns))]), PAIR, dtype=object)
        return table(pair=pair, **columns, **rows)

    return {
        "cells": paired(cells, agent_id=ids[cells.pop("0")], clock=cells.pop("1")),
        "days": paired(days, agent_id=ids[days.pop("0")], day=days.pop("1") + 20000),
        "positions": paired(places, position=places.pop("0")),
    }
