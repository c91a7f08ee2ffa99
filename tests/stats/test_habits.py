"""Habits of the same subject are drawn together, each with its fitted spread."""

from __future__ import annotations

import numpy as np
import pytest

from kpiaudit.stats import habits, peers

SIZE, TRIALS = 90, 2000


def standings(*log_odds):
    """Return what counts leave open about such habits."""
    rng = np.random.default_rng(11)
    out = []
    for each in log_odds:
        n = np.full(SIZE, TRIALS)
        k = rng.binomial(n, 1 / (1 + np.exp(2.0 - each)))
        outcome = peers.excess(
            np.arange(SIZE), np.zeros(SIZE, int), k, n, n_subjects=SIZE
        )
        out.append(outcome.standing)
    return out


def drawn(some, outside=None, times=6):
    outside = np.zeros(SIZE, dtype=bool) if outside is None else outside
    each = [
        habits.together(some, outside, np.random.default_rng([3, i]))
        for i in range(times)
    ]
    return np.array(each)


def test_habits_that_go_together_do_so_when_drawn_and_others_do_not():
    rng = np.random.default_rng(4)
    common, own, other = rng.standard_normal((3, SIZE))
    some = standings(0.4 * common, 0.3 * common + 0.1 * own, 0.4 * other)
    got = np.mean([np.corrcoef(each) for each in drawn(some)], axis=0)
    assert got[0, 1] > 0.7
    assert abs(got[0, 2]) < 0.35
    assert abs(got[1, 2]) < 0.35


def test_a_habit_keeps_its_spread_where_its_counts_say_little():
    rng = np.random.default_rng(6)
    outcomes = []
    for trials in (40, 4000):
        n = np.full(SIZE, trials)
        k = rng.binomial(n, 1 / (1 + np.exp(1.0 - 0.4 * rng.standard_normal(SIZE))))
        outcomes.append(
            peers.excess(np.arange(SIZE), np.zeros(SIZE, int), k, n, n_subjects=SIZE)
        )
    got = drawn([o.standing for o in outcomes])
    # Shrunken estimates would be too narrow, raw ones too wide.
    assert got.std(axis=2).mean(axis=0) == pytest.approx([0.4, 0.4], abs=0.12)


def test_an_unusual_subject_stays_unusual_unless_it_is_outside():
    rng = np.random.default_rng(8)
    one, two = 0.2 * rng.standard_normal((2, SIZE))
    one[0] = two[0] = 2.5
    some = standings(one, two)
    assert drawn(some)[:, :, 0].min() > 1.5
    outside = np.arange(SIZE) == 0
    assert drawn(some, outside)[:, :, 0].max() < 1.5


def test_the_same_numbers_give_the_same_habits():
    some = standings(0.3 * np.random.default_rng(2).standard_normal(SIZE))
    np.testing.assert_array_equal(drawn(some, times=1), drawn(some, times=1))


def test_no_habits_are_none():
    assert habits.together([], np.zeros(3, dtype=bool), np.random.default_rng(1)) == ()


def test_habits_that_go_together_are_spread_as_each_was_fitted():
    """Of few counts, one habit is no license for the others to be wide."""
    nobody = np.zeros(30, dtype=bool)
    fitted, got = [], []
    for seed in range(12):
        rng = np.random.default_rng([21, seed])
        rate = 1 / (1 + np.exp(0.5 - 0.15 * rng.standard_normal(30)))
        n = np.full(30, 100)
        each = [
            peers.excess(
                np.arange(30),
                np.zeros(30, int),
                rng.binomial(n, rate),
                n,
                n_subjects=30,
            ).standing
            for _ in range(3)
        ]
        spreads = [one.spread for one in each]
        fitted.append([one.weight.sum(axis=1) @ one.sd**2 for one in spreads])
        odds = habits.together(each, nobody, np.random.default_rng(seed), apart=False)
        got.append(np.var(odds, axis=1))
    # It was 1.4 when each habit's spread was drawn without a look at the others.
    assert np.mean(got) / np.mean(fitted) == pytest.approx(0.95, abs=0.2)
