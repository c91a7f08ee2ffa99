"""Claims about many subjects who show two things at once."""

import numpy as np

from kpiaudit.stats.many import log_odds, many

USED = np.ones(40, dtype=np.bool_)


def both(showing: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second = (0.25 * rng.standard_normal(40) for _ in range(2))
    first[:showing] += 1.5
    second[:showing] += 2.0
    return first, second


def test_a_large_minority_is_left_out_of_the_yardstick() -> None:
    found = many(*both(16, 1), USED, ratios=(1.5, 2.0))
    assert found.p_value < 1e-4
    assert found.learn is not None
    np.testing.assert_array_equal(np.flatnonzero(~found.learn), np.arange(16))


def test_few_who_stand_out_and_honest_subjects_change_nothing() -> None:
    tried = [
        many(*both(n, seed), USED, ratios=(1.5, 2.0))
        for n in (0, 3)
        for seed in range(20)
    ]
    assert all(found.learn is None for found in tried)


def test_one_answer_alone_does_not_count() -> None:
    first, second = both(16, 2)
    for pair in ((first, second[::-1]), (first, 0.0 * second)):
        assert many(*pair, USED, ratios=(1.5, 2.0)).learn is None


def test_nobody_is_left_out_if_too_few_would_stay() -> None:
    used = np.arange(40) < 20
    assert many(*both(16, 3), used, ratios=(1.5, 2.0)).learn is None
    assert many(*both(16, 3), ~USED, ratios=(1.5, 2.0)).p_value == 1.0


def test_log_odds_stay_finite() -> None:
    ends = log_odds(np.array([0.0, 5.0]), np.array([5.0, 5.0]))
    np.testing.assert_allclose(ends, [-np.log(11.0), np.log(11.0)])
