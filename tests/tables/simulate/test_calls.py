"""Simulated calls: what is honest, what is planted, what merely looks like it."""

from __future__ import annotations

from functools import cache

import polars as pl
import pytest

from kpiaudit.tables.simulate import Centre, Plant, Simulated, simulate

CALLS = [
    "call_id",
    "agent_id",
    "team_id",
    "site_id",
    "queue",
    "customer_id",
    "channel",
    "direction",
    "started_at",
    "answered_at",
    "ended_at",
    "wait_s",
    "talk_s",
    "hold_s",
    "wrap_s",
    "ended_by",
    "outcome",
    "transfer_type",
    "transfer_to",
    "disposition",
    "resolved",
    "complaint",
    "monitored",
    "station",
    "trunk",
]
SMALL = {"agents": 20, "days": 28, "tables": ("calls", "agents", "incentives")}


@cache
def centre(*lookalikes: str, plant: Plant | None = None) -> Simulated:
    plants = (plant,) if plant else ()
    return simulate(Centre(seed=7, lookalikes=lookalikes, plants=plants, **SMALL))


def answered(simulated: Simulated) -> pl.DataFrame:
    calls = simulated.tables["calls"].filter(pl.col("agent_id").is_not_null())
    return calls.with_columns(
        line_s=pl.col("talk_s") + pl.col("hold_s"),
        end_s=(pl.col("ended_at") - pl.col("answered_at")).dt.total_seconds(),
    )


def repeats(simulated: Simulated, seconds: int) -> pl.DataFrame:
    calls = simulated.tables["calls"].sort("started_at", "call_id")
    later = pl.col("started_at").shift(-1).over("customer_id", order_by="started_at")
    gap = (later - pl.col("ended_at")).dt.total_seconds()
    return calls.with_columns(again=(gap < seconds).fill_null(value=False))


def test_the_columns_are_canonical_and_typed() -> None:
    calls = centre().tables["calls"]
    assert calls.columns == CALLS
    for column in CALLS:
        kind = calls.schema[column]
        if column.endswith("_at"):
            assert kind == pl.Datetime("ms", "UTC")
        elif column.endswith("_s"):
            assert kind == pl.Float64
        elif column in {"resolved", "complaint", "monitored"}:
            assert kind == pl.Boolean
        else:
            assert kind == pl.String
    assert calls["call_id"].n_unique() == len(calls)
    assert calls["started_at"].is_sorted()


def test_equal_settings_give_equal_tables() -> None:
    again = simulate(Centre(seed=7, **SMALL))
    other = simulate(Centre(seed=8, **SMALL))
    assert again.tables["calls"].equals(centre().tables["calls"])
    assert not other.tables["calls"].equals(centre().tables["calls"])


def test_durations_and_stamps_agree() -> None:
    calls = answered(centre())
    assert (calls["line_s"] == calls["end_s"]).all()
    wait = (calls["answered_at"] - calls["started_at"]).dt.total_seconds()
    assert (wait == calls["wait_s"]).all()
    assert calls["talk_s"].min() >= 0
    assert calls["hold_s"].min() >= 0


def test_an_agent_has_one_call_at_a_time() -> None:
    calls = answered(centre()).sort("agent_id", "answered_at")
    free = pl.col("ended_at") + pl.duration(seconds=pl.col("wrap_s"))
    late = calls.with_columns(free=free.shift(1).over("agent_id"))
    assert late.filter(pl.col("free") > pl.col("answered_at")).is_empty()


def test_an_honest_centre_has_realistic_shares() -> None:
    calls = answered(centre())
    assert 0.014 < (calls["line_s"] < 10).mean() < 0.022
    assert 0.14 < (calls["line_s"] >= 420).mean() < 0.21
    again = repeats(centre(), 900).filter(pl.col("agent_id").is_not_null())
    short = pl.col("talk_s") + pl.col("hold_s") < 10
    assert 0.18 < again.filter(short)["again"].mean() < 0.30
    assert again.filter(~short)["again"].mean() < 0.02
    day = repeats(centre(), 86_400).filter(pl.col("agent_id").is_not_null())
    assert 0.035 < day.filter(~short)["again"].mean() < 0.055


