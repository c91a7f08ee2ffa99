"""What the peer comparison promises: references, symmetries, edges, error rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kpiaudit.stats import alike, held
from kpiaudit.stats.peers import excess
from kpiaudit.stats.tails import upper_tail

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray, Outcome

FIELDS = ("p_value", "effect", "low", "high", "ratio", "expected")


def centre(seed: int, theta: FloatArray, *, trials: int, rate: float) -> Outcome:
    rng = np.random.default_rng(seed)
    p = 1.0 / (1.0 + np.exp(-np.log(rate / (1.0 - rate)) - theta))
    n = np.full(len(theta), trials)
    at = np.arange(len(theta))
    return excess(at, 0 * at, rng.binomial(n, p), n, n_subjects=len(theta))


def assert_same(one: Outcome, two: Outcome) -> None:
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(one, name), getattr(two, name), rtol=1e-6, atol=1e-9, err_msg=name
        )


def test_the_tail_is_that_of_the_binomial_poisson_and_negative_binomial() -> None:
    k = np.array([0.0, 1.0, 3.0, 10.0, 20.0])
    n, p = 20, 0.3
    binomial = upper_tail(k, np.array(n * p), np.array(n * p * (1 - p)))
    np.testing.assert_allclose(binomial, stats.binom.sf(k - 1, n, p), rtol=1e-9)
    poisson = upper_tail(k, np.array(4.0), np.array(4.0))
    np.testing.assert_allclose(poisson, stats.poisson.sf(k - 1, 4.0), rtol=1e-9)
    wide = upper_tail(k, np.array(4.0), np.array(6.0))
    np.testing.assert_allclose(wide, stats.nbinom.sf(k - 1, 8, 2 / 3), rtol=1e-9)


def test_a_strong_pattern_is_found_and_its_excess_lies_in_the_interval() -> None:
    theta = 0.2 * np.random.default_rng(5).standard_normal(60)
    theta[0] += np.log(5.0)
    outcome = centre(6, theta, trials=500, rate=0.3)
    assert outcome.p_value[0] < 0.05 / 60
    assert np.nanmin(outcome.p_value[1:]) > 0.05 / 60
    planted = 500 / (1 + np.exp(-np.log(0.3 / 0.7) - theta[0])) - 150
    assert outcome.low[0] < planted < outcome.high[0]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_rows_and_subjects_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m, strata = 12, 3
    subject, stratum = np.repeat(np.arange(m), strata), np.tile(np.arange(strata), m)
    n = rng.integers(0, 200, m * strata)
    k = rng.binomial(n, 0.2)
    one = excess(subject, stratum, k, n, n_subjects=m)
    order, names = rng.permutation(m * strata), rng.permutation(m)
    two = excess(
        names[subject][order], stratum[order], k[order], n[order], n_subjects=m
    )
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(one, name), getattr(two, name)[names], rtol=1e-6, atol=1e-9
        )


def test_subjects_with_the_same_counts_are_measured_once_and_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    at, n = np.arange(500), rng.integers(20, 40, 500)
    k = rng.binomial(n, np.where(at < 5, 0.6, 0.3))

    def asked() -> tuple[Outcome, FloatArray, FloatArray, FloatArray]:
        with held.keeping() as kept:
            outcome = excess(at, 0 * at, k, n, n_subjects=500)
        with held.against(kept):
            more = excess(at, 0 * at, k + (at == 7) * (n - k), n, n_subjects=500)
        assert outcome.interval is not None
        assert outcome.breaking_point is not None
        low, _ = outcome.interval(at[:9], 0.8)
        return outcome, low, outcome.breaking_point(at[:5], 0.05), more.p_value

    together = asked()
    monkeypatch.setattr(alike, "ALONE", 1000)
    alone = asked()
    assert_same(together[0], alone[0])
    assert dict(together[0].facts) == pytest.approx(dict(alone[0].facts))
    for one, other in zip(together[1:], alone[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert together[3][7] < together[0].p_value[7] / 10


def test_many_subjects_of_whom_no_two_are_alike_keep_their_own_counts() -> None:
    rng = np.random.default_rng(3)
    n = rng.permutation(np.arange(100, 100 + alike.ALONE + 50))
    at = np.arange(len(n))
    outcome = excess(at, 0 * at, rng.binomial(n, 0.3), n, n_subjects=len(n))
    np.testing.assert_allclose(outcome.expected / n, 0.3, atol=0.02)


def test_only_some_may_be_asked_about() -> None:
    rng = np.random.default_rng(8)
    at, queue = np.divmod(np.arange(1000), 2)
    n = rng.integers(20, 60, 1000)
    k = rng.binomial(n, np.where(at < 5, 0.6, 0.3))
    some = at[::2] % 50 < 3

    def asked(about: BoolArray | None) -> Outcome:
        return excess(at, queue, k, n, n_subjects=500, about=about)

    with held.keeping() as kept:
        few = asked(some)
    every = asked(None)
    for name in FIELDS:
        there = getattr(few, name)
        np.testing.assert_allclose(there[some], getattr(every, name)[some], rtol=1e-9)
        assert np.isnan(there[~some]).all()
    assert few.observed.tolist() == every.observed.tolist()
    assert few.interval is not None
    assert every.interval is not None
    low, _ = few.interval(np.array([49, 1, 2]), 0.8)
    expected, _ = every.interval(np.array([1, 2]), 0.8)
    assert np.isnan(low[0])
    np.testing.assert_allclose(low[1:], expected, rtol=1e-9)
    with held.against(kept):
        more = asked(None)
    np.testing.assert_allclose(more.p_value, every.p_value, rtol=1e-6)


def test_splitting_a_row_in_two_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    subject, stratum = np.repeat(np.arange(9), 2), np.tile([4, 7], 9)
    n = rng.integers(50, 300, 18)
    k = rng.binomial(n, 0.1)
    half_n, half_k = n // 2, np.minimum(k, n // 2) // 2
    one = excess(subject, stratum, k, n, n_subjects=9)
    two = excess(
        np.tile(subject, 2),
        np.tile(stratum, 2),
        np.concatenate([half_k, k - half_k]),
        np.concatenate([half_n, n - half_n]),
        n_subjects=9,
    )
    assert_same(one, two)


def test_more_events_never_make_a_subject_look_more_ordinary() -> None:
    rng = np.random.default_rng(8)
    m = 25
    at, n = np.arange(m), np.full(m, 120)
    k = rng.binomial(n, 0.1)
    p_values = []
    for own in range(0, 121, 4):
        k[0] = own
        p_values.append(excess(at, 0 * at, k, n, n_subjects=m).p_value[0])
    assert np.all(np.diff(p_values) <= 1e-9)


def test_too_little_data_is_untestable_and_not_clean() -> None:
    one = excess(*(np.array([v]) for v in (0, 0, 5, 100)), n_subjects=1)
    assert np.isnan(one.p_value).all()
    at, n = np.arange(3), np.full(3, 500)
    assert np.isnan(excess(at, 0 * at, n // 4, n, n_subjects=3).p_value).all()
    at, n = np.arange(6), np.array([500, 500, 500, 500, 500, 5])
    outcome = excess(at, 0 * at, n // 4, n, n_subjects=7)
    assert np.isnan(outcome.p_value[5:]).all()
    assert outcome.testable[:5].all()


def test_no_events_at_all_are_no_pattern() -> None:
    at, n = np.arange(20), np.full(20, 300)
    outcome = excess(at, 0 * at, 0 * at, n, n_subjects=20)
    np.testing.assert_allclose(outcome.p_value, 1.0)
    assert np.all(outcome.low <= 1e-6)


def test_an_allowed_excess_or_ratio_raises_the_p_value() -> None:
    rng = np.random.default_rng(12)
    at, n = np.arange(40), np.full(40, 400)
    k = rng.binomial(n, 0.2)
    k[0] = 190
    results = [
        excess(at, 0 * at, k, n, n_subjects=40, min_excess=e, min_ratio=r).p_value
        for e, r in ((0.0, 1.0), (30.0, 1.0), (0.0, 2.0), (90.0, 2.0))
    ]
    p = [float(r[0]) for r in results]
    assert p[0] < p[1] < p[3]
    assert p[0] < p[2] < p[3]
    assert all(np.all(results[0] <= r + 1e-12) for r in results[1:])


def test_a_known_offset_explains_what_it_explains() -> None:
    rng = np.random.default_rng(13)
    at, n = np.arange(40), np.full(40, 800)
    offset = np.where(at < 8, 1.0, 0.0)
    k = rng.binomial(n, 1.0 / (1.0 + np.exp(2.0 - offset)))
    blind = excess(at, 0 * at, k, n, n_subjects=40)
    told = excess(at, 0 * at, k, n, n_subjects=40, expected_offset=offset)
    assert blind.effect[:8].min() > 40.0
    assert np.abs(told.effect[:8]).max() < 60.0
    assert told.p_value.min() > 0.05 / 40


def test_strata_of_very_different_rates_are_no_pattern() -> None:
    rng = np.random.default_rng(14)
    m, strata = 40, 4
    subject, stratum = np.repeat(np.arange(m), strata), np.tile(np.arange(strata), m)
    n = rng.poisson(rng.gamma(0.5, 200.0, m * strata))
    k = rng.binomial(n, np.array([0.02, 0.1, 0.4, 0.8])[stratum])
    outcome = excess(subject, stratum, k, n, n_subjects=m)
    assert np.nanmin(outcome.p_value) > 0.05 / m
    assert np.nanmedian(np.abs(outcome.effect)) < 40.0


def test_whoever_is_nearly_alone_in_a_stratum_is_measured_with_a_wide_margin() -> None:
    rng = np.random.default_rng(15)
    m = 30
    subject = np.concatenate([np.arange(m), [0, 1]])
    stratum = np.concatenate([np.zeros(m, dtype=np.int64), [1, 1]])
    n = np.concatenate([np.full(m, 500), [5000, 20]])
    n[0] = 0
    k = rng.binomial(n, np.where(stratum == 1, 0.35, 0.2))
    outcome = excess(subject, stratum, k, n, n_subjects=m)
    assert outcome.p_value[0] > 0.01
    assert outcome.low[0] < 0.0


def test_many_strong_patterns_do_not_hide_another() -> None:
    rng = np.random.default_rng(16)
    theta = 0.15 * rng.standard_normal(200)
    theta[:80] += np.log(3.0)
    theta[80:82] += np.log(8.0)
    outcome = centre(17, theta, trials=800, rate=0.2)
    assert outcome.p_value[80:82].max() < 0.05 * 82 / 200


def test_the_breaking_point_is_where_the_p_value_passes_the_threshold() -> None:
    theta = 0.2 * np.random.default_rng(18).standard_normal(60)
    theta[:2] += np.log([4.0, 8.0])
    outcome = centre(19, theta, trials=500, rate=0.3)
    assert outcome.breaking_point is not None
    rows = np.array([0, 1, 2])
    point = outcome.breaking_point(rows, 0.001)
    assert point[1] > point[0] > 1.0
    assert point[2] == 1.0
    assert np.all(outcome.breaking_point(rows, 0.01) >= point)


def test_a_wider_level_gives_a_wider_interval() -> None:
    outcome = centre(20, np.zeros(20), trials=300, rate=0.3)
    assert outcome.interval is not None
    rows = np.arange(20)
    low, high = outcome.interval(rows, 0.95)
    np.testing.assert_allclose(low, outcome.low)
    wide_low, wide_high = outcome.interval(rows, 0.999)
    assert np.all(wide_low < low)
    assert np.all(wide_high > high)
    assert np.all((low < outcome.effect) & (outcome.effect < high))


def test_the_intervals_cover_the_planted_excess() -> None:
    rng = np.random.default_rng(21)
    inside = []
    for seed in range(12):
        honest = 0.2 * rng.standard_normal(60)
        lifted = honest + np.where(np.arange(60) < 9, np.log(3.0), 0.0)
        outcome = centre(seed, lifted, trials=500, rate=0.3)
        p, q = (0.3 / (0.3 + 0.7 * np.exp(-t)) for t in (lifted, honest))
        true = 500 * (p - q)[:9]
        inside += list((outcome.low[:9] <= true) & (true <= outcome.high[:9]))
    assert np.mean(inside) > 0.9


@pytest.mark.parametrize("family", ["normal", "heavy", "skewed"])
def test_honest_centres_of_thirty_are_seldom_accused(family: str) -> None:
    rng = np.random.default_rng(17)
    flagged = 0
    for seed in range(35):
        if family == "normal":
            theta = rng.standard_normal(30)
        elif family == "heavy":
            theta = rng.standard_t(4, 30) / np.sqrt(2.0)
        else:
            theta = (rng.gamma(2.78, 1.0, 30) - 2.78) / np.sqrt(2.78)
        p = np.sort(centre(seed, 0.3 * theta, trials=500, rate=0.3).p_value)
        flagged += bool(np.any(p <= 0.05 * np.arange(1, 31) / 30))
    assert flagged <= 5


def test_by_a_kept_yardstick_other_counts_move_the_others_rates_too():
    rng = np.random.default_rng(5)
    agents, queues = 16, 3
    subject = np.repeat(np.arange(agents), queues)
    stratum = np.tile(np.arange(queues), agents)
    trials = np.full(len(subject), 600)
    theta = -3.0 + 0.2 * rng.standard_normal(agents)[subject]
    events = rng.binomial(trials, 1 / (1 + np.exp(-theta)))

    def p_of(counts, agent):
        asked = excess(subject, stratum, counts, trials, n_subjects=agents)
        return asked.p_value[agent]

    with held.keeping() as kept:
        p_of(events, 0)
    gaps = []
    for agent in range(agents):
        more = events + np.where(subject == agent, events // 2, 0)
        fresh = stats.norm.isf(p_of(more, agent))
        with held.against(kept):
            gaps.append(stats.norm.isf(p_of(more, agent)) - fresh)
    # With the others' rates left as they were, the mean was -0.067.
    assert np.mean(gaps) == pytest.approx(0.0, abs=0.03)
