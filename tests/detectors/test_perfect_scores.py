"""Tests of the detector of top scores that were coached or bargained for."""

from __future__ import annotations

from functools import cache

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit import testing
from kpiaudit.detectors import _perfect_scores_questions as questions
from kpiaudit.detectors.base import Row, Summary
from kpiaudit.detectors.perfect_scores import PerfectScores
from kpiaudit.stats.multiplicity import q_values
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import collect
from kpiaudit.tables.schema import ANCHORS, TABLES
from kpiaudit.tables.simulate import Centre, Plant, simulate

DETECTOR = PerfectScores()
COACHED = Plant(pattern="perfect-scores", agents=2, strength=0.5)
STRATA = ("queue", "contact", "channel", "administered_by")


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
    return made.tables, made.truth


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


def verdicts(tables):
    """Run the detector, once per set of tables."""
    key = tuple(id(table) for table in tables.values())
    if key not in _KNOWN:
        data = dataset(tables)
        found, summaries = summed(data)
        got = DETECTOR.test(summaries, found, min_effect=None)
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


def test_the_documentation_is_complete():
    testing.check_documentation(PerfectScores)


def test_coached_agents_are_found():
    tables, truth = simulated((COACHED,))
    assert flagged(tables) == set(truth["perfect-scores"]["agents"])


@pytest.mark.parametrize(
    "lookalikes", [(), ("excellent-agents", "team-satisfaction", "channel-scores")]
)
def test_honest_and_excellent_agents_are_left_alone(lookalikes):
    assert not flagged(simulated((), lookalikes)[0])


def test_an_account_names_both_questions_and_restates_the_score():
    tables, truth = simulated((COACHED,))
    agent = min(truth["perfect-scores"]["agents"])
    account = DETECTOR.account(row_of(tables, agent))
    assert "of these came" in account.headline
    assert account.observed > account.expected
    assert account.effect.low > 0
    assert 0 < account.harm < 1
    assert account.grade_cap == "strong"
    real = truth["perfect-scores"]["kpi"]["csat"]["by_agent"][agent]
    assert account.restated.reported == pytest.approx(real["reported"], abs=0.02)
    assert account.restated.low <= real["without"] <= account.restated.high
    assert {e.text for e in account.explanations} == {
        e.text for e in DETECTOR.explanations
    }
    assert explained(account, "excellent").status == "ruled_out"
    assert explained(account, "queue").status == "ruled_out"
    assert explained(account, "Few").status == "ruled_out"
    assert explained(account, "kiosk").status == "open"
    assert not any(e.holds for e in account.explanations)
    assert "surveys.responded_at" in {r.column for r in account.rests_on}


def test_the_agents_own_columns_clear_nobody_and_lower_the_grade():
    tables, truth = simulated((COACHED,))
    agent = min(truth["perfect-scores"]["agents"])
    row = row_of(tables, agent)
    typed = dict.fromkeys(
        ("surveys.responded_at", "surveys.device", "outcomes.kind", "calls.queue"),
        "agent",
    )
    own = Row(**{**vars(row), "data": dataset(tables, origins=typed)})
    account = DETECTOR.account(own)
    assert account.grade_cap == "weak"
    assert explained(account, "excellent").status == "open"
    assert explained(account, "queue").status == "open"


def test_without_a_second_sign_nobody_is_tested():
    tables, _ = simulated((COACHED,))
    bare = {"surveys": tables["surveys"].select("survey_id", "agent_id", "score")}
    got = verdicts(bare)[-1]
    assert got.tested == ()
    assert got.untestable == 24
    assert "second sign" in got.skipped
    assert any("how soon" in spot for spot in got.blind_spots)
    assert any("largest score found, 5" in said for said in got.found)


def test_surveys_alone_are_enough_and_say_what_is_missing():
    tables, truth = simulated((COACHED,))
    alone = {"surveys": tables["surveys"]}
    assert flagged(alone) == set(truth["perfect-scores"]["agents"])
    assert any("discounts" in spot for spot in verdicts(alone)[-1].blind_spots)
    agent = min(truth["perfect-scores"]["agents"])
    account = DETECTOR.account(row_of(alone, agent))
    assert explained(account, "queue").status == "uncheckable"
    credit = explained(account, "Credits")
    assert credit.status == "uncheckable"
    assert "outcomes.kind, outcomes.customer_id" in credit.detail
    assert "surveys.responded_at" not in credit.detail


