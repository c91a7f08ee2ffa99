"""A flagged agent or floor in sentences and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors import _premature_ready_explain as explain
from kpiaudit.detectors import _premature_ready_offset as offset
from kpiaudit.detectors import _premature_ready_restate as restating
from kpiaudit.detectors._premature_ready_count import (
    COLUMN,
    FROM_COURIER,
    SIDE,
    end_column,
)
from kpiaudit.detectors._premature_ready_questions import of_pair
from kpiaudit.detectors.base import Account
from kpiaudit.findings import (
    Corroboration,
    Effect,
    Evidence,
    Histogram,
    RestsOn,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.detectors.base import Found, Row
    from kpiaudit.findings import Grade

_SHOWN = 0.05
_UNTIL = {
    "received": "the customers had them",
    "handed": "they were handed over",
    "courier": "the courier came",
}
_UNTIL |= {
    f"{end}{FROM_COURIER}": f"{_UNTIL[end]}, counted from the courier's arrival"
    for end in ("received", "handed")
}
_NEXT = (
    "Stand at the counter for an hour, or compare twenty of these orders and twenty of "
    "the agent's others with the camera, the scale or the courier's own record, "
    "without knowing which is which: was the order there when it was stamped?"
)
_SENSOR = (
    "No column says when the orders were really there. A code or signature at the "
    "handover (received_at), a scan by the courier on arrival (courier_arrived_at) or "
    "a sensor on the shelf would settle it."
)


def agent(row: Row, near_min: int) -> Account:
    """Word one agent."""
    stamp, end = explain.pair_of(row)
    near, long = row.value("near_known"), row.value("near_long")
    return Account(
        headline=(
            f"Agent {row.id}: of {near:.0f} orders marked as {stamp} in the last "
            f"{near_min} minutes before the promise, {long:.0f} "
            f"({long / max(near, 1.0):.0%}) then waited unusually long until "
            f"{_UNTIL[end]}; with peers' habits it would have been "
            f"{row.value('expected'):.0f}."
        ),
        effect=_effect(row),
        n=int(near),
        observed=row.value("observed"),
        expected=row.value("expected"),
        harm=_harm(row),
        evidence=_evidence(row, near_min),
        explanations=explain.explanations(row),
        rests_on=_rests_on(row),
        peers="Agents with promises of the same length; waits are ranked within site "
        "and hour of the day."
        if row.data.has("handovers.site_id")
        else "Agents with promises of the same length; waits are ranked within the "
        "hour of the day.",
        next_step=_NEXT,
        corroboration=(*_second_witness(row), *offset.corroboration(row)),
        restated=restating.restated(row),
        grade_cap=_cap(row),
    )


def floor(row: Row, near_min: int) -> Account:
    """Word the whole floor."""
    stamp, end = explain.pair_of(row)
    if not end:
        return _pile_only(row, near_min)
    n, k = row.value("trials"), row.value("observed")
    return Account(
        headline=(
            f"The whole floor: of {n:.0f} orders marked as {stamp} in the last "
            f"{near_min} minutes before the promise, {k:.0f} then waited unusually "
            f"long until {_UNTIL[end]}, {row.value('ratio'):.1f} times the odds of the "
            "same agents' other orders. Peers can't be a yardstick here."
        ),
        effect=_effect(row),
        n=int(n),
        observed=k,
        expected=row.value("expected"),
        harm=_harm(row),
        evidence=(
            *_piled(row),
            Evidence(
                name="odds ratio of a long wait, near the promise against elsewhere",
                value=row.value("ratio"),
            ),
            Evidence(name="agents who show it", value=row.value("agents_above")),
            Evidence(
                name="agents who show it beside a pile-up of their own, far beyond "
                "the calmer third",
                value=row.value("agents_showing"),
            ),
            Evidence(name="agents with enough orders", value=row.value("agents")),
            *_mean_waits(row),
        ),
        explanations=explain.explanations(row),
        rests_on=_rests_on(row),
        peers="No peers: the same agents' other orders.",
        next_step=(
            "Ask what the floor is told to do with orders that run late, and watch "
            "twenty orders in their last minutes before the promise."
        ),
        corroboration=_second_witness(row),
        restated=restating.restated(row),
        histogram=_histogram(row),
        grade_cap="moderate" if _cap(row) == "strong" else "weak",
    )


def _pile_only(row: Row, near_min: int) -> Account:
    stamp, _ = explain.pair_of(row)
    n, k, usual = (row.value(name) for name in ("trials", "observed", "expected"))
    return Account(
        headline=(
            f"The whole floor: {k:.0f} orders were marked as {stamp} in the last "
            f"{near_min} minutes before the promise, where a smooth curve expects "
            f"{usual:.0f}. Whether they were there can't be seen in this export."
        ),
        effect=Effect(
            name="stamps before the promise, in excess",
            value=row.value("effect"),
            low=row.value("low"),
            high=row.value("high"),
            unit="orders",
        ),
        n=int(n),
        observed=k,
        expected=usual,
        harm=_harm(row),
        evidence=_piled(row),
        explanations=explain.explanations(row),
        rests_on=_rests_on(row),
        peers="No peers: a smooth curve through the stamps on both sides.",
        next_step=_SENSOR,
        histogram=_histogram(row),
        grade_cap="weak",
    )


def _effect(row: Row) -> Effect:
    return Effect(
        name="orders stamped before the promise that waited long, in excess",
        value=row.value("effect"),
        low=row.value("low"),
        high=row.value("high"),
        unit="orders",
    )


def _harm(row: Row) -> float:
    return float(np.clip(row.value("effect") / max(row.value("orders"), 1.0), 0.0, 1.0))


def _cap(row: Row) -> Grade:
    end = explain.column_of(row)
    if end is None or end.endswith("courier_arrived_at"):
        return "weak"
    if explain.grounded(row):
        return "strong"
    # A handover that the agent stamps stands on one foot, unless the courier's own
    # arrival says when the order can have left.
    return (
        "moderate" if row.data.independent("handovers.courier_arrived_at") else "weak"
    )


def _second_witness(row: Row) -> tuple[Corroboration, ...]:
    """Say what the other later instants show of the same stamp."""
    out = []
    for column, p in explain.others(row).items():
        known = not np.isnan(p)
        shows = known and p <= _SHOWN
        said = "shows the longer wait as well" if shows else "does not show it"
        out.append(
            Corroboration(
                source=column,
                verdict="supports" if shows else "silent",
                p_value=p if known else None,
                detail=f"{said}; written by: {row.data.origin(column)}",
            )
        )
    return tuple(out)


def _piled(row: Row) -> tuple[Evidence, ...]:
    return (
        Evidence(
            name="stamps before the promise beyond a smooth curve",
            value=row.value("piled_excess"),
            unit="orders",
            text=f"{row.value('piled_relative'):.0%} more than the curve expects.",
        ),
    )


def _mean_waits(row: Row) -> tuple[Evidence, ...]:
    near = row.value("near_known")
    far = row.value("known") - near
    return (
        Evidence(
            name="mean wait after stamps before the promise",
            value=row.value("near_wait_ms") / max(near, 1.0) / 60_000,
            unit="min",
        ),
        Evidence(
            name="mean wait after other stamps",
            value=row.value("far_wait_ms") / max(far, 1.0) / 60_000,
            unit="min",
        ),
    )


def _evidence(row: Row, near_min: int) -> tuple[Evidence, ...]:
    known, long = row.value("known"), row.value("long")
    near, near_long = row.value("near_known"), row.value("near_long")
    out = [
        Evidence(
            name="waited long after stamps before the promise",
            value=near_long / max(near, 1.0),
            unit="share",
        ),
        Evidence(
            name="waited long after the agent's other stamps",
            value=(long - near_long) / max(known - near, 1.0),
            unit="share",
        ),
        Evidence(
            name="waited long after peers' stamps before the promise",
            value=row.value("peers_near_long_rate"),
            unit="share",
        ),
        Evidence(
            name="odds ratio of a long wait against honest agents' odds ratio",
            value=1.0 / row.value("ratio"),
        ),
        *_mean_waits(row),
        Evidence(
            name=f"not stamped {near_min} minutes before the promise",
            value=row.value("open_late"),
            unit="orders",
        ),
        Evidence(
            name="of those, stamped before the promise",
            value=row.value("near"),
            unit="orders",
        ),
        Evidence(
            name="stamped before the promise, expected from peers",
            value=row.value("near_expected"),
            unit="orders",
        ),
        Evidence(
            name=f"stamped in the {near_min} minutes after the promise",
            value=row.value("just_after"),
            unit="orders",
        ),
        Evidence(name="days with such orders", value=row.value("near_days")),
    ]
    there = row.value("near_there")
    if there > 0.0:
        out.append(
            Evidence(
                name="courier there when stamped, and still a long wait",
                value=row.value("near_there_long"),
                unit="orders",
                text=f"Of {there:.0f} orders whose courier was already there.",
            )
        )
    if row.value("near_offline") > 0.0:
        out.append(
            Evidence(
                name="written by the server much later than stamped",
                value=row.value("near_offline"),
                unit="orders",
                text=f"Near the promise; {row.value('far_offline'):.0f} elsewhere.",
            )
        )
    return tuple(out)


def _rests_on(row: Row) -> tuple[RestsOn, ...]:
    stamp, end = explain.pair_of(row)
    roles = {
        f"handovers.{COLUMN[stamp]}": "numerator",
        "handovers.promised_at": "promise",
        "handovers.placed_at": "stratum",
        "handovers.site_id": "stratum",
        "handovers.courier_arrived_at": "explanation",
        "handovers.recorded_at": "explanation",
    }
    if end:
        roles |= dict.fromkeys(explain.others(row), "corroboration")
        roles[f"handovers.{end_column(end)}"] = "what followed"
        if end.endswith(FROM_COURIER):
            roles["handovers.courier_arrived_at"] = "what followed"
    return tuple(
        RestsOn(column=column, origin=row.data.origin(column), role=role)
        for column, role in roles.items()
        if row.data.has(column)
    )


def _histogram(row: Row) -> Histogram | None:
    if "positions" not in row.summaries:
        return None
    stamp, end = explain.pair_of(row)
    rows = of_pair(row.summaries["positions"], f"{stamp}>{end}")
    counts = np.zeros(2 * SIDE)
    counts[rows.ints("position")] = rows.floats("n")
    return Histogram(
        start=float(-SIDE),
        width=1.0,
        counts=tuple(float(c) for c in counts),
        mark=0.0,
        unit="min",
    )


def blind_spots(
    found: Found, pairs: Sequence[str], *, no_floor: bool
) -> tuple[str, ...]:
    """Say in sentences what these data don't allow to see."""
    columns = found.get("columns", {})

    def absent(column: str) -> bool:
        return not columns.get(column, 1)

    out = []
    if any(pair.endswith(">") for pair in pairs):
        out.append(
            "Whether an order was there when it was stamped can't be asked, neither of "
            f"an agent nor of the floor. {_SENSOR}"
        )
    elif absent("received_at"):
        out.append(
            "No column handovers.received_at: the handover is the agent's own stamp, "
            "and one that is falsified too is not seen. A customer's signature or code "
            "would settle it."
        )
    timed = [p for p in pairs if p.startswith("ready>") and not p.endswith(">")]
    if timed and absent("courier_arrived_at"):
        out.append(
            "No column handovers.courier_arrived_at: where couriers are timed to the "
            "promise, orders that are ready early wait for them, and that everybody "
            "stamps too early can't be seen."
        )
    if no_floor:
        out.append(
            "Whether the whole floor stamps early could not be asked; if everybody "
            "does, peers hide it."
        )
    if absent("placed_at"):
        out.append(
            "No column handovers.placed_at: promises of different length are compared."
        )
    if absent("site_id"):
        out.append(
            "No column handovers.site_id: waits of all sites are ranked together."
        )
    if not found.get("actors_known"):
        out.append(
            "No handovers.actor_id with the agents' ids: the agent of the order counts "
            "as the one who stamped it."
        )
    return tuple(out)
