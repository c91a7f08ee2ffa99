"""Claims about the detector of orders stamped before they are ready."""

import re
from dataclasses import replace
from functools import cache
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.audit import audit, records
from kpiaudit.detectors import _premature_ready_count as count
from kpiaudit.detectors import _premature_ready_pairs as witnesses
from kpiaudit.detectors.base import Row, Summary, Verdicts
from kpiaudit.detectors.premature_ready import PrematureReady
from kpiaudit.findings import Finding
from kpiaudit.rulebook import Rule
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate

DETECTOR = PrematureReady()
RULE = Rule(id=DETECTOR.id, detector=DETECTOR)
TABLES = ("handovers",)
BANNED = "fraud|cheat|culprit|guilty|offender|suspect|perpetrator|misconduct|\\blie"


@cache
def orders(
    *,
    seed: int = 1,
    agents: int = 16,
    days: int = 42,
    gaming: tuple[str, ...] = (),
    strength: float = 0.8,
    how: str = "ready",
    falsify: float = 0.0,
    lookalikes: tuple[str, ...] = (),
) -> pl.DataFrame:
    """Return the handovers of a simulated centre."""
    plant = Plant(
        pattern="premature-ready",
        agents=gaming,
        strength=strength,
        how=how,
        falsify=falsify,
    )
    centre = Centre(
        seed=seed,
        agents=agents,
        days=days,
        lookalikes=lookalikes,
        plants=(plant,) if gaming else (),
        tables=("handovers",),
    )
    return simulate(centre).tables["handovers"]


def everybody(agents: int = 16) -> tuple[str, ...]:
    frame = orders(agents=agents)
    return tuple(sorted(frame["agent_id"].unique()))


def dataset(frame: pl.DataFrame) -> Dataset:
    return load(tables={"handovers": [frame]})


def findings(frame: pl.DataFrame, rule: Rule = RULE) -> tuple[Finding, ...]:
    return audit(dataset(frame), (rule,)).report.findings


def named(frame: pl.DataFrame, rule: Rule = RULE) -> set[str]:
    return {finding.subject.id for finding in findings(frame, rule)}


def gather(frames: Any) -> dict[str, Summary]:
    return {k: Summary.of(v) for k, v in collect(frames).items()}


def run(data: Dataset) -> tuple[Verdicts, dict[str, Summary], Any]:
    found = DETECTOR.find(gather(DETECTOR.discover(data)))
    summaries = gather(DETECTOR.summarize(data, found))
    return DETECTOR.test(summaries, found, min_effect=None), summaries, found


def told(finding: Finding, words: str) -> str:
    """Return the status of the explanation that has these words."""
    return next(
        e.status for e in finding.innocent_explanations if re.search(words, e.text)
    )


def everything_said(finding: Finding) -> str:
    return repr(finding)


def test_orders_marked_as_ready_too_early_are_found() -> None:
    frame = orders(gaming=("A0003",))
    audited = audit(dataset(frame), (RULE,))
    (finding,) = audited.report.findings
    assert finding.subject.id == "A0003"
    # Strong would ask for the longer waits alone to be as clear as one in a thousand.
    assert finding.evidence_grade == "moderate"
    assert finding.restated is not None
    assert finding.restated.restated < finding.restated.reported
    assert finding.restated.low <= finding.restated.restated <= finding.restated.high
    assert told(finding, "courier") == "ruled_out"
    assert told(finding, "rounds") == "ruled_out"
    assert not re.search(BANNED, everything_said(finding), re.IGNORECASE)
    rows = records(audited.runs[0], finding)
    assert set(rows["flagged"]["agent_id"]) == {"A0003"}
    assert len(rows["flagged"]) >= finding.observed
    assert not set(rows["flagged"]["order_id"]) & set(rows["control"]["order_id"])


def test_the_share_on_time_is_restated_by_all_early_stamps() -> None:
    """Also those that no long wait followed: they are nearly half of them."""
    stated = true = 0.0
    for seed in (1, 2, 3):
        gaming = ("A0003", "A0009")
        plant = Plant(pattern="premature-ready", agents=gaming, strength=0.8)
        made = simulate(
            Centre(seed=seed, agents=16, days=42, plants=(plant,), tables=TABLES)
        )
        for finding in findings(made.tables["handovers"]):
            item = finding.restated
            assert item is not None
            assert item.reported is not None
            assert item.restated is not None
            assert "beyond what peers stamp there" in item.assumption
            told = made.truth["premature-ready"]["kpi"]["ready_on_time"]["by_agent"]
            own = told[finding.subject.id]
            stated += item.restated - item.reported
            true += own["without"] - own["reported"]
    assert true < -0.3
    assert 0.85 < stated / true < 1.15


