"""What is noted about the data is taken into account by the detectors it concerns."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from kpiaudit.detectors import (
    _duration_cap_counts,
    _early_closure_count,
    _perfect_scores_count,
    _premature_ready_count,
    _short_calls_count,
)
from kpiaudit.detectors._lengths import HOURS
from kpiaudit.detectors.base import Summary
from kpiaudit.detectors.catalogue import detectors
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, simulate

if TYPE_CHECKING:
    from kpiaudit.tables.dataset import Dataset

START_MS = 1_772_438_400_000  # 2026-03-02T08:00Z
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
SHORT = _short_calls_count.Windows(
    short_s=10, next_s=30, redial_ms=15 * MINUTE_MS, episode_ms=MINUTE_MS
)


def given(table: str, **columns: list[Any]) -> Dataset:
    """Load a table; instants are minutes after a Monday morning."""
    frame = pl.DataFrame(columns, strict=False).with_columns(
        pl.from_epoch(
            (pl.col(c).cast(pl.Float64) * MINUTE_MS).cast(pl.Int64) + START_MS, "ms"
        )
        for c in columns
        if c.endswith("_at")
    )
    return load(tables={table: frame})


def kinds(data: Dataset) -> set[str]:
    return {note.kind for note in data.notes}


def test_lengths_below_zero_or_above_a_day_are_no_calls_short_or_long():
    data = given(
        "calls",
        call_id=["1", "2", "3", "4"],
        agent_id=["A", "A", "A", "A"],
        customer_id=["X", "Y", "Z", "W"],
        started_at=[0, 10, 20, 30],
        talk_s=[-5.0, 4.0, 90_000.0, 1e20],
    )
    assert {"negative-durations", "impossible-durations"} <= kinds(data)
    frames = collect(_short_calls_count.summaries(data, SHORT, {}))
    assert frames["counts"].select("calls", "short").rows() == [(1, 1)]
    lengths = collect({"": _duration_cap_counts.seconds(data, ["talk"], None)})[""]
    assert lengths["second"].to_list() == [4]


def test_a_talk_that_is_derived_from_broken_stamps_is_no_short_call():
    data = given(
        "calls",
        call_id=["1", "2"],
        agent_id=["A", "A"],
        started_at=[0, 10],
        answered_at=[1, 11],
        ended_at=[0.5, 11.05],
    )
    assert "times-out-of-order" in kinds(data)
    frames = collect(_short_calls_count.summaries(data, SHORT, {}))
    assert frames["counts"].select("calls", "short").rows() == [(1, 1)]


@pytest.mark.parametrize("ended", [-60.0, 3 * 24 * 60.0])
def test_a_redial_is_timed_by_the_talk_where_the_end_can_not_be(ended):
    soon_and_late = [(5, 1), (2 * 24 * 60, 0)]
    for again, redialled in soon_and_late:
        data = given(
            "calls",
            call_id=["1", "2", "3"],
            agent_id=["A", "B", "B"],
            customer_id=["X", "X", "Y"],
            started_at=[0, again, 5 * 24 * 60],
            ended_at=[ended, again + 4, 5 * 24 * 60 + 4],
            talk_s=[4.0, 240.0, 240.0],
        )
        frame = collect(_short_calls_count.summaries(data, SHORT, {}))["counts"]
        assert frame["short_redialled"].sum() == redialled
        assert frame["short_known"].sum() == 1


def test_an_answer_before_its_invitation_is_not_a_fast_one():
    data = given(
        "surveys",
        survey_id=["1", "2", "3", "4"],
        agent_id=["A", "A", "A", "A"],
        sent_at=[0, 10, 20, 30],
        responded_at=[-60, 10.5, 19.5, 90],
        score=[5.0, 5.0, 5.0, 5.0],
    )
    assert "times-out-of-order" in kinds(data)
    windows = _perfect_scores_count.Windows(
        fast_ms=2 * MINUTE_MS, trouble_ms=DAY_MS, gift_ms=DAY_MS, customers=3
    )
    rows = _perfect_scores_count.answers(data, windows, {"top": 5.0})
    found = collect({"": rows.sort("survey_id")})[""]
    # The third was written in whole minutes.
    assert found["fast"].to_list() == [0, 1, 1, 0]
    assert found["timed"].to_list() == [0, 1, 1, 1]


def test_an_order_that_was_ready_before_it_was_placed_does_not_count():
    data = given(
        "handovers",
        order_id=["1", "2", "3"],
        agent_id=["A", "A", "A"],
        placed_at=[0, 10, 20],
        promised_at=[30, 40, 50],
        ready_at=[-60, 38, 19.5],
        handed_over_at=[32, 45, 48],
    )
    windows = _premature_ready_count.Windows(
        near_ms=5 * MINUTE_MS,
        long_percent=75,
        burst=3,
        offline_ms=HOUR_MS,
        since_day=None,
    )
    rows = _premature_ready_count.orders(data, windows, "ready>handed", {})
    assert sorted(collect({"": rows})[""]["order_id"]) == ["2", "3"]


def test_a_ticket_that_was_resolved_before_it_was_opened_does_not_count():
    data = given(
        "tickets",
        ticket_id=["1", "2"],
        agent_id=["A", "A"],
        opened_at=[0, 10],
        due_at=[600, 610],
        resolved_at=[-60, 600],
        reopened_at=[100, 700],
    )
    assert "times-out-of-order" in kinds(data)
    windows = _early_closure_count.Windows(
        near_per_mille=100, bounce_ms=DAY_MS, quick_ms=HOUR_MS, bulk=5, since_day=None
    )
    rows = _early_closure_count.closures(data, windows, {})
    assert collect({"": rows})[""]["ticket_id"].to_list() == ["2"]


BUCKETS = ("NO_SERVER", "unknown", "IVR")


@cache
def bucketed() -> Dataset:
    """Return a simulated centre in which three agents' ids stand for nobody."""
    tables = simulate(Centre(seed=3, agents=9, teams=1, sites=1, days=14)).tables
    names = sorted(
        {a for t in tables.values() if "agent_id" in t for a in t["agent_id"] if a}
    )
    renamed = dict(zip(names, BUCKETS, strict=False))
    people = ("agent_id", "actor_id", "subject_id", "person_id", "voided_by")
    return load(
        tables={
            name: table.with_columns(
                pl.col(c).cast(pl.String).replace(renamed)
                for c in people
                if c in table.columns
            )
            for name, table in tables.items()
        }
    )


