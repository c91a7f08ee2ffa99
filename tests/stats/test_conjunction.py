from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from kpiaudit.stats import held
from kpiaudit.stats.conjunction import both, breaking_point, carried, joint
from kpiaudit.stats.multiplicity import q_values
from kpiaudit.stats.outcome import Outcome


def test_a_worked_example_of_the_filter() -> None:
    first = np.array([0.001, 0.002, 0.30, 0.90])
    second = np.array([0.010, 0.700, 0.40, 0.95])
    # Below .01 lie the smaller p-values of two subjects, below .4 and .7 those of
    # three, below .95 those of all four; independent questions add p itself at most.
    expected = [0.01 * 2 / 4, 0.7 * 3 / 4, 0.4 * 3 / 4, 0.95]
    np.testing.assert_allclose(both(first, second, together=0.0), expected)


@pytest.mark.parametrize("together", [0.0, 0.3, 0.7])
def test_the_guard_is_the_tail_of_a_bivariate_normal(together: float) -> None:
    # One subject far ahead of 99 others: the guard, not the filter, decides.
    first, second = np.full(100, 0.9), np.full(100, 0.9)
    first[0], second[0] = 0.01, 0.02
    z = stats.norm.ppf(0.02)
    joint = stats.multivariate_normal.cdf(
        [z, z], mean=[0, 0], cov=[[1, together], [together, 1]]
    )
    np.testing.assert_allclose(
        both(first, second, together=together)[0], max(joint, 0.02 / 100), rtol=1e-4
    )


def test_no_q_value_lies_below_the_larger_p_value() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.random(200) ** 3, rng.random(200) ** 3
    q = q_values(both(first, second, together=0.0))
    assert (q >= np.maximum(first, second) - 1e-12).all()


def test_what_cannot_be_asked_stays_untestable() -> None:
    first, second = np.array([np.nan, 0.01, 0.2]), np.array([0.01, 0.02, np.nan])
    out = both(first, second, together=0.5)
    assert np.isnan(out[[0, 2]]).all()
    assert out[1] == 0.02


def test_honest_subjects_are_rarely_reported_even_if_each_shows_one_thing() -> None:
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(2000):
        first, second = rng.random(60), rng.random(60)
        first[:20] = 0.0  # an unusual habit, without what makes it gaming
        q = q_values(both(first, second, together=0.0))
        wrong += bool((q <= 0.05).any())
    assert wrong / 2000 <= 0.06


def test_habits_that_go_together_need_the_guard() -> None:
    rng = np.random.default_rng(9)
    wrong = {0.0: 0, 0.7: 0}
    for _ in range(1000):
        z = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], size=60)
        first, second = stats.norm.sf(z).T
        for together in wrong:
            q = q_values(both(first, second, together=together))
            wrong[together] += bool((q <= 0.05).any())
    assert wrong[0.0] / 1000 > 0.15
    assert wrong[0.7] / 1000 <= 0.065


@pytest.mark.parametrize("together", [0.0, 0.15, 0.6])
def test_the_joint_tail_is_that_of_a_bivariate_normal(together: float) -> None:
    z = stats.norm.ppf(0.03)
    both_so_clear = stats.multivariate_normal.cdf(
        [z, z], mean=[0, 0], cov=[[1, together], [together, 1]]
    )
    given = joint(np.array([0.001, 0.03]), np.array([0.03, 0.02]), together=together)
    np.testing.assert_allclose(given, both_so_clear, rtol=1e-4)


def test_a_joint_p_value_is_no_smaller_than_its_share_of_honest_subjects() -> None:
    rng = np.random.default_rng(3)
    cov = [[1.0, 0.15], [0.15, 1.0]]
    z = rng.multivariate_normal([0.0, 0.0], cov, size=100_000)
    p = joint(stats.norm.sf(z[:, 0]), stats.norm.sf(z[:, 1]), together=0.15)
    for level in (0.001, 0.01, 0.05):
        assert np.mean(p <= level) <= level * 1.1


def test_the_joint_tail_needs_both_answers() -> None:
    p = joint(np.array([np.nan, 0.1]), np.array([0.1, np.nan]), together=0.15)
    assert np.isnan(p).all()


