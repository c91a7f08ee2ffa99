"""Excess mass at a cutoff."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kpiaudit.stats.bunching import excess_above, excess_below

SECONDS = np.arange(2401)
MATURA = Path(__file__).parents[3] / "shared" / "data" / "polish_matura_hist.csv"


def lognormal(median: float, sigma: float) -> np.ndarray:
    return np.diff(stats.lognorm.cdf(SECONDS, sigma, scale=median))


def mixture(*, peak_at: float | None = None) -> np.ndarray:
    density = 0.5 * lognormal(180, 0.6) + 0.5 * lognormal(300, 0.7)
    if peak_at is not None:
        density = 0.7 * density
        density += 0.3 * np.diff(stats.norm.cdf(SECONDS, peak_at, 35))
    return density


def capped(density: np.ndarray, cutoff: int, share: float) -> np.ndarray:
    moved = density.copy()
    moved[cutoff:] *= 1 - share
    moved[cutoff - 15 : cutoff] += share * density[cutoff:].sum() / 15
    return moved


def draw(density: np.ndarray, n: int, rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(n * density, (rows, len(density)))


@pytest.mark.parametrize("n", [5000, 200_000])
@pytest.mark.parametrize("peak_at", [None, 400.0])
def test_honest_calls_are_rarely_in_excess(n: int, peak_at: float | None) -> None:
    result = excess_below(draw(mixture(peak_at=peak_at), n, 200), 420)
    # 5 % of 200, and 2.5 standard errors
    assert (result.p_value < 0.05).sum() <= 18
    assert (result.p_value < 0.001).sum() <= 2


def test_a_scripted_queue_with_its_median_at_the_cap_is_not_in_excess() -> None:
    density = 0.4 * mixture() + 0.6 * lognormal(180, 0.2)
    result = excess_below(draw(density, 20_000, 200), 180)
    assert (result.p_value < 0.05).sum() <= 18


@pytest.mark.parametrize("share", [0.05, 0.4])
def test_moved_calls_are_counted_and_lie_in_the_interval(share: float) -> None:
    n = 50_000
    result = excess_below(draw(capped(mixture(), 420, share), n, 200), 420)
    truth = n * share * mixture()[420:].sum()
    assert (result.p_value < 1e-6).all()
    assert np.median(result.excess) == pytest.approx(truth, rel=0.04)
    covered = (result.low <= truth) & (truth <= result.high)
    assert covered.mean() > 0.88
    assert np.median(result.share) == pytest.approx(share, rel=0.05)


def test_a_missing_part_up_to_the_reach_is_left_out_of_the_curve() -> None:
    n, density = 200_000, mixture()
    moved = density.copy()
    moved[420:500] *= 0.4
    gone = (density - moved).sum()
    moved[405:420] += gone / 15
    result = excess_below(draw(moved, n, 50), 420)
    assert np.median(result.excess) == pytest.approx(n * gone, rel=0.03)


def test_whole_minutes_do_not_look_like_a_cap() -> None:
    density = mixture()
    rounded = np.zeros_like(density)
    np.add.at(rounded, np.minimum((SECONDS[:-1] + 30) // 60 * 60, 2399), density)
    part = 0.97 * density + 0.03 * rounded
    for cutoff in (420, 425, 431):
        result = excess_below(draw(part, 200_000, 100), cutoff)
        assert (result.p_value < 0.05).mean() <= 0.12
    whole = excess_below(draw(rounded, 200_000, 3), 420)
    assert np.isnan(whole.p_value).all()


def test_seconds_left_out_for_rounding_are_counted_again_in_the_size() -> None:
    n, density = 200_000, capped(mixture(), 420, 0.1)
    table = draw(density, n, 20)
    site = np.random.default_rng(1).binomial(table, 0.3)
    floor = SECONDS[:-1] // 6 * 6
    rounded = np.array([np.bincount(floor, row, 2400) for row in site])
    result = excess_below(table - site + rounded.astype(np.int64), 420)
    truth = n * 0.1 * mixture()[420:].sum()
    # the site rounds [405, 408) to 402, out of the window: 6 % of the calls are lost
    assert np.median(result.excess) == pytest.approx(truth, rel=0.1)
    assert np.median(result.share) == pytest.approx(0.1, rel=0.1)
    assert (result.expected > 0).all()


def test_an_excess_no_larger_than_the_minimum_is_not_significant() -> None:
    table = draw(capped(mixture(), 420, 0.01), 1_000_000, 50)
    assert (excess_below(table, 420).p_value < 0.01).all()
    enough = excess_below(table, 420, min_relative=0.3)
    assert (enough.p_value > 0.5).all()
    calls = excess_below(table, 420, min_excess=1e5)
    assert (calls.p_value > 0.5).all()


def test_too_little_data_is_untestable_and_never_clean() -> None:
    table = np.zeros((2, 1000), dtype=np.int64)
    table[1, 400:440] = 1
    result = excess_below(table, 420)
    assert np.isnan(result.p_value).all()
    assert np.isnan(result.excess).all()
    assert not result.testable.any()
    assert np.isnan(excess_below(np.zeros(1000, dtype=np.int64), 420).z).all()


def test_no_histogram_gives_an_empty_answer() -> None:
    result = excess_below(np.zeros((0, 1000), dtype=np.int64), 420)
    assert result.p_value.shape == (0,)


@pytest.mark.parametrize(
    ("cutoff", "options"),
    [(420, {"window": 7}), (5, {}), (420, {"bin_width": 0}), (1000, {})],
)
def test_impossible_layouts_are_refused(cutoff: int, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="window"):
        excess_below(np.ones((1, 1000), dtype=np.int64), cutoff, **options)


def test_above_is_the_mirror_image_of_below() -> None:
    table = draw(capped(mixture(), 420, 0.1), 50_000, 3)[:, :1000]
    below = excess_below(table, 420, heaps=())
    above = excess_above(
        table[:, ::-1], 580, window=15, bin_width=5, before=300, after=150, reach=180
    )
    assert above.excess == pytest.approx(below.excess)
    assert above.p_value == pytest.approx(below.p_value)
    assert above.edges[0] == 1000 - below.edges[-1]
    assert (above.counts == below.counts[:, ::-1]).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(60, 600))
def test_order_of_histograms_does_not_matter(seed: int, cutoff: int) -> None:
    table = draw(mixture(), 3000, 4, seed)
    straight = excess_below(table, cutoff, heaps=())
    turned = excess_below(table[::-1], cutoff, heaps=())
    assert turned.p_value[::-1] == pytest.approx(straight.p_value, nan_ok=True)
    known = straight.testable
    assert ((straight.p_value[known] >= 0) & (straight.p_value[known] <= 1)).all()
    assert (straight.low[known] <= straight.high[known]).all()
    assert (straight.dispersion[known] >= 1).all()


def test_more_calls_in_the_window_never_raise_the_p_value() -> None:
    table = np.repeat(draw(mixture(), 20_000, 1), 6, axis=0)
    table[:, 410] += np.array([0, 5, 10, 20, 40, 60])
    result = excess_below(table, 420, heaps=())
    assert (np.diff(result.p_value) <= 1e-12).all()
    assert (np.diff(result.excess) > 0).all()


def matura() -> np.ndarray:
    if not MATURA.exists():
        pytest.skip("the public exam data are not in ../shared/data")
    table = np.zeros((6, 75), dtype=np.int64)
    with MATURA.open() as lines:
        for row in csv.DictReader(lines):
            if row["exam"] == "polish_basic":
                table[int(row["year"]) - 2010, int(row["score"])] += int(row["n"])
    return table


def test_pupils_pile_up_at_the_pass_mark_of_a_real_exam() -> None:
    table = matura()
    pooled = excess_above(table.sum(axis=0), 21, window=3)
    assert pooled.p_value[0] < 1e-15
    assert pooled.low[0] > 20_000
    assert 0.3 < pooled.relative[0] < 0.5
    by_year = excess_above(table, 21, window=3)
    assert (by_year.p_value < 1e-4).all()
    assert by_year.excess.sum() == pytest.approx(pooled.excess[0], rel=0.1)


def test_other_scores_of_that_exam_show_no_excess() -> None:
    pooled = matura().sum(axis=0)
    for score in range(30, 56):
        # the true pass mark and the hole below it are no part of the curve
        result = excess_above(pooled, score, window=3, leave_out=((11, 24),))
        assert abs(result.relative[0]) < 0.03
        assert result.p_value[0] > 0.01
