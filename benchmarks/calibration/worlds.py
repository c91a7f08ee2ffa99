"""What a simulated centre is: a cell, honest habits, and counts for a detector."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, ndtr

from kpiaudit.detectors.base import Summary

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Detector

FAMILIES = ("normal", "heavy", "skewed", "novices", "teams", "drifting", "linked")
TEAM = 10
NOVICES, NOVICE_SHIFT = 1 / 6, 3.0
"""Share of the agents who are novices, and their shift in standard deviations."""
LINK = 0.5
"""Correlation between one agent's habits in the family `linked`."""
DAY_SD = 0.3
"""Day-to-day spread of every agent's habits, on the log-odds scale."""
EFFORT = "effort"
"""First word of the mode of centres where agents bring late work in, well done."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of centre.

    Args:
        detector: Id of the detector that looks at it.
        agents: Number of agents.
        family: Shape of the honest differences, one of `FAMILIES`.
        sd: Their standard deviation on the log-odds scale, for every habit.
        gamers: Number of agents with the planted pattern.
        strength: Share of the eligible contacts that they game.
        mode: Variant, such as a cap that is given or looked for.
        path: `counts`, or `full` for tables and the whole audit.
    """

    detector: str
    agents: int
    family: str = "normal"
    sd: float = 0.2
    gamers: int = 0
    strength: float = 0.0
    mode: str = ""
    path: str = "counts"

    @property
    def key(self) -> str:
        """Return the cell as text, the same in every run."""
        return json.dumps(asdict(self), sort_keys=True)

    def rng(self, seed: int) -> np.random.Generator:
        """Return the random numbers of one centre."""
        return np.random.default_rng([seed, zlib.crc32(self.key.encode())])


