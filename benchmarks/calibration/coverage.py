"""How often the effects' 95 % intervals hold the planted excess, by who games."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from calibration import tally
from calibration.tally import percent

if TYPE_CHECKING:
    from calibration.tally import Rows
    from calibration.worlds import Made
    from kpiaudit.detectors.base import Tested
    from kpiaudit.stats.outcome import Outcome

PLAIN = ("short-calls", "duration-cap", "perfect-scores")
"""Detectors that `benchmarks/intervals.py` measures briefly."""
_FEW = 0.3
"""A smaller share of the agents are few."""


def shown(made: Made, tested: Tested) -> np.ndarray:
    """Return each tested agent's planted excess, by the sign that its outcome shows."""
    true = made.excess[np.searchsorted(made.ids.astype(str), tested.ids.astype(str))]
    if true.ndim == 1:
        return true
    return true[np.arange(len(true)), tested.outcome.extra["sign"].astype(np.int64)]


def beyond(tested: Tested, true: np.ndarray) -> np.ndarray:
    """Return what each agent has of a planted excess beyond all the others' share.

    That is what a comparison with peers can show where all of them have it. The share
    is that of the trials that would not have been events honestly: where half of the
    answers are top scores by themselves, only the other half can be gamed.
    """
    eligible = tested.outcome.trials - tested.outcome.observed + true
    others = (true.sum() - true) / np.maximum(eligible.sum() - eligible, 1.0)
    return np.asarray(true - eligible * others)


def count(
    outcome: Outcome, true: np.ndarray, planted: np.ndarray, hit: np.ndarray
) -> list[int]:
    """Count intervals, and those that hold the truth: planted ones, reported ones."""
    inside = (outcome.low <= true) & (true <= outcome.high)
    some = (planted, planted & inside, planted & hit, planted & hit & inside)
    return [int(each.sum()) for each in some]


def section(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """Return head and body of the page's table."""
    body = []
    for name in PLAIN:
        planted = tally.where(rows, detector=name, gamers=lambda g: g > 0, mode="")
        for (strength,), mine in tally.by(planted, "strength").items():
            some = [row for row in mine if _share(row) < 1.0]
            few = [row for row in some if _share(row) < _FEW]
            many = [row for row in some if _share(row) >= _FEW]
            everybody = [row for row in mine if _share(row) == 1.0]
            body.append(
                [
                    f"`{name}`",
                    percent(strength),
                    _held(few),
                    _held(many),
                    _held(some, reported=True),
                    _held(everybody),
                    _held(everybody, "held_beyond"),
                ]
            )
    head = ["Detector", "Strength", "One, or one in twenty", "Four in ten"]
    head += ["Reported ones of these", "All: beyond honest", "All: beyond peers"]
    return head, body


def _share(row: dict[str, Any]) -> float:
    return float(row["cell"]["gamers"] / row["cell"]["agents"])


def _held(rows: Rows, truth: str = "held", *, reported: bool = False) -> str:
    """Return the share of planted agents' intervals that hold a truth, of how many."""
    counts = [row[truth][2 * reported :] for row in rows if truth in row]
    n, k = (sum(each[i] for each in counts) for i in (0, 1))
    return f"{percent(k / n)} of {n}" if n else "-"
