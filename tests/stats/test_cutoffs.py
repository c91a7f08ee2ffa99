"""Finding a cap that nobody named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kpiaudit.stats.cutoffs import find_cutoffs

SECONDS = np.arange(2401)


def lognormal(median: float, sigma: float) -> np.ndarray:
    return np.diff(stats.lognorm.cdf(SECONDS, sigma, scale=median))


def honest() -> np.ndarray:
    return 0.6 * lognormal(200, 0.6) + 0.4 * lognormal(340, 0.7)


def capped(density: np.ndarray, cutoff: int, share: float) -> np.ndarray:
    moved = density.copy()
    moved[cutoff:] *= 1 - share
    moved[cutoff - 15 : cutoff] += share * density[cutoff:].sum() / 15
    return moved


def halves(density: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.poisson(n / 2 * density), draw.poisson(n / 2 * density)


@pytest.mark.parametrize("n", [5000, 20_000, 200_000, 1_000_000])
def test_nothing_is_found_in_honest_calls(n: int) -> None:
    for seed in range(2):
        assert find_cutoffs(*halves(honest(), n, seed)) == ()


@pytest.mark.parametrize("cutoff", [420, 437])
@pytest.mark.parametrize(("n", "share"), [(20_000, 0.1), (200_000, 0.05)])
def test_a_cap_is_found_within_three_seconds(cutoff: int, n: int, share: float) -> None:
    (found,) = find_cutoffs(*halves(capped(honest(), cutoff, share), n, 1))
    assert abs(found.cutoff_s - cutoff) <= 3
    assert found.p_value < 0.001
    assert found.halves == 2
    assert found.excess_share == pytest.approx(share, rel=0.25)
    truth = n * share * honest()[cutoff:].sum()
    assert found.excess == pytest.approx(truth, rel=0.2)


def test_two_caps_are_both_found() -> None:
    density = capped(capped(honest(), 780, 0.15), 420, 0.1)
    found = find_cutoffs(*halves(density, 200_000, 2))
    assert sorted(cutoff.cutoff_s for cutoff in found) == [420, 780]


def test_missing_calls_above_the_cap_are_reported() -> None:
    (found,) = find_cutoffs(*halves(capped(honest(), 420, 0.5), 200_000, 3))
    assert found.missing == pytest.approx(0.5, abs=0.07)


def test_a_natural_peak_is_no_cap() -> None:
    peak = np.diff(stats.norm.cdf(SECONDS, 400, 35))
    density = 0.7 * honest() + 0.3 * peak
    for seed in range(2):
        assert find_cutoffs(*halves(density, 200_000, seed)) == ()


def test_an_automatic_cut_beyond_the_range_is_not_reported() -> None:
    density = honest().copy()
    density[1800] += density[1801:].sum()
    density[1801:] = 0.0
    assert find_cutoffs(*halves(density, 200_000, 4)) == ()


@pytest.mark.parametrize(("unit", "part"), [(60, 0.03), (60, 1.0), (6, 0.3), (6, 1.0)])
def test_rounded_durations_are_no_cap(unit: int, part: float) -> None:
    density = honest()
    rounded = np.zeros_like(density)
    centre = (SECONDS[:-1] + unit // 2) // unit * unit
    np.add.at(rounded, np.minimum(centre, 2399), density)
    mixed = (1 - part) * density + part * rounded
    assert find_cutoffs(*halves(mixed, 200_000, 5)) == ()


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_swapping_the_halves_changes_nothing(seed: int) -> None:
    odd, even = halves(capped(honest(), 420, 0.1), 20_000, seed)
    places = [
        sorted(c.cutoff_s for c in found)
        for found in (find_cutoffs(odd, even), find_cutoffs(even, odd))
    ]
    assert places[0] == places[1]


def test_without_calls_there_is_no_cap() -> None:
    empty = np.zeros(10, dtype=np.int64)
    assert find_cutoffs(empty, empty) == ()
    few = np.zeros(1500, dtype=np.int64)
    few[400:440] = 1
    assert find_cutoffs(few, few) == ()
