"""Centres for duration-cap: single calls, counted as the detector's queries do."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.stats import norm

from calibration.worlds import (
    Cell,
    Floor,
    Made,
    grouped,
    honest_draws,
    names,
    table,
    tail_grid,
    tilt,
)
from kpiaudit.detectors.duration_cap import DurationCap

DAYS, PER_DAY, CAP, WINDOW = 60, 45.0, 420, 15
LOG_MEAN, LOG_SD = 5.5, 0.7
QUEUES = np.array([-0.15, 0.0, 0.15])
AGAIN, AGAIN_CUT = 0.12, 0.5
SHAPE = 0.5
"""How far agents differ in their mean log length, in multiples of the spread."""
MIN_EFFECT = 5.0
STRENGTHS = (0.03, 0.1, 0.2, 0.4)
_REACH = 4 * WINDOW
_ZONES = ("below", "near", "over", "beyond")

_IN_SECONDS = table(hours=np.zeros(1), days=np.zeros(1))
"""No call is so long that its unit is in doubt."""


def make(cell: Cell, rng: np.random.Generator) -> Made:
    """Simulate one centre; a share of the calls past the cap ends just before it."""
    floor = Floor.of(cell, rng, DAYS)
    gamer = floor.gamers()
    load = rng.poisson(floor.workload(PER_DAY)[:, None], (cell.agents, DAYS))
    agent = np.repeat(np.arange(cell.agents), load.sum(axis=1))
    day = np.concatenate([np.repeat(np.arange(DAYS), each) for each in load])
    queue = rng.integers(0, len(QUEUES), len(agent))
    length = SHAPE * floor.habit().mean(axis=1)
    mean = LOG_MEAN + QUEUES[queue] + length[agent]
    talk = np.exp(mean + LOG_SD * rng.standard_normal(len(agent)))
    second = np.minimum(talk, 3600).astype(np.int64)
    second = _habitual(second, floor.habit()[agent, day], rng)
    cut = gamer[agent] & (second >= CAP) & (rng.random(len(agent)) < cell.strength)
    excess = np.bincount(agent[cut], minlength=cell.agents)
    second = np.where(cut, CAP - 1 - rng.integers(0, WINDOW, len(agent)), second)
    again = np.where(cut, AGAIN_CUT, tilt(AGAIN, floor.habit()[agent, day]))
    again = (rng.random(len(agent)) < again).astype(np.int64)
    detector = DurationCap(cap_s=None if cell.mode == "search" else float(CAP))
    ids = names(cell.agents)
    calls = {"agent": agent, "day": day, "queue": queue, "second": second}
    found = detector.find({"seconds": _seconds(calls), "lengths": _IN_SECONDS})
    summaries = _around(calls | {"again": again}, found, ids)
    events, trials = _plain(calls, cell.agents)
    return Made(
        detector=detector,
        min_effect=MIN_EFFECT,
        summaries=summaries,
        found=dict(found),
        gamer=gamer,
        ids=ids,
        events=events,
        trials=trials,
        honest=_honest(cell.family, cell.sd),
        excess=excess if len(found["caps"]) else np.empty(0),
        durations=(agent, second),
    )


def _habitual(
    second: np.ndarray, effect: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Tilt the odds of ending just before the cap, against a minute around it."""
    start, end = CAP - _REACH, CAP + _REACH
    near = (second >= CAP - WINDOW) & (second < CAP)
    other = (second >= start) & (second < end) & ~near
    share = near.sum() / max((near | other).sum(), 1)
    wanted = tilt(share, effect)
    inward = np.clip((wanted - share) / (1 - share), 0, 1)
    outward = np.clip((share - wanted) / share, 0, 1)
    u = rng.random(len(second))
    beside = rng.integers(0, 2 * _REACH - WINDOW, len(second))
    beside = start + beside + WINDOW * (beside >= _REACH - WINDOW)
    inside = CAP - 1 - rng.integers(0, WINDOW, len(second))
    second = np.where(other & (u < inward), inside, second)
    return np.where(near & (u < outward), beside, second)


def _seconds(calls: dict[str, np.ndarray]):
    even = (calls["day"] % 2 == 0).astype(np.int64)
    rows = grouped([calls["queue"], calls["second"]], even=even, odd=1 - even)
    n = len(rows["0"])
    return table(
        measure=np.full(n, "talk", dtype=object),
        period=np.ones(n),
        site_id=np.full(n, "", dtype=object),
        queue=_queue(rows["0"]),
        second=rows["1"],
        even=rows["even"],
        odd=rows["odd"],
    )


def _queue(number: np.ndarray) -> np.ndarray:
    return np.array(["Q0", "Q1", "Q2"], dtype=object)[number]


