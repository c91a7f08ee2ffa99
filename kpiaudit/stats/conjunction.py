"""Two questions that must both be answered with yes, asked of many subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen
from kpiaudit.stats import held

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome

_LEANING = 0.15
"""A first answer up to this p-value leans to yes."""
_SCORE = 3.0
"""No answer counts for more than this many standard deviations beside another one."""


def both(first: FloatArray, second: FloatArray, *, together: float) -> FloatArray:
    """Return p-values for `both answers are yes`, for use in a false discovery rate.

    The larger p-value alone is valid but wasteful: few honest subjects stand out on
    even one question, so few can be reported by mistake on two. The larger p-value is
    therefore scaled by the larger of two shares. The first is the share of subjects
    whose smaller p-value lies below it: only they compete for that threshold, and
    subjects with an unusual habit on one question are among them. The second is the
    chance that a subject who passes one question by luck or habit passes the other as
    well, if honest habits go together; without it the filter is valid for independent
    questions only, and flags whoever is hasty in every respect.

    After Benjamini and Hochberg's step no subject's q-value is below its larger
    p-value. There is no proof for both shares at once; what they do is measured.

    Args:
        first: p-values of the first question, shape (n,), nan where untestable.
        second: Those of the second.
        together: Correlation of honest subjects' answers, in [0, 1); 0 stands for
            questions that have nothing to do with each other.

    Returns:
        Shape (n,), at most the larger of the two; nan where either is. Taken alone,
        without a correction for n subjects, one of them is no p-value.

    Source:
        Wang, Gui, Su, Sabatti & Owen (2022), Annals of Statistics 50(4):1890-1909
        (the adaptive filter for partial conjunctions, here two of two); Owen (1956),
        Annals of Mathematical Statistics 27:1075-1090 (the bivariate normal tail). The
        guard against dependent questions is this module's.
    """
    larger, smaller = np.maximum(first, second), np.minimum(first, second)
    tested = ~np.isnan(larger)
    out = np.full(larger.shape, np.nan)
    if not tested.any():
        return out
    p = larger[tested]
    ranked = np.sort(smaller[tested])
    competing = np.searchsorted(ranked, p, side="right") / tested.sum()
    out[tested] = p * np.maximum(competing, _passes_again(p, together))
    return out


def joint(first: FloatArray, second: FloatArray, *, together: float) -> FloatArray:
    """Return the chance that an honest subject answers both questions so clearly.

    The larger p-value is multiplied by the chance of a second one as small, given the
    first, if honest answers go together like two normal variables. Unlike `both` it
    looks at no other subject, so that each value is a p-value by itself as long as the
    correlation is no larger than `together`.

    Args:
        first: p-values of the first question, shape (n,), nan where untestable.
        second: Those of the second.
        together: Correlation of honest subjects' answers, in [0, 1).

    Returns:
        Shape (n,), at most the larger of the two; nan where either is.

    Source:
        Owen (1956), Annals of Mathematical Statistics 27:1075-1090 (the bivariate
        normal tail); Benjamini & Heller (2008), Biometrics 64:1215-1222 (both of two).
    """
    larger = np.maximum(first, second)
    out = np.full(larger.shape, np.nan)
    tested = ~np.isnan(larger)
    out[tested] = larger[tested] * _passes_again(larger[tested], together)
    return out


def lifted(first: FloatArray, second: FloatArray, *, together: float) -> FloatArray:
    """Return p-values for `the second is a yes, and the first supports it`.

    `both` asks as much of the one question as of the other. Where the second one is the
    telling sign, a first answer that is only suggestive is enough beside a sign that
    can't be overlooked; a first answer alone, however clear, never is. The second
    p-value, scaled as in `joint`, is a lower bound; the other is that of the sum of
    both normal scores, each cut at three standard deviations.

    Args:
        first: p-values of the first question, shape (n,), nan where untestable.
        second: Those of the second, the telling one.
        together: Correlation of honest subjects' answers, in [0, 1).

    Returns:
        Shape (n,); nan where either is.

    Source:
        Stouffer et al. (1949), The American Soldier 1:45 (sum of normal scores); Brown
        (1975), Biometrics 31:987-992 (combining dependent tests).

    >>> lifted(np.array([0.01, 0.3]), np.array([1e-9, 1e-9]), together=0.5).round(4)
    array([0.0011, 0.0209])
    >>> lifted(np.array([1e-9]), np.array([0.3]), together=0.0).round(2)
    array([0.09])
    """
    scores = [np.clip(-sp.special.ndtri(p), -_SCORE, _SCORE) for p in (first, second)]
    total = sp.special.ndtr(-(scores[0] + scores[1]) / np.sqrt(2.0 * (1.0 + together)))
    return np.asarray(np.maximum(joint(second, second, together=together), total))


def carried(
    first: FloatArray,
    second: FloatArray,
    *,
    together: float,
    more: int = 0,
    about: str = "",
) -> FloatArray:
    """Return p-values for `the second is a yes, and so is the first`, of all subjects.

    The first question may be one that honest effort or an honest habit answers with
    yes, however clearly, at one subject or at most of them; only the second one tells.
    Its answer is therefore never better than if it had been asked of nobody but those
    who give the first: the smaller of two p-values is returned, each with that guard.
    One is the larger of both, scaled as in `both`, save that only the first answers
    count among those who compete. The other, where the first answer leans to yes
    (p <= .15), is `lifted`, and at least the second p-value scaled by the share of
    subjects whose first answer leans so.

    Where few answer the first with yes, hardly anything is asked beyond `joint` and
    `lifted`. Those alone reported somebody in 13 of 40 simulated centres where every
    second of 120 agents answers the first with yes, by effort; this, in none.

    Args:
        first: p-values of the first question, shape (n,), nan where untestable.
        second: Those of the second, the telling one.
        together: Correlation of honest subjects' answers, in [0, 1).
        more: So many subjects more are taken to give the first answer than do: a
            margin where the second question's p-values are too small for those few
            who stand out in the first.
        about: What is asked, where a test asks several such pairs: while planted
            subjects are measured, it tells whose first answers were kept.

    Returns:
        Shape (n,); nan where either is. For use in a false discovery rate over these n
        subjects only. The smaller of two p-values that nearly agree: how often honest
        subjects are reported is measured, in docs/accuracy.md.

    Source:
        Wang, Gui, Su, Sabatti & Owen (2022), Annals of Statistics 50(4):1890-1909 (who
        competes); Bourgon, Gentleman & Huber (2010), PNAS 107:9546-9551 (asking only
        those who pass an independent filter).

    >>> first, second = np.full(10, 0.8), np.full(10, 0.5)
    >>> first[:2], second[:2] = (0.06, 1e-9), (1e-4, 0.02)
    >>> carried(first, second, together=0.2)[:2].round(4)
    array([0.0016, 0.002 ])
    >>> carried(np.full(10, 1e-9), second, together=0.2)[:2]
    array([0.0001, 0.02  ])
    """
    competing = _Competing.of(first, second, more, about)
    return _judged(first, second, competing, competing.answers, together)


def breaking_point(
    first: Outcome,
    second: Outcome,
    rows: IntArray,
    threshold: float,
    *,
    together: float,
    more: int = 0,
    about: str = "",
) -> FloatArray:
    """Return the spread at which `carried` is lost, in multiples of the measured one.

    Each question is weakened by itself, the other one and the other subjects left as
    they are.

    Args:
        first: The first question, of all subjects.
        second: The telling one.
        rows: Subjects asked about, shape (n_rows,).
        threshold: The p-value at which a finding is lost.
        together: Correlation of honest subjects' answers.
        more: As in `carried`.
        about: Likewise.

    Returns:
        The smaller of both multiples, shape (n_rows,); infinite where neither can say.
    """
    p = first.p_value[rows], second.p_value[rows]
    competing = _Competing.of(first.p_value, second.p_value, more, about)
    own = competing.answers[rows]
    out = np.full(len(rows), np.inf)
    for at, outcome in enumerate((first, second)):
        if outcome.breaking_point is None:
            continue
        low, high = np.zeros(len(rows)), np.ones(len(rows))
        for _ in range(50):
            middle = (low + high) / 2.0
            pair = (middle, p[1]) if at == 0 else (p[0], middle)
            kept = _judged(*pair, competing, own, together) <= threshold
            low, high = np.where(kept, middle, low), np.where(kept, high, middle)
        for i, level in enumerate(low.tolist()):
            here = outcome.breaking_point(rows[i : i + 1], level)
            out[i] = min(out[i], float(here[0]))
    return out


@frozen
class _Competing:
    """First answers of all subjects, nan where not both were asked, and sorted.

    While planted subjects are measured, they are those from before: several are planted
    at once, each to be measured as if it were the only one.
    """

    answers: FloatArray
    ranked: FloatArray
    more: int

    @classmethod
    def of(
        cls, first: FloatArray, second: FloatArray, more: int, about: str
    ) -> _Competing:
        answers = np.where(np.isnan(second), np.nan, first)
        unknown = np.isnan(answers)
        return held.once(
            f"competing {about}",
            (unknown,),
            lambda: cls(answers=answers, ranked=np.sort(answers[~unknown]), more=more),
        )

    def share(self, level: FloatArray, own: FloatArray) -> FloatArray:
        """Return the share of subjects whose first answer is as clear as this.

        The subject itself, whose answer was `own`, counts among them, and `more`.
        """
        below = np.searchsorted(self.ranked, level, side="right") + (own > level)
        share = (below + self.more) / max(len(self.ranked), 1)
        return np.asarray(np.minimum(share, 1.0), dtype=np.float64)


def _judged(
    first: FloatArray,
    second: FloatArray,
    competing: _Competing,
    own: FloatArray,
    together: float,
) -> FloatArray:
    """Return `carried` of some subjects, given who competes."""
    larger = np.maximum(first, second)
    alike = competing.share(larger, own)
    both_clear = larger * np.maximum(alike, _passes_again(larger, together))
    leaning = competing.share(np.full_like(larger, _LEANING), own)
    total = lifted(first, second, together=together)
    total = np.maximum(total, second * leaning)
    return np.where(first <= _LEANING, np.minimum(both_clear, total), both_clear)


def _passes_again(p: FloatArray, together: float) -> FloatArray:
    """Return the chance of a second p-value this small, given a first one."""
    level = np.clip(p, 1e-300, 1.0 - 1e-12)
    z = sp.special.ndtri(level)
    slope = np.sqrt((1.0 - together) / (1.0 + together))
    joint = sp.special.ndtr(z) - 2.0 * sp.special.owens_t(z, slope)
    return np.asarray(np.clip(joint / level, 0.0, 1.0), dtype=np.float64)
