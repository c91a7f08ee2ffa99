"""Tests of the detector of invitations that stay away after trouble."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from kpiaudit.detectors._survey_selection_counts import _last_legs
from kpiaudit.detectors._survey_selection_leftout import left_out
from kpiaudit.detectors._survey_selection_restate import LEFT_OUT
from kpiaudit.detectors._survey_selection_signs import ORDER, _added
from kpiaudit.detectors.base import Row, Summary
from kpiaudit.detectors.survey_selection import SurveySelection
from kpiaudit.stats.multiplicity import q_values
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import collect
from kpiaudit.tables.schema import ANCHORS, TABLES
from kpiaudit.tables.simulate import Centre, Plant, simulate

WITHHELD = Plant(pattern="survey-selection", agents=2, strength=0.9)
DETECTOR = SurveySelection()


@cache
def simulated(plants=(), lookalikes=(), seed=1):
    made = simulate(
        Centre(
            seed=seed,
            agents=24,
            teams=2,
            sites=1,
            queues=2,
            days=28,
            tables=("calls", "surveys", "outcomes"),
            lookalikes=lookalikes,
            plants=plants,
        )
    )
    return made.tables, set(made.truth["survey-selection"]["agents"])


def dataset(tables, engine="polars", origins=None):
    """Build the dataset that the loader would."""
    frames, columns, period = {}, {}, {}
    for name, table in tables.items():
        frame = table
        anchor = next((a for a in ANCHORS.get(name, ()) if a in frame.columns), None)
        if anchor is not None:
            frame = frame.with_columns(
                at_ms=pl.col(anchor).dt.epoch("ms"),
                day=pl.col(anchor).dt.epoch("d").cast(pl.Int64),
            )
            ends = frame["at_ms"].min(), frame["at_ms"].max()
            if ends[0] is not None:
                period[name] = ends
        instants = [c for c, t in frame.schema.items() if isinstance(t, pl.Datetime)]
        frame = frame.with_columns(pl.col(c).dt.epoch("ms") for c in instants)
        columns[name] = frozenset(frame.columns)
        frames[name] = nw.from_native(
            duckdb.from_arrow(frame.to_arrow()) if engine == "duckdb" else frame.lazy()
        )
    written = {f"{t}.{c.name}": c.origin for t, known in TABLES.items() for c in known}
    return Dataset(
        frames=frames,
        columns=columns,
        origins=written | (origins or {}),
        period=period,
    )


def summed(data, detector=DETECTOR):
    discovered = collect(detector.discover(data))
    found = detector.find({k: Summary.of(v) for k, v in discovered.items()})
    frames = collect(detector.summarize(data, found))
    return found, {k: Summary.of(v) for k, v in frames.items()}


_KNOWN = {}


def verdicts(tables, detector=DETECTOR):
    """Run the detector, once per set of tables."""
    key = tuple(id(table) for table in tables.values())
    if key not in _KNOWN:
        data = dataset(tables)
        found, summaries = summed(data, detector)
        got = detector.test(summaries, found, min_effect=None)
        _KNOWN[key] = data, found, summaries, got, tables
    return _KNOWN[key][:4]


def flagged(tables):
    tested = verdicts(tables)[-1].tested[0]
    q = q_values(tested.outcome.p_value)
    return {str(tested.ids[i]) for i in np.flatnonzero(q <= 0.05)}


def row_of(tables, agent):
    data, found, summaries, got = verdicts(tables)
    tested = got.tested[0]
    return Row(
        kind="agent",
        id=agent,
        index=list(tested.ids).index(agent),
        tested=tested,
        q_value=0.01,
        summaries=summaries,
        found=found,
        data=data,
    )


def explained(account, word):
    return next(e for e in account.explanations if word in e.text)


def test_agents_who_withhold_after_trouble_are_found():
    tables, planted = simulated((WITHHELD,))
    assert flagged(tables) == planted


ALIKE = ("channel-scores", "contact-cap", "simpson-queues")


@pytest.mark.parametrize("lookalikes", [(), ALIKE])
def test_honest_agents_are_not_accused(lookalikes):
    assert not flagged(simulated((), lookalikes)[0])


def test_a_finding_says_how_many_invitations_and_how_the_score_would_read():
    tables, planted = simulated((WITHHELD,))
    account = DETECTOR.account(row_of(tables, min(planted)))
    assert account.effect.low > 0
    assert account.observed > account.expected
    assert 0 < account.harm < 1
    assert account.restated.restated < account.restated.reported
    assert "between" in account.restated.assumption
    assert account.rests_on[0].column == "surveys.call_id"
    assert {e.text for e in account.explanations} == {
        e.text for e in DETECTOR.explanations
    }


def test_the_score_is_restated_by_trouble_of_any_sign():
    """One sign alone shows half of what is kept back, and dilutes what it says."""
    stated = true = 0.0
    for seed in (1, 2, 3):
        tables, planted = simulated((WITHHELD,), seed=seed)
        honest = simulated((), seed=seed)[0]["surveys"]
        for agent in planted:
            row = row_of(tables, agent)
            account = DETECTOR.account(row)
            number = next(e for e in account.evidence if e.name == LEFT_OUT)
            assert account.effect.value < number.value
            assert "answered as peers" in account.restated.assumption
            stated += account.restated.restated - account.restated.reported
            now, then = (
                table.filter(pl.col("agent_id") == agent)["score"].mean()
                for table in (tables["surveys"], honest)
            )
            true += then - now
    assert true < -0.4
    assert 0.7 < stated / true < 1.3


def test_false_notes_on_invited_contacts_do_not_clear_the_score():
    """Trouble that was none is invited: after any sign nobody seems left out."""
    tables, planted = simulated((WITHHELD,))
    asked = tables["surveys"].filter(pl.col("sent_at").is_not_null())["call_id"]
    invited = pl.col("call_id").is_in(asked.implode())
    noted = invited & (pl.col("call_id").str.slice(-1).is_in(list("02468")))
    agent = max(planted)
    calls = tables["calls"].with_columns(
        complaint=pl.when(pl.col("agent_id") == agent)
        .then(noted)
        .otherwise(pl.col("complaint"))
    )
    row = row_of({**tables, "calls": calls}, agent)
    account = DETECTOR.account(row)
    number = next(e for e in account.evidence if e.name == LEFT_OUT)
    assert row.value("independent") > 0.5
    assert number.value >= account.effect.value > 5
    assert account.restated.restated < account.restated.reported - 0.005


def test_without_a_count_of_any_sign_the_sign_shown_stands_for_all():
    tables, planted = simulated((WITHHELD,))
    row = row_of(tables, min(planted))
    cells = {name: each for name, each in row.summaries.items() if name != "troubled"}
    sign = ORDER[int(row.value("sign"))]
    left = left_out(replace(row, summaries=cells), sign)
    assert left.invitations[0] == row.value("effect")
    assert left.invitations[0] < left_out(row, sign).invitations[0]


def test_a_finding_on_the_agents_own_notes_alone_is_weak():
    tables, planted = simulated((WITHHELD,))
    calls = tables["calls"].drop("customer_id", "hold_s")
    only = {"calls": calls, "surveys": tables["surveys"]}
    assert flagged(only)
    assert flagged(only) <= planted
    account = DETECTOR.account(row_of(only, min(planted)))
    assert account.grade_cap == "weak"
    assert explained(account, "opted out").status == "uncheckable"


def test_trouble_that_others_recorded_finds_what_the_notes_hide():
    tables, planted = simulated((WITHHELD,))
    calls, outcomes = tables["calls"], tables["outcomes"]
    # Everything that the agents write looks settled; complaints reach the house.
    loud = calls.filter("complaint").select("customer_id", at="ended_at")
    loud = loud.with_columns(
        pl.col("at") + pl.duration(hours=1),
        kind=pl.lit("complaint"),
        agent_id=pl.lit(None, dtype=pl.String),
        value=pl.lit(None, dtype=pl.Float64),
    ).select(outcomes.columns)
    settled = {
        "calls": calls.with_columns(complaint=pl.lit(value=False)).drop("resolved"),
        "surveys": tables["surveys"],
        "outcomes": pl.concat([outcomes, loud]),
    }
    tested = verdicts(settled)[-1].tested[0]
    p = tested.outcome.p_value
    assert {str(tested.ids[i]) for i in np.argsort(p)[:2]} == planted
    assert np.sort(p)[1] < 0.01
    account = DETECTOR.account(row_of(settled, min(planted)))
    assert account.grade_cap == "strong"


def test_a_log_of_answers_only_is_untestable_and_says_why():
    tables, _ = simulated((WITHHELD,))
    answers = tables["surveys"].filter(~pl.col("responded_at").is_null())
    got = verdicts({"calls": tables["calls"], "surveys": answers})[-1]
    assert got.tested == ()
    assert "answers only" in got.skipped


def test_rules_of_the_system_are_read_from_the_log():
    tables, _ = simulated((), ALIKE)
    surveys = tables["surveys"].filter("eligible")
    found, _ = summed(dataset(tables | {"surveys": surveys}))
    assert found["gap_days"] >= 20
    assert found["shortest_s"] == 30


def test_a_contact_limit_that_catches_repeats_accuses_nobody():
    tables, _ = simulated((), ALIKE)
    surveys = tables["surveys"].filter("eligible")
    assert not flagged(tables | {"surveys": surveys})


def test_what_the_system_rules_out_is_left_out_and_what_the_agent_stops_is_not():
    day = pl.datetime_range(
        pl.datetime(2026, 3, 2), pl.datetime(2026, 3, 21), "1d", eager=True
    ).dt.cast_time_unit("ms")
    calls = pl.DataFrame(
        {
            "call_id": [f"C{i:02}" for i in range(20)],
            "agent_id": "A1",
            "customer_id": [f"K{i:02}" for i in range(20)],
            "started_at": day,
            "complaint": [i < 10 for i in range(20)],
        }
    )
    surveys = pl.DataFrame(
        {
            "survey_id": [f"S{i}" for i in range(6)],
            "call_id": ["C04", "C05", "C06", "C00", "C10", "C18"],
            "suppressed_by": ["contact_cap", "agent", "A1", None, None, None],
            "agent_id": "A1",
            "score": [None, None, None, 5.0, None, None],
        }
    )
    _, summaries = summed(dataset({"calls": calls, "surveys": surveys}))
    cells = summaries["cells"]
    assert cells.ints("invited").sum() == 3
    assert cells.ints("flagged").sum() == 9
    typed = dataset(
        {"calls": calls, "surveys": surveys}, origins={"surveys.suppressed_by": "agent"}
    )
    assert summed(typed)[1]["cells"].ints("flagged").sum() == 10


def test_calls_outside_the_logs_period_are_left_out():
    tables, _ = simulated()
    surveys = tables["surveys"].filter(pl.col("sent_at").dt.day() >= 15)
    data = dataset(tables | {"surveys": surveys})
    found, _ = summed(data)
    first = tables["calls"]["started_at"].dt.epoch("d").min()
    assert found["first_day"] >= first + 10


def test_a_call_that_is_passed_on_is_the_last_agents():
    start = pl.Series([0, 60_000, 3_600_000]).cast(pl.Datetime("ms", "UTC"))
    calls = pl.DataFrame(
        {
            "call_id": ["C1", "C1", "C2"],
            "agent_id": ["A1", "A2", "A1"],
            "customer_id": ["K1", "K1", "K2"],
            "started_at": start,
        }
    )
    surveys = pl.DataFrame({"survey_id": ["S1"], "call_id": ["C1"]})
    data = dataset({"calls": calls, "surveys": surveys})
    cells = Summary.of(collect(DETECTOR.summarize(data, {}))["cells"])
    # The last day of the export has no complete window, so only the first two stay.
    assert len(cells) == 0
    calls = calls.vstack(
        calls.tail(1).with_columns(
            pl.lit("C3").alias("call_id"), pl.col("started_at") + pl.duration(days=3)
        )
    )
    data = dataset({"calls": calls, "surveys": surveys})
    cells = Summary.of(collect(DETECTOR.summarize(data, {}))["cells"])
    assert list(cells["agent_id"]) == ["A1", "A2"]
    assert list(cells.ints("invited")) == [0, 1]
    assert list(cells.ints("transferred")) == [0, 1]


def test_legs_that_bear_the_start_of_the_call_stand_as_they_were_answered():
    answered = pl.Series([70_000, 10_000]).cast(pl.Datetime("ms", "UTC"))
    calls = pl.DataFrame(
        {
            "call_id": ["C1", "C1"],
            "agent_id": ["A1", "A2"],
            "started_at": pl.Series([0, 0]).cast(pl.Datetime("ms", "UTC")),
            "answered_at": answered,
        }
    )
    surveys = pl.DataFrame({"survey_id": ["S1"], "call_id": ["C1"]})
    last = _last_legs(dataset({"calls": calls, "surveys": surveys}))
    assert collect({"": last})[""]["agent_id"].to_list() == ["A1"]


def test_summaries_do_not_depend_on_engine_or_order():
    tables, _ = simulated((WITHHELD,))
    _, want = summed(dataset(tables))
    shuffled = {
        k: v.sample(fraction=1.0, shuffle=True, seed=3) for k, v in tables.items()
    }
    for data in (dataset(tables, "duckdb"), dataset(shuffled)):
        _, got = summed(data)
        for name, summary in want.items():
            for column, values in summary.columns.items():
                np.testing.assert_array_equal(got[name][column], values)


def test_empty_tables_are_untestable():
    tables, _ = simulated()
    got = verdicts({k: v.head(0) for k, v in tables.items()})[-1]
    assert got.tested == ()
    assert got.skipped


def test_only_the_needed_columns_are_untestable_and_said():
    tables, _ = simulated()
    bare = {
        "calls": tables["calls"].select("call_id", "agent_id"),
        "surveys": tables["surveys"].select("survey_id", "call_id"),
    }
    assert "no sign of trouble" in verdicts(bare)[-1].skipped


def test_records_are_the_agents_uninvited_contacts_with_trouble():
    tables, planted = simulated((WITHHELD,))
    data = dataset(tables)
    found, _ = summed(data)
    agent = min(planted)
    frames = collect(DETECTOR.records(data, ("agent", agent), found))
    asked = set(
        tables["surveys"].filter(pl.col("sent_at").is_not_null())["call_id"].to_list()
    )
    assert set(frames["flagged"]["agent_id"]) == {agent}
    assert not set(frames["flagged"]["call_id"]) & asked
    assert not set(frames["flagged"]["call_id"]) & set(frames["control"]["call_id"])


def test_a_floor_that_withholds_since_a_target_began_is_found():
    rng = np.random.default_rng(5)
    n = 16
    rows = []
    for after in (0, 1):
        trouble = rng.binomial(300, 0.2, n)
        both = rng.binomial(trouble, 0.2 if after else 0.4)
        easy = rng.binomial(300 - trouble, 0.5)
        rows += [
            (f"A{i:02}", after, 300, both[i] + easy[i], trouble[i], both[i])
            for i in range(n)
        ]
    names = ("agent_id", "after", "contacts", "invited", "held", "held_invited")
    cells = Summary.of(pl.DataFrame(rows, schema=list(names), orient="row"))
    detector = SurveySelection(since="2026-03-16")
    got = detector.test({"cells": cells}, {}, min_effect=None)
    assert [t.kind for t in got.tested] == ["floor", "agent"]
    assert got.tested[0].outcome.p_value[0] < 0.001
    assert np.nanmin(got.tested[1].outcome.p_value) > 0.001
    assert detector.blind not in got.blind_spots
    row = Row(
        kind="floor",
        id="all",
        index=0,
        tested=got.tested[0],
        q_value=0.001,
        summaries={"cells": cells},
        found={},
        data=dataset({}),
    )
    account = detector.account(row)
    assert "2026-03-16" in account.headline
    assert account.effect.low > 0


def test_without_a_day_to_compare_with_the_floor_is_a_blind_spot():
    got = verdicts(simulated()[0])[-1]
    assert DETECTOR.blind in got.blind_spots


def test_signs_add_up_and_one_that_tells_nothing_hides_little():
    rng = np.random.default_rng(7)
    shared = rng.standard_normal(50_000)
    z = {
        # The correlation that is allowed for.
        name: np.sqrt(0.9) * shared + np.sqrt(0.1) * rng.standard_normal(50_000)
        for name in ("complained", "redress", "repeat")
    }
    p = {name: norm.sf(each) for name, each in z.items()}
    told = {name: np.full(50_000, 20.0) for name in z}
    honest = _added(list(z), p, told, 50_000)
    for level in (0.001, 0.05):
        assert np.mean(honest <= level) == pytest.approx(level, rel=0.3)

    def added(values, information):
        names = ORDER[: len(values)]
        each = {n: np.array([v]) for n, v in zip(names, values, strict=True)}
        told = {n: np.array([i]) for n, i in zip(names, information, strict=True)}
        return float(_added(names, each, told, 1)[0])

    assert added([0.01, 0.01, 0.01], [20, 20, 20]) < 0.009
    assert added([0.01, 0.5], [20, 0.2]) < added([0.01, 0.5], [20, 20])
    assert np.isnan(added([np.nan], [20]))
