"""Innocent explanations of short calls, each held against the columns that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors._places import (
    beside_others,
    place,
    shares_elsewhere,
    standing_out,
)
from kpiaudit.detectors.base import Explain
from kpiaudit.findings import Explanation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpiaudit.detectors._places import Place
    from kpiaudit.detectors.base import Row

EQUIPMENT = "Dropped lines that follow the equipment"
SILENT = "Wrong numbers and silent callers"
REPEATER = "One number calling again and again"
AWAY = "Calls answered automatically while the agent is away"
OUTAGE = "An outage"
WHEN = ("calls.started_at", "calls.ended_at")
"""Columns of which either one dates a call."""

EXPLANATIONS = (
    Explain(
        text=EQUIPMENT,
        either=(
            "calls.station",
            "calls.trunk",
        ),
        asks="Do colleagues have short calls on the same station or trunk, and "
        "the agent elsewhere as well? For the floor: do the same agents have them on "
        "some trunks only, which don't have queues of their own? Bad minutes are those "
        "of an outage, below.",
        then="The finding is withdrawn.",
    ),
    Explain(
        text=SILENT,
        columns=("calls.customer_id",),
        asks="Are these customers' calls followed by another one at once, more "
        "than peers' short calls are?",
        then="Open: silent callers don't ring again as a rule.",
    ),
    Explain(
        text=REPEATER,
        columns=("calls.customer_id",),
        either=WHEN,
        asks="Which numbers call again and again, whoever answers?",
        then="Their calls are taken out of every count before the test, and "
        "short calls of one customer within half an hour count once. A number that "
        "reaches one agent only and makes most of the short calls stays, and takes one "
        "grade off.",
    ),
    Explain(
        text=AWAY,
        either=WHEN,
        asks="Do the short calls come in bursts, with hardly another call "
        "between? Rests on calls.talk_s, which agents steer, so that it is "
        "never ruled out.",
        then="Open: the share in bursts is told, and listening to them settles it.",
    ),
    Explain(
        text=OUTAGE,
        either=WHEN,
        asks="In which blocks of time have most agents short calls at once?",
        then="These blocks are taken out of every count before the test.",
    ),
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
        return _line(row)
    given = [
        (
            column,
            place(
                row.summaries[column], column, row.id, events="short", trials="calls"
            ),
        )
        for column in ("station", "trunk")
        if column in row.summaries and row.data.has(f"calls.{column}")
    ]
    parts = [(column, p) for column, p in given if p is not None]
    if not parts:
        return _uncheckable(EQUIPMENT, "calls.station", "calls.trunk")
    detail = "; ".join(_place_words(column, p) for column, p in parts)
    holding = [f"calls.{column}" for column, p in parts if p.explains]
    if holding:
        # One column that is nobody's own is enough, whatever the other one says.
        own = [name for name in holding if row.data.independent(name)]
        return Explanation(
            text=EQUIPMENT,
            status="open",
            detail=detail,
            holds=True,
            rests_on=tuple(own or holding),
        )
    sure = [
        column
        for column, p in parts
        if p.refuted and row.data.independent(f"calls.{column}")
    ]
    if "station" in sure or (sure and "station" not in dict(parts)):
        return Explanation(text=EQUIPMENT, status="ruled_out", detail=detail)
    return Explanation(text=EQUIPMENT, status="open", detail=detail)


def _line(row: Row) -> Explanation:
    """Ask whether the whole floor's short calls come in on some trunks only."""
    detail = (
        "On the whole floor a bad line can't be told from a habit of everybody's; ask "
        "for the operator's record of dropped calls."
    )
    if "trunk" not in row.summaries or not row.data.has("calls.trunk"):
        return Explanation(text=EQUIPMENT, status="open", detail=detail)
    rows = row.summaries["trunk"]
    bad = seen = standing_out(rows, "trunk", events="short", trials="calls")
    if seen and "lines" in row.summaries:
        lines = row.summaries["lines"]
        bad = beside_others(lines, "trunk", seen, events="short", trials="calls")
    rest = shares_elsewhere(rows, "trunk", bad, events="short", trials="calls")
    if not bad or not len(rest):
        why = "No trunk stands out among the same agents' calls (calls.trunk)"
        if seen and not bad:
            why = (
                f"{', '.join(seen[:3])} stand out (calls.trunk), but hardly beside "
                "other trunks of the same queues (calls.queue): it may be the queue, "
                "and what everybody does there"
            )
        return Explanation(text=EQUIPMENT, status="open", detail=f"{detail} {why}.")
    there = np.isin(rows["trunk"].astype(str), bad)
    short, calls = rows.floats("short")[there].sum(), rows.floats("calls")[there].sum()
    left = float(np.median(rest)) - row.value("extrapolated_share")
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    return Explanation(
        text=EQUIPMENT,
        status="open",
        detail=f"calls.trunk: on {', '.join(bad[:3])}{more} {short:.0f} of {calls:.0f} "
        "calls were short, far more than among the same agents' calls on others; "
        f"without these the median agent has {max(left, 0.0):.1%} beyond what the "
        "longer calls foretell",
        holds=not row.value("many") and left <= row.value("min_share"),
        rests_on=("calls.trunk",),
    )


