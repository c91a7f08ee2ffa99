"""Short calls: planted found, honest not accused, explanations, missing columns."""

from __future__ import annotations

from dataclasses import replace

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.detectors import _short_calls_answers as answers
from kpiaudit.detectors.base import Row, Summary
from kpiaudit.detectors.short_calls import ShortCalls
from kpiaudit.stats.multiplicity import q_values
from kpiaudit.stats.outcome import Outcome
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import collect
from kpiaudit.tables.neighbours import ordered

START_MS = 1_772_409_600_000  # 2026-03-02T00:00Z
DAY_MS = 86_400_000
DETECTOR = ShortCalls()
ORIGINS = {
    f"calls.{c}": "system"
    for c in (
        "agent_id",
        "call_id",
        "customer_id",
        "started_at",
        "queue",
        "station",
        "trunk",
    )
} | {"calls.talk_s": "steered", "calls.ended_by": "steered"}


def centre(
    seed=0,
    *,
    agents=14,
    days=16,
    per_day=40,
    gamers=(),
    strength=0.0,
    sd=0.3,
    base=0.018,
    redial=0.3,
):
    """One export in canonical columns, redials included."""
    rng = np.random.default_rng(seed)
    n = agents * days * per_day
    agent = np.repeat(np.arange(agents), days * per_day)
    day = np.tile(np.repeat(np.arange(days), per_day), agents)
    at = START_MS + day * DAY_MS + 8 * 3_600_000 + rng.integers(0, 28_800_000, n)
    talk = np.floor(np.maximum(np.exp(5.2 + 0.8 * rng.standard_normal(n)), 12))
    rate = base * np.exp(sd * rng.standard_normal(agents))
    short = rng.random(n) < rate[agent]
    talk = np.where(short, rng.integers(1, 10, n), talk)
    talk = np.where(rng.random(n) < 0.03, rng.integers(10, 30, n), talk)
    dumped = np.isin(agent, gamers) & (rng.random(n) < strength) & (talk >= 10)
    talk = np.where(dumped, rng.integers(1, 10, n), talk)
    frame = pl.DataFrame(
        {
            "agent_id": [f"A{a:03d}" for a in agent],
            "queue": [f"Q{q}" for q in rng.integers(0, 3, n)],
            "customer_id": [f"C{c:07d}" for c in rng.integers(0, 50 * n, n)],
            "started_at": at,
            "talk_s": talk.astype(float),
            "ended_by": np.where(dumped, "agent", "customer"),
            "station": [f"S{a:03d}" for a in agent],
            "day": day + START_MS // DAY_MS,
        }
    ).with_columns(outcome=pl.lit("answered"), monitored=pl.lit(value=False))
    chance = np.where(dumped, 0.55, np.where(talk < 10, redial, 0.04))
    again = frame.filter(pl.Series(rng.random(n) < chance))
    later = rng.integers(30_000, 600_000, len(again))
    again = again.with_columns(
        started_at=pl.col("started_at") + later,
        talk_s=pl.lit(200.0),
        agent_id=pl.Series([f"A{a:03d}" for a in rng.integers(0, agents, len(again))]),
    )
    return numbered(pl.concat([frame, again]))


def numbered(frame):
    """Sort by time, number the calls, add the anchor."""
    frame = frame.drop("call_id", "at_ms", strict=False)
    frame = frame.sort("started_at", "agent_id", "customer_id", "talk_s")
    return frame.with_columns(
        call_id=pl.Series([f"K{i:07d}" for i in range(len(frame))]),
        at_ms=pl.col("started_at"),
    )


def dataset(frame, engine="polars"):
    """Wrap canonical calls as the loader does."""
    if engine == "duckdb":
        duckdb = pytest.importorskip("duckdb")
        native = duckdb.connect().from_arrow(frame.to_arrow())
    else:
        native = frame.lazy()
    period = (
        (int(frame["at_ms"].min()), int(frame["at_ms"].max()))
        if "at_ms" in frame.columns and len(frame)
        else (0, 0)
    )
    return Dataset(
        frames={"calls": nw.from_native(native).lazy()},
        columns={"calls": frozenset(frame.columns)},
        origins=ORIGINS,
        period={"calls": period},
        rows={"calls": len(frame)},
    )


