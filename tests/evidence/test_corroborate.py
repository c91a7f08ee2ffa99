"""Other sources about flagged records: who may speak, and what they say."""

from dataclasses import replace

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.audit import audit
from kpiaudit.detectors.base import Alternative, Summary
from kpiaudit.detectors.duration_cap import DurationCap
from kpiaudit.detectors.short_calls import ShortCalls
from kpiaudit.detectors.sources import SOURCES
from kpiaudit.evidence import following
from kpiaudit.evidence.answers import Cells, answered
from kpiaudit.evidence.corroborate import _said, _times, corroborate
from kpiaudit.evidence.runs import Run
from kpiaudit.findings import Effect, Finding, Severity, Subject
from kpiaudit.rulebook import Rule
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate

HOUR = 3_600_000
DAYS = 40


def tables(*, seed=0, agents=12, chance=0.1, mine=0.1, writer="system"):
    """Make calls of a few seconds, some of whose callers complain later.

    Args:
        seed: Of the random numbers.
        agents: How many; the first one is the subject.
        chance: Share of short calls that are followed by a complaint.
        mine: The same for the first agent.
        writer: Who asked for the scores.
    """
    rng = np.random.default_rng(seed)
    n = agents * 60
    agent = np.repeat(np.arange(agents), 60)
    at = rng.integers(0, DAYS * 24, n) * HOUR
    complains = rng.random(n) < np.where(agent == 0, mine, chance)
    start = pl.Series(at).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    end = start.dt.offset_by("5s")
    calls = pl.DataFrame(
        {
            "call_id": [f"K{i:04d}" for i in range(n)],
            "agent_id": [f"A{i:02d}" for i in agent],
            "queue": [f"q{i % 2}" for i in range(n)],
            "customer_id": [f"C{i:04d}" for i in range(n)],
            "started_at": start,
            "ended_at": end,
            "talk_s": [5.0] * n,
        }
    )
    outcomes = calls.filter(pl.Series(complains)).select(
        "customer_id",
        at=pl.col("ended_at").dt.offset_by("2d"),
        kind=pl.lit("complaint"),
    )
    surveys = calls.select(
        pl.concat_str(pl.lit("S"), "call_id").alias("survey_id"),
        "call_id",
        "agent_id",
        sent_at=pl.col("ended_at"),
        responded_at=pl.col("ended_at"),
        score=pl.when(pl.Series(complains)).then(1.0).otherwise(5.0),
        score_max=pl.lit(5.0),
        administered_by=pl.lit(writer),
    )
    return {"calls": calls, "outcomes": outcomes, "surveys": surveys}


def run_of(given):
    data = load(tables={name: [frame] for name, frame in given.items()})
    return Run(rule=Rule(id="short-calls", detector=ShortCalls()), data=data), data


def finding(who="A00", kind="agent", **more):
    return Finding(
        id=f"short-calls-{who}",
        rank=0,
        rule="short-calls",
        detector="short-calls",
        kpi="calls_handled",
        subject=Subject(kind=kind, id=who),
        severity=Severity.LOW,
        headline="",
        n=60,
        observed=60,
        expected=10,
        effect=Effect(name="", value=50, low=40, high=60),
        p_value=0.0,
        q_value=0.0,
        **more,
    )


def heard(given, **more):
    run, data = run_of(given)
    run.findings.append(finding(**more))
    corroborate([run], data)
    return run, {item.source: item for item in run.findings[0].corroboration}


def test_more_complaints_than_after_peers_short_calls_support_a_finding():
    run, said = heard(tables(mine=0.5))
    answer = said["complaint within 14 days"]
    assert answer.verdict == "supports"
    assert answer.effect.low > 0
    assert answer.e_value > 3
    assert "peers' short calls" in answer.detail
    assert run.findings[0].corroboration_e_value > 1
    columns = {r.column: r.role for r in run.findings[0].rests_on}
    assert columns["outcomes.kind"] == "corroboration"


