"""More top scores than peers, and a second sign among them: both, or nothing.

A truly excellent agent has more top scores than peers. Nothing follows from that alone,
so each agent is asked two questions, and the larger p-value decides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy as sp

from kpiaudit.detectors._perfect_scores_count import STRATA
from kpiaudit.detectors._perfect_scores_questions import SIGNS, rates, signs
from kpiaudit.frozen import frozen
from kpiaudit.stats.conjunction import both, lifted
from kpiaudit.stats.multiplicity import cauchy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors._perfect_scores_questions import Cells
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome

MIN_DAYS = 10
"""Fewer days with answers than this are one good fortnight, not a habit."""

_TOGETHER = 0.5
"""How far honest answers to the two questions may go together: both count top scores
with a sign, and contented customers may answer sooner. Normal scores of honest agents
correlate by .2, by .5 where one in six is a novice in every respect (300 centres)."""

_HABITS = 0.5
"""How far honest answers by two signs may go together: quick customers, one desk. They
do by .2 where some are novices in every respect, who are the first to be reported by
mistake if no more than that is allowed."""

_WAYS = np.array([1.0, 2.0, 3.0])
"""Shares of the ways to ask the first question: many top scores, which an excellent
agent has as well; gathered at any sign; gathered at a rare one, where coached answers
are not lost among the honest ones."""

_TRACES = tuple(SIGNS.index(name) for name in ("fast", "device", "gift"))
"""Signs that one coached answer may bear; trouble is counted on other answers."""

_RAISED = 0.2
"""Log ratio of top scores with a sign, to everybody's, that is worth a second look."""

_FIELDS = ("trials", "observed", "expected", "ratio", "ratio_low", "ratio_high")


@frozen
class _Answers:
    """P-values of both questions: `first` per agent, `each` per sign and agent."""

    first: FloatArray
    each: FloatArray

    @property
    def asked(self) -> IntArray:
        return np.asarray((~np.isnan(self.each)).sum(axis=0), dtype=np.int64)

    @property
    def second(self) -> FloatArray:
        """Return one p-value of all signs: one may tell all, or each a little."""
        single = cauchy(self.each, np.ones(len(self.each)))
        traces = _added(self.each[np.array(_TRACES)])
        return cauchy(np.stack([single, traces]), np.ones(2))

    @property
    def driver(self) -> IntArray:
        """Return the most telling sign; -1 where none was asked for."""
        filled = np.where(np.isnan(self.each), 2.0, self.each)
        return np.where(self.asked > 0, filled.argmin(axis=0), -1).astype(np.int64)

    def both(self) -> FloatArray:
        # A sign that can't be overlooked needs less of the rate; never none of it.
        return np.minimum(
            both(self.first, self.second, together=_TOGETHER),
            lifted(self.first, self.second, together=_TOGETHER),
        )


def ask(cells: Cells, *, min_excess: float, min_trouble: int) -> Outcome | None:
    """Return one outcome per agent; None where no second sign can be asked for.

    Everybody is the better yardstick where few show the pattern, and chosen peers where
    many do. Both are asked, and their p-values are combined.

    Args:
        cells: The counts.
        min_excess: The hypothesis is an excess of at most so many top scores.
        min_trouble: Answers after trouble that the sign `trouble` needs.

    Returns:
        The outcome of the rate of top scores, with the p-value of the conjunction of
        the first question and the signs' combined answer: the larger of the two,
        scaled by the share of agents who compete for it, or, if that is smaller, the
        signs with the rate's support (`conjunction.lifted`). It is for use in a false
        discovery rate only.

        `extra` has `sign` (index into `SIGNS` of the most telling one; -1 without any),
        `asked` (their number), `days`, `first_p`, `second_p`, `rate_p`, `chosen_peers`,
        and per sign and for `gathered` `<sign>_p` with trials, observed, expected and
        the ratio's interval.

    Source:
        Wang, Gui, Su, Sabatti & Owen (2022), Annals of Statistics 50(4):1890-1909
        (both of two questions); Liu & Xie (2020), JASA 115:393-402 (any of several
        signs, and of two sets of peers); Hartung (1999), Biometrical Journal 41:849-855
        (signs that go together).
    """
    second = signs(cells, min_trouble=min_trouble)
    if not second:
        return None
    first = rates(cells, min_excess=min_excess)
    plain = _Answers(first=_first(first, min_excess), each=_stacked(second, cells.size))
    chosen = _chosen(cells, plain, min_excess=min_excess, min_trouble=min_trouble)
    ways = plain.both(), chosen.both()
    better = ways[1] < ways[0]
    told = _Answers(
        first=np.where(better, chosen.first, plain.first),
        each=np.where(better, chosen.each, plain.each),
    )
    days = cells.worked()
    p_value = cauchy(np.stack(ways), np.ones(2))
    return replace(
        first[0],
        p_value=np.where(days < MIN_DAYS, np.nan, p_value),
        extra=_extra(first, second, told)
        | {"days": days, "chosen_peers": better.astype(np.float64)},
        breaking_point=_breaking(first, second, told, p_value),
        # What the rate would show is no promise: the second sign has to be there.
        smallest_detectable=float("nan"),
    )


