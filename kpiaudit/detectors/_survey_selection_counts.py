"""Lazy counts of contacts: who was invited, with which signs of trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.detectors._survey_selection_log import flag, invitations, log, total
from kpiaudit.frozen import frozen
from kpiaudit.tables.neighbours import legs
from kpiaudit.tables.sharing import once
from kpiaudit.tables.windows import Along, highest_before, stepped

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kpiaudit.detectors.base import Found
    from kpiaudit.tables.dataset import Dataset, Frame

DAY_MS = 86_400_000
NEVER = -1_000_000
"""Day of an invitation that never was."""

STRATA = ("queue", "channel", "direction")

INDEPENDENT = ("complained", "redress", "reopened", "held", "transferred", "repeat")
"""Signs of trouble that the subject does not write, the most telling first."""

OWN = ("flagged", "unresolved")
"""Signs that the subject notes down."""

REDRESS = ("refund", "credit", "discount", "return")

GAP_DAYS = 120
LENGTH_S = 180
LENGTH_STEP_S = 5


@frozen
class Windows:
    """Thresholds of the signs of trouble.

    Args:
        repeat_hours: A contact of the same customer within this time is a repeat.
        hold_long_s: A longer hold is a sign of trouble, in seconds.
        outcome_days: What happens to the customer within this time counts.
    """

    repeat_hours: float
    hold_long_s: float
    outcome_days: float


def contacts(data: Dataset, windows: Windows) -> Frame:
    """Return one row per contact, in the hands of its last agent, with its signs.

    A call that was passed on is its last agent's: who hands a caller over does not
    decide on the invitation any more. That the caller had been passed on is a sign of
    trouble which the last agent did not write.
    """
    frame = _last_legs(data)
    log_of = invitations(data)
    frame = frame.join(log_of, on="call_id", how="left").with_columns(
        *(
            nw.col(name).fill_null(0).cast(nw.Int64)
            for name in ("invited", "ruled_out", "answers", "score_milli", "score_sq")
        )
    )
    frame = _follow(frame, data, windows)
    signs: dict[str, Any] = {}
    if data.has("calls.hold_s"):
        signs["held"] = flag(nw.col("hold_s") > windows.hold_long_s)
    if data.has("calls.complaint"):
        signs["flagged"] = flag(nw.col("complaint"))
    if data.has("calls.resolved"):
        signs["unresolved"] = flag(~nw.col("resolved"))
    frame = frame.with_columns(**signs) if signs else frame
    frame = _reopened(frame, data)
    return _outcomes(frame, data, windows)


def signs_of(data: Dataset) -> tuple[str, ...]:
    """Return the signs of trouble that the columns allow."""
    timed = data.has("calls.at_ms")
    known = timed and data.has("calls.customer_id")
    later = known and data.has(
        "outcomes.customer_id", "outcomes.kind", "outcomes.at_ms"
    )
    there = {
        "complained": later,
        "redress": later,
        "reopened": timed
        and data.has("calls.ticket_id", "tickets.ticket_id", "tickets.reopened_at"),
        "held": data.has("calls.hold_s"),
        "transferred": timed,
        "repeat": known,
        "flagged": data.has("calls.complaint"),
        "unresolved": data.has("calls.resolved"),
    }
    return tuple(name for name in (*INDEPENDENT, *OWN) if there[name])


def _last_legs(data: Dataset) -> Frame:
    mine = ~nw.col("agent_id").is_null() & ~nw.col("call_id").is_null()
    if data.has("calls.outcome"):
        mine = mine & (nw.col("outcome").is_null() | (nw.col("outcome") == "answered"))
    frame = data.table("calls").filter(mine)
    if not data.has("calls.at_ms"):
        return frame
    along = Along(per=("call_id",), order=("at_ms", *legs(data)))
    beside = {"later_leg": ("agent_id", -1), "earlier_leg": ("agent_id", 1)}
    return (
        stepped(frame, along, beside)
        .filter(nw.col("later_leg").is_null())
        .with_columns(transferred=flag(~nw.col("earlier_leg").is_null()))
    )


def _follow(frame: Frame, data: Dataset, windows: Windows) -> Frame:
    """Add the same customer's next contact and the days since the last invitation."""
    if not data.has("calls.customer_id", "calls.at_ms"):
        return frame
    # Every caller without a number is a customer of their own: null would be one.
    alone = nw.concat_str([nw.lit("\x00"), nw.col("call_id")])
    customer = nw.col("customer_id")
    asked = nw.when(nw.col("invited") == 1).then(nw.col("day")).otherwise(nw.lit(NEVER))
    frame = frame.with_columns(
        caller=nw.when(customer.is_null()).then(alone).otherwise(customer),
        asked=asked.cast(nw.Int64),
    )
    after = {"next_ms": ("at_ms", -1)}
    ways = data.has("calls.direction")
    if ways:
        after["next_way"] = ("direction", -1)
    contacts_of = Along(per=("caller",), order=("at_ms", "call_id"))
    frame = stepped(frame, contacts_of, after)
    frame = highest_before(frame, contacts_of, "asked", NEVER)
    again = nw.col("next_ms") - nw.col("at_ms") <= int(windows.repeat_hours * 3_600_000)
    if ways:
        # A call back by the house is service, not trouble.
        again = again & (
            nw.col("next_way").is_null() | (nw.col("next_way") == "inbound")
        )
    return frame.with_columns(
        repeat=flag(again), gap_days=nw.col("day") - nw.col("asked")
    )


