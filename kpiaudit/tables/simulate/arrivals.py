"""Who calls, when, and which agent gets the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kpiaudit.tables.simulate.roster import CLOSES_S, DAY_S, OPENS_S, special_queues
from kpiaudit.tables.simulate.spread import stream

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Bools, Floats, Ints

Columns: TypeAlias = dict[str, NDArray[Any]]
"""Columns of equal length, by name."""

SILENT_NUMBERS = 3
_GRID_S = np.arange(OPENS_S, CLOSES_S + 1, 300, dtype=np.float64)
_SLOT_S = 1800
_COINCIDENCE = 0.012
"""Chance that a customer happens to call again within a day, for no reason."""


def demand() -> Floats:
    """Return the cumulated demand over a day, in [0, 1], on a grid of five minutes."""
    hour = _GRID_S / 3600
    rate = (
        0.5
        + np.exp(-(((hour - 10.5) / 1.5) ** 2))
        + 0.8 * np.exp(-(((hour - 15.0) / 2.0) ** 2))
    )
    total = np.cumsum(rate)
    return np.asarray((total - total[0]) / (total[-1] - total[0]))


def first_contacts(floor: Floor) -> Columns:
    """Draw the contacts that are no repeats, sorted by agent and time."""
    centre = floor.centre
    rng = stream(centre.seed, "arrivals")
    agent, day = np.nonzero(floor.works)
    # repeats come on top, about a twelfth
    rate = 0.92 * centre.calls_per_day * floor.works.size / floor.works.sum()
    rate = rate * np.where(floor.part_time, 0.5, 1.0)
    rate = rate * np.exp(0.05 * rng.standard_normal(centre.agents))
    count = rng.poisson(rate[agent])
    agent, day = np.repeat(agent, count), np.repeat(day, count)
    total = demand()
    start = floor.starts_s[agent, day]
    low = np.interp(start, _GRID_S, total)
    high = np.interp(start + 0.97 * floor.shift_s[agent], _GRID_S, total)
    within = np.interp(low + rng.random(len(agent)) * (high - low), total, _GRID_S)
    at = day * DAY_S + within
    order = np.lexsort((at, agent))
    customers = number_of_customers(floor, len(agent))
    rows: Columns = {
        "agent": agent[order],
        "at": at[order],
        "queue": _draw_rows(floor.mix, agent[order], rng.random(len(agent))),
        "customer": _customers(customers, len(agent), rng),
    }
    return _silent_callers(floor, _blank(rows), customers)


def abandoned_contacts(floor: Floor, answered: Columns) -> Columns:
    """Draw the callers who hung up before anybody answered, about one in twenty."""
    rng = stream(floor.centre.seed, "abandoned")
    like = rng.choice(len(answered["at"]), size=len(answered["at"]) // 20)
    n = len(like)
    rows: Columns = {
        "agent": np.full(n, -1, dtype=np.int64),
        "at": answered["at"][like] + rng.uniform(-900, 900, n),
        "queue": answered["queue"][like],
        "customer": rng.permutation(answered["customer"])[:n],
    }
    return _blank(rows)


def route(floor: Floor, rows: Columns, busy: Columns, generation: int) -> Columns:
    """Give each repeat call to an agent who is there, free, and serves its queue.

    Args:
        floor: The staff.
        rows: Calls without an agent.
        busy: `agent`, `begin` and `end` of the calls laid so far.
        generation: Number of the round, for the random stream.

    Returns:
        The calls with `agent`; -1 where nobody works at that time.
    """
    rng = stream(floor.centre.seed, f"route-{generation}")
    first, count, flat = _on_shift(floor)
    slot = np.clip(rows["at"] // _SLOT_S, 0, len(first) - 1).astype(np.int64)
    taken = np.lexsort((busy["begin"], busy["agent"]))
    schedule = {k: busy[k][taken] for k in ("agent", "begin", "end")}
    agent = np.full(len(slot), -1, dtype=np.int64)
    open_ = count[slot] > 0
    best = floor.mix.max(axis=0)
    for attempt in range(10):
        pick = first[slot] + (rng.random(len(slot)) * count[slot]).astype(np.int64)
        candidate = flat[np.minimum(pick, len(flat) - 1)]
        serves = (
            rng.random(len(slot)) * best[rows["queue"]]
            < (floor.mix[candidate, rows["queue"]])
        )
        fits = serves & is_free(schedule, candidate, rows["at"])
        use = open_ & (agent < 0) & (fits | (attempt == 9))
        agent = np.where(use, candidate, agent)
    return rows | {"agent": _to_the_victim(floor, rows, agent, rng)}


def is_free(schedule: Columns, agent: Ints, at: Floats) -> Bools:
    """Say whether each agent is idle at an instant and for a minute after it.

    Args:
        schedule: `agent`, `begin`, `end` of spells, sorted by agent and begin.
        agent: Agent per question, shape (n,).
        at: Instant per question, in seconds, shape (n,).
    """
    far = 4.0e9  # beyond every instant
    begin = schedule["agent"] * far + schedule["begin"]
    index = np.searchsorted(begin, agent * far + at, side="right")
    before = np.maximum(index - 1, 0)
    after = np.minimum(index, len(begin) - 1)
    same_before = (index > 0) & (schedule["agent"][before] == agent)
    same_after = (index < len(begin)) & (schedule["agent"][after] == agent)
    ended = ~same_before | (schedule["end"][before] <= at)
    clear = ~same_after | (schedule["begin"][after] >= at + 60)
    return np.asarray(ended & clear)


def next_open(at: Floats, rng: np.random.Generator) -> Floats:
    """Move instants outside opening hours to the next opening, plus up to an hour."""
    time = at % DAY_S
    morning = (at // DAY_S) * DAY_S + OPENS_S + rng.uniform(60, 3600, len(at))
    late = time >= CLOSES_S - 600
    return np.where(time < OPENS_S, morning, np.where(late, morning + DAY_S, at))


def number_of_customers(floor: Floor, contacts: int) -> int:
    """Return how many customers there are, so that coincidences stay rare."""
    # uneven customers (a gamma of shape 1) double the coincidences
    return max(50, int(2 * contacts / (_COINCIDENCE * floor.centre.days)))


def _blank(rows: Columns) -> Columns:
    """Add what only repeats and silent callers have."""
    n = len(rows["at"])
    no = np.zeros(n, dtype=np.bool_)
    parent = np.full(n, -1, dtype=np.int64)
    return rows | {"silent": no, "angry": no, "induced": no, "parent": parent}


def _customers(number: int, contacts: int, rng: np.random.Generator) -> Ints:
    """Draw who calls; some customers call more often than others."""
    weight = np.cumsum(rng.gamma(1.0, size=number))
    drawn = np.searchsorted(weight, rng.random(contacts) * weight[-1])
    return np.asarray(drawn, dtype=np.int64)


def _draw_rows(table: Floats, row: Ints, uniform: Floats) -> Ints:
    """Draw a column per record with the probabilities of its row of a table."""
    edges = np.cumsum(table, axis=1)[row]
    drawn = (uniform[:, None] > edges).sum(axis=1)
    return np.asarray(np.minimum(drawn, table.shape[1] - 1), dtype=np.int64)


def _silent_callers(floor: Floor, rows: Columns, customers: int) -> Columns:
    """Turn 0.8 % of the contacts into silent callers; two agents get half of them."""
    if not floor.centre.has("silent-callers"):
        return rows
    rng = stream(floor.centre.seed, "silent-callers")
    n = len(rows["at"])
    favoured = floor.plays("silent-callers")[rows["agent"]]
    chance = np.where(favoured, 0.004 / max(favoured.mean(), 1e-9), 0.004)
    silent = rng.random(n) < chance
    number = customers + rng.integers(0, SILENT_NUMBERS, n)
    return rows | {
        "silent": silent,
        "customer": np.where(silent, number, rows["customer"]),
    }


def _on_shift(floor: Floor) -> tuple[Ints, Ints, Ints]:
    """List who works in each half hour: first index, number, and a flat list."""
    days = floor.centre.days
    slots = np.arange(days * DAY_S // _SLOT_S)
    day = slots * _SLOT_S // DAY_S
    time = slots * _SLOT_S % DAY_S
    begin = floor.starts_s[:, day]
    there = floor.works[:, day] & (begin <= time)
    there &= time + _SLOT_S <= begin + floor.shift_s[:, None]
    count = there.sum(axis=0)
    flat = np.nonzero(there.T)[1]
    return np.cumsum(count) - count, count, flat


def _to_the_victim(
    floor: Floor, rows: Columns, agent: Ints, rng: np.random.Generator
) -> Ints:
    """Send most callers whose last call failed to the agent who plays that part."""
    if not floor.centre.has("angry-callers"):
        return agent
    victim = floor.parts["angry-callers"][0]
    day = np.clip(rows["at"] // DAY_S, 0, floor.centre.days - 1).astype(np.int64)
    time = rows["at"] - day * DAY_S
    begin = floor.starts_s[victim, day]
    there = floor.works[victim, day] & (time >= begin)
    there &= time < begin + floor.shift_s[victim]
    sent = rows["angry"] & there & (agent >= 0) & (rng.random(len(agent)) < 0.6)
    return np.where(sent, victim, agent)


def queue_traits(floor: Floor) -> dict[str, Floats]:
    """Return each queue's median and sigma of talk, share of quick calls, trouble."""
    q = np.arange(floor.centre.queues)
    traits = {
        "median_s": np.array([200.0, 240.0, 220.0, 260.0])[q % 4],
        "sigma": np.array([0.70, 0.60, 0.75, 0.62])[q % 4],
        "quick": np.array([0.060, 0.055, 0.065, 0.060])[q % 4],
        "trouble": np.array([0.12, 0.10, 0.16, 0.13])[q % 4],
    }
    special = special_queues(floor.centre)
    if "peak-below-cap" in special:
        traits["median_s"][special["peak-below-cap"]] = 0.93 * floor.centre.cap_s
        traits["sigma"][special["peak-below-cap"]] = 0.12
    if "short-queue" in special:
        traits["median_s"][special["short-queue"]] = 40.0
        traits["sigma"][special["short-queue"]] = 0.8
    if floor.centre.has("simpson-queues"):
        traits["trouble"][0] = 0.28
    return traits
