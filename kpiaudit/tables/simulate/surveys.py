"""Who is invited to a survey, who answers, and what was done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from kpiaudit.tables.simulate.calls import progress
from kpiaudit.tables.simulate.frames import (
    call_ids,
    customer_ids,
    instants,
    numbered,
    numbers,
    texts,
)
from kpiaudit.tables.simulate.roster import DAY_S
from kpiaudit.tables.simulate.spread import stream, tilt
from kpiaudit.tables.simulate.truth import compared, planted

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.centre import Plant
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Bools, Floats, Ints

INVITED_FROM_S = 30
"""Shorter calls get no survey, by a system rule."""

CONTACT_CAP_S = 30 * DAY_S
_STEPS = np.array([0.0, -1.1, -2.0, -2.8])
"""Where a latent satisfaction falls from 5 to 4, 3, 2 and 1."""


def unhappy(rows: Columns) -> Bools:
    """Say which calls left the customer with a reason to complain: latent."""
    return np.asarray(rows["trouble"] | (rows["gamed"] > 0) | rows["dropped"])


def invitations(floor: Floor, rows: Columns) -> Columns:
    """Draw the invitations that are due, and what becomes of them.

    Args:
        floor: The staff.
        rows: All calls, in the order of the table.

    Returns:
        One row per invitation that an honest agent would have sent: `row` (of the
        call), `agent`, `unhappy`, `suppressed` (by a planted pattern), `capped` (by a
        system rule), `responded`, `score`, `honest_score`, `sent` and `answered` (in
        seconds), `coached`, `gift`, `shared` (one device) and `hidden`.
    """
    due = (rows["agent"] >= 0) & (rows["line_s"] >= INVITED_FROM_S) & ~rows["silent"]
    calls = {k: v[due] for k, v in rows.items()}
    calls = calls | {"row": np.flatnonzero(due), "unhappy": unhappy(calls)}
    rng = stream(floor.centre.seed, "invitations")
    would = rng.random(len(calls["at"])) < _inviting(floor, calls)
    out = {k: v[would] for k, v in calls.items()}
    out = _answers(floor, out)
    no = np.zeros(len(out["at"]), dtype=np.bool_)
    out = out | dict.fromkeys(("suppressed", "coached", "gift", "shared"), no)
    out = out | {"hidden": no}
    for plant, agents in floor.plants("survey-selection"):
        out = _plant_selection(floor, out, plant, agents)
    out = out | {"capped": _capped(floor, out)}
    out = out | {"responded": out["responded"] & ~out["capped"]}
    for plant, agents in floor.plants("perfect-scores"):
        out = _plant_scores(floor, out, plant, agents)
    return out


def _inviting(floor: Floor, calls: Columns) -> Floats:
    """Return the chance of an invitation, habits and customers' mood included."""
    done = progress(floor, calls)
    agent = calls["agent"]
    effect = floor.spread.effect("invitation", agent, done, 0)
    # habits after trouble differ as well, each agent's in a way of its own
    after = floor.spread.effect("invitation after trouble", agent, done, -1)
    if floor.spread.kind == "skewed":
        # the long tail is of those who invite less: honest, and hard to tell apart
        after = -after
    if floor.centre.has("unhappy-leave"):
        after = after - 0.6
    effect = effect + np.where(calls["unhappy"], after, 0.0)
    chance = tilt(0.6, effect + 1.0 * calls["chat"])
    if floor.centre.has("simpson-queues"):
        chance = np.where(calls["queue"] == 0, 0.4 * chance, chance)
    return np.asarray(chance)


def _answers(floor: Floor, calls: Columns) -> Columns:
    """Draw who would answer, when and what."""
    centre = floor.centre
    rng = stream(centre.seed, "answers")
    n = len(calls["at"])
    done = progress(floor, calls)
    agent = calls["agent"]
    liked = 0.5 + floor.spread.effect("satisfaction", agent, done, -1)
    liked = liked + 1.2 * floor.plays("excellent-agents")[agent]
    liked = liked + np.array([0.0, -0.1, 0.1])[calls["queue"] % 3]
    liked = liked + 0.8 * calls["chat"] - 1.9 * calls["unhappy"]
    if centre.has("team-satisfaction"):
        mood = stream(centre.seed, "team mood").normal(0, 0.4, centre.teams)
        liked = liked + mood[floor.team[agent]]
    latent = liked + rng.logistic(size=n)
    score = 1.0 + (latent[:, None] > _STEPS).sum(axis=1)
    willing = floor.spread.effect("response", agent, done, 0)
    chance = tilt(np.where(calls["unhappy"], 0.37, 0.33), willing)
    sent = calls["answered"] + calls["line_s"] + rng.integers(10, 41, n)
    delay = 20 + np.exp(np.log(1200) + 1.8 * rng.standard_normal(n))
    bounced = rng.random(n) < 0.03
    responded = (rng.random(n) < chance) & ~bounced
    return calls | {
        "score": score,
        "honest_score": score,
        "sent": sent,
        "replied": np.round(sent + delay),
        "bounced": bounced,
        "responded": responded & (sent + delay < centre.days * DAY_S),
    }


def _plant_selection(floor: Floor, due: Columns, plant: Plant, agents: Ints) -> Columns:
    """Keep back invitations after trouble."""
    rng = stream(floor.centre.seed, "survey-selection")
    n = len(due["at"])
    hit = np.isin(due["agent"], agents) & due["unhappy"]
    hit &= rng.random(n) < plant.strength
    hidden = hit & (rng.random(n) < plant.falsify)
    return due | {
        "suppressed": due["suppressed"] | hit,
        "hidden": due["hidden"] | hidden,
    }


