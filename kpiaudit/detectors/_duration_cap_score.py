"""Do calls near the cap follow the score of a bonus? A further question of agents."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np
import scipy as sp

from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors import _incentives_schemes as schemes
from kpiaudit.detectors._duration_cap_counts import BEYOND, NEAR
from kpiaudit.detectors.base import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kpiaudit.detectors._duration_cap_find import Cap
    from kpiaudit.detectors.base import Found, Summaries
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome
    from kpiaudit.tables.dataset import Dataset, Frame

PAID = schemes.HANDLE_TIME | schemes.CALLS_HANDLED
"""KPIs that calls cut short at a cap lower or raise."""
NEAR_CELLS = "standing_near"

_KEYS = ("agent_id", "day", "hour", "queue")
KEYS: Mapping[str, tuple[str, ...]] = {
    incentives.CELLS: _KEYS,
    NEAR_CELLS: ("cap_s", *_KEYS),
}
"""Columns by which the summaries are sorted."""

_SHARE = 1.0 / 3.0
"""Of the error rate, for peers and score together; the rest is for peers alone."""
_BOTTOM, _TOP = -2.0, 4.0
"""The score counts for no more standard deviations than this, either way."""


def every_call(calls: Frame, data: Dataset, found: Found) -> Mapping[str, Frame]:
    """Count all calls by hour: they make the score, and show nothing themselves."""
    none = nw.lit(0).cast(nw.Int64)
    return incentives.cells(calls, data, found, trials=none, events=none)


def near_cap(placed: Frame, data: Dataset, found: Found) -> Frame:
    """Count calls below, near and over one cutoff by hour, and those near it."""
    kept = placed.filter(nw.col("zone") != BEYOND).filter(nw.col("period") == 1)
    near = nw.when(nw.col("zone") == NEAR).then(1).otherwise(0).cast(nw.Int64)
    return (
        kept.with_columns(near=near, hour=incentives.clock(data, found))
        .group_by(*KEYS[NEAR_CELLS])
        .agg(trials=nw.len().cast(nw.Int64), events=nw.col("near").sum())
    )


def ask(
    summaries: Summaries, found: Found, cap: Cap, ids: NDArray[np.object_]
) -> Outcome | None:
    """Test every agent's gradient at one cutoff; None where nothing is paid."""
    if incentives.CELLS not in summaries or NEAR_CELLS not in summaries:
        return None
    every, near = summaries[incentives.CELLS], summaries[NEAR_CELLS]
    near = near.where(near.ints("cap_s") == cap.cap_s)
    none = np.zeros(len(near), dtype=np.int64)
    absent = {"contacts": none, "seconds": none}
    names = (*_KEYS, "contacts", "seconds", "trials", "events")
    rows = Summary(
        columns={
            name: np.concatenate(
                [every[name], absent.get(name, near.columns.get(name))]
            )
            for name in names
        }
    )
    return incentives.ask({incentives.CELLS: rows}, found, ids)


def followed(raw: Outcome, score: Outcome | None) -> Outcome:
    """Let the score add to the comparison with peers.

    Given how many calls an agent has near the cap, when they fall is tied to nothing
    that the comparison with peers uses. Both are added up as normal scores for a third
    of the error rate, the other two thirds stay with peers alone.

    Args:
        raw: The comparison with peers.
        score: Whether calls near the cap follow the score; None leaves all as it is.

    Source:
        Stouffer et al. (1949), The American Soldier 1:45 (sum of normal scores).
    """
    if score is None:
        return raw
    z = np.clip(-sp.special.ndtri(score.p_value), _BOTTOM, _TOP)
    inner = raw.breaking_point

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        if inner is None:
            return np.full(len(rows), np.nan)
        parts = [inner(np.array([r]), _needed(threshold, float(z[r]))) for r in rows]
        return np.concatenate(parts) if parts else np.zeros(0)

    return replace(
        raw,
        p_value=_together(raw.p_value, z),
        breaking_point=None if inner is None else breaking_point,
    )


def _together(p_value: FloatArray, z: FloatArray) -> FloatArray:
    """Return p-values of either question; as they were where z is nan."""
    both = sp.special.ndtr((sp.special.ndtri(p_value) - z) / np.sqrt(2.0))
    best = np.fmin(p_value / (1.0 - _SHARE), both / _SHARE)
    return np.asarray(np.where(np.isnan(z), p_value, np.minimum(best, 1.0)))


def _needed(threshold: float, z: float) -> float:
    """Return the largest p-value against peers that is kept at this threshold."""
    if np.isnan(z):
        return threshold
    alone = threshold * (1.0 - _SHARE)
    both = float(
        sp.special.ndtr(np.sqrt(2.0) * sp.special.ndtri(threshold * _SHARE) + z)
    )
    return max(alone, both)
