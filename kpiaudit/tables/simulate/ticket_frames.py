"""Tickets and their history as canonical data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from kpiaudit.tables.simulate.frames import (
    customer_ids,
    flags,
    instants,
    numbered,
    people,
    texts,
)
from kpiaudit.tables.simulate.roster import DAY_S
from kpiaudit.tables.simulate.spread import stream
from kpiaudit.tables.simulate.tickets import CATEGORIES, clock

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Floats, Ints

AUTO_CLOSE_S = 5 * DAY_S
_STATUS = ("open", "resolved", "closed")
_CUSTOMER, _AGENT, _SYSTEM = range(3)


def ticket_ids(rows: Columns) -> pl.Series:
    """Return the tickets' ids."""
    return numbered("TK", np.arange(len(rows["opened"])) + 1, 6)


def closed(floor: Floor, rows: Columns) -> Floats:
    """Return when each ticket is closed for good, in seconds."""
    rng = stream(floor.centre.seed, "closing")
    last = np.where(np.isnan(rows["again"]), rows["resolved"], rows["again"])
    last = np.fmax(last, rows["worked"])
    if floor.centre.has("auto-close"):
        return np.asarray(np.round(last + AUTO_CLOSE_S))
    runs = clock(floor.centre)
    after = 600 + rng.exponential(runs.length_s, len(last))
    return np.asarray(np.round(runs.at(runs.read(last) + after)))


def tickets_frame(floor: Floor, rows: Columns) -> pl.DataFrame:
    """Return the table `tickets` as exported at the end of the period."""
    n = len(rows["opened"])
    end = floor.centre.days * DAY_S
    done = rows["resolved"] < end
    back = ~np.isnan(rows["reopened"]) & (np.nan_to_num(rows["reopened"]) < end)
    known = done | (rows["due"] < end)
    people_columns = people(floor, rows["agent"])
    return pl.DataFrame(
        {
            "ticket_id": ticket_ids(rows),
            **people_columns,
            "customer_id": customer_ids(rows["customer"]),
            "category": texts(CATEGORIES, rows["category"]),
            "priority": texts(("normal", "high"), rows["urgent"].astype(np.int64)),
            "opened_at": instants(floor, rows["opened"]),
            "assigned_at": _seen(floor, rows["assigned"]),
            "first_reply_at": _seen(floor, rows["replied"]),
            "due_at": instants(floor, rows["due"]),
            "sla_met": flags(done & (rows["resolved"] <= rows["due"]), known),
            "resolved_at": _seen(floor, rows["resolved"]),
            "closed_at": _seen(floor, closed(floor, rows)),
            "reopened_at": _seen(floor, rows["reopened"]),
            "reopen_count": pl.Series(back.astype(np.int64)),
            "paused_s": pl.Series(np.zeros(n)),
        }
    )


def _seen(floor: Floor, at: Floats) -> pl.Series:
    """Return instants; null for what happens after the export."""
    return instants(floor, at, np.nan_to_num(at) < floor.centre.days * DAY_S)


def ticket_events_frame(floor: Floor, rows: Columns) -> pl.DataFrame:
    """Return the table `ticket_events`: status, assignee and replies, by time."""
    thanks = rows["thanks"]
    worked = rows["worked"]
    back_by = np.where(thanks, _SYSTEM, _CUSTOMER)
    status: list[tuple[Floats, int | Ints, int, int]] = [
        (rows["opened"], _CUSTOMER, -1, 0),
        (rows["resolved"], _AGENT, 0, 1),
        (rows["reopened"], back_by, 1, 0),
        (rows["again"], _AGENT, 0, 1),
        (closed(floor, rows), _closer(floor), 1, 2),
    ]
    parts = [
        _event(floor, rows, at, actor, "status", old, new)
        for at, actor, old, new in status
    ]
    parts.append(_event(floor, rows, rows["assigned"], _SYSTEM, "assignee", -1, -1))
    thanked = np.where(thanks, rows["reopened"] - 1, np.nan)
    replies = [(rows["replied"], _AGENT), (worked, _AGENT), (thanked, _CUSTOMER)]
    parts += [_event(floor, rows, at, who, "reply", -1, -1) for at, who in replies]
    return pl.concat(parts).sort("at", "ticket_id", "field", "new_value")


def _closer(floor: Floor) -> int:
    """Return who closes tickets."""
    return _SYSTEM if floor.centre.has("auto-close") else _AGENT


def _event(
    floor: Floor,
    rows: Columns,
    at: Floats,
    actor: int | Ints,
    field: str,
    old: int,
    new: int,
) -> pl.DataFrame:
    """Return one kind of event of all tickets, where and when it happened."""
    n = len(at)
    who = np.broadcast_to(np.asarray(actor), (n,))
    agent = texts(floor.agent_ids(), rows["agent"])
    customer = customer_ids(rows["customer"])
    names = pl.DataFrame({"agent": agent, "customer": customer, "who": who})
    actor_id = names.select(
        pl.when(pl.col("who") == _AGENT)
        .then("agent")
        .when(pl.col("who") == _CUSTOMER)
        .then("customer")
        .otherwise(pl.lit("system"))
        .alias("actor_id")
    ).to_series()
    value = texts(_STATUS, np.full(n, new))
    if field == "assignee":
        value = agent
    elif field == "reply":
        value = texts(("public",), np.zeros(n, dtype=np.int64))
    frame = pl.DataFrame(
        {
            "ticket_id": ticket_ids(rows),
            "at": _seen(floor, at),
            "actor_id": actor_id,
            "field": texts((field,), np.zeros(n, dtype=np.int64)),
            "old_value": texts(_STATUS, np.full(n, old)),
            "new_value": value,
        }
    )
    return frame.filter(pl.col("at").is_not_null())
