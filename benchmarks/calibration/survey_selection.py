"""Centres for survey-selection: contacts per agent, queue, trouble and invitation."""

from __future__ import annotations

from itertools import product

import numpy as np

from calibration.worlds import Cell, Floor, Made, names, table, tilt
from kpiaudit.detectors._survey_selection_signs import ORDER
from kpiaudit.detectors.survey_selection import SurveySelection

CONTACTS, QUEUES, DAYS = 1600, 2, 42
TROUBLE, INVITED, AFTER = 0.15, 0.5, -0.3
"""Shares of contacts, and the log-odds by which trouble lowers honest invitations."""
SIGNS = {"complained": (0.15, 0.005), "repeat": (0.5, 0.05), "flagged": (0.4, 0.01)}
"""Shares with the sign among contacts with trouble, and among the others."""
MIN_EFFECT = 1.0
STRENGTHS = (0.1, 0.2, 0.4, 0.8)


def make(cell: Cell, rng: np.random.Generator) -> Made:
    """Simulate one centre; the planted pattern withholds invitations after trouble."""
    floor = Floor.of(cell, rng, DAYS)
    gamer = floor.gamers()
    shape = (cell.agents, QUEUES)
    contacts = rng.poisson(floor.workload(CONTACTS / QUEUES)[:, None], shape)
    trouble = rng.binomial(contacts, tilt(TROUBLE, _level(floor)))
    base = tilt(INVITED, _level(floor))
    # As in the other centres a habit raises what the rule counts: skewed differences
    # and newcomers lean to invitations that stay away.
    honest = tilt(base, AFTER - _level(floor))
    kept_back = cell.strength * gamer[:, None]
    after = honest * (1 - kept_back)
    seen = {name: _level(floor) for name in SIGNS}
    counts = {"contacts": contacts, "invited": np.zeros(shape, dtype=np.int64)}
    counts |= {f"{s}{end}": np.zeros(shape, np.int64) for s in SIGNS for end in _ENDS}
    missing = dict.fromkeys(SIGNS, np.zeros(shape, np.int64))
    patterns = dict.fromkeys(product((0, 1), repeat=len(SIGNS)), 0.0)
    for hard, total, rate in ((0, trouble, after), (1, contacts - trouble, base)):
        for invited, part in _split(total, rate, rng):
            counts["invited"] += part * invited
            chances = [tilt(SIGNS[sign][hard], seen[sign]) for sign in SIGNS]
            for pattern in patterns:
                chance = [p if s else 1 - p for p, s in zip(chances, pattern, strict=1)]
                patterns[pattern] += float((part * np.prod(chance, axis=0)).sum())
            for sign, shares in SIGNS.items():
                with_it = rng.binomial(part, tilt(shares[hard], seen[sign]))
                counts[sign] += with_it
                counts[f"{sign}_invited"] += with_it * invited
                if not hard and not invited:
                    missing[sign] = with_it
    ids = names(cell.agents)
    cells = table(
        agent_id=np.repeat(ids, QUEUES),
        queue=np.tile(np.array(["Q0", "Q1"], dtype=object), cell.agents),
        **{name: each.ravel() for name, each in counts.items()},
    )
    agents = table(agent_id=ids, days=np.full(cell.agents, DAYS))
    # The test doesn't read these; replicas read their shares, so expected ones will do.
    kinds = table(
        contacts=np.round(list(patterns.values())).astype(np.int64),
        **dict(zip(SIGNS, np.array(list(patterns)).T, strict=True)),
    )
    return Made(
        detector=SurveySelection(),
        min_effect=MIN_EFFECT,
        summaries={"cells": cells, "agents": agents, "patterns": kinds},
        found={"answers_known": True},
        gamer=gamer,
        excess=_withheld(missing, honest * kept_back / (1 - after), rng),
        ids=ids,
    )


def _withheld(
    missing: dict[str, np.ndarray], chance: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw which missing invitations the pattern took, shape (agents, signs).

    A column per sign in the detector's order: contacts with trouble that show the sign
    and would have been invited otherwise.
    """
    out = np.zeros((len(chance), len(ORDER)))
    for sign, each in missing.items():
        taken = rng.binomial(each, np.broadcast_to(chance, each.shape))
        out[:, ORDER.index(sign)] = taken.sum(axis=1)
    return out


def _level(floor: Floor) -> np.ndarray:
    """Draw one habit, as its mean over the days, shape (agents, 1)."""
    return floor.habit().mean(axis=1, keepdims=True)


_ENDS = ("", "_invited")


def _split(total: np.ndarray, rate: np.ndarray, rng: np.random.Generator):
    """Split contacts into invited and other ones; yields (1 or 0, counts)."""
    invited = rng.binomial(total, np.broadcast_to(rate, total.shape))
    return (1, invited), (0, total - invited)
