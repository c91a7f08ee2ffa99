"""The canonical tables and columns: the one source for loader, docs and `inspect`."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind: TypeAlias = Literal[
    "id", "text", "code", "instant", "duration", "flag", "number", "count"
]

ORIGINS = (
    "system",
    "steered",
    "agent",
    "supervisor",
    "customer",
    "third_party",
    "derived",
    "unknown",
)


@frozen
class Column:
    """One canonical column.

    Args:
        name: As in the tables.
        type: How its cells are read.
        unit: Unit of its values; empty where there is none.
        meaning: One clause.
        origin: Who writes it unless a mapping says otherwise.
        key: Whether it names the row.
        aliases: Other names, in canonical files only.
        values: Codes that it may hold; empty where any will do.
    """

    name: str
    type: Kind
    unit: str = ""
    meaning: str
    origin: str
    key: bool = False
    aliases: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


def _id(name: str, meaning: str, *aliases: str, key: bool = False) -> Column:
    return Column(
        name=name, type="id", meaning=meaning, origin="system", key=key, aliases=aliases
    )


def _text(name: str, meaning: str, origin: str) -> Column:
    return Column(name=name, type="text", meaning=meaning, origin=origin)


def _code(name: str, meaning: str, origin: str, *values: str) -> Column:
    return Column(name=name, type="code", meaning=meaning, origin=origin, values=values)


def _at(name: str, meaning: str, origin: str) -> Column:
    return Column(
        name=name, type="instant", unit="ISO 8601", meaning=meaning, origin=origin
    )


def _s(name: str, meaning: str, origin: str, *aliases: str) -> Column:
    return Column(
        name=name,
        type="duration",
        unit="s",
        meaning=meaning,
        origin=origin,
        aliases=aliases,
    )


def _flag(name: str, meaning: str, origin: str) -> Column:
    return Column(name=name, type="flag", meaning=meaning, origin=origin)


def _number(name: str, meaning: str, origin: str, unit: str = "") -> Column:
    return Column(name=name, type="number", unit=unit, meaning=meaning, origin=origin)


def _count(name: str, meaning: str, origin: str) -> Column:
    return Column(name=name, type="count", meaning=meaning, origin=origin)


_TEAM = _id("team_id", "team of the agent at that time", "team")
_SITE = _id("site_id", "site of the agent at that time", "site")
_AGENT = _id("agent_id", "agent who handled it")
_CUSTOMER = _id("customer_id", "customer, hashed or a number")

_CALLS = (
    _id("call_id", "call; its legs share it", key=True),
    _id("agent_id", "agent of the leg, absent if nobody was reached"),
    _TEAM,
    _SITE,
    _text("queue", "queue as routed", "system"),
    _CUSTOMER,
    _code("channel", "voice, chat, email, ...", "system"),
    _code("direction", "inbound or outbound", "system"),
    _at("started_at", "when the leg or the offer began", "system"),
    _at("answered_at", "when the agent answered", "system"),
    _at("ended_at", "when the leg ended", "steered"),
    _s("wait_s", "queue entry to answer or abandonment", "system"),
    _s("talk_s", "conversation without hold", "steered", "duration_s"),
    _s("hold_s", "time on hold", "steered"),
    _s("wrap_s", "work after the call", "steered"),
    _code(
        "ended_by",
        "who ended the leg",
        "steered",
        "agent",
        "customer",
        "system",
        "transfer",
        "unknown",
    ),
    _code(
        "outcome",
        "what became of the offer",
        "system",
        "answered",
        "abandoned",
        "voicemail",
        "callback",
        "no_answer",
        "rejected",
    ),
    _code("transfer_type", "how it was passed on", "agent", "none", "blind", "warm"),
    Column(
        name="transfer_to",
        type="id",
        meaning="agent, queue or number it was passed to",
        origin="steered",
    ),
    _text("reason", "why the customer called", "agent"),
    _text("disposition", "how the agent closed it", "agent"),
    _flag("resolved", "marked as resolved", "agent"),
    _flag("complaint", "marked as a complaint", "agent"),
    _flag("monitored", "listened to by a supervisor", "supervisor"),
    _id("station", "seat or terminal"),
    _id("trunk", "line that carried it"),
    _id("ticket_id", "ticket that it belongs to"),
)

_SURVEYS = (
    _id("survey_id", "invitation", key=True),
    _id("call_id", "call that it is about"),
    _id("ticket_id", "ticket that it is about"),
    _id("order_id", "order that it is about"),
    _id("agent_id", "agent who is rated"),
    _CUSTOMER,
    _code("channel", "how it was sent", "system"),
    _code(
        "administered_by",
        "who put the question",
        "system",
        "system",
        "agent",
        "supervisor",
        "third_party",
    ),
    _flag("eligible", "whether an invitation was due", "system"),
    _text("suppressed_by", "who or what withheld the invitation", "system"),
    _at("sent_at", "when the invitation was sent", "system"),
    _at("sent_to_changed_at", "when its address was last changed", "system"),
    _at("responded_at", "when it was answered", "system"),
    _number("score", "answer to the main question", "customer"),
    _number("score_max", "highest possible score", "system"),
    _code("send_status", "sent, bounced, suppressed, ...", "system"),
    Column(
        name="address",
        type="id",
        meaning="where it was sent, hashed or not",
        origin="unknown",
    ),
    _text("device", "device that answered", "system"),
    _at("voided_at", "when the answer was taken out", "supervisor"),
    Column(name="voided_by", type="id", meaning="who took it out", origin="supervisor"),
    _text("void_reason", "why it was taken out", "supervisor"),
    _text("comment", "the customer's words", "customer"),
)

_TICKETS = (
    _id("ticket_id", "ticket", key=True),
    _AGENT,
    _TEAM,
    _SITE,
    _CUSTOMER,
    _text("category", "what it is about", "agent"),
    _code("priority", "its urgency", "agent"),
    _at("opened_at", "when it was opened", "system"),
    _at("assigned_at", "when it was given to the agent", "system"),
    _at("first_reply_at", "first reply to the customer", "steered"),
    _at("due_at", "when it has to be resolved", "system"),
    _flag("sla_met", "whether it was resolved in time, as reported", "derived"),
    _at("resolved_at", "when it was marked as resolved", "agent"),
    _at("closed_at", "when it was closed for good", "steered"),
    _at("reopened_at", "when it was opened again", "system"),
    _count("reopen_count", "how often it was opened again", "system"),
    _s("paused_s", "time for which its clock stood still", "agent"),
)

_TICKET_EVENTS = (
    _id("ticket_id", "ticket that was changed"),
    _at("at", "when it was changed", "system"),
    _id("actor_id", "who changed it"),
    _code("field", "which field", "steered"),
    _text("old_value", "its value before", "steered"),
    _text("new_value", "its value after", "steered"),
)

_HANDOVERS = (
    _id("order_id", "order or parcel", key=True),
    _id("agent_id", "who is measured by it"),
    _TEAM,
    _SITE,
    _id("actor_id", "who recorded the hand-over"),
    _at("placed_at", "when it was ordered", "system"),
    _at("promised_at", "when it was promised", "system"),
    _at("ready_at", "when it was marked as ready", "agent"),
    _at("courier_arrived_at", "when the courier arrived", "third_party"),
    _at("handed_over_at", "when it was marked as handed over", "agent"),
    _at("delivered_at", "delivery as displayed", "agent"),
    _at("received_at", "the customer's own signature, code or payment", "system"),
    _at("recorded_at", "when the server wrote the record", "system"),
)

_AGENT_STATES = (
    _id("agent_id", "agent"),
    _TEAM,
    _code("state", "available, break, not ready, ...", "steered"),
    _text("reason", "reason code", "steered"),
    _at("started_at", "when the spell began", "steered"),
    _at("ended_at", "when the spell ended", "steered"),
    _code("changed_by", "agent, system or supervisor", "system"),
)

_OUTCOMES = (
    _id("customer_id", "customer"),
    _at("at", "when it happened", "system"),
    _code(
        "kind",
        "what happened",
        "system",
        "churn",
        "cancellation",
        "return",
        "renewal",
        "refund",
        "discount",
        "credit",
        "complaint",
        "contact",
        "mystery_shop",
        "social",
    ),
    _id("agent_id", "agent that it is put down to"),
    _number("value", "amount or score", "system"),
)

_AGENTS = (
    _id("agent_id", "agent", key=True),
    _id("person_id", "person behind several agent ids"),
    _at("valid_from", "first instant for which the row holds", "system"),
    _at("valid_to", "last instant for which the row holds", "system"),
    _at("hired_at", "first day at work", "system"),
    _at("left_at", "last day at work", "system"),
    _text("role", "role", "system"),
    _text("skills", "skills", "system"),
    _code("language", "language", "system"),
    _id("supervisor_id", "supervisor"),
    _TEAM,
    _SITE,
    _id("vendor_id", "outsourcer"),
    _number("hours_per_week", "contract", "system", "h"),
)

_INCENTIVES = (
    _id("scheme_id", "bonus scheme"),
    _code("kpi", "KPI that is paid for", "supervisor"),
    _code("subject_kind", "who is paid: agent, team or site", "supervisor"),
    _id("subject_id", "which one; absent if everybody"),
    _number("threshold", "value from which it is paid", "supervisor"),
    _code("direction", "which side is paid", "supervisor", "above", "below"),
    _number("amount", "what is paid", "supervisor", "currency"),
    _text("currency", "currency of the amount", "supervisor"),
    _code(
        "period",
        "period over which it is measured",
        "supervisor",
        "day",
        "week",
        "month",
        "quarter",
    ),
    _at("announced_at", "when it was made known", "supervisor"),
    _at("valid_from", "when it began", "supervisor"),
    _at("valid_to", "when it ended", "supervisor"),
    _at("decision_at", "when it was decided who is paid", "supervisor"),
)

_KPIS = (
    _code("kpi", "KPI", "supervisor"),
    _code("subject_kind", "whose: agent, team, site or floor", "supervisor"),
    _id("subject_id", "which one"),
    _at("period_start", "first instant of the period", "supervisor"),
    _at("period_end", "last instant of the period", "supervisor"),
    _number("value", "as reported", "supervisor"),
    _number("target", "as agreed", "supervisor"),
    _count("n", "records behind it", "supervisor"),
)

TABLES: Mapping[str, tuple[Column, ...]] = MappingProxyType(
    {
        "calls": _CALLS,
        "surveys": _SURVEYS,
        "tickets": _TICKETS,
        "ticket_events": _TICKET_EVENTS,
        "handovers": _HANDOVERS,
        "agent_states": _AGENT_STATES,
        "outcomes": _OUTCOMES,
        "agents": _AGENTS,
        "incentives": _INCENTIVES,
        "kpis": _KPIS,
    }
)
"""Every canonical table with its columns, in the order of the documentation."""

ROWS: Mapping[str, str] = MappingProxyType(
    {
        "calls": "one row per part of a call that an agent handled, per offer that "
        "nobody took, and per caller who reached nobody",
        "surveys": "one row per invitation to a survey, answered or not",
        "tickets": "one row per ticket (case, incident)",
        "ticket_events": "one row per change of a ticket",
        "handovers": "one row per order or parcel",
        "agent_states": "one row per spell that an agent spent in a state",
        "outcomes": "one row per thing that happened to a customer afterwards",
        "agents": "one row per agent, or per period in which an entry held",
        "incentives": "one row per bonus or target that was agreed",
        "kpis": "one row per figure that was reported",
    }
)
"""What a row of each table is, for readers."""

ANCHORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "calls": ("started_at", "answered_at", "ended_at"),
        "surveys": ("sent_at", "responded_at"),
        "tickets": ("opened_at", "assigned_at", "resolved_at", "closed_at"),
        "ticket_events": ("at",),
        "handovers": (
            "placed_at",
            "promised_at",
            "ready_at",
            "handed_over_at",
            "delivered_at",
            "recorded_at",
        ),
        "agent_states": ("started_at", "ended_at"),
        "outcomes": ("at",),
        "kpis": ("period_start",),
    }
)
"""The instants that date a row, the first that it has. Other tables are undated."""


def column(table: str, name: str) -> Column | None:
    """Return a canonical column by name, or None."""
    return next((c for c in TABLES.get(table, ()) if c.name == name), None)


def key(table: str) -> str | None:
    """Return the column that names a row of a table, or None if it has none."""
    return next((c.name for c in TABLES[table] if c.key), None)


def names(table: str) -> tuple[str, ...]:
    """Return the columns of a table in their order."""
    return tuple(c.name for c in TABLES[table])
