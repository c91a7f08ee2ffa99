"""What happened to customers later, recorded by others than the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from kpiaudit.tables.simulate.frames import customer_ids, instants, texts
from kpiaudit.tables.simulate.roster import DAY_S
from kpiaudit.tables.simulate.spread import stream
from kpiaudit.tables.simulate.surveys import unhappy
from kpiaudit.tables.simulate.traffic import stack

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.roster import Floor

KINDS = (
    "complaint",
    "refund",
    "credit",
    "discount",
    "churn",
    "renewal",
    "contact",
    "mystery_shop",
)
_UNHAPPY = np.array([0.15, 0.10, 0.05, 0.03, 0.03, 0.01, 0.08])
_HAPPY = np.array([0.003, 0.008, 0.006, 0.010, 0.003, 0.030, 0.010])
_DELAY_S = np.array([2.0, 1.0, 0.3, 0.1, 12.0, 10.0, 1.0]) * DAY_S
_BY_AGENT = np.array([False, True, True, True, False, False, False])
"""Whether an agent grants it, so that it carries the agent's id."""


def outcomes_frame(floor: Floor, rows: Columns, due: Columns) -> pl.DataFrame:
    """Return the table `outcomes`, sorted by time.

    Args:
        floor: The staff.
        rows: All calls.
        due: Invitations, for the gifts of coached answers.
    """
    parts = stack((_later(floor, rows), _gifts(floor, due), _shoppers(floor, rows)))
    inside = parts["at"] < floor.centre.days * DAY_S
    parts = {k: v[inside] for k, v in parts.items()}
    order = np.lexsort((parts["kind"], parts["customer"], parts["at"]))
    parts = {k: v[order] for k, v in parts.items()}
    return pl.DataFrame(
        {
            "customer_id": customer_ids(parts["customer"]),
            "at": instants(floor, parts["at"]),
            "kind": texts(KINDS, parts["kind"]),
            "agent_id": texts(floor.agent_ids(), parts["agent"]),
            "value": pl.Series(parts["value"]).fill_nan(None),
        }
    )


def _later(floor: Floor, rows: Columns) -> Columns:
    """Draw what customers do after a contact, more of it after trouble."""
    rng = stream(floor.centre.seed, "outcomes")
    n = len(rows["at"])
    sad = unhappy(rows)
    real = (rows["agent"] >= 0) & ~rows["silent"]
    chance = np.where(sad[:, None], _UNHAPPY, _HAPPY) * real[:, None]
    call, kind = np.nonzero(rng.random((n, len(_HAPPY))) < chance)
    delay = 120 + rng.exponential(_DELAY_S[kind])
    end = rows["answered"] + rows["line_s"]
    paid = np.isin(kind, [1, 2, 3])
    amount = np.round(rng.gamma(2.0, 8.0, len(kind)), 2)
    return {
        "customer": rows["customer"][call],
        "at": np.round(end[call] + delay),
        "kind": kind.astype(np.int64),
        "agent": np.where(_BY_AGENT[kind], rows["agent"][call], -1),
        "value": np.where(paid, amount, np.nan),
    }


def _gifts(floor: Floor, due: Columns) -> Columns:
    """Return the discounts and credits that were given for an answer."""
    rng = stream(floor.centre.seed, "gifts")
    gift = due["gift"] & due["coached"]
    n = int(gift.sum())
    at = due["replied"][gift] + rng.integers(-300, 301, n)
    return {
        "customer": due["customer"][gift],
        "at": np.round(at),
        "kind": np.where(rng.random(n) < 0.5, 2, 3),
        "agent": due["agent"][gift],
        "value": np.round(rng.uniform(5, 15, n), 2),
    }


def _shoppers(floor: Floor, rows: Columns) -> Columns:
    """Let a test customer judge every agent once in two weeks, on a scale to 100."""
    rng = stream(floor.centre.seed, "shoppers")
    visits = max(1, floor.centre.days // 14)
    agent = np.repeat(np.arange(floor.centre.agents), visits)
    liked = floor.spread.effect("satisfaction", agent, sign=-1)
    liked = liked + 1.2 * floor.plays("excellent-agents")[agent]
    value = np.clip(78 + 8 * liked + 6 * rng.standard_normal(len(agent)), 0, 100)
    day = rng.integers(0, floor.centre.days, len(agent))
    return {
        "customer": rows["customer"].max() + 100 + np.arange(len(agent)),
        "at": np.round(day * DAY_S + rng.uniform(9, 17, len(agent)) * 3600),
        "kind": np.full(len(agent), KINDS.index("mystery_shop")),
        "agent": agent,
        "value": np.round(value),
    }
