"""The innocent explanations, and how far the counts rule them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors.base import Explain
from kpiaudit.findings import Explanation

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Row

THANKS = "a thank-you opened the ticket again, and no work followed"
AUTOMATIC = "the tickets were closed automatically"
SWEEP = "a clean-up at the end of the month"
HARD = "hard tickets, which are late and come back whoever has them"
INCIDENT = "one incident brought many tickets back at once"

EXPLANATIONS = (
    Explain(
        text=THANKS,
        either=(
            "tickets.reopened_at",
            "ticket_events.actor_id",
        ),
        asks="Was there any work by an agent after the ticket was opened again? "
        "Without events: was it resolved again within minutes?",
        then="Such reopenings are taken out of every count before the test.",
    ),
    Explain(
        text=AUTOMATIC,
        columns=("ticket_events.actor_id",),
        asks="Who closed the ticket? Without events: which delays do most agents "
        "share to the minute?",
        then="Closures by the system are taken out of every count before the test.",
    ),
    Explain(
        text=SWEEP,
        columns=("tickets.resolved_at",),
        asks="Which closures follow one another quickly on the last days of a "
        "month? Rests on a column that the agent writes, so that it is "
        "never ruled out.",
        then="These closures are taken out of every count before the test.",
    ),
    Explain(
        text=HARD,
        columns=("tickets.due_at",),
        asks="Do tickets closed beside the deadline, which are as hard, come "
        "back as often?",
        then="The comparison is with these closures; where they come back as "
        "often, it stays open.",
    ),
    Explain(
        text=INCIDENT,
        columns=("tickets.opened_at",),
        asks="Were the tickets that came back due on a few days only?",
        then="The finding is withdrawn if one day has half of them.",
    ),
)

_BACK = ("tickets.reopened_at", "ticket_events.new_value", "tickets.customer_id")
"""What may tell that a ticket came back: it, or another one of the same customer."""
_ONE_DAY = 0.5
_SPREAD_OUT = 0.25


def explanations(row: Row) -> tuple[Explanation, ...]:
    """Return every explanation with its status at this row."""
    return (_thanks(row), _automatic(row), _sweep(), _hard(row), _incident(row))


def _thanks(row: Row) -> Explanation:
    known = row.data.has("ticket_events.actor_id")
    if known and row.found.get("work_logged"):
        return Explanation(
            text=THANKS,
            status="ruled_out"
            if row.data.independent("ticket_events.actor_id")
            else "open",
            detail="only reopenings after which agents worked on it are counted "
            "(ticket_events.actor_id)",
        )
    if not row.data.has("tickets.reopened_at"):
        return Explanation(
            text=THANKS,
            status="uncheckable",
            detail="no column tickets.reopened_at, and no work in ticket_events by "
            "ticket_events.actor_id",
        )
    log = "as ticket_events hold hardly any work," if known else "without ticket_events"
    return Explanation(
        text=THANKS,
        status="open",
        detail="tickets resolved again within minutes are left out, on "
        f"{_there(row, 'tickets.resolved_at', 'tickets.closed_at')}; {log} "
        "it can't be seen whether anybody worked on it",
    )


def _there(row: Row, *columns: str) -> str:
    """Name those of some columns that the export has."""
    return ", ".join(name for name in columns if row.data.has(name))


def _automatic(row: Row) -> Explanation:
    known = row.data.has("ticket_events.actor_id")
    if known and row.found.get("closers_known"):
        return Explanation(
            text=AUTOMATIC,
            status="ruled_out"
            if row.data.independent("ticket_events.actor_id")
            else "open",
            detail="only closures by agents are counted (ticket_events.actor_id)",
        )
    return Explanation(
        text=AUTOMATIC,
        status="uncheckable",
        detail="no ticket_events.actor_id that says who closed the ticket; delays that "
        "most agents share to the minute are left out",
    )


def _sweep() -> Explanation:
    return Explanation(
        text=SWEEP,
        status="open",
        detail="closures in quick succession on the last days of a month are left out, "
        "on the column tickets.resolved_at, which the agent writes",
    )


def _hard(row: Row) -> Explanation:
    """Compare with closures beside the deadline, whose tickets are as hard."""
    if row.found.get("mode", "due") != "due" or row.kind != "agent":
        return Explanation(
            text=HARD,
            status="open",
            detail="no comparison with other tickets that ran late",
        )
    n, k = row.value("near_known"), row.value("near_bounced")
    m, c = row.value("side_known"), row.value("side_bounced")
    detail = (
        f"{k:.0f} of {n:.0f} closures just before the deadline came back, "
        f"{c:.0f} of {m:.0f} in the second half of the clock or after it"
    )
    p, q = (k + 0.5) / (n + 1.0), (c + 0.5) / (m + 1.0)
    error = float(np.sqrt(p * (1 - p) / (n + 1.0) + q * (1 - q) / (m + 1.0)))
    grounded = row.data.independent("tickets.due_at") and (
        row.data.independent("tickets.reopened_at")
        or row.data.independent("tickets.customer_id")
    )
    clear = m >= 20 and p - q > 1.96 * error
    return Explanation(
        text=HARD,
        status="ruled_out" if clear and grounded else "open",
        detail=f"{detail} ({_there(row, 'tickets.due_at', *_BACK)})",
    )


def _incident(row: Row) -> Explanation:
    days = row.summaries["days"]
    mine = days.same("agent_id", row.id)
    if row.kind != "agent":
        mine = np.ones(len(days), dtype=bool)
    back = days.floats("near_bounced")[mine]
    day = days.ints("due_day")[mine]
    if back.sum() <= 0:
        return Explanation(text=INCIDENT, status="open", detail="no days to compare")
    per_day = np.bincount(day - day.min(), weights=back)
    share = float(per_day.max() / back.sum())
    detail = (
        f"{share:.0%} of the tickets that came back were due on one day, on "
        f"{int((per_day > 0).sum())} days in all"
    )
    clear = share <= _SPREAD_OUT and row.data.independent("tickets.opened_at")
    return Explanation(
        text=INCIDENT,
        status="ruled_out" if clear else "open",
        detail=f"{detail} (tickets.opened_at)",
        holds=share >= _ONE_DAY,
        # Without deadlines, tickets count on the day that the agent chose.
        rests_on=("tickets.due_at",)
        if row.found.get("mode", "due") == "due"
        else ("tickets.resolved_at",),
    )