def test_short_calls_cluster_by_day() -> None:
    def phi(clustering: float) -> float:
        made = simulate(
            Centre(seed=2, spread_sd=0.0, day_clustering=clustering, **SMALL)
        )
        calls = answered(made).with_columns(day=pl.col("started_at").dt.date())
        cells = calls.group_by("agent_id", "day").agg(
            n=pl.len(), k=(pl.col("line_s") < 10).sum()
        )
        p = (calls["line_s"] < 10).mean()
        mean = cells["n"] * p
        return float(((cells["k"] - mean) ** 2 / (mean * (1 - p))).mean())

    assert 0.85 < phi(1.0) < 1.2
    assert 1.8 < phi(2.5) < 3.2


def test_an_honest_centre_has_no_gamed_record() -> None:
    for pattern, truth in centre().truth.items():
        if pattern != "lookalikes":
            assert truth["agents"] == []
            assert truth["records"] == []
            assert truth["events"] == 0


@pytest.mark.parametrize("how", ["hangup", "transfer", "hold", "mixed"])
def test_duration_cap_ends_the_asked_share_just_below_the_cap(how: str) -> None:
    plant = Plant(pattern="duration-cap", agents=4, strength=0.4, how=how)
    made = centre(plant=plant)
    truth = made.truth["duration-cap"]
    assert len(truth["agents"]) == 4
    assert truth["events"] / truth["eligible"] == pytest.approx(0.4, abs=0.05)
    gamed = answered(made).filter(pl.col("call_id").is_in(truth["records"]))
    assert gamed["line_s"].is_between(405, 419).all()
    assert set(gamed["agent_id"]) == set(truth["agents"])
    ends = {"hangup": "agent", "transfer": "transfer", "hold": "customer"}
    if how in ends:
        assert set(gamed["ended_by"]) == {ends[how]}
    if how == "hold":
        assert gamed["hold_s"].min() >= 30
    again = repeats(made, 86_400).filter(pl.col("call_id").is_in(truth["records"]))
    assert again["again"].mean() == pytest.approx(0.4, abs=0.09)
    handle = truth["kpi"]["average_handle_time"]
    assert handle["reported"] < handle["without"]


def test_short_calls_are_as_many_as_asked_and_call_back_at_once() -> None:
    plant = Plant(pattern="short-calls", agents=0.2, strength=0.08)
    made = centre(plant=plant)
    truth = made.truth["short-calls"]
    assert len(truth["agents"]) == 4
    assert truth["events"] / truth["eligible"] == pytest.approx(0.08, abs=0.01)
    gamed = answered(made).filter(pl.col("call_id").is_in(truth["records"]))
    assert gamed["line_s"].is_between(1, 9).all()
    assert set(gamed["ended_by"]) == {"agent"}
    again = repeats(made, 900).filter(pl.col("call_id").is_in(truth["records"]))
    assert again["again"].mean() == pytest.approx(0.5, abs=0.08)
    assert truth["kpi"]["calls"]["reported"] > truth["kpi"]["calls"]["without"]


def test_falsified_fields_hide_it_and_it_stops_while_somebody_listens() -> None:
    plant = Plant(pattern="short-calls", agents=4, strength=0.08, falsify=0.95)
    made = centre(plant=plant)
    records = made.truth["short-calls"]["records"]
    gamed = answered(made).filter(pl.col("call_id").is_in(records))
    assert (gamed["ended_by"] == "system").mean() > 0.9
    assert not gamed["monitored"].any()