@pytest.mark.parametrize("name", sorted(detectors()))
def test_an_id_that_stands_for_nobody_is_no_agent(name):
    data = bucketed()
    assert "bucket-agent" in kinds(data)
    # Without a cutoff there are no windows in which agents are counted.
    given_cap = {"cap_s": 300.0} if name == "duration-cap" else {}
    detector = detectors()[name](**given_cap)
    first = collect(detector.discover(data))
    found = detector.find({k: Summary.of(v) for k, v in first.items()})
    frames = first | collect(detector.summarize(data, found))
    agents = {
        agent
        for frame in frames.values()
        if "agent_id" in frame.columns
        for agent in frame["agent_id"].to_list()
    }
    assert len(agents) > 3
    assert agents.isdisjoint({*BUCKETS, None, ""})


def verdict(name: str, data: Dataset) -> tuple[Any, dict[str, Summary]]:
    """Run a detector's stages up to its test, with what was counted."""
    detector = detectors()[name]()

    def read(frames: Any) -> dict[str, Summary]:
        return {n: Summary.of(frame) for n, frame in collect(dict(frames)).items()}

    found = detector.find(read(detector.discover(data)))
    summaries = read(detector.summarize(data, found))
    return detector.test(summaries, found, min_effect=None), summaries


def lasting(talk: list[float], *, other: list[float] | None = None) -> Dataset:
    """Load calls of four agents at one site, and the other's of four at another."""
    both = talk + (other or [])
    site = ["S1"] * len(talk) + ["S2"] * len(other or [])
    return given(
        "calls",
        call_id=[str(i) for i in range(len(both))],
        agent_id=[f"{s}-{i % 4}" for i, s in enumerate(site)],
        site_id=site,
        started_at=[float(i * 20) for i in range(len(both))],
        talk_s=both,
    )


