"""Simulate a centre, and write its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.tables.simulate.centre import PATTERNS, TABLES, Centre, Simulated
from kpiaudit.tables.simulate.frames import (
    agents_frame,
    calls_frame,
    incentives_frame,
)
from kpiaudit.tables.simulate.handovers import (
    handovers,
    handovers_frame,
    handovers_truth,
)
from kpiaudit.tables.simulate.outcomes import outcomes_frame
from kpiaudit.tables.simulate.roster import staff
from kpiaudit.tables.simulate.spread import stream
from kpiaudit.tables.simulate.surveys import (
    hide,
    invitations,
    surveys_frame,
    surveys_truth,
)
from kpiaudit.tables.simulate.ticket_frames import (
    ticket_events_frame,
    ticket_ids,
    tickets_frame,
)
from kpiaudit.tables.simulate.tickets import tickets, tickets_truth
from kpiaudit.tables.simulate.traffic import traffic
from kpiaudit.tables.simulate.truth import call_lookalikes, calls_truth, lookalikes

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Ints

_STAMP = "%Y-%m-%dT%H:%M:%SZ"


def simulate(centre: Centre) -> Simulated:
    """Make the tables of a centre, and the truth about them.

    Equal settings give equal tables. Each mechanism draws from a stream of its own,
    so that a planted pattern leaves the first calls of everybody else as they were.

    Raises:
        ValueError: A plant names an agent that the centre doesn't have.
    """
    floor = staff(centre)
    tables: dict[str, pl.DataFrame] = {
        "agents": agents_frame(floor, _tenure(floor)),
        "incentives": incentives_frame(floor),
    }
    truth: dict[str, dict[str, Any]] = {p: _nothing() for p in PATTERNS}
    truth["lookalikes"] = lookalikes(floor)
    wanted = set(centre.tables)
    if wanted & {"calls", "surveys", "outcomes"}:
        rows = traffic(floor)
        due = invitations(floor, rows)
        rows = hide(rows, due)
        calls = calls_frame(floor, rows)
        tables["calls"] = calls
        tables["surveys"] = surveys_frame(floor, due)
        tables["outcomes"] = outcomes_frame(floor, rows, due)
        truth |= surveys_truth(floor, due)
        truth |= calls_truth(floor, rows, calls["call_id"])
        truth["lookalikes"] |= call_lookalikes(floor, rows, calls["call_id"])
    if wanted & {"tickets", "ticket_events"}:
        cases = tickets(floor)
        tables["tickets"] = tickets_frame(floor, cases)
        tables["ticket_events"] = ticket_events_frame(floor, cases)
        truth |= tickets_truth(floor, cases, ticket_ids(cases))
    if "handovers" in wanted:
        orders = handovers(floor)
        tables["handovers"] = handovers_frame(floor, orders)
        truth |= handovers_truth(floor, orders)
    return Simulated(
        tables={name: tables[name] for name in TABLES if name in wanted & set(tables)},
        truth=truth,
    )


def write(simulated: Simulated, folder: Path) -> None:
    """Write canonical CSV files, one a table, the same bytes for the same centre.

    Args:
        simulated: What `simulate` returned.
        folder: Where to; it is made if it isn't there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in simulated.tables.items():
        frame.write_csv(folder / f"{name}.csv", datetime_format=_STAMP)


def _nothing() -> dict[str, Any]:
    """Return the truth about a pattern that was not planted."""
    return {
        "agents": [],
        "events": 0,
        "eligible": 0,
        "records": [],
        "by_agent": {},
        "kpi": {},
    }


def _tenure(floor: Floor) -> Ints:
    """Draw how many days ago each agent was hired; novices within two months."""
    rng = stream(floor.centre.seed, "tenure")
    n = floor.centre.agents
    days = 120 + np.round(rng.gamma(1.5, 500, n))
    fresh = rng.integers(7, 60, n)
    return np.where(floor.spread.novice, fresh, days).astype(np.int64)
