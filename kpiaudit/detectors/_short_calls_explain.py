"""Innocent explanations of short calls, each held against the columns that show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.findings import Explanation

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Row, Summary

EQUIPMENT = "Dropped lines that follow the equipment"
SILENT = "Wrong numbers and silent callers"
REPEATER = "One number calling again and again"
AWAY = "Calls answered automatically while the agent is away"
OUTAGE = "An outage"

_SHRINK = 20.0
"""Calls for which the floor's rate stands in at a seat that others hardly used."""
_ENOUGH = 0.3
"""Share of the agent's calls that others must have tried on the same equipment."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """An agent's short calls against what others had on the same equipment.

    Args:
        observed: The agent's short calls.
        by_place: What others' rates on the same equipment give.
        by_floor: What everybody's rate gives.
        sd: Standard deviation of observed less `by_place`.
        tried: Share of the agent's calls on equipment that others tried well enough.
        places: Seats or lines on which the agent had calls.
    """

    observed: float
    by_place: float
    by_floor: float
    sd: float
    tried: float
    places: int

    @property
    def explains(self) -> bool:
        """Say whether the equipment explains it: most of it, within chance."""
        return (
            self.observed - self.by_place < 2.0 * self.sd
            and self.by_place - self.by_floor > 0.5 * (self.observed - self.by_floor)
            and self.tried >= _ENOUGH
        )

    @property
    def refuted(self) -> bool:
        """Say whether others had far fewer on the same equipment."""
        return (
            self.tried >= _ENOUGH
            and self.observed - self.by_place > 3.0 * self.sd
            and self.by_place - self.by_floor < 0.25 * (self.observed - self.by_floor)
        )


def place(rows: Summary, column: str, agent: str) -> Place:
    """Compare one agent with the others at the same seats or on the same lines."""
    names, index = np.unique(rows[column].astype(str), return_inverse=True)
    calls, short = rows.floats("calls"), rows.floats("short")
    mine = rows["agent_id"].astype(str) == agent
    named = names != ""
    size = len(names)
    n = np.bincount(index[mine], weights=calls[mine], minlength=size) * named
    k = np.bincount(index[mine], weights=short[mine], minlength=size) * named
    others_n = np.bincount(index[~mine], weights=calls[~mine], minlength=size)
    others_k = np.bincount(index[~mine], weights=short[~mine], minlength=size)
    base = float(short[~mine].sum() / max(calls[~mine].sum(), 1.0))
    rate = (others_k + _SHRINK * base) / (others_n + _SHRINK)
    by_place = float(n @ rate)
    # Short calls come in clusters: twice the Poisson variance is usual.
    variance = 2.0 * (by_place + float(n**2 @ (rate / (others_n + _SHRINK))))
    well = others_n >= np.minimum(np.maximum(n / 10.0, _SHRINK), 200.0)
    return Place(
        observed=float(k.sum()),
        by_place=by_place,
        by_floor=base * float(n.sum()),
        sd=float(np.sqrt(max(variance, 1.0))),
        tried=float(n[well].sum() / max(n.sum(), 1.0)),
        places=int((n > 0).sum()),
    )


def explanations(row: Row) -> tuple[Explanation, ...]:
    """Return every innocent explanation with its status; the upheld ones are marked."""
    return (
        _equipment(row),
        _silent(row),
        _repeater(row),
        _away(row),
        _outage(row),
    )


def _equipment(row: Row) -> Explanation:
    if row.kind != "agent":
        return Explanation(
            text=EQUIPMENT,
            status="open",
            detail="On the whole floor a bad line can't be told from a habit of "
            "everybody's; ask for the operator's record of dropped calls.",
        )
    parts: list[tuple[str, Place]] = [
        (column, place(row.summaries[column], column, row.id))
        for column in ("station", "trunk")
        if column in row.summaries and row.data.has(f"calls.{column}")
    ]
    if not parts:
        return _uncheckable(EQUIPMENT, "calls.station", "calls.trunk")
    detail = "; ".join(_place_words(column, p) for column, p in parts)
    holding = [p for _, p in parts if p.explains]
    if holding:
        return Explanation(text=EQUIPMENT, status="open", detail=detail, holds=True)
    sure = [
        column
        for column, p in parts
        if p.refuted and row.data.independent(f"calls.{column}")
    ]
    if "station" in sure or (sure and "station" not in dict(parts)):
        return Explanation(text=EQUIPMENT, status="ruled_out", detail=detail)
    return Explanation(text=EQUIPMENT, status="open", detail=detail)


def _place_words(column: str, p: Place) -> str:
    if p.tried < _ENOUGH:
        return (
            f"calls.{column}: hardly anybody else worked on the same equipment, so it "
            "can't be told from the agent"
        )
    return (
        f"calls.{column}: {p.observed:.0f} short calls, where others on the same "
        f"{p.places} would have had {p.by_place:.0f} (anywhere: {p.by_floor:.0f})"
    )


def _silent(row: Row) -> Explanation:
    if not row.data.has("calls.customer_id"):
        return _uncheckable(SILENT, "calls.customer_id")
    if row.kind == "agent":
        share = row.value("repeat_observed") / max(row.value("repeat_trials"), 1.0)
        peers = row.value("repeat_expected") / max(row.value("repeat_trials"), 1.0)
        known = row.value("repeat_trials")
        ratio_low = row.value("repeat_ratio_low")
    else:
        known = row.value("short_known")
        share = row.value("short_redialled") / max(known, 1.0)
        peers, ratio_low = row.value("long_rate"), float("nan")
    against = (
        "after peers' short calls" if row.kind == "agent" else "after longer calls"
    )
    detail = (
        f"calls.customer_id: {share:.0%} of {known:.0f} short calls were followed by "
        f"another call of the same customer at once, {peers:.0%} {against}; nobody "
        "dials a wrong number or calls in silence twice in a row as a rule"
    )
    clear = (
        row.kind == "agent"
        and ratio_low > 1.0
        and row.data.independent("calls.customer_id")
    )
    return Explanation(
        text=SILENT, status="ruled_out" if clear else "open", detail=detail
    )


def _repeater(row: Row) -> Explanation:
    if not row.data.has("calls.customer_id"):
        return _uncheckable(REPEATER, "calls.customer_id")
    if not row.data.has("calls.at_ms"):
        return _uncheckable(REPEATER, "calls.started_at")
    count = len(row.found.get("silent", ()))
    return Explanation(
        text=REPEATER,
        status="ruled_out" if row.data.independent("calls.customer_id") else "open",
        detail=f"calls.customer_id: {count} numbers that call again and again were "
        "taken out, and short calls of one customer within half an hour count once",
    )


def _away(row: Row) -> Explanation:
    if "bursts" not in row.summaries:
        return _uncheckable(AWAY, "calls.started_at")
    rows = row.summaries["bursts"]
    mine = (
        rows["agent_id"].astype(str) == row.id
        if row.kind == "agent"
        else np.ones(len(rows), dtype=np.bool_)
    )
    short, burst = rows.floats("short")[mine].sum(), rows.floats("burst")[mine].sum()
    return Explanation(
        text=AWAY,
        status="open",
        detail=f"{burst / max(short, 1.0):.0%} of the short calls came three or more "
        "in ten minutes with hardly another call between; calls.talk_s is steered by "
        "the agent, so this rests on listening to some of them",
    )


def _outage(row: Row) -> Explanation:
    if not row.data.has("calls.at_ms"):
        return _uncheckable(OUTAGE, "calls.started_at")
    count = len(row.found.get("outages", ()))
    return Explanation(
        text=OUTAGE,
        status="ruled_out" if row.data.independent("calls.started_at") else "open",
        detail=f"calls.started_at: {count} blocks of time in which most agents had "
        "short calls at once were taken out before the comparison",
    )


def _uncheckable(text: str, *columns: str) -> Explanation:
    return Explanation(
        text=text, status="uncheckable", detail=f"no column {' or '.join(columns)}"
    )
