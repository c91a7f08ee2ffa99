"""Who works where and when: agents, teams, seats, shifts and queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.tables.simulate.spread import Spread, stream

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.centre import Centre, Plant
    from kpiaudit.tables.simulate.spread import Bools, Floats, Ints

DAY_S = 86_400
OPENS_S, CLOSES_S = 8 * 3600, 20 * 3600
SHIFT_S = 8.5 * 3600
_NAMES = ("billing", "orders", "technical", "retention", "general", "returns")
_SHARE = 0.1
"""Share of the agents that a look-alike's part is given to."""


@frozen
class Floor:
    """The staff of a centre and their rosters; arrays are per agent, or agent and day.

    Args:
        centre: The settings.
        spread: Honest differences.
        team: Team, shape (n_agents,).
        site: Site, shape (n_agents,).
        part_time: Who works half the hours, shape (n_agents,).
        works: Who works when, shape (n_agents, n_days).
        starts_s: Start of the shift, seconds after midnight, shape (n_agents, n_days).
        shift_s: Length of the shift in seconds, shape (n_agents,).
        seat: Seat within the site, shape (n_agents, n_days).
        mix: Share of contacts from each queue, shape (n_agents, n_queues).
        parts: Agents that play a look-alike's part, by its name.
        gamers: Agents per planted pattern, in the order of `centre.plants`.
    """

    centre: Centre
    spread: Spread
    team: Ints
    site: Ints
    part_time: Bools
    works: Bools
    starts_s: Floats
    shift_s: Floats
    seat: Ints
    mix: Floats
    parts: dict[str, Ints]
    gamers: tuple[Ints, ...]

    def plants(self, pattern: str) -> list[tuple[Plant, Ints]]:
        """Return the plants of a pattern with their agents."""
        return [
            (plant, agents)
            for plant, agents in zip(self.centre.plants, self.gamers, strict=True)
            if plant.pattern == pattern
        ]

    def plays(self, part: str) -> Bools:
        """Say per agent whether it plays a look-alike's part, shape (n_agents,)."""
        mask = np.zeros(self.centre.agents, dtype=np.bool_)
        mask[self.parts.get(part, np.empty(0, dtype=np.int64))] = True
        return mask

    def agent_ids(self) -> list[str]:
        """Return the agents' ids."""
        return [agent_id(i) for i in range(self.centre.agents)]


def agent_id(index: int) -> str:
    """Return an agent's id; `A0001` is the first.

    >>> agent_id(0)
    'A0001'
    """
    return f"A{index + 1:04d}"


def queue_name(index: int) -> str:
    """Return a queue's name."""
    return _NAMES[index] if index < len(_NAMES) else f"queue-{index + 1}"


def staff(centre: Centre) -> Floor:
    """Draw the staff of a centre.

    Raises:
        ValueError: A plant names an agent that the centre doesn't have.
    """
    order = stream(centre.seed, "casting").permutation(centre.agents)
    parts = _cast(centre, order)
    team = np.arange(centre.agents) % centre.teams
    site = team % centre.sites
    novice = np.zeros(centre.agents, dtype=np.bool_)
    novice[parts["novices"]] = True
    part_time = np.zeros(centre.agents, dtype=np.bool_)
    part_time[parts["part-timers"]] = True
    works, starts_s = _shifts(centre, part_time)
    return Floor(
        centre=centre,
        spread=Spread(
            seed=centre.seed,
            kind=centre.spread,
            sd=centre.spread_sd,
            team=team,
            novice=novice,
        ),
        team=team,
        site=site,
        part_time=part_time,
        works=works,
        starts_s=starts_s,
        shift_s=np.where(part_time, SHIFT_S / 2, SHIFT_S),
        seat=_seats(centre, site),
        mix=_mix(centre, parts),
        parts=parts,
        gamers=_gamers(centre, order),
    )


