"""Counts that honest agents could have had: one mechanism for every rule.

A rule says which counts follow from which, as a chain: so many of the orders still open
are stamped near the promise, so many of those wait long. Each link has a habit, drawn
anew for every agent from the honest distribution that was fitted to the real counts,
and whole days that vary as the agent's days do. What no link draws stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy as sp

from kpiaudit.detectors.base import Summary
from kpiaudit.frozen import frozen
from kpiaudit.stats import habits, multiplicity, replicate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kpiaudit.detectors.base import Verdicts
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome

_REPORTED = 0.05
_FEWEST = 6
"""Of fewer agents nothing is learnt; then all count, the reported ones as well."""


@frozen
class Habit:
    """How agents differ in one link of a chain.

    Args:
        log_odds: Of every agent against everybody's rate, shape (n_agents,); None
            stands for agents who don't differ.
        dispersion: Variance of days over the binomial one.
    """

    log_odds: FloatArray | None = None
    dispersion: float = 1.0


@frozen
class Habits:
    """What was fitted to several questions of the same agents.

    Args:
        outcomes: Of each question, by the name of its habit.
        outside: Agents whose counts are not taken for honest, shape (n_agents,): a
            reported one would be reported in every replica.
        apart: Whether agents may stand apart from the honest spread; not where their
            counts are too few to say who does.
        noise: Correlation of the outcomes' noise, in their order, as far as they count
            the same events; None where they don't.
    """

    outcomes: Mapping[str, Outcome]
    outside: BoolArray
    apart: bool = True
    noise: FloatArray | None = None

    def drawn(self, rng: np.random.Generator) -> dict[str, Habit]:
        """Draw all habits of every agent together; none where nothing was fitted."""
        seen = {k: o.standing for k, o in self.outcomes.items() if o.standing}
        noise = self.noise
        if noise is not None:
            fitted = np.array([name in seen for name in self.outcomes])
            noise = noise[np.ix_(fitted, fitted)]
        odds = habits.together(
            list(seen.values()), self.outside, rng, apart=self.apart, noise=noise
        )
        own = dict(zip(seen, odds, strict=True))
        return {
            name: Habit(
                log_odds=own.get(name),
                dispersion=max(outcome.facts.get("dispersion", 1.0), 1.0),
            )
            for name, outcome in self.outcomes.items()
        }


def learn_from(outside: BoolArray) -> BoolArray | None:
    """Return who shows what is honest, shape (n_agents,); None stands for all."""
    some = bool(outside.any()) and int((~outside).sum()) >= _FEWEST
    return ~outside if some else None


def reported(verdicts: Verdicts, ids: NDArray[Any]) -> BoolArray:
    """Say which agents a test reports, in the order of their ids."""
    names: set[str] = set()
    for tested in verdicts.tested:
        if tested.kind == "agent":
            hit = multiplicity.q_values(tested.outcome.p_value) <= _REPORTED
            names |= set(tested.ids[hit].astype(str).tolist())
    return np.isin(ids.astype(str), sorted(names))


@dataclass(kw_only=True)
class Redrawn:
    """Counts by agent and stratum, and by agent and day, that are being drawn anew.

    Args:
        cells: The summary by agent and stratum.
        days: The same by agent and day; None where there are no days.
        names: Sorted ids of the agents, as text.
        rng: Random numbers.
        outside: Agents who don't count for what is usual, shape (n_agents,).
    """

    cells: Summary
    days: Summary | None
    names: NDArray[Any]
    rng: np.random.Generator
    outside: BoolArray
    _new: dict[str, IntArray] = field(default_factory=dict)
    _new_day: dict[str, IntArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Number the agents of both summaries."""
        self.agent = np.searchsorted(self.names, self.cells["agent_id"].astype(str))
        self.day_agent = np.zeros(0, dtype=np.int64)
        if self.days is not None:
            mine = np.isin(self.days["agent_id"].astype(str), self.names)
            self.days = self.days.where(mine)
            self.day_agent = np.searchsorted(
                self.names, self.days["agent_id"].astype(str)
            )

    def __getitem__(self, name: str) -> IntArray:
        """Return a count by agent and stratum, as it is by now."""
        return self._new[name] if name in self._new else self.cells.ints(name)

    def by_day(self, name: str) -> IntArray | None:
        """Return a count by agent and day; None where it was not counted."""
        if name in self._new_day:
            return self._new_day[name]
        if self.days is None or name not in self.days:
            return None
        return self.days.ints(name)

    def put(self, name: str, counts: IntArray, days: IntArray | None = None) -> None:
        """Set a count that follows from drawn ones."""
        self._new[name] = counts.astype(np.int64)
        if days is not None:
            self._new_day[name] = days.astype(np.int64)

    def draw(
        self,
        events: str,
        trials: str,
        *,
        habit: Habit,
        stratum: IntArray,
        usual: tuple[IntArray, IntArray] | None = None,
        plus: FloatArray | None = None,
    ) -> FloatArray:
        """Draw one link: how many events go with the trials, as they are by now.

        Args:
            events: Name of the count that is drawn.
            trials: Name of the count that it is part of.
            habit: How agents differ.
            stratum: Stratum of each row, whose usual rate holds.
            usual: Real events and trials by row, where they are not under these names.
            plus: Log-odds of each agent that come on top, of a habit drawn before.

        Returns:
            Every agent's log-odds against everybody's rate, shape (n_agents,).
        """
        old = usual or (self.cells.ints(events), self.cells.ints(trials))
        zero = np.zeros(len(self.names))
        theta = zero if habit.log_odds is None else habit.log_odds
        theta = theta if plus is None else theta + plus
        inside = ~self.outside[self.agent]
        odds = replicate.rates(stratum, *old, of=inside) + theta[self.agent]
        number, by_day = self[trials], self.by_day(trials)
        if self.days is None or by_day is None or events not in self.days:
            drawn = replicate.events(number, odds, habit.dispersion, self.rng)
            self._new[events] = drawn
            return theta
        size = len(self.names)
        weight = np.asarray(number * sp.special.expit(odds), dtype=np.float64)
        total = np.bincount(self.agent, weights=weight, minlength=size)
        left = np.bincount(self.agent, weights=number, minlength=size) - total
        own = np.log(np.clip(total / np.maximum(left, 1e-9), 1e-9, 1e9))
        new = replicate.events(by_day, own[self.day_agent], habit.dispersion, self.rng)
        sums = np.bincount(self.day_agent, weights=new, minlength=size)
        self._new_day[events] = new
        self._new[events] = replicate.split(
            sums.astype(np.int64), self.agent, weight, number, self.rng
        )
        return theta

    def part(self, name: str, whole: str, was: str) -> None:
        """Draw a part of a count that no habit moves, by its share of the real one.

        Args:
            name: The part.
            whole: What it is part of, as it is by now.
            was: What it was part of in the real counts.
        """
        share = _share(self.cells.ints(name), self.cells.ints(was))
        self._new[name] = self.rng.binomial(self[whole], share).astype(np.int64)
        by_day = self.by_day(whole)
        if self.days is not None and by_day is not None and name in self.days:
            part = self.rng.binomial(by_day, share).astype(np.int64)
            self._new_day[name] = part

    def done(self) -> tuple[Summary, Summary | None]:
        """Return both summaries with the drawn counts."""
        cells = Summary(columns={**self.cells.columns, **_known(self.cells, self._new)})
        if self.days is None:
            return cells, None
        columns = {**self.days.columns, **_known(self.days, self._new_day)}
        return cells, Summary(columns=columns)