def test_orders_marked_as_delivered_too_early_are_found() -> None:
    frame = orders(gaming=("A0003",), how="delivered", strength=0.6)
    (finding,) = findings(frame)
    assert finding.subject.id == "A0003"
    assert "marked as delivered" in finding.headline
    assert {r.column for r in finding.rests_on} >= {
        "handovers.delivered_at",
        "handovers.received_at",
    }


def test_the_floor_is_found_if_everybody_does_it() -> None:
    (finding,) = findings(orders(gaming=everybody(), strength=0.4))
    assert finding.subject.kind == "floor"
    assert finding.histogram is not None
    assert not re.search(BANNED, everything_said(finding), re.IGNORECASE)


def test_the_floor_is_found_if_a_large_minority_does_it() -> None:
    some = everybody(20)[::3]
    floor = [
        finding
        for finding in findings(orders(agents=20, gaming=some, strength=0.7))
        if finding.subject.kind == "floor"
    ]
    assert len(floor) == 1
    (showing,) = (e.value for e in floor[0].evidence if "calmer third" in e.name)
    assert showing >= len(some) - 2


def test_a_falsified_handover_is_seen_at_the_door() -> None:
    gaming = ("A0002", "A0009")
    frame = orders(agents=24, days=84, gaming=gaming, strength=1.0, falsify=0.95)
    known = {f.subject.id: f for f in findings(frame)}
    assert set(known) == set(gaming)
    for finding in known.values():
        assert "the customers had them" in finding.headline


def test_haste_before_the_promise_without_longer_waits_is_no_finding() -> None:
    frame = orders(seed=7, agents=12)
    left = pl.col("promised_at") - pl.col("ready_at")
    minutes = left.dt.total_seconds() / 60
    # Late orders are finished in time, and everything after that moves along.
    sooner = pl.when((minutes < 0) & (minutes > -12)).then(
        left - pl.duration(seconds=9)
    )
    late = ["ready_at", "courier_arrived_at", "handed_over_at", "delivered_at"]
    moved = frame.with_columns(
        (pl.col(c) + sooner.otherwise(pl.duration())) for c in [*late, "received_at"]
    )
    assert named(moved) == set()


def test_without_a_later_instant_only_the_floor_is_asked() -> None:
    columns = ["order_id", "agent_id", "promised_at", "ready_at"]
    (finding,) = findings(orders(gaming=everybody()).select(columns))
    assert finding.subject.kind == "floor"
    assert finding.evidence_grade == "weak"
    assert "received_at" in finding.next_step
    one = orders(gaming=("A0003",)).select(columns)
    assert named(one) == set()
    (status,) = audit(dataset(one), (RULE,)).report.rules
    assert any("signature" in spot for spot in status.blind_spots)


@pytest.mark.parametrize(
    "absent",
    [
        ["received_at"],
        ["handed_over_at", "courier_arrived_at", "actor_id"],
        ["placed_at", "site_id", "recorded_at"],
    ],
)
def test_fewer_columns_still_show_it(absent: list[str]) -> None:
    frame = orders(days=84, gaming=("A0003",), strength=1.0).drop(absent)
    (finding,) = findings(frame)
    assert finding.subject.id == "A0003"
    if absent == ["received_at"]:
        assert finding.evidence_grade != "strong"
        assert told(finding, "courier") == "open"
    if "recorded_at" in absent:
        assert told(finding, "offline") == "uncheckable"


def test_a_rule_may_name_the_stamp() -> None:
    rule = replace(RULE, detector=PrematureReady(stamp="delivered"))
    frame = orders(gaming=("A0003",))
    data = dataset(frame)
    found = rule.detector.find(gather(rule.detector.discover(data)))
    assert found["pairs"] == ("delivered>received",)
    assert named(frame, rule) == set()


def test_without_any_stamp_the_rule_is_skipped() -> None:
    data = dataset(orders().select("order_id", "agent_id", "promised_at"))
    verdicts, _, _ = run(data)
    assert verdicts.skipped is not None
    assert "ready_at" in verdicts.skipped


def test_orders_that_somebody_else_stamped_are_set_aside() -> None:
    frame = orders(gaming=("A0003",))
    other = pl.when(pl.col("agent_id") == "A0003").then(pl.lit("A0001"))
    moved = frame.with_columns(actor_id=other.otherwise("actor_id"))
    assert named(moved) == set()