def _plant_scores(floor: Floor, due: Columns, plant: Plant, agents: Ints) -> Columns:
    """Coach respondents to the top score, on one device or against a gift."""
    rng = stream(floor.centre.seed, "perfect-scores")
    n = len(due["at"])
    hit = np.isin(due["agent"], agents) & due["responded"] & ~due["suppressed"]
    hit &= rng.random(n) < plant.strength
    end = due["answered"] + due["line_s"]
    way = rng.random(n)
    device = np.full(n, plant.variant == "device") | (
        (plant.variant == "mixed") & (way < 0.4)
    )
    gift = np.full(n, plant.variant == "gift") | (
        (plant.variant == "mixed") & (way > 0.6)
    )
    hidden = hit & (rng.random(n) < plant.falsify)
    return due | {
        "score": np.where(hit, 5.0, due["score"]),
        "replied": np.where(hit, end + rng.integers(60, 121, n), due["replied"]),
        "coached": due["coached"] | hit,
        "shared": due["shared"] | (hit & device),
        "gift": due["gift"] | (hit & gift),
        "hidden": due["hidden"] | hidden,
    }


def _capped(floor: Floor, due: Columns) -> Bools:
    """Say whom a system rule keeps out: nobody is invited twice within 30 days."""
    out = np.zeros(len(due["at"]), dtype=np.bool_)
    if not floor.centre.has("contact-cap"):
        return out
    order = np.lexsort((due["at"], due["customer"]))
    order = order[~due["suppressed"][order]]
    customer, at = due["customer"][order], due["at"][order]
    first = np.flatnonzero(np.r_[True, customer[1:] != customer[:-1]])
    size = np.diff(np.r_[first, len(order)])
    last = np.full(len(first), -np.inf)
    for turn in range(int(size.max(initial=0))):
        there = size > turn
        now = first[there] + turn
        early = at[now] - last[there] < CONTACT_CAP_S
        out[order[now]] = early
        last[there] = np.where(early, last[there], at[now])
    return out


def hide(rows: Columns, due: Columns) -> Columns:
    """Let the hidden contacts' calls look settled in the agent's own fields."""
    hidden = np.zeros(len(rows["at"]), dtype=np.bool_)
    hidden[due["row"][due["hidden"]]] = True
    return rows | {
        "complaint": rows["complaint"] & ~hidden,
        "resolved": rows["resolved"] | hidden,
    }


def surveys_frame(floor: Floor, due: Columns) -> pl.DataFrame:
    """Return the table `surveys`: the log of invitations, answered or not."""
    log = {k: v[~due["suppressed"]] for k, v in due.items()}
    rng = stream(floor.centre.seed, "survey log")
    n = len(log["at"])
    sent, said = ~log["capped"], log["responded"]
    mail = (log["customer"] % 10 < 3).astype(np.int64)
    moved = sent & (rng.random(n) < 0.005)
    void = said & (rng.random(n) < 0.003)
    address = numbered("+4915", 10_000_000 + log["customer"], 8)
    # a household shares a device now and then; an agent's own one is shared by all
    device = log["customer"] - (log["customer"] % 50 == 1)
    device = np.where(log["shared"], 9_000_000 + log["agent"], device)
    zero = np.zeros(n, dtype=np.int64)
    status = np.where(log["bounced"], 1, 0)
    return pl.DataFrame(
        {
            "survey_id": numbered("V", np.arange(n) + 1, 7),
            "call_id": call_ids(log["row"]),
            "agent_id": texts(floor.agent_ids(), log["agent"]),
            "customer_id": customer_ids(log["customer"]),
            "channel": texts(("sms", "email"), mail),
            "administered_by": texts(("system",), zero),
            "eligible": pl.Series(sent),
            "suppressed_by": texts(("contact_cap",), np.where(sent, -1, 0)),
            "sent_at": instants(floor, log["sent"], sent),
            "sent_to_changed_at": instants(floor, log["sent"] - 1800.0, moved),
            "responded_at": instants(floor, log["replied"], said),
            "score": numbers(log["score"], said),
            "score_max": numbers(np.full(n, 5.0), np.ones(n, dtype=np.bool_)),
            "send_status": texts(("sent", "bounced"), np.where(sent, status, -1)),
            "address": address,
            "device": numbered("D", device, 7).set(pl.Series(~said), None),
            "voided_at": instants(floor, log["replied"] + 86_400.0, void),
            "voided_by": texts(("quality",), np.where(void, 0, -1)),
            "void_reason": texts(("test",), np.where(void, 0, -1)),
        }
    )


def surveys_truth(floor: Floor, due: Columns) -> dict[str, Any]:
    """Return the truth about the two patterns of surveys."""
    reported = due["responded"] & ~due["suppressed"]
    score = np.where(reported, due["score"], np.nan)
    everybody = np.where(due["responded"], due["score"], np.nan)
    uncoached = np.where(reported, due["honest_score"], np.nan)
    agent = due["agent"]
    ids = call_ids(due["row"])
    return {
        "survey-selection": planted(
            floor,
            "survey-selection",
            agent=agent,
            ids=ids,
            gamed=due["suppressed"],
            eligible=due["unhappy"],
            kpi={"csat": compared(floor, agent, score, everybody)},
        ),
        "perfect-scores": planted(
            floor,
            "perfect-scores",
            agent=agent,
            ids=ids,
            gamed=due["coached"],
            eligible=reported,
            kpi={"csat": compared(floor, agent, score, uncoached)},
        ),
    }
