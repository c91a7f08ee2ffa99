"""A flagged agent or floor in sentences and figures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors import _short_calls_explain as explain
from kpiaudit.detectors import _short_calls_floor_words as floors
from kpiaudit.detectors.base import Account
from kpiaudit.findings import (
    Corroboration,
    Effect,
    Evidence,
    Histogram,
    Restated,
    RestsOn,
)

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Row
    from kpiaudit.findings import Grade
    from kpiaudit.stats.outcome import BoolArray

_BIN_S = 2
_SHORT_CALLS_FAIL = (
    "This does not count: it only says that short calls fail, whoever ends them."
)
_THIS_COUNTS = (
    "Of the two this is the one that counts; all queues together, while the other "
    "sources are held against the same queue and hour."
)
_EXTREME = 0.05
"""Agents with a smaller p-value are no peers when shares are compared in words."""


def agent(row: Row, *, max_talk_s: float, next_talk_s: float) -> Account:
    """Word one agent."""
    calls, short = row.value("trials"), row.value("observed")
    expected = row.value("expected")
    effect = Effect(
        name="excess short calls",
        value=row.value("effect"),
        low=row.value("low"),
        high=row.value("high"),
        unit="calls",
    )
    followed = "repeat_p" in row.outcome.extra
    return Account(
        headline=(
            f"Agent {row.id}: {short:.0f} of {calls:.0f} calls ({short / calls:.1%}) "
            f"were over in less than {max_talk_s:g} seconds, where peers on the same "
            f"queues would have had {expected:.0f}{_redial_clause(row)}."
        ),
        effect=effect,
        n=int(calls),
        observed=short,
        expected=expected,
        harm=float(np.clip(row.value("effect") / max(calls, 1.0), 0.0, 1.0)),
        evidence=(
            *_agent_evidence(row, max_talk_s, next_talk_s),
            *incentives.evidence(row, what="short calls"),
        ),
        explanations=explain.explanations(row),
        rests_on=(*_rests_on(row, followed=followed), *incentives.rests_on(row)),
        peers="Agents with calls on the same queues, each queue for itself; a "
        "customer's short calls soon after one another count once.",
        next_step=(
            f"Listen to twenty of the calls under {max_talk_s:g} seconds and to twenty "
            "of the agent's calls of 10 to 30 seconds, without knowing which is which; "
            "ask the telephony team for the release cause of the short ones."
        ),
        corroboration=_corroboration(row),
        restated=_restated(row),
        histogram=_histogram(row),
        grade_cap=_cap(row, followed=followed),
    )


def floor(row: Row, *, max_talk_s: float) -> Account:
    """Word the whole floor."""
    middle = row.value("median_share")
    calls = row.value("trials")
    known = row.value("short_known")
    many = int(row.value("many"))
    headline = (
        f"{many} of {row.value('agents'):.0f} agents: {middle:.1%} of the calls of the "
        f"median one among them are over in less than {max_talk_s:g} seconds beyond "
        f"what longer calls foretell, {row.value('effect'):.0f} calls in all. So many "
        "that they hide each other when agents are compared; who they are, is open."
        if many
        else f"The whole floor: at the median agent {middle:.1%} of calls are over in "
        f"less than {max_talk_s:g} seconds beyond what the longer calls foretell, "
        f"{row.value('effect'):.0f} calls in all. Peers can't be a yardstick here."
    )
    return Account(
        headline=headline,
        effect=Effect(
            name="excess short calls",
            value=row.value("effect"),
            low=row.value("low"),
            high=row.value("high"),
            unit="calls",
        ),
        n=int(calls),
        observed=row.value("observed"),
        expected=row.value("expected"),
        harm=float(np.clip(middle, 0.0, 1.0)),
        evidence=floors.evidence(row),
        explanations=explain.explanations(row),
        rests_on=_rests_on(row, followed=bool(known)),
        peers="No peers: the density of the floor's own longer calls, drawn out to 0.",
        next_step=(
            "Have the operator's record of lines that broke off compared with these "
            "calls, then listen to twenty of them from different agents."
        ),
        restated=replace(
            _restated(row),
            assumption="Short calls beyond what longer ones foretell were not handled; "
            "the ends are bounds (short calls that may be innocent).",
        ),
        histogram=_histogram(row),
        grade_cap="moderate" if known and not many else "weak",
    )


def _redial_clause(row: Row) -> str:
    known = row.outcome.extra.get("repeat_trials")
    if known is None or not known[row.index]:
        return ""
    share = row.value("repeat_observed") / row.value("repeat_trials")
    peers = row.value("repeat_expected") / row.value("repeat_trials")
    return (
        f"; {share:.0%} of those callers rang again at once, against {peers:.0%} after "
        "peers' short calls"
    )


def _agent_evidence(
    row: Row, max_talk_s: float, next_talk_s: float
) -> tuple[Evidence, ...]:
    calls = max(row.value("trials"), 1.0)
    out = [
        Evidence(
            name=f"calls under {max_talk_s:g} s",
            value=row.value("observed") / calls,
            unit="share of calls",
        ),
        Evidence(
            name="the same at peers", value=row.value("expected") / calls, unit="share"
        ),
        *_ratio(row, "", "odds of a short call against peers"),
        *_ratio(row, "brief_", f"calls under {next_talk_s:g} s, odds against peers"),
        *_ratio(row, "shape_", "short against next longer calls, odds against peers"),
    ]
    if "repeat_ratio" in row.outcome.extra:
        out += _ratio(
            row,
            "repeat_",
            "redial after short calls, odds against peers' short calls",
        )
        out += _redials(row)
    out += _ended(row)
    out += _days(row)
    return tuple(out)


def _ratio(row: Row, prefix: str, name: str) -> list[Evidence]:
    value, low, high = (
        row.value(f"{prefix}{part}") for part in ("ratio", "ratio_low", "ratio_high")
    )
    if np.isnan(value):
        return []
    return [
        Evidence(
            name=name,
            value=value,
            unit="ratio",
            text=f"95% interval {low:.1f} to {high:.1f}",
        )
    ]


def _redials(row: Row) -> list[Evidence]:
    """Return how often callers rang again, against both yardsticks; one counts."""
    counts = row.summaries["counts"]
    names = counts["agent_id"].astype(str)
    mine = names == row.id
    extreme = row.tested.ids[np.nan_to_num(row.outcome.p_value, nan=1.0) <= _EXTREME]
    peers = ~mine & ~np.isin(names, extreme.astype(str))

    def pair(kind: str, rows: BoolArray) -> tuple[float, float]:
        again, known = (
            float(counts.floats(f"{kind}_{part}")[rows].sum())
            for part in ("redialled", "known")
        )
        return again, known

    short = pair("short", mine)
    yardsticks = (
        (
            "the agent's own longer calls",
            pair("long", mine),
            _SHORT_CALLS_FAIL,
            "counts for nothing, since short calls fail whoever ends them",
        ),
        ("peers' short calls", pair("short", peers), _THIS_COUNTS, "this one counts"),
    )
    out = []
    for name, base, verdict, short_verdict in yardsticks:
        if not (short[0] and base[0]):
            continue
        ratio = short[0] / short[1] * base[1] / base[0]
        # Variance of a log ratio of shares: Katz & others (1978), Biometrics 34:469.
        spread = sum((1 - k / n) / k for k, n in (short, base))
        half = np.exp(1.96 * np.sqrt(spread))
        interval = f"95% interval {ratio / half:.1f} to {ratio * half:.1f}"
        out.append(
            Evidence(
                name=f"redial after short calls, times as often as after {name}",
                value=ratio,
                unit="ratio",
                text=f"{interval}; {short[0] / short[1]:.1%} of {short[1]:,.0f} "
                f"against {base[0] / base[1]:.1%} of {base[1]:,.0f}. {verdict}",
                plain=f"rang again {ratio:.1f} times as often as after {name} "
                f"({interval}): {short_verdict}",
            )
        )
    return out


def _ended(row: Row) -> list[Evidence]:
    if "ended_by" not in row.summaries:
        return []
    rows = row.summaries["ended_by"]
    mine = rows.same("agent_id", row.id)
    short = rows.floats("short")
    total = short[mine].sum()
    if total <= 0:
        return []
    parts = [
        f"{who} {short[mine & (rows['ended_by'].astype(str) == who)].sum() / total:.0%}"
        for who in sorted(set(rows["ended_by"][mine].astype(str)))
    ]
    return [
        Evidence(
            name="who ended the short calls",
            text=", ".join(parts) + ". What the column says clears nobody by itself.",
        )
    ]


def _days(row: Row) -> list[Evidence]:
    if "days" not in row.summaries:
        return []
    rows = row.summaries["days"]
    mine = rows.same("agent_id", row.id)
    short = np.sort(rows.floats("short")[mine])[::-1]
    total = short.sum()
    if total <= 0:
        return []
    top = short[:3].sum() / total
    head = "The finding rests on three days: " if top > 0.5 else ""
    return [
        Evidence(
            name="days with calls",
            value=float(len(short)),
            unit="days",
            text=f"{head}{top:.0%} of the short calls fell on the three busiest days.",
        )
    ]


def _corroboration(row: Row) -> tuple[Corroboration, ...]:
    watched = _monitored(row)
    return () if watched is None else (watched,)


def _monitored(row: Row) -> Corroboration | None:
    """Compare calls that somebody listened to with the agent's others."""
    if "monitored" not in row.summaries:
        return None
    rows = row.summaries["monitored"]
    mine = rows.same("agent_id", row.id)
    seen = rows["monitored"].astype(bool)
    calls, short = rows.floats("calls"), rows.floats("short")
    n1, k1 = calls[mine & seen].sum(), short[mine & seen].sum()
    n0, k0 = calls[mine & ~seen].sum(), short[mine & ~seen].sum()
    if n1 < 20 or n0 < 20:
        return None
    rate1, rate0 = k1 / n1, k0 / n0
    sd = np.sqrt((rate1 * (1 - rate1) + 0.25 / n1) / n1 + rate0 * (1 - rate0) / n0)
    gap = rate0 - rate1
    return Corroboration(
        source="calls.monitored: short calls while nobody listened, less while watched",
        verdict="supports" if gap > 2 * sd else "silent",
        effect=Effect(
            name="difference of shares",
            value=gap,
            low=gap - 1.96 * sd,
            high=gap + 1.96 * sd,
            unit="share of calls",
        ),
        detail=f"{k1:.0f} of {n1:.0f} calls while watched, {k0:.0f} of {n0:.0f} "
        "otherwise.",
    )