def _place_words(column: str, p: Place) -> str:
    words = (
        f"calls.{column}: {p.here[0]:.0f} of the agent's {p.here[1]:.0f} calls at "
        f"{p.name} were short, {p.elsewhere[0]:.0f} of {p.elsewhere[1]:.0f} elsewhere; "
        f"others had {p.others[0]:.0f} of {p.others[1]:.0f} there, where "
        f"{p.usual:.1f} would be usual for them"
    )
    if p.explains or p.refuted:
        return words
    return f"{words}; too little shared use to tell the place from the agent"


def _silent(row: Row) -> Explanation:
    if not row.data.has("calls.customer_id"):
        return _uncheckable(SILENT, "calls.customer_id")
    if row.kind == "agent" and "repeat_trials" not in row.outcome.extra:
        return _uncheckable(SILENT, *WHEN)
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
        return _uncheckable(REPEATER, *WHEN)
    shared, (short, known) = len(row.found.get("shared", ())), _short_and_known(row)
    if shared and known < short / 2:
        ids = "an id" if shared == 1 else f"{shared} ids"
        return Explanation(
            text=REPEATER,
            status="open",
            detail=f"calls.customer_id: of {short:.0f} short calls {short - known:.0f} "
            f"have no caller who is known; {ids} with so many calls that no customer "
            "makes them may be one number that calls by itself: look at it first",
        )
    one, every = row.found.get("single", {}).get(row.id, 0.0), _every_short(row)
    if row.kind == "agent" and one >= _ONE_NUMBER * every > 0:
        return Explanation(
            text=REPEATER,
            status="open",
            detail=f"calls.customer_id: {one:.0f} of {every:.0f} short calls came from "
            "one number, hardly any of whose calls lasts; it reaches this agent and "
            "hardly anybody else, so that the number or the agent may be behind it: "
            "look at it first",
            holds=True,
            # Whoever wrote the length down: who ended these calls isn't known, and
            # without a column that nobody steers nothing is withdrawn.
            rests_on=() if row.data.independent("calls.talk_s") else ("calls.talk_s",),
        )
    count = len(row.found.get("silent", ()))
    numbers = "1 number that calls" if count == 1 else f"{count} numbers that call"
    return Explanation(
        text=REPEATER,
        status="ruled_out" if row.data.independent("calls.customer_id") else "open",
        detail=f"calls.customer_id: {numbers} again and again taken out before the "
        "test, and short calls of one customer within half an hour count once",
    )


_ONE_NUMBER = 0.5
"""Share of an agent's short calls from which one number makes most of them."""


def _every_short(row: Row) -> float:
    """Count an agent's short calls, those of one episode each for itself."""
    if "bursts" not in row.summaries:
        return 0.0
    rows = row.summaries["bursts"]
    return float(rows.floats("short")[rows.same("agent_id", row.id)].sum())


def _short_and_known(row: Row) -> tuple[float, float]:
    counts = row.summaries["counts"]
    if row.kind == "agent":
        counts = counts.where(counts.same("agent_id", row.id))
    return float(counts.total("short")), float(counts.total("short_known"))


def _away(row: Row) -> Explanation:
    if "bursts" not in row.summaries:
        return _uncheckable(AWAY, *WHEN)
    rows = row.summaries["bursts"]
    mine = (
        rows.same("agent_id", row.id)
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
        return _uncheckable(OUTAGE, *WHEN)
    count = len(spells(row.found.get("outages", ())))
    times = "1 spell" if count == 1 else f"{count} spells"
    return Explanation(
        text=OUTAGE,
        status="ruled_out" if row.data.independent("calls.started_at") else "open",
        detail=f"{_when(row)}: {times} of time in which most agents had short "
        "calls at once taken out before the comparison",
    )


def spells(outages: Iterable[tuple[str, str, int, int]]) -> list[tuple[int, int]]:
    """Join blocks that touch or overlap, wherever they are, into spells of time."""
    out: list[tuple[int, int]] = []
    for start, length in sorted((start, length) for _, _, start, length in outages):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], start + length))
        else:
            out.append((start, start + length))
    return out


def _when(row: Row) -> str:
    """Return the column that dates the calls."""
    given = row.data.has("calls.started_at")
    return "calls.started_at" if given else "calls.ended_at"


def _uncheckable(text: str, *columns: str) -> Explanation:
    return Explanation(
        text=text, status="uncheckable", detail=f"no column {' or '.join(columns)}"
    )
