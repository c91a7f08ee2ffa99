"""Thresholds that pay: read from tables, asked about, said in the finding."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.audit import audit
from kpiaudit.detectors import _duration_cap_score as score
from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors import _incentives_schemes as schemes
from kpiaudit.detectors.base import Summary
from kpiaudit.rulebook import read_rules
from kpiaudit.stats.outcome import Outcome
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate

if TYPE_CHECKING:
    from pathlib import Path

    from kpiaudit.tables.dataset import Dataset

RULES = {rule.id: rule for rule in read_rules()}
DETECTOR = RULES["short-calls"].detector
BONUS = 1000.0
TABLES = ("calls", "incentives")


@pytest.fixture(scope="module")
def made() -> dict[str, pl.DataFrame]:
    centre = Centre(
        seed=3,
        agents=24,
        days=31,
        start="2026-03-01",
        calls_bonus=BONUS,
        tables=TABLES,
        plants=(
            Plant(
                pattern="short-calls",
                agents=("A0001", "A0002", "A0003"),
                strength=0.1,
                follows_score=True,
            ),
        ),
    )
    tables = simulate(centre).tables
    bonus = tables["incentives"].filter(pl.col("kpi") == "calls_handled")
    return {"calls": tables["calls"], "incentives": bonus}


def data_of(made, **tables) -> Dataset:
    given = {**{name: made[name] for name in TABLES}, **tables}
    return load(tables={k: [v] for k, v in given.items() if v is not None})


def counted(data: Dataset):
    first = {n: Summary.of(f) for n, f in collect(DETECTOR.discover(data)).items()}
    found = DETECTOR.find(first)
    second = collect(DETECTOR.summarize(data, found))
    return first, found, {n: Summary.of(f) for n, f in second.items()}


def test_the_bonus_is_read_and_who_follows_it_stands_out(made) -> None:
    report = audit(data_of(made), [RULES["short-calls"]]).report
    status = report.rules[0]
    assert any("calls_handled 1000 per month" in text for text in status.found)
    found = {f.subject.id: f for f in report.findings if f.subject.kind == "agent"}
    assert set(found) <= {"A0001", "A0002", "A0003"}
    assert found
    for finding in found.values():
        told = [e for e in finding.evidence if "bonus was in reach" in e.name]
        assert len(told) == 1
        assert told[0].value > 1.0
        assert "p = " in told[0].text or "does not count" in told[0].text


@pytest.mark.parametrize("engine", ["duckdb"])
def test_cells_are_the_same_elsewhere(made, engine: str, tmp_path: Path) -> None:
    data = data_of(made)
    frames = {}
    connection = duckdb.connect(config={"threads": 1})
    for name, frame in collect(dict(data.frames)).items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
        path = str(tmp_path / f"{name}.parquet")
        frames[name] = nw.from_native(connection.read_parquet(path)).lazy()
    want, found, cells = counted(data)
    got, also, there = counted(replace(data, frames=frames))
    assert found["schemes"] == also["schemes"]
    assert len(cells[incentives.CELLS]) > 1000
    for summary, other in (
        (want["schemes"], got["schemes"]),
        (cells[incentives.CELLS], there[incentives.CELLS]),
    ):
        for column, values in summary.columns.items():
            np.testing.assert_array_equal(other[column], values, err_msg=column)


def test_large_data_are_counted_by_day_unless_the_bonus_is_daily(made) -> None:
    data = data_of(made)
    _, found, hourly = counted(data)
    large = replace(data, rows={"calls": 3_000_000})
    _, _, daily = counted(large)
    few, many = daily[incentives.CELLS], hourly[incentives.CELLS]
    assert set(few.ints("hour")) == {0}
    assert len(few) < 0.5 * len(many)
    for name in ("contacts", "seconds", "trials", "events"):
        assert few.ints(name).sum() == many.ints(name).sum()
    (scheme,) = found["schemes"]
    by_day = {**found, "schemes": (replace(scheme, period="day"),)}
    frames = {"cells": DETECTOR.summarize(large, by_day)[incentives.CELLS]}
    assert len(collect(frames)["cells"]) == len(many)


def test_without_the_table_nothing_changes(made) -> None:
    alone = data_of(made, incentives=None)
    other = made["incentives"].with_columns(kpi=pl.lit("csat"))
    _, found, plain = counted(alone)
    _, same, unpaid = counted(data_of(made, incentives=other))
    assert "schemes" not in found
    assert "schemes" not in same
    assert incentives.CELLS not in plain
    assert incentives.CELLS not in unpaid
    assert plain.keys() == unpaid.keys()
    told = [
        DETECTOR.test(summaries, first, min_effect=None)
        for summaries, first in ((plain, found), (unpaid, same))
    ]
    assert told[0].found == told[1].found
    for one, another in zip(told[0].tested, told[1].tested, strict=True):
        np.testing.assert_array_equal(one.outcome.p_value, another.outcome.p_value)
        assert not [name for name in one.outcome.extra if "gradient" in name]


def test_targets_reported_month_by_month_are_thresholds(made) -> None:
    targets = pl.DataFrame(
        {
            "kpi": ["Calls handled", "csat"],
            "subject_kind": ["agent", "agent"],
            "subject_id": ["A0001", "A0001"],
            "period_start": ["2026-03-01T00:00:00Z"] * 2,
            "period_end": ["2026-03-31T23:59:59Z"] * 2,
            "value": [1010.0, 4.0],
            "target": [BONUS, 4.5],
        }
    )
    _, found, _ = counted(data_of(made, incentives=None, kpis=targets))
    (scheme,) = found["schemes"]
    assert (scheme.period, scheme.subject, scheme.above) == ("span", "A0001", True)
    assert scheme.last - scheme.first == 31
    names = np.array(["A0001", "A0002"])
    (target,) = schemes.targets(found, names)
    assert target.subjects.tolist() == [True, False]


def rows(**columns):
    base = {
        "kpi": ["calls_handled"],
        "subject_kind": [""],
        "subject_id": [""],
        "direction": [""],
        "period": [""],
        "threshold": [900.0],
        "first": [-schemes._ALWAYS],
        "last": [schemes._ALWAYS],
    }
    frame = pl.DataFrame({**base, **columns})
    return {"schemes": Summary.of(frame)}


@pytest.mark.parametrize(
    ("kpi", "direction", "above"),
    [
        ("calls_handled", "", True),
        ("AHT", "", False),
        ("average handle time", "above", True),
        ("calls_handled", "below", False),
    ],
)
def test_the_paid_side_is_the_tables_or_the_usual_one(kpi, direction, above) -> None:
    given = rows(kpi=[kpi], direction=[direction])
    paid = schemes.CALLS_HANDLED | schemes.HANDLE_TIME
    (scheme,) = schemes.find(given, kpis=paid)["schemes"]
    assert scheme.above == above
    assert scheme.period == "month"


def test_a_bonus_for_teams_is_said_and_not_used() -> None:
    found = schemes.find(rows(subject_kind=["team"]), kpis=["calls_handled"])
    assert schemes.targets(found, np.array(["A0001"])) == []
    assert any("team" in text for text in incentives.sentences(found))


def test_thresholds_that_mean_nothing_are_left_out() -> None:
    for bad in ({"threshold": [0.0]}, {"period": ["decade"]}, {"kpi": ["sla_met"]}):
        assert schemes.find(rows(**bad), kpis=["calls_handled"]) == {}


def test_calls_near_a_cap_are_counted_by_hour_beside_all_calls(made) -> None:
    detector = replace(RULES["duration-cap"].detector, cap_s=420.0)
    data = data_of(made)
    first = {n: Summary.of(f) for n, f in collect(detector.discover(data)).items()}
    found = detector.find(first)
    out = {
        n: Summary.of(f) for n, f in collect(detector.summarize(data, found)).items()
    }
    near, every = out[score.NEAR_CELLS], out[incentives.CELLS]
    assert near.ints("events").sum() == out["agents"].ints("near").sum() > 0
    zones = sum(out["agents"].ints(zone).sum() for zone in ("below", "near", "over"))
    assert near.ints("trials").sum() == zones
    assert every.ints("contacts").sum() == out["totals"].ints("calls").sum()
    assert not every.ints("trials").any()
    asked = detector.test(out, found, min_effect=None)
    agents = next(t for t in asked.tested if t.kind == "agent")
    assert np.isfinite(agents.outcome.extra["gradient_odds"]).sum() >= 5
    assert any("calls_handled 1000 per month" in text for text in asked.found)


def outcome(p_value) -> Outcome:
    p = np.asarray(p_value, dtype=float)
    return Outcome(
        trials=p,
        observed=p,
        expected=p,
        p_value=p,
        effect=p,
        low=p,
        high=p,
        ratio=p,
        ratio_low=p,
        ratio_high=p,
        breaking_point=lambda rows, threshold: np.full(len(rows), threshold),
    )


def test_the_score_adds_to_peers_and_is_never_enough_alone() -> None:
    peers = outcome([0.01, 0.01, 0.01, 0.5, np.nan])
    told = outcome([np.nan, 0.01, 0.5, 1e-30, 0.01])
    p = score.followed(peers, told).p_value
    assert p[0] == 0.01
    assert p[1] < 0.003
    assert p[2] == pytest.approx(0.015)  # the price where the score says nothing
    assert p[3] > 0.005
    assert np.isnan(p[4])
    assert score.followed(peers, None) is peers


@pytest.mark.parametrize("z", [-1.0, 0.5, 3.0])
def test_what_is_needed_against_peers_is_what_is_kept(z: float) -> None:
    needed = score._needed(0.01, z)
    kept = score._together(np.array([needed * 0.999, needed * 1.01]), np.full(2, z))
    assert kept[0] <= 0.01 < kept[1]
