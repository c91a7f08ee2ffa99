"""Several later instants for one stamp, and several stamps: witnesses together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors._premature_ready_count import FROM_COURIER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kpiaudit.detectors._premature_ready_questions import Answers
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome

_CLEARER = 0.25
"""Weight of a wait counted from the courier's arrival, beside one from the stamp.

Where couriers are timed to the promise it is far clearer and can do with less; where
they come with the order it says nothing.
"""


def together(answers: Mapping[str, Answers], near: Mapping[str, float]) -> Outcome:
    """Give each agent one outcome out of all pairs of stamp and later instant.

    Later instants of the same stamp are witnesses of one question, whether exactly
    these orders waited. They largely agree, so their harmonic mean speaks for all of
    them: it is hardly larger where they agree, and at most multiplied by their number
    where only one does. The other question is about the stamp and is not asked again.

    Stamps are weighted by the square of how many orders of the whole floor lie near
    the promise: a promise about being ready is seldom near the time of delivery.

    Args:
        answers: Both answers, by pair.
        near: Orders stamped near the promise, by pair.

    Returns:
        At each agent the outcome of the clearest pair, see `strongest`.

    Source:
        Good (1958), Journal of the American Statistical Association 53:799-813, and
        Wilson (2019), PNAS 116:1195-1200 (the harmonic mean of p-values); Genovese,
        Roeder & Wasserman (2006), Biometrika 93:509-524 (weights).
    """
    stamps = np.array([pair.partition(">")[0] for pair in answers])
    sizes = {s: max(near[p], 1.0) ** 2 for s, p in zip(stamps, answers, strict=True)}
    factor = np.array([sum(sizes.values()) / sizes[s] for s in stamps])
    weight = np.where([p.endswith(FROM_COURIER) for p in answers], _CLEARER, 1.0)
    wait_p = np.stack([each.waited.p_value for each in answers.values()])
    joined = [
        each.joined(
            np.where(np.isnan(p), np.nan, harmonic(wait_p[same], weight[same])), pair
        )
        for (pair, each), same, p in zip(
            answers.items(), stamps[:, None] == stamps, wait_p, strict=True
        )
    ]
    ranked = np.stack([o.p_value for o in joined]) * factor[:, None]
    # Within a stamp the pairs nearly agree; the clearest wait is the one to show.
    best = np.lexsort((wait_p, ranked), axis=0)[0]
    return strongest(dict(enumerate(joined)), best=best, factor=factor[best])


def harmonic(p: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the harmonic mean over witnesses, shape (n,), without those that are nan.

    Args:
        p: p-values, shape (n_witnesses, n).
        weight: How much each witness counts, shape (n_witnesses,).

    >>> harmonic(np.array([[0.01, 0.01], [0.01, 1.0]]), np.ones(2)).round(4)
    array([0.01  , 0.0198])
    """
    counts = np.where(np.isnan(p), 0.0, weight[:, None])
    inverse = np.sum(counts / np.fmax(p, 1e-300), axis=0)
    known = inverse > 0.0
    out = np.full(p.shape[1], np.nan)
    out[known] = counts.sum(axis=0)[known] / inverse[known]
    return out


def strongest(
    by_pair: Mapping[int, Outcome],
    *,
    best: IntArray | None = None,
    factor: FloatArray | None = None,
) -> Outcome:
    """Give each subject its outcome at the pair where it is the least likely.

    The p-value is multiplied by how many pairs were tested at that subject. The extra
    `pair` says which one it is, and `p_0`, `p_1`, ... what each of them gave.

    Args:
        by_pair: Outcomes of the same subjects, by the position of their pair.
        best: Which of the outcomes each subject is given, instead of that one.
        factor: What the p-values are multiplied by, instead of their number.
    """
    outcomes, pairs = list(by_pair.values()), np.array(list(by_pair))
    p = np.stack([o.p_value for o in outcomes])
    if best is None or factor is None:
        best = np.argmin(np.where(np.isnan(p), np.inf, p), axis=0)
        factor = np.maximum((~np.isnan(p)).sum(axis=0), 1.0)
    at = np.arange(p.shape[1])

    def taken(arrays: Sequence[FloatArray]) -> FloatArray:
        return np.asarray(np.stack(list(arrays))[best, at], dtype=np.float64)

    extra = {n: taken([o.extra[n] for o in outcomes]) for n in outcomes[0].extra}

    def interval(rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
        both = [o.interval(rows, level) for o in outcomes if o.interval is not None]
        low = np.stack([b[0] for b in both])
        high = np.stack([b[1] for b in both])
        pick = best[rows], np.arange(len(rows))
        return low[pick], high[pick]

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        each = []
        for row in rows.tolist():
            alone = outcomes[best[row]].breaking_point
            if alone is not None:
                each.append(alone(np.array([row]), threshold / float(factor[row])))
        return np.concatenate(each) if each else np.empty(0)

    full = all(o.interval is not None for o in outcomes)
    broken = all(o.breaking_point is not None for o in outcomes)
    first = outcomes[int(np.bincount(best, minlength=len(outcomes)).argmax())]
    return replace(
        first,
        trials=taken([o.trials for o in outcomes]),
        observed=taken([o.observed for o in outcomes]),
        expected=taken([o.expected for o in outcomes]),
        p_value=np.minimum(taken(list(p)) * factor, 1.0),
        effect=taken([o.effect for o in outcomes]),
        low=taken([o.low for o in outcomes]),
        high=taken([o.high for o in outcomes]),
        ratio=taken([o.ratio for o in outcomes]),
        ratio_low=taken([o.ratio_low for o in outcomes]),
        ratio_high=taken([o.ratio_high for o in outcomes]),
        extra=extra
        | {f"p_{i}": o.extra.get("own_p_value", o.p_value) for i, o in by_pair.items()}
        | {"pair": pairs[best].astype(np.float64)},
        interval=interval if full else None,
        breaking_point=breaking_point if broken else None,
    )