@pytest.mark.parametrize("pattern", ["short-calls", "duration-cap"])
def test_who_follows_the_score_stops_once_the_bonus_is_earned(pattern: str) -> None:
    plant = Plant(pattern=pattern, agents=4, strength=0.3, follows_score=True)
    days = {**SMALL, "days": 31, "start": "2026-03-01"}
    made = simulate(Centre(seed=7, calls_bonus=800, plants=(plant,), **days))
    truth = made.truth[pattern]
    calls = answered(made).filter(pl.col("agent_id").is_in(truth["agents"]))
    calls = calls.sort("answered_at").with_columns(
        score=pl.int_range(pl.len()).over("agent_id"),
        gamed=pl.col("call_id").is_in(truth["records"]),
    )
    gamed = calls.filter("gamed")
    assert gamed["agent_id"].n_unique() == 4
    # repeated calls come on top of the first ones, whose number is the score
    assert gamed["score"].max() < 800 * 1.15
    assert calls["score"].max() > 1000


def test_a_bonus_on_calls_adds_a_scheme_and_moves_no_call() -> None:
    plain = centre().tables
    paid = simulate(Centre(seed=7, calls_bonus=900, **SMALL)).tables
    assert plain["calls"].equals(paid["calls"])
    (scheme,) = paid["incentives"].filter(pl.col("kpi") == "calls_handled").to_dicts()
    assert (scheme["threshold"], scheme["period"]) == (900.0, "month")
    assert paid["incentives"].head(-1).equals(plain["incentives"])


def test_a_plant_leaves_other_agents_first_calls_alone() -> None:
    plant = Plant(pattern="short-calls", agents=("A0003",), strength=0.1)
    made, honest = answered(centre(plant=plant)), answered(centre())
    share = [
        (calls.filter(pl.col("agent_id") != "A0003")["line_s"] < 10).mean()
        for calls in (made, honest)
    ]
    assert share[0] == pytest.approx(share[1], abs=0.002)
    assert made.filter(pl.col("agent_id") == "A0003")["line_s"].lt(10).mean() > 0.08


@pytest.mark.parametrize("kind", ["heavy", "skewed", "novices", "teams", "drifting"])
def test_every_spread_gives_a_centre(kind: str) -> None:
    made = simulate(Centre(seed=1, spread=kind, **(SMALL | {"days": 7})))
    assert 0.01 < (answered(made)["line_s"] < 10).mean() < 0.03


def test_calls_round_to_six_seconds_at_one_site_only() -> None:
    calls = answered(centre("rounding-6s"))
    whole = pl.col("line_s") % 6 == 0
    assert calls.filter(pl.col("site_id") == "S1").select(whole.all()).item()
    other = calls.filter(pl.col("site_id") == "S2").select(whole.mean()).item()
    assert other == pytest.approx(1 / 6, abs=0.02)


def test_some_calls_round_to_whole_minutes() -> None:
    whole = (answered(centre("rounding-60s"))["line_s"] % 60 == 0).mean()
    assert whole == pytest.approx(0.03 + 0.97 / 60, abs=0.005)


def test_dropped_lines_follow_the_seat_and_not_the_agent() -> None:
    made = centre("dropped-lines")
    seat = made.truth["lookalikes"]["dropped-lines"]["station"]
    calls = answered(made)
    broke = pl.col("ended_by") == "system"
    there = calls.filter(pl.col("station") == seat)
    assert there.select(broke.mean()).item() > 0.1
    usual = there["agent_id"].mode()[0]
    assert there["agent_id"].n_unique() > 3
    elsewhere = calls.filter(pl.col("agent_id") == usual, pl.col("station") != seat)
    assert elsewhere.select(broke.mean()).item() < 0.05


def test_queues_of_their_own_peak_below_the_cap_or_are_short() -> None:
    made = centre("peak-below-cap", "short-queue")
    known = made.truth["lookalikes"]
    calls = answered(made)
    peak = calls.filter(pl.col("queue") == known["peak-below-cap"]["queue"])
    assert 350 < peak["line_s"].median() < 420
    short = calls.filter(pl.col("queue") == known["short-queue"]["queue"])
    assert (short["line_s"] < 10).mean() > 0.04
    mostly = calls.filter(pl.col("agent_id").is_in(known["short-queue"]["agents"]))
    assert (mostly["queue"] == known["short-queue"]["queue"]).mean() > 0.6