@pytest.mark.parametrize("what", ["burst", "offline"])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_batches_and_offline_devices_hold_if_others_of_them_wait_as_long(
    what: str, elsewhere: bool
) -> None:
    data = dataset(orders(gaming=("A0003",)))
    _, summaries, found = run(data)
    cells = dict(summaries["cells"].columns)
    far = cells["long"] - cells["near_long"]
    cells[f"near_{what}"] = cells[f"near_{what}_long"] = cells["near_long"]
    cells[f"far_{what}"] = far
    cells[f"far_{what}_long"] = far if elsewhere else far // 2
    changed = {**summaries, "cells": Summary(columns=cells)}
    tested = DETECTOR.test(changed, found, min_effect=None).tested[-1]
    row = Row(
        kind="agent",
        id="A0003",
        index=int(np.flatnonzero(tested.ids == "A0003")[0]),
        tested=tested,
        q_value=0.001,
        summaries=changed,
        found=found,
        data=data,
    )
    held = [e for e in DETECTOR.account(row).explanations if e.holds]
    assert [e.status for e in held] == (["open"] if elsewhere else [])


@pytest.mark.parametrize(
    "lookalike", ["", "round-5min", "batch-scan", "late-couriers", "offline-device"]
)
def test_honest_clerks_are_not_accused(lookalike: str) -> None:
    lookalikes = (lookalike,) if lookalike else ()
    assert named(orders(seed=7, agents=12, lookalikes=lookalikes)) == set()


def test_shuffled_rows_and_duckdb_give_the_same_summaries() -> None:
    frame = orders(agents=6, days=14)
    ordered = dataset(frame)
    _, _, found = run(ordered)
    first = collect(
        {**DETECTOR.discover(ordered), **DETECTOR.summarize(ordered, found)}
    )
    connection = duckdb.connect(config={"threads": 1})
    rows = ordered.table("handovers").to_native().collect()
    connection.register("orders", rows.to_arrow())
    native = nw.from_native(connection.table("orders"))
    shuffled = dataset(frame[np.random.default_rng(1).permutation(len(frame))])
    others = [
        shuffled,
        Dataset(frames={"handovers": native}, columns=ordered.columns),
    ]
    for data in others:
        again = collect({**DETECTOR.discover(data), **DETECTOR.summarize(data, found)})
        for name, expected in first.items():
            assert again[name].cast(expected.schema).equals(expected), name


def test_an_order_waits_from_when_its_courier_is_there() -> None:
    at = [f"2026-03-02T12:{m:02d}:00Z" for m in range(60)]
    frame = pl.DataFrame(
        {
            "order_id": ["early", "waiting", "late courier"],
            "agent_id": ["A", "A", "A"],
            "promised_at": [at[30]] * 3,
            "ready_at": [at[10], at[29], at[29]],
            "courier_arrived_at": [at[28], at[28], at[40]],
            "handed_over_at": [at[29], at[39], at[41]],
        }
    )

    data = dataset(frame)
    found = DETECTOR.find(gather(DETECTOR.discover(data)))

    def waits(pair: str) -> list[float]:
        rows = collect({"o": count.orders(data, DETECTOR._windows, pair, found)})["o"]
        pairs = zip(rows["order_id"], rows["wait"], strict=True)
        return [wait / 60_000 for _, wait in sorted(pairs)]

    # In alphabetical order: early, late courier, waiting.
    assert found["pairs"] == ("ready>handed", "ready>handed_from_courier")
    assert waits("ready>handed") == [19.0, 12.0, 10.0]
    assert waits("ready>handed_from_courier") == [1.0, 1.0, 10.0]


def test_witnesses_who_agree_cost_nothing_and_a_silent_one_little() -> None:
    agreeing = witnesses.harmonic(np.full((3, 1), 0.01), np.ones(3))
    np.testing.assert_allclose(agreeing, 0.01)
    one = witnesses.harmonic(np.array([[0.01], [1.0], [np.nan]]), np.ones(3))
    assert 0.01 < one[0] < 0.02
    assert np.isnan(witnesses.harmonic(np.full((2, 1), np.nan), np.ones(2))).all()


def test_an_empty_table_gives_no_finding() -> None:
    data = dataset(orders())
    empty = Dataset(
        frames={"handovers": data.table("handovers").filter(nw.col("day") < 0)},
        columns=data.columns,
    )
    verdicts, _, _ = run(empty)
    assert verdicts.skipped is not None
