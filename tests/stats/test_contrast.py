"""What followed flagged records against innocent ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom

from kpiaudit.stats.contrast import (
    Innocent,
    _log_pmf,
    contrast,
    innocent,
    tail,
    tails,
    together,
)


def learned(had, due_of, size, rng=None):
    """Learn from one cell a peer, all in one stratum."""
    zeros = np.zeros(len(had), dtype=int)
    return innocent(
        stratum=[zeros],
        peer=np.arange(len(had)),
        events=np.asarray(had, dtype=float),
        records=np.asarray(due_of, dtype=float),
        mine=[np.zeros(1, dtype=int)],
        size=np.array([float(size)]),
    )


def test_the_distribution_of_a_count_is_scipys_beta_binomial():
    k = np.arange(31)
    ours = np.exp(_log_pmf(k, 30, 0.2, 12.0))
    assert ours == pytest.approx(betabinom.pmf(k, 30, 2.4, 9.6))


def test_tails_of_many_subjects_are_those_of_each():
    k, n = np.array([0.0, 3.0, 9.0, 20.0]), np.array([5.0, 30.0, 40.0, 20.0])
    rate, weight = np.array([0.1, 0.2, 0.05, 0.5]), np.array([0.5, 9.0, 80.0, 3.0])
    each = [
        tail(k[i], n[i], Innocent(rate=rate[i], weight=weight[i], events=0, records=0))
        for i in range(4)
    ]
    assert tails(k, n, rate, weight) == pytest.approx(each)
    assert not len(tails(k[:0], n[:0], rate[:0], weight[:0]))


@given(
    rate=st.floats(0.01, 0.9),
    weight=st.floats(1.0, 500.0),
    n=st.integers(5, 40),
)
@settings(max_examples=15, deadline=None)
def test_the_mean_e_value_of_honest_records_is_at_most_one(rate, weight, n):
    honest = Innocent(rate=rate, weight=weight, events=100, records=500)
    k = np.arange(n + 1)
    chance = betabinom.pmf(k, n, rate * weight, (1 - rate) * weight)
    e = [contrast(float(x), float(n), honest).e_value for x in k]
    assert float(np.sum(chance * e)) <= 1.0 + 1e-9


@pytest.mark.parametrize("shape", ["alike", "normal", "skewed"])
def test_the_same_holds_where_the_honest_share_has_to_be_learned(shape):
    rng = np.random.default_rng(3)
    e, beyond, below = [], 0, 0
    for _ in range(150):
        z = {
            "alike": np.zeros(31),
            "normal": rng.normal(0, 0.4, 31),
            "skewed": 0.4 * (rng.exponential(1, 31) - 1),
        }[shape]
        p = 1 / (1 + np.exp(1.5 - z))
        n = rng.poisson(20, 30)
        honest = learned(rng.binomial(n, p[1:]), n, 60)
        found = contrast(float(rng.binomial(60, p[0])), 60.0, honest)
        e.append(found.e_value)
        beyond += found.low > 0
        below += found.high < 0
    assert np.mean(e) + 2 * np.std(e) / np.sqrt(len(e)) <= 1.0
    assert beyond <= 0.06 * 150
    assert below <= 0.06 * 150


def test_a_clear_difference_is_seen_and_its_interval_excludes_nil():
    rng = np.random.default_rng(5)
    n = np.full(40, 20)
    honest = learned(rng.binomial(n, 0.2), n, 100)
    more = contrast(55.0, 100.0, honest)
    assert more.low > 0
    assert more.e_value > 8
    assert more.p_value < 0.01
    assert 1.0 < more.ratio_low < more.ratio < more.ratio_high
    fewer = contrast(3.0, 100.0, honest)
    assert fewer.high < 0
    assert fewer.e_value < 0.5


def test_too_few_peers_teach_nothing():
    assert learned([1, 2, 3, 4], [20, 20, 20, 20], 50) is None


def test_a_members_spread_averages_out_but_the_peers_error_stays():
    had, due = np.full(20, 4), np.full(20, 20)
    kinds = {
        "stratum": [np.zeros(20, dtype=int)],
        "peer": np.arange(20),
        "events": had.astype(float),
        "records": due.astype(float),
        "mine": [np.zeros(1, dtype=int)],
        "size": np.array([100.0]),
    }
    one, many = innocent(**kinds), innocent(**kinds, members=50)
    assert one is not None
    assert many is not None
    assert one.weight < many.weight < 400 / (one.rate * (1 - one.rate))


def test_the_honest_share_follows_the_subjects_own_mix():
    stratum = np.repeat([0, 1], 10)
    records = np.full(20, 100.0)
    events = np.where(stratum == 0, 10.0, 50.0)
    for own, rate in ((0, 0.1), (1, 0.5)):
        honest = innocent(
            stratum=[stratum],
            peer=np.tile(np.arange(10), 2),
            events=events,
            records=records,
            mine=[np.array([own])],
            size=np.array([40.0]),
        )
        assert honest is not None
        assert honest.rate == pytest.approx(rate, abs=0.01)


def test_one_episode_counts_once_and_independent_voices_multiply():
    assert together([]) == 1.0
    assert together([("a", 4.0), ("a", 4.0)]) == 4.0
    assert together([("a", 4.0), ("b", 4.0)]) == 16.0
