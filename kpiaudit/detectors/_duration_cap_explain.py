"""Innocent explanations of duration-cap, each tried on the columns that can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors import _duration_cap_agents as agents
from kpiaudit.detectors._places import place
from kpiaudit.detectors.base import Explain
from kpiaudit.findings import Corroboration, Effect, Explanation
from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from kpiaudit.detectors._duration_cap_find import Cap
    from kpiaudit.detectors.base import Row, Summary

EXPLAIN = (
    Explain(
        text="the platform ends calls at the limit",
        asks="Does one second near the cap stand out in everybody's calls? Rests "
        "on calls.talk_s, which agents steer, so that it is never ruled "
        "out.",
        then="Calls of that length are taken out of every count before the test; "
        "what is left stays open.",
    ),
    Explain(
        text="the recorder rounds durations",
        columns=("calls.site_id",),
        asks="In which unit is each site's time recorded? Ruled out for an agent "
        "whose site's peers round alike.",
        then="Windows are made whole units wide.",
    ),
    Explain(
        text="a queue whose calls naturally last a little less than the cap",
        columns=("calls.queue",),
        asks="Do the agent's calls drop at the cap by more than those of peers "
        "in the same queue, and by more than they slope around it? For a "
        "queue or the floor: is the edge sharper than a hump's?",
        then="Compared within the queue, so that it raises no p-value below the "
        "threshold.",
    ),
    Explain(
        text="a scripted close or a reminder that the whole floor follows",
        columns=("calls.customer_id",),
        either=(
            "calls.started_at",
            "calls.ended_at",
        ),
        asks="Do these customers call again more often than after the agent's "
        "other calls and after peers' calls near the cap? Settled calls are "
        "not followed by others.",
        then="Open: without more repeat calls the finding stands on the pile-up alone.",
    ),
    Explain(
        text="a faulty seat",
        columns=("calls.station",),
        asks="Do colleagues' calls end early at the same station, and the "
        "agent's own elsewhere?",
        then="The finding is withdrawn.",
    ),
    Explain(
        text="a faulty line",
        columns=("calls.trunk",),
        asks="Do colleagues' calls end early on the same trunk, and the agent's "
        "own on others?",
        then="The finding is withdrawn.",
    ),
)

_MIN_THERE = 30  # calls of others at the same place


@frozen
class Near:
    """A flagged row, the cutoff that it is about, and the detector's windows.

    Args:
        row: The row.
        cap: The cutoff.
        window: Seconds below it.
        hours: Within which a next contact is a repeat.
    """

    row: Row
    cap: Cap
    window: int
    hours: float

    def rows(self, name: str, *, mine: bool = True) -> Summary:
        """Return the rows of a summary at the cutoff, all or the subject's own."""
        rows = agents.of_cap(self.row.summaries[name], self.cap)
        if mine and self.row.kind == "agent":
            return rows.having("agent_id", self.row.id)
        if mine and self.row.kind == "queue" and "queue" in rows:
            return rows.having("queue", self.row.id)
        return rows


def called_again(near: Near) -> Corroboration | None:
    """Ask whether these customers call again more than the others."""
    if "repeats" not in near.row.summaries:
        return None
    mine = near.rows("repeats")
    k, n = mine.ints("near_again").sum(), mine.ints("near").sum()
    own = (mine.ints("rest_again").sum(), mine.ints("rest").sum())
    p_value = agents.more_often(k, n, *own)
    against = f"{own[0]:,} of {own[1]:,} after their other calls around it"
    if near.row.kind == "agent":
        every = near.rows("repeats", mine=False)
        peers = (
            every.total("near_again") - k,
            every.total("near") - n,
        )
        p_value = max(p_value, agents.more_often(k, n, *peers))
        against += f" and {peers[0]:,} of {peers[1]:,} after peers' calls near the cap"
    rate = k / max(n, 1)
    base = own[0] / max(own[1], 1)
    half = 1.96 * np.sqrt(
        max(rate * (1 - rate) / max(n, 1) + base * (1 - base) / max(own[1], 1), 1e-12)
    )
    return Corroboration(
        source=f"repeat contact within {near.hours:g} h",
        verdict="supports" if p_value <= 0.05 else "silent",
        effect=Effect(
            name="difference of repeat rates",
            value=float(rate - base),
            low=float(rate - base - half),
            high=float(rate - base + half),
            unit="share",
        ),
        p_value=float(p_value),
        detail=f"{k:,} of {n:,} customers called again, against {against}.",
    )


def explanations(near: Near, again: Corroboration | None) -> list[Explanation]:
    """Try every innocent explanation on a flagged row.

    Args:
        near: The row and its cutoff.
        again: Whether its customers called again; None where that is not known.
    """
    return [
        _cut(near),
        _rounding(near.row),
        _queue(near.row),
        _script(near.row, again),
        *(_place(near, kind) for kind in ("station", "trunk")),
    ]