def counted(data, detector=DETECTOR):
    """Run both stages."""
    first = {n: Summary.of(f) for n, f in collect(detector.discover(data)).items()}
    found = detector.find(first)
    second = collect(detector.summarize(data, found))
    return {n: Summary.of(f) for n, f in second.items()}, found


def examined(frame, detector=DETECTOR, min_effect=5.0):
    """Return the accounts of what passes q <= .05, by kind and id, and the verdicts."""
    data = dataset(frame)
    summaries, found = counted(data, detector)
    verdicts = detector.test(summaries, found, min_effect=min_effect)
    accounts = {}
    for tested in verdicts.tested:
        q = q_values(tested.outcome.p_value) / tested.share
        for index in np.flatnonzero(q <= 0.05):
            row = Row(
                kind=tested.kind,
                id=str(tested.ids[index]),
                index=int(index),
                tested=tested,
                q_value=float(q[index]),
                summaries=summaries,
                found=found,
                data=data,
            )
            accounts[tested.kind, row.id] = detector.account(row)
    return accounts, verdicts


def upheld(accounts):
    """Leave out what an innocent explanation withdraws."""
    return {
        key: account
        for key, account in accounts.items()
        if not any(e.holds for e in account.explanations)
    }


def test_agents_who_hang_up_are_found_and_nobody_else():
    accounts, _ = examined(centre(gamers=(2, 7), strength=0.1))
    assert set(accounts) == {("agent", "A002"), ("agent", "A007")}
    account = accounts["agent", "A002"]
    assert 20 < account.effect.low < account.effect.value < account.effect.high < 130
    assert account.restated is not None
    assert account.restated.restated < account.restated.reported


@pytest.mark.parametrize("seed", [11, 12])
def test_honest_agents_are_not_accused(seed):
    accounts, verdicts = examined(centre(seed, sd=0.5))
    assert not accounts
    assert verdicts.skipped is None


def test_a_whole_floor_that_hangs_up_is_found_as_a_floor():
    accounts, _ = examined(centre(gamers=tuple(range(14)), strength=0.12))
    assert ("floor", "all") in accounts
    account = accounts["floor", "all"]
    assert account.effect.low > 0
    assert account.grade_cap == "moderate"


def test_a_floor_of_long_calls_can_be_asked_too():
    """Hardly a call lasts less than a minute, so the curve beneath rests on few."""
    frame = centre(gamers=tuple(range(14)), strength=0.12)
    rng = np.random.default_rng(2)
    brief = frame["talk_s"].is_between(10, 59).to_numpy() & (
        rng.random(len(frame)) < 0.8
    )
    longer = pl.when(pl.Series(brief)).then(240.0).otherwise(pl.col("talk_s"))
    accounts, _ = examined(frame.with_columns(talk_s=longer))
    assert ("floor", "all") in accounts


@pytest.mark.parametrize("base", [0.01, 0.03])
def test_a_floor_with_ordinary_bad_lines_is_not_accused(base):
    accounts, _ = examined(centre(5, base=base, redial=0.7, sd=0.2))
    assert ("floor", "all") not in accounts


@pytest.mark.parametrize(("strength", "named"), [(0.06, False), (0.2, True)])
def test_without_customers_a_floor_needs_more_than_silent_callers_give(strength, named):
    frame = centre(gamers=tuple(range(14)), strength=strength).drop("customer_id")
    accounts, _ = examined(frame)
    assert (("floor", "all") in accounts) is named


def test_a_bad_seat_explains_whoever_sits_there():
    frame = centre(3, days=30)
    rng = np.random.default_rng(1)
    number = frame["agent_id"].str.slice(1).cast(pl.Int64).to_numpy()
    moved = rng.random((20, 30)) < 0.4
    day = frame["day"].to_numpy() - frame["day"].min()
    # whoever floats sits at the seat that belongs to agent 4
    seat = np.where(moved[number, day] & (day % 20 == number), 4, number)
    seat = np.where((number == 4) & (day % 3 == 0), 19, seat)
    broken = (seat == 4) & (rng.random(len(frame)) < 0.12)
    frame = frame.with_columns(
        station=pl.Series([f"S{s:03d}" for s in seat]),
        talk_s=pl.when(pl.Series(broken)).then(4.0).otherwise(pl.col("talk_s")),
        ended_by=pl.when(pl.Series(broken))
        .then(pl.lit("system"))
        .otherwise("ended_by"),
    )
    accounts, _ = examined(with_redials(frame, broken, 0.5))
    assert upheld(accounts) == {}


