"""The innocent explanations, and how far the counts rule them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors import _premature_ready_questions as questions
from kpiaudit.detectors._premature_ready_count import COLUMN, end_column
from kpiaudit.detectors.base import Explain
from kpiaudit.findings import Explanation

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Row

COURIER = "the courier came late, or took several orders at once"
ROUNDED = "the agent rounds times honestly"
BATCH = "finished orders are scanned in batches"
OFFLINE = "the device was offline, and the stamps reached the server later"
ONE_DAY = "one bad day, on which everything ran late"

EXPLANATIONS = (
    Explain(
        text=COURIER,
        either=(
            "handovers.courier_arrived_at",
            "handovers.handed_over_at",
            "handovers.received_at",
        ),
        asks="Did orders stamped near the promise wait longer than others of the "
        "same site and hour, and than the peers'? Did they wait with the "
        "courier there? Any later instant can answer for an agent, only the "
        "courier's arrival for the floor.",
        then="Orders of hours in which most others waited are taken out of every "
        "count before the test; waits count from the courier's arrival "
        "where it is known.",
    ),
    Explain(
        text=ROUNDED,
        either=(
            "handovers.courier_arrived_at",
            "handovers.handed_over_at",
            "handovers.received_at",
        ),
        asks="Do stamps far from the promise fall on five-minute marks as often, "
        "and did the orders in excess wait no longer than rounding moves a "
        "stamp? Asked of whichever later instant there is.",
        then="The finding loses one grade: where the agent writes the stamps, they "
        "withdraw nothing.",
    ),
    Explain(
        text=BATCH,
        either=(
            "handovers.courier_arrived_at",
            "handovers.handed_over_at",
            "handovers.received_at",
        ),
        asks="Do long waits come with stamps written in the same minute as two "
        "others, near the promise and elsewhere alike? Without the column "
        "the stamps' own minutes are asked, and rule nothing out.",
        then="The finding is withdrawn; without handovers.recorded_at it loses one "
        "grade.",
    ),
    Explain(
        text=OFFLINE,
        columns=("handovers.recorded_at",),
        asks="Do long waits come with records that the server wrote much later, "
        "near the promise and elsewhere alike?",
        then="The finding is withdrawn.",
    ),
    Explain(
        text=ONE_DAY,
        columns=("handovers.promised_at",),
        asks="Do these orders fall on one day?",
        then="The finding is withdrawn if one day has half of them.",
    ),
)

_MOST = 0.5
_FEW = 0.25
_CONFIRMED = 0.01
_ENOUGH = 20.0
_ROUNDING_MS = 150_000
"""Rounding to five minutes moves a stamp by no more than this."""


def pair_of(row: Row) -> tuple[str, str]:
    """Return stamp and later instant on which the row's finding stands."""
    pair = questions.pairs_of(row.summaries)[int(row.value("pair"))]
    stamp, _, end = pair.partition(">")
    return stamp, end


def column_of(row: Row) -> str | None:
    """Return the column of the later instant, or None if there is none."""
    end = pair_of(row)[1]
    return f"handovers.{end_column(end)}" if end else None


def others(row: Row) -> dict[str, float]:
    """Return the p-values of the same stamp with the other later instants, by column.

    A column that the subject neither writes nor steers has the last word on whether
    the finding stands on the ground. Of a column whose wait is counted from two
    instants it is twice the smaller one.
    """
    stamp, own = pair_of(row)[0], column_of(row)
    out: dict[str, float] = {}
    for index, pair in enumerate(questions.pairs_of(row.summaries)):
        its_stamp, _, its_end = pair.partition(">")
        known = f"p_{index}" in row.outcome.extra
        if its_stamp != stamp or not its_end or not known:
            continue
        column, p = f"handovers.{end_column(its_end)}", row.value(f"p_{index}")
        if column != own and column in out:
            p = min(2.0 * float(np.fmin(out[column], p)), 1.0)
        if column != own:
            out[column] = p
    return out


def grounded(row: Row) -> bool:
    """Say whether a later instant that the subject can't write shows the wait."""
    end = column_of(row)
    if end is not None and row.data.independent(end):
        return True
    return any(
        p <= _CONFIRMED and row.data.independent(column)
        for column, p in others(row).items()
    )