def _cut(near: Near) -> Explanation:
    cuts = [c for layout in near.row.found["layouts"] for c in layout.cuts]
    close = [c for c in cuts if abs(c - near.cap.cap_s) <= 2]
    detail = (
        "no second near the cap stands out, as one would if calls were cut there "
        "(calls.talk_s); the platform's settings tell"
    )
    if close:
        detail = (
            f"the platform does end calls at {close[0]} s; calls of that length were "
            "left out of every count, and the excess is below it"
        )
    return Explanation(text=EXPLAIN[0].text, status="open", detail=detail)


def _rounding(row: Row) -> Explanation:
    units = sorted({layout.unit for layout in row.found["layouts"]})
    if units == [1]:
        detail = "durations are recorded to the second"
    else:
        named = ", ".join(f"{u} s" for u in units)
        detail = f"recording units: {named}; windows are whole units of them"
    if row.kind == "agent" and row.data.independent("calls.site_id"):
        return Explanation(
            text=EXPLAIN[1].text,
            status="ruled_out",
            detail=f"{detail}; peers' sites round alike (calls.site_id)",
        )
    return Explanation(text=EXPLAIN[1].text, status="open", detail=detail)


def _queue(row: Row) -> Explanation:
    if not row.data.has("calls.queue"):
        return Explanation(
            text=EXPLAIN[2].text, status="uncheckable", detail="no column calls.queue"
        )
    if row.kind == "agent":
        detail = (
            "compared within the queue, and the agent's own calls drop at the cap more "
            "than they slope around it (calls.queue)"
        )
    else:
        detail = (
            "the edge at the cap is sharper than a hump's: p = "
            f"{row.value('p_sharp'):.2g} (calls.queue, calls.talk_s)"
        )
    free = row.kind == "agent" and row.data.independent("calls.queue")
    return Explanation(
        text=EXPLAIN[2].text, status="ruled_out" if free else "open", detail=detail
    )


def _script(row: Row, again: Corroboration | None) -> Explanation:
    text = EXPLAIN[3].text
    if again is None:
        absent = row.data.missing(("calls.customer_id", "calls.started_at"))
        return Explanation(
            text=text,
            status="uncheckable",
            detail=f"no column {', '.join(absent) or 'calls.customer_id'}",
        )
    independent = row.data.independent("calls.customer_id")
    if again.verdict == "supports" and independent:
        return Explanation(
            text=text,
            status="ruled_out",
            detail=f"a settled call is not followed by another: {again.detail} "
            "(calls.customer_id)",
        )
    return Explanation(
        text=text, status="open", detail=f"{again.detail} (calls.customer_id)"
    )


def _place(near: Near, kind: str) -> Explanation:
    """Ask whether the same calls end early for others at the same seat or line."""
    text = EXPLAIN[4 if kind == "station" else 5].text
    if not near.row.data.has(f"calls.{kind}") or "places" not in near.row.summaries:
        return Explanation(
            text=text, status="uncheckable", detail=f"no column calls.{kind}"
        )
    rows = near.rows("places", mine=False)
    rows = rows.having("kind", kind)
    if near.row.kind == "agent":
        return _shared_place(near.row, rows, kind, text)
    calls, _ = _by_place(rows)
    few = int((np.cumsum(np.sort(calls)[::-1]) < 0.5 * calls.sum()).sum()) + 1
    return Explanation(
        text=text,
        status="open",
        detail=f"half of the floor's calls near the cap come from {few} of "
        f"{len(calls)} (calls.{kind})",
    )


def _shared_place(row: Row, rows: Summary, kind: str, text: str) -> Explanation:
    """Ask whether calls end early at the agent's place, or wherever the agent is."""
    at = place(rows, "place", row.id, events="near", trials="trials")
    if at is None or at.others[1] < _MIN_THERE:
        return Explanation(
            text=text,
            status="open",
            detail=f"hardly anybody else used the same {kind} (calls.{kind})",
        )
    detail = (
        f"at {kind} {at.name} {at.here[0]:.0f} of the agent's {at.here[1]:.0f} calls "
        f"around the cap end near it, {at.elsewhere[0]:.0f} of {at.elsewhere[1]:.0f} "
        f"at others; colleagues had {at.others[0]:.0f} of {at.others[1]:.0f} there, "
        f"where {at.usual:.0f} would be usual for them (calls.{kind})"
    )
    clear = at.refuted and row.data.independent(f"calls.{kind}")
    return Explanation(
        text=text,
        status="ruled_out" if clear else "open",
        detail=detail,
        holds=at.explains,
        rests_on=(f"calls.{kind}",),
    )


def _by_place(rows: Summary) -> tuple[Any, Any]:
    places, index = np.unique(rows["place"].astype(str), return_inverse=True)
    near = np.bincount(index, weights=rows.floats("near"), minlength=len(places))
    return near, np.bincount(index, weights=rows.floats("trials"))
