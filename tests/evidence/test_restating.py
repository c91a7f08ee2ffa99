"""Further KPIs of a finding, and those of the whole floor, from a few sums."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.detectors._survey_selection_leftout import LeftOut
from kpiaudit.detectors._survey_selection_restate import (
    response_rate,
    restated,
    score,
)
from kpiaudit.detectors.base import Summary
from kpiaudit.evidence import restating
from kpiaudit.evidence.kpis import rate_of_all
from kpiaudit.findings import Effect, Evidence, Finding, Restated, Severity, Subject
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import collect
from kpiaudit.tables.neighbours import ordered


def finding(agent: str = "A", excess: tuple[float, float, float] = (40, 30, 50)):
    value, low, high = excess
    return Finding(
        id="f", rank=1, rule="r", detector="short-calls", kpi="calls_handled",
        subject=Subject(kind="agent", id=agent), severity=Severity.HIGH, headline="h",
        n=1000, observed=50, expected=10, p_value=0.001, q_value=0.01,
        effect=Effect(name="excess short calls", value=value, low=low, high=high),
        restated=Restated(kpi="calls_handled", reported=1000, restated=1000 - value,
                          low=1000 - high, high=1000 - low, unit="calls"),
    )  # fmt: skip


def sums(**counts: list[int]) -> Summary:
    columns = {"agent_id": np.array(["A", "B"], dtype=object)}
    columns["queue"] = np.array(["Q", "Q"], dtype=object)
    return Summary(
        columns=columns | {name: np.array(each) for name, each in counts.items()}
    )


WHOLE = sums(
    calls=[1000, 1000], handled=[1020, 1000], handle_ms=[2_950_000, 3_000_000],
    handle_sq=[9_000_000_000, 9_500_000_000], offered=[1000, 1000],
    in_time=[800, 700], known=[900, 900], quiet=[720, 720],
)  # fmt: skip
FLAGGED = sums(
    calls=[50, 10], handled=[50, 10], handle_ms=[2_500, 500],
    handle_sq=[130_000, 25_000],
    offered=[50, 10], in_time=[50, 10], known=[45, 9], quiet=[18, 6],
)  # fmt: skip


@pytest.fixture
def run():
    detector = SimpleNamespace(
        restates=("handle_time", "service_level", "first_contact_resolution"),
        floor_kpi=("counts", "calls", "", 1.0),
        floor_rate=None,
        days_each=lambda found: found.get("days", 1.0),
    )
    counts = Summary(
        columns={
            "agent_id": np.array(["A", "B"], dtype=object),
            "calls": np.array([1000, 1000]),
        }
    )
    return SimpleNamespace(
        rule=SimpleNamespace(detector=detector),
        findings=[finding()],
        summaries={"counts": counts},
        found={},
        restated=[],
    )


def test_a_dropped_call_is_no_answer_no_length_and_no_solution(run):
    restating.add(run, {"whole": WHOLE, "flagged": FLAGGED})
    length, level, solved = run.findings[0].also_restated
    assert length.reported == 295.0
    assert length.restated == pytest.approx((295_000 - 40 * 5) / 960, rel=1e-6)
    assert length.low < length.restated < length.high
    assert (level.reported, level.restated) == (0.8, 0.76)
    assert (level.low, level.high) == (0.75, 0.77)
    left = 18 - 9 * (720 - 18) / (900 - 45)  # what the ten honest ones leave
    assert solved.restated == pytest.approx(0.8 - left / 900)
    assert solved.low < solved.restated < solved.high < solved.reported


def test_what_every_second_day_shows_is_restated_for_all_days(run):
    restating.add(run, {"whole": WHOLE, "flagged": FLAGGED})
    once = run.findings[0].also_restated[1]
    run.findings[0] = finding()
    run.found["days"] = 2.0
    restating.add(run, {"whole": WHOLE, "flagged": FLAGGED})
    twice = run.findings[0].also_restated[1]
    assert once.restated - once.reported == pytest.approx(-0.04)
    assert twice.restated - twice.reported == pytest.approx(-0.08)
    assert (twice.low, twice.high) == pytest.approx((0.7, 0.74))


def test_the_floor_is_restated_without_all_that_was_found(run):
    restating.add(run, {"whole": WHOLE, "flagged": FLAGGED})
    calls, length, level, _ = run.restated
    # twenty calls of an outage were handled as well, though no test compares them
    assert (calls.reported, calls.restated) == (2020, 1980)
    assert (calls.low, calls.high) == (1970, 1990)
    own = run.findings[0].restated
    assert (own.reported, own.restated, own.low, own.high) == (1020, 980, 970, 990)
    assert length.restated == pytest.approx((595_000 - 40 * 5) / 1960, rel=1e-6)
    assert level.restated == pytest.approx((1500 - 40) / 2000)


def test_nothing_more_is_restated_where_nothing_was_counted(run):
    restating.add(run, {})
    assert run.findings[0].also_restated == ()
    assert len(run.restated) == 1


LEFT = LeftOut(
    invitations=(100.0, 60.0, 140.0), sign="repeat", rate=(0.5, 0.05),
    score=(3000.0, 150.0), scatter=1300.0,
)  # fmt: skip
ASKED = Summary(
    columns={
        "contacts": np.array([1000, 1000]),
        "invited": np.array([500, 500]),
        "answers": np.array([150, 150]),
        "score_milli": np.array([675_000, 630_000]),
    }
)


def test_who_was_left_out_would_have_answered_like_others_with_trouble():
    (item,) = response_rate(ASKED, np.array([True, False]), LEFT)
    assert item.reported == 0.3
    assert item.restated == pytest.approx(200 / 600)
    assert item.low < item.restated < item.high
    assert "between 23% and 45%" in item.assumption
    (item,) = response_rate(
        ASKED, np.array([True, False]), replace(LEFT, rate=(0.3, 0.05))
    )
    assert item.restated == pytest.approx(0.3)
    assert "higher or lower can't be told" in item.assumption


def test_the_score_gets_the_answers_of_those_who_were_left_out():
    found = {"score_low": 1.0, "score_high": 5.0}
    mine = np.array([True, False])
    got = score(ASKED, mine, LEFT, found)
    assert got.reported == 4.5
    assert got.restated == pytest.approx((675 + 50 * 3) / 200)
    # As if 210 had been left out, of whom 105 answer.
    assert got.low < (675 + 105 * 3) / 255
    assert got.restated < got.high < got.reported
    assert got.floor == pytest.approx(0.15 * 4.5 + 0.85)
    assert restated(got, LEFT, "long holds").restated == got.restated
    assert score(ASKED, mine, LEFT, {}) is None


def test_the_floor_gets_as_many_answers_as_the_finding_says():
    told = replace(finding(), evidence=(Evidence(name="left out", value=70.0),))
    run = SimpleNamespace(rule=SimpleNamespace(detector=SimpleNamespace(rate_adds="")))
    assert restating._added(run, told) == 40
    run.rule.detector.rate_adds = "left out"
    assert restating._added(run, told) == 70


def test_the_floor_answers_as_its_agents_would_have():
    def item(low: float, restated: float, high: float) -> Restated:
        return Restated(kpi="response_rate", reported=0.3, restated=restated, low=low,
                        high=high, unit="share")  # fmt: skip

    # 150 of 500 answered, and 50 of 100 left out would have; 30 of 100, and 10 of 20.
    parts = [
        (item(0.30, 200 / 600, 0.36), 100.0, 150.0, 500.0),
        (item(0.30, 40 / 120, 0.36), 20.0, 30.0, 100.0),
    ]
    floor = rate_of_all(parts, 900.0, 3000.0)
    assert floor.reported == 0.3
    assert floor.restated == pytest.approx((900 + 50 + 10) / (3000 + 120))
    assert floor.low < floor.restated < floor.high
    assert rate_of_all([], 900.0, 3000.0) is None


@pytest.mark.parametrize("since", [None, 1])
def test_a_record_that_was_flagged_twice_counts_once_and_none_before_since(since):
    calls = pl.DataFrame(
        {
            "call_id": [f"C{i}" for i in range(40)],
            "agent_id": ["A", "B"] * 20,
            "customer_id": [f"X{i % 7}" for i in range(40)],
            "at_ms": np.arange(40) * 60_000,
            "talk_s": np.arange(40.0),
            "day": np.repeat([1, 0], 20),
        }
    )
    data = ordered(
        Dataset(
            frames={"calls": nw.from_native(calls.lazy())},
            columns={"calls": frozenset(calls.columns)},
            period={"calls": (0, 39 * 60_000)},
        )
    )
    rows = data.table("calls").filter(nw.col("talk_s") < 10)
    twice = nw.concat([rows, rows], how="vertical")
    detector = SimpleNamespace(
        records=lambda *_: {"flagged": twice}, later_only=True, since_day=since
    )
    run = SimpleNamespace(
        data=data, found={}, flagged=None, rule=SimpleNamespace(detector=detector)
    )
    told = collect(restating._frames(run), alike=False)
    assert told["whole"]["calls"].to_list() == ([10, 10] if since else [20, 20])
    assert told["flagged"]["calls"].to_list() == [5, 5]
    assert told["flagged"]["handle_ms"].to_list() == [200, 250]
