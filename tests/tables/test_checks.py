"""Notes on the data: what is odd is told, what is usual is not."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from kpiaudit.tables import schema
from kpiaudit.tables.load import load

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


def centre(days: int = 21, a_day: int = 30) -> pl.DataFrame:
    """Return calls on every working day, from 8 to 18 h."""
    at = [
        START + timedelta(days=d, minutes=20 * i)
        for d in range(days)
        for i in range(a_day)
        if (START + timedelta(days=d)).weekday() < 5
    ]
    n = len(at)
    talk = [61.0 + 7 * (i % 53) for i in range(n)]
    return pl.DataFrame(
        {
            "call_id": [f"C{i:05d}" for i in range(n)],
            "agent_id": [f"A{i % 5}" for i in range(n)],
            "started_at": at,
            "answered_at": [t + timedelta(seconds=9) for t in at],
            "ended_at": [
                t + timedelta(seconds=9 + s) for t, s in zip(at, talk, strict=True)
            ],
            "talk_s": talk,
        }
    )


def kinds(frame: pl.DataFrame) -> dict[str, int]:
    return {n.kind: n.count for n in load(tables={"calls": frame}).notes}


def some(name: str, value: pl.Expr, count: int = 9) -> pl.Expr:
    """Change a column in the first rows."""
    first = pl.int_range(pl.len()) < count
    return pl.when(first).then(value).otherwise(name).alias(name)


def test_a_usual_centre_gives_no_note():
    assert kinds(centre()) == {}


def test_negative_durations_are_emptied_and_counted():
    frame = centre().with_columns(some("talk_s", -pl.col("talk_s"), 3))
    data = load(tables={"calls": frame})
    assert {n.kind: n.count for n in data.notes} == {"negative-durations": 3}
    assert data.frames["calls"].to_native().collect()["talk_s"].null_count() == 3


def test_durations_above_a_day_are_counted_with_an_example():
    frame = (
        centre()
        .with_columns(wrap_s=pl.lit(5.0))
        .with_columns(some("wrap_s", pl.lit(90_000.0), 2))
    )
    note = load(tables={"calls": frame}).notes[0]
    assert (note.kind, note.count) == ("impossible-durations", 2)
    assert "C00000" in note.detail


def test_an_end_before_the_start_is_counted():
    early = pl.col("started_at") - pl.duration(seconds=30)
    found = kinds(centre().with_columns(some("ended_at", early, 2)))
    assert found["times-out-of-order"] == 2


@pytest.mark.parametrize(("rows", "told"), [(4, False), (30, True)])
def test_talk_times_that_disagree_with_the_stamps_are_told_if_not_few(rows, told):
    frame = centre().with_columns(some("talk_s", pl.col("talk_s") + 5, rows))
    assert ("talk-disagrees" in kinds(frame)) == told


def test_days_without_rows_are_told_unless_they_are_always_free():
    frame = centre(35).filter(pl.col("started_at").dt.ordinal_day() != 75)
    assert kinds(frame) == {"missing-days": 1}


def test_an_export_cut_off_in_the_middle_of_its_last_day_is_told():
    frame = centre(19)
    assert kinds(frame.head(frame.height - 15)) == {"cut-off-day": 15}


@pytest.mark.parametrize("step", [6, 60])
def test_rounded_durations_are_told(step):
    rounded = (pl.col("talk_s") / step).ceil() * step
    frame = centre().with_columns(talk_s=rounded).drop("ended_at")
    note = load(tables={"calls": frame}).notes[0]
    assert note.kind == "rounded-durations"
    assert f"multiples of {step} s" in note.detail


def test_rows_with_the_same_id_and_other_values_are_kept_and_told():
    frame = centre()
    again = frame.head(4).with_columns(pl.col("talk_s") + 1)
    assert kinds(pl.concat([frame, again]))["duplicate-ids"] == 4


def test_legs_of_one_call_are_no_duplicates():
    frame = centre()
    other = frame.with_columns(agent_id=pl.lit("B"))
    assert kinds(pl.concat([frame, other])) == {}


def test_the_schema_is_whole_and_needs_no_data_frames():
    for table, columns in schema.TABLES.items():
        names = [c.name for c in columns]
        assert len(names) == len(set(names))
        assert sum(c.key for c in columns) <= 1
        assert set(schema.ANCHORS.get(table, ())) <= set(names)
        for c in columns:
            assert c.origin in schema.ORIGINS
            assert c.meaning
            assert not c.name.endswith("_s") or c.type == "duration"
            assert not c.name.endswith("_at") or c.type == "instant"
    code = "import sys, kpiaudit.tables.grammar; print('polars' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"


def test_where_there_are_few_rows_a_day_an_empty_day_is_no_news():
    frame = centre(35, a_day=3).filter(pl.col("started_at").dt.ordinal_day() != 75)
    assert kinds(frame) == {}


def test_a_day_on_which_a_team_is_missing_is_told_once():
    east = centre(35).with_columns(team_id=pl.lit("east"))
    west = centre(35).with_columns(
        team_id=pl.lit("west"),
        call_id=pl.concat_str(pl.lit("W"), "call_id"),
        agent_id=pl.concat_str(pl.lit("W"), "agent_id"),
    )
    gone = west.filter(~pl.col("started_at").dt.ordinal_day().is_in([75, 76]))
    (note,) = load(tables={"calls": pl.concat([east, gone])}).notes
    assert (note.kind, note.count) == ("missing-teams", 2)
    assert "west on 2026-03-16" in note.detail


def test_a_day_that_nobody_works_is_not_told_for_each_team():
    frame = centre(35).with_columns(
        team_id=pl.concat_str(pl.lit("T"), pl.int_range(pl.len()) % 2)
    )
    frame = pl.concat([frame, frame.with_columns(call_id="X" + pl.col("call_id"))])
    found = kinds(frame.filter(pl.col("started_at").dt.ordinal_day() != 75))
    assert found["missing-days"] == 1
    assert "missing-teams" not in found


def test_a_note_shows_up_to_three_rows():
    early = pl.col("started_at") - pl.duration(seconds=30)
    data = load(tables={"calls": centre().with_columns(some("ended_at", early, 5))})
    (note,) = [
        n
        for n in data.notes
        if n.kind == "times-out-of-order" and "ended_at before started_at" in n.detail
    ]
    assert note.detail.endswith("(such as C00000, C00001, C00002).")


def test_a_note_gives_its_examples_apart_from_its_sentence():
    early = pl.col("started_at") - pl.duration(seconds=30)
    data = load(tables={"calls": centre().with_columns(some("ended_at", early, 5))})
    shown = {n.examples for n in data.notes if n.kind == "times-out-of-order"}
    assert shown == {("C00000", "C00001", "C00002")}


@pytest.mark.parametrize("name", ["talk_s", "hold_s"])
def test_a_duration_that_no_calendar_holds_counts_as_empty(name):
    frame = centre().with_columns(hold_s=pl.lit(1.0))
    frame = frame.with_columns(some(name, pl.lit(1e20), 2))
    data = load(tables={"calls": frame})
    found = {n.kind: n.count for n in data.notes}
    assert found["impossible-durations"] == 2
    assert data.frames["calls"].to_native().collect()[name].null_count() == 2


def busy() -> pl.DataFrame:
    """Return calls two minutes apart, from 8 to 18 h, on five weeks of days."""
    day = pl.int_range(35 * 300) // 300
    at = day * 1440 + 480 + pl.int_range(35 * 300) % 300 * 2
    stamp = pl.lit(START.replace(hour=0)) + pl.duration(minutes=at)
    return pl.select(
        call_id=pl.format("C{}", pl.int_range(35 * 300)),
        agent_id=pl.format("A{}", pl.int_range(35 * 300) % 7),
        started_at=stamp,
        talk_s=(61 + 7 * (pl.int_range(35 * 300) % 53)).cast(pl.Float64),
    )


def test_a_clock_that_is_put_forward_leaves_an_hour_without_rows():
    whole = busy()
    assert kinds(whole) == {}
    at = pl.col("started_at")
    day = datetime(2026, 3, 18, 12, tzinfo=UTC)
    later = at.is_between(day, day + timedelta(hours=9))
    moved = pl.when(later).then(at + pl.duration(hours=1)).otherwise(at)
    (note,) = load(tables={"calls": whole.with_columns(started_at=moved)}).notes
    assert (note.kind, note.count) == ("missing-hours", 1)
    assert note.examples == ("2026-03-18 12 h",)


def test_instants_of_another_year_do_not_make_the_period():
    at = pl.when(pl.int_range(pl.len()) < 3)
    year = at.then(datetime(2036, 1, 1, tzinfo=UTC)).otherwise("started_at")
    data = load(tables={"calls": busy().with_columns(started_at=year)})
    (note,) = data.notes
    assert (note.kind, note.count) == ("far-off-instants", 3)
    assert note.examples == ("2036-01-01",)
    assert data.period["calls"][1] < datetime(2026, 5, 1, tzinfo=UTC).timestamp() * 1e3
    assert data.rows["calls"] == 35 * 300


def test_every_note_on_rows_names_some_of_them(tmp_path):
    row = pl.int_range(pl.len())
    rounded = busy().with_columns(
        talk_s=pl.when(row < 4).then(-1.0).otherwise((pl.col("talk_s") // 60 + 1) * 60),
        agent_id=pl.when(row == 9).then(pl.lit("IVR")).otherwise("agent_id"),
    )
    both = pl.concat([rounded, rounded[:2], rounded[:1].with_columns(talk_s=5.0)])
    path = tmp_path / "calls.csv"
    both.with_columns(pl.col("talk_s").cast(pl.String)).write_csv(path)
    path.write_text(path.read_text() + "C1,broken\nC2,A1,2026-03-02 08:00:00,many\n")
    found = {n.kind: n.examples for n in load([path]).notes}
    assert found == {
        "rejected-rows": ("data row 10504",),
        "unreadable-cells": ("data row 10505",),
        "bucket-agent": ("IVR",),
        "duplicate-rows": ("C0", "C1"),
        "duplicate-ids": ("C0",),
        "negative-durations": ("C0", "C1", "C2"),
        "rounded-durations": ("C10", "C100", "C1000"),
    }


def test_files_of_one_table_tell_their_own_days(tmp_path):
    frame = busy()
    for i, part in enumerate((frame[:3000], frame[3000:])):
        part.write_csv(tmp_path / f"calls-{i}.csv")
    days = [(i.period_start, i.period_end) for i in load([tmp_path]).inputs]
    assert days == [("2026-03-02", "2026-03-11"), ("2026-03-12", "2026-04-05")]


def test_a_quiet_holiday_has_no_hour_missing():
    quiet = busy().filter(
        (pl.col("started_at").dt.ordinal_day() != 77)
        | (pl.int_range(pl.len()) % 20 < 1)
    )
    assert "missing-hours" not in kinds(quiet)


def test_trial_calls_before_the_opening_leave_no_day_missing():
    at = pl.when(pl.int_range(pl.len()) < 3)
    trial = at.then(datetime(2026, 2, 1, 9, tzinfo=UTC)).otherwise("started_at")
    assert kinds(busy().with_columns(started_at=trial)) == {}


def test_old_tickets_of_a_backlog_are_no_wrong_years():
    at = pl.when(pl.int_range(pl.len()) < 3)
    opened = at.then(datetime(2024, 5, 5, tzinfo=UTC)).otherwise("started_at")
    tickets = busy().select(ticket_id="call_id", agent_id="agent_id", opened_at=opened)
    assert load(tables={"tickets": tickets}).notes == ()
