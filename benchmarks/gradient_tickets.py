"""Tickets for gradient.py, whose agents may look at the score before they close one.

Count level: single tickets over two months, an hour at a time, so that who closes
early can look at what is missing; counted as early-closure counts them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from calibration.worlds import grouped, names, table, tilt

from kpiaudit.detectors._incentives import CELLS
from kpiaudit.detectors._incentives_schemes import Scheme

AGENTS, DAYS, FIRST = 120, 122, 20_513  # 2026-03-01, a Sunday
MONTHS = (0, 31, 61, 92, 122)
DAY_H, KNOWN_H = 24, 72
PER_DAY = 15.0
CLOCKS_H = np.array([24.0, 72.0])
LOG_MEAN, LOG_SD = -0.5, 0.8
"""Of the time to resolve, in multiples of the clock: 73 % are in time."""
BOUNCE, BOUNCE_EARLY = 0.08, 0.5
DAY_SD = 0.3
EFFORT = {"effort": 0.1, "great effort": 0.3}
"""Share of their late tickets that half the agents bring in, while it pays."""
HONEST = {
    "habits": "agents differ by sd 0.2, days by 0.3 (log-odds)",
    "wide habits": "agents differ by sd 0.4",
    "novices": "a sixth starts slow, with 2.7 times the bounces, and learns",
    "hard queues": "every second fortnight in a queue with slow tickets, which come "
    "back 2.7 times as often",
    "drifting": "habits drift by sd 0.4 over the period",
    "month's end": "in the last week everybody closes more just in time, and 1.6 times "
    "as many come back",
    "effort": "half the agents bring 10 % of their late tickets in just in time, well "
    "done, but only while the bonus is in reach",
    "great effort": "30 % instead of 10 %",
}
STRENGTHS = (0.1, 0.15, 0.2, 0.3)
BONUSES = (("tickets_closed", 300.0), ("sla_met", 0.75), ("sla_met", 0.8))
MIN_EFFECT = 1.0


@dataclass(frozen=True, kw_only=True)
class World:
    """One centre: counts for the detector, and who games."""

    summaries: dict
    found: dict
    gamer: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What does not depend on the score, each of shape (agents, days).

    Args:
        load: Tickets opened.
        slow: Log of the time to resolve, in multiples of the usual one.
        haste: Closing late tickets in time (or the reverse), as a probability times 2.
        bounce: Log-odds of coming back.
        more: The same for closures near the deadline, on top.
    """

    load: np.ndarray
    slow: np.ndarray
    haste: np.ndarray
    bounce: np.ndarray
    more: np.ndarray


