"""Honest tickets and orders around a deadline, drawn anew for the placebo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from kpiaudit.detectors._replicas import Habit, Redrawn
from kpiaudit.stats import peers

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Summary
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome


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


def of(
    counted: Counted,
    answers: tuple[Outcome, Outcome],
    after: str,
    stratum: IntArray,
    rng: np.random.Generator,
) -> tuple[Summary, Summary]:
    """Draw who closes just before the deadline, and what then follows.

    Three habits: closing just before it, what follows an agent's closures at all, and
    how much more of it follows those just before it.

    Args:
        counted: Counts of the agents.
        answers: What was fitted to the two questions of the rule.
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
        cells=cells, days=counted.days, names=counted.ids.astype(str), rng=rng
    )
    far = peers.excess(
        counted.subject,
        cells.ints("clock"),
        far_after,
        far_known,
        n_subjects=len(counted.ids),
    )
    phi = counted.dispersion(near_after, "near_known")
    drawn.draw("near", "open_late", habit=Habit.of(answers[0]), stratum=stratum)
    drawn.part("near_known", "near", "near")
    known = np.minimum(drawn["near_known"], cells.ints("known"))
    drawn.put("near_known", known)
    drawn.put("far_known", cells.ints("known") - known)
    own = drawn.draw(
        "far_after",
        "far_known",
        habit=Habit.of(far),
        stratum=cells.ints("clock"),
        usual=(far_after, far_known),
    )
    drawn.draw(
        near_after,
        "near_known",
        habit=Habit(outcomes=(answers[1],), dispersion=float(np.median(phi))),
        stratum=cells.ints("clock"),
        plus=own,
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
