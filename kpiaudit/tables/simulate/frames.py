"""Columns of numbers to canonical data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from kpiaudit.tables.simulate.calls import ENDED_BY
from kpiaudit.tables.simulate.roster import queue_name

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Bools, Floats, Ints


def texts(labels: list[str] | tuple[str, ...], index: Ints) -> pl.Series:
    """Return labels by index; null where the index is negative."""
    known = pl.Series(labels, dtype=pl.String)
    picked = pl.Series(np.where(index < 0, 0, index))
    return known.gather(picked).set(pl.Series(index < 0), None)


def numbered(prefix: str, index: Ints, width: int) -> pl.Series:
    """Return ids such as `C0000012`: a prefix and a padded number."""
    number = pl.Series("id", index).cast(pl.String).str.zfill(width)
    return pl.select(pl.concat_str(pl.lit(prefix), pl.lit(number))).to_series()


def instants(floor: Floor, seconds: Floats, present: Bools | None = None) -> pl.Series:
    """Return instants in UTC from seconds after the first midnight; nan is null."""
    usable = ~np.isnan(seconds)
    if present is not None:
        usable &= present
    whole = np.where(usable, np.nan_to_num(np.round(seconds)), 0).astype(np.int64)
    stamp = pl.Series((whole + floor.centre.epoch_s) * 1000)
    return (
        stamp.cast(pl.Datetime("ms"))
        .dt.replace_time_zone("UTC")
        .set(pl.Series(~usable), None)
    )


def numbers(values: Floats, present: Bools) -> pl.Series:
    """Return numbers, null where they are not present."""
    return pl.Series(values.astype(np.float64)).set(pl.Series(~present), None)


def flags(values: Bools, present: Bools) -> pl.Series:
    """Return flags, null where they are not present."""
    return pl.Series(values).set(pl.Series(~present), None)


def people(floor: Floor, agent: Ints) -> dict[str, Any]:
    """Return the columns `agent_id`, `team_id`, `site_id`; null where agent is -1."""
    one = np.maximum(agent, 0)
    teams = [f"T{i + 1:02d}" for i in range(floor.centre.teams)]
    sites = [f"S{i + 1}" for i in range(floor.centre.sites)]
    nobody = agent < 0
    return {
        "agent_id": texts(floor.agent_ids(), agent),
        "team_id": texts(teams, np.where(nobody, -1, floor.team[one])),
        "site_id": texts(sites, np.where(nobody, -1, floor.site[one])),
    }


def calls_frame(floor: Floor, rows: Columns) -> pl.DataFrame:
    """Return the table `calls`."""
    n = len(rows["at"])
    answered = rows["agent"] >= 0
    end = rows["answered"] + rows["line_s"]
    end = np.where(answered, end, rows["at"] + rows["wait_s"])
    wait = np.where(answered, rows["answered"] - rows["at"], rows["wait_s"])
    transfer = np.where(answered, rows["transfer"], 0)
    disposition = np.where(rows["line_s"] < 15, 3, np.where(rows["resolved"], 0, 1))
    disposition = np.where(transfer > 0, 2, disposition)
    site = floor.site[np.maximum(rows["agent"], 0)]
    station = np.where(answered, site * 1000 + rows["station"], -1)
    trunk = np.where(answered, site * 10 + rows["station"] // 8, -1)
    queues = [queue_name(i) for i in range(floor.centre.queues)]
    names = ("settled", "follow-up", "transferred", "no contact")
    frame = {
        "call_id": call_ids(np.arange(n)),
        **people(floor, rows["agent"]),
        "queue": texts(queues, rows["queue"]),
        "customer_id": customer_ids(rows["customer"]),
        "channel": texts(("voice", "chat"), rows["chat"].astype(np.int64)),
        "direction": texts(("inbound",), np.zeros(n, dtype=np.int64)),
        "started_at": instants(floor, rows["at"]),
        "answered_at": instants(floor, rows["answered"], answered),
        "ended_at": instants(floor, end),
        "wait_s": pl.Series(wait.astype(np.float64)),
        "talk_s": numbers(rows["line_s"] - rows["hold_s"], answered),
        "hold_s": numbers(rows["hold_s"], answered),
        "wrap_s": numbers(rows["wrap_s"], answered),
        "ended_by": texts(ENDED_BY, rows["ended_by"]),
        "outcome": texts(("abandoned", "answered"), answered.astype(np.int64)),
        "transfer_type": texts(("none", "blind", "warm"), transfer),
        "transfer_to": texts(("second line",), np.where(transfer > 0, 0, -1)),
        "disposition": texts(names, np.where(answered, disposition, -1)),
        "resolved": flags(rows["resolved"], answered),
        "complaint": flags(rows["complaint"], answered),
        "monitored": flags(rows["monitored"], answered),
        "station": _places("ST", station),
        "trunk": _places("TR", trunk),
    }
    return pl.DataFrame(frame)


def call_ids(index: Ints) -> pl.Series:
    """Return calls' ids."""
    return numbered("K", index + 1, 7)


