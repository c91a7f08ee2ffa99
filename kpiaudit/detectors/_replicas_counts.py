"""Honest calls at a cap, invitations and answers, drawn anew for the placebo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors._replicas import Habit, Redrawn, within_margins
from kpiaudit.detectors.base import Summary
from kpiaudit.stats import peers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Summaries
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome


def calls_at_cap(
    summaries: Summaries,
    cap_s: int,
    near: Outcome,
    dispersion: FloatArray | None,
    rng: np.random.Generator,
) -> dict[str, Summary]:
    """Draw who ends calls just below a cutoff, and whose customers call again.

    Args:
        summaries: What `summarize` gave.
        cap_s: The cutoff.
        near: What was fitted to the comparison with peers.
        dispersion: Of days, per agent; None where there are no days.
        rng: Random numbers.

    Returns:
        The rows of this cutoff, by summary.
    """
    phi = 1.0 if dispersion is None else float(np.median(dispersion))
    mine = {
        name: summaries[name].where(summaries[name].ints("cap_s") == cap_s)
        for name in ("agents", "days", "repeats")
        if name in summaries
    }
    out = dict(mine)
    rows = mine["agents"]
    later = rows.ints("period") == 1
    names = np.unique(rows["agent_id"].astype(str))
    trials = (rows.ints("below") + rows.ints("near") + rows.ints("over")) * later
    drawn = Redrawn(cells=rows, days=mine.get("days"), names=names, rng=rng)
    drawn.put("trials", trials, drawn.by_day("trials"))
    drawn.draw(
        "near",
        "trials",
        habit=Habit(outcomes=(near,), dispersion=phi),
        stratum=_stratum(rows, "queue", "layout"),
        usual=(rows.ints("near") * later, trials),
    )
    rest = trials - drawn["near"]
    beside = rows.ints("below") + rows.ints("over")
    over = rng.binomial(rest, (rows.ints("over") + 0.5) / (beside + 1.0))
    for name, new in (("over", over), ("below", rest - over), ("near", drawn["near"])):
        drawn.put(name, np.where(later, new, rows.ints(name)))
    out["agents"], days = drawn.done()
    if days is not None:
        out["days"] = days
    if "repeats" in mine:
        out["repeats"] = _again(mine["repeats"], rows, drawn, rng)
    return out


def _again(
    rows: Summary, agents: Summary, drawn: Redrawn, rng: np.random.Generator
) -> Summary:
    """Draw repeat calls: one habit of each agent, after whichever calls."""
    names = drawn.names
    mine = np.isin(rows["agent_id"].astype(str), names)
    rows = rows.where(mine)
    who = np.searchsorted(names, rows["agent_id"].astype(str))
    old = np.bincount(drawn.agent, weights=agents.ints("near"), minlength=len(names))
    new = np.bincount(drawn.agent, weights=drawn["near"], minlength=len(names))
    near = np.round(rows.ints("near") * ((new + 0.5) / (old + 0.5))[who])
    again = Redrawn(cells=rows, days=None, names=names, rng=rng)
    again.put("near", near)
    habit = peers.excess(
        who.astype(np.int64),
        _stratum(rows, "queue"),
        rows.ints("rest_again"),
        rows.ints("rest"),
        n_subjects=len(names),
    )
    stratum = _stratum(rows, "queue")
    own = again.draw("rest_again", "rest", habit=Habit.of(habit), stratum=stratum)
    again.draw(
        "near_again",
        "near",
        habit=Habit(),
        stratum=stratum,
        usual=(rows.ints("rest_again"), rows.ints("rest")),
        plus=own,
    )
    return again.done()[0]


def invitations(
    cells: Summary,
    agent: IntArray,
    fitted: Mapping[str, Outcome],
    seed: tuple[int, int],
) -> Summary:
    """Draw who invites how often after trouble; all margins stay what they were.

    An agent has one habit, which every sign of trouble shows: the signs' habits are
    drawn with the same random numbers.

    Args:
        cells: Counts per agent and stratum.
        agent: Index of the agent per row.
        fitted: What was fitted to each sign.
        seed: Fixes the random numbers.
    """
    columns = dict(cells.columns)
    rng = np.random.default_rng([*seed, 1])
    for sign, outcome in fitted.items():
        if outcome.draw is None:
            continue
        size = int(agent.max()) + 1
        missing = outcome.draw(np.random.default_rng(list(seed)), size)
        usual = float(np.log(outcome.facts["peers_odds"]))
        columns[f"{sign}_invited"] = within_margins(
            cells.ints("contacts"),
            cells.ints("invited"),
            cells.ints(sign),
            usual - missing[agent],
            rng,
        )
    return Summary(columns=columns)


_SIGNS = {
    "fast": ("fast_top", "timed_top", "fast_other", "timed_other"),
    "device": ("owned_top", "placed_top", "", ""),
    "gift": ("gift_top", "followed_top", "gift_other", "followed_other"),
}

_OVERLAPS = {"signed": ("fast", "device", "gift"), "rare": ("device", "gift")}
"""Counts of answers with any of some signs."""


def answers(
    summaries: Summaries,
    rate: Outcome,
    signs: Mapping[str, Outcome],
    strata: tuple[str, ...],
    rng: np.random.Generator,
) -> dict[str, Summary]:
    """Draw who has how many top scores, and how many of them show each second sign.

    Args:
        summaries: Counts, and days where there are days.
        rate: What was fitted to the rate of top scores.
        signs: What was fitted to each second sign.
        strata: Columns by which top scores are compared.
        rng: Random numbers.
    """
    counts = summaries["counts"]
    names = np.unique(counts["agent_id"].astype(str))
    drawn = Redrawn(cells=counts, days=summaries.get("days"), names=names, rng=rng)
    other_was = counts.ints("answers") - counts.ints("top")
    drawn.draw(
        "top", "answers", habit=Habit.of(rate), stratum=_stratum(counts, *strata)
    )
    drawn.put("other", counts.ints("answers") - drawn["top"])
    pooled = _stratum(counts, "channel")
    for sign, (events, trials, low, low_trials) in _SIGNS.items():
        if sign not in signs:
            continue
        drawn.part(trials, "top", "top")
        drawn.draw(events, trials, habit=Habit.of(signs[sign]), stratum=pooled)
        if low and low in counts:
            _low(drawn, low_trials, "other", other_was)
            _low(drawn, low, low_trials, counts.ints(low_trials))
    drawn.part("known_top", "top", "top")
    if "trouble" in signs and signs["trouble"].draw is not None:
        missing = signs["trouble"].draw(rng, len(names))
        usual = float(np.log(signs["trouble"].facts["peers_odds"]))
        asked, known = counts.ints("asked"), drawn["known_top"]
        low_known = np.maximum(asked - known, 0)
        troubled = counts.ints("troubled")
        below = within_margins(
            asked, low_known, troubled, usual - missing[drawn.agent], rng
        )
        drawn.put("troubled_top", troubled - below)
    # Signs overlap as they did.
    for name, some in _OVERLAPS.items():
        if f"{name}_top" not in counts:
            continue
        shown = [_SIGNS[sign][0] for sign in some if sign in signs]
        seen = sum((drawn[e] for e in shown), start=np.zeros(len(counts)))
        before = sum(int(counts.ints(e).sum()) for e in shown)
        share = counts.ints(f"{name}_top").sum() / max(before, 1)
        top = np.minimum(np.round(seen * min(share, 1.0)), drawn["top"])
        was_low = counts.ints(name) - counts.ints(f"{name}_top")
        rate_low = was_low.sum() / max(int(other_was.sum()), 1)
        lower = rng.binomial(drawn["other"], min(float(rate_low), 1.0))
        drawn.put(f"{name}_top", top)
        drawn.put(name, top.astype(np.int64) + lower)
    new, days = drawn.done()
    return {"counts": new} | ({} if days is None else {"days": days})


def _low(drawn: Redrawn, name: str, whole: str, was: IntArray) -> None:
    """Draw a part of the lower scores by its share of the real ones."""
    share = drawn.cells.ints(name).sum() / max(int(was.sum()), 1)
    drawn.put(name, drawn.rng.binomial(drawn[whole], min(float(share), 1.0)))


def _stratum(rows: Summary, *names: str) -> IntArray:
    texts: list[Any] = [rows[name].astype(str) for name in names if name in rows]
    keys = ["\x1f".join(parts) for parts in zip(*texts, strict=True)]
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)