@dataclass(frozen=True, kw_only=True)
class Made:
    """Counts of one centre, and the plain question that other methods would ask.

    Args:
        detector: With its parameters.
        min_effect: Of the shipped rule.
        summaries: What `Detector.test` reads.
        found: What the first stage found.
        gamer: Who has the planted pattern, shape (n_agents,), in the order of `ids`.
        ids: Ids of all agents, sorted.
        events: Events per agent, for the other methods; empty if there are none.
        trials: Trials per agent.
        honest: An honest agent's true rate as `tail_grid`, for the oracle, shape
            (n_agents or 1, n_points).
        excess: Events per agent that the planted pattern added, in the units of the
            outcome's effect, shape (n_agents,), or with a column per sign where the
            outcome's `sign` says of which it speaks; empty where that can't be said.
        durations: Agent and whole seconds of every call, where single calls exist.
    """

    detector: Detector
    min_effect: float
    summaries: dict[str, Summary]
    found: dict[str, Any]
    gamer: np.ndarray
    ids: np.ndarray
    events: np.ndarray = field(default_factory=lambda: np.empty(0))
    trials: np.ndarray = field(default_factory=lambda: np.empty(0))
    honest: np.ndarray = field(default_factory=lambda: np.empty(0))
    excess: np.ndarray = field(default_factory=lambda: np.empty(0))
    durations: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The agents of a centre, from whom habits are drawn."""

    cell: Cell
    rng: np.random.Generator
    days: int
    agents: int
    novice: np.ndarray
    team: np.ndarray
    common: np.ndarray

    @classmethod
    def of(cls, cell: Cell, rng: np.random.Generator, days: int) -> Floor:
        """Draw who is a novice and in which team."""
        n = cell.agents
        novice = rng.random(n) < (NOVICES if cell.family == "novices" else 0.0)
        return cls(
            cell=cell,
            rng=rng,
            days=days,
            agents=n,
            novice=novice,
            team=np.arange(n) // TEAM,
            common=rng.standard_normal(n),
        )

    def habit(self) -> np.ndarray:
        """Draw one habit: log-odds per agent and day, shape (agents, days)."""
        rng, n, sd = self.rng, self.agents, self.cell.sd
        level = sd * self._standard() + sd * NOVICE_SHIFT * self.novice
        out = level[:, None] + DAY_SD * rng.standard_normal((n, self.days))
        if self.cell.family == "drifting":
            slope = 2 * sd * rng.standard_normal(n)
            out += slope[:, None] * np.linspace(-0.5, 0.5, self.days)
        return out

    def _standard(self) -> np.ndarray:
        rng, n, family = self.rng, self.agents, self.cell.family
        if family == "heavy":
            return rng.standard_t(4, n) / np.sqrt(2.0)
        if family == "skewed":
            return (rng.gamma(1.5, size=n) - 1.5) / np.sqrt(1.5)
        own = rng.standard_normal(n)
        if family == "teams":
            shared = rng.standard_normal(int(self.team.max()) + 1)[self.team]
            return (own + shared) / np.sqrt(2.0)
        if family == "linked":
            return np.sqrt(1 - LINK) * own + np.sqrt(LINK) * self.common
        return own

    def gamers(self) -> np.ndarray:
        """Choose who has the planted pattern, shape (agents,)."""
        out = np.zeros(self.agents, dtype=bool)
        out[self.rng.choice(self.agents, self.cell.gamers, replace=False)] = True
        return out

    def eager(self) -> np.ndarray:
        """Return the share of late work that each agent brings in, shape (agents,).

        The mode `effort 30 50` means 30 % of it, at 50 % of the agents: just in time,
        and as good as ever.
        """
        out = np.zeros(self.agents)
        if self.cell.mode.startswith(EFFORT):
            share, of = (int(each) / 100 for each in self.cell.mode.split()[1:])
            many = max(round(of * self.agents), 1)
            out[self.rng.choice(self.agents, many, replace=False)] = share
        return out

    def workload(self, full: float) -> np.ndarray:
        """Return contacts per day and agent: a fifth works half the hours."""
        half = self.rng.random(self.agents) < 0.2
        return full * np.where(half, 0.5, 1.0)


@lru_cache
def honest_draws(cell: Cell, days: int, size: int = 40_000) -> Floor:
    """Return many honest agents of a kind of centre, the same for every centre."""
    plain = replace(cell, gamers=0, strength=0.0, agents=size)
    return Floor.of(plain, plain.rng(0), days)


_GRID = np.linspace(-4.5, 4.5, 361)


def tail_grid(rates: np.ndarray) -> np.ndarray:
    """Return quantiles of rates, close together in both tails, shape (361,)."""
    return np.quantile(rates, ndtr(_GRID))


def tail_weights() -> np.ndarray:
    """Return the probability that each point of `tail_grid` stands for."""
    density = np.exp(-(_GRID**2) / 2)
    return density / density.sum()


def tilt(share: np.ndarray | float, effect: np.ndarray) -> np.ndarray:
    """Return shares whose odds are multiplied by exp(effect)."""
    share = np.asarray(share, dtype=np.float64)
    return expit(np.log(share / (1 - share)) + effect)


def names(n: int) -> np.ndarray:
    """Return sorted ids of agents."""
    return np.array([f"A{i:04d}" for i in range(n)], dtype=object)


def table(**columns: Any) -> Summary:
    """Return a summary: text as objects, everything else as whole numbers."""
    return Summary(
        columns={
            name: np.asarray(values, dtype=object)
            if np.asarray(values).dtype.kind in "OU"
            else np.asarray(values).astype(np.int64)
            for name, values in columns.items()
        }
    )


def grouped(keys: list[np.ndarray], **values: np.ndarray) -> dict[str, np.ndarray]:
    """Sum whole numbers over equal keys; returns `0`, `1` ... and the sums, sorted."""
    label = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        label = label * (int(key.max(initial=0)) + 1) + key
    _, first, index = np.unique(label, return_index=True, return_inverse=True)
    out = {str(i): key[first] for i, key in enumerate(keys)}
    for name, each in values.items():
        sums = np.bincount(index, weights=each, minlength=len(first))
        out[name] = np.round(sums).astype(np.int64)
    return out
