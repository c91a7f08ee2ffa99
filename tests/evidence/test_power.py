"""What could have been found: planted, held against kept yardsticks, searched for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from kpiaudit.audit import audit
from kpiaudit.detectors import base
from kpiaudit.detectors.base import Summary
from kpiaudit.detectors.survey_selection import SurveySelection
from kpiaudit.evidence import power
from kpiaudit.evidence.runs import Run
from kpiaudit.findings import Selection
from kpiaudit.rulebook import read_rules
from kpiaudit.stats import held, multiplicity
from kpiaudit.stats.outcome import Outcome
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate

AGENTS = 24


def surveys(seed, contacts=900):
    """Counts of honest agents who invite half of the contacts, fewer after trouble."""
    rng = np.random.default_rng(seed)
    base = 0.1 * rng.standard_normal(AGENTS)
    trouble = rng.binomial(contacts, 0.15, AGENTS)
    easy = rng.binomial(contacts - trouble, 0.5, AGENTS)
    hard = rng.binomial(trouble, 1 / (1 + np.exp(0.3 - base)))
    ids = np.array([f"A{i:02d}" for i in range(AGENTS)], dtype=object)
    cells = {
        "agent_id": ids,
        "contacts": np.full(AGENTS, contacts),
        "invited": easy + hard,
        "repeat": trouble,
        "repeat_invited": hard,
    }
    days = {"agent_id": ids, "days": np.full(AGENTS, 40)}
    return {"cells": Summary(columns=cells), "agents": Summary(columns=days)}


def audited(summaries):
    rule = SimpleNamespace(detector=SurveySelection(), min_effect=None, max_q=0.05)
    run = Run(rule=rule, data=None, summaries=summaries)
    with held.keeping() as run.yardsticks:
        run.verdicts = rule.detector.test(summaries, run.found, min_effect=None)
    return run, run.verdicts.tested[-1]


@pytest.fixture(scope="module")
def honest():
    return audited(surveys(1))


def test_a_kept_yardstick_gives_the_p_value_of_a_new_fit(honest):
    run, agents = honest
    shares = {"A03": 0.4}
    fast = power.measure_of(run, agents, exact=False)(shares, 5)
    slow = power.measure_of(run, agents, exact=True)(shares, 5)
    assert slow["A03"] < 0.05
    # By a kept yardstick p is a little larger: by .04 to .14 standard deviations, which
    # is .07 to .16 in log10, with 16 agents of this centre.
    assert np.log10(fast["A03"]) == pytest.approx(np.log10(slow["A03"]), abs=0.2)


def test_unplanted_counts_measured_again_are_what_they_were(honest):
    run, agents = honest
    with held.against(run.yardsticks):
        again = run.rule.detector.test(run.summaries, {}, min_effect=None)
    np.testing.assert_array_equal(
        again.tested[-1].outcome.p_value, agents.outcome.p_value
    )


def test_nothing_is_kept_or_looked_up_outside_of_its_block(honest):
    run, _ = honest
    fitted = len(run.yardsticks.kept)
    run.rule.detector.test(run.summaries, {}, min_effect=None)
    assert fitted > 0
    assert len(run.yardsticks.kept) == fitted


def test_the_share_said_is_found_in_about_four_of_five_plants(honest):
    run, agents = honest
    share = power.smallest(run).share
    mark = power.threshold(run.verdicts.tested, agents, 0.05)
    measure = power.measure_of(run, agents, exact=False)
    rows = power.typical(agents, mark, low=0.25, high=0.75)
    ids = agents.ids[rows].astype(str)
    hits = [
        measure({agent: share}, 100 * seed + i)[agent] <= mark
        for seed in range(4)
        for i, agent in enumerate(ids)
    ]
    assert 0.6 <= np.mean(hits) <= 0.97
    less = [measure({a: share / 2}, 7)[a] <= mark for a in ids]
    assert np.mean(less) < 0.4


def test_where_not_even_all_would_show_no_share_is_claimed(monkeypatch, honest):
    def never(shares, seed):
        return dict.fromkeys(shares, 0.4)

    run, _ = honest
    monkeypatch.setattr(power, "measure_of", lambda *_, **__: never)
    assert np.isnan(power.smallest(run).share)
    assert power.smallest_of(run).value is None


def test_a_detector_that_plants_nothing_claims_nothing(honest):
    run, _ = honest

    class Silent(SurveySelection):
        def plant(self, summaries, found, agents, seed):
            return None

    rule = SimpleNamespace(detector=Silent(), min_effect=None, max_q=0.05)
    silent = Run(rule=rule, data=None, summaries=run.summaries, verdicts=run.verdicts)
    assert power.smallest(silent) is None


def outcome_of(p):
    nan = np.full(len(p), np.nan)
    rest = ("trials", "observed", "expected", "effect", "low", "high")
    ratios = ("ratio", "ratio_low", "ratio_high")
    return Outcome(p_value=np.array(p), **dict.fromkeys((*rest, *ratios), nan))


def test_the_threshold_is_where_one_more_agent_is_reported():
    floor = base.Tested(
        kind="floor", ids=np.array(["all"]), outcome=outcome_of([0.4]), share=0.2
    )
    p = [1e-6, 0.3, 0.9, 0.5, np.nan, 0.04]
    ids = np.array(list("abcdef"), dtype=object)
    agents = base.Tested(kind="agent", ids=ids, outcome=outcome_of(p), share=0.8)
    mark = power.threshold([floor, agents], agents, 0.05)

    def q_of(value):
        new = [value if each == 0.9 else each for each in p if not np.isnan(each)]
        weights = multiplicity.kind_weights([1, 5], [0.2, 0.8])
        return multiplicity.q_values(np.array([0.4, *new]), weights)[3]

    assert q_of(mark * 0.999) <= 0.05 < q_of(mark * 1.001)


def test_a_rule_that_shows_nothing_yet_counts_as_one_more_of_the_selected(honest):
    run, _ = honest
    quiet = Run(rule=run.rule, data=None, q_value=(np.array([0.6]),))
    alone = power.ALL_RULES / 9
    quiet.selection = Selection(rules=9, selected=1, level=alone)
    assert power.level_of(quiet) == pytest.approx(2 * alone)
    shown = Run(rule=run.rule, data=None, q_value=(np.array([1e-6]),))
    shown.selection = Selection(rules=9, selected=1, level=alone)
    assert power.level_of(shown) == pytest.approx(alone)


def test_the_crossing_is_that_of_the_line_the_scores_lie_on():
    rng = np.random.default_rng(3)
    shares = np.log(0.2) + 0.5 * rng.standard_normal(400)
    # A width of 0.25: four in five are found at exp(0.25 x 0.84) times 0.2.
    scores = 1.0 / 0.25 * (shares - np.log(0.2)) + rng.standard_normal(400)
    want = np.log(0.2) + 0.25 * norm.ppf(0.8)
    assert power.crossing(shares, scores).share == pytest.approx(want, abs=0.06)


def line(at, width, calls):
    """Planted agents whose scores lie on a line with noise, as measured ones do."""
    rng = np.random.default_rng(4)

    def measure(shares, seed):
        calls.append(len(shares))
        score = {a: (np.log(s) - at) / width for a, s in shares.items()}
        return {a: norm.sf(2.5 + z + rng.standard_normal()) for a, z in score.items()}

    return measure


def test_the_search_ends_once_the_share_is_known():
    calls = []
    ids = [f"A{i}" for i in range(20)]
    share = power.search(
        line(np.log(0.1), 0.1, calls), ids, norm.sf(2.5), plants=60, together=2
    )
    # It ends once the standard deviation of the log is that small; over 60 other draws
    # the answer was off by .04 in the mean square, and never by more than .12.
    want = np.log(0.1) + 0.1 * norm.ppf(0.8)
    assert np.log(share) == pytest.approx(want, abs=2 * power._CERTAIN)
    assert sum(calls) < 30


def test_the_search_soon_gives_up_where_nothing_would_be_found():
    calls = []
    measure = line(np.log(90.0), 0.2, calls)
    share = power.search(measure, ["A"], norm.sf(2.5), plants=60)
    assert np.isnan(share)
    assert sum(calls) < 20


def test_what_planting_leaves_alone_is_asked_once():
    asked = []

    def ask(counts):
        return held.once("this", [counts], lambda: asked.append(1) or len(asked))

    with held.keeping() as kept:
        assert ask(np.arange(3)) == 1
    with held.against(kept):
        assert ask(np.arange(3)) == 1
        assert ask(np.arange(4)) == 2
    assert ask(np.arange(3)) == 3


@pytest.fixture(scope="module")
def small():
    made = simulate(Centre(seed=3, agents=8, days=14))
    data = load((), tables={name: [frame] for name, frame in made.tables.items()})
    return {run.rule.id: run for run in audit(data, read_rules(())).runs}


PAIRS = {
    "short-calls": [("short", "calls"), ("short_redialled", "short_known")],
    "survey-selection": [("invited", "contacts"), ("repeat_invited", "repeat")],
    "perfect-scores": [
        ("top", "answers"),
        ("signed_top", "top"),
        ("fast_top", "timed_top"),
    ],
    "premature-ready": [
        ("near_long", "near_known"),
        ("near", "orders"),
        ("long", "known"),
    ],
    "early-closure": [
        ("near_bounced", "near_known"),
        ("near", "open_late"),
        ("bounced", "known"),
    ],
}


@pytest.mark.parametrize("rule", sorted(PAIRS))
def test_planting_raises_the_events_of_that_agent_alone_and_stays_possible(small, rule):
    run = small[rule]
    name = "counts" if "counts" in run.summaries else "cells"
    before = run.summaries[name]
    agent = str(before["agent_id"][0])
    after = run.rule.detector.plant(run.summaries, run.found, {agent: 0.6}, 1)[name]
    mine = before["agent_id"] == agent
    for events, trials in PAIRS[rule]:
        assert np.all(after.ints(events) <= after.ints(trials)), (events, trials)
    changed = {c for c in before.columns if np.any(after[c][mine] != before[c][mine])}
    assert changed
    for column in before.columns:
        assert np.all(after[column] == before[column]) or column in changed
        np.testing.assert_array_equal(after[column][~mine], before[column][~mine])


@pytest.mark.parametrize("rule", sorted(PAIRS))
def test_honest_counts_drawn_anew_are_possible_and_the_same_each_time(small, rule):
    run = small[rule]
    one, same = (
        next(run.rule.detector.replicas(run.summaries, run.found, number=1, seed=3))
        for _ in range(2)
    )
    name = "counts" if "counts" in run.summaries else "cells"
    before, after = run.summaries[name], one[name]
    changed = {c for c in before.columns if np.any(after[c] != before[c])}
    assert changed
    assert all(np.array_equal(after[c], same[name][c]) for c in changed)
    for events, trials in PAIRS[rule]:
        assert np.all(after.ints(events) <= after.ints(trials)), (events, trials)
        assert np.all(after.ints(events) >= 0)
    assert PAIRS[rule][0][1] not in changed or rule in {
        "early-closure",
        "premature-ready",
    }


def test_calls_at_a_cap_drawn_anew_keep_their_number(small):
    run = small["duration-cap"]
    drawn = list(run.rule.detector.replicas(run.summaries, run.found, number=1, seed=3))
    for each in drawn:
        old, new = run.summaries["agents"], each["agents"]
        around = ("below", "near", "over")
        np.testing.assert_array_equal(
            sum(new.ints(c) for c in around), sum(old.ints(c) for c in around)
        )


def test_every_rule_that_plants_says_what_it_could_have_found(small):
    for run in small.values():
        if run.reason is None and any(t.kind == "agent" for t in run.verdicts.tested):
            assert run.rule.detector.stake
            assert run.smallest is None or run.smallest.unit.startswith("share of ")


MARKS = {"signed": "answers", "rare": "answers", "troubled": "asked"}
TOPS = {"answers": "top", "asked": "known_top"}


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_coached_answers_leave_no_more_low_scores_with_a_mark_than_low_scores(
    small, share
):
    run = small["perfect-scores"]
    agent = str(run.summaries["counts"]["agent_id"][0])
    for seed in range(5):
        planted = run.rule.detector.plant(
            run.summaries, run.found, {agent: share}, seed
        )
        counts = planted["counts"]
        for mark, whole in MARKS.items():
            marked, high = counts.ints(mark), counts.ints(f"{mark}_top")
            top = counts.ints(TOPS[whole])
            assert np.all((high >= 0) & (high <= np.minimum(marked, top)))
            assert np.all(marked - high <= counts.ints(whole) - top)


def test_a_planted_agent_is_asked_at_the_other_cutoffs_as_the_real_ones_were(tmp_path):
    """In small centres those are the yardstick; one more like them would be found."""
    plant = Plant(pattern="duration-cap", agents=1, strength=0.35)
    made = simulate(Centre(seed=5, agents=14, tables=("calls",), plants=(plant,)))
    made.tables["calls"].write_parquet(tmp_path / "calls.parquet")
    data = load([tmp_path])
    (rule,) = [r for r in read_rules() if r.id == "duration-cap"]
    (run,) = audit(data, [rule]).runs
    agents = run.verdicts.tested[-1]
    assert {f.subject.id for f in run.findings} == set(
        made.truth["duration-cap"]["agents"]
    )
    other = str(agents.ids[np.argmax(agents.outcome.p_value)])
    kept, fresh = (
        power.measure_of(run, agents, exact=exact)({other: 0.6}, 3)[other]
        for exact in (False, True)
    )
    assert fresh < 1e-4
    assert np.log(kept) == pytest.approx(np.log(fresh), rel=0.2)
    assert power.smallest_of(run).value < 0.6


def test_a_plant_below_the_rules_minimum_is_not_said_to_be_found(honest):
    run, agents = honest
    size = len(agents.ids)
    outcome = replace(
        agents.outcome, p_value=np.full(size, 1e-9), effect=np.full(size, 5.0)
    )
    verdicts = base.Verdicts(tested=(replace(agents, outcome=outcome),))
    # A test that the minimum does not reach, such as one of several answers.
    detector = SimpleNamespace(
        plant=lambda *_: run.summaries, test=lambda *_, **__: verdicts
    )
    for least, p in ((4.0, 1e-9), (6.0, 1.0)):
        rule = SimpleNamespace(detector=detector, min_effect=least)
        measure = power.measure_of(replace(run, rule=rule), agents, exact=True)
        assert measure({"A00": 0.5}, 1) == {"A00": p}
