import numpy as np

from kpiaudit.stats.conjunction import both
from kpiaudit.stats.multiplicity import q_values


def test_a_worked_example_of_the_filter() -> None:
    first = np.array([0.001, 0.002, 0.30, 0.90])
    second = np.array([0.010, 0.700, 0.40, 0.95])
    # Below .01 lie the smaller p-values of two subjects, below .4 and .7 those of
    # three, below .95 those of all four.
    expected = [0.01 * 2 / 4, 0.7 * 3 / 4, 0.4 * 3 / 4, 0.95]
    np.testing.assert_allclose(both(first, second), expected)


def test_no_q_value_lies_below_the_larger_p_value() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.random(200) ** 3, rng.random(200) ** 3
    q = q_values(both(first, second))
    assert (q >= np.maximum(first, second) - 1e-12).all()


def test_what_cannot_be_asked_stays_untestable() -> None:
    out = both(np.array([np.nan, 0.01, 0.2]), np.array([0.01, 0.02, np.nan]))
    assert np.isnan(out[[0, 2]]).all()
    assert out[1] == 0.02


def test_honest_subjects_are_rarely_reported_even_if_each_shows_one_thing() -> None:
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(2000):
        first, second = rng.random(60), rng.random(60)
        first[:20] = 0.0  # an unusual habit, without what makes it gaming
        wrong += bool((q_values(both(first, second)) <= 0.05).any())
    assert wrong / 2000 <= 0.06
