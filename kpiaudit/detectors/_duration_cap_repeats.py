"""How repeat calls add to the comparison of an agent with peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats import contrast, multiplicity
from kpiaudit.stats.contrast import Innocent, Peers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kpiaudit.detectors.base import Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

EACH = 0.1
"""Both questions have to be answered at this level to be combined."""
_TOGETHER = 2.0 / 3.0
"""Part of the error budget that goes to both questions together."""
_CHOSEN = 0.5
"""Weight of the comparison with peers who are chosen by repeat calls, where they are;
the rest is that of everybody as peers."""
_CLEAR, _SEVERAL = 0.01, 2
"""From so many agents on whose customers clearly call again, peers are chosen,"""
_FEWEST = 10
"""if as many are left."""
_MIN_KNOWN = 10  # of an agent's customers, near the cutoff and around it
_LEANING = 20.0  # calls with which an agent's own rate leans on everybody's
_OWN_SPREAD = 0.04
"""Relative variance with which an honest agent's customers ring again after calls that
end near the cutoff, against those that end around it: sd 0.2."""


@frozen
class Repeats:
    """Calls near a cutoff and around it, and how many were followed by another one.

    Args:
        agent: Agent of each row.
        queue: Queue of each row.
        near: Calls near the cutoff, of known customers, per row.
        again: Of those, followed by another call; per row.
        known: Who has enough of both, shape (n_agents,).
        own_near: Calls near it per agent.
        own_again: Those followed per agent.
        rest: Calls around it per agent.
        rest_again: Those followed per agent.
    """

    agent: IntArray
    queue: IntArray
    near: FloatArray
    again: FloatArray
    known: BoolArray
    own_near: FloatArray
    own_again: FloatArray
    rest: FloatArray
    rest_again: FloatArray

    @classmethod
    def of(cls, rows: Summary, ids: NDArray[Any]) -> Repeats:
        """Add up the summary `repeats` at one cutoff; `ids` are all agents, sorted."""
        agent = rows.places("agent_id", ids)
        near, again = rows.floats("near"), rows.floats("near_again")
        n, k, rest, later = (
            np.bincount(agent, weights=each, minlength=len(ids)).astype(np.float64)
            for each in (near, again, rows.floats("rest"), rows.floats("rest_again"))
        )
        return cls(
            agent=agent,
            queue=rows.coded("queue")[1],
            near=near,
            again=again,
            known=(n >= _MIN_KNOWN) & (rest >= _MIN_KNOWN),
            own_near=n,
            own_again=k,
            rest=rest,
            rest_again=later,
        )

    @property
    def _usual(self) -> float:
        """Return how often customers of all agents call again after other calls."""
        return float((self.rest_again.sum() + 0.5) / (self.rest.sum() + 1.0))

    def own(self, agent: int) -> Innocent:
        """Return what an agent's other calls around the cutoff lead to expect."""
        events, records = self.rest_again[agent], self.rest[agent]
        rate, weight = _share(events, records, self._usual)
        return Innocent(
            rate=float(rate), weight=float(weight), events=events, records=records
        )

    def ordinary(self) -> BoolArray | None:
        """Return agents by whom to measure the others, told by repeat calls alone.

        Agents who game a cap widen the spread from which honest ones are told, and so
        hide each other. If several agents' customers call again after calls near the
        cutoff clearly more than after their other calls, peers are the half with whom
        that is least so: among honest agents it says nothing about how many such calls
        there are. None if there are no several, or too few others.
        """
        k, n, later, rest = (
            each[self.known]
            for each in (self.own_again, self.own_near, self.rest_again, self.rest)
        )
        tails = contrast.tails(k, n, *_share(later, rest, self._usual))
        clear = int((tails <= _CLEAR).sum())
        if clear < _SEVERAL or self.known.sum() < 2 * _FEWEST:
            return None
        usual = _leaning(self.rest_again, self.rest, self._usual)
        score = (self.own_again + 0.5) / (self.own_near * usual + 0.5)
        return np.asarray(self.known & (score <= np.median(score[self.known])))

    def ask(self, p_value: FloatArray) -> FloatArray:
        """Ask whether customers call again after an agent's calls near the cutoff.

        They have to call again more than after the same agent's other calls around it,
        and more than after peers' calls near it: the larger p-value counts. Peers are
        those who don't stand out themselves.

        Args:
            p_value: Of the comparison with peers, shape (n_agents,).

        Returns:
            p-values, shape (n_agents,): 1 for agents who are not asked, nan where fewer
            than ten customers or five peers are known.
        """
        outstanding = p_value <= EACH
        out = np.where(self.known, 1.0, np.nan)
        asked = np.flatnonzero(outstanding & self.known).tolist()
        peers = self._peers(~outstanding[self.agent]) if len(asked) else None
        for i in asked:
            out[i] = np.nan
            if peers is None:
                continue
            mine = np.flatnonzero(self.agent == i)
            honest = peers.innocent(mine=[self.queue[mine]], size=self.near[mine])
            if honest is not None:
                k, n = self.own_again[i], self.own_near[i]
                both = (self.own(i), honest)
                out[i] = max(contrast.tail(k, n, each) for each in both)
        return out

    def _peers(self, peers: BoolArray) -> Peers | None:
        """Learn from peers' calls near the cutoff how often customers call again."""
        return Peers.of(
            stratum=[self.queue[peers]],
            peer=self.agent[peers],
            events=self.again[peers],
            records=self.near[peers],
        )


