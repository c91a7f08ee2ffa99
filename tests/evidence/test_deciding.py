"""Other sources help to decide which agents are reported."""

from dataclasses import replace

import numpy as np
import pytest

from kpiaudit.detectors import base
from kpiaudit.detectors.base import Verdicts
from kpiaudit.evidence import deciding, minimum
from kpiaudit.stats.contrast import MOST_WEIGHT, needed, weighed
from kpiaudit.stats.outcome import Outcome
from tests.evidence.test_corroborate import run_of, tables

AGENTS = 12


def agents_with(p, **extra):
    nan = np.full(AGENTS, np.nan)
    fields = ("trials", "observed", "expected", "effect", "low", "high")
    fields += ("ratio", "ratio_low", "ratio_high")
    ids = np.array([f"A{i:02d}" for i in range(AGENTS)], dtype=object)
    outcome = Outcome(
        **dict.fromkeys(fields, nan),
        p_value=np.array([p, *np.linspace(0.2, 1.0, AGENTS - 1)]),
        extra=extra,
        breaking_point=lambda rows, level: np.full(len(rows), level),
    )
    return base.Tested(kind="agent", ids=ids, outcome=outcome)


def decided(given, p=0.02, **extra):
    run, data = run_of(given)
    run.verdicts = Verdicts(tested=(agents_with(p, **extra),))
    run.q_value = deciding.q_values(run.verdicts.tested)
    deciding.decide([run], data)
    return run, run.verdicts.tested[0].outcome


def test_complaints_beyond_peers_lower_a_p_value_and_nobody_elses():
    run, outcome = decided(tables(mine=0.5))
    assert outcome.p_value[0] < 0.02 / 5
    assert outcome.extra["p_alone"][0] == 0.02
    assert np.array_equal(outcome.p_value[1:], np.linspace(0.2, 1.0, AGENTS - 1))
    assert run.q_value[0][0] == pytest.approx(AGENTS * outcome.p_value[0])
    # The spread that honest agents may have is looked for at the p-value of the test.
    level = outcome.breaking_point(np.array([0]), 0.001)[0]
    assert level == pytest.approx(0.001 * 0.02 / outcome.p_value[0])


def test_as_many_complaints_as_after_peers_at_most_double_it():
    _, outcome = decided(tables(seed=2, chance=0.3, mine=0.3))
    assert 0.02 / 3 < outcome.p_value[0] <= 0.04


def test_what_speaks_against_a_subject_itself_is_not_mended():
    _, outcome = decided(tables(mine=0.5), p_least=np.full(AGENTS, 0.015))
    assert outcome.p_value[0] == 0.015


@pytest.mark.parametrize("kept", [("calls",), ("calls", "surveys")])
def test_without_an_independent_source_nothing_changes(kept):
    given = tables(mine=0.5, writer="agent")
    run, outcome = decided({name: given[name] for name in kept})
    assert run.heard is None
    assert outcome.p_value[0] == 0.02
    assert "p_alone" not in outcome.extra


def test_nobody_is_asked_about_who_could_not_be_reported():
    run, _ = decided(tables(mine=0.5), p=0.5)
    assert run.heard is None


def test_weights_are_bounded_and_undone():
    p, e = np.array([0.01, np.nan, 0.9]), np.array([1e9, 1.0, 0.0])
    got = weighed(p, e)
    assert got[0] == pytest.approx(0.01 / MOST_WEIGHT)
    assert np.isnan(got[1])
    assert got[2] == 1.0
    assert needed(float(got[0]), 1e9) == pytest.approx(0.01)


def test_honest_bets_keep_p_values_honest():
    rng = np.random.default_rng(1)
    p = rng.random(200_000)
    e = np.where(rng.random(p.size) < 1 / 25, 20.0, 0.2)
    for level in (0.05, 0.001):
        assert (weighed(p, e) <= level).mean() <= 1.1 * level


def test_an_effect_no_larger_than_the_rules_minimum_is_no_finding():
    tested = agents_with(1e-9)
    effect = np.array([40.0, *np.full(AGENTS - 2, 3.0), np.nan])
    tested = replace(tested, outcome=replace(tested.outcome, effect=effect))
    (kept,) = minimum.beyond([tested], 39.0)
    assert kept.outcome.p_value[0] == 1e-9
    assert (kept.outcome.p_value[1:-1] == 1.0).all()
    (lost,) = minimum.beyond([tested], 40.0)
    assert lost.outcome.p_value[0] == 1.0
    (as_it_was,) = minimum.beyond([tested], None)
    assert as_it_was is tested
