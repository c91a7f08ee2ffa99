"""Orders and their handover: promises, couriers, stamps, and stamps set too early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from kpiaudit.tables.simulate.arrivals import demand
from kpiaudit.tables.simulate.frames import instants, numbered, people, texts
from kpiaudit.tables.simulate.roster import DAY_S, OPENS_S
from kpiaudit.tables.simulate.spread import shift_across, stream
from kpiaudit.tables.simulate.truth import compared, planted

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.centre import Plant
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Bools, Floats, Ints


_EFFORT_S = 120.0
"""How far around the promise effort or delay can move an honest stamp."""

_SCAN_S = 1800.0
_TRIP_S = 600.0
_ROAD_S = 900.0
"""Median time from the handover to the customer's door."""


def delivered_counts(floor: Floor) -> bool:
    """Say whether the promise is about delivery and not about being ready."""
    return any(p.variant == "delivered" for p, _ in floor.plants("premature-ready"))


def handovers(floor: Floor) -> Columns:
    """Simulate all orders, sorted by when they were placed.

    Returns:
        `agent`, `placed`, `promised`, `honest` (the true instant that the promise is
        about), `ready`, `courier`, `handed`, `delivered`, `received`, `recorded` (as
        stamped, in seconds), `gamed`, `hidden`.
    """
    rows = _orders(floor)
    rows = _road(floor, rows)
    no = np.zeros(len(rows["placed"]), dtype=np.bool_)
    rows = rows | {"gamed": no, "hidden": no}
    rows = rows | {"late": _late(floor, rows)}
    rows = _clerks_stamps(floor, rows)
    for plant, agents in floor.plants("premature-ready"):
        rows = _plant_ready(floor, rows, plant, agents)
    order = np.lexsort((rows["agent"], rows["placed"]))
    return {k: v[order] for k, v in rows.items()}


def _orders(floor: Floor) -> Columns:
    """Draw orders, promises and when they are truly ready."""
    centre = floor.centre
    rng = stream(centre.seed, "orders")
    agent, day = np.nonzero(floor.works)
    count = rng.poisson(
        np.where(floor.part_time[agent], 0.5, 1.0) * centre.orders_per_day
    )
    agent, day = np.repeat(agent, count), np.repeat(day, count)
    n = len(agent)
    grid = np.arange(len(demand())) * 300.0 + OPENS_S
    placed = np.round(day * DAY_S + np.interp(rng.random(n), demand(), grid))
    done = np.clip(placed / (centre.days * DAY_S), 0, 1)
    allowed = 60.0 * rng.integers(25, 46, n)
    slow = 0.3 * floor.spread.effect("order pace", agent, done)
    work = allowed * np.exp(np.log(0.75) + 0.3 * rng.standard_normal(n) + slow)
    # everybody hurries a little before the promise, some more than others
    hurry = 0.2 + floor.spread.effect("near promise", agent, done)
    left = np.round(work - allowed)
    left = shift_across(left, 0, _EFFORT_S, effect=hurry, rng=rng)
    ready = np.maximum(placed + allowed + left, placed + 120)
    if centre.has("batch-scan"):
        phase = (agent * 97) % int(_SCAN_S)
        scan = np.ceil((ready - phase) / _SCAN_S) * _SCAN_S + phase
        ready = np.where(floor.plays("batch-scan")[agent], scan, ready)
    extra = 60.0 * rng.integers(20, 31, n) if delivered_counts(floor) else 0.0
    return {
        "agent": agent,
        "placed": placed,
        "promised": placed + allowed + extra,
        "ready": ready,
    }


