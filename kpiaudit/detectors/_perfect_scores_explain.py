"""Innocent explanations of many top scores, each held against its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors import _perfect_scores_questions as questions
from kpiaudit.detectors.base import Explain
from kpiaudit.findings import Explanation

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Row
    from kpiaudit.stats.outcome import FloatArray

EXCELLENT = "A truly excellent agent"
QUEUE = "An easy queue or channel"
FEW = "Few answers"
ANNOUNCED = "Customers who are asked to answer at once, whatever they will say"
SHARED = "A kiosk, or one customer's network or household"
GENEROUS = "Credits and discounts given whatever the answer"

EXPLANATIONS = (
    Explain(
        text=EXCELLENT,
        either=(
            "surveys.responded_at",
            "surveys.device",
        ),
        asks="Is there a sign by itself that good service doesn't bring: answers "
        "at once, or one device, against peers' top scores? Trouble after "
        "rated contacts is told as well.",
        then="Open: high scores without a second sign are no finding.",
    ),
    Explain(
        text=QUEUE,
        columns=(
            "calls.queue",
            "surveys.call_id",
        ),
        asks="Are scores as high in the same queue and channel at others?",
        then="Compared within queue and channel.",
    ),
    Explain(
        text=FEW,
        asks="Is the interval of the excess above nil? Rests on surveys.score.",
        then="Open; a test that needs more answers doesn't report.",
    ),
    Explain(
        text=ANNOUNCED,
        columns=("surveys.responded_at",),
        asks="Do the agent's lower scores come at once as well?",
        then="The finding is withdrawn, if no other sign stands by itself.",
    ),
    Explain(
        text=SHARED,
        either=(
            "surveys.device",
            "surveys.address",
        ),
        asks="Does a device or address serve several customers of this agent, "
        "but mostly not other agents'?",
        then="Places that serve mostly others' customers are taken out of every "
        "count before the test; whose device it is stays open.",
    ),
    Explain(
        text=GENEROUS,
        columns=("outcomes.kind",),
        asks="Do credits follow the agent's lower scores as well?",
        then="The finding is withdrawn, if no other sign stands by itself.",
    ),
)

_GIFTS_NEED = (
    *("outcomes.kind", "outcomes.customer_id", "outcomes.at"),
    *("surveys.customer_id", "surveys.responded_at"),
)
_CLUSTERED = 2.0
_TEN_TO_ONE = float(np.log(10.0))
_LEAST = 5.0


def mine(row: Row, *names: str) -> tuple[float, ...]:
    """Return the agent's totals of some counts."""
    counts = row.summaries["counts"]
    rows = counts.same("agent_id", row.id)
    return tuple(float(counts.floats(name)[rows].sum()) for name in names)


def others(row: Row, *names: str) -> tuple[float, ...]:
    """Return everybody else's totals of some counts."""
    counts = row.summaries["counts"]
    rows = ~counts.same("agent_id", row.id)
    return tuple(float(counts.floats(name)[rows].sum()) for name in names)


def agreeing(row: Row) -> tuple[str, ...]:
    """Return the signs that stand out by themselves, the most telling first."""
    asked = max(row.value("asked"), 1.0)
    p = {
        name: row.value(f"{name}_p")
        for name in questions.SIGNS
        if f"{name}_p" in row.outcome.extra
    }
    told = [name for name, value in p.items() if value * asked <= 0.05]
    return tuple(sorted(told, key=lambda name: (p[name], questions.SIGNS.index(name))))


def explanations(row: Row) -> tuple[Explanation, ...]:
    """Return every innocent explanation with its status; those that hold are marked."""
    alike = {
        "fast": _alike(row, "fast", "fast_other", "timed_other"),
        "gift": _alike(row, "gift", "gift_other", "followed_other"),
    }
    told = set(agreeing(row)) or {questions.SIGNS[max(int(row.value("sign")), 0)]}
    # An explanation of one sign explains nothing where another sign stands by itself.
    upheld = {name for name, odds in alike.items() if odds > _TEN_TO_ONE}
    upheld = upheld if told and told <= upheld else set()
    return (
        _excellent(row, alike),
        _queue(row),
        _few(row),
        _announced(row, alike["fast"], holds="fast" in upheld & told),
        _shared(row),
        _generous(row, alike["gift"], holds="gift" in upheld & told),
    )


def _alike(row: Row, sign: str, events: str, trials: str) -> float:
    """Return log odds that lower scores show a sign as the agent's top scores do.

    Against: that they show it as peers' top scores do.
    """
    k, n = mine(row, events, trials)
    if f"{sign}_p" not in row.outcome.extra or n < _LEAST:
        return 0.0
    top, peers = (
        np.clip(
            row.value(f"{sign}_{part}") / max(row.value(f"{sign}_trials"), 1.0),
            0.005,
            0.995,
        )
        for part in ("observed", "expected")
    )
    if top <= peers:
        return 0.0
    odds = k * np.log(top / peers) + (n - k) * np.log((1 - top) / (1 - peers))
    return float(odds / _CLUSTERED)


