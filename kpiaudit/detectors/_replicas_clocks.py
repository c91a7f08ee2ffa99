"""Honest tickets and orders around a deadline, drawn anew for the placebo."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from kpiaudit.detectors._replicas import Habits, Redrawn, learn_from
from kpiaudit.stats import peers

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome


class Counted(Protocol):
    """Cells and days of agents, numbered, as both rules on deadlines have them."""

    @property
    def ids(self) -> Any:
        """Return the agents, sorted."""

    @property
    def cells(self) -> Summary:
        """Return counts by agent and stratum."""

    @property
    def days(self) -> Summary:
        """Return counts by agent and day."""

    @property
    def subject(self) -> IntArray:
        """Return the agent of each row of the cells."""

    def dispersion(self, events: str, trials: str) -> FloatArray:
        """Return each agent's variance between days over the binomial one."""


def fitted(
    counted: Counted, answers: tuple[Outcome, Outcome], after: str, outside: BoolArray
) -> Habits:
    """Return three habits of each agent, as they were fitted.

    Closing just before the deadline, what follows an agent's closures at all, and how
    much more of it follows those just before it.

    Args:
        counted: Counts of the agents.
        answers: What was fitted to the two questions of the rule.
        after: The count of what follows: `bounced` or `long`.
        outside: Agents who are not taken for honest.
    """
    cells = counted.cells
    far = peers.excess(
        counted.subject,
        cells.ints("clock"),
        cells.ints(after) - cells.ints(f"near_{after}"),
        cells.ints("known") - cells.ints("near_known"),
        n_subjects=len(counted.ids),
        learn=learn_from(outside),
    )
    outcomes = {"near": answers[0], "far": far, "more": answers[1]}
    return Habits(outcomes=outcomes, outside=outside)


def of(
    counted: Counted,
    habits: Habits,
    after: str,
    stratum: IntArray,
    rng: np.random.Generator,
) -> tuple[Summary, Summary]:
    """Draw who closes just before the deadline, and what then follows.

    Args:
        counted: Counts of the agents.
        habits: What `fitted` gave.
        after: The count of what follows: `bounced` or `long`.
        stratum: Stratum of the first question, per row of the cells.
        rng: Random numbers.

    Returns:
        Cells and days.
    """
    cells = counted.cells
    near_after = f"near_{after}"
    far_known = cells.ints("known") - cells.ints("near_known")
    far_after = cells.ints(after) - cells.ints(near_after)
    drawn = Redrawn(
        cells=cells,
        days=counted.days,
        names=counted.ids.astype(str),
        rng=rng,
        outside=habits.outside,
    )
    phi = counted.dispersion(near_after, "near_known")
    own = habits.drawn(rng)
    drawn.draw("near", "open_late", habit=own["near"], stratum=stratum)
    drawn.part("near_known", "near", "near")
    known = np.minimum(drawn["near_known"], cells.ints("known"))
    drawn.put("near_known", known)
    drawn.put("far_known", cells.ints("known") - known)
    usual = drawn.draw(
        "far_after",
        "far_known",
        habit=own["far"],
        stratum=cells.ints("clock"),
        usual=(far_after, far_known),
    )
    drawn.draw(
        near_after,
        "near_known",
        habit=replace(own["more"], dispersion=float(np.median(phi))),
        stratum=cells.ints("clock"),
        plus=usual,
    )
    drawn.put(after, drawn["far_after"] + drawn[near_after])
    if "far_wait_ms" in cells:
        _waits(drawn, near_after)
    new, days = drawn.done()
    return new, counted.days if days is None else days


def _waits(drawn: Redrawn, near_after: str) -> None:
    """Let each order among the longest waits take twice its agent's usual time."""
    cells = drawn.cells
    size = len(drawn.names)

    def mean(name: str, count: IntArray) -> FloatArray:
        total = np.bincount(drawn.agent, weights=cells.floats(name), minlength=size)
        number = np.bincount(drawn.agent, weights=count, minlength=size)
        out: FloatArray = (total / np.maximum(number, 1.0))[drawn.agent]
        return out

    usual = mean("far_wait_ms", cells.ints("known") - cells.ints("near_known"))
    near, far = drawn["near_known"], drawn["far_known"]
    share = drawn["far_after"].sum() / max(int(far.sum()), 1)
    short = usual / (1.0 + share)
    drawn.put("near_wait_ms", np.round(short * (near + drawn[near_after])))
    drawn.put("far_wait_ms", np.round(short * (far + drawn["far_after"])))
