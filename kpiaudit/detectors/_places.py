"""Does a pattern stay at a seat or line, or does it go with the agent?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

_SHRINK = 20.0
"""Trials for which the floor's rate stands in where an agent hardly was elsewhere."""
_CLUSTERED = 2.0
"""Events come in clusters: twice the Poisson variance is usual."""
_FEW_OTHERS = 4
"""With no more others than this at a place, each of them is needed."""
_TEN_TO_ONE = float(np.log(10.0))
MIN_AGENTS = 5
_TIMES, _SURE, _MOST = 2.0, 4.0, 0.8
"""A place stands out with twice what its people have elsewhere, four standard errors
more, at four in five of them: a habit of some is no bad line."""


@frozen
class Place:
    """An agent at the place of most events, the agent elsewhere, others there.

    Args:
        name: The seat or line on which the agent had most events.
        here: The agent's events and trials there.
        elsewhere: The agent's events and trials at other places.
        others: Others' events and trials there.
        usual: Events that these others would have had there at their own rates.
        odds: Log odds of "it is the place" against "it is the agent", even at first.
        along: The part of them that the agent's other places give.
    """

    name: str
    here: tuple[float, float]
    elsewhere: tuple[float, float]
    others: tuple[float, float]
    usual: float
    odds: float
    along: float

    @property
    def explains(self) -> bool:
        """Say whether the place explains it, ten to one.

        It does not if the agent has as many at other places.
        """
        return self.odds > _TEN_TO_ONE and self.along > -_TEN_TO_ONE

    @property
    def refuted(self) -> bool:
        """Say whether the events go with the agent, ten to one."""
        return self.odds < -_TEN_TO_ONE


def place(
    rows: Summary, column: str, agent: str, *, events: str, trials: str
) -> Place | None:
    """Ask whether events stay at a place or go with the agent.

    If it is the place, others have the agent's rate there and the agent has the floor's
    elsewhere; if it is the agent, others have their own usual rate there and the agent
    takes the high one along. Others' usual rates are those of their other places:
    colleagues who have many everywhere don't make a bad seat.

    Args:
        rows: One row per place and agent.
        column: Its column with the place.
        agent: The agent.
        events: Its column with the events, such as short calls.
        trials: Its column with all calls that might have been events.

    Returns:
        None where the agent has no event at a known place.

    Source:
        Case-crossover comparison: Maclure (1991), Am. J. Epidemiol. 133:144-153.
    """
    names, index = rows.coded(column)
    owners, owner = rows.coded("agent_id")
    calls, short = rows.floats(trials), rows.floats(events)
    mine = owners[owner] == agent
    n = _per_place(index, calls * mine, len(names)) * (names != "")
    k = _per_place(index, short * mine, len(names)) * (names != "")
    if not k.any():
        return None
    base = float(short[~mine].sum() / max(calls[~mine].sum(), 1.0))
    at = int(np.argmax(k))
    away = _per_place(owner, calls, len(owners))[owner] - calls
    had = _per_place(owner, short, len(owners))[owner] - short
    there = (index == at) & ~mine
    usual = calls * (had + _SHRINK * base) / (away + _SHRINK)
    here = float(k[at]), float(n[at])
    elsewhere = float(k.sum() - k[at]), float(n.sum() - n[at])
    others = float(short[there].sum()), float(calls[there].sum())
    rate = here[0] / max(here[1], 1.0)
    asked = there & _all_but_one(owner, short - usual, there)
    odds = _log_odds(
        float(short[asked].sum()),
        rate * float(calls[asked].sum()),
        float(usual[asked].sum()),
    )
    along = _log_odds(elsewhere[0], base * elsewhere[1], rate * elsewhere[1])
    return Place(
        name=str(names[at]),
        here=here,
        elsewhere=elsewhere,
        others=others,
        usual=float(usual[there].sum()),
        odds=odds + along,
        along=along,
    )


