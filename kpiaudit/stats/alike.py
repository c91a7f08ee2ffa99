"""Subjects with the same counts are measured once, and some not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats.yardstick import ALONE

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome
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


@frozen
class Alike:
    """Subjects of whom the same is known.

    Args:
        first: The first subject of each kind, shape (n_kinds,).
        place: The kind of each subject, shape (n_subjects,); -1 where nobody asks.
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
        if new.all():  # the order of counts would be nobody's
            return cls(first=every, place=every)
        place = np.empty(len(k), dtype=np.int64)
        place[order] = np.cumsum(new) - 1
        return cls(first=order[new], place=place)

    def only(self, about: BoolArray | None) -> Alike:
        """Return the kinds of some subjects, where there are many and none are alike.

        Args:
            about: Who is asked about, shape (n_subjects,); None stands for all.
        """
        size = len(self.place)
        if about is None or len(self.first) < size or size <= ALONE:
            return self
        place = np.where(about, np.cumsum(about) - 1, -1)
        return Alike(first=np.flatnonzero(about), place=place)

    def spread_out(self, outcome: Outcome) -> Outcome:
        """Return the outcome of all subjects from that of each kind; nan of others."""
        place = self.place
        if len(outcome) == len(place):
            return outcome
        asked = place >= 0
        inner, breaking = outcome.interval, outcome.breaking_point

        def each(values: FloatArray, of: BoolArray) -> FloatArray:
            out = np.full(len(of), np.nan)
            out[of] = values
            return out

        def interval(rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
            at = place[rows[asked[rows]]]
            low, high = inner(at, level)  # type: ignore[misc]
            return each(low, asked[rows]), each(high, asked[rows])

        def breaking_point(rows: IntArray, p: float) -> FloatArray:
            at = place[rows[asked[rows]]]
            return each(breaking(at, p), asked[rows])  # type: ignore[misc]

        arrays: dict[str, Any] = {
            name: each(getattr(outcome, name)[place[asked]], asked) for name in _ARRAYS
        }
        return replace(
            outcome,
            **arrays,
            interval=None if inner is None else interval,
            breaking_point=None if breaking is None else breaking_point,
        )
