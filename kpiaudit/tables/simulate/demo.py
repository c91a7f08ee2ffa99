"""The centre of the sample data: every pattern once, among innocent look-alikes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpiaudit.tables.simulate.build import simulate
from kpiaudit.tables.simulate.centre import Centre, Plant

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.centre import Simulated

_PLANTS = (
    Plant(pattern="duration-cap", agents=1, strength=0.5),
    Plant(pattern="short-calls", agents=1, strength=0.08, falsify=0.5),
    Plant(pattern="survey-selection", agents=1, strength=0.85, falsify=0.3),
    Plant(pattern="perfect-scores", agents=1, strength=0.8),
    Plant(pattern="premature-ready", agents=1, strength=0.8),
    Plant(pattern="early-closure", agents=1, strength=0.8),
)
_LOOKALIKES = (
    "dropped-lines",
    "angry-callers",
    "silent-callers",
    "part-timers",
    "contact-cap",
    "excellent-agents",
    "round-5min",
    "late-couriers",
    "thank-you",
    "auto-close",
)


def demo(*, seed: int = 20260302) -> Simulated:
    """Make the sample data: 24 agents, five weeks, each pattern planted into one agent.

    Args:
        seed: Seed of the simulation, >= 0.
    """
    return simulate(
        Centre(
            seed=seed,
            agents=24,
            teams=3,
            days=35,
            orders_per_day=32,
            plants=_PLANTS,
            lookalikes=_LOOKALIKES,
        )
    )
