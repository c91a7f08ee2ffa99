"""Poisson curves."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from kpiaudit.stats.curves import Bins, fit_curves, poisson_fit


def counts(rows: int, n_bins: int = 60, seed: int = 0) -> np.ndarray:
    x = np.linspace(-1, 1, n_bins)
    mean = np.exp(4 + x - x**2)
    return np.random.default_rng(seed).poisson(mean, (rows, n_bins)).astype(float)


def test_the_fit_is_that_of_another_implementation() -> None:
    table = counts(3)
    x = np.linspace(-1, 1, 60)
    design = np.vander(x, 4, increasing=True)
    weights = np.ones_like(table)
    weights[:, 20:24] = 0.0
    exposure = np.where(np.arange(60) % 7, 5.0, 4.0)
    offset = np.broadcast_to(np.log(exposure), table.shape)
    beta, covariance = poisson_fit(table, design, weights=weights, offset=offset)
    used = weights[0] > 0
    for row in range(3):
        reference = sm.GLM(
            table[row, used],
            design[used],
            family=sm.families.Poisson(),
            exposure=exposure[used],
        ).fit(tol=1e-12)
        assert beta[row] == pytest.approx(reference.params, rel=1e-6)
        assert covariance[row] == pytest.approx(reference.cov_params(), rel=1e-5)


def bins(table: np.ndarray) -> Bins:
    window = np.zeros(table.shape[1], dtype=bool)
    window[28:31] = True
    return Bins(
        counts=table,
        exposure=np.ones_like(table),
        fitted=np.broadcast_to(~window, table.shape),
        window=window,
        block=3,
    )


def test_the_degree_follows_the_data() -> None:
    x = np.linspace(-1, 1, 60)
    flat = np.exp(6 + 0 * x)
    wavy = np.exp(6 + np.cos(7 * x))
    table = np.random.default_rng(1).poisson(np.array([flat, wavy])).astype(float)
    fitted = fit_curves(bins(table), degrees=range(2, 12))
    assert fitted.degree[0] <= 4
    assert fitted.degree[1] >= 8
    assert fitted.dispersion.max() < 2


def test_a_histogram_is_fitted_alike_alone_and_in_company() -> None:
    table = counts(5)
    together = fit_curves(bins(table), degrees=range(3, 9))
    alone = fit_curves(bins(table[2:3]), degrees=range(3, 9))
    assert alone.window[0] == pytest.approx(together.window[2], rel=1e-6)
    assert alone.degree[0] == together.degree[2]


def test_a_step_does_not_reach_below_the_cutoff() -> None:
    x = np.linspace(-1, 1, 60)
    step = (np.arange(60) >= 31)[:, None].astype(float)
    mean = np.exp(7 - x) * np.where(step[:, 0] > 0, 0.5, 1.0)
    fitted = fit_curves(bins(mean[None, :]), extra=step, degrees=range(3, 6))
    assert fitted.mean[0] == pytest.approx(np.exp(7 - x), rel=0.01)


def test_without_degrees_there_is_no_curve() -> None:
    with pytest.raises(ValueError, match="degree"):
        fit_curves(bins(counts(1)), degrees=range(0))
