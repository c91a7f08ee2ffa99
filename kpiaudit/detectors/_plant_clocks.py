"""Planting closures and stamps just before a deadline into counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors._plant import Rows, part, taken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import IntArray

BOUNCE = 0.5
"""Share of the tickets closed for the clock's sake that come back: assumed."""
LONG = 2 / 3
"""Share of the orders stamped for the clock's sake that wait among the longest."""
WAIT = 1.5
"""Wait of these orders, in multiples of the agent's usual one."""


def early_closure(
    summaries: Summaries, agents: Mapping[str, float], seed: int
) -> Summaries:
    """Close a share of the tickets that would be late just in time; half come back."""
    rng = np.random.default_rng([seed, 5])
    out = dict(summaries)
    for name in ("cells", "days"):
        if name in summaries:
            out[name] = _closed(Rows.of(summaries[name], agents, rng))
    return out


def _closed(rows: Rows) -> Summary:
    late = np.maximum(rows["open_late"] - rows["near"], 0)
    moved = rows.gamed(late)
    known = moved
    if rows.has("known", "due"):
        known = rows.drawn(moved, part(rows["known"], np.maximum(rows["due"], 1)))
        known = np.minimum(known, rows["known"] - rows["near_known"])
    bounced = rows.drawn(known, BOUNCE)
    sides = rows.has("side_known")
    if sides:  # of what they were before, which has to stay possible
        far = rows["known"] - rows["near_known"] - rows["side_known"]
        far_bounced = rows["bounced"] - rows["near_bounced"] - rows["side_bounced"]
        beside = np.minimum(known, rows["side_known"])
        gone = taken(rows, beside, rows["side_bounced"], rows["side_known"])
        lost = gone + taken(rows, known - beside, far_bounced, far)
    rows.add("just_after", -rows.drawn(moved, part(_or(rows, "just_after"), late)))
    rows.add("near", moved)
    rows.add("met", moved)
    rows.add("near_known", known)
    rows.add("near_bounced", bounced)
    rows.add("near_reopened", bounced)
    if sides:
        rows.add("bounced", bounced - lost)
        rows.add("side_known", -beside)
        rows.add("side_bounced", -gone)
    return rows.done()


def _or(rows: Rows, name: str) -> IntArray:
    return rows[name] if rows.has(name) else np.zeros(len(rows.at), dtype=np.int64)


def premature_ready(
    summaries: Summaries, agents: Mapping[str, float], seed: int
) -> Summaries:
    """Stamp a share of the orders that would be late just in time; they wait longer."""
    rng = np.random.default_rng([seed, 6])
    out = dict(summaries)
    for name in ("cells", "days"):
        if name in summaries:
            out[name] = _stamped(Rows.of(summaries[name], agents, rng))
    return out


def _stamped(rows: Rows) -> Summary:
    late = np.maximum(rows["open_late"] - rows["near"], 0)
    moved = rows.gamed(late)
    known = moved
    if rows.has("known", "orders"):
        known = rows.drawn(moved, part(rows["known"], np.maximum(rows["orders"], 1)))
        known = np.minimum(known, rows["known"] - rows["near_known"])
    long = rows.drawn(known, LONG)
    after = rows.drawn(moved, part(_or(rows, "just_after"), late))
    rows.add("just_after", -after)
    if rows.has("long", "far_wait_ms"):
        _waits(rows, known, long)
    rows.add("near", moved)
    rows.add("met", moved)
    rows.add("near_known", known)
    rows.add("near_long", long)
    return rows.done()


def _waits(rows: Rows, known: IntArray, long: IntArray) -> None:
    """Give the moved orders long waits, and take their old ones away."""
    far = np.maximum(rows["known"] - rows["near_known"], 1)
    before = taken(rows, known, rows["long"] - rows["near_long"], far)
    rows.add("long", long - before)
    wait = rows["far_wait_ms"] / far
    rows.add("near_wait_ms", np.round(WAIT * wait * known).astype(np.int64))
    rows.add("far_wait_ms", -np.round(wait * known).astype(np.int64))
