"""Tickets: how long they take, whether they come back, and early closure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.tables.simulate.arrivals import demand
from kpiaudit.tables.simulate.roster import CLOSES_S, DAY_S, OPENS_S
from kpiaudit.tables.simulate.spread import shift_across, stream, tilt
from kpiaudit.tables.simulate.traffic import stack
from kpiaudit.tables.simulate.truth import compared, planted

if TYPE_CHECKING:
    import polars as pl

    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.centre import Centre, Plant
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Bools, Floats, Ints

PER_DAY = 8.0
"""Tickets per agent and worked day."""

CATEGORIES = ("invoice", "delivery", "account", "device", "contract")
_EFFORT_S = 3600.0
"""How far around the due time effort or delay can move an honest resolution."""

_MARGIN_DAYS = 90


@frozen
class Clock:
    """The hours in which a service level runs and tickets are worked on.

    Args:
        opens_s: Opening, in seconds after midnight.
        length_s: Length of a working day, in seconds.
        open_days: Day numbers on which it runs, sorted.
    """

    opens_s: float
    length_s: float
    open_days: Ints

    def read(self, at: Floats) -> Floats:
        """Return working seconds since the start, shape as `at`."""
        day = np.floor(at / DAY_S)
        before = np.searchsorted(self.open_days, day)
        last = len(self.open_days) - 1
        runs = self.open_days[np.minimum(before, last)] == day
        since = np.clip(at - day * DAY_S - self.opens_s, 0, self.length_s)
        return np.asarray(before * self.length_s + np.where(runs, since, 0.0))

    def at(self, working: Floats) -> Floats:
        """Return the instant at which so many working seconds are over."""
        day = np.floor(working / self.length_s).astype(np.int64)
        day = np.clip(day, 0, len(self.open_days) - 1)
        rest = working - day * self.length_s
        return np.asarray(self.open_days[day] * DAY_S + self.opens_s + rest)


def clock(centre: Centre) -> Clock:
    """Return the clock of the service level: opening hours, or business hours."""
    days = np.arange(centre.days + _MARGIN_DAYS)
    if centre.has("business-hours"):
        weekday = (days + centre.weekday) % 7 < 5
        return Clock(opens_s=9 * 3600.0, length_s=8 * 3600.0, open_days=days[weekday])
    return Clock(
        opens_s=float(OPENS_S), length_s=float(CLOSES_S - OPENS_S), open_days=days
    )


def tickets(floor: Floor) -> Columns:
    """Simulate all tickets, sorted by opening.

    Returns:
        `agent`, `customer`, `category`, `urgent`, `opened`, `assigned`, `replied`,
        `due`, `finish` (the honest end of work), `resolved` (as marked, first time),
        `reopened` (nan if never), `worked` (work after the reopening, nan if none),
        `again` (second resolution, nan), `gamed`, `hidden`, `thanks`, `parent` (row of
        the ticket that it continues, or -1).
    """
    rows = _first_tickets(floor)
    rows = _comebacks(floor, rows)
    follow = []
    for plant, agents in floor.plants("early-closure"):
        rows, more = _plant_closure(floor, rows, plant, agents)
        follow.append(more)
    rows = _thanks(floor, rows)
    rows = rows | {"parent": np.full(len(rows["opened"]), -1, dtype=np.int64)}
    rows = stack((rows, *follow))
    inside = rows["opened"] < floor.centre.days * DAY_S
    rows = {k: v[inside] for k, v in rows.items()}
    order = np.lexsort((rows["agent"], rows["opened"]))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    rows = {k: v[order] for k, v in rows.items()}
    parent = np.where(rows["parent"] >= 0, place[rows["parent"]], -1)
    return rows | {"parent": parent}


def _first_tickets(floor: Floor) -> Columns:
    """Draw tickets, their due times and when honest work on them ends."""
    centre = floor.centre
    rng = stream(centre.seed, "tickets")
    agent, day = np.nonzero(floor.works)
    count = rng.poisson(np.where(floor.part_time[agent], 0.5, 1.0) * PER_DAY)
    agent, day = np.repeat(agent, count), np.repeat(day, count)
    n = len(agent)
    grid = np.arange(len(demand())) * 300.0 + OPENS_S
    opened = np.round(day * DAY_S + np.interp(rng.random(n), demand(), grid))
    runs = clock(centre)
    urgent = rng.random(n) < 0.3
    allowed = runs.length_s * np.where(urgent, 1.0, 3.0)
    start = runs.read(opened)
    slow = 0.4 * floor.spread.effect("ticket pace", agent, _done(floor, opened))
    slow = slow + np.log(1.6) * floor.plays("hard-tickets")[agent]
    work = allowed * np.exp(np.log(0.5) + 0.75 * rng.standard_normal(n) + slow)
    # everybody hurries a little when a ticket is nearly late, some more than others
    hurry = 0.3 + floor.spread.effect("near due", agent, _done(floor, opened))
    left = np.round(work - allowed)
    left = shift_across(left, 0, _EFFORT_S, effect=hurry, rng=rng)
    finish = start + np.maximum(allowed + left, 300)
    rows: Columns = {
        "agent": agent,
        "customer": rng.integers(0, max(50, n), n),
        "category": rng.integers(0, len(CATEGORIES), n),
        "urgent": urgent,
        "opened": opened,
        "assigned": opened + rng.integers(30, 600, n),
        "replied": runs.at(start + (finish - start) * rng.uniform(0.1, 0.6, n)),
        "due": np.round(runs.at(start + allowed)),
        "finish": np.round(runs.at(finish)),
    }
    return rows | {"resolved": _cleanup(centre, rows, rng)}


def _done(floor: Floor, at: Floats) -> Floats:
    """Return how much of the period is over, in [0, 1]."""
    return np.asarray(np.clip(at / (floor.centre.days * DAY_S), 0, 1))


def _cleanup(centre: Centre, rows: Columns, rng: np.random.Generator) -> Floats:
    """Return the resolution: on a month's last day, everybody clears old tickets."""
    resolved = rows["finish"].copy()
    uniform, second = rng.random(len(resolved)), rng.random(len(resolved))
    if not centre.has("month-end-cleanup"):
        return np.asarray(resolved)
    first = datetime.fromisoformat(centre.start).replace(tzinfo=UTC)
    for day in range(centre.days):
        if (first + timedelta(days=day + 1)).day != 1:
            continue
        evening = day * DAY_S + 17 * 3600.0
        old = (rows["opened"] < evening - DAY_S) & (resolved > evening)
        old &= (resolved < evening + 6 * DAY_S) & (uniform < 0.5)
        resolved = np.where(old, np.round(evening + 7200 * second), resolved)
    return np.asarray(resolved)


