"""Claims about an answer that another one may support and never weaken."""

import numpy as np
import pytest

from kpiaudit.stats.supported import needed, supported

NAN = float("nan")


def test_honest_answers_are_reported_as_often_as_they_should_be() -> None:
    rng = np.random.default_rng(1)
    p = supported(rng.random(400_000), rng.random(400_000), weight=0.4)
    for level in (0.05, 0.01, 0.001):
        assert (p <= level).mean() == pytest.approx(level, rel=0.15)


def test_a_clear_second_answer_helps_and_none_leaves_it_as_it_is() -> None:
    p = supported(
        np.array([0.01, 0.01, 0.01, 0.01, NAN]),
        np.array([0.001, 0.5, 0.999, NAN, 0.001]),
        weight=0.4,
    )
    assert p[0] < 0.001
    assert p[1] == p[2]  # it never weakens more than by its price
    assert 0.01 < p[2] < 0.02
    assert p[3] == 0.01
    assert np.isnan(p[4])


def test_the_second_answer_alone_never_carries() -> None:
    p = supported(np.array([0.5, 0.2, 1.0]), np.array([0.0, 1e-99, 0.0]), weight=0.4)
    assert p.min() > 0.01


@pytest.mark.parametrize("threshold", [1e-6, 0.004, 0.3])
def test_what_is_needed_is_what_is_kept(threshold: float) -> None:
    more = np.array([0.9, 0.2, 1e-3])
    least = needed(threshold, more, weight=0.4)
    assert (np.diff(least) > 0).all()
    assert supported(least, more, weight=0.4) == pytest.approx(threshold, rel=1e-6)
    assert needed(threshold, np.array([NAN]), weight=0.4) == threshold
