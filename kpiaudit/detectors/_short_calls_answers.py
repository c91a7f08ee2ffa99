"""One answer from three, with everybody as peers and with peers chosen elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

from kpiaudit.detectors._short_calls_questions import MIN_DAYS, NAMES

if TYPE_CHECKING:
    from kpiaudit.detectors._short_calls_questions import Asked, Question
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome

_DEPENDENCE = 0.2
"""Correlation allowed for between an honest agent's answers, were they not separate."""
_TWO_ALONE = 0.5
"""The same where only two questions could be asked: whether callers rang again, which
tells a habit from hanging up, is not among them."""
_TOP, _BOTTOM = 4.0, -2.0
"""No single answer counts for more than this many standard deviations: with one
question alone no agent is reported, however extreme that answer is."""
_PROMISING = 0.15
_CHOSEN_SHARE = 2.0 / 3.0
_STEPS = 8


@dataclass(frozen=True, kw_only=True)
class Answer:
    """P-values of one question, and the outcomes that they come from.

    Args:
        p_value: Per agent; nan where not asked.
        parts: Rows (None for all), and the outcome that their p-values come from.
    """

    p_value: FloatArray
    parts: tuple[tuple[IntArray | None, Outcome], ...]

    def at_spread(self, row: int, multiples: FloatArray) -> FloatArray:
        """Return the p-value of an agent were honest agents to differ more."""
        p = float(self.p_value[row])
        if np.isnan(p):
            return np.full(len(multiples), np.nan)
        outcome = next(o for rows, o in self.parts if rows is None or row in rows)
        if outcome.breaking_point is None:
            return np.full(len(multiples), p)
        levels = p * (0.5 / p) ** np.linspace(0.0, 1.0, _STEPS) if p < 0.5 else [p]
        index = np.array([row])
        reached = [float(outcome.breaking_point(index, x)[0]) for x in levels]
        return np.asarray(np.interp(multiples, np.maximum.accumulate(reached), levels))


def answer(
    question: Question, plain: Outcome, score: FloatArray, promising: BoolArray
) -> Answer:
    """Ask a question again of some agents, with peers ordinary in another question.

    Agents who show a pattern widen the spread from which honest agents are told, and so
    hide each other. Peers are therefore the half with the lower score in another
    question: among honest agents that choice says nothing about this question, but
    whoever hangs up on callers is not among them.

    Args:
        question: What to ask.
        plain: Its outcome with everybody as peers; it stands for agents not promising.
        score: In another question, per agent.
        promising: Agents for whom the answer can matter.

    Source:
        Choosing by one part of the data and testing on an independent one: Cox (1975),
        Biometrika 62:441-444; independent filtering: Bourgon, Gentleman & Huber (2010),
        PNAS 107:9546-9551.
    """
    usable = question.usable
    p = plain.p_value.copy()
    if not (usable & promising).any():
        return Answer(p_value=p, parts=((None, plain),))
    low = usable & (score <= np.median(score[usable]))
    chosen = question.ask(learn=low)
    told = promising & ~np.isnan(chosen.p_value)
    p[told] = chosen.p_value[told]
    parts = (np.flatnonzero(~told), plain), (np.flatnonzero(told), chosen)
    return Answer(p_value=p, parts=parts)


def combined(p_values: FloatArray) -> FloatArray:
    """Return one p-value per column from one per question; nan where fewer than two.

    The sum of normal scores, with a correlation allowed for and each score capped.

    Args:
        p_values: Shape (n_questions, n); nan where a question was not asked.

    Source:
        Stouffer et al. (1949), The American Soldier 1:45 (sum of normal scores); Brown
        (1975), Biometrics 31:987-992 (combining dependent tests).

    >>> combined(np.array([[0.01], [0.01], [0.01]])).round(4)
    array([0.0003])
    >>> combined(np.array([[1e-30], [0.5], [0.5]])).round(3)
    array([0.025])
    """
    asked = ~np.isnan(p_values)
    number = asked.sum(axis=0)
    scores = np.clip(-ndtri(np.where(asked, p_values, 0.5)), _BOTTOM, _TOP)
    tied = np.where(number == 2, _TWO_ALONE, _DEPENDENCE)
    width = np.sqrt(number + number * (number - 1) * tied)
    p = ndtr(-np.sum(scores * asked, axis=0) / np.maximum(width, 1.0))
    out: FloatArray = np.where(number >= 2, p, np.nan)
    return out


def combine(asked: Asked) -> Outcome:
    """Return one outcome per agent; the effect is that of the rate of short calls.

    Everybody as peers is the better yardstick where few show the pattern, chosen peers
    where many do. Both count, the second for two thirds of the error rate (a weighted
    Bonferroni correction). The second look, which is dear, is for those whose first
    one is at least suggestive.
    """
    plain = [Answer(p_value=o.p_value, parts=((None, o),)) for o in asked.plain]
    first = _together(plain)
    chosen = [
        answer(question, outcome, score, first <= _PROMISING)
        for question, outcome, score in zip(
            asked.questions, asked.plain, asked.scores, strict=True
        )
    ]
    both = np.array([first / (1.0 - _CHOSEN_SHARE), _together(chosen) / _CHOSEN_SHARE])
    better = both[1] < both[0]
    p = np.minimum(both.min(axis=0), 1.0)
    p = np.where(asked.days < MIN_DAYS, np.nan, p)

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        points = [
            _breaking(chosen, int(row), threshold * _CHOSEN_SHARE)
            if better[row]
            else _breaking(plain, int(row), threshold * (1.0 - _CHOSEN_SHARE))
            for row in rows
        ]
        return np.array(points, dtype=np.float64)

    return replace(
        asked.rate,
        p_value=p,
        breaking_point=breaking_point,
        extra=_extra(asked, [plain, chosen], better),
        smallest_detectable=float("nan"),
    )


def _together(answers: list[Answer]) -> FloatArray:
    return combined(np.array([each.p_value for each in answers]))


def _breaking(answers: list[Answer], row: int, threshold: float) -> float:
    """Return how many times wider the honest spread may be before a row is lost."""
    multiples = np.exp(np.linspace(0.0, np.log(50.0), 60)).astype(np.float64)
    at = combined(np.array([each.at_spread(row, multiples) for each in answers]))
    lost = np.flatnonzero(at > threshold)
    return float(multiples[lost[0]] if len(lost) else multiples[-1])


def _extra(
    asked: Asked, looks: list[list[Answer]], better: BoolArray
) -> dict[str, FloatArray]:
    extra = {"days": asked.days}
    for name, outcome, first, second in zip(
        NAMES, asked.plain, looks[0], looks[1], strict=False
    ):
        for part in ("trials", "observed", "ratio", "ratio_low", "ratio_high"):
            extra[f"{name}_{part}"] = getattr(outcome, part)
        extra[f"{name}_expected"] = outcome.expected
        extra[f"{name}_p"] = np.where(better, second.p_value, first.p_value)
    return extra