def _restated(row: Row) -> Restated:
    calls = row.value("trials")
    return Restated(
        kpi="calls_handled",
        reported=calls,
        restated=calls - max(row.value("effect"), 0.0),
        low=calls - max(row.value("high"), 0.0),
        high=calls - max(row.value("low"), 0.0),
        unit="calls",
        assumption="Short calls beyond what the yardstick gives were not handled.",
    )


def _histogram(row: Row) -> Histogram:
    rows = row.summaries["density"]
    chosen = (
        rows.same("agent_id", row.id)
        if row.kind == "agent"
        else np.ones(len(rows), dtype=np.bool_)
    )
    counts = np.bincount(
        rows.ints("second")[chosen] // _BIN_S,
        weights=rows.floats("calls")[chosen],
        minlength=30,
    )
    return Histogram(
        start=0.0, width=float(_BIN_S), counts=tuple(counts[:30].tolist()), mark=10.0
    )


def _rests_on(row: Row, *, followed: bool) -> tuple[RestsOn, ...]:
    columns = [("agent_id", "subject"), ("talk_s", "numerator")]
    if followed:
        columns += [("customer_id", "numerator"), ("started_at", "numerator")]
    columns += [
        ("queue", "stratum"),
        ("station", "explanation"),
        ("trunk", "explanation"),
    ]
    return tuple(
        RestsOn(
            column=f"calls.{column}",
            origin=row.data.origin(f"calls.{column}"),
            role=role,
        )
        for column, role in columns
        if row.data.has(f"calls.{column}")
    )


def _cap(row: Row, *, followed: bool) -> Grade:
    if not followed:
        return "weak"
    # Only what the customer did afterwards sets a habit apart from hanging up.
    return "strong" if row.value("repeat_p") <= 0.05 else "moderate"
