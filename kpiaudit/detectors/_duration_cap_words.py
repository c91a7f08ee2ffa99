"""The words of duration-cap: a flagged row as an account that a manager can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors import _duration_cap_tests as tests
from kpiaudit.detectors.base import Account, Explain
from kpiaudit.findings import (
    Corroboration,
    Effect,
    Evidence,
    Explanation,
    Histogram,
    Restated,
    RestsOn,
)

if TYPE_CHECKING:
    from kpiaudit.detectors._duration_cap_find import Cap
    from kpiaudit.detectors.base import Found, Row, Summaries, Summary
    from kpiaudit.findings import Grade

BIN_S, BINS = 5, 12
"""Bins of the histogram in a finding, and how many of them on each side of the cap."""

EXPLAIN = (
    Explain(text="the platform ends calls at the limit", columns=("calls.ended_by",)),
    Explain(text="the recorder rounds durations"),
    Explain(text="a queue whose calls naturally last a little less than the cap"),
    Explain(
        text="a scripted close or a reminder that the whole floor follows",
        columns=("calls.customer_id", "calls.started_at"),
    ),
    Explain(text="a faulty seat", columns=("calls.station",)),
    Explain(text="a faulty line", columns=("calls.trunk",)),
)


def cap_of(row: Row) -> Cap:
    """Return the cutoff that a row is about."""
    name = round(row.value("cap_s"))
    found: Cap = next(cap for cap in row.found["caps"] if cap.cap_s == name)
    return found


def account(
    row: Row, cap: Cap, pile: tests.Pile, *, window: int, hours: float
) -> Account:
    """Word a flagged agent, queue or floor.

    Args:
        row: The flagged row.
        cap: The cutoff that it is about.
        pile: The curves through the durations, for queues and the floor.
        window: Seconds below the cutoff.
        hours: Within which a next contact is a repeat.
    """
    if row.kind == "agent":
        return _agent(row, cap, window=window, hours=hours)
    return _floor(row, cap, pile, window=window, hours=hours)


def _agent(row: Row, cap: Cap, *, window: int, hours: float) -> Account:
    value = row.value
    total = _rows(row, "totals", cap, agent=row.id)
    calls = int(total.ints("calls").sum())
    excess, low, high = value("effect"), value("low"), value("high")
    again = _again(row, cap, hours)
    days = row.outcome.extra.get("days")
    on_days = "" if days is None else f", on {value('days'):,.0f} days"
    evidence = [
        Evidence(name="calls near the cap", value=value("near"), unit="calls"),
        Evidence(
            name="calls in the window as long above it",
            value=value("over"),
            unit="calls",
        ),
        Evidence(
            name="calls in three such windows further below",
            value=value("below"),
            unit="calls",
        ),
        Evidence(name="odds against honest peers", value=value("ratio"), unit="ratio"),
        *_causes(row, cap),
    ]
    if "spread" in row.outcome.facts:
        spread = row.outcome.facts["spread"]
        evidence.append(
            Evidence(
                name="honest agents differ by", value=spread, unit="sd of log-odds"
            )
        )
    return Account(
        headline=(
            f"Agent {row.id}: {value('observed'):,.0f} calls ended within {window} s "
            f"below {_length(cap)}{on_days}, where peers give "
            f"{value('expected'):,.0f}; about {excess:,.0f} too many "
            f"({low:,.0f} to {high:,.0f})."
        ),
        effect=_effect(excess, low, high),
        n=int(value("trials")),
        observed=value("observed"),
        expected=value("expected"),
        harm=_share(excess, calls),
        evidence=tuple(evidence),
        explanations=tuple(_explanations(row, cap, again)),
        rests_on=_rests_on(row),
        peers=_peers(row),
        next_step=(
            f"Listen to 20 of the flagged calls and to 20 that ended {4 * window} to "
            f"{window} s before the cap, without knowing which is which, and call back "
            "five customers of each kind."
        ),
        corroboration=() if again is None else (again,),
        restated=_restated_agent(row, cap, window),
        histogram=_bins(row, cap),
        grade_cap=_cap_grade(row, again),
    )


def _floor(
    row: Row, cap: Cap, pile: tests.Pile, *, window: int, hours: float
) -> Account:
    value = row.value
    excess, low, high = value("effect"), value("low"), value("high")
    again = _again(row, cap, hours)
    number = pile.ids.tolist().index(row.id)
    calls, mean, past = _lengths(row, cap)
    who = "The whole floor" if row.kind == "floor" else f"Queue {row.id}"
    few, several = _carried_by(row, cap)
    evidence = [
        Evidence(name="pile-up below the cap", value=value("relative"), unit="share"),
        Evidence(
            name="share of the calls that would have passed the cap",
            value=value("past_share"),
            unit="share",
        ),
        Evidence(
            name="agents behind 80 % of the excess",
            value=float(few),
            unit="agents",
            text=f"{few} of {several} agents account for 80 % of the excess calls.",
        ),
        Evidence(name="edge sharper than a hump", value=value("p_sharp"), unit="p"),
        Evidence(name="the median agent shows it", value=value("p_median"), unit="p"),
        *_causes(row, cap),
    ]
    keep = (pile.edges[:-1] >= cap.halves[0][1] - 60 - BIN_S) & (
        pile.edges[:-1] < cap.halves[0][1] + 60
    )
    return Account(
        headline=(
            f"{who}: the cap of {_length(cap)} draws {excess:,.0f} calls "
            f"({low:,.0f} to {high:,.0f}) into the last {window} s below it, "
            f"{value('relative'):.0%} more than a smooth curve expects; {few} of "
            f"{several} agents account for 80 % of them."
        ),
        effect=_effect(excess, low, high),
        n=int(value("trials")),
        observed=value("observed"),
        expected=value("expected"),
        harm=_share(excess, calls),
        evidence=tuple(evidence),
        explanations=tuple(_explanations(row, cap, again)),
        rests_on=_rests_on(row),
        peers="a smooth curve through the lengths of all other calls",
        next_step=(
            "Look at the target before looking at people: what does the cap pay, and "
            "what happens to calls that pass it? Then listen to 20 of these calls."
        ),
        corroboration=() if again is None else (again,),
        restated=_restated(
            row,
            (excess, low, high),
            gains=(window / 2, past - cap.cap_s + window / 2),
            mean=mean,
            calls=calls,
        ),
        histogram=Histogram(
            start=float(pile.edges[:-1][keep][0]),
            width=float(pile.edges[1] - pile.edges[0]),
            counts=tuple(float(c) for c in pile.counts[number, keep]),
            expected=tuple(float(c) for c in pile.curve[number, keep]),
            mark=float(cap.halves[0][1]),
        ),
        grade_cap=_cap_grade(row, again),
    )


def _length(cap: Cap) -> str:
    minutes = cap.cap_s / 60
    return (
        f"{cap.cap_s} s ({minutes:g} min)" if cap.cap_s % 30 == 0 else f"{cap.cap_s} s"
    )


def _share(part: float, whole: float) -> float:
    return float(np.clip(part / max(whole, 1.0), 0.0, 1.0))


def _effect(excess: float, low: float, high: float) -> Effect:
    return Effect(name="excess calls", value=excess, low=low, high=high, unit="calls")


def _rows(row: Row, name: str, cap: Cap, *, agent: str | None = None) -> Summary:
    rows = row.summaries[name]
    mask = rows.ints("cap_s") == cap.cap_s
    if agent is not None:
        mask &= rows["agent_id"].astype(str) == agent
    return rows.where(mask)


def _mine(row: Row, name: str, cap: Cap) -> Summary:
    """Return the rows of a summary that are about the row's subject."""
    rows = _rows(row, name, cap, agent=row.id if row.kind == "agent" else None)
    if row.kind == "queue" and "queue" in rows:
        return rows.where(rows["queue"].astype(str) == row.id)
    return rows