def explanations(row: Row) -> tuple[Explanation, ...]:
    """Return every explanation with its status at this row."""
    return (_courier(row), _rounded(row), _batch(row), _offline(row), _one_day(row))


def _rate(row: Row, events: str, trials: str) -> tuple[float, float]:
    n = row.value(trials)
    return (row.value(events) / n if n > 0.0 else float("nan")), n


def _waits(row: Row, name: str) -> str:
    """Say how often orders with a property wait long, near and elsewhere."""
    near, n = _rate(row, f"near_{name}_long", f"near_{name}")
    far, m = _rate(row, f"far_{name}_long", f"far_{name}")
    parts = []
    if n >= _ENOUGH:
        parts.append(f"{near:.0%} of {n:.0f} such orders near the promise waited long")
    if parts and m >= _ENOUGH:
        parts.append(f"{far:.0%} of {m:.0f} elsewhere")
    return ", ".join(parts)


def _courier(row: Row) -> Explanation:
    end = column_of(row)
    if end is None:
        return Explanation(
            text=COURIER,
            status="uncheckable",
            detail="no column handovers.courier_arrived_at, handed_over_at or "
            "received_at",
        )
    if pair_of(row)[0] == "delivered":
        return Explanation(
            text=COURIER,
            status="ruled_out" if row.data.independent(end) else "open",
            detail=f"the wait begins at the door, after the courier's way ({end})",
        )
    near = _rate(row, "near_long", "near_known")[0]
    if row.kind == "floor":
        return _courier_floor(row, near)
    peers = row.value("peers_near_long_rate")
    detail = (
        f"{near:.0%} of the agent's orders stamped near the promise waited long, "
        f"{peers:.0%} of the peers'; waits are ranked within site and hour, and "
        f"{row.value('jammed'):.0f} orders in hours in which most others waited were "
        f"left out ({end})"
    )
    waits = _waits(row, "there")
    if waits:
        detail += (
            f"; with the courier there when stamped: {waits} "
            "(handovers.courier_arrived_at)"
        )
    ruled = grounded(row) and row.data.has("handovers.site_id")
    return Explanation(
        text=COURIER, status="ruled_out" if ruled else "open", detail=detail
    )


def _courier_floor(row: Row, near: float) -> Explanation:
    """Ask of the floor whether orders waited whose courier was already there."""
    if not row.data.has("handovers.courier_arrived_at"):
        return Explanation(
            text=COURIER,
            status="uncheckable",
            detail="no column handovers.courier_arrived_at",
        )
    there, n = _rate(row, "near_there_long", "near_there")
    far, m = _rate(row, "far_there_long", "far_there")
    detail = f"{near:.0%} of the orders stamped near the promise waited long"
    waits = _waits(row, "there")
    if waits:
        detail += f"; with the courier there when stamped: {waits}"
    clear = False
    if min(n, m) >= 30.0:
        error = np.sqrt(there * (1 - there) / n + far * (1 - far) / m)
        clear = bool(there - far > 1.96 * error)
    independent = row.data.independent("handovers.courier_arrived_at")
    return Explanation(
        text=COURIER,
        status="ruled_out" if clear and independent else "open",
        detail=f"{detail} (handovers.courier_arrived_at)",
    )


def _rounded(row: Row) -> Explanation:
    stamp, end = pair_of(row)
    near, _ = _rate(row, "near_five", "near_known")
    n_far = row.value("known") - row.value("near_known")
    far = row.value("far_five") / n_far if n_far > 0.0 else float("nan")
    if not end:
        return Explanation(
            text=ROUNDED,
            status="uncheckable",
            detail="no column handovers.courier_arrived_at, handed_over_at or "
            f"received_at beside handovers.{COLUMN[stamp]}",
        )
    each = row.value("extra_ms") / max(row.value("effect"), 1.0)
    detail = (
        f"{near:.0%} of the stamps near the promise and {far:.0%} of the others fall "
        "on five-minute marks; the orders in excess waited "
        f"{each / 60_000:.0f} minutes longer (handovers.{end_column(end)})"
    )
    independent = grounded(row)
    holds = far >= _MOST and each < _ROUNDING_MS
    clear = not holds and (near <= far + 0.1 or each > 2 * _ROUNDING_MS)
    return Explanation(
        text=ROUNDED,
        status="ruled_out" if clear and independent else "open",
        detail=detail,
        holds=holds,
        # That stamps are round elsewhere as well is the agent's own doing.
        rests_on=(f"handovers.{COLUMN[stamp]}", f"handovers.{end_column(end)}"),
    )