def test_credits_without_times_of_answers_name_the_times_as_missing():
    tables, truth = simulated((COACHED,))
    tables = tables | {"surveys": tables["surveys"].drop("responded_at")}
    agent = min(truth["perfect-scores"]["agents"])
    credit = explained(DETECTOR.account(row_of(tables, agent)), "Credits")
    assert (credit.status, credit.detail) == (
        "uncheckable",
        "no column surveys.responded_at",
    )


def test_answers_that_a_supervisor_took_down_are_weak_and_said():
    tables, truth = simulated((COACHED,))
    agents = truth["perfect-scores"]["agents"]
    by = pl.lit("supervisor").alias("administered_by")
    taken = {"surveys": tables["surveys"].with_columns(by)}
    assert any("supervisor" in spot for spot in verdicts(taken)[-1].blind_spots)
    assert DETECTOR.account(row_of(taken, agents[0])).grade_cap == "weak"


def counted(**changes):
    """Return counts of 20 alike agents, with some of the last one's changed."""
    usual = {
        "answers": 80,
        "top": 48,
        "milli": 350_000,
        "top_milli": 240_000,
        "timed_top": 48,
        "fast_top": 4,
        "timed_other": 32,
        "fast_other": 3,
        "placed_top": 0,
        "owned_top": 0,
        "asked": 80,
        "known_top": 48,
        "troubled": 0,
        "troubled_top": 0,
        "followed_top": 48,
        "gift_top": 2,
        "followed_other": 32,
        "gift_other": 1,
        "signed": 10,
        "signed_top": 6,
    }
    rng = np.random.default_rng(3)
    rows = []
    for i in range(20):
        noise = {
            k: max(int(usual[k] + rng.integers(-2, 3)), 0)
            for k in ("top", "fast_top", "gift_top")
        }
        noise |= dict.fromkeys(("timed_top", "known_top", "followed_top"), noise["top"])
        rows.append(
            {"agent_id": f"A{i:02}"} | dict.fromkeys(STRATA, "") | usual | noise
        )
    rows[-1] |= changes
    return {"counts": Summary.of(pl.DataFrame(rows))}


MANY = {"top": 76, "timed_top": 76, "known_top": 76, "followed_top": 76}
FEW_LOWER = {"timed_other": 4, "followed_other": 4}


def asked_of(summaries, found=None, data=None):
    found = {"top": 5.0, "levels": 5, "given": True} | (found or {})
    got = DETECTOR.test(summaries, found, min_effect=None)
    outcome = got.tested[0].outcome
    return Row(
        kind="agent",
        id="A19",
        index=19,
        tested=got.tested[0],
        q_value=float(q_values(outcome.p_value)[19]),
        summaries=summaries,
        found=found,
        data=data or dataset(simulated()[0]),
    )


def test_a_high_rate_alone_is_no_finding_and_neither_is_a_sign_alone():
    assert asked_of(counted(**MANY)).q_value > 0.3
    assert asked_of(counted(fast_top=40)).q_value > 0.3
    assert asked_of(counted(**MANY, fast_top=40)).q_value < 0.05


def test_top_scores_that_gather_where_signs_are_rare_are_seen_among_many_fast_ones():
    columns = counted()["counts"].columns
    without = questions.Cells.of({"counts": Summary(columns=columns)})
    assert len(questions.rates(without, min_excess=0.0)) == 2
    usual = {"signed": 25, "signed_top": 16, "rare": 6, "rare_top": 4}
    coached = {"signed": 31, "signed_top": 22, "rare": 12, "rare_top": 12}
    marked = {k: np.array([usual[k]] * 19 + [coached[k]]) for k in usual}
    cells = questions.Cells.of({"counts": Summary(columns=columns | marked)})
    _, gathered, rare = questions.rates(cells, min_excess=0.0)
    assert rare.p_value[-1] < 0.05 < gathered.p_value[-1]
    assert not (rare.p_value[:-1] <= 0.05).any()


