import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import false_discovery_control

from kpiaudit.stats import multiplicity

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def test_q_values_agree_with_scipy() -> None:

    p = np.array([0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.34, 1.0])
    assert np.allclose(multiplicity.q_values(p), false_discovery_control(p))


def test_the_untestable_do_not_count_as_tests() -> None:
    with_nan = multiplicity.q_values(np.array([0.01, np.nan, 0.5]))
    without = multiplicity.q_values(np.array([0.01, 0.5]))
    assert np.isnan(with_nan[1])
    assert np.allclose(with_nan[[0, 2]], without)


@given(P_VALUES)
def test_q_values_are_no_smaller_than_p_and_keep_their_order(p: list[float]) -> None:
    array = np.array(p)
    q = multiplicity.q_values(array)
    assert np.all(q >= array - 1e-12)
    assert np.all(np.diff(q[np.argsort(array, kind="stable")]) >= -1e-12)


@given(P_VALUES, st.randoms(use_true_random=False))
def test_shuffling_moves_q_values_with_their_subjects(p: list[float], rng) -> None:
    order = list(range(len(p)))
    rng.shuffle(order)
    array = np.array(p)
    assert np.allclose(
        multiplicity.q_values(array[order]), multiplicity.q_values(array)[order]
    )


def test_a_floor_keeps_its_share_among_a_thousand_agents() -> None:
    weight = multiplicity.kind_weights([1, 1000], [0.2, 0.8])
    q = multiplicity.q_values(np.concatenate([[1e-3], np.ones(1000)]), weight)
    assert weight.mean() == pytest.approx(1)
    assert q[0] == pytest.approx(1e-3 / 0.2, rel=0.01)


def test_weighted_selection_keeps_the_error_rate() -> None:
    rng = np.random.default_rng(7)
    weight = multiplicity.kind_weights([1, 5, 60], [0.15, 0.15, 0.7])
    hits = sum(
        bool((multiplicity.q_values(rng.random(66), weight) <= 0.05).any())
        for _ in range(2000)
    )
    assert hits / 2000 < 0.065


def test_one_family_of_six_is_read_at_a_sixth_of_the_level() -> None:
    smallest = np.array([1e-6, 0.4, 0.9, 0.7, 0.2, 0.3])
    selected, level = multiplicity.select_families(smallest, 0.05)
    assert selected == 1
    assert level == pytest.approx(0.05 / 6)


def test_more_rules_do_not_add_false_alarms() -> None:
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(1500):
        families = [multiplicity.q_values(rng.random(30)) for _ in range(6)]
        smallest = np.array([q.min() for q in families])
        _, level = multiplicity.select_families(smallest, 0.05)
        alarms += bool((smallest <= level).any())
    assert alarms / 1500 < 0.065


def test_nothing_testable_selects_nothing() -> None:
    assert multiplicity.select_families(np.array([np.nan]), 0.05) == (0, 0.05)
    assert np.isnan(multiplicity.simes(np.array([np.nan])))


def test_simes_of_one_p_value_is_that_value() -> None:
    assert multiplicity.simes(np.array([0.03])) == pytest.approx(0.03)


def test_answers_that_agree_lose_nothing_and_one_alone_its_share() -> None:
    p = np.array([[0.001, 0.001, np.nan, 1e-200], [0.001, 1.0, 0.02, 1e-200]])
    got = multiplicity.cauchy(p, np.array([0.25, 0.75]))
    assert got[0] == pytest.approx(0.001)
    assert got[1] == pytest.approx(0.004, rel=0.05)
    assert got[2] == pytest.approx(0.02)
    assert got[3] == pytest.approx(1e-200)
    assert np.isnan(multiplicity.cauchy(np.full((2, 1), np.nan), np.ones(2)))[0]


@pytest.mark.parametrize("together", [0.0, 0.5, 0.95])
def test_combined_answers_keep_their_level_however_they_go_together(
    together: float,
) -> None:
    rng = np.random.default_rng(17)
    shared = np.sqrt(together) * rng.standard_normal(200_000)
    own = np.sqrt(1.0 - together) * rng.standard_normal((3, 200_000))
    got = multiplicity.cauchy(ndtr(shared + own), np.array([0.4, 0.3, 0.3]))
    for level in (0.01, 0.001):
        assert np.mean(got <= level) < 1.2 * level