def test_as_many_complaints_as_after_peers_short_calls_say_nothing():
    _, said = heard(tables(seed=2, chance=0.3, mine=0.3))
    answer = said["complaint within 14 days"]
    assert answer.verdict == "silent"
    assert "would look the same if the line had dropped" in answer.detail


def test_fewer_contradict_and_the_reason_is_told():
    _, said = heard(tables(seed=1, chance=0.6, mine=0.05))
    answer = said["complaint within 14 days"]
    assert answer.verdict == "contradicts"
    assert answer.e_value < 1
    assert "speaks against the finding and ranks it after others" in answer.detail


@pytest.mark.parametrize("peers", [2, 40])
def test_fewer_than_one_of_two_innocent_alternatives_contradict_nothing(peers):
    agents = 8
    rows = Summary(
        columns={
            "agent_id": np.array([f"A{i}" for i in range(agents)] + ["A0"], object),
            "queue": np.array([""] * (agents + 1), object),
            "hour": np.zeros(agents + 1, np.int64),
            "control": np.array([0] * agents + [1]),
            "n_complaint_20160": np.array([60] + [100] * (agents - 1) + [100]),
            "k_complaint_20160": np.array([0] + [peers] * (agents - 1) + [20]),
        }
    )
    (source,) = [s for s in SOURCES if s.id == "complaint"]
    cells = Cells.of(rows).about(source)
    alternative = Alternative(text="peers' records", control=True)
    answer = answered(cells, cells.flagged("A0"), {"A0"}, alternative)
    assert answer is not None
    assert answer.contrast.high < 0
    assert answer.below_all == (peers == 40)
    # Both yardsticks are told, and which one counts.
    assert answer.easier is not None
    told = _said(source, answer, alternative).detail
    stricter, easier = told.split(", which counts as the stricter yardstick; ")
    names = ("peers' records", "the subject's own comparable records")
    assert names[answer.own] in stricter
    assert names[not answer.own] in easier


def test_sources_that_hear_too_little_are_named():
    given = tables(chance=0.0, mine=0.02)
    run, said = heard(given)
    assert "complaint within 14 days" not in said
    (text,) = [t for t in run.unheard if t.startswith("Asked about the flagged")]
    assert "complaint within 14 days" in text


@pytest.mark.parametrize("writer", ["system", "third_party", "agent", "supervisor"])
def test_only_scores_that_others_asked_for_are_heard(writer):
    _, said = heard(tables(mine=0.5, writer=writer))
    name = "low score in an independent survey"
    assert (name in said) == (writer in {"system", "third_party"})


def test_a_source_that_the_agent_writes_is_not_heard():
    run, data = run_of(tables(mine=0.5))
    data = replace(data, origins={**data.origins, "outcomes.kind": "agent"})
    chosen, lacking = following.usable(run, data)
    assert "complaint" not in {s.id for s in chosen}
    assert any("not written by: agent" in text for text in lacking)


def test_sources_of_one_customer_episode_count_once():
    run, said = heard(tables(mine=0.5))
    weights = [i.e_value for i in said.values() if i.e_value is not None]
    assert len(weights) >= 2
    assert {i.voice for i in said.values()} == {"customer"}
    assert run.findings[0].corroboration_e_value == pytest.approx(np.mean(weights))


def test_windows_that_end_after_the_export_do_not_count():
    given = tables(mine=0.5)
    run, data = run_of(given)
    chosen, _ = following.usable(run, data)
    counted = collect(following.counts(run, data, chosen))["followed"]
    last = given["outcomes"]["at"].max()
    known = given["calls"].filter(pl.col("ended_at").dt.offset_by("14d") <= last)
    assert counted["n_complaint_20160"].sum() == len(known)


