"""What was planted, and the KPIs as they would have been without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from kpiaudit.tables.simulate.endings import CAP, SHORT, faulty_seat, outage_hour
from kpiaudit.tables.simulate.roster import agent_id, queue_name, special_queues

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Bools, Floats, Ints


def planted(
    floor: Floor,
    pattern: str,
    *,
    agent: Ints,
    ids: pl.Series,
    gamed: Bools,
    eligible: Bools,
    kpi: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the truth about one pattern.

    Args:
        floor: The staff.
        pattern: Id of the pattern.
        agent: Agent per record, shape (n,).
        ids: Record ids, length n.
        gamed: Which records are gamed, shape (n,).
        eligible: Which records of anybody could have been gamed, shape (n,).
        kpi: KPIs with and without the pattern.
    """
    agents = sorted({int(a) for _, who in floor.plants(pattern) for a in who})
    count = np.bincount(agent[gamed], minlength=floor.centre.agents)
    return {
        "agents": [agent_id(a) for a in agents],
        "events": int(gamed.sum()),
        "eligible": int((eligible & np.isin(agent, agents)).sum()),
        "records": ids.filter(pl.Series(gamed)).to_list(),
        "by_agent": {agent_id(a): int(count[a]) for a in agents},
        "kpi": kpi or {},
    }


def compared(
    floor: Floor,
    agent: Ints,
    reported: Floats,
    without: Floats,
    *,
    counts: Bools | None = None,
) -> dict[str, Any]:
    """Compare a mean with its value without a pattern, for the floor and per agent.

    Args:
        floor: The staff.
        agent: Agent per record, shape (n,).
        reported: Value per record; nan where it doesn't count.
        without: Value per record had nothing been planted; nan likewise.
        counts: Records that count for the floor's mean without the pattern; all if
            None.
    """
    kept = without if counts is None else np.where(counts, without, np.nan)
    out: dict[str, Any] = {"reported": _mean(reported), "without": _mean(kept)}
    out["by_agent"] = {
        agent_id(a): {
            "reported": _mean(reported[agent == a]),
            "without": _mean(kept[agent == a]),
        }
        for a in range(floor.centre.agents)
    }
    return out


def _mean(values: Floats) -> float | None:
    """Return the mean of what is no nan; None if there is nothing."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None


def calls_truth(floor: Floor, rows: Columns, ids: pl.Series) -> dict[str, Any]:
    """Return the truth about the two patterns of calls."""
    answered = rows["agent"] >= 0
    handle = np.where(answered, rows["line_s"] + rows["wrap_s"], np.nan)
    natural = np.where(answered, rows["natural_s"] + rows["wrap_s"], np.nan)
    kpi = {
        "average_handle_time": compared(
            floor, rows["agent"], handle, natural, counts=~rows["induced"]
        ),
        "calls": {
            "reported": int(answered.sum()),
            "without": int((answered & ~rows["induced"]).sum()),
        },
    }
    one: dict[str, Any] = {"agent": rows["agent"], "ids": ids, "kpi": kpi}
    return {
        "duration-cap": planted(
            floor,
            "duration-cap",
            gamed=rows["gamed"] == CAP,
            eligible=rows["cap_eligible"],
            **one,
        ),
        "short-calls": planted(
            floor,
            "short-calls",
            gamed=rows["gamed"] == SHORT,
            eligible=answered,
            **one,
        ),
    }


def lookalikes(floor: Floor) -> dict[str, Any]:
    """Return which agents play a part in each innocent mechanism that is on."""
    out: dict[str, Any] = {}
    for name in floor.centre.lookalikes:
        if not name.startswith("no-"):
            part = floor.parts.get(name, ())
            out[name] = {"agents": [agent_id(int(a)) for a in part]}
    return out


def call_lookalikes(floor: Floor, rows: Columns, ids: pl.Series) -> dict[str, Any]:
    """Return the same with what the innocent mechanisms of calls touched."""
    out = lookalikes(floor)
    for name, queue in special_queues(floor.centre).items():
        out[name]["queue"] = queue_name(queue)
    if "dropped-lines" in out:
        site, seat = faulty_seat(floor)
        out["dropped-lines"]["station"] = f"ST{site * 1000 + seat:04d}"
    if "outage" in out:
        begin = outage_hour(floor) + floor.centre.epoch_s
        out["outage"]["started_at_s"] = int(begin)
    if "silent-callers" in out:
        out["silent-callers"]["records"] = ids.filter(
            pl.Series(rows["silent"])
        ).to_list()
    return out