def _around(calls: dict[str, np.ndarray], found, ids: np.ndarray):
    parts: dict[str, list[dict[str, np.ndarray]]] = {}
    for cap in found["caps"]:
        for name, rows in _one_cap(calls, cap, found["layouts"][0], ids).items():
            n = len(next(iter(rows.values())))
            parts.setdefault(name, []).append({"cap_s": np.full(n, cap.cap_s)} | rows)
    out = {
        name: table(**{c: np.concatenate([r[c] for r in rows]) for c in rows[0]})
        for name, rows in parts.items()
    }
    totals = [_totals(calls, cap, ids) for cap in found["caps"]]
    if not totals:
        return out
    columns = {
        name: np.concatenate([each[name] for each in totals]) for name in totals[0]
    }
    return out | {"totals": table(**columns)}


def _totals(calls: dict[str, np.ndarray], cap, ids: np.ndarray):
    past = calls["second"] >= cap.halves[0][1]
    rows = grouped(
        [calls["agent"]],
        calls=np.ones(len(past)),
        ms=1000 * calls["second"],
        past=past,
        past_ms=1000 * calls["second"] * past,
    )
    agents = ids[rows.pop("0")]
    return {"cap_s": np.full(len(agents), cap.cap_s), "agent_id": agents} | rows


def _one_cap(calls: dict[str, np.ndarray], cap, layout, ids: np.ndarray):
    zone = np.full(len(calls["second"]), -1)
    for parity, cutoff in cap.halves:
        at = layout.windows(cutoff, WINDOW)
        edges = [at.low - 3 * at.width, at.low, at.high, at.high + at.width]
        own = np.searchsorted(
            [*edges, at.high + 4 * at.width], calls["second"], "right"
        )
        mine = (
            np.ones(len(zone), bool) if parity is None else calls["day"] % 2 == parity
        )
        zone = np.where(mine, np.where(own == 5, 0, own) - 1, zone)
    keep = zone >= 0
    kept = {name: each[keep] for name, each in calls.items()}
    zone = zone[keep]
    each = {name: (zone == i) for i, name in enumerate(_ZONES)}
    agents = grouped([kept["agent"], kept["queue"]], **each)
    days = grouped([kept["agent"], kept["day"]], near=zone == 1, trials=zone < 3)
    near, again = zone == 1, kept["again"] == 1
    repeats = grouped(
        [kept["agent"], kept["queue"]],
        near=near,
        near_again=near & again,
        rest=~near,
        rest_again=~near & again,
    )
    return {
        "agents": {
            "period": np.ones(len(agents["0"])),
            "agent_id": ids[agents["0"]],
            "queue": _queue(agents["1"]),
            "layout": np.zeros(len(agents["0"])),
        }
        | {name: agents[name] for name in _ZONES},
        "days": {
            "agent_id": ids[days["0"]],
            "day": days["1"] + 20000,
            "near": days["near"],
            "trials": days["trials"],
        },
        "repeats": {
            "agent_id": ids[repeats["0"]],
            "queue": _queue(repeats["1"]),
        }
        | {n: repeats[n] for n in ("near", "near_again", "rest", "rest_again")},
    }


def _plain(calls: dict[str, np.ndarray], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return calls near the given cap, and those below, near and over, per agent."""
    second, agent = calls["second"], calls["agent"]
    near = (second >= CAP - WINDOW) & (second < CAP)
    around = (second >= CAP - _REACH) & (second < CAP + WINDOW)
    return np.bincount(agent[near], minlength=n), np.bincount(
        agent[around], minlength=n
    )


@lru_cache
def _honest(family: str, sd: float) -> np.ndarray:
    """Return honest shares of `near` as a grid, shape (1, n_points)."""
    cell = Cell(detector="duration-cap", agents=8, family=family, sd=sd)
    floor = honest_draws(cell, DAYS)
    mean = LOG_MEAN + SHAPE * floor.habit().mean(axis=1)
    edges = np.log([CAP - _REACH, CAP - WINDOW, CAP, CAP + WINDOW, CAP + _REACH])
    cdf = norm.cdf((edges[:, None, None] - mean - QUEUES[:, None]) / LOG_SD).mean(
        axis=1
    )
    zones = np.diff(cdf, axis=0)
    share = zones[1] / zones.sum(axis=0)
    near = tilt(share[:, None], floor.habit()).mean(axis=1)
    scale = (1 - near) / (1 - share)
    below, over = zones[0] / zones.sum(axis=0), zones[2] / zones.sum(axis=0)
    shares = near / (near + scale * (below + over))
    return tail_grid(shares)[None, :]
