"""What replicas of survey-selection are drawn from: habits, and the signs' chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors._replicas import Habits, learn_from
from kpiaudit.detectors._survey_selection_signs import (
    SUPPOSED,
    Cells,
    Question,
    withholding,
)
from kpiaudit.stats import selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray, Outcome

_SAME_AT_MOST = 0.95


def habits(summaries: Summaries, outside: BoolArray, min_trouble: float) -> Habits:
    """Return agents' habits of inviting after trouble, by each sign of it.

    Args:
        summaries: With `cells`, and `patterns` if there are several signs.
        outside: Agents who are not taken for honest, shape (n_agents,).
        min_trouble: Fewer contacts with a sign leave an agent untested by it.
    """
    cells = Cells.of(summaries["cells"])
    least = Question(min_trouble=min_trouble, min_excess=0.0)
    outcomes = fitted(cells, least, learn_from(outside))
    return Habits(
        outcomes=outcomes,
        outside=outside,
        apart=False,
        noise=shared_noise(summaries.get("patterns"), tuple(outcomes)),
    )


def fitted(
    cells: Cells, question: Question, learn: BoolArray | None
) -> dict[str, Outcome]:
    """Return what is fitted to each sign alone, by sign.

    Args:
        cells: Counts per agent and stratum.
        question: What each test needs.
        learn: From whom to learn what is honest; None stands for whom the test does.
    """
    tables = {sign: cells.tables(sign) for sign in cells.signs()}
    return {
        sign: selection.withheld(
            each,
            min_trouble=question.min_trouble,
            min_excess=question.min_excess,
            learn=withholding(each, question).learn if learn is None else learn,
            supposed=SUPPOSED,
        )
        for sign, each in tables.items()
    }


def shared_noise(patterns: Summary | None, signs: Sequence[str]) -> FloatArray | None:
    """Return how much the noise of signs is the same, as they share contacts.

    Args:
        patterns: Contacts by the signs that they have; None where nothing is known.
        signs: Whose noise it is.

    Returns:
        Correlation of two signs' counts of invited contacts if invitations fall at
        random, shape (n_signs, n_signs): that of the signs over contacts. None where
        nothing is known.

    Source:
        Cochran (1977), Sampling Techniques, 3rd edition, section 2.5 (two means of one
        sample without replacement).
    """
    if patterns is None or not all(sign in patterns for sign in signs):
        return None
    there = np.array([patterns.floats(sign) for sign in signs])
    weight = patterns.floats("contacts")
    weight = weight / max(float(weight.sum()), 1.0)
    away = there - (there @ weight)[:, None]
    covariance = (away * weight) @ away.T
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    # Signs that are always the same would leave nothing of each other's noise.
    together = _SAME_AT_MOST * covariance / np.outer(sd, sd)
    np.fill_diagonal(together, 1.0)
    return np.asarray(together, dtype=np.float64)