def _excellent(row: Row, alike: dict[str, float]) -> Explanation:
    told = agreeing(row)
    parts = []
    troubled, asked = mine(row, "troubled", "asked")
    theirs = others(row, "troubled", "asked")
    if asked and theirs[1]:
        parts.append(
            f"{troubled / asked:.1%} of the agent's rated contacts were followed or "
            f"marked by trouble, {theirs[0] / theirs[1]:.1%} at the others"
        )
    columns = {
        "fast": ("surveys.responded_at",),
        "device": ("surveys.device",),
    }
    sure = [
        name
        for name in told
        if name in columns
        and alike.get(name, 0.0) < 0.0 + (np.inf if name == "device" else 0.0)
        and all(row.data.independent(column) for column in columns[name])
    ]
    if sure:
        on = ", ".join(column for name in sure for column in columns[name])
        parts.append(
            f"{on}: good service doesn't decide when, or on which device, a customer "
            "answers, and the comparison is with peers' top scores"
        )
    elif told:
        parts.append(
            "the second sign rests on columns that the agent can steer, or too few "
            "lower scores can be compared"
        )
    return Explanation(
        text=EXCELLENT,
        status="ruled_out" if sure else "open",
        detail="; ".join(parts),
    )


def _queue(row: Row) -> Explanation:
    if not row.data.has("surveys.call_id", "calls.queue"):
        return _uncheckable(QUEUE, "calls.queue (joined by surveys.call_id)")
    sure = row.data.independent("calls.queue")
    return Explanation(
        text=QUEUE,
        status="ruled_out" if sure else "open",
        detail="calls.queue: every agent is compared with those who were rated in the "
        "same queues and channels",
    )


def _few(row: Row) -> Explanation:
    n, days = row.value("trials"), row.value("days")
    on = "" if np.isnan(days) else f" on {days:.0f} days"
    sure = row.value("low") > 0.0 and row.data.independent("surveys.score")
    return Explanation(
        text=FEW,
        status="ruled_out" if sure else "open",
        detail=f"surveys.score: {n:.0f} answers{on}; 95 % interval of the excess "
        f"{row.value('low'):.0f} to {row.value('high'):.0f}",
    )


def _announced(row: Row, odds: float, *, holds: bool) -> Explanation:
    if not row.data.has("surveys.responded_at") or "fast_p" not in row.outcome.extra:
        return _uncheckable(ANNOUNCED, "surveys.responded_at or surveys.sent_at")
    fast, timed = mine(row, "fast_other", "timed_other")
    top, all_top = row.value("fast_observed"), row.value("fast_trials")
    clear = odds < -_TEN_TO_ONE and row.data.independent("surveys.responded_at")
    return Explanation(
        text=ANNOUNCED,
        status="ruled_out" if clear else "open",
        detail=f"surveys.responded_at: {top:.0f} of {all_top:.0f} top scores came at "
        f"once, and {fast:.0f} of {timed:.0f} lower ones",
        holds=holds,
        rests_on=("surveys.responded_at", "surveys.score"),
    )


def _shared(row: Row) -> Explanation:
    if "device_p" not in row.outcome.extra:
        return _uncheckable(SHARED, "surveys.device or surveys.address")
    owned, placed = mine(row, "owned_top", "placed_top")
    return Explanation(
        text=SHARED,
        status="open",
        detail=f"surveys.device, surveys.address: {owned:.0f} of {placed:.0f} top "
        "scores came from where several customers of this agent answered; places that "
        "serve mostly other agents' customers were not counted, but the tables don't "
        "say whose device it is",
    )


def _generous(row: Row, odds: float, *, holds: bool) -> Explanation:
    if "gift_p" not in row.outcome.extra:
        lacking = row.data.missing(_GIFTS_NEED)
        if lacking:
            return _uncheckable(GENEROUS, ", ".join(lacking))
        return Explanation(
            text=GENEROUS,
            status="open",
            detail="too few answers of known customers at known times to compare with "
            "their credits (outcomes.kind)",
        )
    gift, n = mine(row, "gift_other", "followed_other")
    top, all_top = row.value("gift_observed"), row.value("gift_trials")
    clear = odds < -_TEN_TO_ONE and row.data.independent("outcomes.kind")
    return Explanation(
        text=GENEROUS,
        status="ruled_out" if clear else "open",
        detail=f"outcomes.kind: a credit, discount or refund beside {top:.0f} of "
        f"{all_top:.0f} top scores, and beside {gift:.0f} of {n:.0f} lower ones",
        holds=holds,
        rests_on=("outcomes.kind", "surveys.score"),
    )


def _uncheckable(text: str, column: str) -> Explanation:
    return Explanation(text=text, status="uncheckable", detail=f"no column {column}")


def peers_below_top(row: Row) -> FloatArray:
    """Return others' mean score below the top, and the agent's mean of top scores."""
    answers, top, milli, top_milli = others(row, "answers", "top", "milli", "top_milli")
    own_top, own_milli = mine(row, "top", "top_milli")
    below = (milli - top_milli) / max(answers - top, 1.0) / 1000.0
    best = own_milli / max(own_top, 1.0) / 1000.0
    return np.array([below if answers > top else np.nan, best])
