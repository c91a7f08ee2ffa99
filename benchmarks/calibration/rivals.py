"""What an analyst would do otherwise, and an oracle, on one question per agent."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import bdtrc
from scipy.stats import binom, norm

from calibration.worlds import tail_weights
from kpiaudit.stats.multiplicity import q_values

if TYPE_CHECKING:
    from calibration.worlds import Made

LEVEL = 0.05
NAMES = ("binomial", "z3", "funnel", "oracle")
SLOW = ("rddensity", "forest")
FOREST_SHARE = 0.05
"""Isolation forests flag a share that the analyst fixes: the library's usual 5 %."""


def flags(made: Made) -> dict[str, np.ndarray]:
    """Return whom each method flags, shape (n_agents,) per name."""
    k, n = made.events.astype(float), made.trials.astype(float)
    base = k.sum() / n.sum()
    rate = k / n
    plain = binom.sf(k - 1, n, base)
    spread = (rate - rate.mean()) / rate.std(ddof=1)
    return {
        "binomial": q_values(plain) <= LEVEL,
        "z3": spread > 3.0,
        "funnel": _funnel(k, n, base) <= LEVEL,
        "oracle": q_values(_oracle(k, n, made.honest)) <= LEVEL,
    }


def slow(made: Made, *, cutoff: int) -> dict[str, np.ndarray]:
    """Return whom the methods flag that see single calls or several averages.

    rddensity: a jump of the density of one agent's durations at the cutoff, whole
    seconds moved to their middle, Benjamini-Hochberg at 5 %, agents whose density is
    higher below it. Isolation forest: on each agent's averages.

    Source:
        Cattaneo, Jansson & Ma (2018), Stata Journal 18, 234-261 (rddensity); Liu, Ting
        & Zhou (2008), ICDM, 413-422 (isolation forest, as in pyod).
    """
    from pyod.models.iforest import IForest  # noqa: PLC0415 - only for these centres

    agent, second = made.durations or (np.empty(0), np.empty(0))
    n = len(made.ids)
    p = np.array([_jump(second[agent == i], cutoff) for i in range(n)])
    calls = np.maximum(np.bincount(agent, minlength=n), 1)
    features = np.column_stack(
        [
            made.events / np.maximum(made.trials, 1),
            calls,
            np.bincount(agent, weights=second, minlength=n) / calls,
            np.bincount(agent, weights=second >= cutoff, minlength=n) / calls,
        ]
    )
    forest = IForest(contamination=FOREST_SHARE, random_state=0).fit(features)
    return {"rddensity": q_values(p) <= LEVEL, "forest": forest.labels_ == 1}


def _jump(second: np.ndarray, cutoff: int) -> float:
    """Return the p-value of a density that falls at the cutoff, one-sided."""
    from rddensity import rddensity  # noqa: PLC0415 - only for these centres

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = rddensity(second + 0.5, c=float(cutoff)).test
    return float(norm.cdf(test["t_jk"]))


def _funnel(k: np.ndarray, n: np.ndarray, base: float) -> np.ndarray:
    """Return q-values of a funnel plot with additive overdispersion.

    Spiegelhalter (2005), Quality and Safety in Health Care 14, 347-351: arcsine scale,
    a tenth winsorised at each end, method-of-moments variance between agents.
    """
    y = np.arcsin(np.sqrt(k / n)) - np.arcsin(np.sqrt(base))
    s2 = 1 / (4 * n)
    z = y / np.sqrt(s2)
    low, high = np.quantile(z, [0.1, 0.9])
    phi = np.mean(np.clip(z, low, high) ** 2)
    w = 1 / s2
    tau2 = max(0.0, (len(k) * phi - (len(k) - 1)) / (w.sum() - (w**2).sum() / w.sum()))
    return q_values(norm.sf(y / np.sqrt(s2 + tau2)))


def _oracle(k: np.ndarray, n: np.ndarray, honest: np.ndarray) -> np.ndarray:
    """Return P(K >= k) over the true distribution of honest rates.

    Args:
        k: Events per agent.
        n: Trials per agent.
        honest: Honest rates as `tail_grid`, shape (n_agents or 1, n_points).
    """
    tail = bdtrc(np.maximum(k, 1)[:, None] - 1, n[:, None], honest) @ tail_weights()
    return np.where(k > 0, tail, 1.0)
