"""Signs of trouble that share contacts share their chance as well."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from kpiaudit.detectors._replicas import Habits
from kpiaudit.detectors._replicas_counts import invitations
from kpiaudit.detectors._survey_selection_replicas import fitted
from kpiaudit.detectors._survey_selection_replicas import shared_noise as noise_of
from kpiaudit.detectors._survey_selection_signs import Cells, Question
from kpiaudit.detectors.base import Summary
from tests.detectors.test_survey_selection import dataset, simulated, summed

AGENTS, CONTACTS = 400, 2000
SIGNS = ("complained", "repeat")


@cache
def patterns():
    """Return contacts by two signs, which go together."""
    return Summary(
        columns={
            "complained": np.array([0, 0, 1, 1]),
            "repeat": np.array([0, 1, 0, 1]),
            "contacts": np.array([1400, 300, 100, 200]),
        }
    )


def test_patterns_are_counted_for_all_contacts():
    _, got = summed(dataset(simulated()[0]))
    counted = got["patterns"]
    for sign in Cells.of(got["cells"]).signs():
        whole = (counted.ints(sign) * counted.ints("contacts")).sum()
        assert whole == got["cells"].ints(sign).sum()
    assert counted.ints("contacts").sum() == got["cells"].ints("contacts").sum()


def test_noise_goes_together_as_the_signs_do():
    rng = np.random.default_rng(3)
    rows = patterns()
    kind = rng.choice(4, p=rows.floats("contacts") / 2000, size=(AGENTS, CONTACTS))
    asked = rng.random((AGENTS, CONTACTS)) < 0.4
    away = [
        (asked & (rows[sign][kind] == 1)).sum(axis=1)
        - asked.mean(axis=1) * (rows[sign][kind] == 1).sum(axis=1)
        for sign in SIGNS
    ]
    got = noise_of(rows, SIGNS)
    assert got is not None
    assert got[0, 1] == pytest.approx(np.corrcoef(away)[0, 1], abs=0.1)
    assert noise_of(None, SIGNS) is None
    assert noise_of(rows, ("complained", "held")) is None


def test_replicas_draw_the_chance_of_signs_together():
    rng = np.random.default_rng(5)
    shape = (AGENTS, 1)
    counts = {
        "agent_id": np.array([f"A{i:03d}" for i in range(AGENTS)], dtype=object),
        "contacts": np.full(AGENTS, 2000),
        "invited": np.full(AGENTS, 800),
        "complained": np.full(AGENTS, 300),
        "repeat": np.full(AGENTS, 500),
    }
    for sign, size in (("complained", 300), ("repeat", 500)):
        counts[f"{sign}_invited"] = rng.hypergeometric(800, 1200, size, shape)[:, 0]
    cells = Cells.of(Summary(columns=counts))
    outcomes = fitted(cells, Question(min_trouble=20.0, min_excess=0.0), None)
    nobody = np.zeros(AGENTS, dtype=bool)

    def together(noise):
        habits = Habits(outcomes=outcomes, outside=nobody, apart=False, noise=noise)
        drawn = invitations(cells.counts, cells.agent, habits, rng)
        return np.corrcoef([drawn.ints(f"{sign}_invited") for sign in SIGNS])[0, 1]

    noise = noise_of(patterns(), SIGNS)
    assert together(noise) - together(None) == pytest.approx(noise[0, 1], abs=0.2)
