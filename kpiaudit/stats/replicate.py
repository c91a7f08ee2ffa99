"""Counts that honest agents could have had as well, day by day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray


def events(
    trials: IntArray,
    log_odds: FloatArray,
    dispersion: float,
    rng: np.random.Generator,
) -> IntArray:
    """Draw events per row (an agent's day), which vary as days do.

    Args:
        trials: Trials per row.
        log_odds: Of the row's agent.
        dispersion: Variance of events between days over the binomial one, >= 1.
        rng: Random numbers.

    Source:
        Williams (1975), Biometrics 31(4), 949-952 (the beta-binomial; its variance is
        binomial times 1 + (n - 1) rho).
    """
    p = np.clip(sp.special.expit(log_odds), 1e-6, 1.0 - 1e-6)
    size = float(trials[trials > 0].mean()) if (trials > 0).any() else 1.0
    rho = min(max(dispersion - 1.0, 0.0) / max(size - 1.0, 1.0), 0.3)
    if rho > 1e-6:
        whole = 1.0 / rho - 1.0
        p = rng.beta(p * whole, (1.0 - p) * whole)
    return rng.binomial(np.maximum(trials, 0), p).astype(np.int64)


def rates(
    stratum: IntArray, k: IntArray, n: IntArray, of: BoolArray | None = None
) -> FloatArray:
    """Return the log-odds of each row's stratum, as some rows show it, (n_rows,).

    Args:
        stratum: Stratum per row.
        k: Events per row.
        n: Trials per row.
        of: The rows; None stands for all. A stratum without any has the rate of all.
    """
    seen = np.ones(len(k)) if of is None else of.astype(np.float64)
    events, trials = np.bincount(stratum, seen * k), np.bincount(stratum, seen * n)
    usual = (events.sum() + 0.5) / (trials.sum() + 1.0)
    share = np.where(trials > 0, (events + 0.5) / (trials + 1.0), usual)
    out: FloatArray = sp.special.logit(share)[stratum]
    return out


def split(
    total: IntArray,
    agent: IntArray,
    weight: FloatArray,
    most: IntArray,
    rng: np.random.Generator,
) -> IntArray:
    """Lay each agent's events on the agent's rows, by weight, none above its trials.

    Args:
        total: Events per agent.
        agent: Agent per row.
        weight: How many events a row would have, in proportion.
        most: Trials per row.
        rng: Random numbers.
    """
    whole = np.bincount(agent, weights=weight, minlength=len(total))
    p = np.clip(weight / np.maximum(whole[agent], 1e-300), 0.0, 1.0)
    out = np.zeros(len(agent), dtype=np.int64)
    for number in np.unique(agent):
        rows = np.flatnonzero(agent == number)
        some = p[rows] / max(p[rows].sum(), 1e-300)
        if some.sum() > 0:
            out[rows] = rng.multinomial(int(total[number]), some / some.sum())
    return np.minimum(out, most)