def _known(summary: Summary, new: dict[str, IntArray]) -> dict[str, Any]:
    return {name: counts for name, counts in new.items() if name in summary}


def _share(part: IntArray, whole: IntArray) -> float:
    return float(np.clip(part.sum() / max(int(whole.sum()), 1), 0.0, 1.0))


def within_margins(
    contacts: IntArray,
    invited: IntArray,
    trouble: IntArray,
    log_odds: FloatArray,
    noise: FloatArray,
) -> IntArray:
    """Draw how many contacts with trouble were invited, given all margins.

    Args:
        contacts: Contacts by row, shape (n_rows,).
        invited: Of these, invited.
        trouble: Of these, with trouble.
        log_odds: Log odds ratio of each row.
        noise: Normal scores of the rows' chance.

    Source:
        Hannan & Harkness (1963), Annals of Mathematical Statistics 34(3), 1050-1055
        (the normal limit of the hypergeometric distribution with odds other than 1).
    """
    n, r, m = (each.astype(np.float64) for each in (contacts, invited, trouble))
    low, high = np.maximum(r + m - n, 0.0), np.minimum(r, m)
    psi = np.exp(np.clip(log_odds, -8.0, 8.0))
    # a (n - m - r + a) = psi (m - a) (r - a), the root inside the margins.
    b = -(psi * (m + r) + n - m - r)
    root = np.sqrt(np.maximum(b**2 - 4.0 * (psi - 1.0) * psi * m * r, 0.0))
    mean = np.clip(2.0 * psi * m * r / np.maximum(root - b, 1e-9), low, high)
    cells = np.stack([mean, m - mean, r - mean, n - m - r + mean])
    variance = 1.0 / np.sum(1.0 / np.maximum(cells, 1e-3), axis=0)
    drawn = np.round(mean + np.sqrt(variance) * noise)
    out: IntArray = np.clip(drawn, low, high).astype(np.int64)
    return out