def _comebacks(floor: Floor, rows: Columns) -> Columns:
    """Draw which tickets are reopened because the work was not done."""
    rng = stream(floor.centre.seed, "comebacks")
    n = len(rows["opened"])
    done = _done(floor, rows["opened"])
    effect = floor.spread.effect("reopened", rows["agent"], done)
    effect = effect + 1.1 * floor.plays("hard-tickets")[rows["agent"]]
    back = rng.random(n) < tilt(0.05, effect)
    runs = clock(floor.centre)
    begin = runs.at(runs.read(rows["resolved"]) + 1800 + rng.exponential(6 * 3600, n))
    end = runs.at(runs.read(begin) + 900 + rng.exponential(3 * 3600, n))
    no = np.zeros(n, dtype=np.bool_)
    nan = np.full(n, np.nan)
    return rows | {
        "reopened": np.where(back, np.round(begin), nan),
        "worked": np.where(back, np.round((begin + end) / 2), nan),
        "again": np.where(back, np.round(end), nan),
        "gamed": no,
        "hidden": no,
        "thanks": no,
    }


def _plant_closure(
    floor: Floor, rows: Columns, plant: Plant, agents: Ints
) -> tuple[Columns, Columns]:
    """Mark late tickets resolved before they are due; the work goes on afterwards."""
    rng = stream(floor.centre.seed, "early-closure")
    n = len(rows["opened"])
    hit = unfinished(rows) & np.isin(rows["agent"], agents)
    hit &= rng.random(n) < plant.strength
    early = np.minimum(rng.uniform(60, 1800, n), (rows["due"] - rows["opened"]) / 2)
    resolved = np.round(rows["due"] - early)
    anew = np.full(n, plant.variant == "new")
    anew |= (plant.variant == "mixed") & (rng.random(n) < 0.3)
    hidden = hit & (rng.random(n) < plant.falsify)
    runs = clock(floor.centre)
    pause = rng.uniform(1800, runs.length_s, n)
    begin = np.round(runs.at(runs.read(resolved) + pause))
    end = np.maximum(rows["finish"], np.round(runs.at(runs.read(begin) + 1800)))
    back = hit & ~anew
    nan = np.full(n, np.nan)
    out = rows | {
        "resolved": np.where(hit, resolved, rows["resolved"]),
        # who hides it works on without setting the status back
        "reopened": np.where(
            hit, np.where(back & ~hidden, begin, nan), rows["reopened"]
        ),
        "worked": np.where(hit, np.where(back, begin + 600, nan), rows["worked"]),
        "again": np.where(hit, np.where(back & ~hidden, end, nan), rows["again"]),
        "gamed": rows["gamed"] | hit,
        "hidden": rows["hidden"] | hidden,
        "replied": np.where(
            hit, np.minimum(rows["replied"], resolved), rows["replied"]
        ),
    }
    return out, _new_tickets(floor, out, hit & anew, begin, end)


