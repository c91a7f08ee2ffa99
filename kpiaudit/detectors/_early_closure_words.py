"""A flagged agent or floor in sentences and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.detectors import _early_closure_explain as explain
from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors.base import Account
from kpiaudit.findings import Effect, Evidence, Restated, RestsOn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Found, Row
    from kpiaudit.findings import Grade

_NORMAL_95 = 1.959963984540054
_NEXT = (
    "Read twenty of the closures behind this finding and twenty of the agent's other "
    "closures, without knowing which is which: had the customer's question been "
    "answered when the ticket was marked as resolved?"
)


def agent(row: Row, near_share: float, bounce_h: float) -> Account:
    """Word one agent."""
    how = str(row.found.get("mode", "due"))
    if how == "none":
        return _only_bounced(row, bounce_h)
    near, back = row.value("near_known"), row.value("near_bounced")
    where = (
        f"in the last {near_share:.0%} of the clock before the deadline"
        if how == "due"
        else "and reported as in time"
    )
    return Account(
        headline=(
            f"Agent {row.id}: of {near:.0f} tickets closed {where}, {back:.0f} "
            f"({back / max(near, 1.0):.0%}) came back within {bounce_h:g} hours; "
            f"agents whose closures come back as peers' do would have had "
            f"{row.value('expected'):.0f}."
        ),
        effect=_effect(row),
        n=int(near),
        observed=row.value("observed"),
        expected=row.value("expected"),
        harm=_harm(row),
        evidence=(*_evidence(row, how), *_score(row)),
        explanations=explain.explanations(row),
        rests_on=(*_rests_on(row), *incentives.rests_on(row)),
        peers="Agents with deadlines of the same length and part of the day."
        if how == "due"
        else "All agents of the export.",
        next_step=_NEXT,
        restated=_restated(row),
        grade_cap=_cap(how),
    )


def _only_bounced(row: Row, bounce_h: float) -> Account:
    known, back = row.value("known"), row.value("bounced")
    return Account(
        headline=(
            f"Agent {row.id}: {back:.0f} of {known:.0f} closures "
            f"({back / max(known, 1.0):.1%}) came back within {bounce_h:g} hours, "
            f"where peers would have had {row.value('expected'):.0f}. No column says "
            "when the tickets were due."
        ),
        effect=_effect(row),
        n=int(known),
        observed=row.value("observed"),
        expected=row.value("expected"),
        harm=float(np.clip(row.value("effect") / max(known, 1.0), 0.0, 1.0)),
        evidence=tuple(_score(row)),
        explanations=explain.explanations(row),
        rests_on=(*_rests_on(row), *incentives.rests_on(row)),
        peers="All agents of the export.",
        next_step=_NEXT,
        grade_cap="weak",
    )


def _score(row: Row) -> list[Evidence]:
    """Say how far the closures that came back followed the score, if that was asked."""
    what = "closures that came back"
    if row.found.get("mode", "due") == "due":
        what = "closures near the deadline that came back"
    return incentives.evidence(row, what=what, of=incentives.CLOSURES)


def floor(row: Row, near_share: float, bounce_h: float) -> Account:
    """Word the whole floor."""
    near, back = row.value("trials"), row.value("observed")
    return Account(
        headline=(
            f"The whole floor: {back:.0f} of {near:.0f} tickets closed in the last "
            f"{near_share:.0%} of the clock before the deadline came back within "
            f"{bounce_h:g} hours, {row.value('ratio'):.1f} times the odds of the same "
            "agents' closures earlier in the clock and after the deadline. Peers can't "
            "be a yardstick here."
        ),
        effect=_effect(row),
        n=int(near),
        observed=back,
        expected=row.value("expected"),
        harm=_harm(row),
        evidence=(
            Evidence(
                name="closures before the deadline beyond a smooth curve",
                value=row.value("piled_excess"),
                unit="closures",
            ),
            Evidence(
                name="odds ratio of coming back, before the deadline against beside it",
                value=row.value("ratio"),
            ),
            Evidence(name="agents who show it", value=row.value("agents_above")),
            Evidence(
                name="agents who show it clearly, each alone",
                value=row.value("agents_alone"),
            ),
            Evidence(name="agents with enough closures", value=row.value("agents")),
        ),
        explanations=explain.explanations(row),
        rests_on=_rests_on(row),
        peers="No peers: the same agents' closures on both sides of the deadline.",
        next_step=(
            "Ask what the floor is told to do with tickets that run out of time, and "
            "read twenty closures before the deadline from different agents."
        ),
        restated=_restated(row),
        # Where the median agent does not show it, it is no matter of the whole floor.
        grade_cap="moderate"
        if row.value("median_p_value") <= row.value("many_p_value")
        else "weak",
    )


def _effect(row: Row) -> Effect:
    return Effect(
        name="closures that came back, in excess",
        value=row.value("effect"),
        low=row.value("low"),
        high=row.value("high"),
        unit="closures",
    )


def _harm(row: Row) -> float:
    due = max(row.value("due"), 1.0)
    return float(np.clip(row.value("effect") / due, 0.0, 1.0))


def _cap(how: str) -> Grade:
    return "strong" if how == "due" else "weak"


def _evidence(row: Row, how: str) -> tuple[Evidence, ...]:
    known, back = row.value("known"), row.value("bounced")
    near, near_back = row.value("near_known"), row.value("near_bounced")
    rest = max(known - near, 1.0)
    out = [
        Evidence(
            name="came back after closures near the deadline",
            value=near_back / max(near, 1.0),
            unit="share",
        ),
        Evidence(
            name="came back after the agent's other closures",
            value=(back - near_back) / rest,
            unit="share",
        ),
        Evidence(
            name="came back after peers' closures near the deadline",
            value=row.value("peers_near_bounce_rate"),
            unit="share",
        ),
        Evidence(
            name="odds ratio against honest agents' odds ratio",
            value=1.0 / row.value("ratio"),
        ),
        Evidence(
            name="opened again",
            value=row.value("near_reopened"),
            unit="closures",
        ),
        Evidence(
            name="followed by a new ticket of the customer",
            value=row.value("near_followed"),
            unit="closures",
        ),
        Evidence(
            name="odds of closing in time against honest agents' odds",
            value=row.value("near_ratio"),
        ),
        Evidence(
            name="p-value of closing in time, alone",
            value=row.value("near_p_value"),
            unit="probability",
        ),
        Evidence(
            name="p-value of coming back, alone",
            value=row.value("bounce_p_value"),
            unit="probability",
        ),
        Evidence(name="days with such closures", value=row.value("near_days")),
    ]
    if how == "due":
        out[-1:-1] = [
            Evidence(
                name="open when the last part of the clock began",
                value=row.value("open_late"),
                unit="tickets",
            ),
            Evidence(
                name="of those, closed before the deadline",
                value=row.value("near"),
                unit="tickets",
            ),
            Evidence(
                name="closed before the deadline, expected from peers",
                value=row.value("near_expected"),
                unit="tickets",
            ),
            Evidence(
                name="closed just after the deadline",
                value=row.value("just_after"),
                unit="tickets",
            ),
        ]
    return tuple(out)


def _rests_on(row: Row) -> tuple[RestsOn, ...]:
    roles = {
        "tickets.resolved_at": "numerator",
        "tickets.due_at": "deadline",
        "tickets.sla_met": "deadline",
        "tickets.reopened_at": "what followed",
        "tickets.reopen_count": "what followed",
        "tickets.customer_id": "what followed",
        "tickets.category": "what followed",
        "ticket_events.actor_id": "what followed",
    }
    if row.data.has("tickets.due_at"):
        roles.pop("tickets.sla_met")
    if row.data.has("tickets.reopened_at"):
        roles.pop("tickets.reopen_count")
    return tuple(
        RestsOn(column=column, origin=row.data.origin(column), role=role)
        for column, role in roles.items()
        if row.data.has(column)
    )


def _restated(row: Row) -> Restated | None:
    """Count closures near the deadline that came back as not in time."""
    due, met = row.value("due"), row.value("met")
    near, back = row.value("near_known"), row.value("near_bounced")
    if due <= 0.0 or near <= 0.0:
        return None
    share = (
        1.0
        if back >= near
        else float(sp.special.betaincinv(back + 1.0, near - back, 0.975))
    )
    most = max(share * near, _piled(row))
    least = max(row.value("low"), 0.0)
    return Restated(
        kpi="resolved_in_time",
        reported=met / due,
        restated=(met - back) / due,
        low=max(met - most, 0.0) / due,
        high=(met - min(least, back)) / due,
        unit="share",
        assumption="closures near the deadline that came back were not in time; the "
        "lower end counts all closures there beyond peers' if these are more, the "
        "upper end only those that came back beyond what peers would have had",
    )


def _piled(row: Row) -> float:
    """Return how many closures before the deadline are beyond peers', at most.

    A ticket that was closed early need not come back, or not within the window.
    """
    extra = row.outcome.extra
    if "near_expected" not in extra or np.isnan(row.value("near_expected")):
        return 0.0
    closed, usual = row.value("near"), row.value("near_expected")
    piled = closed - usual + _NORMAL_95 * float(np.sqrt(closed + usual))
    return float(np.clip(piled, 0.0, closed))


def blind_spots(found: Found, *, no_floor: bool) -> tuple[str, ...]:
    """Say in sentences what these data don't allow to see."""
    how = str(found.get("mode", "due"))
    out = []
    if how == "sla":
        out.append(
            "No column tickets.due_at: how near the deadline a ticket was closed can't "
            "be asked; tickets reported as in time stand for it."
        )
    if how == "none":
        out.append(
            "No column tickets.due_at or tickets.sla_met: whether closures pile up "
            "before the deadline can't be asked; only closures that came back are."
        )
    if how != "due" or no_floor:
        out.append(
            "Whether the whole floor closes early could not be asked; if everybody "
            "does, peers hide it."
        )
    out += [text for column, text in _ABSENT.items() if not _given(found, column)]
    if not found.get("closures_logged"):
        out.append(
            "No ticket_events with the closures: the agent of the export counts as the "
            "one who closed the ticket, and a ticket whose first closure was written "
            "over is left out."
        )
    return tuple(out)


def _given(found: Found, column: str) -> bool:
    columns: Mapping[str, int] = found.get("columns", {})
    return bool(columns.get(column, 1))


_ABSENT = {
    "reopened_at": "No column tickets.reopened_at: when a ticket was opened again, and "
    "whether any work followed, can't be seen unless ticket_events say it.",
    "customer_id": "No column tickets.customer_id: new tickets of the same customer "
    "can't be counted.",
    "category": "No column tickets.category: any new ticket of the same customer "
    "counts as a follow-up.",
}