def _vanishes(row: Row, name: str) -> bool:
    """Say whether long waits come with a property, near the promise and elsewhere."""
    share = _rate(row, f"near_{name}_long", "near_long")[0]
    near = _rate(row, f"near_{name}_long", f"near_{name}")[0]
    far, m = _rate(row, f"far_{name}_long", f"far_{name}")
    return bool(share >= _MOST and m >= _ENOUGH and far >= 0.8 * near)


def _batch(row: Row) -> Explanation:
    if pair_of(row)[1] == "":
        return Explanation(
            text=BATCH,
            status="uncheckable",
            detail="no column handovers.courier_arrived_at, handed_over_at or "
            "received_at",
        )
    near, _ = _rate(row, "near_burst", "near_known")
    n_far = row.value("known") - row.value("near_known")
    far = row.value("far_burst") / n_far if n_far > 0.0 else float("nan")
    waits = _waits(row, "burst")
    detail = (
        f"{near:.0%} of the stamps near the promise and {far:.0%} of the others share "
        "their minute of writing with at least two more"
    )
    if waits:
        detail += f"; {waits}"
    holds = _vanishes(row, "burst")
    few = not holds and near <= _FEW
    clear = few and row.data.independent("handovers.recorded_at")
    return Explanation(
        text=BATCH,
        status="ruled_out" if clear else "open",
        detail=f"{detail} (handovers.recorded_at)"
        if row.data.has("handovers.recorded_at")
        else f"{detail}; the stamps' minutes are the agent's own",
        holds=holds,
        rests_on=("handovers.recorded_at",)
        if row.data.has("handovers.recorded_at")
        else (f"handovers.{COLUMN[pair_of(row)[0]]}",),
    )


def _offline(row: Row) -> Explanation:
    if not row.data.has("handovers.recorded_at"):
        return Explanation(
            text=OFFLINE,
            status="uncheckable",
            detail="no column handovers.recorded_at",
        )
    if pair_of(row)[1] == "":
        return Explanation(
            text=OFFLINE, status="open", detail="no later instant to compare with"
        )
    near, _ = _rate(row, "near_offline", "near_known")
    n_far = row.value("known") - row.value("near_known")
    far = row.value("far_offline") / n_far if n_far > 0.0 else float("nan")
    detail = (
        f"the server wrote {near:.0%} of the records near the promise and {far:.0%} of "
        "the others much later than their stamps (handovers.recorded_at)"
    )
    holds = _vanishes(row, "offline")
    clear = not holds and (near <= _FEW or far < 0.5 * near)
    return Explanation(
        text=OFFLINE,
        status="ruled_out"
        if clear and row.data.independent("handovers.recorded_at")
        else "open",
        detail=detail,
        holds=holds,
        rests_on=("handovers.recorded_at",),
    )


def _one_day(row: Row) -> Explanation:
    days = row.summaries["days"]
    stamp, end = pair_of(row)
    mine = days.same("pair", f"{stamp}>{end}")
    if row.kind == "agent":
        mine &= days.same("agent_id", row.id)
    late = days.floats("near_long" if end else "near")[mine]
    day = days.ints("day")[mine]
    if late.sum() <= 0:
        return Explanation(text=ONE_DAY, status="open", detail="no days to compare")
    per_day = np.bincount(day - day.min(), weights=late)
    share = float(per_day.max() / late.sum())
    return Explanation(
        text=ONE_DAY,
        status="ruled_out"
        if share <= _FEW and row.data.independent("handovers.promised_at")
        else "open",
        detail=f"{share:.0%} of these orders fall on one day, the others on "
        f"{int((per_day > 0).sum()) - 1} more (handovers.promised_at)",
        holds=share >= _MOST,
        rests_on=("handovers.promised_at",),
    )