def _causes(row: Row, cap: Cap) -> list[Evidence]:
    """Say how the calls near the cap left, and the shorter ones."""
    if "causes" not in row.summaries or row.kind == "queue":
        return []
    rows = _mine(row, "causes", cap)
    near = max(rows.ints("near").sum(), 1)
    below = max(rows.ints("below").sum(), 1)
    out = []
    for cause in sorted(set(rows["cause"].astype(str).tolist())):
        own = rows.where(rows["cause"].astype(str) == cause)
        share = own.ints("near").sum() / near
        usual = own.ints("below").sum() / below
        out.append(
            Evidence(
                name=f"near the cap, left by: {cause}",
                value=float(share),
                unit="share",
                text=f"{share:.0%} of the calls near the cap and {usual:.0%} of the "
                f"calls further below left by: {cause}.",
            )
        )
    return out


def _again(row: Row, cap: Cap, hours: float) -> Corroboration | None:
    """Ask whether these customers call again more than the others."""
    if "repeats" not in row.summaries:
        return None
    mine = _mine(row, "repeats", cap)
    k, n = mine.ints("near_again").sum(), mine.ints("near").sum()
    own = (mine.ints("rest_again").sum(), mine.ints("rest").sum())
    p_value = tests.more_often(k, n, *own)
    against = f"{own[0]:,} of {own[1]:,} after their other calls around it"
    if row.kind == "agent":
        every = _rows(row, "repeats", cap)
        peers = (
            every.ints("near_again").sum() - k,
            every.ints("near").sum() - n,
        )
        p_value = max(p_value, tests.more_often(k, n, *peers))
        against += f" and {peers[0]:,} of {peers[1]:,} after peers' calls near the cap"
    rate = k / max(n, 1)
    base = own[0] / max(own[1], 1)
    half = 1.96 * np.sqrt(
        max(rate * (1 - rate) / max(n, 1) + base * (1 - base) / max(own[1], 1), 1e-12)
    )
    return Corroboration(
        source=f"repeat contact within {hours:g} h",
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


def _explanations(row: Row, cap: Cap, again: Corroboration | None) -> list[Explanation]:
    return [
        _cut(row, cap),
        _rounding(row),
        _queue(row),
        _script(row, again),
        *(_place(row, cap, kind) for kind in ("station", "trunk")),
    ]


def _cut(row: Row, cap: Cap) -> Explanation:
    cuts = [c for layout in row.found["layouts"] for c in layout.cuts]
    close = [c for c in cuts if abs(c - cap.cap_s) <= 2]
    detail = "no second near the cap stands out from its neighbours (calls.talk_s)"
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


def _place(row: Row, cap: Cap, kind: str) -> Explanation:
    """Ask whether the same calls end early for others at the same seat or line."""
    text = EXPLAIN[4 if kind == "station" else 5].text
    if not row.data.has(f"calls.{kind}") or "places" not in row.summaries:
        return Explanation(
            text=text, status="uncheckable", detail=f"no column calls.{kind}"
        )
    rows = _rows(row, "places", cap)
    rows = rows.where(rows["kind"].astype(str) == kind)
    if row.kind != "agent":
        near, trials = _by_place(rows)
        few = int((np.cumsum(np.sort(near)[::-1]) < 0.5 * near.sum()).sum()) + 1
        return Explanation(
            text=text,
            status="open",
            detail=f"half of these calls come from {few} of {len(trials)} ({kind})",
        )
    mine = rows["agent_id"].astype(str) == row.id
    own, others = rows.where(mine), rows.where(~mine)
    weight = dict(zip(own["place"].tolist(), own.floats("trials"), strict=True))
    there = others.where(np.isin(others["place"].astype(str), list(weight)))
    n_there = there.ints("trials").sum()
    rate = own.ints("near").sum() / max(own.ints("trials").sum(), 1)
    usual = rows.ints("near").sum() / max(rows.ints("trials").sum(), 1)
    if n_there < 30:
        return Explanation(
            text=text,
            status="open",
            detail=f"hardly anybody else used the same {kind} (calls.{kind})",
        )
    same = _same_places(there, weight)
    share = (same - usual) / max(rate - usual, 1e-9)
    detail = (
        f"at the same {kind} {same:.1%} of the others' calls around the cap end near "
        f"it, {rate:.1%} of this agent's, {usual:.1%} of everybody's (calls.{kind})"
    )
    sd = np.sqrt(max(same * (1 - same), 1e-9) / n_there)
    if share > 0.5 and same - usual > 2 * sd:
        return Explanation(text=text, status="open", detail=detail, holds=True)
    clear = share + 2 * sd / max(rate - usual, 1e-9) < 0.5
    ruled = clear and row.data.independent(f"calls.{kind}")
    return Explanation(
        text=text, status="ruled_out" if ruled else "open", detail=detail
    )


def _by_place(rows: Summary) -> tuple[Any, Any]:
    places, index = np.unique(rows["place"].astype(str), return_inverse=True)
    near = np.bincount(index, weights=rows.floats("near"), minlength=len(places))
    return near, np.bincount(index, weights=rows.floats("trials"))


def _same_places(there: Summary, weight: dict[Any, float]) -> float:
    """Average the others' rate over places, with the agent's own calls as weights."""
    near: dict[Any, float] = {}
    trials: dict[Any, float] = {}
    for place, k, n in zip(
        there["place"].tolist(),
        there.floats("near"),
        there.floats("trials"),
        strict=True,
    ):
        near[place] = near.get(place, 0.0) + float(k)
        trials[place] = trials.get(place, 0.0) + float(n)
    pairs = [(weight[p] * near[p] / trials[p], weight[p]) for p in sorted(trials)]
    return sum(a for a, _ in pairs) / max(sum(b for _, b in pairs), 1e-9)


def _rests_on(row: Row) -> tuple[RestsOn, ...]:
    roles = {
        "calls.talk_s": "numerator",
        "calls.hold_s": "numerator",
        "calls.queue": "stratum",
        "calls.site_id": "stratum",
        "calls.customer_id": "corroboration",
        "calls.ended_by": "evidence",
        "calls.transfer_type": "evidence",
        "calls.station": "explanation",
        "calls.trunk": "explanation",
    }
    if row.found["measure"] == "talk":
        roles.pop("calls.hold_s")
    return tuple(
        RestsOn(column=column, origin=row.data.origin(column), role=role)
        for column, role in roles.items()
        if row.data.has(column)
    )


def _peers(row: Row) -> str:
    used = int(row.outcome.facts.get("n_subjects_used", 0.0))
    where = "queue" if row.data.has("calls.queue") else "floor"
    return f"the other agents of the same {where} ({used:,} agents in all)"


def _cap_grade(row: Row, again: Corroboration | None) -> Grade:
    if row.kind != "agent":
        return "moderate" if again is None else "strong"
    if not row.data.has("calls.queue"):
        return "moderate"
    return "moderate" if row.outcome.facts.get("asymmetric") else "strong"


def _lengths(row: Row, cap: Cap) -> tuple[int, float, float]:
    """Return calls, their mean length, and that of those past the cap, in seconds."""
    rows = row.found["seconds"]
    if row.kind == "queue":
        rows = rows.where(rows["queue"].astype(str) == row.id)
    calls = rows.ints("odd") + rows.ints("even")
    length = rows.ints("second") + 0.5
    past = rows.ints("second") >= cap.cap_s
    mean = float((calls * length).sum() / max(calls.sum(), 1))
    beyond = float((calls * length * past).sum() / max((calls * past).sum(), 1))
    return int(calls.sum()), mean, max(beyond, float(cap.cap_s))


def _restated_agent(row: Row, cap: Cap, window: int) -> Restated:
    own = _rows(row, "totals", cap, agent=row.id)
    every = _rows(row, "totals", cap)
    past = every.ints("past").sum() - own.ints("past").sum()
    past_ms = every.ints("past_ms").sum() - own.ints("past_ms").sum()
    beyond = past_ms / max(past, 1) / 1000 if past else float(cap.cap_s)
    calls = int(own.ints("calls").sum())
    return _restated(
        row,
        (row.value("effect"), row.value("low"), row.value("high")),
        gains=(window / 2, beyond - cap.cap_s + window / 2),
        mean=float(own.ints("ms").sum() / max(calls, 1) / 1000),
        calls=calls,
    )


def _restated(
    row: Row,
    excess: tuple[float, float, float],
    *,
    gains: tuple[float, float],
    mean: float,
    calls: int,
) -> Restated:
    """Restate the mean length had the excess calls run on.

    Args:
        row: The flagged row.
        excess: Calls in excess, with their interval.
        gains: Seconds each would have gained at least, and as calls past the cap do.
        mean: Length as reported.
        calls: How many calls it is the mean of.
    """
    point, low, high = (max(x, 0.0) / max(calls, 1) for x in excess)
    what = "talk and hold" if row.found["measure"] == "talk+hold" else "talk"
    return Restated(
        kpi=f"mean {what} time",
        reported=mean,
        restated=mean + point * gains[1],
        low=mean + low * gains[0],
        high=mean + high * gains[1],
        unit="s",
        assumption=(
            "The value supposes that the excess calls would have lasted as long as "
            "others' calls beyond the cap; the lower bound, that they would have ended "
            "at the cap. What they would have lasted can't be known."
        ),
    )


def _bins(row: Row, cap: Cap) -> Histogram | None:
    """Return the agent's calls in bins of 5 s, with the peers' shape beside them."""
    if "bins" not in row.summaries:
        return None
    every = _rows(row, "bins", cap)
    index = every.ints("offset_s") // BIN_S + BINS
    mine = every["agent_id"].astype(str) == row.id
    calls = every.floats("calls")
    own = np.bincount(index, weights=calls * mine, minlength=2 * BINS)
    others = np.bincount(index, weights=calls * ~mine, minlength=2 * BINS)
    far = slice(0, BINS - 3)
    scale = own[far].sum() / max(others[far].sum(), 1.0)
    return Histogram(
        start=float(cap.halves[0][1] - BINS * BIN_S),
        width=float(BIN_S),
        counts=tuple(float(c) for c in own),
        expected=tuple(float(c) for c in others * scale),
        mark=float(cap.halves[0][1]),
    )


def _carried_by(row: Row, cap: Cap) -> tuple[int, int]:
    """Count the agents behind four fifths of the excess, and all agents."""
    rows = _mine(row, "agents", cap)
    rows = rows.where(rows.ints("period") == 1)
    agent, index = np.unique(rows["agent_id"].astype(str), return_inverse=True)
    near = np.bincount(index, weights=rows.floats("near"), minlength=len(agent))
    below = np.bincount(index, weights=rows.floats("below"), minlength=len(agent))
    usual = row.value("expected") / max(row.value("observed"), 1.0)
    rate = usual * near.sum() / max(below.sum(), 1.0)
    excess = np.sort(np.maximum(near - rate * below, 0.0))[::-1]
    few = int((np.cumsum(excess) < 0.8 * excess.sum()).sum()) + 1
    return min(few, len(agent)), len(agent)


def blind_spots(summaries: Summaries, found: Found) -> tuple[str, ...]:
    """Say what the data did not allow to see."""
    out = []
    if not found["days"]:
        out.append(
            "The calls have no days: a cap can't be looked for, and how an agent's "
            "days differ is not allowed for."
        )
    queues = {str(q) for q in found["seconds"]["queue"].tolist()}
    if queues == {""}:
        out.append(
            "No column calls.queue: agents with another mix of calls are compared."
        )
    if summaries and "repeats" not in summaries:
        out.append(
            "Whether customers called again can't be seen (calls.customer_id, "
            "calls.started_at); queues and the floor need a larger pile-up."
        )
    if len(found["layouts"]) > 1:
        rest = [s for layout in found["layouts"][1:] for s in layout.sites]
        out.append(
            "The floor and its queues were tested without sites that round durations "
            f"in another way: {', '.join(rest)}."
        )
    if any(layout.unit > 15 for layout in found["layouts"]):
        out.append("Durations in such coarse units hide calls moved by a few seconds.")
    return tuple(out)
