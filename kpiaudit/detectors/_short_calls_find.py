"""What is taken out before anybody is compared: outages and silent numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy as sp

from kpiaudit.detectors._short_calls_count import BLOCKS_MS
from kpiaudit.detectors._short_calls_explain import spells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.detectors.base import Found, Summaries, Summary

SILENT_SHARE = 0.8
"""A number most of whose calls are over at once has nobody speaking at its end."""
SILENT_AGENTS = 3
"""It reaches several agents; a feud with one agent is not this explanation."""
_SHARED_SHARE = 0.005
"""A number behind one call in two hundred stands for many callers."""
_SHARED_CALLS = 500
_OUTAGE_TIMES = 5.0
_FALSE_BLOCKS = 0.01
_MOST_OUTAGES = 200


def read(summaries: Summaries) -> dict[str, Any]:
    """Say which blocks are outages, and which numbers are silent or shared."""
    if "whole" not in summaries or not len(summaries["whole"]):
        return {}
    whole = summaries["whole"]
    calls, short = int(whole.ints("calls")[0]), int(whole.ints("short")[0])
    span = int(whole.ints("last")[0] - whole.ints("first")[0])
    found: dict[str, Any] = {
        "outages": _outages(summaries, short / max(calls, 1), span)
    }
    if "numbers" in summaries:
        found |= _numbers(summaries["numbers"], calls)
    return found


def _outages(
    summaries: Summaries, base: float, span_ms: int
) -> list[tuple[str, str, int, int]]:
    out: set[tuple[str, str, int, int]] = set()
    names = sorted(name for name in summaries if name.startswith("blocks:"))
    for name in names:
        _, kind, number = name.split(":")
        length = BLOCKS_MS[int(number)]
        rows = summaries[name]
        if not len(rows):
            continue
        calls, short = rows.floats("calls"), rows.floats("short")
        # Every block of the period had its chance, in each look and at each place.
        looks = len(names) * max(span_ms / length, 1.0)
        looks *= 1.0 if not kind else 10.0
        tail = sp.special.bdtrc(
            short - 1.0, rows.ints("calls"), min(max(base, 1e-6), 0.5)
        )
        share = short / np.maximum(calls, 1.0)
        hit = (tail * looks < _FALSE_BLOCKS) & (
            share >= min(max(_OUTAGE_TIMES * base, 0.2), 0.8)
        )
        starts = rows.ints("start")
        order = np.flatnonzero(hit)
        order = order[np.argsort(tail[order], kind="stable")][:_MOST_OUTAGES]
        out |= {(kind, str(rows["place"][i]), int(starts[i]), length) for i in order}
    return sorted(out)


def _numbers(rows: Summary, calls: int) -> dict[str, Any]:
    ids, index = rows.coded("customer_id")
    n, k = rows.floats("calls"), rows.floats("short")
    mine, short = (np.bincount(index, x, minlength=len(ids)) for x in (n, k))
    hit = np.bincount(index, k > 0, minlength=len(ids))
    shared = (mine >= _SHARED_CALLS) & (mine >= _SHARED_SHARE * calls)
    # An id of so many calls may stand for everybody without a number, and one agent
    # who hangs up on these could make most of its calls short: others have to say so.
    top = np.zeros(len(ids))
    np.maximum.at(top, index, k)
    top = np.where(shared, top, 0.0)
    silent = (short - top >= SILENT_SHARE * (mine - top)) & (hit >= SILENT_AGENTS)
    silent &= short - top >= 1
    shared &= ~silent
    # A number that gets one agent only, over and over, is told of that agent.
    loyal = (short >= SILENT_SHARE * mine) & ~silent & ~shared
    single: dict[str, float] = {}
    for place in np.flatnonzero(loyal[index]):
        agent = str(rows["agent_id"][place])
        single[agent] = max(single.get(agent, 0.0), float(k[place]))
    return {
        "silent": [str(i) for i in ids[silent]],
        "silent_calls": int(short[silent].sum()),
        "shared": [str(i) for i in ids[shared]],
        "single": single,
    }


def _only_at(outages: Sequence[tuple[str, str, int, int]]) -> str:
    """Name the places of blocks that are not everybody's at the same time."""
    everywhere = [block for block in outages if not block[0]]
    where = sorted(
        {
            f"{kind} {place}"
            for kind, place, start, length in outages
            if kind
            and not any(
                at <= start and start + length <= at + long
                for _, _, at, long in everywhere
            )
        }
    )
    more = f" and {len(where) - 3} more" if len(where) > 3 else ""
    return f" (some at {', '.join(where[:3])}{more} only)" if where else ""


def unseen(found: Found, agents: int) -> tuple[str, ...]:
    """Say at which sites short calls can't be told, and how many agents are only there.

    Args:
        found: What was found before the counting.
        agents: Agents whose calls are all at such sites.
    """
    sites = found.get("coarse", ())
    if not sites:
        return ()
    more = f" and {len(sites) - 3} more" if len(sites) > 3 else ""
    named = ", ".join(site or "calls without a site" for site in sites[:3]) + more
    text = (
        f"Left out: {named}, where calls.talk_s is rounded to ten seconds or more, so "
        "that calls of a few seconds can't be told apart. Agents with no other calls: "
        f"{agents:,}."
    )
    return (text,)


def sentences(found: Found, *, max_talk_s: float) -> tuple[str, ...]:
    """Put into words what was taken out."""
    out = []
    outages = found.get("outages", ())
    if outages:
        times = spells(outages)
        minutes = sum(end - start for start, end in times) / 60_000
        many = "1 spell" if len(times) == 1 else f"{len(times)} spells"
        time = (
            f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
        )
        out.append(
            f"Taken out as outages: {many} of time, {time} in all, in which most "
            f"agents had calls under {max_talk_s:g} s at once{_only_at(outages)}."
        )
    silent = found.get("silent", ())
    if silent:
        numbers = "1 number" if len(silent) == 1 else f"{len(silent)} numbers"
        out.append(
            f"Taken out as silent callers: {numbers} with {found['silent_calls']} "
            "short calls to three agents or more and hardly "
            "any other call."
        )
    shared = found.get("shared", ())
    if shared:
        ids = "1 customer id stands" if len(shared) == 1 else f"{len(shared)} ids stand"
        out.append(
            f"{ids} for more calls than one customer makes; no redial is read from "
            f"{'it' if len(shared) == 1 else 'them'}."
        )
    return tuple(out)