def _new_tickets(
    floor: Floor, rows: Columns, chosen: Bools, begin: Floats, end: Floats
) -> Columns:
    """Open new tickets that continue others; hidden ones under another category."""
    out = {k: v[chosen] for k, v in rows.items()}
    n = len(out["opened"])
    runs = clock(floor.centre)
    opened, finish = begin[chosen], np.maximum(end[chosen], begin[chosen] + 900)
    allowed = runs.length_s * np.where(out["urgent"], 1.0, 3.0)
    other = (out["category"] + 1) % len(CATEGORIES)
    no = np.zeros(n, dtype=np.bool_)
    return out | {
        "category": np.where(out["hidden"], other, out["category"]),
        "opened": opened,
        "assigned": opened + 60,
        "replied": opened + 600,
        "due": np.round(runs.at(runs.read(opened) + allowed)),
        "finish": finish,
        "resolved": finish,
        "gamed": no,
        "hidden": no,
        "parent": np.flatnonzero(chosen),
    }


def _thanks(floor: Floor, rows: Columns) -> Columns:
    """Let some customers' thanks reopen tickets; they are set back without work."""
    if not floor.centre.has("thank-you"):
        return rows
    rng = stream(floor.centre.seed, "thank-you")
    n = len(rows["opened"])
    hit = np.isnan(rows["reopened"]) & np.isnan(rows["worked"]) & ~rows["gamed"]
    hit &= rng.random(n) < 0.06
    begin = np.round(rows["resolved"] + rng.uniform(600, DAY_S, n))
    end = begin + rng.integers(60, 3600, n)
    return rows | {
        "reopened": np.where(hit, begin, rows["reopened"]),
        "again": np.where(hit, end, rows["again"]),
        "thanks": hit,
    }


def unfinished(rows: Columns) -> Bools:
    """Say which tickets are not finished when they are due."""
    return np.asarray((rows["finish"] > rows["due"]) & (rows["resolved"] > rows["due"]))


def tickets_truth(floor: Floor, rows: Columns, ids: pl.Series) -> dict[str, Any]:
    """Return the truth about early closure."""
    end = floor.centre.days * DAY_S
    seen = rows["due"] < end
    met = np.where(seen, (rows["resolved"] <= rows["due"]).astype(np.float64), np.nan)
    # without the pattern the ticket ends with the work, and isn't continued anew
    honest = np.where(rows["gamed"], 0.0, met)
    honest = np.where(rows["parent"] >= 0, np.nan, honest)
    eligible = rows["gamed"] | (unfinished(rows) & (rows["parent"] < 0))
    truth = planted(
        floor,
        "early-closure",
        agent=rows["agent"],
        ids=ids,
        gamed=rows["gamed"],
        eligible=eligible,
        kpi={"sla_met": compared(floor, rows["agent"], met, honest)},
    )
    return {"early-closure": truth}