def _first(rate: tuple[Outcome, ...], min_excess: float) -> FloatArray:
    """Return p-values of the first question, asked in two ways, or three.

    Either the agent has more top scores than peers, or the agent's top scores gather
    where a sign is, more than peers' do, while there are more of them than usual. The
    second way sees through agents who differ much in how well they are liked.
    """
    many, *gathered = rate
    lifted = many.effect > min_excess
    asked = [each.p_value for each in gathered]
    other = [np.where(lifted | np.isnan(each), each, 1.0) for each in asked]
    p = cauchy(np.stack([many.p_value, *other]), _WAYS[: len(rate)])
    return np.where(np.isnan(many.p_value), np.nan, p)


def _added(each: FloatArray) -> FloatArray:
    """Add up normal scores of signs that go together; nan where none is known."""
    known = ~np.isnan(each)
    z = -sp.special.ndtri(np.clip(np.where(known, each, 0.5), 1e-300, 1.0 - 1e-12))
    n = known.sum(axis=0)
    spread = np.sqrt(np.maximum(n * (1.0 - _HABITS) + _HABITS * n**2, 1.0))
    return np.asarray(np.where(n > 0, sp.special.ndtr(-z.sum(axis=0) / spread), np.nan))


def _stacked(second: Mapping[str, Outcome], size: int) -> FloatArray:
    out = np.full((len(SIGNS), size), np.nan)
    for name, outcome in second.items():
        out[SIGNS.index(name)] = outcome.p_value
    return out


def _chosen(
    cells: Cells, plain: _Answers, *, min_excess: float, min_trouble: int
) -> _Answers:
    """Ask some agents again, with peers who are ordinary in the other question.

    Agents who show the pattern raise what is usual and widen the spread from which
    honest agents are told, and so hide each other. For the first question peers are
    the half with the fewest signs, for the second the half with the fewest top scores:
    among honest agents the one says nothing about the other.

    Source:
        Choosing by one part of the data and testing on an independent one: Cox (1975),
        Biometrika 62:441-444; independent filtering: Bourgon, Gentleman & Huber (2010),
        PNAS 107:9546-9551.
    """
    top = cells.above("top", "answers", STRATA)
    sign = cells.above("signed_top", "top", STRATA)
    usable = ~np.isnan(plain.first)
    first, each = plain.first.copy(), plain.each.copy()
    if usable.any():
        few_tops = usable & (top <= np.median(top[usable]))
        few_signs = usable & (sign <= np.median(sign[usable]))
        rows = np.flatnonzero(usable & ~few_tops & ~few_signs & (sign > _RAISED))
        if len(rows):
            less = cells.among(few_signs)
            first[rows] = _first(rates(less, min_excess=min_excess), min_excess)[rows]
            found = signs(cells.among(few_tops), min_trouble=min_trouble)
            each[:, rows] = _stacked(found, cells.size)[:, rows]
    return _Answers(first=first, each=each)


def _extra(
    first: tuple[Outcome, ...], second: Mapping[str, Outcome], told: _Answers
) -> dict[str, FloatArray]:
    extra = {
        "sign": told.driver.astype(np.float64),
        "asked": told.asked.astype(np.float64),
        "first_p": told.first,
        "second_p": told.second,
        "rate_p": first[0].p_value,
    }
    where = tuple(zip(("gathered", "rare"), first[1:], strict=False))
    extra |= {f"{name}_p": outcome.p_value for name, outcome in where}
    for name, outcome in (*second.items(), *where):
        extra |= {f"{name}_{part}": getattr(outcome, part) for part in _FIELDS}
    return extra | {f"{name}_p": told.each[SIGNS.index(name)] for name in second}


def _breaking(
    first: tuple[Outcome, ...],
    second: Mapping[str, Outcome],
    told: _Answers,
    p_value: FloatArray,
) -> Any:
    """Return a function for how much wider honest spread may be: on both questions."""
    driver, asked = told.driver, told.asked
    # The conjunction's p-value is the larger one, scaled by who competes for it.
    larger = np.maximum(told.first, told.second)
    scale = np.maximum(larger / np.maximum(p_value, 1e-300), 1.0)
    shares = _WAYS[: len(first)] / _WAYS[: len(first)].sum()

    def at(outcome: Outcome, row: int, threshold: float) -> float:
        if outcome.breaking_point is None:
            return float("nan")
        return float(outcome.breaking_point(np.array([row]), threshold)[0])

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        out = []
        for row in rows.tolist():
            level = min(threshold * float(scale[row]), 0.5)
            own = _fmax(
                [
                    at(each, row, level * share)
                    for each, share in zip(first, shares, strict=True)
                ]
            )
            if driver[row] >= 0:
                sign = second[SIGNS[int(driver[row])]]
                own = float(np.fmin(own, at(sign, row, level / asked[row])))
            out.append(own)
        return np.array(out, dtype=np.float64)

    return breaking_point


def _fmax(values: list[float]) -> float:
    there = [value for value in values if not np.isnan(value)]
    return max(there) if there else float("nan")
