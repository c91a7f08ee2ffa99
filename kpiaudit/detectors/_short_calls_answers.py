"""One answer from three, with everybody as peers and with peers chosen elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy as sp

from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors._short_calls_questions import MIN_DAYS, NAMES
from kpiaudit.frozen import frozen

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
_SCORE_WEIGHT = 1.5
"""Weight of the question about the score: the only one that habits can't answer."""
_SCORE_SHARE = 1.0 / 3.0
_CLEAR = 3.0
"""Standard errors from which an answer by itself is clear,"""
_NAMED = 0.001
"""and p-value above which it is worth saying that three together are not."""
_PROMISING = 0.15
_CHOSEN_SHARE = 2.0 / 3.0
_STEPS = 8


@frozen
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
    chosen = question.ask(learn=low, about=promising)
    told = promising & ~np.isnan(chosen.p_value)
    p[told] = chosen.p_value[told]
    parts = (np.flatnonzero(~told), plain), (np.flatnonzero(told), chosen)
    return Answer(p_value=p, parts=parts)


def combined(p_values: FloatArray, score: FloatArray | None = None) -> FloatArray:
    """Return one p-value per column from one per question; nan where fewer than two.

    The sum of normal scores, with a correlation allowed for and each score capped.

    Args:
        p_values: Shape (n_questions, n); nan where a question was not asked.
        score: P-values of a question about when events fall, given how many there
            are, which ties it to none of the others; shape (n,), nan where not asked.

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
    if not (number >= 2).any():
        return np.full(number.shape, np.nan)
    scores = np.clip(-sp.special.ndtri(np.where(asked, p_values, 0.5)), _BOTTOM, _TOP)
    tied = np.where(number == 2, _TWO_ALONE, _DEPENDENCE)
    total = np.sum(scores * asked, axis=0)
    square = number + number * (number - 1) * tied
    if score is not None:
        told = ~np.isnan(score)
        more = np.clip(-sp.special.ndtri(np.where(told, score, 0.5)), _BOTTOM, _TOP)
        total = total + _SCORE_WEIGHT * more * told
        square = square + _SCORE_WEIGHT**2 * told
    p = sp.special.ndtr(-total / np.maximum(np.sqrt(square), 1.0))
    out: FloatArray = np.where(number >= 2, p, np.nan)
    return out


def combine(asked: Asked, score: Outcome | None = None) -> Outcome:
    """Return one outcome per agent; the effect is that of the rate of short calls.

    Everybody as peers is the better yardstick where few show the pattern, chosen peers
    where many do. Both count, the second for two thirds of the error rate (a weighted
    Bonferroni correction). The second look, which is dear, is for those whose first
    one is at least suggestive. Where it is known what was paid for, both are taken
    with and without the question about the score, with it for a third of the error
    rate: not everybody who games does it for the bonus.

    Args:
        asked: The three questions.
        score: Whether short calls follow the score; None where nothing is known of it.
    """
    plain = [Answer(p_value=o.p_value, parts=((None, o),)) for o in asked.plain]
    follows = None
    if score is not None:
        follows = Answer(p_value=score.p_value, parts=((None, score),))
    first = _together(plain)
    promising = first if follows is None else np.fmin(first, _together(plain, follows))
    chosen = [
        answer(question, outcome, order, promising <= _PROMISING)
        for question, outcome, order in zip(
            asked.questions, asked.plain, asked.scores, strict=True
        )
    ]
    looks = _looks(plain, chosen, follows)
    each = np.array([look.p_values() / look.share for look in looks])
    best = np.argmin(np.where(np.isnan(each), np.inf, each), axis=0)
    p = np.minimum(each.min(axis=0), 1.0)
    p = np.where(asked.days < MIN_DAYS, np.nan, p)

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        points = [_breaking(looks[best[row]], int(row), threshold) for row in rows]
        return np.array(points, dtype=np.float64)

    better = np.array([look.answers is chosen for look in looks])[best]
    return replace(
        asked.rate,
        p_value=p,
        breaking_point=breaking_point,
        extra=_extra(asked, [plain, chosen], better) | incentives.told(score),
        smallest_detectable=float("nan"),
    )


@frozen
class _Look:
    """Answers that are added up, and the share of the error rate that they get."""

    answers: list[Answer]
    follows: Answer | None
    share: FloatArray

    def p_values(self) -> FloatArray:
        return _together(self.answers, self.follows)


def _looks(
    plain: list[Answer], chosen: list[Answer], follows: Answer | None
) -> list[_Look]:
    out = []
    size = len(plain[0].p_value)
    asked = np.zeros(size, dtype=np.bool_)
    if follows is not None:
        asked = ~np.isnan(follows.p_value)
    for answers, share in ((plain, 1.0 - _CHOSEN_SHARE), (chosen, _CHOSEN_SHARE)):
        usual = np.where(asked, 1.0 - _SCORE_SHARE, 1.0) * share
        out.append(_Look(answers=answers, follows=None, share=usual))
        if follows is not None:
            more = np.where(asked, _SCORE_SHARE, 1.0) * share
            out.append(_Look(answers=answers, follows=follows, share=more))
    return out


def _together(answers: list[Answer], follows: Answer | None = None) -> FloatArray:
    score = None if follows is None else follows.p_value
    return combined(np.array([each.p_value for each in answers]), score)


def _breaking(look: _Look, row: int, threshold: float) -> float:
    """Return how many times wider the honest spread may be before a row is lost."""
    multiples = np.exp(np.linspace(0.0, np.log(50.0), 60)).astype(np.float64)
    parts = np.array([each.at_spread(row, multiples) for each in look.answers])
    score = None if look.follows is None else look.follows.at_spread(row, multiples)
    lost = np.flatnonzero(combined(parts, score) > threshold * look.share[row])
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


def unanswered(outcome: Outcome, ids: Any) -> tuple[str, ...]:
    """Name agents whose many short calls are left alone, since nobody rings again.

    Both other questions are answered as clearly as one question may, the third
    speaks against them: what silent callers and wrong numbers look like.
    """
    names = [f"{name}_p" for name in NAMES]
    if any(name not in outcome.extra for name in names):
        return ()
    brief, shape, again = (outcome.extra[name] for name in names)
    some = (again >= 0.5) & (outcome.p_value > _NAMED)
    if not some.any():
        return ()
    clear = sp.special.ndtr(-_CLEAR)
    some &= (brief <= clear) & (shape <= clear)
    return tuple(
        f"agent {ids[i]}: {outcome.observed[i]:,.0f} short calls of "
        f"{outcome.trials[i]:,.0f}, far more than peers would give, but callers ring "
        "again no more often than after peers' short calls, which is what silent "
        "callers and wrong numbers look like: not reported for that reason"
        for i in np.flatnonzero(some)
    )
