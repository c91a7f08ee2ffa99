"""The flow of calls: rounds of repeats, and calls laid end to end per agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.tables.simulate.arrivals import (
    abandoned_contacts,
    first_contacts,
    next_open,
    route,
)
from kpiaudit.tables.simulate.calls import converse, note_down
from kpiaudit.tables.simulate.endings import CAP, SHORT, conceal, finish
from kpiaudit.tables.simulate.roster import DAY_S
from kpiaudit.tables.simulate.spread import stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Bools, Floats, Ints

_ROUNDS = 6
"""Rounds of repeats; each is about a fifteenth of the one before."""


def traffic(floor: Floor) -> Columns:
    """Simulate all calls of a centre, sorted by their start.

    Returns:
        Columns of answered calls and of callers who reached nobody (`agent` -1).
        `at` is the start in seconds after the first midnight, `answered` the answer;
        `parent` the row of the call that this one repeats, or -1; `induced` says that
        without a planted pattern there would have been no such call.
    """
    firsts = first_contacts(floor)
    lost = abandoned_contacts(floor, firsts)
    done = _lay(_hold_calls(floor, firsts, 0))
    done = done | {"at": done["answered"] - done["wait_s"]}
    nobody = [_unanswered(floor, lost, 0)]
    repeats = _repeats(floor, stack((done, nobody[0])), 1)
    for generation in range(1, _ROUNDS):
        if not len(repeats["at"]):
            break
        busy = {
            "agent": done["agent"],
            "begin": done["answered"],
            "end": _free_at(done),
        }
        routed = route(floor, repeats, busy, generation)
        reached = routed["agent"] >= 0
        held = _hold_calls(floor, _where(routed, reached), generation)
        held = held | {"answered": held["at"] + held["wait_s"]}
        missed = _unanswered(floor, _where(routed, ~reached), generation)
        nobody.append(missed)
        done = stack((done, held))
        repeats = _repeats(floor, stack((held, missed)), generation + 1)
    return _number(stack((_lay(done), *nobody)))


def stack(parts: Sequence[Columns]) -> Columns:
    """Put columns of the same names below each other."""
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def _where(rows: Columns, mask: Ints | Bools) -> Columns:
    """Return the rows that a mask or an order selects."""
    return {k: v[mask] for k, v in rows.items()}


def _hold_calls(floor: Floor, rows: Columns, generation: int) -> Columns:
    """Let answered calls happen."""
    rows = converse(floor, rows, generation)
    rows = finish(floor, rows, generation)
    rows = conceal(note_down(floor, rows, generation))
    n = len(rows["at"])
    ids = generation * 10_000_000 + np.arange(n)
    return rows | {"key": ids, "answered": rows["at"].copy()}


def _unanswered(floor: Floor, rows: Columns, generation: int) -> Columns:
    """Let callers give up before anybody answers."""
    rng = stream(floor.centre.seed, f"unanswered-{generation}")
    n = len(rows["at"])
    zero, no = np.zeros(n), np.zeros(n, dtype=np.bool_)
    none = np.zeros(n, dtype=np.int64)
    flags = ("monitored", "chat", "trouble", "quick", "dropped", "hidden", "complaint")
    return (
        rows
        | dict.fromkeys((*flags, "resolved", "cap_eligible"), no)
        | dict.fromkeys(("line_s", "hold_s", "wrap_s", "natural_s"), zero)
        | dict.fromkeys(("transfer", "gamed", "station"), none)
        | {
            "ended_by": np.ones(n, dtype=np.int64),  # the customer
            "wait_s": np.round(10 + rng.exponential(90, n)),
            "key": -1 - generation * 10_000_000 - np.arange(n),
            "answered": rows["at"].copy(),
        }
    )


def _free_at(rows: Columns) -> Floats:
    """Return when the agent can take the next call, a second after wrap-up."""
    return np.asarray(rows["answered"] + rows["line_s"] + rows["wrap_s"] + 1)


def _lay(rows: Columns) -> Columns:
    """Lay each agent's calls end to end: a call that comes too early waits.

    The start of call i is the largest, over all j <= i, of the time at which j could
    start plus the durations of j to i-1 (Lindley's recursion, unrolled).
    """
    order = np.lexsort((rows["key"], rows["answered"], rows["agent"]))
    agent, ready = rows["agent"][order], rows["answered"][order]
    length = _free_at(rows)[order] - ready
    before = np.cumsum(length) - length
    far = 1.0e9  # keeps agents apart in the running maximum
    slack = np.maximum.accumulate(ready - before + agent * far) - agent * far
    begin = np.ceil(slack + before)
    answered = np.empty_like(begin)
    answered[order] = begin
    return rows | {"answered": answered}


def _repeats(floor: Floor, rows: Columns, generation: int) -> Columns:
    """Draw which customers call again, and when."""
    rng = stream(floor.centre.seed, f"repeats-{generation}")
    n = len(rows["at"])
    honest, chance = _chances(floor, rows)
    uniform = rng.random(n)
    delay = _delays(rows, rng)
    end = rows["answered"] + rows["line_s"]
    end = np.where(rows["agent"] < 0, rows["at"] + rows["wait_s"], end)
    at = next_open(end + delay, rng)
    again = (uniform < chance) & (at < floor.centre.days * DAY_S - 8 * 3600)
    failed = (rows["gamed"] > 0) | rows["dropped"]
    out: Columns = {
        "agent": np.full(n, -1, dtype=np.int64),
        "at": np.round(at),
        "queue": rows["queue"],
        "customer": rows["customer"],
        "silent": np.zeros(n, dtype=np.bool_),
        "angry": failed & (rows["gamed"] > 0),
        "induced": rows["induced"] | (uniform >= honest),
        "parent": rows["key"],
    }
    return _where(out, again)


def _chances(floor: Floor, rows: Columns) -> tuple[Floats, Floats]:
    """Return the chance to call again, without and with what was planted."""
    base = np.where(rows["trouble"], 0.10, 0.02)
    mild = floor.plays("excellent-agents")[rows["agent"]] & (rows["agent"] >= 0)
    base = np.where(mild, 0.6 * base, base)
    short = rows["quick"] | rows["dropped"]
    honest = np.where(short & (rows["natural_s"] < 30), 0.10, base)
    honest = np.where(short & (rows["natural_s"] < 10), 0.25, honest)
    honest = np.where(rows["dropped"], 0.45, honest)
    honest = np.where(rows["silent"], 0.0, honest)
    honest = np.where(rows["agent"] < 0, 0.4, honest)
    chance = np.where(rows["gamed"] == CAP, 0.40, honest)
    chance = np.where(rows["gamed"] == SHORT, 0.51, chance)
    return honest, np.asarray(np.maximum(chance, honest))


def _delays(rows: Columns, rng: np.random.Generator) -> Floats:
    """Draw the seconds until the next call: minutes after a failure, else hours."""
    n = len(rows["at"])
    soon = rng.exponential(240, n)
    later = rng.uniform(1800, 23.3 * 3600, n)
    minutes = rng.exponential(900, n)
    early = rng.random(n)
    at_once = (rows["gamed"] == SHORT) | (rows["agent"] < 0) | rows["dropped"]
    at_once |= rows["quick"] & (rows["line_s"] < 30)
    usual = np.where(early < 0.2, minutes, later)
    capped = np.where(early < 0.6, minutes, later)
    delay = np.where(rows["gamed"] == CAP, capped, usual)
    return 20 + np.where(at_once, soon, delay)


def _number(rows: Columns) -> Columns:
    """Sort calls by their start and turn parents' keys into row numbers."""
    order = np.lexsort((rows["key"], rows["at"]))
    rows = _where(rows, order)
    by_key = np.argsort(rows["key"], kind="stable")
    found = np.searchsorted(rows["key"], rows["parent"], sorter=by_key)
    row = by_key[np.minimum(found, len(by_key) - 1)]
    parent = np.where(rows["key"][row] == rows["parent"], row, -1)
    return rows | {"parent": parent, "at": np.floor(rows["at"])}
