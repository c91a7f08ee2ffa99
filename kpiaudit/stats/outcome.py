"""The one shape in which every test answers."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kpiaudit.stats.scale import Standing

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]


@frozen
class Outcome:
    """What a test says about every subject of one kind, in the subjects' order.

    All arrays have shape (n_subjects,). A subject with too little data is untestable:
    its `p_value` is nan, never 1, so that it can't pass as clean.

    Args:
        trials: Exposure of each subject (contacts, calls near the cap, ...).
        observed: Events counted.
        expected: Events that honest peers, or the counterfactual, would have given.
        p_value: One-sided, of an excess no larger than the rule's `min_effect`; nan
            where untestable. Valid (stochastically no smaller than uniform) for honest
            subjects who differ from each other.
        effect: Excess events, point estimate.
        low: Lower end of the 95 % interval of `effect`.
        high: Upper end of it.
        ratio: Odds or rate ratio against the baseline, shrunken; nan if none.
        ratio_low: Lower end of the 95 % interval of `ratio`.
        ratio_high: Upper end of it.
        facts: Scalars about the whole family, such as `spread`, `spread_low`,
            `spread_high`, `asymmetry`, `dispersion`.
        extra: Further arrays of shape (n_subjects,) for the wording.
        interval: Gives (low, high) of `effect` for some rows at another level.
        breaking_point: Gives, for some rows and a p-value threshold, how many times
            more honest subjects would have to differ before the row is lost.
        standing: What is left open about each subject's log-odds, for replicas.
        smallest_detectable: Effect (in units of `effect`) that a subject of median
            exposure would show with 80 % power; nan if not computed.
    """

    trials: FloatArray
    observed: FloatArray
    expected: FloatArray
    p_value: FloatArray
    effect: FloatArray
    low: FloatArray
    high: FloatArray
    ratio: FloatArray
    ratio_low: FloatArray
    ratio_high: FloatArray
    facts: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, FloatArray] = field(default_factory=dict)
    interval: Callable[[IntArray, float], tuple[FloatArray, FloatArray]] | None = None
    breaking_point: Callable[[IntArray, float], FloatArray] | None = None
    standing: Standing | None = None
    smallest_detectable: float = float("nan")

    @classmethod
    def untestable(
        cls,
        trials: FloatArray,
        observed: FloatArray | None = None,
        extra: Iterable[str] = (),
    ) -> Outcome:
        """Return the outcome of subjects of whom nothing can be said.

        Args:
            trials: Their exposure, shape (n_subjects,).
            observed: Their events; None if not known either.
            extra: Names of further arrays, nan all of them.
        """
        nan = np.full(len(trials), np.nan)
        return cls(
            trials=trials,
            observed=nan if observed is None else observed,
            expected=nan,
            p_value=nan,
            effect=nan,
            low=nan,
            high=nan,
            ratio=nan,
            ratio_low=nan,
            ratio_high=nan,
            facts={"n_subjects_used": 0.0},
            extra=dict.fromkeys(extra, nan),
        )

    @property
    def testable(self) -> BoolArray:
        """Say which subjects had enough data, shape (n_subjects,)."""
        return ~np.isnan(self.p_value)

    def __len__(self) -> int:
        """Count the subjects."""
        return int(self.p_value.shape[0])
