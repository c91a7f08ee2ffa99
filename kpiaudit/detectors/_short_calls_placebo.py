"""Short calls where nothing is to be found: other windows, and honest replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors import _short_calls_questions as questions
from kpiaudit.detectors._incentives import CELLS
from kpiaudit.detectors._replicas import Habit, Habits, Redrawn, learn_from, reported
from kpiaudit.detectors.base import Summary, Tested, Verdicts
from kpiaudit.stats import peers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.detectors.base import Summaries
    from kpiaudit.stats.outcome import IntArray

WINDOWS = ((20, 30), (30, 40), (40, 50))
"""Ends of ten seconds each, at which nobody gains by hanging up; in seconds."""
_UNTIL = 60


def windows(summaries: Summaries) -> Iterator[Verdicts]:
    """Ask whether some agents end far more calls in other windows than peers do."""
    rows = summaries["density"]
    if not len(rows):
        return
    ids, agent = rows.coded("agent_id")
    second, calls = rows.ints("second"), rows.ints("calls")
    for low, high in WINDOWS:
        inside, around = (
            _sums(agent, calls, (second >= low) & (second < high)),
            _sums(agent, calls, (second >= low) & (second < _UNTIL)),
        )
        outcome = peers.excess(
            np.arange(len(ids)),
            np.zeros(len(ids), dtype=np.int64),
            inside,
            around,
            n_subjects=len(ids),
        )
        told = Tested(kind="agent", ids=ids.astype(object), outcome=outcome)
        yield Verdicts(tested=(told,))


def _sums(agent: IntArray, calls: IntArray, where: Any) -> IntArray:
    return np.bincount(agent, weights=calls * where).astype(np.int64)


def replicas(
    summaries: Summaries, verdicts: Verdicts, number: int, seed: int
) -> Iterator[Summaries]:
    """Draw every agent's three habits from the fitted honest spread, and the counts.

    Calls per agent, queue and day stay what they were, and so do the customers who are
    known; what the same agent does on one day goes together.

    Args:
        summaries: What `summarize` gave.
        verdicts: What the test says of them.
        number: How many replicas.
        seed: Fixes the random numbers.
    """
    asked = questions.ask(summaries, min_excess=0.0)
    if "days" not in summaries or any(o.standing is None for o in asked.plain):
        return
    outside = reported(verdicts, asked.ids)
    learn = learn_from(outside)
    fitted = asked.plain
    if learn is not None:
        fitted = tuple(each.ask(learn=learn) for each in asked.questions)
    outcomes = dict(zip(questions.NAMES, fitted, strict=False))
    habits = Habits(outcomes=outcomes, outside=outside)
    # What follows the score in the real counts must not vouch for drawn ones.
    drawn_from = {name: s for name, s in summaries.items() if name != CELLS}
    for each in range(number):
        rng = np.random.default_rng([seed, each])
        yield {**drawn_from, **_drawn(summaries, asked.ids, habits, rng)}


def _drawn(
    summaries: Summaries,
    ids: Any,
    habits: Habits,
    rng: np.random.Generator,
) -> dict[str, Summary]:
    counts, days = (_with_under(summaries[name]) for name in ("counts", "days"))
    drawn = Redrawn(
        cells=counts,
        days=days,
        names=ids.astype(str),
        rng=rng,
        outside=habits.outside,
    )
    queue = np.unique(counts["queue"].astype(str), return_inverse=True)[1]
    stratum = queue.astype(np.int64)
    own = habits.drawn(rng)
    brief, shape, repeat = (own.get(name, Habit()) for name in questions.NAMES)
    drawn.draw("under", "calls", habit=brief, stratum=stratum)
    drawn.draw("short", "under", habit=shape, stratum=stratum)
    drawn.draw("short_known", "short", habit=Habit(), stratum=stratum)
    drawn.draw("short_redialled", "short_known", habit=repeat, stratum=stratum)
    new, new_days = drawn.done()
    out = {"counts": _without_under(new, counts)}
    if new_days is not None and drawn.days is not None:
        out["days"] = _without_under(new_days, drawn.days)
    return out


def _with_under(rows: Summary) -> Summary:
    """Add the calls under half a minute, of which the short ones are a part."""
    under = rows.ints("short") + rows.ints("next")
    return Summary(columns={**rows.columns, "under": under})


def _without_under(new: Summary, old: Summary) -> Summary:
    """Put right what follows from the drawn counts."""
    columns = {name: each for name, each in new.columns.items() if name != "under"}
    known = old.ints("short_known") + old.ints("long_known")
    columns["next"] = new.ints("under") - new.ints("short")
    columns["long_known"] = np.maximum(
        known - new.ints("short_known"), old.ints("long_redialled")
    )
    return Summary(columns=columns)