def test_drops_that_follow_the_agent_to_other_seats_are_kept():
    frame = centre(3, days=30, gamers=(4,), strength=0.1)
    number = frame["agent_id"].str.slice(1).cast(pl.Int64).to_numpy()
    day = frame["day"].to_numpy() - frame["day"].min()
    frame = frame.with_columns(
        station=pl.Series([f"S{s:03d}" for s in (number + day) % 20]),
        ended_by=pl.lit("system"),
    )
    accounts, _ = examined(frame)
    assert set(accounts) == {("agent", "A004")}
    equipment = accounts["agent", "A004"].explanations[0]
    assert equipment.status == "ruled_out"
    assert not equipment.holds


def test_an_outage_is_found_and_taken_out():
    frame = centre(4, agents=12)
    hour = START_MS + 9 * DAY_MS + 11 * 3_600_000
    rng = np.random.default_rng(2)
    hit = (
        (frame["at_ms"] >= hour)
        & (frame["at_ms"] < hour + 3_600_000)
        & pl.Series(rng.random(len(frame)) < 0.6)
    )
    frame = frame.with_columns(
        talk_s=pl.when(hit).then(3.0).otherwise(pl.col("talk_s"))
    )
    accounts, verdicts = examined(frame)
    assert not accounts
    assert any("outages" in sentence for sentence in verdicts.found)
    assert any("1 spell of time" in sentence for sentence in verdicts.found)


def test_silent_numbers_are_taken_out():
    frame = centre(6)
    rng = np.random.default_rng(3)
    two = frame.filter(pl.col("agent_id").is_in(["A001", "A002"]))
    silent = two.sample(160, seed=1).with_columns(
        customer_id=pl.Series([f"X{i}" for i in rng.integers(0, 3, 160)]),
        talk_s=pl.lit(4.0),
    )
    others = frame.sample(60, seed=2).with_columns(
        customer_id=pl.Series([f"X{i}" for i in rng.integers(0, 3, 60)]),
        talk_s=pl.lit(4.0),
    )
    accounts, verdicts = examined(numbered(pl.concat([frame, silent, others])))
    assert not accounts
    assert any("silent callers" in sentence for sentence in verdicts.found)


def with_id(frame, mine, others, *, talk_s):
    """Add calls of one id: `mine` of 4 s to A001, `others` to anybody."""
    a001 = frame.filter(pl.col("agent_id") == "A001").sample(mine, seed=1)
    rest = frame.sample(others, seed=2)
    added = pl.concat(
        [a001.with_columns(talk_s=pl.lit(4.0)), rest.with_columns(talk_s=talk_s)]
    ).with_columns(customer_id=pl.lit("X0"), started_at=pl.col("started_at") + 1)
    return numbered(pl.concat([frame, added]))


def test_one_number_behind_very_many_short_calls_everywhere_is_taken_out():
    frame = with_id(centre(6), 260, 320, talk_s=pl.lit(4.0))
    accounts, verdicts = examined(frame)
    assert not accounts
    assert any("silent callers: 1 number with 5" in said for said in verdicts.found)


def test_an_id_whose_calls_only_one_agent_ends_at_once_clears_nobody():
    frame = with_id(centre(6), 460, 80, talk_s=pl.lit(200.0))
    accounts, verdicts = examined(frame)
    assert any("1 customer id stands for more" in said for said in verdicts.found)
    (one,) = [
        e
        for e in accounts["agent", "A001"].explanations
        if e.text.startswith("One number")
    ]
    assert one.status == "open"
    assert "look at it first" in one.detail