def test_legs_of_one_call_are_no_repeat_contact_and_a_new_call_is():
    calls = tables(agents=2)["calls"].head(3)
    began = calls["started_at"][0]
    legs = calls.with_columns(
        customer_id=pl.lit("C1"),
        call_id=pl.Series(["K1", "K1", "K2"]),
        started_at=pl.Series([began, began, began]).dt.offset_by("0s")
        + pl.Series([0, 60_000, 7_200_000]).cast(pl.Duration("ms")),
    ).with_columns(ended_at=pl.col("started_at").dt.offset_by("5s"))
    far = calls.head(1).with_columns(
        call_id=pl.lit("K9"),
        customer_id=pl.lit("C9"),
        started_at=pl.col("started_at").dt.offset_by("20d"),
        ended_at=pl.col("started_at").dt.offset_by("21d"),
    )
    run, data = run_of({"calls": pl.concat([legs, far])})
    chosen, _ = following.usable(run, data)
    counted = collect(following.counts(run, data, chosen))["followed"]
    # Short calls within half an hour of each other count once: K1's second leg is not
    # flagged, K2 follows K1, and nothing follows K2.
    assert counted["n_contact_1440"].sum() == 2
    assert counted["k_contact_1440"].sum() == 1


def test_duckdb_counts_the_same_as_polars():
    duckdb = pytest.importorskip("duckdb")
    run, data = run_of(tables(mine=0.4))
    chosen, _ = following.usable(run, data)
    ours = collect(following.counts(run, data, chosen))
    connection = duckdb.connect()
    frames = {
        name: nw.from_native(
            connection.from_arrow(frame.collect("polars").to_native().to_arrow())
        ).lazy()
        for name, frame in data.frames.items()
    }
    there = replace(data, frames=frames)
    theirs = collect(following.counts(Run(rule=run.rule, data=there), there, chosen))
    assert ours.keys() == theirs.keys() == {"followed", "survey"}
    for name, frame in ours.items():
        mine, others = Summary.of(frame), Summary.of(theirs[name])
        for column, values in mine.columns.items():
            assert values.tolist() == others[column].tolist(), (name, column)


def test_a_team_is_asked_about_its_members_records():
    run, data = run_of(tables(mine=0.5))
    run.findings += [
        finding("T1", "team"),
        finding("A00", part_of="short-calls-T1"),
    ]
    corroborate([run], data)
    team, agent = run.findings
    assert [c.detail for c in team.corroboration] == [
        c.detail for c in agent.corroboration
    ]


def test_a_floor_has_no_innocent_peers_and_nothing_is_claimed():
    _, said = heard(tables(mine=0.5), who="all", kind="floor")
    assert not said


def test_what_could_be_asked_with_other_tables_is_told():
    given = tables()
    run, _ = heard({"calls": given["calls"]})
    assert any("table outcomes" in text for text in run.unheard)
    assert any("table tickets (for: new ticket" in text for text in run.unheard)


@pytest.mark.slow
def test_findings_of_every_detector_are_asked_in_one_read(monkeypatch):
    centre = Centre(
        seed=3,
        agents=16,
        days=30,
        plants=(
            Plant(pattern="short-calls", agents=1, strength=0.15),
            Plant(pattern="duration-cap", agents=1, strength=0.5),
        ),
        tables=("calls", "outcomes"),
    )
    given = simulate(centre).tables
    data = load(tables={name: [frame] for name, frame in given.items()})
    rules = (
        Rule(id="duration-cap", detector=DurationCap(cap_s=420.0)),
        Rule(id="short-calls", detector=ShortCalls()),
    )
    reads = []
    monkeypatch.setattr(
        "kpiaudit.evidence.corroborate.collect",
        lambda frames, **how: reads.append(len(frames)) or collect(frames, **how),
    )
    report = audit(data, rules).report
    assert {f.rule for f in report.findings} == {"duration-cap", "short-calls"}
    assert len(reads) == 1
    assert all(
        any(c.source.startswith("repeat contact") for c in f.corroboration)
        for f in report.findings
    )


def test_an_interval_without_a_useful_end_is_not_spelled_out():
    assert _times(66.94) == "66.9"
    assert _times(36857.2) == "more than 100"
    assert _times(float("inf")) == "more than 100"
