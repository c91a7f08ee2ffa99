"""What cuts a call: planted patterns, and innocent causes that look like them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.tables.simulate.calls import (
    AGENT,
    CUSTOMER,
    SYSTEM,
    TRANSFER,
    progress,
)
from kpiaudit.tables.simulate.roster import DAY_S
from kpiaudit.tables.simulate.score import bonus_in_reach
from kpiaudit.tables.simulate.spread import shift_across, stream

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.centre import Plant
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Bools, Ints

CAP, SHORT = 1, 2
"""Codes of the column `gamed`; 0 is an ungamed call."""

CAP_WINDOW_S = 15
"""How far below the cap honest habits and planted endings are, at most."""


def finish(floor: Floor, rows: Columns, generation: int) -> Columns:
    """Let innocent causes and planted patterns end calls earlier.

    Returns:
        The columns with the final `line_s` and `hold_s`, `natural_s` (the line time
        without planted patterns), `ended_by` (-1 where still open), `transfer`,
        `dropped`, `gamed`, `cap_eligible` and `hidden`.
    """
    n = len(rows["at"])
    no = np.zeros(n, dtype=np.bool_)
    rows = rows | {
        "ended_by": np.full(n, -1, dtype=np.int64),
        "transfer": np.zeros(n, dtype=np.int64),
        "gamed": np.zeros(n, dtype=np.int64),
        "dropped": no,
        "hidden": no,
    }
    rows = _near_cap_habits(floor, rows, generation)
    rows = _outage(floor, rows, generation)
    rows = _dropped_lines(floor, rows, generation)
    rows = rows | {"natural_s": _cut(floor, rows)["line_s"]}
    rows = rows | {"cap_eligible": _past_the_cap(floor, rows)}
    for plant, agents in floor.plants("duration-cap"):
        rows = _plant_cap(floor, rows, plant, agents, generation)
    for plant, agents in floor.plants("short-calls"):
        rows = _plant_short(floor, rows, plant, agents, generation)
    rows = _rounding(floor, _cut(floor, rows), generation)
    return rows | {"hold_s": np.minimum(rows["hold_s"], rows["line_s"])}


def _near_cap_habits(floor: Floor, rows: Columns, generation: int) -> Columns:
    """Let agents differ in how often calls end just before or just after the cap."""
    centre = floor.centre
    rng = stream(centre.seed, f"near-cap-{generation}")
    effect = floor.spread.effect("near cap", rows["agent"], progress(floor, rows))
    line = shift_across(
        rows["line_s"], centre.cap_s, CAP_WINDOW_S, effect=effect, rng=rng
    )
    if centre.has("scripted-close"):
        reminder = centre.cap_s - CAP_WINDOW_S
        target = reminder + rng.integers(5, 25, len(line))
        heard = (line > target) & (line < centre.cap_s + 90)
        heard &= rng.random(len(line)) < 0.12
        line = np.where(heard, target, line)
    return rows | {"line_s": line, "hold_s": np.minimum(rows["hold_s"], line)}


def outage_hour(floor: Floor) -> float:
    """Return the start of the outage: eleven o'clock, half way through the period."""
    return float(floor.centre.days // 2 * DAY_S + 11 * 3600)


def _outage(floor: Floor, rows: Columns, generation: int) -> Columns:
    """Break off half of everybody's calls of one hour within seconds."""
    if not floor.centre.has("outage"):
        return rows
    rng = stream(floor.centre.seed, f"outage-{generation}")
    begin = outage_hour(floor)
    hit = (rows["at"] >= begin) & (rows["at"] < begin + 3600)
    hit &= rng.random(len(hit)) < 0.5
    return _break_off(rows, hit, rng.integers(1, 10, len(hit)))


def faulty_seat(floor: Floor) -> tuple[int, int]:
    """Return site and seat of the line that drops calls."""
    return 0, int(floor.seat[floor.site == 0].max() // 2)


def _dropped_lines(floor: Floor, rows: Columns, generation: int) -> Columns:
    """Drop every eighth call of one seat, at any time, mostly early."""
    if not floor.centre.has("dropped-lines"):
        return rows
    rng = stream(floor.centre.seed, f"dropped-{generation}")
    site, seat = faulty_seat(floor)
    hit = (floor.site[rows["agent"]] == site) & (rows["station"] == seat)
    hit &= rng.random(len(hit)) < 0.125
    seconds = 1 + np.floor(rng.exponential(15, len(hit)))
    return _break_off(rows, hit & (seconds < rows["line_s"]), seconds)


def _break_off(rows: Columns, hit: Bools, seconds: Ints) -> Columns:
    """End calls by the system after some seconds."""
    return rows | {
        "line_s": np.where(hit, np.minimum(seconds, rows["line_s"]), rows["line_s"]),
        "ended_by": np.where(hit, SYSTEM, rows["ended_by"]),
        "dropped": rows["dropped"] | hit,
    }


def _cut(floor: Floor, rows: Columns) -> Columns:
    """Let the switch end every call at a limit, where it has one."""
    for name, limit in (("auto-cut-cap", floor.centre.cap_s), ("auto-cut-1800", 1800)):
        if floor.centre.has(name):
            hit = rows["line_s"] > limit
            rows = _break_off(rows, hit, np.full(len(hit), limit))
    return rows


def _past_the_cap(floor: Floor, rows: Columns) -> Bools:
    """Say which calls would reach the cap, by nature and before any automatic cut."""
    return np.asarray((rows["line_s"] >= floor.centre.cap_s) & (rows["ended_by"] < 0))


def _of(rows: Columns, agents: Ints) -> Bools:
    """Say which calls belong to some agents."""
    return np.isin(rows["agent"], agents)


def _plant_cap(
    floor: Floor, rows: Columns, plant: Plant, agents: Ints, generation: int
) -> Columns:
    """End a gamer's long calls in the last seconds before the cap."""
    rng = stream(floor.centre.seed, f"duration-cap-{generation}")
    n = len(rows["at"])
    hit = rows["cap_eligible"] & _of(rows, agents) & (rows["gamed"] == 0)
    hit &= rng.random(n) < plant.strength
    if plant.follows_score:
        hit &= bonus_in_reach(floor, rows) & (generation == 0)
    before = np.where(
        rng.random(n) < 0.85,
        rng.integers(2, 11, n),
        rng.integers(1, CAP_WINDOW_S + 1, n),
    )
    line = floor.centre.cap_s - before
    chosen = {"hangup": 0, "transfer": 1, "hold": 2}.get(plant.variant, -1)
    mixed = np.searchsorted(np.array([0.5, 0.8]), rng.random(n))
    way = np.where(chosen < 0, mixed, chosen)
    ended = np.array([AGENT, TRANSFER, CUSTOMER])[way]
    hidden = hit & (rng.random(n) < plant.falsify)
    disguise = np.where(rng.random(n) < 0.5, SYSTEM, CUSTOMER)
    ended = np.where(hidden & (way == 0), disguise, ended)
    # a disguised transfer is entered as a warm one: only the word is the agent's
    transfer = np.where(way == 1, np.where(hidden, 2, 1), 0)
    hold = np.where(way == 2, rows["hold_s"] + rng.integers(30, 121, n), rows["hold_s"])
    return rows | {
        "line_s": np.where(hit, line, rows["line_s"]),
        "hold_s": np.where(hit, np.minimum(hold, line - 30), rows["hold_s"]),
        "ended_by": np.where(hit, ended, rows["ended_by"]),
        "transfer": np.where(hit, transfer, rows["transfer"]),
        "gamed": np.where(hit, CAP, rows["gamed"]),
        "hidden": rows["hidden"] | hidden,
    }


def _plant_short(
    floor: Floor, rows: Columns, plant: Plant, agents: Ints, generation: int
) -> Columns:
    """Hang up on a gamer's callers within seconds."""
    rng = stream(floor.centre.seed, f"short-calls-{generation}")
    n = len(rows["at"])
    hit = _of(rows, agents) & (rng.random(n) < plant.strength) & ~rows["dropped"]
    hit &= ~rows["silent"]
    if plant.follows_score:
        hit &= bonus_in_reach(floor, rows) & (generation == 0)
    if plant.falsify > 0:
        hit &= ~rows["monitored"]  # whoever hides it knows when somebody listens
    seconds = np.minimum(rng.integers(1, 10, n), rows["line_s"])
    hidden = hit & (rng.random(n) < plant.falsify)
    ended = np.where(hidden, SYSTEM, AGENT)
    return rows | {
        "line_s": np.where(hit, seconds, rows["line_s"]),
        "hold_s": np.where(hit, 0.0, rows["hold_s"]),
        "wrap_s": np.where(hit, np.minimum(rows["wrap_s"], 5), rows["wrap_s"]),
        "ended_by": np.where(hit, ended, rows["ended_by"]),
        "transfer": np.where(hit, 0, rows["transfer"]),
        "gamed": np.where(hit, SHORT, rows["gamed"]),
        "hidden": (rows["hidden"] & ~hit) | hidden,
    }


def _rounding(floor: Floor, rows: Columns, generation: int) -> Columns:
    """Round line times as some switches do, gamed or not."""
    line = rows["line_s"]
    if floor.centre.has("rounding-6s"):
        first_site = floor.site[rows["agent"]] == 0
        line = np.where(first_site, np.ceil(line / 6) * 6, line)
    if floor.centre.has("rounding-60s"):
        rng = stream(floor.centre.seed, f"rounding-{generation}")
        whole = rng.random(len(line)) < 0.03
        line = np.where(whole, np.maximum(np.round(line / 60), 1) * 60, line)
    return rows | {"line_s": line}


def conceal(rows: Columns) -> Columns:
    """Let hidden contacts look settled in the fields that the agent fills in."""
    return rows | {
        "complaint": rows["complaint"] & ~rows["hidden"],
        "resolved": rows["resolved"] | rows["hidden"],
    }