@pytest.mark.parametrize("written_by", ["steered", "system"])
def test_a_number_that_reaches_one_agent_only_lowers_and_is_told(
    written_by, monkeypatch
):
    monkeypatch.setitem(ORIGINS, "calls.talk_s", written_by)
    frame = centre(6)
    mine = frame.filter(pl.col("agent_id") == "A001")
    often = pl.concat(
        mine.sample(80, seed=1).with_columns(
            customer_id=pl.lit("X0"),
            talk_s=pl.lit(4.0),
            started_at=pl.col("started_at") + wait,
        )
        for wait in (1, 90_000, 180_000)
    )
    accounts, _ = examined(numbered(pl.concat([frame, often])))
    (one,) = [
        e
        for e in accounts["agent", "A001"].explanations
        if e.text.startswith("One number")
    ]
    assert (one.status, one.holds) == ("open", True)
    # What rests on nothing that others wrote withdraws nothing.
    assert one.rests_on == (("calls.talk_s",) if written_by == "steered" else ())
    assert "short calls came from one number" in one.detail


@pytest.mark.parametrize("everybody", [False, True])
def test_a_bad_trunk_explains_the_floor_unless_the_other_trunks_have_it_too(everybody):
    gamers = tuple(range(14)) if everybody else ()
    frame = centre(8, gamers=gamers, strength=0.12)
    rng = np.random.default_rng(4)
    trunk = rng.integers(0, 4, len(frame))
    drop = (trunk <= 1) & (rng.random(len(frame)) < 0.14)
    frame = frame.with_columns(
        trunk=pl.Series([f"T{t}" for t in trunk]),
        talk_s=pl.when(pl.Series(drop)).then(5.0).otherwise(pl.col("talk_s")),
    )
    frame = with_redials(frame, drop, 0.5)
    accounts, _ = examined(frame)
    (line,) = [
        e
        for e in accounts["floor", "all"].explanations
        if e.text.startswith("Dropped lines")
    ]
    assert ("on T0, T1 " in line.detail) != everybody
    assert line.holds != everybody
    assert (("floor", "all") in upheld(accounts)) == everybody


def test_a_trunk_of_a_queue_of_its_own_clears_nobody():
    """Everybody hangs up on two queues' callers, who come in on trunks of their own."""
    frame = centre(8)
    rng = np.random.default_rng(4)
    queue = rng.integers(0, 4, len(frame))
    dumped = (queue <= 1) & (rng.random(len(frame)) < 0.14)
    frame = frame.with_columns(
        queue=pl.Series([f"Q{q}" for q in queue]),
        trunk=pl.Series([f"T{q}" for q in queue]),
        talk_s=pl.when(pl.Series(dumped)).then(5.0).otherwise(pl.col("talk_s")),
    )
    accounts, _ = examined(with_redials(frame, dumped, 0.5))
    (line,) = [
        e
        for e in accounts["floor", "all"].explanations
        if e.text.startswith("Dropped lines")
    ]
    assert not line.holds
    assert "T0, T1 stand out" in line.detail
    assert ("floor", "all") in upheld(accounts)


def test_a_caller_shaken_off_elsewhere_does_not_count_against_the_next_agent():
    frame = pl.DataFrame(
        {
            "call_id": ["1", "2", "3", "4"],
            "agent_id": ["A", "B", "B", "B"],
            "customer_id": ["X", "X", "X", None],
            "talk_s": [3.0, 4.0, 100.0, 2.0],
            "at_ms": [0, 60_000, 120_000, 7_200_000],
        }
    )
    summaries, _ = counted(dataset(frame))
    counts = summaries["counts"]
    assert counts["agent_id"].tolist() == ["A", "B"]
    assert counts.ints("calls").tolist() == [1, 2]
    assert counts.ints("short").tolist() == [1, 1]
    assert counts.ints("short_redialled").tolist() == [1, 0]
    assert counts.ints("short_known").tolist() == [1, 0]


def test_legs_of_one_call_are_no_redial_and_unfinished_windows_do_not_count():
    frame = pl.DataFrame(
        {
            "call_id": ["1", "1", "2", "3"],
            "agent_id": ["A", "B", "A", "C"],
            "customer_id": ["X", "X", "Y", "Z"],
            "talk_s": [3.0, 90.0, 2.0, 50.0],
            "at_ms": [0, 5_000, 3_000_000, 3_600_000],
        }
    )
    counts = counted(dataset(frame))[0]["counts"]
    assert counts.ints("short_redialled").sum() == 0
    assert counts.ints("short_known").tolist() == [1, 0, 0]