def _cast(centre: Centre, order: Ints) -> dict[str, Ints]:
    """Give out the look-alikes' parts, from the end of the order."""
    tenth = max(1, round(_SHARE * centre.agents))
    sizes = {
        "excellent-agents": tenth,
        "angry-callers": 1,
        "silent-callers": 2,
        "short-queue": tenth,
        "peak-below-cap": tenth,
        "hard-tickets": tenth,
        "round-5min": tenth,
        "batch-scan": tenth,
        "offline-device": tenth,
        "novices": max(1, round(centre.agents * 0.15)),
        "part-timers": max(1, round(centre.agents * 0.2)),
    }
    parts: dict[str, Ints] = {}
    left = order[::-1]
    for name, size in sizes.items():
        on = centre.has(name) or (name == "novices" and centre.spread == "novices")
        parts[name] = np.sort(left[:size]) if on else left[:0]
        # a small centre runs out of agents: then parts are shared
        left = np.roll(left, -size) if on else left
    return parts


def _gamers(centre: Centre, order: Ints) -> tuple[Ints, ...]:
    """Choose the agents of each plant, from the start of the order."""
    ids = {agent_id(i): i for i in range(centre.agents)}
    out = []
    left = order
    for plant in centre.plants:
        if isinstance(plant.agents, tuple):
            unknown = [name for name in plant.agents if name not in ids]
            if unknown:
                raise ValueError(f"The centre has no agent '{unknown[0]}'.")
            out.append(np.array(sorted(ids[a] for a in plant.agents), dtype=np.int64))
            continue
        count = plant.agents
        if isinstance(count, float):
            count = max(1, round(count * centre.agents)) if count > 0 else 0
        if count > centre.agents:
            raise ValueError(f"The centre has no {count} agents.")
        out.append(np.sort(left[:count]))
        left = np.roll(left, -count)
    return tuple(out)


def _shifts(centre: Centre, part_time: Bools) -> tuple[Bools, Floats]:
    """Draw who works when: five days a week, most of them from Monday to Friday."""
    rng = stream(centre.seed, "shifts")
    shape = (centre.agents, centre.days)
    offset = np.where(rng.random(centre.agents) < 0.6, 0, rng.integers(1, 7, shape[0]))
    weekday = (np.arange(centre.days)[None, :] + centre.weekday + offset[:, None]) % 7
    works = weekday < 5
    works[:, ~works.any(axis=0)] = True  # nobody else is there: everybody comes
    hours = np.array([8.0, 9.0, 10.0, 11.5])
    usual = rng.integers(0, 4, shape[0])
    other = rng.integers(0, 4, shape)
    slot = np.where(rng.random(shape) < 0.2, other, usual[:, None])
    half = part_time[:, None] & (slot % 2 == 1)
    return works, (hours[slot] + np.where(half, 4.0, 0.0)) * 3600


def _seats(centre: Centre, site: Ints) -> Ints:
    """Seat everybody: usually one's own seat, sometimes a colleague's."""
    rng = stream(centre.seed, "seats")
    own = np.zeros(centre.agents, dtype=np.int64)
    for s in range(centre.sites):
        own[site == s] = np.arange((site == s).sum())
    seat = np.repeat(own[:, None], centre.days, axis=1)
    for s in range(centre.sites):
        here = np.flatnonzero(site == s)
        for day in range(centre.days):
            floating = here[rng.random(len(here)) < 0.35]
            seat[floating, day] = seat[rng.permutation(floating), day]
    return seat


def _mix(centre: Centre, parts: dict[str, Ints]) -> Floats:
    """Draw each agent's share of contacts per queue."""
    rng = stream(centre.seed, "mix")
    base = 1.0 + 0.25 * np.cos(np.arange(centre.queues))
    mix = rng.dirichlet(8 * base, size=centre.agents)
    for name, queue in special_queues(centre).items():
        mix[:, queue] *= 0.5
        mix[parts[name]] *= 0.3
        mix[parts[name], queue] = 3 * mix[parts[name]].sum(axis=1)
    return np.asarray(mix / mix.sum(axis=1, keepdims=True))


def special_queues(centre: Centre) -> dict[str, int]:
    """Return the queue of each look-alike that has a queue of its own."""
    queues = {"peak-below-cap": centre.queues - 1, "short-queue": centre.queues - 2}
    return {k: max(0, q) for k, q in queues.items() if centre.has(k)}