PLAIN = [5.0 + 7.3 * (i % 97) for i in range(400)]


@pytest.mark.parametrize("unit", [10, 15, 30, 60])
@pytest.mark.parametrize("up", [0, 1])
def test_short_calls_is_skipped_where_lengths_are_rounded_to_ten_seconds(unit, up):
    data = lasting([(talk // unit + up) * unit for talk in PLAIN])
    verdicts, _ = verdict("short-calls", data)
    assert "rounded to ten seconds or more" in verdicts.skipped


@pytest.mark.parametrize("unit", [1, 5, 6])
def test_short_calls_runs_where_lengths_are_rounded_to_less(unit):
    data = lasting([talk // unit * unit for talk in PLAIN])
    assert verdict("short-calls", data)[0].skipped is None


def test_agents_of_a_site_that_rounds_are_untestable_and_compared_with_nobody():
    data = lasting(PLAIN, other=[talk // 60 * 60 for talk in PLAIN])
    verdicts, summaries = verdict("short-calls", data)
    assert verdicts.skipped is None
    assert verdicts.untestable == 4
    assert "Left out: S2, where calls.talk_s is rounded" in verdicts.blind_spots[0]
    assert {a[:2] for a in summaries["counts"]["agent_id"]} == {"S1"}
    assert {a[:2] for a in summaries["density"]["agent_id"]} == {"S1"}


@pytest.mark.parametrize("name", ["short-calls", "duration-cap"])
def test_a_talk_time_of_an_unlikely_unit_is_not_judged(name):
    data = lasting([talk * 1000 for talk in PLAIN])
    assert "unlikely-unit" in kinds(data)
    assert "above three hours" in verdict(name, data)[0].skipped


def test_long_calls_that_a_rule_does_not_look_at_say_nothing_of_the_unit():
    before = [i < 900 for i in range(1200)]
    data = given(
        "calls",
        call_id=[str(i) for i in range(1200)],
        agent_id=[f"A{i % 4}" for i in range(1200)],
        started_at=[(0 if b else 7) * 1440 + i / 4 for i, b in enumerate(before)],
        talk_s=[4 * 3600.0 if b and i % 2 else 300.0 for i, b in enumerate(before)],
        direction=["outbound" if b else "inbound" for b in before],
    )
    since = detectors()["duration-cap"](since="2026-03-09")
    for detector in (detectors()["short-calls"](), since):
        frames = detector.discover(data)
        read = {n: Summary.of(f) for n, f in collect(dict(frames)).items()}
        found = detector.find(read)
        assert not found.get("hours")
        assert found.get("unsearched") != HOURS


def test_no_cap_is_looked_for_in_whole_minutes_or_on_one_day():
    many = PLAIN * 6
    minutes, _ = verdict("duration-cap", lasting([t // 60 * 60 for t in many]))
    assert "rounded to 60 s, so a cap can't be looked for" in minutes.skipped
    one_day, _ = verdict("duration-cap", lasting(PLAIN[:20]))
    assert "one day's calls" in one_day.skipped


def test_short_calls_without_id_and_customer_are_no_episode_of_one_caller():
    data = given(
        "calls",
        call_id=[None, None, "3"],
        agent_id=["A", "B", "A"],
        customer_id=[None, None, "X"],
        started_at=[0, 0.5, DAY_MS / MINUTE_MS],
        talk_s=[4.0, 4.0, 60.0],
    )
    frame = collect(_short_calls_count.summaries(data, SHORT, {}))["counts"]
    assert frame.select("calls", "short").rows() == [(2, 1), (1, 1)]