def test_a_redial_may_come_later_than_the_common_order_reaches():
    frame = centre(gamers=(2,), strength=0.2, agents=8)
    far = replace(DETECTOR, redial_s=30 * 86_400.0)
    alone, _ = counted(dataset(frame), far)
    data = ordered(dataset(frame))
    assert data.orders
    for name, summary in counted(data, far)[0].items():
        for column, values in summary.columns.items():
            assert values.tolist() == alone[name][column].tolist()


@pytest.mark.parametrize(
    "dropped",
    [
        ("customer_id",),
        ("queue", "station", "monitored", "ended_by", "outcome"),
        ("customer_id", "started_at", "at_ms", "day"),
    ],
)
def test_missing_columns_weaken_and_are_said(dropped):
    frame = centre(gamers=(2,), strength=0.2).drop(*dropped)
    accounts, verdicts = examined(frame)
    assert ("agent", "A002") in accounts
    account = accounts["agent", "A002"]
    if "customer_id" in dropped:
        assert account.grade_cap == "weak"
        assert any("customer_id" in sentence for sentence in verdicts.blind_spots)
    absent = [e for e in account.explanations if e.status == "uncheckable"]
    assert all("calls." in e.detail for e in absent)


def test_shuffled_rows_and_duckdb_give_the_same_summaries():
    frame = centre(gamers=(2,), strength=0.2, agents=8)
    first, _ = counted(dataset(frame))
    shuffled, _ = counted(dataset(frame.sample(fraction=1.0, shuffle=True, seed=1)))
    duck, _ = counted(dataset(frame, "duckdb"))
    for name, summary in first.items():
        for column, values in summary.columns.items():
            assert values.tolist() == shuffled[name][column].tolist()
            assert values.tolist() == duck[name][column].tolist()


def test_an_empty_table_is_skipped_and_rounded_durations_too():
    frame = centre(agents=4, days=2)
    _, verdicts = examined(frame.clear())
    assert verdicts.skipped == "no answered call with an agent"
    rounded = frame.with_columns(talk_s=(pl.col("talk_s") / 60).ceil() * 60)
    _, verdicts = examined(pl.concat([rounded] * 1))
    assert verdicts.skipped is None or "rounded" in verdicts.skipped


def test_records_are_the_short_calls_and_the_agents_longer_ones():
    frame = centre(gamers=(2,), strength=0.2, agents=8)
    found = counted(dataset(frame))[1]
    data = dataset(frame)
    frames = collect(DETECTOR.records(data, ("agent", "A002"), found))
    assert set(frames) == {"flagged", "control"}
    assert (frames["flagged"]["talk_s"] < 10).all()
    assert set(frames["flagged"]["agent_id"]) == {"A002"}
    assert (frames["control"]["talk_s"] >= 10).all()


def with_redials(frame, which, chance, seed=9):
    """Let some callers ring again a few minutes later, at any agent."""
    rng = np.random.default_rng(seed)
    again = frame.filter(pl.Series(which & (rng.random(len(frame)) < chance)))
    agents = frame["agent_id"].sample(len(again), seed=seed)
    again = again.with_columns(
        started_at=pl.col("started_at") + rng.integers(30_000, 600_000, len(again)),
        talk_s=pl.lit(200.0),
        agent_id=agents,
        station=agents.str.replace("A", "S"),
    )
    return numbered(pl.concat([frame, again]))


def test_many_short_calls_after_which_nobody_rings_again_are_left_alone_and_told():
    nan = np.full(3, np.nan)
    fields = ("expected", "effect", "low", "high", "ratio", "ratio_low", "ratio_high")
    outcome = Outcome(
        **dict.fromkeys(fields, nan),
        trials=np.full(3, 1000.0),
        observed=np.full(3, 220.0),
        p_value=np.array([0.01, 1e-5, 0.01]),
        extra={
            "brief_p": np.array([1e-6, 1e-6, 0.2]),
            "shape_p": np.array([1e-6, 1e-6, 1e-6]),
            "repeat_p": np.array([0.98, 0.01, 0.98]),
        },
    )
    (said,) = answers.unanswered(outcome, np.array(["A1", "A2", "A3"], dtype=object))
    assert said.startswith("agent A1: 220 short calls of 1,000")
    without = replace(outcome, extra={"brief_p": nan, "shape_p": nan})
    assert answers.unanswered(without, np.array(["A1", "A2", "A3"])) == ()
