"""How far a subject was from a threshold that pays, before each hour of work.

Whoever games for a bonus looks at the score: there is something to gain while the
threshold can still be reached and is not yet. What the score was is counted from the
contacts before the hour, what is left from the subject's own earlier pace.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

COUNT_BAND = (0.5, 1.5)
"""A count is in reach if what is missing is this many times what is usual for the time
left. Below, it comes by itself; above, nothing helps."""
MEAN_BAND = (0.95, 1.15)
"""The same for a mean: what it would have to be in the time left, over what is usual,
or the other way round where it is to be low."""
_PRIOR_DAYS = 5.0
"""Days for which the median subject's pace stands in until a subject shows its own."""
_LATE_START = 0.1
"""Share of a period that may be missing at the start of the data."""


@frozen
class Target:
    """A threshold that pays.

    Args:
        subjects: Whom it is for, shape (n_subjects,).
        threshold: Total or mean over the period from which it pays.
        above: It pays above the threshold, not below.
        mean: The measure is the mean amount per contact, not the number of contacts.
        most: The largest value that the measure can have: 1 for a share.
        period: `day`, `week`, `month`, `quarter`, or `span` for `first` to `last`.
        first: First day on which it holds, days since 1970-01-01.
        last: The day after the last one.
    """

    subjects: BoolArray
    threshold: float
    above: bool = True
    mean: bool = False
    most: float = float("inf")
    period: str = "month"
    first: int = -(2**31)
    last: int = 2**31


@frozen
class Hours:
    """Work per subject and hour, sorted by both; each hour once.

    Args:
        subject: Index per row, in [0, n_subjects).
        day: Local day, since 1970-01-01.
        hour: Local hour, 0 to 23.
        contacts: Contacts of the hour.
        amount: Sum of what a mean is taken of, over these contacts.
        n_subjects: How many subjects there are.
        of_mean: Contacts that the mean is taken over, where these are not all: a
            ticket without a deadline is neither in time nor late.
    """

    subject: IntArray
    day: IntArray
    hour: IntArray
    contacts: FloatArray
    amount: FloatArray
    n_subjects: int
    of_mean: FloatArray | None = None

    def counted(self, *, mean: bool) -> Hours:
        """Return the hours with the contacts that a measure counts."""
        if not mean or self.of_mean is None:
            return self
        return replace(self, contacts=self.of_mean)


@frozen
class Standing:
    """What the score said before each hour.

    Args:
        known: A target holds for the subject and the score is known, shape (n_rows,).
        reach: A target can still be reached and is not yet.
        period: First day of the period of the first target that holds.
    """

    known: BoolArray
    reach: BoolArray
    period: IntArray


def standing(hours: Hours, targets: Sequence[Target]) -> Standing:
    """Say before which hours something was to be gained.

    Where several targets hold at once (steps of a bonus, overlapping schemes) one in
    reach is enough.
    """
    n = len(hours.day)
    known, reach = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    period = np.zeros(n, dtype=np.int64)
    if not n:
        return Standing(known=known, reach=reach, period=period)
    kinds = {target.mean for target in targets}
    counted = {mean: hours.counted(mean=mean) for mean in kinds}
    usual = {mean: _Usual.of(each) for mean, each in counted.items()}
    first_day = int(hours.day.min())
    for target in targets:
        start, end = bounds(hours.day, target)
        holds = target.subjects[hours.subject]
        holds &= (hours.day >= target.first) & (hours.day < target.last)
        # A period of which the data lack the beginning has an unknown score.
        holds &= first_day <= start + _LATE_START * (end - start)
        near = _near(counted[target.mean], usual[target.mean], target, start, end)
        period = np.where(holds & ~known, start, period)
        known |= holds
        reach |= holds & near
    return Standing(known=known, reach=reach, period=period)


def bounds(day: IntArray, target: Target) -> tuple[IntArray, IntArray]:
    """Return the first day of each day's period, and the day after its last."""
    if target.period == "span":
        return np.full_like(day, target.first), np.full_like(day, target.last)
    if target.period == "day":
        return day, day + 1
    if target.period == "week":
        monday = day - (day + 3) % 7  # day 0 was a Thursday
        return monday, monday + 7
    length = 3 if target.period == "quarter" else 1
    month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    first = month - month % length

    def to_days(months: IntArray) -> IntArray:
        starts = months.astype("datetime64[M]").astype("datetime64[D]")
        return np.asarray(starts.astype(np.int64))

    return to_days(first), to_days(first + length)


