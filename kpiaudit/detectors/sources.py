"""Which other tables can speak about flagged records, and in whose voice."""

from __future__ import annotations

from types import MappingProxyType

from kpiaudit.frozen import frozen

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
OTHERS = ("system", "third_party")
"""Who may put a question to a customer without being the one who is asked about."""


SCHEMES: tuple[str, ...] = (
    "incentives.kpi",
    "incentives.subject_kind",
    "incentives.subject_id",
    "incentives.threshold",
    "incentives.direction",
    "incentives.period",
    "incentives.valid_from",
    "incentives.valid_to",
    "kpis.kpi",
    "kpis.subject_kind",
    "kpis.subject_id",
    "kpis.period_start",
    "kpis.period_end",
    "kpis.target",
)
"""Columns that say who is paid for what, for rules that ask whether it shows."""

ROSTERS: tuple[str, ...] = ("agents", "calls", "tickets", "handovers")
"""Tables that may know an agent's team, where the rule's own does not; best first."""


@frozen
class Source:
    """Another table's answer about flagged records.

    Args:
        id: Short id, by which a detector can say that it already knows the answer.
        name: Name in a finding.
        voice: Sources with the same voice count once: they speak of one customer
            episode, or have one recorder.
        needs: Columns of the other table.
        written: The column whose writer decides whether the source is independent.
        joins: Columns of the detector's table of which one must be there.
        window_ms: How long after the record; 0 if time plays no part.
    """

    id: str
    name: str
    voice: str
    needs: tuple[str, ...]
    written: str
    joins: tuple[str, ...]
    window_ms: int = 0

    @property
    def key(self) -> str:
        """Name of its columns in the counts."""
        return f"{self.id}_{self.window_ms // MINUTE_MS}"

    @property
    def word(self) -> str:
        """Its name without the time."""
        return self.name.partition(" within ")[0]

    @property
    def table(self) -> str:
        """The table that is asked."""
        return self.needs[0].partition(".")[0]


_CUSTOMER = ("customer_id",)
_LATER = 14


def _outcome(kind: str, voice: str = "customer") -> Source:
    name = kind.replace("_", " ")
    return Source(
        id=kind,
        name=f"{name} within {_LATER} days",
        voice=voice,
        needs=("outcomes.customer_id", "outcomes.at", "outcomes.kind"),
        written="outcomes.kind",
        joins=_CUSTOMER,
        window_ms=_LATER * DAY_MS,
    )


def _contact(minutes: int, name: str) -> Source:
    return Source(
        id="contact",
        name=f"repeat contact within {name}",
        voice="customer",
        needs=("calls.customer_id", "calls.call_id", "calls.at_ms"),
        written="calls.customer_id",
        joins=_CUSTOMER,
        window_ms=minutes * MINUTE_MS,
    )


SOURCES: tuple[Source, ...] = (
    _contact(15, "15 minutes"),
    _contact(1440, "24 h"),
    _contact(7 * 1440, "7 days"),
    Source(
        id="ticket",
        name="new ticket within 7 days",
        voice="customer",
        needs=("tickets.customer_id", "tickets.ticket_id", "tickets.opened_at"),
        written="tickets.opened_at",
        joins=_CUSTOMER,
        window_ms=7 * DAY_MS,
    ),
    Source(
        id="reopened",
        name="reopened ticket",
        voice="customer",
        needs=("tickets.ticket_id", "tickets.reopened_at"),
        written="tickets.reopened_at",
        joins=("ticket_id",),
    ),
    *(
        _outcome(kind)
        for kind in ("complaint", "refund", "return", "churn", "cancellation", "social")
    ),
    Source(
        id="survey",
        name="low score in an independent survey",
        voice="customer",
        needs=("surveys.score", "surveys.score_max", "surveys.administered_by"),
        written="surveys.score",
        joins=("call_id", "ticket_id", "order_id"),
    ),
)
"""Every source, in the order of the report."""

MYSTERY = Source(
    id="mystery_shop",
    name="poor mystery shop within a day",
    voice="observer",
    needs=("outcomes.customer_id", "outcomes.at", "outcomes.kind", "outcomes.value"),
    written="outcomes.kind",
    joins=_CUSTOMER,
    window_ms=DAY_MS,
)
"""A test customer's own report of the flagged contact."""


ENDS = MappingProxyType(
    {
        "calls": ("ended_at", "at_ms"),
        "surveys": ("responded_at", "sent_at", "at_ms"),
        "tickets": ("resolved_at", "closed_at", "at_ms"),
    }
)
"""Columns that say when a record was over, by table; the first filled one counts."""


def columns_of(table: str) -> frozenset[str]:
    """Return the columns that sources need, of their tables and of a rule's own.

    Args:
        table: The rule's table.
    """
    every = (*SOURCES, MYSTERY)
    found = {name for source in every for name in source.needs}
    found |= {f"{table}.{name}" for source in every for name in source.joins}
    found |= {f"{source.table}.{name}" for source in every for name in source.joins}
    ends = {f"{table}.{name}" for name in (*ENDS.get(table, ()), "queue")}
    return frozenset(found | ends | {"calls.direction", "outcomes.agent_id"})
