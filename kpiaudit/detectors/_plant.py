"""Planting a pattern into collected counts: what the planted rows share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors.base import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kpiaudit.stats.outcome import FloatArray, IntArray


@dataclass(kw_only=True)
class Rows:
    """Some agents' rows of a summary, whose counts are being moved.

    Args:
        summary: The summary as collected.
        at: Positions of the rows that belong to planted agents.
        share: Share of the contacts at stake that each of them games, shape (len(at),).
        rng: Random numbers.
    """

    summary: Summary
    at: IntArray
    share: FloatArray
    rng: np.random.Generator

    def __post_init__(self) -> None:
        """Copy the integer columns of these rows."""
        self._new: dict[str, IntArray] = {}

    @classmethod
    def of(
        cls, summary: Summary, agents: Mapping[str, float], rng: np.random.Generator
    ) -> Rows:
        """Take the rows of some agents."""
        ids, who = summary.coded("agent_id")
        shares = np.full(len(ids) + 1, np.nan)
        names = np.array(sorted(agents), dtype=np.str_)
        place = np.searchsorted(ids, names)
        for name, at in zip(names.tolist(), place.tolist(), strict=True):
            if at < len(ids) and ids[at] == name:
                shares[at] = agents[name]
        rows = np.flatnonzero(~np.isnan(shares)[who]).astype(np.int64)
        return cls(summary=summary, at=rows, share=shares[who[rows]], rng=rng)

    @property
    def who(self) -> NDArray[np.str_]:
        """Return the agent of each of these rows, shape (len(at),)."""
        ids, index = self.summary.coded("agent_id")
        out: NDArray[np.str_] = ids[index[self.at]]
        return out

    def has(self, *names: str) -> bool:
        """Say whether the summary has all of these columns."""
        return all(name in self.summary for name in names)

    def __getitem__(self, name: str) -> IntArray:
        """Return a count of these rows, as it is by now."""
        if name in self._new:
            return self._new[name]
        column = self.summary[name][self.at]
        return Summary(columns={name: column}).ints(name)

    def add(self, name: str, more: IntArray) -> None:
        """Add to a count; a column that there is not is passed over."""
        if name in self.summary:
            self._new[name] = np.maximum(self[name] + more, 0)

    def drawn(self, number: IntArray, chance: FloatArray | float) -> IntArray:
        """Draw how many of so many, each with this chance."""
        p = np.clip(np.broadcast_to(chance, number.shape), 0.0, 1.0)
        return self.rng.binomial(np.maximum(number, 0), p).astype(np.int64)

    def gamed(self, number: IntArray) -> IntArray:
        """Draw how many of so many are gamed, by each agent's share."""
        return self.drawn(number, self.share)

    def done(self) -> Summary:
        """Return the whole summary with the new counts."""
        columns = {}
        for name, values in self._new.items():
            column = self.summary.ints(name)
            column[self.at] = values
            columns[name] = column
        return self.summary.with_counts(**columns)


def taken(rows: Rows, number: IntArray, events: IntArray, trials: IntArray) -> IntArray:
    """Draw how many events go with so many trials; what is left is possible."""
    some = rows.drawn(number, part(events, trials))
    least = np.maximum(number - (trials - events), 0)
    out: IntArray = np.clip(some, least, np.minimum(events, number))
    return out


def rate(events: IntArray, trials: IntArray) -> float:
    """Return a rate over all rows; 0 of nothing."""
    return float(events.sum() / max(int(trials.sum()), 1))


def part(some: IntArray, whole: IntArray) -> FloatArray:
    """Return a share per row; 0 of nothing."""
    out: FloatArray = np.clip(some / np.maximum(whole, 1), 0.0, 1.0)
    return out