def _leaning(events: FloatArray, records: FloatArray, usual: float) -> FloatArray:
    """Return agents' own rates, leaning on everybody's."""
    return (events + _LEANING * usual) / (records + _LEANING)


def _share(
    events: FloatArray, records: FloatArray, usual: float
) -> tuple[FloatArray, FloatArray]:
    """Learn the same from agents' other calls: shares, and their worth in records."""
    rate = _leaning(events, records, usual)
    variance = rate**2 * _OWN_SPREAD + rate * (1.0 - rate) / (records + _LEANING)
    return rate, np.maximum(rate * (1.0 - rate) / variance - 1.0, 0.5)


def looked(plain: FloatArray, chosen: FloatArray | None) -> FloatArray:
    """Take the comparisons with two choices of peers together.

    Everybody is the better yardstick where few game the cap, chosen peers where many
    do. Both look at the same calls, so that a correction which counts them as two
    questions would take most of what the second one gives: where 12 of 30 agents cut a
    tenth of their long calls short, it found a quarter of them, this nine in ten.

    Args:
        plain: P-values with everybody as peers, nan where untestable.
        chosen: The same with chosen peers; None where there are none.

    Returns:
        p-values, shape as given.

    Source:
        Liu & Xie (2020), Journal of the American Statistical Association 115:393-402.
    """
    if chosen is None:
        return plain
    weight = np.array([1.0 - _CHOSEN, _CHOSEN])
    return multiplicity.cauchy(np.stack([plain, chosen]), weight)


def shares(p_value: float, *, chosen: bool) -> tuple[float, float]:
    """Return the p-values of two choices of peers that `looked` gives as this one.

    Each as if it had to carry alone: where both say the same, larger ones suffice.
    """
    if not chosen:
        return p_value, 0.0
    return (1.0 - _CHOSEN) * p_value, _CHOSEN * p_value


def combined(p_value: FloatArray, again: FloatArray, best: FloatArray) -> FloatArray:
    """Let repeat calls add to the comparison with peers.

    Where a pile-up is no larger than an unusual habit, what became of these customers
    decides: a settled call is not followed by another. A third of the error budget
    stays with the comparison alone, the rest goes to both questions together.

    Args:
        p_value: Of the comparison with peers, nan where untestable.
        again: Of the repeat calls; nan where customers are not known.
        best: Of the comparison as `looked` gives it, for both together.

    Returns:
        p-values, shape (n_agents,).

    Source:
        Fisher (1932), Statistical Methods for Research Workers, 4th ed., section 21.1
        (p-values of independent questions); weights: Genovese, Roeder & Wasserman
        (2006), Biometrika 93(3), 509-524.
    """
    product = np.maximum(best * again, 1e-300)
    both = product * (1 - np.log(product))
    shown = (best <= EACH) & (again <= EACH)
    alone = p_value / (1.0 - _TOGETHER)
    least = np.fmin(alone, np.where(shown, both / _TOGETHER, np.inf))
    known = ~np.isnan(again)
    out = np.where(known, np.minimum(least, 1.0), p_value)
    return np.asarray(np.where(np.isnan(p_value), np.nan, out))


def needed(p_value: float, again: float) -> tuple[float, float]:
    """Return the largest p-values against peers that `combined` keeps at `p_value`.

    Args:
        p_value: Threshold of the combined one.
        again: Of the repeat calls; nan where customers are not known.

    Returns:
        Of the comparison alone, and as `looked` gives it.
    """
    if np.isnan(again):
        return p_value, 0.0
    alone = (1.0 - _TOGETHER) * p_value
    if again > EACH:
        return alone, 0.0
    low, high = -700.0, 0.0  # of the logarithm of the product
    for _ in range(60):
        middle = (low + high) / 2
        kept = np.exp(middle) * (1 - middle) <= _TOGETHER * p_value
        low, high = (middle, high) if kept else (low, middle)
    return alone, float(min(np.exp(low) / max(again, 1e-300), EACH))