def _reopened(frame: Frame, data: Dataset) -> Frame:
    if "reopened" not in signs_of(data):
        return frame
    tickets = (
        data.table("tickets")
        .filter(~nw.col("ticket_id").is_null() & ~nw.col("reopened_at").is_null())
        .group_by("ticket_id")
        .agg(reopened_ms=nw.col("reopened_at").max())
    )
    return frame.join(tickets, on="ticket_id", how="left").with_columns(
        reopened=flag(nw.col("reopened_ms") > nw.col("at_ms"))
    )


def _outcomes(frame: Frame, data: Dataset, windows: Windows) -> Frame:
    if "complained" not in signs_of(data):
        return frame
    for sign, kinds in (("complained", ("complaint",)), ("redress", REDRESS)):
        hit = _before_outcome(frame, data, windows, kinds)
        frame = frame.join(
            hit.with_columns(nw.lit(1).alias(sign)), on="call_id", how="left"
        ).with_columns(nw.col(sign).fill_null(0).cast(nw.Int64))
    return frame


def _before_outcome(
    frame: Frame, data: Dataset, windows: Windows, kinds: tuple[str, ...]
) -> Frame:
    """Return the calls after which such an outcome comes next for the customer."""
    events = (
        data.table("outcomes")
        .filter(nw.col("kind").is_in(list(kinds)) & ~nw.col("customer_id").is_null())
        .select(
            caller=nw.col("customer_id"),
            at_ms=nw.col("at_ms"),
            call_id=nw.lit(""),
            event=nw.lit(1).cast(nw.Int64),
        )
    )
    calls = frame.select("caller", "at_ms", "call_id", event=nw.lit(0).cast(nw.Int64))
    along = Along(per=("caller",), order=("at_ms", "event", "call_id"))
    after = {"next_event": ("event", -1), "next_at": ("at_ms", -1)}
    within = int(windows.outcome_days * DAY_MS)
    return (
        stepped(nw.concat([calls, events], how="vertical"), along, after)
        .filter(
            (nw.col("event") == 0)
            & (nw.col("next_event") == 1)
            & (nw.col("next_at") - nw.col("at_ms") <= within)
        )
        .select("call_id")
    )


def eligible(frame: Frame, data: Dataset, found: Found, windows: Windows) -> Frame:
    """Keep contacts that could have been invited and whose follow-up is complete."""
    frame = frame.filter(nw.col("ruled_out") == 0)
    if data.has("calls.day"):
        if "first_day" in found:
            day = nw.col("day")
            frame = frame.filter(day.is_between(found["first_day"], found["last_day"]))
        if found.get("outage_days"):
            frame = frame.filter(~nw.col("day").is_in(list(found["outage_days"])))
    if found.get("shortest_s") and data.has("calls.talk_s"):
        talk = nw.col("talk_s")
        frame = frame.filter(talk.is_null() | (talk >= found["shortest_s"]))
    if not data.has("calls.customer_id", "calls.at_ms"):
        return frame
    if found.get("gap_days"):
        frame = frame.filter(nw.col("gap_days") > found["gap_days"])
    last = data.period.get("calls")
    if last is None:
        return frame
    return frame.filter(
        nw.col("at_ms") <= last[1] - int(windows.repeat_hours * 3_600_000)
    )


def summaries(frame: Frame, data: Dataset, since: int | None) -> Mapping[str, Frame]:
    """Count eligible contacts: `cells`, and what columns allow of the other summaries.

    Args:
        frame: From `eligible`, computed once for all of them.
        data: The dataset.
        since: First day of the later period; None if there is none.
    """
    out = {"cells": cells(frame, data, since)}
    names_of = signs_of(data)
    if len(names_of) > 1:
        out["patterns"] = (
            frame.group_by(*names_of)
            .agg(contacts=nw.len().cast(nw.Int64))
            .sort(*names_of)
        )
    if data.has("calls.day"):
        by_agent = frame.group_by("agent_id").agg(days=nw.col("day").n_unique())
        out["agents"] = by_agent.sort("agent_id")
    signs = [sign for sign in names_of if sign in INDEPENDENT]
    if signs and data.has("calls.customer_id", "calls.at_ms"):
        out["pairs"] = pairs(frame, data, signs[0])
    return out


