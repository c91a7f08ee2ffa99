"""Planting hang-ups and calls cut at a cap into counts of calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors._plant import Rows, part, rate
from kpiaudit.detectors.base import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Summaries
    from kpiaudit.stats.outcome import IntArray

RING_AGAIN = 0.5
"""Share of the callers who are got rid of and call again soon, taken for granted: of
four months of a bank's short calls, about half were followed by another at the servers
with many of them."""


def short_calls(
    summaries: Summaries, agents: Mapping[str, float], seed: int
) -> Summaries:
    """End a share of an agent's calls at once; half of the callers ring again."""
    rng = np.random.default_rng([seed, 1])
    out = dict(summaries)
    usual = summaries["counts"]
    again = max(
        RING_AGAIN, rate(usual.ints("short_redialled"), usual.ints("short_known"))
    )
    for name in ("counts", "days"):
        if name in summaries:
            out[name] = _hung_up(Rows.of(summaries[name], agents, rng), again)
    if "density" in summaries:
        out["density"] = _denser(Rows.of(summaries["density"], agents, rng))
    return out


def _hung_up(rows: Rows, again: float) -> Summary:
    rest = rows["calls"] - rows["short"] - rows["next"]
    known = part(rows["short_known"] + rows["long_known"], rows["calls"])
    from_next, from_rest = rows.gamed(rows["next"]), rows.gamed(rest)
    cut = from_next + from_rest
    told = rows.drawn(cut, known)
    moved = np.minimum(told, rows["long_known"])
    redialled = part(rows["long_redialled"], rows["long_known"])
    rows.add("short", cut)
    rows.add("next", -from_next)
    rows.add("short_known", moved)
    rows.add("short_redialled", rows.drawn(moved, again))
    rows.add("long_redialled", -rows.drawn(moved, redialled))
    rows.add("long_known", -moved)
    return rows.done()


def _denser(rows: Rows) -> Summary:
    """Take cut calls out of those of 10 to 59 seconds; none reads the shorter ones."""
    longer = rows["second"] >= 10
    rows.add("calls", -np.where(longer, rows.gamed(rows["calls"]), 0))
    return rows.done()


def duration_cap(
    summaries: Summaries, agents: Mapping[str, float], seed: int
) -> Summaries:
    """End a share of the calls that pass a cap just before it, at every cutoff."""
    rng = np.random.default_rng([seed, 2])
    out = dict(summaries)
    around = summaries["agents"]
    rows = Rows.of(around, agents, rng)
    cut = _past_cap(rows, summaries["totals"], agents, rng)
    out["agents"] = rows.done()
    if "days" in summaries:
        days = Rows.of(summaries["days"], agents, rng)
        more = _spread(days, cut, rng)
        days.add("near", more)
        days.add("trials", more)
        out["days"] = days.done()
    if "repeats" in summaries:
        out["repeats"] = _again(Rows.of(summaries["repeats"], agents, rng), cut)
    out["moved"] = _moved(cut)
    return out


def _moved(cut: _Cut) -> Summary:
    return Summary(
        columns={
            "cap_s": np.array([cap for cap, _ in cut], dtype=np.int64),
            "agent_id": np.array([agent for _, agent in cut], dtype=object),
            "calls": np.array(list(cut.values()), dtype=np.int64),
        }
    )


_Cut = dict[tuple[int, str], int]


def _past_cap(
    rows: Rows, totals: Summary, agents: Mapping[str, float], rng: np.random.Generator
) -> _Cut:
    """Move calls in the rows around the cutoff; return how many per cap and agent."""
    all_past = {
        (int(cap), agent): int(past)
        for agent in sorted(agents)
        for own in (totals.having("agent_id", agent),)
        for cap, past in zip(own.ints("cap_s"), own.ints("past"), strict=True)
    }
    later = rows["period"] == 1
    over = np.where(later, rows.gamed(rows["over"]), 0)
    beyond = np.where(later, rows.gamed(rows["beyond"]), 0)
    seen = np.where(later, rows["over"] + rows["beyond"], 0)
    who = [
        (int(c), str(a))
        for c, a in zip(
            rows.summary.ints("cap_s")[rows.at],
            rows.who,
            strict=True,
        )
    ]
    here: dict[tuple[int, str], int] = {}
    for key, some in zip(who, seen, strict=True):
        here[key] = here.get(key, 0) + int(some)
    # Calls that pass the cap by far are not in the rows around it.
    farther = np.array(
        [
            max(all_past.get(key, 0) - here[key], 0) * some / max(here[key], 1)
            for key, some in zip(who, seen, strict=True)
        ]
    )
    far = rows.gamed(np.round(farther).astype(np.int64))
    cut = over + beyond + far
    rows.add("near", cut)
    rows.add("over", -over)
    rows.add("beyond", -beyond)
    out: _Cut = {}
    for key, some in zip(who, cut, strict=True):
        out[key] = out.get(key, 0) + int(some)
    return out


def _spread(rows: Rows, cut: _Cut, rng: np.random.Generator) -> IntArray:
    """Lay each agent's moved calls on that agent's days, by how busy these were."""
    more = np.zeros(len(rows.at), dtype=np.int64)
    cap = rows.summary.ints("cap_s")[rows.at]
    who = rows.who
    for (cap_s, agent), number in cut.items():
        mine = np.flatnonzero((cap == cap_s) & (who == agent))
        weight = rows["trials"][mine].astype(np.float64)
        if len(mine) and weight.sum() > 0:
            more[mine] = rng.multinomial(number, weight / weight.sum())
    return more


def _again(rows: Rows, cut: _Cut) -> Summary:
    cap = rows.summary.ints("cap_s")[rows.at]
    who = rows.who
    known = rows["near"] + rows["rest"]
    more = np.zeros(len(rows.at), dtype=np.int64)
    for (cap_s, agent), number in cut.items():
        mine = np.flatnonzero((cap == cap_s) & (who == agent))
        weight = known[mine].astype(np.float64)
        if len(mine) and weight.sum() > 0:
            more[mine] = rows.rng.multinomial(number, weight / weight.sum())
    usual = rate(rows.summary.ints("rest_again"), rows.summary.ints("rest"))
    gone = np.minimum(more, rows["rest"])
    rows.add("rest_again", -rows.drawn(gone, part(rows["rest_again"], rows["rest"])))
    rows.add("rest", -gone)
    rows.add("near", more)
    rows.add("near_again", rows.drawn(more, max(RING_AGAIN, usual)))
    return rows.done()
