"""The score before each hour, and whether a pattern follows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from kpiaudit.stats.gradient import Cells, gradient
from kpiaudit.stats.standing import Hours, Target, bounds, same_roundness, standing

START = (date(2026, 3, 1) - date(1970, 1, 1)).days
DAYS, HOURS, AGENTS, BONUS = 61, 4, 40, 900.0
EVERYBODY = np.ones(AGENTS, dtype=np.bool_)


def target(**settings):
    base = {"subjects": EVERYBODY, "threshold": BONUS}
    return Target(**{**base, **settings})


def floor(seed, *, gamers=0, strength=0.0, in_reach=True, base=0.03, late=0.0):
    """Count four hours a day; gamers look at the score, or game all the time."""
    rng = np.random.default_rng(seed)
    pace = 35 * np.exp(0.12 * rng.standard_normal(AGENTS))
    habit = 0.2 * rng.standard_normal((AGENTS, 1)) + 0.2 * rng.standard_normal(
        (AGENTS, DAYS)
    )
    day = START + np.arange(DAYS)
    begin, end = bounds(day, target())
    habit = habit + late * (day - begin > 20)
    contacts = rng.poisson(pace[:, None, None] / HOURS, (AGENTS, DAYS, HOURS))
    new = np.cumsum(contacts.reshape(AGENTS, -1), axis=1).reshape(contacts.shape)
    before = new - contacts
    before = before - before[:, begin - START, 0][:, :, None]
    missing = BONUS - before
    left = pace[:, None, None] * (end - day)[:, None]
    left = left - (pace / HOURS)[:, None, None] * np.arange(HOURS)
    open_ = (missing > 0) & (missing > 0.5 * left) & (missing < 1.5 * left)
    games = (np.arange(AGENTS) < gamers)[:, None, None] & (open_ | (not in_reach))
    rate = np.broadcast_to(base * np.exp(habit)[:, :, None], contacts.shape)
    events = rng.binomial(contacts, rate)
    events = events + rng.binomial(contacts - events, strength * games)
    agent, when, hour = np.indices(contacts.shape)
    return Cells(
        subject=agent.ravel(),
        day=START + when.ravel(),
        hour=8 + hour.ravel(),
        stratum=np.zeros(contacts.size, dtype=np.int64),
        contacts=contacts.ravel().astype(float),
        amount=300.0 * contacts.ravel(),
        trials=contacts.ravel(),
        events=events.ravel(),
        n_subjects=AGENTS,
    )


def test_planted_gradient_is_found() -> None:
    out = gradient(floor(1, gamers=6, strength=0.12), [target()])
    assert (out.p_value[:6] < 0.02).mean() >= 0.8
    assert np.median(out.extra["odds"][:6]) > 2.0
    assert (out.p_value[6:] < 0.01).mean() <= 0.05


@pytest.mark.parametrize(
    "settings",
    [{}, {"gamers": 6, "strength": 0.12, "in_reach": False}, {"late": 0.7}],
    ids=["honest", "all-the-time", "everybody-late-in-the-month"],
)
def test_whoever_does_not_look_at_the_score_does_not_stand_out(settings) -> None:
    p = [gradient(floor(seed, **settings), [target()]).p_value for seed in range(3)]
    told = np.concatenate(p)
    told = told[~np.isnan(told)]
    assert len(told) > 80
    assert (told < 0.05).mean() <= 0.07
    assert told.min() > 1e-4


def test_another_threshold_than_the_paid_one_does_not_show_it() -> None:
    cells = floor(1, gamers=6, strength=0.12)
    real = gradient(cells, [target()])
    other = gradient(cells, [target(threshold=600.0)])
    assert np.median(real.p_value[:6]) < np.nanmedian(other.p_value[:6])
    assert not real.extra["beaten"][:6].any()


def work(contacts, *, amount=None, first=START):
    """Return one hour a day of one subject."""
    n = len(contacts)
    contacts = np.asarray(contacts, dtype=float)
    return Hours(
        subject=np.zeros(n, dtype=np.int64),
        day=first + np.arange(n),
        hour=np.full(n, 9),
        contacts=contacts,
        amount=contacts if amount is None else contacts * np.asarray(amount),
        n_subjects=1,
    )


ONE = np.ones(1, dtype=np.bool_)


def alone(**settings):
    return target(subjects=ONE, **settings)


def test_a_threshold_is_in_reach_until_it_is_met_or_lost() -> None:
    state = standing(work([10.0] * 31), [alone(threshold=200.0)])
    assert state.known.all()
    assert state.reach[0]  # 200 missing, 310 to come
    # after 20 days it is met; nearly met it comes by itself
    assert not state.reach[20:].any()
    hopeless = standing(work([10.0] * 31), [alone(threshold=380.0)])
    assert hopeless.reach[:10].all()
    assert not hopeless.reach[-8:].any()


def test_the_score_starts_anew_with_every_period() -> None:
    week = standing(work([10.0] * 29), [alone(threshold=60.0, period="week")])
    monday = START + 1  # the first of March 2026 is a Sunday
    days = START + np.arange(29)
    assert not week.known[days < monday].any()
    whole = week.reach[days >= monday].reshape(4, 7)
    assert (whole == whole[0]).all()
    assert whole[0, 0]
    assert not whole[0, -1]


def test_a_period_that_began_before_the_data_has_no_score() -> None:
    state = standing(work([10.0] * 40, first=START + 14), [alone(threshold=200.0)])
    assert not state.known[:17].any()
    assert state.known[17:].all()


def test_below_a_mean_is_in_reach_only_near_it() -> None:
    below = {"threshold": 300.0, "above": False, "mean": True}
    for seconds, near in ((200.0, False), (305.0, True), (450.0, False)):
        state = standing(work([10.0] * 31, amount=[seconds] * 31), [alone(**below)])
        assert state.known.all()
        assert state.reach[:10].all() == near
        assert state.reach[:10].any() == near
    high = alone(threshold=300.0, above=True, mean=True)
    assert standing(work([10.0] * 31, amount=[290.0] * 31), [high]).reach[:5].all()


def test_overlapping_targets_hold_each_for_its_days() -> None:
    first = alone(threshold=200.0, last=START + 15)
    second = alone(threshold=380.0, first=START + 10)
    state = standing(work([10.0] * 31), [first, second])
    assert state.known.all()
    only_first = standing(work([10.0] * 31), [first])
    assert not only_first.known[15:].any()
    np.testing.assert_array_equal(state.reach[:10], only_first.reach[:10])
    only_second = standing(work([10.0] * 31), [second])
    np.testing.assert_array_equal(state.reach[15:], only_second.reach[15:])
    np.testing.assert_array_equal(
        state.reach[10:15], (only_first.reach | only_second.reach)[10:15]
    )


@pytest.mark.parametrize("threshold", [1.0, 45.0, 420.0, 900.0, 1150.0, 1234.5])
def test_other_thresholds_are_as_round(threshold: float) -> None:
    others = same_roundness(threshold)
    assert len(others) == 4
    assert threshold not in others
    assert all(0.65 * threshold < each < 1.35 * threshold for each in others)


def days_of(contacts, in_time, *, of_mean=None):
    n = len(contacts)
    return Hours(
        subject=np.zeros(n, dtype=np.int64),
        day=START + np.arange(n),
        hour=np.full(n, 9),
        contacts=np.asarray(contacts, dtype=float),
        amount=np.asarray(in_time, dtype=float),
        n_subjects=1,
        of_mean=None if of_mean is None else np.asarray(of_mean, dtype=float),
    )


def share_of(threshold):
    one = np.ones(1, dtype=np.bool_)
    return target(subjects=one, threshold=threshold, mean=True, most=1.0)


def test_a_share_is_lost_once_even_all_would_not_do() -> None:
    hours = days_of([10] * 31, [9.0] * 31)
    reach = standing(hours, [share_of(0.92)]).reach
    assert reach[:25].all()
    # After 25 days at 0.9 the other six would have to be above 1.
    assert not reach[25:].any()
    assert standing(hours, [replace(share_of(0.92), most=1.1)]).reach[25]


def test_contacts_without_a_deadline_leave_the_share_alone() -> None:
    plain = days_of([10] * 31, [8.0] * 31)
    more = days_of([30] * 31, [8.0] * 31, of_mean=[10] * 31)
    for threshold in (0.75, 0.82, 0.9):
        one, other = (standing(hours, [share_of(threshold)]) for hours in (plain, more))
        np.testing.assert_array_equal(one.reach, other.reach)


def test_those_with_most_events_are_no_yardstick_where_they_need_not_be() -> None:
    cells = floor(3, gamers=12, strength=0.1, base=0.003)
    honest = np.arange(AGENTS) >= 12
    hidden = gradient(cells, [target()], least_known=0.2)
    shown = gradient(cells, [target()], least_known=0.2, learn=honest)
    assert (shown.p_value[:12] < 0.01).sum() > (hidden.p_value[:12] < 0.01).sum()
    assert np.nanmin(shown.p_value[12:]) > 1e-3
