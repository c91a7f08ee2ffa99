"""Honest calls at a cap, invitations and answers, drawn anew for the placebo."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors._replicas import (
    Habit,
    Habits,
    Redrawn,
    learn_from,
    within_margins,
)
from kpiaudit.detectors.base import Summary
from kpiaudit.frozen import frozen
from kpiaudit.stats import peers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kpiaudit.detectors.base import Summaries
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome


@frozen
class AtCap:
    """Calls around a cutoff, and two habits: ending them before it, being rung again.

    Args:
        rows: The rows of this cutoff, by summary.
        ids: All agents, sorted.
        habits: `near` and, where repeat calls are known, `again`.
        dispersion: Of days; 1 where there are none.
    """

    rows: Mapping[str, Summary]
    ids: NDArray[Any]
    habits: Habits
    dispersion: float

    @classmethod
    def of(
        cls,
        summaries: Summaries,
        cap_s: int,
        fitted: tuple[Outcome, FloatArray | None],
        ids: NDArray[Any],
        outside: BoolArray,
    ) -> AtCap:
        """Fit the second habit.

        Args:
            summaries: What `summarize` gave.
            cap_s: The cutoff.
            fitted: The comparison with peers, and the days' dispersion per agent.
            ids: All agents, sorted.
            outside: Agents who are not taken for honest.
        """
        near, phi = fitted
        mine = {
            name: summaries[name].where(summaries[name].ints("cap_s") == cap_s)
            for name in ("agents", "days", "repeats")
            if name in summaries
        }
        outcomes = {"near": near}
        if "repeats" in mine:
            rows = mine["repeats"]
            rows = rows.where(np.isin(rows["agent_id"].astype(str), ids.astype(str)))
            outcomes["again"] = peers.excess(
                rows.places("agent_id", ids),
                _stratum(rows, "queue"),
                rows.ints("rest_again"),
                rows.ints("rest"),
                n_subjects=len(ids),
                learn=learn_from(outside),
            )
            mine["repeats"] = rows
        return cls(
            rows=mine,
            ids=ids,
            # An agent has some dozens of calls near a cap: who is far out among honest
            # agents is mostly chance, and would stay far out in every replica.
            habits=Habits(outcomes=outcomes, outside=outside, apart=False),
            dispersion=1.0 if phi is None else float(np.median(phi)),
        )


def calls_at_cap(cap: AtCap, rng: np.random.Generator) -> dict[str, Summary]:
    """Draw who ends calls just below a cutoff, and whose customers call again.

    Returns:
        The rows of this cutoff, by summary.
    """
    mine = cap.rows
    out = dict(mine)
    rows = mine["agents"]
    habits = cap.habits.drawn(rng)
    later = rows.ints("period") == 1
    names = cap.ids.astype(str)
    trials = (rows.ints("below") + rows.ints("near") + rows.ints("over")) * later
    drawn = Redrawn(
        cells=rows,
        days=mine.get("days"),
        names=names,
        rng=rng,
        outside=cap.habits.outside,
    )
    drawn.put("trials", trials, drawn.by_day("trials"))
    drawn.draw(
        "near",
        "trials",
        habit=replace(habits["near"], dispersion=cap.dispersion),
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
        out["repeats"] = _again(mine["repeats"], rows, drawn, habits["again"], rng)
    return out


def _again(
    rows: Summary,
    agents: Summary,
    drawn: Redrawn,
    habit: Habit,
    rng: np.random.Generator,
) -> Summary:
    """Draw repeat calls: one habit of each agent, after whichever calls."""
    names = drawn.names
    who = np.searchsorted(names, rows["agent_id"].astype(str))
    old = np.bincount(drawn.agent, weights=agents.ints("near"), minlength=len(names))
    new = np.bincount(drawn.agent, weights=drawn["near"], minlength=len(names))
    near = np.round(rows.ints("near") * ((new + 0.5) / (old + 0.5))[who])
    again = Redrawn(cells=rows, days=None, names=names, rng=rng, outside=drawn.outside)
    again.put("near", near)
    stratum = _stratum(rows, "queue")
    own = again.draw("rest_again", "rest", habit=habit, stratum=stratum)
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
    habits: Habits,
    rng: np.random.Generator,
) -> Summary:
    """Draw who invites how often after trouble; all margins stay what they were.

    Args:
        cells: Counts per agent and stratum.
        agent: Index of the agent per row.
        habits: What was fitted to each sign.
        rng: Random numbers.
    """
    columns = dict(cells.columns)
    signs = habits.drawn(rng)
    noise = rng.standard_normal((len(signs), len(cells)))
    if habits.noise is not None:
        noise = np.linalg.cholesky(habits.noise) @ noise
    for (sign, habit), mine in zip(signs.items(), noise, strict=True):
        missing = habit.log_odds
        if missing is None:
            continue
        usual = float(np.log(habits.outcomes[sign].facts["peers_odds"]))
        columns[f"{sign}_invited"] = within_margins(
            cells.ints("contacts"),
            cells.ints("invited"),
            cells.ints(sign),
            usual - missing[agent],
            mine,
        )
    return Summary(columns=columns)


_SIGNS = {
    "fast": ("fast_top", "timed_top", "fast_other", "timed_other"),
    "device": ("owned_top", "placed_top", "", ""),
    "gift": ("gift_top", "followed_top", "gift_other", "followed_other"),
}

_OVERLAPS = {"rare": ("device", "gift"), "signed": ("fast", "device", "gift")}
"""Counts of answers with any of some signs."""


def answers(
    summaries: Summaries,
    habits: Habits,
    strata: tuple[str, ...],
    rng: np.random.Generator,
) -> dict[str, Summary]:
    """Draw who has how many top scores, and how many answers show each second sign.

    A habit of an agent's answers, such as quick customers, holds whatever the score is:
    drawn for the top scores alone, it would gather signs where coached answers have
    them.

    Args:
        summaries: Counts, and days where there are days.
        habits: What was fitted to the `rate` of top scores and to each second sign.
        strata: Columns by which top scores are compared.
        rng: Random numbers.
    """
    counts = summaries["counts"]
    names = np.unique(counts["agent_id"].astype(str))
    drawn = Redrawn(
        cells=counts,
        days=summaries.get("days"),
        names=names,
        rng=rng,
        outside=habits.outside,
    )
    other_was = counts.ints("answers") - counts.ints("top")
    signs = habits.drawn(rng)
    drawn.draw("top", "answers", habit=signs["rate"], stratum=_stratum(counts, *strata))
    drawn.put("other", counts.ints("answers") - drawn["top"])
    pooled = _stratum(counts, "channel")
    lower = _lower(counts)
    for sign, (events, trials, low, low_trials) in _SIGNS.items():
        if sign not in signs:
            continue
        drawn.part(trials, "top", "top")
        drawn.draw(events, trials, habit=signs[sign], stratum=pooled)
        known = low_trials if low_trials in counts else "other"
        if known in counts:
            _low(drawn, known, "other", other_was)
        among = counts.ints(known) if known in counts else other_was
        usual = lower[sign], among
        name = low or f"{sign}_other"
        drawn.draw(name, known, habit=signs[sign], stratum=pooled, usual=usual)
    drawn.part("known_top", "top", "top")
    missing = signs["trouble"].log_odds if "trouble" in signs else None
    if missing is not None:
        usual_odds = float(np.log(habits.outcomes["trouble"].facts["peers_odds"]))
        asked, known_top = counts.ints("asked"), drawn["known_top"]
        low_known = np.maximum(asked - known_top, 0)
        troubled = counts.ints("troubled")
        noise = rng.standard_normal(len(counts))
        below = within_margins(
            asked, low_known, troubled, usual_odds - missing[drawn.agent], noise
        )
        drawn.put("troubled_top", troubled - below)
    for name, some in _OVERLAPS.items():
        if f"{name}_top" not in counts:
            continue
        here = [sign for sign in some if sign in signs]
        both = [
            _any(
                drawn,
                [(counts.ints(_SIGNS[s][0]), drawn[_SIGNS[s][0]]) for s in here],
                counts.ints(f"{name}_top"),
                drawn["top"],
            ),
            _any(
                drawn,
                [(lower[s], drawn[_SIGNS[s][2] or f"{s}_other"]) for s in here],
                counts.ints(name) - counts.ints(f"{name}_top"),
                drawn["other"],
            ),
        ]
        drawn.put(f"{name}_top", both[0])
        drawn.put(name, both[0] + both[1])
    new, days = drawn.done()
    return {"counts": new} | ({} if days is None else {"days": days})


def _lower(counts: Summary) -> dict[str, IntArray]:
    """Return real lower scores with each sign; a device is not counted by itself."""
    none = np.zeros(len(counts), dtype=np.int64)
    out = {
        sign: counts.ints(low) if low in counts else none
        for sign, (_, _, low, _) in _SIGNS.items()
    }
    if "rare" in counts:
        rare = counts.ints("rare") - counts.ints("rare_top")
        out["device"] = np.maximum(rare - out["gift"], 0)
    return out


def _low(drawn: Redrawn, name: str, whole: str, was: IntArray) -> None:
    """Draw a part of the lower scores by its share of the real ones."""
    share = drawn.cells.ints(name).sum() / max(int(was.sum()), 1)
    drawn.put(name, drawn.rng.binomial(drawn[whole], min(float(share), 1.0)))


def _any(
    drawn: Redrawn,
    signs: list[tuple[IntArray, IntArray]],
    union: IntArray,
    most: IntArray,
) -> IntArray:
    """Draw how many answers show any of some signs, which overlap as they did.

    Args:
        drawn: For its random numbers.
        signs: Real and drawn counts of each sign by row.
        union: Real counts of answers with any of them.
        most: Answers by row.
    """
    if not signs:
        return np.zeros_like(most)
    real = sum(int(each.sum()) for each, _ in signs)
    new = np.sum([each for _, each in signs], axis=0)
    least = np.max([each for _, each in signs], axis=0)
    share = min(float(union.sum()) / max(real, 1), 1.0)
    out: IntArray = np.clip(drawn.rng.binomial(new, share), least, most)
    return out.astype(np.int64)


def _stratum(rows: Summary, *names: str) -> IntArray:
    texts: list[Any] = [rows[name].astype(str) for name in names if name in rows]
    keys = ["\x1f".join(parts) for parts in zip(*texts, strict=True)]
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)