def test_eight_coached_answers_among_eighty_are_enough():
    tops = dict.fromkeys(("top", "timed_top", "known_top", "followed_top"), 56)
    columns = counted(**tops, gift_top=14, fast_top=12)["counts"].columns
    usual = {"signed": 25, "signed_top": 16, "rare": 6, "rare_top": 4}
    coached = {"signed": 41, "signed_top": 32, "rare": 14, "rare_top": 14}
    marked = {k: np.array([usual[k]] * 19 + [coached[k]]) for k in usual}
    # A rate that is only raised, and top scores that gather beside credits.
    row = asked_of({"counts": Summary(columns=columns | marked)})
    q = q_values(row.outcome.p_value)
    assert row.outcome.extra["rate_p"][-1] > 0.05
    assert q[-1] <= 0.05
    assert not (q[:-1] <= 0.05).any()


def test_many_who_coach_do_not_hide_each_other():
    columns = {k: v.copy() for k, v in counted()["counts"].columns.items()}
    rng = np.random.default_rng(8)
    for i in range(12, 20):
        top = int(rng.integers(70, 76))
        for name in ("top", "timed_top", "known_top", "followed_top"):
            columns[name][i] = top
        columns["fast_top"][i] = top // 2
        columns["signed"][i], columns["signed_top"][i] = top // 2 + 4, top // 2 + 3
    row = asked_of({"counts": Summary(columns=columns)})
    q = q_values(row.outcome.p_value)
    assert (q[12:] <= 0.05).sum() >= 4
    assert not (q[:12] <= 0.05).any()
    assert row.outcome.extra["chosen_peers"][12:].any()


def test_an_agent_whose_customers_all_answer_at_once_is_cleared():
    changes = {"top": 70, "timed_top": 70, "known_top": 70, "followed_top": 70}
    same = {"timed_other": 10, "followed_other": 10}
    row = asked_of(counted(**changes, **same, fast_top=40, fast_other=6))
    assert explained(DETECTOR.account(row), "asked to answer").holds
    row = asked_of(counted(**changes, **same, fast_top=40, fast_other=1))
    assert not explained(DETECTOR.account(row), "asked to answer").holds
    both = counted(**changes, **same, fast_top=40, fast_other=6, gift_top=40)
    assert not explained(DETECTOR.account(asked_of(both)), "asked to answer").holds


def test_an_agent_who_credits_everybody_is_cleared():
    changes = {"top": 70, "timed_top": 70, "known_top": 70, "followed_top": 70}
    same = {"timed_other": 10, "followed_other": 10}
    row = asked_of(counted(**changes, **same, gift_top=40, gift_other=7))
    assert row.value("sign") == 3
    assert explained(DETECTOR.account(row), "Credits").holds


def test_one_sign_is_moderate_and_a_scale_of_two_points_is_weak():
    changes = MANY | FEW_LOWER
    row = asked_of(counted(**changes, fast_top=40))
    account = DETECTOR.account(row)
    assert account.grade_cap == "moderate"
    assert row.outcome.breaking_point(np.array([19]), 0.05)[0] > 1
    row = asked_of(counted(**changes, fast_top=40), {"levels": 2})
    assert DETECTOR.account(row).grade_cap == "weak"


def test_excellence_after_trouble_is_no_sign():
    # Top scores as likely after trouble as the agent's own high level foretells.
    summaries = counted()
    columns = dict(summaries["counts"].columns)
    n = np.arange(20) == 19
    columns["troubled"] = np.full(20, 25)
    columns["top"] = columns["known_top"] = np.where(n, 68, 48)
    columns["troubled_top"] = np.where(n, 16, 8)
    columns["timed_top"] = columns["followed_top"] = columns["top"]
    row = asked_of({"counts": Summary(columns=columns)})
    assert row.value("trouble_p") > 0.05
    columns["troubled_top"] = np.where(n, 25, 8)
    row = asked_of({"counts": Summary(columns=columns)})
    assert row.value("trouble_p") < 0.05