def same_roundness(threshold: float) -> tuple[float, ...]:
    """Return thresholds as round as this one, a tenth and a fifth away.

    >>> same_roundness(900.0)
    (700.0, 800.0, 1000.0, 1100.0)
    """
    step = _step(threshold)
    out = set()
    for share in (-0.2, -0.1, 0.1, 0.2):
        steps = max(round(abs(share) * threshold / step), 1 if abs(share) < 0.15 else 2)
        out.add(threshold + float(np.sign(share)) * steps * step)
    return tuple(sorted(value for value in out if value > 0))


def _step(threshold: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that divides a number."""
    for power in range(6, -4, -1):
        for digit in (5.0, 2.0, 1.0):
            step = digit * 10.0**power
            ratio = threshold / step
            if step <= 0.15 * threshold and abs(ratio - round(ratio)) < 1e-6:
                return float(step)
    return 0.1 * threshold


@frozen
class _Usual:
    """What a subject had shown before the day of each row.

    Args:
        per_calendar_day: Contacts per calendar day.
        per_work_day: Contacts per day with work.
        mean: Mean amount per contact.
        left: Share of a day's contacts that usually still come, at this hour.
    """

    per_calendar_day: FloatArray
    per_work_day: FloatArray
    mean: FloatArray
    left: FloatArray

    @classmethod
    def of(cls, hours: Hours) -> _Usual:
        new_day = _starts(hours.subject, hours.day)
        new_subject = _starts(hours.subject)
        day_row = _first_row(new_day)
        own_row = _first_row(new_subject)
        contacts, amount = (_before(v) for v in (hours.contacts, hours.amount))
        had = contacts[day_row] - contacts[own_row]
        summed = amount[day_row] - amount[own_row]
        passed = (hours.day - hours.day[own_row]).astype(np.float64)
        count = np.cumsum(new_day) - 1.0
        worked = count - count[own_row]
        floor = _Floor.of(hours, new_day)
        prior = _PRIOR_DAYS
        return cls(
            per_calendar_day=(had + prior * floor.calendar) / (passed + prior),
            per_work_day=(had + prior * floor.worked) / (worked + prior),
            mean=(summed + prior * floor.worked * floor.mean)
            / np.maximum(had + prior * floor.worked, 1e-9),
            left=floor.left[np.clip(hours.hour, 0, 23)],
        )


@frozen
class _Floor:
    """The median subject, and the usual course of a day."""

    calendar: float
    worked: float
    mean: float
    left: FloatArray

    @classmethod
    def of(cls, hours: Hours, new_day: BoolArray) -> _Floor:
        total = np.bincount(
            hours.subject, weights=hours.contacts, minlength=hours.n_subjects
        )
        days = np.bincount(
            hours.subject, weights=new_day.astype(float), minlength=hours.n_subjects
        )
        some = days > 0
        span = float(hours.day.max() - hours.day.min() + 1)
        each_hour = np.bincount(
            np.clip(hours.hour, 0, 23), weights=hours.contacts, minlength=24
        )
        contacts = max(float(hours.contacts.sum()), 1e-9)
        return cls(
            calendar=float(np.median(total[some])) / span,
            worked=float(np.median(total[some] / days[some])),
            mean=float(hours.amount.sum()) / contacts,
            left=np.asarray(np.cumsum(each_hour[::-1])[::-1] / contacts),
        )


def _near(
    hours: Hours, usual: _Usual, target: Target, start: IntArray, end: IntArray
) -> BoolArray:
    """Say whether a target is in reach before each hour."""
    first = _first_row(_starts(hours.subject, start))
    contacts, amount = (_before(v) for v in (hours.contacts, hours.amount))
    had, summed = contacts - contacts[first], amount - amount[first]
    to_come = usual.per_calendar_day * (end - 1 - hours.day)
    to_come = np.maximum(to_come + usual.per_work_day * usual.left, 1e-9)
    if not target.mean:
        missing = target.threshold - had
        strain = missing / to_come
        low, high = COUNT_BAND
        return np.asarray((missing > 0) & (strain >= low) & (strain <= high))
    need = (target.threshold * (had + to_come) - summed) / to_come
    need = np.maximum(need, 1e-9)
    strain = need / usual.mean if target.above else usual.mean / need
    low, high = MEAN_BAND
    return np.asarray((strain >= low) & (strain <= high) & (need <= target.most))


def _before(values: FloatArray) -> FloatArray:
    """Return running totals without the row itself."""
    return np.asarray(np.cumsum(values) - values)


def _starts(*keys: IntArray) -> BoolArray:
    """Say which rows differ from the one before in any key."""
    out = np.ones(len(keys[0]), dtype=np.bool_)
    out[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return out


def _first_row(starts: BoolArray) -> IntArray:
    """Return the first row of each row's group."""
    rows = np.where(starts, np.arange(len(starts)), 0)
    return np.asarray(np.maximum.accumulate(rows))
