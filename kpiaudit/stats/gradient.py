"""Does a pattern follow the score? Contacts while a bonus is in reach against others.

Habits, bad seats, hard queues and novices do not know how far the month's bonus is.
Each subject is compared with itself, within the same period and stratum.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats.dispersion import day_dispersion
from kpiaudit.stats.odds import Tables, odds_ratio
from kpiaudit.stats.selection import withheld
from kpiaudit.stats.standing import Hours, same_roundness, standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome
    from kpiaudit.stats.standing import Target

MIN_IN_REACH = 20.0
"""Fewest contacts while the bonus was in reach."""
_MARGIN = 1.0
"""Standard deviations by which another threshold has to fit better: phases at nearby
thresholds overlap, and the real one loses to chance often."""


@frozen
class Cells:
    """Counts per subject, day, hour and stratum, in any order.

    Args:
        subject: Index per row, in [0, n_subjects).
        day: Local day, since 1970-01-01.
        hour: Local hour.
        stratum: Index of the queue or the like.
        contacts: Contacts that count for the score.
        amount: Sum of what the score is a mean of, if it is one.
        trials: Contacts that could show the pattern.
        events: Those that do.
        n_subjects: How many subjects there are.
        of_mean: Contacts that the mean is taken over, where these are not all.
    """

    subject: IntArray
    day: IntArray
    hour: IntArray
    stratum: IntArray
    contacts: FloatArray
    amount: FloatArray
    trials: IntArray
    events: IntArray
    n_subjects: int
    of_mean: FloatArray | None = None

    def hours(self) -> tuple[Hours, IntArray]:
        """Add up the strata of an hour; returns each cell's row as well."""
        first = int(self.day.min(initial=0))
        days = int(self.day.max(initial=0)) - first + 1
        key = (self.subject * days + self.day - first) * 24 + np.clip(self.hour, 0, 23)
        keys, row = np.unique(key, return_inverse=True)

        def added(each: FloatArray) -> FloatArray:
            return np.bincount(row, each, len(keys)).astype(np.float64)

        hours = Hours(
            subject=keys // (24 * days),
            day=keys // 24 % days + first,
            hour=keys % 24,
            contacts=added(self.contacts),
            amount=added(self.amount),
            n_subjects=self.n_subjects,
            of_mean=None if self.of_mean is None else added(self.of_mean),
        )
        return hours, row.astype(np.int64)


def gradient(
    cells: Cells,
    targets: Sequence[Target],
    *,
    learn: BoolArray | None = None,
    least_known: float = 1.0,
) -> Outcome:
    """Test whether each subject's events are more frequent while a target is in reach.

    Given how many events a subject has in a period and stratum, the number that falls
    on the time in which something was to be gained is compared with what the other
    subjects' odds ratio would give: what everybody has more of at the end of a month
    is nobody's gradient. Honest subjects' odds ratios may differ (drifting habits,
    learning); that spread is learned from all of them. A subject for whom a threshold
    at which nothing is paid fits clearly better does not count.

    Args:
        cells: Counts.
        targets: Thresholds that pay.
        learn: Who is a peer, shape (n_subjects,); None stands for all. Chosen by how
            many events subjects have, which says nothing of when: those with most of
            the events would else be everybody's yardstick.
        least_known: As in `selection.withheld`; below 1 where events are rare.

    Returns:
        `trials` are contacts in reach, `observed` the events among them, `effect`
        those beyond what the peers' odds ratio gives. `extra` has the subject's own
        `odds` (of an event in reach against out of it) with `odds_low`, `odds_high`,
        `placebo_odds`, those at the threshold of the same roundness that fits best,
        `elsewhere`, the contacts out of reach, and `beaten`, 1 where such a threshold
        fits clearly better.

    Source:
        Mantel & Haenszel (1959), JNCI 22:719-748; Cornfield (1956), Proc. 3rd Berkeley
        Symp. 4:135-148 (the conditional test); Oyer (1998), QJE 113:149-185, and Larkin
        (2014), J. Labor Economics 32:199-227 (effort and timing follow the distance to
        a quota).
    """
    hours, row = cells.hours()
    tables = _tables(cells, hours, row, targets)
    phi = day_dispersion(
        cells.subject,
        cells.day,
        cells.events,
        cells.trials,
        n_subjects=cells.n_subjects,
    )
    outcome = withheld(
        tables,
        min_trouble=MIN_IN_REACH,
        dispersion=phi,
        learn=learn,
        least_known=least_known,
    )
    own, score = odds_ratio(tables), _score(tables)
    placebo_odds = np.full(cells.n_subjects, np.nan)
    placebo_score = np.full(cells.n_subjects, -np.inf)
    for moved in _moved(targets):
        other = _tables(cells, hours, row, moved)
        there = _score(other)
        better = there > placebo_score
        placebo_odds = np.where(better, np.exp(-odds_ratio(other).log), placebo_odds)
        placebo_score = np.fmax(placebo_score, there)
    low, high = own.interval()
    p = outcome.p_value
    beaten = placebo_score > score + _MARGIN
    p = np.where(beaten & ~np.isnan(p), np.fmax(p, 0.5), p)
    elsewhere = tables.per_subject(tables.contacts - tables.trouble)
    return replace(
        outcome,
        p_value=p,
        extra={
            **outcome.extra,
            "odds": np.exp(-own.log),
            "odds_low": 1.0 / high,
            "odds_high": 1.0 / low,
            "placebo_odds": placebo_odds,
            "elsewhere": elsewhere,
            "beaten": beaten.astype(np.float64),
        },
    )


def _tables(
    cells: Cells, hours: Hours, row: IntArray, targets: Sequence[Target]
) -> Tables:
    state = standing(hours, targets)
    known, reach = state.known[row], state.reach[row]
    _, period = np.unique(state.period[row], return_inverse=True)
    stratum = period * (int(cells.stratum.max(initial=0)) + 1) + cells.stratum
    calm = cells.trials - cells.events
    return Tables.of(
        cells.subject[known],
        stratum[known].astype(np.int64),
        contacts=cells.trials[known],
        invited=calm[known],
        trouble=(cells.trials * reach)[known],
        both=(calm * reach)[known],
        n_subjects=cells.n_subjects,
    )


def _moved(targets: Sequence[Target]) -> list[list[Target]]:
    """Return the targets with thresholds as round at which nothing is paid."""
    others = [
        [value for value in same_roundness(t.threshold) if value <= t.most]
        for t in targets
    ]
    number = max((len(each) for each in others), default=0)
    return [
        [
            replace(target, threshold=each[min(k, len(each) - 1)])
            for target, each in zip(targets, others, strict=True)
            if each
        ]
        for k in range(number)
    ]


def _score(tables: Tables) -> FloatArray:
    """Return standard deviations by which events in reach exceed an even share."""
    m, r, n = tables.trouble, tables.invited, tables.contacts
    gap = tables.per_subject(m * r / n - tables.both)
    variance = tables.per_subject(
        m * r * (n - m) * (n - r) / (n**2 * np.maximum(n - 1.0, 1.0))
    )
    score = gap / np.sqrt(np.maximum(variance, 1e-12))
    return np.asarray(np.where(variance > 0, score, np.nan))
