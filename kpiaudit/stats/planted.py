"""Some subjects' other counts, measured by a yardstick that the rest has given."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen
from kpiaudit.stats.predictive import Model, log_odds_ratio, p_values
from kpiaudit.stats.yardstick import Yardstick, lifted_by

if TYPE_CHECKING:
    from kpiaudit.stats.odds import Tables
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome
    from kpiaudit.stats.reference import Counts
    from kpiaudit.stats.response import Response
    from kpiaudit.stats.spread import Spread

_BLOCK = 256

Moments = tuple["FloatArray", "FloatArray"]


@frozen
class Rates:
    """Log-odds that peers give per subject and stratum.

    Args:
        subject: Index per row.
        stratum: Label per row.
        log_odds: Of peers per row.
    """

    subject: IntArray
    stratum: IntArray
    log_odds: FloatArray

    def at(self, subject: IntArray, stratum: IntArray) -> FloatArray:
        """Return the log-odds of other rows; unseen ones take the stratum's mean."""
        labels, mean, overall = self._means
        place = np.searchsorted(labels, stratum).clip(0, max(len(labels) - 1, 0))
        same = labels[place] == stratum
        out: FloatArray = np.where(same, mean[place], overall)
        keys, order = self._cells
        at = np.searchsorted(keys, subject * len(labels) + place, side="right") - 1
        at = np.maximum(at, 0)
        known = same & (keys[at] == subject * len(labels) + place)
        return np.where(known, self.log_odds[order[at]], out)

    @cached_property
    def _means(self) -> tuple[IntArray, FloatArray, float]:
        """Return the strata, the mean of each, and that of all rows."""
        labels, index = np.unique(self.stratum, return_inverse=True)
        total = np.bincount(index, weights=self.log_odds)
        mean = total / np.maximum(np.bincount(index), 1)
        overall = float(self.log_odds.mean()) if len(self.log_odds) else 0.0
        return labels, mean, overall

    @cached_property
    def _cells(self) -> tuple[IntArray, IntArray]:
        """Return subject and stratum as one number per row, sorted, and their order."""
        labels = self._means[0]
        key = self.subject * len(labels) + np.searchsorted(labels, self.stratum)
        order = np.argsort(key, kind="stable")
        return key[order], order


@frozen
class Shared:
    """What each subject adds to the rates by which all the others are measured.

    Args:
        excess: Events beyond the peers' rate as far as it was trusted, per subject.
        trust: Weight as a peer, per subject.
        information: Variance of all subjects' trusted events.
        own_rate: Part of a stratum's own rate in what its peers give; 0 where there is
            a single stratum, whose rate moves for all alike.
    """

    excess: FloatArray
    trust: FloatArray
    information: float
    own_rate: float

    def moved(
        self,
        counts: Counts,
        log_odds: FloatArray,
        rows: IntArray,
        spread: Spread,
        *,
        phi: FloatArray,
        peers: FloatArray,
    ) -> FloatArray:
        """Return by how much other counts of some subjects raise the others' rates.

        By so much the others then seem lower, and the honest distribution with them;
        each subject counts as the only one with other counts.

        Args:
            counts: The other counts, numbered as `rows`.
            log_odds: Of peers, per row of the counts.
            rows: Which subjects these are.
            spread: The honest spread, by which they are trusted as peers or not.
            phi: Their variance over the binomial one.
            peers: Variance of their log-odds that is due to the peers being few.

        Returns:
            Log-odds per row of the counts.
        """
        if self.own_rate == 0.0:
            return np.zeros(len(log_odds))
        p = sp.special.expit(log_odds)
        k, n, mean, variance = (
            counts.per_subject(each)
            for each in (counts.k, counts.n, counts.n * p, counts.n * p * (1.0 - p))
        )
        # A normal likelihood tells well enough who is trusted.
        width = np.sqrt(phi / np.maximum(variance, 1e-9) + peers)
        gap = spread.grid.points - log_odds_ratio(k, n, mean)[:, None]
        likelihood = np.exp(-0.5 * (gap / width[:, None]) ** 2)
        known = (self.trust[rows] > 0.0) * (1.0 - lifted_by(spread, likelihood))
        change = known * (k - mean) - self.excess[rows]
        moved: FloatArray = self.own_rate * change / max(self.information, 1.0)
        return moved[counts.subject]


