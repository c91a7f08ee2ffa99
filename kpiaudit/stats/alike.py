"""Subjects with the same counts are measured once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.stats.yardstick import ALONE

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome
    from kpiaudit.stats.reference import Counts

_ARRAYS = (
    "trials",
    "observed",
    "expected",
    "p_value",
    "effect",
    "low",
    "high",
    "ratio",
    "ratio_low",
    "ratio_high",
)


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Subjects of whom the same is known.

    Args:
        first: The first subject of each kind, shape (n_kinds,).
        place: The kind of each subject, shape (n_subjects,).
    """

    first: IntArray
    place: IntArray

    @classmethod
    def of(cls, counts: Counts, k: FloatArray, n: FloatArray, phi: FloatArray) -> Alike:
        """Put many subjects with equal counts in the only stratum together."""
        every = np.arange(len(k))
        if counts.n_strata > 1 or len(k) <= ALONE or counts.offset.any():
            return cls(first=every, place=every)
        order = np.lexsort((every, phi, n, k))
        told = np.stack([k, n, phi])[:, order]
        new = np.append(True, (told[:, 1:] != told[:, :-1]).any(axis=0))
        place = np.empty(len(k), dtype=np.int64)
        place[order] = np.cumsum(new) - 1
        return cls(first=order[new], place=place)

    def spread_out(self, outcome: Outcome) -> Outcome:
        """Return the outcome of all subjects from that of each kind of them."""
        place = self.place
        if len(outcome) == len(place):
            return outcome
        inner, breaking = outcome.interval, outcome.breaking_point
        arrays = {name: getattr(outcome, name)[place] for name in _ARRAYS}
        return replace(
            outcome,
            **arrays,
            interval=inner and (lambda rows, level: inner(place[rows], level)),
            breaking_point=breaking and (lambda rows, p: breaking(place[rows], p)),
        )
