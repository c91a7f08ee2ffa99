"""A flagged agent in sentences and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors import _perfect_scores_explain as explain
from kpiaudit.detectors._perfect_scores_questions import SIGNS
from kpiaudit.detectors.base import Account
from kpiaudit.findings import Effect, Evidence, Restated, RestsOn

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Row
    from kpiaudit.findings import Grade

NOT_INDEPENDENT = ("agent", "supervisor")
"""Values of `administered_by` with which an answer is no independent judgement."""

_COLUMNS = {
    "fast": ("surveys.responded_at", "surveys.sent_at", "calls.ended_at"),
    "device": ("surveys.device", "surveys.address", "surveys.customer_id"),
    "trouble": ("outcomes.kind", "calls.complaint"),
    "gift": ("outcomes.kind", "outcomes.at"),
}
_INDEPENDENT = {
    "fast": "surveys.responded_at",
    "device": "surveys.device",
    "trouble": "outcomes.kind",
    "gift": "outcomes.kind",
}


def agent(row: Row, *, fast_s: float) -> Account:
    """Word one agent."""
    answers, top = row.value("trials"), row.value("observed")
    expected, excess = row.value("expected"), row.value("effect")
    sign = SIGNS[max(int(row.value("sign")), 0)]
    return Account(
        headline=(
            f"Agent {row.id}: {top:.0f} of {answers:.0f} answers were the top score, "
            f"where peers would have had {expected:.0f}; {_clause(row, sign, fast_s)}."
        ),
        effect=Effect(
            name="excess top scores",
            value=excess,
            low=row.value("low"),
            high=row.value("high"),
            unit="answers",
        ),
        n=int(answers),
        observed=top,
        expected=expected,
        harm=float(np.clip(excess / max(answers, 1.0), 0.0, 1.0)),
        evidence=_evidence(row, fast_s),
        explanations=explain.explanations(row),
        rests_on=_rests_on(row),
        peers=(
            "The other agents rated in the same queue, channel and by the same kind of "
            "questioner; for the second sign their top scores only."
        ),
        next_step=(
            "Ring back twenty of the customers with a top score and the second sign, "
            "and twenty without it, by somebody who doesn't know which is which: who "
            "filled in the survey, when, and was anything offered for it?"
        ),
        restated=_restated(row),
        grade_cap=_cap(row, sign),
    )


def collected(row: Row) -> float:
    """Return the share of the agent's answers that the agent or a superior took."""
    counts = row.summaries["counts"]
    rows = counts.same("agent_id", row.id)
    by = np.isin(counts["administered_by"].astype(str), NOT_INDEPENDENT)
    n = counts.floats("answers")
    return float(n[rows & by].sum() / max(n[rows].sum(), 1.0))


def _clause(row: Row, sign: str, fast_s: float) -> str:
    k, n, e = (row.value(f"{sign}_{p}") for p in ("observed", "trials", "expected"))
    share, usual = k / max(n, 1.0), e / max(n, 1.0)
    if sign == "fast":
        return (
            f"{share:.0%} of these came within {fast_s:g} seconds, against {usual:.0%} "
            "of peers' top scores"
        )
    if sign == "device":
        return (
            f"{share:.0%} of these came from a device or address that served several "
            f"of this agent's customers, against {usual:.0%} at peers"
        )
    if sign == "gift":
        return (
            f"{share:.0%} of these customers had a credit, discount or refund within a "
            f"day, against {usual:.0%} beside peers' top scores"
        )
    return (
        f"after trouble {n - k:.0f} of {n:.0f} answers were top scores, where the "
        f"peers' odds would give {n - e:.0f}"
    )