def test_an_outage_hits_everybody_for_an_hour() -> None:
    made = centre("outage")
    begin = made.truth["lookalikes"]["outage"]["started_at_s"]
    calls = answered(made).with_columns(at=pl.col("started_at").dt.epoch("s"))
    hour = calls.filter(pl.col("at").is_between(begin, begin + 3600))
    assert (hour["line_s"] < 10).mean() > 0.3
    assert hour.filter(pl.col("line_s") < 10)["agent_id"].n_unique() > 5


def test_silent_callers_are_a_few_numbers() -> None:
    made = centre("silent-callers")
    records = made.truth["lookalikes"]["silent-callers"]["records"]
    silent = answered(made).filter(pl.col("call_id").is_in(records))
    assert silent["customer_id"].n_unique() == 3
    assert (silent["line_s"] < 10).all()
    assert silent["agent_id"].value_counts(sort=True)["count"][0] > len(silent) / 5


def test_automatic_cuts_end_everybodys_calls_at_the_limit() -> None:
    calls = answered(centre("auto-cut-cap"))
    assert calls["line_s"].max() == 420
    at_cap = calls.filter(pl.col("line_s") == 420)
    assert (at_cap["ended_by"] == "system").mean() > 0.95
    assert at_cap["agent_id"].n_unique() == 20
    assert answered(centre("auto-cut-1800"))["line_s"].max() <= 1800


def test_a_scripted_close_bends_everybodys_durations_mildly() -> None:
    def bump(simulated: Simulated) -> float:
        line = answered(simulated)["line_s"]
        return line.is_between(410, 429).sum() / line.is_between(385, 404).sum()

    assert 1.1 < bump(centre("scripted-close")) / bump(centre()) < 2.0


def test_an_honest_colleague_receives_the_angry_callers() -> None:
    plant = Plant(pattern="short-calls", agents=4, strength=0.1)
    made = centre("angry-callers", plant=plant)
    victim = made.truth["lookalikes"]["angry-callers"]["agents"][0]
    assert victim not in made.truth["short-calls"]["agents"]
    dropped = repeats(made, 1800).filter(
        pl.col("call_id").is_in(made.truth["short-calls"]["records"]), pl.col("again")
    )
    calls = answered(made)
    of_dropped = calls.filter(pl.col("customer_id").is_in(dropped["customer_id"]))
    received = of_dropped["agent_id"].value_counts(sort=True)
    honest = received.filter(
        ~pl.col("agent_id").is_in(made.truth["short-calls"]["agents"])
    )
    assert honest["agent_id"][0] == victim


def test_part_timers_and_novices_stand_in_the_agents_table() -> None:
    made = centre("part-timers", "novices")
    agents = made.tables["agents"]
    assert (agents["hours_per_week"] == 20).sum() == 4
    assert (agents["role"] == "trainee").sum() == 3
    start = made.tables["calls"]["started_at"].min()
    recent = agents.filter(pl.col("role") == "trainee")["hired_at"]
    assert ((start - recent).dt.total_days() < 62).all()


def test_settings_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean 'short-calls'"):
        Plant(pattern="short-cals")
    with pytest.raises(ValueError, match="no look-alike 'magic'"):
        Centre(lookalikes=("magic",))
    with pytest.raises(ValueError, match="has no agent 'A9999'"):
        simulate(
            Centre(plants=(Plant(pattern="short-calls", agents=("A9999",)),), days=1)
        )
    with pytest.raises(ValueError, match="between 0 and 1"):
        Plant(pattern="short-calls", strength=2.0)
    with pytest.raises(ValueError, match="follows_score is for"):
        Plant(pattern="early-closure", follows_score=True)
    with pytest.raises(ValueError, match=r"needs Centre\.calls_bonus"):
        Centre(plants=(Plant(pattern="short-calls", follows_score=True),))
    with pytest.raises(ValueError, match="calls_bonus must be 0"):
        Centre(calls_bonus=-1)
