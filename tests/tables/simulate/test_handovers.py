"""Simulated handovers: premature stamps, what resembles them, and written files."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import polars as pl
import pytest

from kpiaudit.tables import schema
from kpiaudit.tables.simulate import (
    LOOKALIKES,
    PATTERNS,
    Centre,
    Plant,
    Simulated,
    demo,
    simulate,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"agents": 20, "days": 28, "tables": ("handovers",)}


@cache
def centre(*lookalikes: str, plant: Plant | None = None) -> Simulated:
    plants = (plant,) if plant else ()
    return simulate(Centre(seed=3, lookalikes=lookalikes, plants=plants, **SMALL))


def orders(simulated: Simulated) -> pl.DataFrame:
    def gap(late: str, early: str) -> pl.Expr:
        return (pl.col(late) - pl.col(early)).dt.total_seconds()

    return simulated.tables["handovers"].with_columns(
        left_s=gap("promised_at", "ready_at"),
        wait_s=gap("handed_over_at", "ready_at"),
        door_s=gap("received_at", "delivered_at"),
        late_s=gap("recorded_at", "ready_at"),
    )


def part(simulated: Simulated, lookalike: str) -> pl.DataFrame:
    agents = simulated.truth["lookalikes"][lookalike]["agents"]
    return orders(simulated).filter(pl.col("agent_id").is_in(agents))


def test_honest_orders_go_through_their_stations_in_order() -> None:
    made = orders(centre())
    assert made["order_id"].n_unique() == len(made)
    assert (made["placed_at"] < made["ready_at"]).all()
    assert (made["wait_s"] > 0).all()
    assert (made["door_s"] <= 0).all()
    assert made["late_s"].is_between(0, 3).all()
    assert 0.75 < (made["left_s"] >= 0).mean() < 0.9


def test_premature_stamps_precede_the_promise_and_a_longer_wait() -> None:
    plant = Plant(pattern="premature-ready", agents=4, strength=0.5)
    made = centre(plant=plant)
    truth = made.truth["premature-ready"]
    assert truth["events"] / truth["eligible"] == pytest.approx(0.5, abs=0.09)
    own = orders(made).filter(pl.col("agent_id").is_in(truth["agents"]))
    stamped = pl.col("order_id").is_in(truth["records"])
    assert own.filter(stamped)["left_s"].is_between(1, 200).all()
    assert own.filter(stamped)["wait_s"].mean() > 1.5 * (
        own.filter(~stamped)["wait_s"].mean()
    )
    on_time = truth["kpi"]["ready_on_time"]["by_agent"][truth["agents"][0]]
    assert on_time["reported"] > on_time["without"]


def test_falsified_handovers_contradict_the_courier() -> None:
    plant = Plant(pattern="premature-ready", agents=4, strength=0.8, falsify=0.95)
    made = centre(plant=plant)
    records = made.truth["premature-ready"]["records"]
    stamped = orders(made).filter(pl.col("order_id").is_in(records))
    assert stamped["wait_s"].mean() < 200


def test_delivered_is_shown_before_the_customer_has_it() -> None:
    plant = Plant(pattern="premature-ready", agents=4, strength=0.5, how="delivered")
    made = centre(plant=plant)
    truth = made.truth["premature-ready"]
    stamped = pl.col("order_id").is_in(truth["records"])
    assert (orders(made).filter(stamped)["door_s"] > 0).all()
    assert (orders(made).filter(~stamped)["door_s"] <= 0).all()
    assert truth["events"] / truth["eligible"] == pytest.approx(0.5, abs=0.09)


def test_some_clerks_round_every_stamp() -> None:
    rounded = part(centre("round-5min"), "round-5min")
    stamp = rounded["ready_at"]
    assert ((stamp.dt.minute() % 5 == 0) & (stamp.dt.second() == 0)).all()
    assert (rounded["left_s"] < 0).mean() > 0.05


def test_some_clerks_scan_in_batches() -> None:
    batched = part(centre("batch-scan"), "batch-scan")
    usual = orders(centre())
    assert batched["ready_at"].n_unique() / len(batched) < 0.9
    assert usual.select(pl.struct("agent_id", "ready_at").n_unique()).item() > (
        0.99 * len(usual)
    )


def test_late_couriers_lengthen_everybodys_wait_and_stack_orders() -> None:
    late, usual = orders(centre("late-couriers")), orders(centre())
    assert late["wait_s"].mean() > usual["wait_s"].mean() + 30
    assert (
        late["courier_arrived_at"].n_unique() < usual["courier_arrived_at"].n_unique()
    )


def test_offline_devices_record_later_without_moving_the_stamp() -> None:
    off = part(centre("offline-device"), "offline-device")
    assert (off["late_s"] > 600).mean() == pytest.approx(0.4, abs=0.06)
    assert off["ready_at"].equals(part_of_usual(off))


def part_of_usual(off: pl.DataFrame) -> pl.Series:
    usual = centre().tables["handovers"].select("order_id", usual_at="ready_at")
    return off.join(usual, on="order_id", maintain_order="left")["usual_at"].alias(
        "ready_at"
    )


def test_files_are_the_same_bytes_and_stamped_in_utc(tmp_path: Path) -> None:
    settings = Centre(seed=4, agents=4, days=3, lookalikes=("contact-cap",))
    for name in ("a", "b"):
        write(simulate(settings), tmp_path / name)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == [
        "agents.csv",
        "calls.csv",
        "handovers.csv",
        "incentives.csv",
        "outcomes.csv",
        "surveys.csv",
        "ticket_events.csv",
        "tickets.csv",
    ]
    for name in files:
        one = (tmp_path / "a" / name).read_bytes()
        assert one == (tmp_path / "b" / name).read_bytes()
    calls = pl.read_csv(tmp_path / "a" / "calls.csv", infer_schema=False)
    assert calls["started_at"].str.contains(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$").all()


def test_headers_are_those_of_the_schema() -> None:
    made = simulate(Centre(seed=4, agents=4, days=3))
    for table, frame in made.tables.items():
        assert set(frame.columns) <= set(schema.names(table))
        for column in schema.TABLES[table]:
            if column.values and column.name in frame.columns:
                seen = set(frame[column.name].drop_nulls())
                assert seen <= set(column.values)


def test_a_tiny_centre_with_everything_in_it_works() -> None:
    plants = tuple(Plant(pattern=p, agents=1, falsify=0.5) for p in PATTERNS)
    for agents, days in ((2, 1), (3, 9)):
        made = simulate(
            Centre(
                agents=agents,
                days=days,
                teams=1,
                sites=1,
                queues=1,
                plants=plants,
                lookalikes=tuple(LOOKALIKES),
            )
        )
        assert all(len(frame) for frame in made.tables.values())


def test_the_demo_holds_every_pattern_in_agents_of_its_own() -> None:
    made = demo()
    planted = [t["agents"] for p, t in made.truth.items() if p != "lookalikes"]
    assert all(len(agents) == 1 for agents in planted)
    assert len({agents[0] for agents in planted}) == 6
    assert all(t["events"] > 10 for p, t in made.truth.items() if p != "lookalikes")
