"""What the dispersion between days promises."""

from __future__ import annotations

import numpy as np

from kpiaudit.stats.dispersion import day_dispersion


def days_of(
    rng: np.random.Generator, m: int, *, days: int, n: int, rate: float, phi: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    subject, day = np.repeat(np.arange(m), days), np.tile(np.arange(days), m)
    p = np.full(m * days, rate)
    if phi > 1.0:
        concentration = (n - 1) / (phi - 1.0) - 1.0
        p = rng.beta(rate * concentration, (1 - rate) * concentration, m * days)
    trials = np.full(m * days, n)
    return subject, day, rng.binomial(trials, p), trials


def test_binomial_days_show_no_dispersion() -> None:
    rows = days_of(np.random.default_rng(1), 200, days=60, n=30, rate=0.1, phi=1.0)
    phi = day_dispersion(*rows, n_subjects=200)
    assert np.all(phi >= 1.0)
    assert np.mean(phi) < 1.05


def test_clustered_days_are_measured() -> None:
    rows = days_of(np.random.default_rng(2), 200, days=60, n=30, rate=0.2, phi=1.9)
    phi = day_dispersion(*rows, n_subjects=200)
    assert 1.8 < np.mean(phi) < 2.0


def test_one_clustered_subject_stands_out_of_a_calm_floor() -> None:
    rng = np.random.default_rng(3)
    calm = days_of(rng, 40, days=60, n=40, rate=0.2, phi=1.0)
    wild = days_of(rng, 1, days=60, n=40, rate=0.2, phi=4.0)
    subject = np.concatenate([calm[0], wild[0] + 40])
    rest = [np.concatenate([a, b]) for a, b in zip(calm[1:], wild[1:], strict=True)]
    phi = day_dispersion(subject, *rest, n_subjects=41)
    assert phi[40] > 1.4
    assert np.median(phi[:40]) < 1.2


def test_split_rows_and_their_order_change_nothing() -> None:
    rng = np.random.default_rng(4)
    subject, day, k, n = days_of(rng, 10, days=15, n=20, rate=0.3, phi=1.5)
    one = day_dispersion(subject, day, k, n, n_subjects=10)
    half_n, half_k = n // 2, np.minimum(k, n // 2) // 2
    order = rng.permutation(2 * len(n))
    two = day_dispersion(
        np.tile(subject, 2)[order],
        np.tile(day * 7 - 3, 2)[order],
        np.concatenate([half_k, k - half_k])[order],
        np.concatenate([half_n, n - half_n])[order],
        n_subjects=10,
    )
    np.testing.assert_allclose(one, two)


def test_subjects_without_rows_or_events_get_the_floors_value() -> None:
    none = np.zeros(0, dtype=np.int64)
    np.testing.assert_array_equal(day_dispersion(*[none] * 4, n_subjects=3), 1.0)
    subject, day, k, n = days_of(
        np.random.default_rng(5), 30, days=40, n=30, rate=0.2, phi=2.0
    )
    k[subject == 0] = 0
    phi = day_dispersion(subject, day, k, n, n_subjects=31)
    assert phi[0] == phi[30]
    assert 1.5 < phi[30] < 2.5