def _evidence(row: Row, fast_s: float) -> tuple[Evidence, ...]:
    answers = max(row.value("trials"), 1.0)
    out = [
        Evidence(
            name="top scores",
            value=row.value("observed") / answers,
            unit="share of answers",
        ),
        Evidence(
            name="the same at peers",
            value=row.value("expected") / answers,
            unit="share of answers",
        ),
        *_ratio(row, "ratio", "odds of a top score against peers"),
    ]
    names = {
        "fast": f"odds of an answer within {fast_s:g} s, among top scores",
        "device": "odds of a shared device or address, among top scores",
        "trouble": "odds of a lower score after trouble",
        "gift": "odds of a credit or discount, among top scores",
        "gathered": "odds of a lower score where an answer was fast, from a shared "
        "device or beside a credit, against the agent's other answers",
        "rare": "odds of a lower score on a shared device or beside a credit alone, "
        "likewise",
    }
    for sign in (*SIGNS, "gathered", "rare"):
        if f"{sign}_p" not in row.outcome.extra:
            continue
        if np.isnan(row.value(f"{sign}_p")):
            out.append(Evidence(name=names[sign], text="too few to ask"))
        else:
            out += _ratio(row, f"{sign}_ratio", f"{names[sign]}, against peers")
    days = row.value("days")
    if np.isfinite(days):
        out.append(Evidence(name="days with answers", value=days, unit="days"))
    taken = collected(row)
    if taken > 0:
        out.append(
            Evidence(
                name="answers that the agent or a supervisor took down",
                value=taken,
                unit="share of answers",
                text=f"{taken:.0%}: such answers are no independent judgement and are "
                "compared with each other only",
            )
        )
    below = explain.mine(row, "answers", "top")
    if below[0] == below[1]:
        out.append(Evidence(name="variance", text="no answer below the top score"))
    return tuple(out)


def _ratio(row: Row, field: str, name: str) -> list[Evidence]:
    value, low, high = (row.value(f"{field}{end}") for end in ("", "_low", "_high"))
    if np.isnan(value):
        return []
    return [
        Evidence(
            name=name,
            value=value,
            unit="ratio",
            text=f"95% interval {_times(low)} to {_times(high)}",
        )
    ]


def _times(value: float) -> str:
    return f"{value:.1f}" if value >= 1.0 else f"{value:.2g}"


def _restated(row: Row) -> Restated:
    """Give the score with the excess top scores at the peers' mean below the top."""
    answers, milli = explain.mine(row, "answers", "milli")
    below, best = explain.peers_below_top(row).tolist()
    mixed = bool(row.found.get("mixed_scales"))
    if mixed or np.isnan(below):
        reported, step, unit = row.value("observed") / max(answers, 1.0), 1.0, "share"
        assumption = (
            "Top-box share. Top scores beyond the peers' share would have been lower "
            "scores."
        )
    else:
        reported, step, unit = (
            milli / max(answers, 1.0) / 1000.0,
            best - below,
            "points",
        )
        assumption = (
            "Mean score. Top scores beyond the peers' share would have been the peers' "
            f"mean below the top, {below:.2f}."
        )
    low, mid, high = (
        reported - step * float(np.clip(x, 0.0, answers)) / max(answers, 1.0)
        for x in (row.value("high"), row.value("effect"), row.value("low"))
    )
    # What each of these customers would have given instead is a draw of its own; the
    # step between top and lower scores stands for how far such answers differ.
    drawn = float(np.clip(row.value("effect"), 0.0, answers))
    noise = 1.96 * step * float(np.sqrt(drawn)) / max(answers, 1.0)
    return Restated(
        kpi="csat",
        reported=reported,
        restated=mid,
        low=low - noise,
        high=min(high + noise, max(reported, mid)),
        unit=unit,
        assumption=assumption,
    )


def _rests_on(row: Row) -> tuple[RestsOn, ...]:
    columns = [
        ("surveys.agent_id", "subject"),
        ("surveys.score", "numerator"),
        ("surveys.score_max", "numerator"),
    ]
    told = explain.agreeing(row) or (SIGNS[max(int(row.value("sign")), 0)],)
    for sign in told:
        columns += [(column, "corroboration") for column in _COLUMNS[sign]]
    columns += [
        ("calls.queue", "stratum"),
        ("surveys.channel", "stratum"),
        ("surveys.administered_by", "stratum"),
    ]
    out: dict[str, RestsOn] = {}
    for column, role in columns:
        if row.data.has(column) and column not in out:
            out[column] = RestsOn(
                column=column, origin=row.data.origin(column), role=role
            )
    return tuple(out.values())


def _cap(row: Row, sign: str) -> Grade:
    if collected(row) >= 0.5 or row.found.get("levels", 3) <= 2:
        return "weak"
    told = [
        name
        for name in (explain.agreeing(row) or (sign,))
        if row.data.independent(_INDEPENDENT[name])
    ]
    if not told:
        return "weak"
    # Two signs from different columns stand by themselves; one could be a habit.
    return "strong" if len(told) > 1 else "moderate"