def small():
    """Return surveys, calls and outcomes in which every flag can be told by hand."""
    at = pl.Series([0, 86_400_000, 172_800_000, 259_200_000]).cast(
        pl.Datetime("ms", "UTC")
    )
    surveys = pl.DataFrame(
        {
            "survey_id": ["S1", "S2", "S3", "S4"],
            "call_id": ["C1", "C2", "C3", None],
            "agent_id": "A1",
            "customer_id": ["K1", "K2", "K3", "K4"],
            "score": [10.0, 10.0, 7.0, 10.0],
            "score_max": [10.0, None, 10.0, 10.0],
            "sent_at": at,
            "responded_at": at
            + pl.Series([60, 119, 60, 400]).cast(pl.Duration("ms")) * 1000,
            "device": ["D1", "D1", "D1", "D9"],
        }
    )
    calls = pl.DataFrame(
        {
            "call_id": ["C1", "C1", "C2"],
            "agent_id": ["A1", "A2", "A1"],
            "queue": ["q1", "q2", None],
            "complaint": [False, True, True],
        }
    )
    outcomes = pl.DataFrame(
        {
            "customer_id": ["K1", "K4", "K4", "K3"],
            "at": at + pl.Series([7200] * 4).cast(pl.Duration("ms")) * 1000,
            "kind": ["discount", "discount", "complaint", "churn"],
        }
    ).with_columns(pl.lit("A1").alias("agent_id"))
    return {"surveys": surveys, "calls": calls, "outcomes": outcomes}


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_each_flag_is_counted_as_it_says(engine):
    found, summaries = summed(dataset(small(), engine))
    assert found["top"] == 10.0
    counts = summaries["counts"]
    total = {k: int(counts.ints(k).sum()) for k in counts.columns if k[0] not in "acq"}
    total["answers"] = int(counts.ints("answers").sum())
    assert total["answers"] == 4
    assert total["top"] == 3
    assert (total["fast_top"], total["fast_other"]) == (2, 1)
    assert (total["placed_top"], total["owned_top"]) == (3, 2)
    assert (total["troubled"], total["troubled_top"]) == (1, 1)
    assert (total["gift_top"], total["gift_other"]) == (1, 0)
    assert sorted(set(counts["queue"])) == ["", "q1"]


def test_voided_answers_and_unknown_agents_do_not_count():
    surveys = small()["surveys"].with_columns(
        voided_at=pl.when(pl.col("survey_id") == "S1").then(pl.col("sent_at")),
        agent_id=pl.when(pl.col("survey_id") != "S2").then(pl.lit("A1")),
    )
    _, summaries = summed(dataset({"surveys": surveys}))
    assert summaries["counts"].ints("answers").sum() == 2


def test_summaries_do_not_depend_on_engine_or_order():
    tables, _ = simulated((COACHED,))
    _, want = summed(dataset(tables))
    # DuckDB plans for seconds, however few the rows are.
    few = small()
    _, few_want = summed(dataset(few))
    shuffled = {
        k: v.sample(fraction=1.0, shuffle=True, seed=3) for k, v in tables.items()
    }
    for expected, data in (
        (few_want, dataset(few, "duckdb")),
        (want, dataset(shuffled)),
    ):
        _, got = summed(data)
        for name, summary in expected.items():
            for column, values in summary.columns.items():
                np.testing.assert_array_equal(got[name][column], values)


def test_empty_tables_are_untestable():
    tables, _ = simulated()
    got = verdicts({k: v.head(0) for k, v in tables.items()})[-1]
    assert got.tested == ()
    assert got.skipped


def test_records_are_top_scores_with_a_sign():
    tables, truth = simulated((COACHED,))
    data = dataset(tables)
    found, _ = summed(data)
    agent = min(truth["perfect-scores"]["agents"])
    frames = collect(DETECTOR.records(data, ("agent", agent), found))
    assert set(frames["flagged"]["agent_id"]) == {agent}
    assert set(frames["flagged"]["score"]) == {5.0}
    assert set(frames["flagged"].columns) == set(data.columns["surveys"])
    coached = set(truth["perfect-scores"]["records"])
    assert len(coached & set(frames["flagged"]["call_id"])) >= 90
    assert not set(frames["flagged"]["survey_id"]) & set(frames["control"]["survey_id"])
