"""Random streams, and how honest agents differ from each other."""

from __future__ import annotations

import zlib
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kpiaudit.frozen import frozen

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

NOVICE_SHIFT = 3.0
"""How much worse a novice is, in standard deviations of the honest spread."""


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random numbers of one purpose, independent of all other purposes.

    A stream of its own for each purpose keeps the rest of a centre as it was when a
    mechanism is switched on.
    """
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def expit(x: Floats) -> Floats:
    """Return the probability of log-odds `x`."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)), dtype=np.float64)


def tilt(share: Floats | float, effect: Floats) -> Floats:
    """Return a share whose odds are multiplied by `exp(effect)`; shares in [0, 1)."""
    odds = np.asarray(share) / (1.0 - np.asarray(share)) * np.exp(effect)
    return np.asarray(odds / (1.0 + odds), dtype=np.float64)


def shift_across(
    values: Floats,
    cut: Floats | float,
    width: float,
    *,
    effect: Floats,
    rng: np.random.Generator,
    left: float = 0.5,
) -> Floats:
    """Move some values across a cut, so that the odds of the left side are tilted.

    Values within `width` of the cut are mirrored to the other side with just the
    probability that multiplies the odds of left against right by `exp(effect)`.

    Args:
        values: Whole seconds, shape (n,).
        cut: The cut, whole seconds; a value equal to it is on the right.
        width: Half width of the window, in seconds.
        effect: Log-odds per value, shape (n,).
        rng: Random numbers.
        left: Share of the window's values on the left before.

    Returns:
        The values after moving, shape (n,).
    """
    wanted = tilt(left, effect)
    to_left = np.clip((wanted - left) / (1 - left), 0, 1)
    to_right = np.clip((left - wanted) / left, 0, 1)
    is_left = values < cut
    near = (values >= cut - width) & (values < cut + width)
    chance = np.where(is_left, to_right, to_left)
    moved = near & (rng.random(len(values)) < chance)
    return np.where(moved, 2 * cut - 1 - values, values)


@frozen
class Spread:
    """Honest differences between agents, one independent draw per propensity.

    Args:
        seed: Seed of the centre.
        kind: Shape, one of `centre.SPREADS`.
        sd: Standard deviation on the log-odds scale.
        team: Team of each agent, shape (n_agents,).
        novice: Who is a novice, shape (n_agents,).
    """

    seed: int
    kind: str
    sd: float
    team: Ints
    novice: Bools

    def effect(
        self, name: str, agent: Ints, progress: Floats | float = 0.5, sign: int = 1
    ) -> Floats:
        """Return the log-odds effects of a propensity.

        Args:
            name: Name of the propensity; each has a draw of its own.
            agent: Agent per record, shape (n,).
            progress: Share of the period that is over, in [0, 1]; it matters only to
                drifting agents.
            sign: -1 if novices have less of it (satisfaction), 0 if no difference.

        Returns:
            Effects, shape (n,), with mean 0 over experienced agents.
        """
        rng = stream(self.seed, f"spread {name}")
        level = self._standard(rng) * self.sd
        level = level + sign * NOVICE_SHIFT * self.sd * self.novice
        out = level[agent]
        if self.kind == "drifting":
            slope = rng.standard_normal(len(self.team)) * 2 * self.sd
            out = out + slope[agent] * (np.asarray(progress) - 0.5)
        return np.asarray(out, dtype=np.float64)

    def _standard(self, rng: np.random.Generator) -> Floats:
        """Draw one value per agent, mean 0 and variance 1."""
        n = len(self.team)
        if self.kind == "heavy":
            return np.asarray(
                rng.standard_t(4, n) / np.sqrt(2.0)
            )  # a t4 has variance 2
        if self.kind == "skewed":
            return np.asarray((rng.gamma(1.5, size=n) - 1.5) / np.sqrt(1.5))
        own = rng.standard_normal(n)
        if self.kind == "teams":
            shared = rng.standard_normal(int(self.team.max()) + 1)[self.team]
            return np.asarray((own + shared) * np.sqrt(0.5))
        return own