def null_moments(
    response: Response,
    points: FloatArray,
    *,
    n: FloatArray,
    ratio: float,
    events: float,
) -> tuple[Moments, Moments]:
    """Return mean and variance along the grid: honest, and with the allowed excess.

    Args:
        response: Expected events as functions of added log-odds.
        points: Where to evaluate it.
        n: Trials per subject.
        ratio: Odds ratio that is still allowed, >= 1.
        events: Excess events that are still allowed, >= 0; the larger of both counts.
    """
    honest = response.at(points)
    null = honest if ratio <= 1.0 else response.at(points + np.log(ratio))
    if events > 0.0:
        null = raised(honest, null, n=n, by=events)
    return honest, null


def raised(honest: Moments, null: Moments, *, n: FloatArray, by: float) -> Moments:
    """Add the allowed excess events where that is more than the allowed ratio."""
    out = np.empty_like(honest[0]), np.empty_like(honest[0])
    # In blocks that stay in a core's own cache.
    for start in range(0, len(n), _BLOCK):
        some = slice(start, start + _BLOCK)
        mean, variance = honest[0][some], honest[1][some]
        null_mean, null_variance = null[0][some], null[1][some]
        size = np.maximum(n[some], 1.0)[:, None]
        lifted = np.minimum(mean + by, size * (1.0 - 1e-9))
        rate = np.clip(lifted / size, 1e-12, 1.0 - 1e-9)
        old = np.clip(mean / size, 1e-12, 1.0 - 1e-9)
        more = variance * (rate * (1.0 - rate)) / (old * (1.0 - old))
        take = lifted > null_mean
        out[0][some] = np.where(take, lifted, null_mean)
        out[1][some] = np.where(take, more, null_variance)
    return out


def measured(
    outcome: Outcome,
    model: Model,
    rows: IntArray,
    *,
    testable: BoolArray,
    forced: FloatArray,
) -> Outcome:
    """Return an outcome in which some rows have other counts.

    Only what decides is measured again: p-value, counts, expectation and excess.

    Args:
        outcome: As it was.
        model: Of those rows only.
        rows: Which these are.
        testable: Whether each of them has enough data.
        forced: Events that the margins force, on top of the model's.
    """
    base = np.sum(model.weights(np.arange(len(rows))) * model.mean, axis=1)
    p = np.where(testable, p_values(model), np.nan)
    new = {
        "p_value": p,
        "observed": model.k + forced,
        "expected": base + forced,
        "effect": model.k - base,
    }
    arrays = {name: getattr(outcome, name).copy() for name in new}
    for name, values in new.items():
        arrays[name][rows] = values
    return replace(outcome, **arrays, interval=None, breaking_point=None)


def some_rows(yardstick: Yardstick, rows: IntArray) -> Yardstick:
    """Return the yardsticks of some subjects; a single one serves for all."""
    if len(rows) == len(yardstick.lifted) and np.array_equal(
        rows, np.arange(len(rows))
    ):
        return yardstick
    one = len(yardstick.honest) == 1
    return Yardstick(
        honest=yardstick.honest if one else yardstick.honest[rows],
        demanding=yardstick.demanding if one else yardstick.demanding[rows],
        lifted=yardstick.lifted[rows],
    )


def part_of_counts(counts: Counts, rows: IntArray) -> tuple[Counts, BoolArray]:
    """Return the rows of some subjects, renumbered, and which rows these are."""
    place = np.full(counts.n_subjects, -1)
    place[rows] = np.arange(len(rows))
    mine = place[counts.subject] >= 0
    return (
        replace(
            counts,
            subject=place[counts.subject[mine]],
            stratum=counts.stratum[mine],
            k=counts.k[mine],
            n=counts.n[mine],
            offset=counts.offset[mine],
            n_subjects=len(rows),
        ),
        mine,
    )


def part_of_tables(tables: Tables, rows: IntArray) -> Tables:
    """Return the tables of some subjects, renumbered."""
    place = np.full(tables.n_subjects, -1)
    place[rows] = np.arange(len(rows))
    mine = place[tables.subject] >= 0
    return replace(
        tables,
        subject=place[tables.subject[mine]],
        stratum=tables.stratum[mine],
        contacts=tables.contacts[mine],
        invited=tables.invited[mine],
        trouble=tables.trouble[mine],
        both=tables.both[mine],
        n_subjects=len(rows),
    )