def standing_out(
    rows: Summary, column: str, *, events: str, trials: str
) -> tuple[str, ...]:
    """Find places at which everybody has more events than the same people elsewhere.

    Only agents with trials here and elsewhere tell a place from its people.

    Args:
        rows: One row per place and agent.
        column: Its column with the place.
        events: Its column with the events, such as short calls.
        trials: Its column with all calls that might have been events.
    """
    names, index = rows.coded(column)
    owners, owner = rows.coded("agent_id")
    n, k = rows.floats(trials), rows.floats(events)
    away = _per_place(owner, n, len(owners))[owner] - n
    had = _per_place(owner, k, len(owners))[owner] - k
    there = (n >= _SHRINK / 2) & (away >= _SHRINK)
    at, size = index[there], len(names)
    rest = k.sum() - _per_place(index, k, size)
    rest /= np.maximum(n.sum() - _per_place(index, n, size), 1.0)
    usual = (n * (had + _SHRINK * rest[index]) / (away + _SHRINK))[there]
    people = np.bincount(at, minlength=size)
    first = _per_place(at, usual, size)
    events_there = _per_place(at, k[there], size)
    above = _per_place(at, k[there] > usual, size)
    found = (names != "") & (people >= MIN_AGENTS) & (first > 0)
    found &= events_there >= _TIMES * first
    found &= events_there - first >= _SURE * np.sqrt(_CLUSTERED * first)
    found &= above >= _MOST * people
    return tuple(names[found].tolist())


def beside_others(
    rows: Summary, column: str, places: tuple[str, ...], *, events: str, trials: str
) -> tuple[str, ...]:
    """Keep the places that have more events than others of the same queues, too.

    A line that carries a queue of its own can't be told from what people do there.

    Args:
        rows: One row per place and queue.
        column: Its column with the place.
        places: Those in question; the others are the yardstick.
        events: Its column with the events, such as short calls.
        trials: Its column with all calls that might have been events.
    """
    names = rows[column].astype(str)
    queues, queue = rows.coded("queue")
    n, k = rows.floats(trials), rows.floats(events)
    other = ~np.isin(names, [*places, ""])
    calls = _per_place(queue[other], n[other], len(queues))
    rate = _per_place(queue[other], k[other], len(queues)) / np.maximum(calls, 1.0)
    known = calls[queue] >= _SHRINK
    kept = []
    for name in places:
        mine = names == name
        both = mine & known
        usual = float((n * rate[queue])[both].sum())
        enough = n[both].sum() >= n[mine].sum() / 2
        if enough and float(k[both].sum()) >= _TIMES * max(usual, 1.0):
            kept.append(name)
    return tuple(kept)


def shares_elsewhere(
    rows: Summary, column: str, places: tuple[str, ...], *, events: str, trials: str
) -> FloatArray:
    """Return each agent's share of events at all other places, of enough trials."""
    owners, owner = rows.coded("agent_id")
    good = ~np.isin(rows[column].astype(str), places)
    calls, hits = (
        _per_place(owner[good], rows.floats(name)[good], len(owners))
        for name in (trials, events)
    )
    enough = calls >= _SHRINK
    return np.asarray(hits[enough] / calls[enough])


def _all_but_one(owner: IntArray, excess: FloatArray, there: BoolArray) -> BoolArray:
    """Leave out the one of several others who stands out most.

    A bad place shows with everybody there; a second agent with a habit is one agent.
    """
    if len(np.unique(owner[there])) <= _FEW_OTHERS:
        return np.ones(len(owner), dtype=np.bool_)
    by_owner = np.bincount(owner[there], weights=excess[there])
    out: BoolArray = owner != int(np.argmax(by_owner))
    return out


def _log_odds(observed: float, first: float, second: float) -> float:
    """Return the log likelihood ratio of two expectations, for clustered counts."""
    if min(first, second) <= 0:
        return 0.0
    ratio = observed * np.log(first / second) - (first - second)
    return float(ratio / _CLUSTERED)


def _per_place(index: IntArray, values: FloatArray, size: int) -> FloatArray:
    return np.bincount(index, weights=values, minlength=size).astype(np.float64)
