"""Several answers into one, q-values for many subjects, and selection across rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray


def q_values(p_value: FloatArray, weight: FloatArray | None = None) -> FloatArray:
    """Adjust p-values for their number: the smallest false discovery rate to report.

    Args:
        p_value: Shape (n,), in [0, 1]; nan for what was not testable, which does not
            count as a test and stays nan.
        weight: Shape (n,), > 0: how much of the error budget a test gets. Rescaled to
            mean 1 over the testable ones. None gives every test the same.

    Returns:
        q-values, shape (n,), in [0, 1], nan where p is nan.

    Source:
        Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57(1), 289-300; weights:
        Genovese, Roeder & Wasserman (2006), Biometrika 93(3), 509-524.
    """
    p = np.asarray(p_value, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    m = int(tested.sum())
    if m == 0:
        return q
    scaled = p[tested]
    if weight is not None:
        share = np.asarray(weight, dtype=np.float64)[tested]
        scaled = scaled / (share / share.mean())
    order = np.argsort(scaled, kind="stable")
    stepped = scaled[order] * m / np.arange(1, m + 1)
    monotone = np.minimum.accumulate(stepped[::-1])[::-1]
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(monotone, 1.0)
    q[tested] = adjusted
    return q


def kind_weights(sizes: list[int], shares: list[float]) -> FloatArray:
    """Share one error budget between kinds of subject, evenly within a kind.

    A floor is one test and a thousand agents are a thousand; without weights the floor
    would have to be as extreme as the most extreme of all agents.

    Args:
        sizes: Testable subjects per kind.
        shares: Share of the budget per kind, > 0; a kind without a testable subject
            leaves its share to the others.

    Returns:
        Weights of all subjects, kind after kind, shape (sum of sizes,), mean 1.
    """
    total = sum(sizes)
    budget = sum(s for n, s in zip(sizes, shares, strict=True) if n)
    return np.concatenate(
        [
            np.full(n, (s / budget) * total / n) if n else np.empty(0)
            for n, s in zip(sizes, shares, strict=True)
        ]
    )


def select_families(smallest_q: FloatArray, level: float) -> tuple[int, float]:
    """Say how many families (rules) show anything, and the level left for each.

    Testing every family at `level` would let false alarms grow with the number of
    rules. A family is selected on its smallest q-value; the selected ones are then
    read at `level` x selected / families.

    Args:
        smallest_q: Smallest q-value of each family, shape (n_families,); nan where the
            family tested nobody (it does not count).
        level: Error rate over the selected families, in (0, 1).

    Returns:
        The number of selected families and the level for each of them; with none
        selected the level is `level` / families.

    Source:
        Benjamini & Bogomolov (2014), J. R. Stat. Soc. B 76(1), 297-318.
    """
    q = np.asarray(smallest_q, dtype=np.float64)
    families = int((~np.isnan(q)).sum())
    if families == 0:
        return 0, level
    selected = int((q_values(q) <= level).sum())
    return selected, level * max(selected, 1) / families


def simes(p_value: FloatArray) -> float:
    """Combine p-values of one group into one: nobody in the group shows the pattern.

    Args:
        p_value: Shape (n,); nan is left out.

    Returns:
        The combined p-value; nan if nothing was testable.

    Source:
        Simes (1986), Biometrika 73(3), 751-754.
    """
    q = q_values(p_value)
    return float(np.nanmin(q)) if np.any(~np.isnan(q)) else float("nan")


_AT_MOST = 0.9
"""Larger p-values count as this one: an answer of 1 must not outweigh a clear one."""
_TINY = 1e-10
"""Below it the tangent is its first term, 1 / (pi p), which does not overflow."""


def cauchy(p_value: FloatArray, share: FloatArray) -> FloatArray:
    """Combine answers to one question that may go together in any way.

    Each p-value becomes a Cauchy variable; their weighted mean is a Cauchy variable
    again, and its far tail hardly depends on how they go together. Where all answers
    agree nothing is lost for asking several times; where one of them speaks alone it
    counts as with a share of the error budget.

    Args:
        p_value: Shape (n_answers, n_subjects), nan where an answer could not be asked
            for: its share goes to the others.
        share: Shape (n_answers,), > 0.

    Returns:
        Shape (n_subjects,), at most 0.9; nan where no answer is known. Meant for small
        p-values: above .05 it is approximate.

    Source:
        Liu & Xie (2020), Journal of the American Statistical Association 115:393-402;
        Fang, Chang, Park & Tseng (2023), Statistica Sinica 33:1115-1142 (cut at one
        end, so that large p-values do not hide small ones).

    >>> cauchy(np.array([[0.01, 0.001], [0.01, 0.9]]), np.array([0.5, 0.5])).round(4)
    array([0.01 , 0.002])
    """
    known = ~np.isnan(p_value)
    p = np.clip(np.where(known, p_value, 0.5), 1e-300, _AT_MOST)
    weight = np.asarray(share, dtype=np.float64)[:, None] * known
    total = weight.sum(axis=0)
    small = p < _TINY
    safe = np.where(small, 0.5, p)
    tangent = np.where(
        small, 1.0 / (np.pi * p), np.cos(np.pi * safe) / np.sin(np.pi * safe)
    )
    mean = (weight * tangent).sum(axis=0) / np.where(total > 0.0, total, 1.0)
    out = np.where(
        mean > 1.0,
        np.arctan(1.0 / np.maximum(mean, 1.0)) / np.pi,
        0.5 - np.arctan(np.minimum(mean, 1.0)) / np.pi,
    )
    return np.asarray(np.where(total > 0.0, out, np.nan), dtype=np.float64)
