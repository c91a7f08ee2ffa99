"""Two questions that must both be answered with yes, asked of many subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray


def both(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return p-values for `both answers are yes`, for use in a false discovery rate.

    The larger p-value alone is valid but wasteful: few honest subjects stand out on
    even one question, so few can be reported by mistake on two. Only subjects whose
    smaller p-value lies below a threshold compete for it, and the result is scaled by
    their share. After Benjamini and Hochberg's step no subject's q-value is below its
    larger p-value.

    Args:
        first: p-values of the first question, shape (n,), nan where untestable.
        second: Those of the second, asked on columns that the first did not use.

    Returns:
        Shape (n,), at most the larger of the two; nan where either is. Taken alone,
        without a correction for n subjects, one of them is no p-value.

    Source:
        Wang, Gui, Su, Sabatti & Owen (2022), Annals of Statistics 50(4):1890-1909
        (the adaptive filter for partial conjunctions, with two of two).
    """
    larger, smaller = np.maximum(first, second), np.minimum(first, second)
    tested = ~np.isnan(larger)
    out = np.full(larger.shape, np.nan)
    if not tested.any():
        return out
    ranked = np.sort(smaller[tested])
    competing = np.searchsorted(ranked, larger[tested], side="right")
    out[tested] = larger[tested] * competing / tested.sum()
    return out