def floor(kind: str, rng: np.random.Generator) -> Floor:
    """Draw a floor with one innocent reason for bounces that come and go."""
    sd = 0.4 if kind == "wide habits" else 0.2
    shape, day = (AGENTS, DAYS), np.arange(DAYS)

    def habit() -> np.ndarray:
        out = sd * rng.standard_normal((AGENTS, 1))
        out = out + DAY_SD * rng.standard_normal(shape)
        if kind == "drifting":
            slope = 2 * sd * rng.standard_normal((AGENTS, 1))
            out = out + slope * np.linspace(-0.5, 0.5, DAYS)
        return out

    slow = 0.5 * habit().mean(axis=1, keepdims=True) + np.zeros(shape)
    haste, bounce, more = habit(), habit(), habit()
    pace = PER_DAY * np.exp(0.12 * rng.standard_normal((AGENTS, 1)))
    pace = np.where(rng.random((AGENTS, 1)) < 0.2, 0.6, 1.0) * pace
    if kind == "novices":
        new = (rng.random(AGENTS) < 1 / 6)[:, None] * np.exp(-day / 25.0)
        slow, bounce, pace = slow + 0.3 * new, bounce + new, pace * (1 - 0.3 * new)
    if kind == "hard queues":
        share = rng.dirichlet(np.ones(3), AGENTS)[:, :1] * (day // 14 % 2)
        slow, bounce, more = slow + 0.5 * share, bounce + share, more + 0.3 * share
    if kind == "month's end":
        last = np.isin(day, np.r_[24:31, 54:61, 85:92, 115:122])
        haste, bounce = haste + 0.4 * last, bounce + 0.5 * last
    works = ((day + 6) % 7 < 5) & (rng.random(shape) < 0.95)
    return Floor(
        load=rng.poisson(pace * works), slow=slow, haste=haste, bounce=bounce, more=more
    )


def make(
    kind: str,
    seed: int,
    *,
    bonus: tuple[str, float] = BONUSES[0],
    gamers: int = 0,
    strength: float = 0.0,
    follow: bool = True,
) -> World:
    """Simulate a centre; gamers may look at the score before they close a ticket."""
    rng = np.random.default_rng([seed, len(kind), gamers])
    of = floor(kind, rng)
    gamer = np.zeros(AGENTS, dtype=bool)
    gamer[rng.choice(AGENTS, gamers, replace=False)] = True
    eager = EFFORT.get(kind, 0.0) * (rng.random(AGENTS) < 0.5)
    agent = np.repeat(np.arange(AGENTS), of.load.sum(axis=1))
    day = np.concatenate([np.repeat(np.arange(DAYS), each) for each in of.load])
    n = len(agent)
    clock = (rng.random(n) < 0.4).astype(np.int64)
    hours = CLOCKS_H[clock]
    opened = day * DAY_H + rng.uniform(8.0, 17.0, n)
    at = LOG_MEAN + of.slow[agent, day] + LOG_SD * rng.standard_normal(n)
    at = np.exp(at)
    # Honest haste: late tickets within a tenth of the clock still met, or the reverse.
    effect = of.haste[agent, day]
    switch = np.clip(np.where(at >= 1, effect, -effect) / 2, 0, 1)
    near = (at >= 0.9) & (at < 1.1)
    at = np.where(near & (rng.random(n) < switch), 2 - at, at)
    early = 1 - rng.random(n) * 0.5 / hours
    share = np.where(gamer, strength, eager)[agent]
    may = (at >= 1) & (rng.random(n) < share)
    when = opened + at * hours
    hurried = opened + early * hours
    moved = _watched(agent, when, hurried, at < 1, may, bonus, follow=follow)
    at, when = np.where(moved, early, at), np.where(moved, hurried, when)
    near = (at >= 0.9) & (at < 1)
    level = of.bounce[agent, day] + np.where(near, of.more[agent, day], 0.0)
    gamed = moved & gamer[agent]
    bounced = rng.random(n) < np.where(gamed, BOUNCE_EARLY, tilt(BOUNCE, level))
    inside = opened + hours <= DAYS * DAY_H
    tickets = {
        "agent": agent,
        "clock": clock,
        "at": at,
        "when": when,
        "due_day": ((opened + hours) // DAY_H).astype(np.int64),
        "part": ((opened + hours) // 8).astype(np.int64) % 3,
        "bounced": bounced,
    }
    kpi, threshold = bonus
    scheme = Scheme(
        kpi=kpi,
        kind="agent",
        subject="",
        threshold=threshold,
        above=True,
        period="month",
        first=FIRST,
        last=FIRST + DAYS,
    )
    counts = _summaries({k: v[inside] for k, v in tickets.items()}, rng)
    return World(
        summaries=counts | {CELLS: _standing(tickets, inside)},
        found={"mode": "due", "schemes": (scheme,)},
        gamer=gamer,
    )


def _watched(
    agent: np.ndarray,
    when: np.ndarray,
    hurried: np.ndarray,
    met: np.ndarray,
    may: np.ndarray,
    bonus: tuple[str, float],
    *,
    follow: bool,
) -> np.ndarray:
    """Say which tickets are closed early, by whoever looks at the score of the hour."""
    if not follow or not may.any():
        return may
    kpi, threshold = bonus
    total = DAYS * DAY_H
    pace = np.bincount(agent, minlength=AGENTS) / DAYS
    usual = np.bincount(agent, met, AGENTS) / np.maximum(pace * DAYS, 1)
    by_when, ends = _by_hour(when, np.ones(len(when), dtype=bool), total)
    by_early, marks = _by_hour(hurried, may, total)
    moved = np.zeros(len(agent), dtype=bool)
    had, good = np.zeros(AGENTS), np.zeros(AGENTS)
    for t in range(total):
        day = t // DAY_H
        if t % DAY_H == 0 and day in MONTHS:
            had[:], good[:] = 0, 0
        end = next(month for month in MONTHS if month > day)
        left = np.maximum(pace * (end - t / DAY_H), 1e-9)
        if kpi == "tickets_closed":
            strain = (threshold - had) / left
            near = (strain > 0) & (strain > 0.5) & (strain < 1.5)
        else:
            need = (threshold * (had + left) - good) / left
            near = (need > 0.95 * usual) & (need < 1.15 * usual) & (need <= 1)
        now = by_early[marks[t] : marks[t + 1]]
        now = now[near[agent[now]]]
        moved[now] = True
        done = by_when[ends[t] : ends[t + 1]]
        done = done[~moved[done]]
        had += np.bincount(agent[now], minlength=AGENTS)
        good += np.bincount(agent[now], minlength=AGENTS)
        had += np.bincount(agent[done], minlength=AGENTS)
        good += np.bincount(agent[done], met[done], AGENTS)
    return moved


def _by_hour(
    when: np.ndarray, which: np.ndarray, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return tickets in the order of their hours, and where each hour begins."""
    rows = np.flatnonzero(which)
    hour = np.floor(when[rows]).astype(np.int64)
    order = np.argsort(hour, kind="stable")
    return rows[order], np.searchsorted(hour[order], np.arange(total + 1))


def _standing(tickets: dict[str, np.ndarray], inside: np.ndarray):
    """Return the cells of the score; tickets due after the end make it as well."""
    closed = tickets["when"] < DAYS * DAY_H
    of = {k: v[closed] for k, v in tickets.items()}
    hour = np.floor(of["when"]).astype(np.int64)
    known = inside[closed] & (of["when"] + KNOWN_H <= DAYS * DAY_H)
    near = (of["at"] >= 0.9) & (of["at"] < 1)
    one = np.ones(len(hour), dtype=bool)
    cells = grouped(
        [of["agent"], hour // DAY_H, hour % DAY_H, of["clock"]],
        contacts=one,
        of_mean=one,
        met=of["at"] < 1,
        trials=known,
        events=known & near & of["bounced"],
    )
    keys = {"day": FIRST + cells.pop("1"), "hour": cells.pop("2")}
    keys |= {"clock": cells.pop("3")}
    return table(agent_id=names(AGENTS)[cells.pop("0")], **keys, **cells)


def _summaries(of: dict[str, np.ndarray], rng: np.random.Generator) -> dict:
    """Count as the detector's queries do."""
    at, agent = of["at"], of["agent"]
    end = DAYS * DAY_H
    closed = of["when"] <= end
    near = (at >= 0.9) & (at < 1)
    late = at >= 0.9
    known = of["when"] + KNOWN_H <= end
    bounced = known & of["bounced"]
    reopened = bounced & (rng.random(len(at)) < 0.7)
    side = known & (((at >= 0.5) & (at < 0.9)) | ((at >= 1) & (at < 3)))
    cells = grouped(
        [agent, of["clock"], of["part"]],
        due=np.ones(len(at), dtype=bool),
        met=at < 1,
        open_late=late,
        near=near,
        just_after=closed & (at >= 1) & (at < 1.1),
        known=known,
        bounced=bounced,
        near_known=near & known,
        near_bounced=near & bounced,
        near_reopened=near & reopened,
        near_followed=near & bounced & ~reopened,
        side_known=side,
        side_bounced=side & bounced,
    )
    days = grouped(
        [agent[late], of["due_day"][late]],
        open_late=late[late],
        near=near[late],
        near_known=(near & known)[late],
        near_bounced=(near & bounced)[late],
    )
    ids = names(AGENTS)
    part = {"clock": cells.pop("1"), "due_part": cells.pop("2")}
    return {
        "cells": table(agent_id=ids[cells.pop("0")], **part, **cells),
        "days": table(
            agent_id=ids[days.pop("0")], due_day=FIRST + days.pop("1"), **days
        ),
    }
