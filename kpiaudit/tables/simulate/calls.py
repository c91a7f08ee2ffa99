"""What happens in a call: trouble, length, hold, who ends it, what is noted down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.tables.simulate.arrivals import queue_traits
from kpiaudit.tables.simulate.roster import DAY_S
from kpiaudit.tables.simulate.spread import expit, shift_across, stream, tilt

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Bools, Floats, Ints

AGENT, CUSTOMER, SYSTEM, TRANSFER = range(4)
ENDED_BY = ("agent", "customer", "system", "transfer")
QUICK_MEAN_S = 30.0
"""Mean of calls that break off early: wrong numbers, lines, second thoughts."""

_MONITORED = 0.04


def progress(floor: Floor, rows: Columns) -> Floats:
    """Return how much of the period is over at each record, in [0, 1]."""
    return np.asarray(np.clip(rows["at"] / (floor.centre.days * DAY_S), 0, 1))


def converse(floor: Floor, rows: Columns, generation: int) -> Columns:
    """Draw the honest course of answered calls.

    Args:
        floor: The staff.
        rows: `agent` (never -1), `at`, `queue`, `silent`, `angry`.
        generation: Number of the round of repeats, for the random streams.

    Returns:
        The columns with `trouble`, `quick`, `line_s` (talk and hold together, whole
        seconds), `hold_s`, `wrap_s`, `wait_s`, `monitored`, `chat`, `station`.
    """
    rng = stream(floor.centre.seed, f"calls-{generation}")
    n = len(rows["at"])
    rows = rows | {
        "monitored": rng.random(n) < _MONITORED,
        "chat": _chats(floor, rows, rng),
        "station": _station(floor, rows),
        "wait_s": _waits(rows, rng),
        "trouble": _trouble(floor, rows, rng),
    }
    rows = rows | {"quick": _quick(floor, rows, rng)}
    line = _lengths(floor, rows, rng)
    hold = _holds(floor, rows, line, rng)
    wrap_effect = floor.spread.effect("wrap", rows["agent"], progress(floor, rows))
    wrap = np.round(rng.gamma(2.0, 18.0, n) * np.exp(0.5 * wrap_effect))
    line = np.where(rows["quick"], line, line + hold)
    return rows | {
        "line_s": line,
        "hold_s": hold,
        "wrap_s": np.where(line < 15, np.minimum(wrap, 5), wrap),
    }


def _chats(floor: Floor, rows: Columns, rng: np.random.Generator) -> Bools:
    """Draw which contacts are chats; none unless channels are simulated."""
    uniform = rng.random(len(rows["at"]))
    if not floor.centre.has("channel-scores"):
        return np.zeros(len(uniform), dtype=np.bool_)
    liking = stream(floor.centre.seed, "chats").normal(0, 0.8, floor.centre.agents)
    return uniform < expit(-0.9 + liking[rows["agent"]])


def _station(floor: Floor, rows: Columns) -> Ints:
    """Return the seat of each call."""
    day = np.clip(rows["at"] // DAY_S, 0, floor.centre.days - 1).astype(np.int64)
    return np.asarray(floor.seat[rows["agent"], day])


def _waits(rows: Columns, rng: np.random.Generator) -> Floats:
    """Draw the wait before the answer: a few seconds, or longer around the peak."""
    n = len(rows["at"])
    hour = rows["at"] % DAY_S / 3600
    peak = np.exp(-(((hour - 10.5) / 1.5) ** 2))
    queued = rng.random(n) < 0.35 + 0.35 * peak
    wait = np.where(queued, rng.exponential(30 + 40 * peak), rng.uniform(2, 8, n))
    return np.asarray(np.round(wait) + 1.0)


def _trouble(floor: Floor, rows: Columns, rng: np.random.Generator) -> Bools:
    """Draw whether the contact goes badly for the customer: latent, never exported."""
    effect = floor.spread.effect("trouble", rows["agent"], progress(floor, rows))
    effect = effect - 0.7 * floor.plays("excellent-agents")[rows["agent"]]
    effect = effect + 1.5 * rows["angry"]  # the caller was shaken off before
    base = queue_traits(floor)["trouble"][rows["queue"]]
    return rng.random(len(effect)) < tilt(base, effect)


def _quick(floor: Floor, rows: Columns, rng: np.random.Generator) -> Bools:
    """Draw the calls that break off early, clustered by agent and day."""
    base = queue_traits(floor)["quick"][rows["queue"]]
    effect = floor.spread.effect("short calls", rows["agent"], progress(floor, rows))
    effect = effect + 0.5 * rows["angry"]
    chance = tilt(base, effect) * _moods(floor)[rows["agent"], _days(floor, rows)]
    chance = np.where(rows["silent"], 1.0, np.minimum(chance, 0.9))
    return rng.random(len(base)) < chance


def _days(floor: Floor, rows: Columns) -> Ints:
    """Return the day of each record, clipped to the period."""
    days = np.clip(rows["at"] // DAY_S, 0, floor.centre.days - 1)
    return np.asarray(days.astype(np.int64))


def _moods(floor: Floor) -> Floats:
    """Draw each agent-day's multiplier of short calls, mean 1.

    A gamma multiplier of variance v makes a Poisson count of mean m have the variance
    m (1 + m v): with v = (clustering - 1) / m it is `clustering` times the Poisson one.
    """
    centre = floor.centre
    shape = (centre.agents, centre.days)
    short = 0.017 * centre.calls_per_day * floor.works.size / floor.works.sum()
    variance = (centre.day_clustering - 1) / short
    if variance <= 0:
        return np.ones(shape)
    rng = stream(centre.seed, "days")
    return np.asarray(rng.gamma(1 / variance, variance, size=shape))


def _lengths(floor: Floor, rows: Columns, rng: np.random.Generator) -> Floats:
    """Draw whole seconds from answer to end, hold excluded."""
    n = len(rows["at"])
    done = progress(floor, rows)
    traits = queue_traits(floor)
    pace = 0.4 * floor.spread.effect("pace", rows["agent"], done)
    long = np.exp(
        np.log(traits["median_s"][rows["queue"]])
        + traits["sigma"][rows["queue"]] * rng.standard_normal(n)
        + pace
        + 0.15 * (rows["trouble"] & (traits["sigma"][rows["queue"]] > 0.2))
    )
    short = rng.exponential(QUICK_MEAN_S, n)
    least = np.where(traits["median_s"] < 100, 3, 12)[rows["queue"]]
    line = np.where(rows["quick"], short, np.clip(long, least, 3 * 3600))
    line = np.maximum(np.floor(line), 1)
    # agents also differ in how short their short calls are: 0 to 9 s or 10 to 19 s
    effect = floor.spread.effect("very short calls", rows["agent"], done)
    line = shift_across(line, 10, 10, effect=effect, rng=rng, left=0.58)
    return np.where(rows["silent"], rng.integers(2, 9, n), line)


def _holds(
    floor: Floor, rows: Columns, line: Floats, rng: np.random.Generator
) -> Floats:
    """Draw whole seconds on hold; nobody is held in a call that breaks off."""
    effect = floor.spread.effect("hold", rows["agent"], progress(floor, rows))
    chance = tilt(np.where(rows["trouble"], 0.28, 0.14), effect)
    held = (rng.random(len(line)) < chance) & ~rows["quick"]
    seconds = np.exp(np.log(40) + 0.7 * rng.standard_normal(len(line)))
    return np.where(held, np.round(np.minimum(seconds, line)), 0.0)


def note_down(floor: Floor, rows: Columns, generation: int) -> Columns:
    """Draw what the agent and the switch note down about calls whose end is known.

    Returns:
        The columns with `complaint`, `resolved`, `transfer` (0 none, 1 blind, 2 warm)
        and, where it was still open (-1), `ended_by`.
    """
    rng = stream(floor.centre.seed, f"notes-{generation}")
    n = len(rows["at"])
    done = progress(floor, rows)
    real = rows["line_s"] >= 30
    flags = floor.spread.effect("complaint flag", rows["agent"], done, -1)
    claims = floor.spread.effect("resolved flag", rows["agent"], done)
    moves = floor.spread.effect("transfer", rows["agent"], done)
    noted = rng.random(n) < np.where(rows["trouble"], tilt(0.7, flags), 0.004)
    claimed = rng.random(n) < np.where(rows["trouble"], tilt(0.4, claims), 0.96)
    moved = real & (rng.random(n) < tilt(0.05, moves)) & (rows["ended_by"] < 0)
    how = 1 + (rng.random(n) < 0.6)
    agent_first = floor.spread.effect("hang-up", rows["agent"], done)
    hung_up = rng.random(n) < tilt(np.where(real, 0.3, 0.12), agent_first)
    broke = rng.random(n) < np.where(rows["quick"], 0.15, 0.008)
    honest = np.where(broke, SYSTEM, np.where(hung_up, AGENT, CUSTOMER))
    honest = np.where(moved, TRANSFER, honest)
    honest = np.where(rows["silent"], CUSTOMER, honest)
    transfer = np.where(moved, how, rows.get("transfer", np.zeros(n, dtype=np.int64)))
    return rows | {
        "complaint": noted & real,
        "resolved": claimed & real,
        "transfer": transfer,
        "ended_by": np.where(rows["ended_by"] < 0, honest, rows["ended_by"]),
    }
