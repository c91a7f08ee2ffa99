"""Simulated tickets: early closure, and what resembles it."""

from __future__ import annotations

from functools import cache

import polars as pl
import pytest

from kpiaudit.tables.simulate import Centre, Plant, Simulated, simulate

SMALL = {"agents": 20, "days": 42, "tables": ("tickets", "ticket_events")}
TICKETS = {
    "ticket_id",
    "agent_id",
    "team_id",
    "site_id",
    "customer_id",
    "category",
    "priority",
    "opened_at",
    "assigned_at",
    "first_reply_at",
    "due_at",
    "sla_met",
    "resolved_at",
    "closed_at",
    "reopened_at",
    "reopen_count",
    "paused_s",
}


@cache
def centre(*lookalikes: str, plant: Plant | None = None) -> Simulated:
    plants = (plant,) if plant else ()
    return simulate(Centre(seed=5, lookalikes=lookalikes, plants=plants, **SMALL))


def gamed(simulated: Simulated) -> pl.DataFrame:
    records = simulated.truth["early-closure"]["records"]
    return simulated.tables["tickets"].filter(pl.col("ticket_id").is_in(records))


def minutes_left(frame: pl.DataFrame) -> pl.Series:
    return (frame["due_at"] - frame["resolved_at"]).dt.total_seconds() / 60


def test_an_honest_desk_has_realistic_shares_in_order() -> None:
    tickets = centre().tables["tickets"]
    assert set(tickets.columns) == TICKETS
    assert tickets["ticket_id"].n_unique() == len(tickets)
    assert 0.75 < tickets["sla_met"].mean() < 0.9
    assert 0.03 < (tickets["reopen_count"] > 0).mean() < 0.08
    assert tickets.select(
        (pl.col("opened_at") <= pl.col("resolved_at")).all()
        & (pl.col("resolved_at") < pl.col("closed_at")).all()
        & (pl.col("resolved_at") < pl.col("reopened_at")).all()
        & (pl.col("first_reply_at") <= pl.col("resolved_at")).all()
    ).item()


def test_the_history_agrees_with_the_tickets() -> None:
    events = centre().tables["ticket_events"]
    assert events["at"].is_sorted()
    status = events.filter(pl.col("field") == "status")
    first = status.filter(pl.col("new_value") == "resolved")
    first = first.group_by("ticket_id").agg(pl.col("at").min())
    both = centre().tables["tickets"].join(first, on="ticket_id")
    assert (both["at"] == both["resolved_at"]).all()
    back = status.filter(
        pl.col("old_value") == "resolved", pl.col("new_value") == "open"
    )
    assert len(back) == centre().tables["tickets"]["reopen_count"].sum()


@pytest.mark.parametrize("how", ["reopen", "new"])
def test_early_closure_marks_the_asked_share_just_before_the_due_time(how: str) -> None:
    plant = Plant(pattern="early-closure", agents=4, strength=0.6, how=how)
    made = centre(plant=plant)
    truth = made.truth["early-closure"]
    assert truth["events"] / truth["eligible"] == pytest.approx(0.6, abs=0.09)
    rows = gamed(made)
    assert minutes_left(rows).drop_nulls().is_between(1, 30.1).all()
    tickets = made.tables["tickets"]
    pairs = rows.join(tickets, on=["customer_id", "category", "agent_id"])
    follow = pairs.filter(pl.col("opened_at_right") > pl.col("resolved_at"))
    if how == "reopen":
        assert (rows["reopen_count"] > 0).mean() > 0.9
        worked = made.tables["ticket_events"].filter(pl.col("field") == "reply")
        later = rows.join(worked, on="ticket_id").filter(
            pl.col("at") > pl.col("reopened_at")
        )
        assert later["ticket_id"].n_unique() > 0.9 * len(rows)
    else:
        assert follow["ticket_id"].n_unique() > 0.9 * len(rows)
        assert rows["reopen_count"].sum() == 0
    sla = truth["kpi"]["sla_met"]["by_agent"][truth["agents"][0]]
    assert sla["reported"] > sla["without"]


def test_falsified_closures_leave_no_reopening() -> None:
    plant = Plant(pattern="early-closure", agents=4, strength=0.6, falsify=0.95)
    rows = gamed(centre(plant=plant))
    assert (rows["reopen_count"] > 0).mean() < 0.15


def test_an_honest_desk_has_no_gamed_ticket() -> None:
    assert centre().truth["early-closure"]["records"] == []


def test_due_times_lie_in_business_hours() -> None:
    due = centre("business-hours").tables["tickets"]["due_at"]
    assert due.dt.weekday().max() <= 5
    assert due.dt.hour().is_between(9, 17).all()


def test_the_system_closes_after_five_days() -> None:
    made = centre("auto-close")
    events = made.tables["ticket_events"].filter(pl.col("new_value") == "closed")
    assert set(events["actor_id"]) == {"system"}
    plain = made.tables["tickets"].filter(pl.col("reopen_count") == 0)
    days = (plain["closed_at"] - plain["resolved_at"]).dt.total_days()
    assert (days.drop_nulls() == 5).all()


def test_thanks_reopen_without_any_work() -> None:
    made = centre("thank-you")
    tickets = made.tables["tickets"]
    assert (tickets["reopen_count"] > 0).mean() > 0.08
    events = made.tables["ticket_events"]
    replies = events.filter(pl.col("field") == "reply")
    by_system = events.filter(
        pl.col("actor_id") == "system", pl.col("new_value") == "open"
    )
    thanked = tickets.filter(
        pl.col("ticket_id").is_in(by_system["ticket_id"].implode())
    )
    worked = thanked.join(replies, on="ticket_id").filter(
        pl.col("at") > pl.col("reopened_at")
    )
    assert len(thanked) > 100
    assert worked.is_empty()


def test_some_agents_get_the_hard_tickets() -> None:
    made = centre("hard-tickets")
    hard = pl.col("agent_id").is_in(made.truth["lookalikes"]["hard-tickets"]["agents"])
    tickets = made.tables["tickets"]
    assert tickets.filter(hard)["sla_met"].mean() < (
        tickets.filter(~hard)["sla_met"].mean() - 0.08
    )
    assert tickets.filter(hard)["reopen_count"].mean() > (
        1.5 * tickets.filter(~hard)["reopen_count"].mean()
    )


def test_everybody_clears_old_tickets_at_the_end_of_a_month() -> None:
    def on_the_last(simulated: Simulated) -> pl.DataFrame:
        at = pl.col("resolved_at")
        return simulated.tables["tickets"].filter(
            at.dt.month() == 3, at.dt.day() == 31, at.dt.hour() >= 17
        )

    cleared = on_the_last(centre("month-end-cleanup"))
    assert len(cleared) > 2 * len(on_the_last(centre()))
    assert cleared["agent_id"].n_unique() > 15
