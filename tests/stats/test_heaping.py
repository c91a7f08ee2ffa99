"""Rounding of durations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpiaudit.stats.heaping import Heap, free_seconds, rounding


def histogram(durations: np.ndarray) -> np.ndarray:
    return np.bincount(durations.astype(np.int64), minlength=1800)


def durations(n: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).lognormal(5.2, 0.7, n)
    return np.minimum(drawn, 1790.0)


@pytest.mark.parametrize("unit", [5, 6, 10, 15, 30, 60])
def test_a_system_that_rounds_everything_is_recognised(unit: int) -> None:
    counts = histogram(np.round(durations(20_000) / unit) * unit)
    (heap,) = rounding(counts)
    assert heap.unit == unit
    assert heap.share == pytest.approx(1.0, abs=0.04)


def test_durations_to_the_second_show_no_unit() -> None:
    for n in (0, 1, 50, 5000, 200_000):
        assert rounding(histogram(durations(n))) == ()


def test_three_percent_rounded_to_whole_minutes_are_seen_in_their_share() -> None:
    drawn = durations(200_000)
    some = np.random.default_rng(1).random(len(drawn)) < 0.03
    counts = histogram(np.where(some, np.round(drawn / 60) * 60, drawn))
    (heap,) = rounding(counts)
    assert heap.unit == 60
    assert heap.share == pytest.approx(0.03, abs=0.005)
    assert np.flatnonzero(~free_seconds((heap,))).tolist() == [0]


def test_one_site_of_two_that_rounds_to_six_seconds_is_recognised() -> None:
    drawn = durations(100_000)
    site = np.random.default_rng(2).random(len(drawn)) < 0.3
    heaps = rounding(histogram(np.where(site, drawn // 6 * 6, drawn)))
    assert heaps[0].unit == 6
    assert heaps[0].share == pytest.approx(0.3, abs=0.03)


def test_a_cap_and_an_automatic_cut_are_no_rounding() -> None:
    drawn = durations(200_000)
    draw = np.random.default_rng(3)
    capped = (drawn >= 420) & (draw.random(len(drawn)) < 0.4)
    drawn[capped] = draw.integers(405, 420, capped.sum())
    assert rounding(histogram(np.minimum(drawn, 900))) == ()


def test_seconds_of_the_majority_are_kept() -> None:
    whole = Heap(unit=60, share=1.0, standard_error=0.01)
    assert np.flatnonzero(free_seconds((whole,))).tolist() == [0]
    assert free_seconds(()).all()
    six = Heap(unit=6, share=0.3, standard_error=0.01)
    assert not free_seconds((six,))[::6].any()
    assert free_seconds((six,)).sum() == 50


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=300))
def test_any_histogram_is_answered(values: list[int]) -> None:
    counts = np.array(values)
    for heap in rounding(counts):
        assert 0 < heap.share <= 1