def customer_ids(index: Ints) -> pl.Series:
    """Return customers' ids."""
    return numbered("C", index + 1, 7)


def _places(prefix: str, index: Ints) -> pl.Series:
    """Return ids of seats or lines; null where negative."""
    ids = numbered(prefix, np.maximum(index, 0), 4)
    return ids.set(pl.Series(index < 0), None)


def agents_frame(floor: Floor, hired_days: Ints) -> pl.DataFrame:
    """Return the table `agents`.

    Args:
        floor: The staff.
        hired_days: Days between hiring and the first day, shape (n_agents,).
    """
    n = floor.centre.agents
    index = np.arange(n)
    no = np.zeros(n, dtype=np.bool_)
    hired = instants(floor, -hired_days.astype(np.float64) * 86_400.0)
    frame = {
        "agent_id": texts(floor.agent_ids(), index),
        "person_id": numbered("P", index + 1, 5),
        "valid_from": hired,
        "valid_to": instants(floor, np.zeros(n), no),
        "hired_at": hired,
        "left_at": instants(floor, np.zeros(n), no),
        "role": texts(("agent", "trainee"), floor.spread.novice.astype(np.int64)),
        "skills": [
            "|".join(queue_name(int(q)) for q in np.flatnonzero(mix > 0.05))
            for mix in floor.mix
        ],
        "language": texts(("en",), np.zeros(n, dtype=np.int64)),
        "supervisor_id": numbered("SV", floor.team + 1, 2),
        **{k: v for k, v in people(floor, index).items() if k != "agent_id"},
        "hours_per_week": pl.Series(np.where(floor.part_time, 20.0, 40.0)),
    }
    return pl.DataFrame(frame)


def incentives_frame(floor: Floor) -> pl.DataFrame:
    """Return the table `incentives`: one scheme per KPI that the patterns inflate."""
    centre = floor.centre
    schemes: tuple[tuple[str, float, str, float], ...] = (
        ("average_handle_time", centre.cap_s, "below", 150.0),
        ("calls_per_shift", 70.0, "above", 100.0),
        ("csat", 4.5, "above", 200.0),
        ("ready_on_time", 0.9, "above", 120.0),
        ("sla_met", 0.85, "above", 120.0),
    )
    if centre.calls_bonus:
        schemes += (("calls_handled", centre.calls_bonus, "above", 150.0),)
    first = np.zeros(len(schemes))
    return pl.DataFrame(
        {
            "scheme_id": [f"I{i + 1:02d}" for i in range(len(schemes))],
            "kpi": [s[0] for s in schemes],
            "subject_kind": ["agent"] * len(schemes),
            "subject_id": pl.Series([None] * len(schemes), dtype=pl.String),
            "threshold": [float(s[1]) for s in schemes],
            "direction": [s[2] for s in schemes],
            "amount": [s[3] for s in schemes],
            "currency": ["EUR"] * len(schemes),
            "period": ["month"] * len(schemes),
            "announced_at": instants(floor, first - 30 * 86_400.0),
            "valid_from": instants(floor, first),
            "valid_to": instants(floor, first, first > 0),
            "decision_at": instants(floor, first + centre.days * 86_400.0),
        }
    )
