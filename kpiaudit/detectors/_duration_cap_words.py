"""The words of duration-cap: a flagged row as an account that a manager can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors._duration_cap_explain import called_again, explanations
from kpiaudit.detectors.base import Account
from kpiaudit.findings import Effect, Evidence, Histogram, Restated, RestsOn

if TYPE_CHECKING:
    from kpiaudit.detectors._duration_cap_explain import Near
    from kpiaudit.detectors._duration_cap_find import Cap
    from kpiaudit.detectors._duration_cap_floor import Pile
    from kpiaudit.detectors.base import Found, Row, Summaries, Summary
    from kpiaudit.findings import Corroboration, Grade
    from kpiaudit.stats.outcome import FloatArray

_EVERY_SECOND = (
    " Counted on every second day, since the others were used to find the cap, and "
    "supposed to be the same on these."
)
BIN_S, BINS = 5, 12
"""Bins of the histogram in a finding, and how many of them on each side of the cap."""


def cap_of(row: Row) -> Cap:
    """Return the cutoff that a row is about."""
    name = round(row.value("cap_s"))
    found: Cap = next(cap for cap in row.found["caps"] if cap.cap_s == name)
    return found


def days_each(cap: Cap) -> float:
    """Say of how many days one is tested: two where one half proposed the cap."""
    parities = {parity for parity, _ in cap.halves}
    return 1.0 if None in parities else 2.0 / max(len(parities), 1)


def agent(near: Near) -> Account:
    """Word a flagged agent."""
    row, cap, value = near.row, near.cap, near.row.value
    calls = int(near.rows("totals").ints("calls").sum())
    excess, low, high = value("effect"), value("low"), value("high")
    again = called_again(near)
    days = row.outcome.extra.get("days")
    on_days = "" if days is None else f", on {value('days'):,.0f} days"
    return Account(
        headline=(
            f"Agent {row.id}: {value('observed'):,.0f} calls ended within "
            f"{near.window} s below {_length(cap)}{on_days}, where peers give "
            f"{value('expected'):,.0f}; about {excess:,.0f} too many "
            f"({low:,.0f} to {high:,.0f})."
        ),
        effect=_effect(excess, low, high),
        n=int(value("trials")),
        observed=value("observed"),
        expected=value("expected"),
        harm=_share(excess * days_each(cap), calls),
        evidence=(
            *_agent_figures(near),
            *incentives.evidence(row, what="calls near the cap"),
        ),
        explanations=tuple(explanations(near, again)),
        rests_on=(*_rests_on(row), *incentives.rests_on(row)),
        peers=_peers(row),
        next_step=(
            f"Listen to 20 of the flagged calls and to 20 that ended {4 * near.window} "
            f"to {near.window} s before the cap, without knowing which is which, and "
            "call back five customers of each kind."
        ),
        corroboration=() if again is None else (again,),
        restated=_restated_agent(near),
        histogram=_bins(near),
        grade_cap=_cap_grade(row, again),
    )


def _agent_figures(near: Near) -> list[Evidence]:
    value, facts = near.row.value, near.row.outcome.facts
    figures = [
        ("calls near the cap", value("near"), "calls"),
        ("calls in the window as long above it", value("over"), "calls"),
        ("calls in three such windows further below", value("below"), "calls"),
        ("odds against honest peers", value("ratio"), "ratio"),
        ("comparison with peers alone", value("p_peers"), "p"),
    ]
    if "spread" in facts:
        figures.append(("honest agents differ by", facts["spread"], "sd of log-odds"))
    named = [Evidence(name=name, value=x, unit=unit) for name, x, unit in figures]
    return [*named, *_causes(near)]


def floor(near: Near, pile: Pile) -> Account:
    """Word a flagged queue, or the floor.

    Args:
        near: The row and its cutoff.
        pile: The curves through the durations.
    """
    row, cap, value = near.row, near.cap, near.row.value
    excess, low, high = value("effect"), value("low"), value("high")
    again = called_again(near)
    calls, mean, past, _ = _lengths(row, cap)
    who = "The whole floor" if row.kind == "floor" else f"Queue {row.id}"
    few, several = _carried_by(near)
    carried = f"{few} of {several} agents account for 80% of them"
    return Account(
        headline=(
            f"{who}: the cap of {_length(cap)} draws {excess:,.0f} calls "
            f"({low:,.0f} to {high:,.0f}) into the last {near.window} s below it, "
            f"{value('relative'):.0%} more than a smooth curve expects; {carried}."
        ),
        effect=_effect(excess, low, high),
        n=int(value("trials")),
        observed=value("observed"),
        expected=value("expected"),
        harm=_share(excess * days_each(cap), calls),
        evidence=(
            *_floor_figures(near),
            Evidence(
                name="agents behind 80 % of the excess", value=float(few), unit="agents"
            ),
            *_causes(near),
        ),
        explanations=tuple(explanations(near, again)),
        rests_on=_rests_on(row),
        peers="a smooth curve through the lengths of all other calls",
        next_step=(
            "Look at the target before looking at people: what does the cap pay, and "
            "what happens to calls that pass it? Then listen to 20 of these calls."
        ),
        corroboration=() if again is None else (again,),
        restated=_restated(
            near,
            gains=(near.window / 2, past - cap.cap_s + near.window / 2),
            mean=mean,
            calls=calls,
        ),
        histogram=_piled(near, pile),
        grade_cap=_cap_grade(row, again),
    )


def _floor_figures(near: Near) -> list[Evidence]:
    named = {
        "relative": ("pile-up below the cap", "share"),
        "past_share": ("share of the calls that would have passed the cap", "share"),
        "p_pile": ("more calls than the curve expects", "p"),
        "p_sharp": ("an edge sharper than a hump's", "p"),
        "p_median": ("the median agent shows it", "p"),
        "p_again": ("customers call again", "p"),
        "p_change": ("more than before the cap", "p"),
    }
    values = [(*named[key], near.row.value(key)) for key in named]
    return [
        Evidence(name=name, value=x, unit=unit)
        for name, unit, x in values
        if not np.isnan(x)
    ]


def _piled(near: Near, pile: Pile) -> Histogram:
    """Return the bins within a minute of the cap, with the curve."""
    mark = near.cap.halves[0][1]
    left = pile.edges[:-1]
    keep = (left >= mark - BINS * BIN_S - BIN_S) & (left < mark + BINS * BIN_S)
    number = pile.ids.tolist().index(near.row.id)
    return Histogram(
        start=float(left[keep][0]),
        width=float(pile.edges[1] - pile.edges[0]),
        counts=tuple(float(c) for c in pile.counts[number, keep]),
        expected=tuple(float(c) for c in pile.curve[number, keep]),
        mark=float(mark),
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


def _causes(near: Near) -> list[Evidence]:
    """Say how the calls near the cap left, and the shorter ones."""
    if "causes" not in near.row.summaries or near.row.kind == "queue":
        return []
    rows = near.rows("causes")
    names = rows["cause"].astype(str)
    calls, usual = rows.ints("near"), rows.ints("below")
    out = []
    for cause in sorted(set(names.tolist())):
        own = names == cause
        share = float(calls[own].sum() / max(calls.sum(), 1))
        base = float(usual[own].sum() / max(usual.sum(), 1))
        out.append(
            Evidence(
                name=f"near the cap, left by: {cause}",
                value=share,
                unit="share",
                text=f"{share:.0%} of the calls near the cap and {base:.0%} of the "
                f"calls further below left by: {cause}.",
            )
        )
    return out


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


def _lengths(row: Row, cap: Cap) -> tuple[int, float, float, float]:
    """Return calls, their mean length, and mean and sd of those past the cap, in s."""
    rows = row.found["seconds"]
    if row.kind == "queue":
        rows = rows.where(rows.same("queue", row.id))
    calls = rows.ints("odd") + rows.ints("even")
    length = rows.ints("second") + 0.5
    past = calls * (rows.ints("second") >= cap.cap_s)
    mean = float((calls * length).sum() / max(calls.sum(), 1))
    beyond = float((past * length).sum() / max(past.sum(), 1))
    sd = float(np.sqrt((past * (length - beyond) ** 2).sum() / max(past.sum(), 1)))
    return int(calls.sum()), mean, max(beyond, float(cap.cap_s)), sd


def _restated_agent(near: Near) -> Restated:
    own, every = near.rows("totals"), near.rows("totals", mine=False)
    past = every.total("past") - own.total("past")
    past_ms = every.total("past_ms") - own.total("past_ms")
    beyond = max(past_ms / 1000 / past if past else 0.0, float(near.cap.cap_s))
    calls = int(own.ints("calls").sum())
    return _restated(
        near,
        gains=(near.window / 2, beyond - near.cap.cap_s + near.window / 2),
        mean=float(own.ints("ms").sum() / max(calls, 1) / 1000),
        calls=calls,
    )


def _restated(
    near: Near, *, gains: tuple[float, float], mean: float, calls: int
) -> Restated:
    """Restate the mean length had the excess calls run on.

    The upper end allows for how many calls there are in excess, and for how much the
    lengths of so few of them scatter about the mean of those past the cap.

    Args:
        near: The row and its cutoff.
        gains: Seconds each would have gained at least, and as calls past the cap do.
        mean: Length as reported.
        calls: How many calls it is the mean of.
    """
    every = days_each(near.cap)
    point, low, high = (
        max(near.row.value(name), 0.0) * every / max(calls, 1)
        for name in ("effect", "low", "high")
    )
    drawn = max(near.row.value("effect"), 0.0) * every
    noise = 1.96 * _lengths(near.row, near.cap)[3] * np.sqrt(drawn) / max(calls, 1)
    upper = point * gains[1] + float(np.hypot((high - point) * gains[1], noise))
    return Restated(
        kpi="average_handle_time",
        reported=mean,
        restated=mean + point * gains[1],
        low=mean + low * gains[0],
        high=mean + upper,
        unit="s",
        assumption=(
            "The value supposes that the excess calls would have lasted as long as "
            "others' calls beyond the cap; the lower bound, that they would have ended "
            "at the cap. What they would have lasted can't be known."
            + (_EVERY_SECOND if every > 1.0 else "")
        ),
    )


def _bins(near: Near) -> Histogram | None:
    """Return the agent's calls in bins of 5 s, with the peers' shape beside them."""
    if "bins" not in near.row.summaries:
        return None
    every = near.rows("bins", mine=False)
    own = _binned(every.having("agent_id", near.row.id))
    others = every.once("binned", lambda: _binned(every)) - own
    far = slice(0, BINS - 3)  # the three bins below the cap hold what is asked about
    scale = own[far].sum() / max(others[far].sum(), 1.0)
    mark = float(near.cap.halves[0][1])
    return Histogram(
        start=mark - BINS * BIN_S,
        width=float(BIN_S),
        counts=tuple(float(c) for c in own),
        expected=tuple(float(c) for c in others * scale),
        mark=mark,
    )


def _binned(rows: Summary) -> FloatArray:
    """Add up calls per bin, shape (2 * BINS,)."""
    index = rows.ints("offset_s") // BIN_S + BINS
    calls = np.bincount(index, weights=rows.floats("calls"), minlength=2 * BINS)
    return np.asarray(calls, dtype=np.float64)


def _carried_by(near: Near) -> tuple[int, int]:
    """Count the agents behind four fifths of the excess, and all agents."""
    rows = near.rows("agents")
    rows = rows.where(rows.ints("period") == 1)
    names, index = rows.coded("agent_id")
    calls = np.bincount(index, weights=rows.floats("near"), minlength=len(names))
    below = np.bincount(index, weights=rows.floats("below"), minlength=len(names))
    usual = near.row.value("expected") / max(near.row.value("observed"), 1.0)
    rate = usual * calls.sum() / max(below.sum(), 1.0)
    excess = np.sort(np.maximum(calls - rate * below, 0.0))[::-1]
    few = int((np.cumsum(excess) < 0.8 * excess.sum()).sum()) + 1
    return min(few, len(names)), len(names)


def blind_spots(summaries: Summaries, found: Found) -> tuple[str, ...]:
    """Say what the data did not allow to see."""
    out = []
    if not found["days"]:
        out.append(
            "The calls have no days, or all the same: a cap can't be looked for, and "
            "how an agent's days differ is not allowed for."
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
            "The floor and its queues were tested without sites whose systems round or "
            f"cut calls in another way: {', '.join(rest)}."
        )
    if any(layout.unit > 15 for layout in found["layouts"]):
        out.append("Durations in such coarse units hide calls moved by a few seconds.")
    return tuple(out)