def _road(floor: Floor, rows: Columns) -> Columns:
    """Draw couriers and the way to the customer."""
    rng = stream(floor.centre.seed, "road")
    n = len(rows["placed"])
    # couriers come when an order is about done, whatever its stamp says
    courier = rows["ready"] - 60 + rng.gamma(2.0, 100.0, n)
    if floor.centre.has("late-couriers"):
        shape = (floor.centre.days + 2) * 24
        bad = rng.random(shape) < 0.15
        hour = np.clip(rows["ready"] // 3600, 0, shape - 1).astype(np.int64)
        # one courier takes what was done within ten minutes at the same site
        site = floor.site[rows["agent"]]
        trip = np.ceil(rows["ready"] / _TRIP_S) * _TRIP_S + 420 + 60 * site
        courier = np.where(bad[hour], trip, courier)
    courier = np.round(np.maximum(courier, rows["placed"] + 60))
    handed = np.maximum(rows["ready"], courier) + rng.integers(15, 90, n)
    road = np.round(_ROAD_S * np.exp(0.35 * rng.standard_normal(n)))
    received = handed + road
    return rows | {
        "courier": courier,
        "handed": handed,
        "received": received,
        "delivered": received + rng.integers(0, 20, n),
        "lag": rng.integers(0, 4, n).astype(np.float64),
    }


def _late(floor: Floor, rows: Columns) -> Bools:
    """Say which orders truly miss the promise."""
    true = rows["received"] if delivered_counts(floor) else rows["ready"]
    return np.asarray(true > rows["promised"])


def _clerks_stamps(floor: Floor, rows: Columns) -> Columns:
    """Let clerks stamp honestly: at once, rounded, or offline."""
    rng = stream(floor.centre.seed, "stamps")
    n = len(rows["placed"])
    ready, handed = rows["ready"], rows["handed"]
    recorded = ready + rows["lag"]
    if floor.centre.has("round-5min"):
        rounds = floor.plays("round-5min")[rows["agent"]]
        ready = np.where(rounds, np.round(ready / 300) * 300, ready)
        handed = np.where(rounds, np.round(handed / 300) * 300, handed)
        recorded = np.where(rounds, np.maximum(recorded, ready), recorded)
    if floor.centre.has("offline-device"):
        off = floor.plays("offline-device")[rows["agent"]] & (rng.random(n) < 0.4)
        recorded = np.where(off, recorded + rng.integers(600, 10_800, n), recorded)
    return rows | {
        "honest_ready": ready,
        "ready": ready,
        "handed": handed,
        "recorded": recorded,
        "honest_delivered": rows["delivered"],
    }


def _plant_ready(floor: Floor, rows: Columns, plant: Plant, agents: Ints) -> Columns:
    """Stamp late orders just before the promise, though they are not there yet."""
    rng = stream(floor.centre.seed, "premature-ready")
    n = len(rows["placed"])
    hit = rows["late"] & np.isin(rows["agent"], agents)
    hit &= rng.random(n) < plant.strength
    stamp = rows["promised"] - np.round(1 + rng.gamma(2.0, 12.0, n))
    hidden = hit & (rng.random(n) < plant.falsify)
    out = rows | {"gamed": rows["gamed"] | hit, "hidden": rows["hidden"] | hidden}
    if plant.variant == "delivered":
        return out | {"delivered": np.where(hit, stamp, rows["delivered"])}
    # who hides it also stamps the handover early; the door knows better
    handed = np.where(hidden, stamp + rng.integers(30, 240, n), rows["handed"])
    return out | {
        "ready": np.where(hit, stamp, rows["ready"]),
        "handed": handed,
        "recorded": np.where(hit, stamp + rows["lag"], rows["recorded"]),
    }


def handovers_frame(floor: Floor, rows: Columns) -> pl.DataFrame:
    """Return the table `handovers`."""
    who = people(floor, rows["agent"])
    return pl.DataFrame(
        {
            "order_id": order_ids(rows),
            **who,
            "actor_id": texts(floor.agent_ids(), rows["agent"]),
            "placed_at": instants(floor, rows["placed"]),
            "promised_at": instants(floor, rows["promised"]),
            "ready_at": instants(floor, rows["ready"]),
            "courier_arrived_at": instants(floor, rows["courier"]),
            "handed_over_at": instants(floor, rows["handed"]),
            "delivered_at": instants(floor, rows["delivered"]),
            "received_at": instants(floor, rows["received"]),
            "recorded_at": instants(floor, rows["recorded"]),
        }
    )


def order_ids(rows: Columns) -> pl.Series:
    """Return the orders' ids."""
    return numbered("O", np.arange(len(rows["placed"])) + 1, 7)


def handovers_truth(floor: Floor, rows: Columns) -> dict[str, Any]:
    """Return the truth about premature stamps."""
    if delivered_counts(floor):
        stamp, honest = rows["delivered"], rows["honest_delivered"]
    else:
        stamp, honest = rows["ready"], rows["honest_ready"]
    kpi = compared(floor, rows["agent"], _on_time(stamp, rows), _on_time(honest, rows))
    truth = planted(
        floor,
        "premature-ready",
        agent=rows["agent"],
        ids=order_ids(rows),
        gamed=rows["gamed"],
        eligible=rows["late"],
        kpi={"ready_on_time": kpi},
    )
    return {"premature-ready": truth}


def _on_time(stamp: Floats, rows: Columns) -> Floats:
    """Return 1 for orders stamped by their promise, else 0."""
    return (stamp <= rows["promised"]).astype(np.float64)