def test_a_clear_sign_carries_a_leaning_answer_and_never_more() -> None:
    # Ninety others show nothing and hardly compete.
    first = np.concatenate([[0.07, 0.03, 0.4, np.nan], np.full(90, 0.8)])
    second = np.concatenate([[3e-4, 0.03, 1e-9, 0.01], np.full(90, 0.5)])
    p = carried(first, second, together=0.2)
    assert p[0] < joint(first, second, together=0.2)[0]
    assert p[1] <= joint(first, second, together=0.2)[1]
    assert p[2] > 0.1
    assert np.isnan(p[3])


def test_where_all_show_the_first_only_the_second_counts() -> None:
    second = np.array([0.001, 0.02, 0.3, 0.9])
    p = carried(np.full(4, 1e-12), second, together=0.2)
    np.testing.assert_allclose(p, second)


def test_a_margin_asks_more_of_the_second_and_never_more_than_all_of_it() -> None:
    first, second = np.full(8, 0.7), np.full(8, 0.6)
    first[0], second[0] = 1e-9, 0.01
    plain, wary, most = (
        carried(first, second, together=0.2, more=more)[0] for more in (0, 2, 9)
    )
    np.testing.assert_allclose([plain, wary, most], [0.01 / 8, 0.03 / 8, 0.01])


@pytest.mark.parametrize("eager", [1, 6, 30, 60])
def test_an_honest_habit_does_not_carry_the_second_answer(eager: int) -> None:
    rng = np.random.default_rng(eager)
    wrong = 0
    for _ in range(1000):
        first, second = rng.random(60), rng.random(60)
        first[:eager] **= 12  # from leaning to clearer than any count can be
        q = q_values(carried(first, second, together=0.2))
        wrong += bool((q <= 0.05).any())
    assert wrong / 1000 <= 0.065


def test_what_breaks_an_answer_depends_on_who_competes() -> None:
    def outcome(p: np.ndarray) -> Outcome:
        nothing = Outcome.untestable(np.ones(len(p)), np.ones(len(p)))
        # The level to which an answer may be weakened, itself.
        return replace(nothing, p_value=p, breaking_point=lambda _, level: [level])

    second = outcome(np.full(50, 1e-6))
    alone, crowd = np.full(50, 0.8), np.full(50, 1e-9)
    alone[0] = 1e-9
    row = np.array([0])
    few, many = (
        breaking_point(outcome(first), second, row, 0.01, together=0.2)[0]
        for first in (alone, crowd)
    )
    assert many == pytest.approx(0.01, rel=1e-3)
    assert few > 2.0 * many


def test_subjects_planted_together_are_measured_as_if_each_were_alone() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.random(24), rng.random(24)
    planted = [[3], [5], [3, 5, 8, 13]]
    p = []
    with held.keeping() as kept:
        carried(first, second, together=0.2)
    for rows in planted:
        now = first.copy(), second.copy()
        now[0][rows], now[1][rows] = 0.004, 0.02
        with held.against(kept):
            p.append(carried(*now, together=0.2))
    alone = first.copy(), second.copy()
    alone[0][3], alone[1][3] = 0.004, 0.02
    assert p[0][3] == carried(*alone, together=0.2)[3]
    assert [p[2][3], p[2][5]] == [p[0][3], p[1][5]]


def test_honest_answers_that_go_together_are_carried_as_often_as_claimed() -> None:
    rng = np.random.default_rng(11)
    z = rng.multivariate_normal([0, 0], [[1, 0.2], [0.2, 1]], size=200_000)
    p = carried(*stats.norm.sf(z.T), together=0.2)
    # The smaller of two p-values: at most half as many again at small levels.
    for level in (0.01, 0.001):
        assert np.mean(p <= level) < 1.6 * level


def test_pairs_of_one_test_keep_their_own_first_answers() -> None:
    rng = np.random.default_rng(5)
    second = rng.random(24)
    firsts = {"quiet": rng.random(24), "eager": rng.random(24) ** 9}
    second[3] = 0.02
    alone = {}
    with held.keeping() as kept:
        for about, first in firsts.items():
            first[3] = 0.004
            alone[about] = carried(first, second, together=0.2, about=about)[3]
    assert alone["quiet"] < alone["eager"]
    with held.against(kept):
        again = {
            about: carried(first, second, together=0.2, about=about)[3]
            for about, first in firsts.items()
        }
    assert again == alone