def _only(frame: Frame, names: Collection[str]) -> Frame:
    """Keep these columns, as far as they are there: what is computed once is stored."""
    return frame.select(n for n in frame.collect_schema().names() if n in names)


def cells(frame: Frame, data: Dataset, since: int | None) -> Frame:
    """Count per agent and stratum: contacts, invited, and both per sign of trouble."""
    keys = ["agent_id", *(name for name in STRATA if data.has(f"calls.{name}"))]
    if keys[1:]:
        frame = frame.with_columns(*(nw.col(k).fill_null("") for k in keys[1:]))
    if since is not None and data.has("calls.day"):
        frame = frame.with_columns(after=flag(nw.col("day") >= since))
        keys.append("after")
    counts: dict[str, Any] = {
        "contacts": nw.len().cast(nw.Int64),
        "invited": total("invited"),
        "answers": total("answers"),
        "score_milli": total("score_milli"),
        "score_sq": total("score_sq"),
    }
    signs = signs_of(data)
    extra: dict[str, Any] = {}
    for sign in signs:
        extra[f"{sign}_invited"] = nw.col(sign) * nw.col("invited")
        extra[f"{sign}_answers"] = nw.col(sign) * nw.col("answers")
        extra[f"{sign}_score"] = nw.col(sign) * nw.col("score_milli")
        if "flagged" in signs and sign in INDEPENDENT:
            extra[f"{sign}_flagged"] = nw.col(sign) * nw.col("flagged")
        counts[sign] = total(sign)
    counts |= {name: total(name) for name in extra}
    frame = frame.with_columns(**extra) if extra else frame
    return frame.group_by(*keys).agg(**counts).sort(*keys)


def pairs(frame: Frame, data: Dataset, sign: str) -> Frame:
    """Count customers by how their contacts fell, per agent who had the trouble.

    Columns: `agent_id`; `a`, `b`: the customer's contacts with trouble at this agent,
    invited and not; `c`, `d`: the customer's other contacts, with whomever, invited
    and not; `customers` of that kind.
    """
    known = frame.filter(~nw.col("customer_id").is_null()).with_columns(
        a=nw.col(sign) * nw.col("invited"),
        b=nw.col(sign) * (1 - nw.col("invited")),
        c=(1 - nw.col(sign)) * nw.col("invited"),
        d=(1 - nw.col(sign)) * (1 - nw.col("invited")),
    )
    calm = known.group_by("customer_id").agg(c=total("c"), d=total("d"))
    hard = (
        known.group_by("customer_id", "agent_id")
        .agg(a=total("a"), b=total("b"))
        .filter((nw.col("a") + nw.col("b") > 0) & (nw.col("a") + nw.col("b") <= 50))
    )
    keys = ("agent_id", "a", "b", "c", "d")
    return (
        hard.join(
            calm.filter(
                (nw.col("c") + nw.col("d") > 0) & (nw.col("c") + nw.col("d") <= 50)
            ),
            on="customer_id",
            how="inner",
        )
        .filter((nw.col("a") + nw.col("c") > 0) & (nw.col("b") + nw.col("d") > 0))
        .group_by(*keys)
        .agg(customers=nw.len().cast(nw.Int64))
        .sort(*keys)
    )


def discovery(data: Dataset, windows: Windows) -> Mapping[str, Frame]:
    """Count what the system's rules on invitations can be read from."""
    out = {"log": log(data)}
    handled = contacts(data, windows).filter(nw.col("ruled_out") == 0)
    frame = once(_only(handled, {"day", "gap_days", "talk_s", "invited"}))
    counts = {"contacts": nw.len().cast(nw.Int64), "invited": total("invited")}
    if data.has("calls.day"):
        out["days"] = frame.group_by("day").agg(**counts).sort("day")
    if data.has("calls.customer_id", "calls.at_ms"):
        gap = nw.col("gap_days")
        near = frame.filter((gap >= 0) & (gap <= GAP_DAYS))
        out["gaps"] = near.group_by("gap_days").agg(**counts).sort("gap_days")
    if data.has("calls.talk_s"):
        talk = nw.col("talk_s")
        step = (talk / LENGTH_STEP_S).floor().cast(nw.Int64)
        brief = frame.filter((talk >= 0) & (talk < LENGTH_S)).with_columns(step=step)
        out["lengths"] = brief.group_by("step").agg(**counts).sort("step")
    return out
