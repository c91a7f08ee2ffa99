"""How repeat calls add to the comparison of an agent with peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.stats import contrast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kpiaudit.detectors.base import Summary
    from kpiaudit.stats.contrast import Innocent
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

EACH = 0.1
"""Both questions have to be answered at this level to be combined."""
_TOGETHER = 2.0 / 3.0
"""Part of the error budget that goes to both questions together."""
_MIN_KNOWN = 10  # of an agent's customers, near the cutoff and around it
_OWN_SPREAD = 0.04
"""Relative variance with which an honest agent's customers ring again after calls that
end near the cutoff, against those that end around it: sd 0.2."""


def combined(p_value: FloatArray, again: FloatArray) -> FloatArray:
    """Let repeat calls add to the comparison with peers.

    Where a pile-up is no larger than an unusual habit, what became of these customers
    decides: a settled call is not followed by another. A third of the error budget
    stays with the comparison alone, the rest goes to both questions together.

    Args:
        p_value: Of the comparison with peers, nan where untestable.
        again: Of the repeat calls; nan where customers are not known.

    Returns:
        p-values, shape (n_agents,).

    Source:
        Fisher (1932), Statistical Methods for Research Workers, 4th ed., section 21.1
        (p-values of independent questions); weights: Genovese, Roeder & Wasserman
        (2006), Biometrika 93(3), 509-524.
    """
    product = np.maximum(p_value * again, 1e-300)
    both = product * (1 - np.log(product))
    shown = (p_value <= EACH) & (again <= EACH)
    best = np.fmin(
        p_value / (1.0 - _TOGETHER), np.where(shown, both / _TOGETHER, np.inf)
    )
    known = ~np.isnan(again)
    return np.asarray(np.where(known, np.minimum(best, 1.0), p_value))


def needed(p_value: float, again: float) -> float:
    """Return the largest p-value against peers that `combined` keeps at `p_value`.

    Args:
        p_value: Threshold of the combined one.
        again: Of the repeat calls; nan where customers are not known.
    """
    if np.isnan(again):
        return p_value
    alone = (1.0 - _TOGETHER) * p_value
    if again > EACH:
        return alone
    low, high = -700.0, 0.0  # of the logarithm of the product
    for _ in range(60):
        middle = (low + high) / 2
        kept = np.exp(middle) * (1 - middle) <= _TOGETHER * p_value
        low, high = (middle, high) if kept else (low, middle)
    return float(max(alone, min(np.exp(low) / max(again, 1e-300), EACH)))


def ask(rows: Summary, ids: NDArray[Any], p_value: FloatArray) -> FloatArray:
    """Ask whether customers call again after an agent's calls near the cutoff.

    They have to call again more than after the same agent's other calls around it, and
    more than after peers' calls near it: the larger p-value counts. Peers are those
    who don't stand out themselves.

    Args:
        rows: The summary `repeats` at one cutoff.
        ids: All agents, sorted.
        p_value: Of the comparison with peers, shape (n_agents,).

    Returns:
        p-values, shape (n_agents,): 1 for agents who are not asked, nan where fewer
        than ten customers or five peers are known.
    """
    agent = np.searchsorted(ids.astype(str), rows["agent_id"].astype(str))
    queue = np.unique(rows["queue"].astype(str), return_inverse=True)[1]
    near, again = rows.floats("near"), rows.floats("near_again")
    around, later = rows.floats("rest"), rows.floats("rest_again")
    n, k, rest, k_rest = (
        np.bincount(agent, weights=each, minlength=len(ids))
        for each in (near, again, around, later)
    )
    usual = float((k_rest.sum() + 0.5) / (rest.sum() + 1.0))
    known = (n >= _MIN_KNOWN) & (rest >= _MIN_KNOWN)
    outstanding = p_value <= EACH
    out = np.where(known, 1.0, np.nan)
    for i in np.flatnonzero(outstanding & known):
        mine = agent == i
        peers = ~outstanding[agent] & ~mine
        honest = _peers(queue, agent, (again, near), mine, peers)
        if honest is None:
            out[i] = np.nan
            continue
        own = _own(k_rest[i], rest[i], usual, honest)
        out[i] = max(contrast.tail(k[i], n[i], each) for each in (own, honest))
    return out


def _peers(
    queue: IntArray,
    agent: IntArray,
    counts: tuple[FloatArray, FloatArray],
    mine: BoolArray,
    peers: BoolArray,
) -> Innocent | None:
    """Learn from peers' calls near the cutoff how often customers call again."""
    return contrast.innocent(
        stratum=[queue[peers].astype(np.int64)],
        peer=agent[peers].astype(np.int64),
        events=counts[0][peers],
        records=counts[1][peers],
        mine=[queue[mine].astype(np.int64)],
        size=counts[1][mine],
    )


def _own(events: float, records: float, usual: float, like: Innocent) -> Innocent:
    """Learn the same from an agent's other calls around the cutoff."""
    few = 20.0  # calls with which an agent's own rate leans on everybody's
    rate = (events + few * usual) / (records + few)
    variance = rate**2 * _OWN_SPREAD + rate * (1.0 - rate) / (records + few)
    weight = max(rate * (1.0 - rate) / variance - 1.0, 0.5)
    return type(like)(rate=rate, weight=weight, events=events, records=records)
