"""Notes on clocks: a jump in an ordered export is told, another order is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from kpiaudit.detectors._short_calls_count import Windows, followed
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpiaudit.findings import DataNote

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
DAYS, A_DAY = 28, 60


def calls() -> pl.DataFrame:
    """Return four weeks of calls, ten minutes apart, in the order of time."""
    at = [
        START + timedelta(days=d, minutes=10 * i)
        for d in range(DAYS)
        for i in range(A_DAY)
    ]
    n = len(at)
    return pl.DataFrame(
        {
            "call_id": [f"C{i:05d}" for i in range(n)],
            "agent_id": [f"A{i * 7 % 11}" for i in range(n)],
            "site_id": [("north", "south", "east")[i % 3] for i in range(n)],
            "started_at": at,
            "answered_at": [t + timedelta(seconds=9) for t in at],
            "ended_at": [
                t + timedelta(seconds=90 + i * i % 2900) for i, t in enumerate(at)
            ],
        }
    )


def moved(frame: pl.DataFrame, rows: pl.Expr, by: timedelta) -> pl.DataFrame:
    """Set the clock of some rows."""
    stamps = ("started_at", "answered_at", "ended_at")
    return frame.with_columns(
        pl.when(rows).then(pl.col(c) + by).otherwise(c).alias(c) for c in stamps
    )


def notes(frame: pl.DataFrame) -> list[DataNote]:
    found = load(tables={"calls": frame}).notes
    return [n for n in found if n.kind.startswith("clock-")]


def test_a_clock_that_is_set_back_by_an_hour_is_told_with_the_row():
    row = pl.int_range(pl.len())
    (note,) = notes(moved(calls(), row >= 805, timedelta(hours=-1)))
    assert (note.kind, note.count) == ("clock-jumps", 1)
    assert note.examples == ("C00805 at 2026-03-15 11:10 UTC",)
    assert note.examples[0] in note.detail


def test_what_came_within_minutes_of_a_clock_that_was_set_back_is_not_known():
    row = pl.int_range(pl.len())
    known = calls().with_columns(customer_id=pl.format("K{}", row % 97))
    back = moved(known, row >= 805, timedelta(hours=-1))
    data = load(tables={"calls": back})
    ((first, last),) = data.doubled["calls"]
    at = back["started_at"].dt.epoch("ms")
    assert (first, last) == (at[805], at[804])
    windows = Windows(short_s=10, next_s=30, redial_ms=900_000, episode_ms=60_000)
    found = collect({"": followed(data, windows, {})})[""]
    until = pl.col("end_ms") + windows.redial_ms
    near = (until >= first) & (pl.col("at_ms") <= last)
    assert found.filter(near).height
    assert found.filter(near)["known"].sum() == 0
    rest = found.filter(~near, until <= data.period["calls"][1], pl.col("named") == 1)
    assert rest.height > 900
    assert rest["known"].min() == 1


def test_an_hour_that_is_written_twice_is_told():
    row = pl.int_range(pl.len())
    twice = moved(calls(), (row >= 805) & (row < 811), timedelta(hours=-1))
    assert [n.count for n in notes(twice)] == [1]


@pytest.mark.parametrize("days", [-400, -2, 2, 400])
def test_single_stamps_days_off_are_told(days):
    row = pl.int_range(pl.len())
    (note,) = notes(moved(calls(), row.is_in([300, 900]), timedelta(days=days)))
    assert (note.kind, note.count) == ("clock-jumps", 2)


ORDERS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "time": lambda f: f,
    "newest first": lambda f: f.reverse(),
    "none": lambda f: f.sample(fraction=1.0, shuffle=True, seed=4),
    "agent": lambda f: f.sort("agent_id", "started_at"),
    "site": lambda f: f.sort("site_id", "started_at"),
    "two halves": lambda f: pl.concat([f[700:], f[:700]]),
    "day and site": lambda f: f.sort(
        pl.col("started_at").dt.date(), "site_id", "started_at"
    ),
    "hour and site": lambda f: f.sort(
        pl.col("started_at").dt.truncate("1h"), "site_id", "started_at"
    ),
    "end of the call": lambda f: f.sort("ended_at"),
    "few rows": lambda f: f.head(150),
    "a block delivered twice": lambda f: pl.concat([f[:1200], f[1150:]]),
}


@pytest.mark.parametrize("order", ORDERS)
def test_ordinary_orders_give_no_note(order):
    assert notes(ORDERS[order](calls())) == []


def test_two_files_side_by_side_give_no_note(tmp_path):
    for site in ("north", "south"):
        mine = calls().filter(pl.col("site_id") == site)
        mine.write_parquet(tmp_path / f"calls-{site}.parquet")
    found = load([tmp_path]).notes
    assert not [n for n in found if n.kind.startswith("clock-")]


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
def test_a_site_whose_clock_differs_is_told_on_every_engine(engine, tmp_path):
    wrong = pl.col("site_id") == "south"
    late = pl.col("started_at") - pl.duration(seconds=200)
    frame = calls().with_columns(
        answered_at=pl.when(wrong).then(late).otherwise("answered_at")
    )
    frame.write_parquet(tmp_path / "calls.parquet")
    found = load([tmp_path], engine=engine).notes
    (note,) = [n for n in found if n.kind == "clock-differs"]
    assert (note.count, note.examples) == (DAYS * A_DAY // 3, ("south",))
    assert "answered_at before started_at" in note.detail


def test_stamps_out_of_order_everywhere_are_no_matter_of_one_site():
    early = pl.col("started_at") - pl.duration(seconds=200)
    row = pl.int_range(pl.len())
    frame = calls().with_columns(
        answered_at=pl.when(row % 7 == 0).then(early).otherwise("answered_at")
    )
    assert notes(frame) == []
