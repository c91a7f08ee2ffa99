"""Asterisk's queue log: calls and spells put together, what fits no call counted."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from kpiaudit.errors import RuleError, TableError
from kpiaudit.tables.discover import discover
from kpiaudit.tables.grammar import read_mapping, read_mappings
from kpiaudit.tables.load import load

LOG = Path(__file__).parent / "fixtures" / "asterisk-queue-log" / "queue_log"
EVENTS = [line.split("|", 5) for line in LOG.read_text("utf-8").splitlines()]


def rows(data, table="calls"):
    drop = ["at_ms", "day", "hour"]
    return data.frames[table].to_native().collect().drop(drop)


def noted(data):
    found: dict[tuple[str, str], int] = {}
    for note in data.notes:
        key = (note.table, note.kind)
        found[key] = found.get(key, 0) + note.count
    return found


def of(tmp_path, *lines):
    path = tmp_path / "queue_log"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return load([path])


def test_events_that_make_no_whole_call_are_counted():
    assert noted(load([LOG])) == {
        ("calls", "calls-without-an-end"): 2,
        ("calls", "ends-without-a-beginning"): 2,
        ("calls", "events-that-fit-no-call"): 1,
        ("calls", "unreachable-devices"): 1,
        ("agent_states", "open-spells"): 2,
    }


def test_one_log_gives_two_inputs():
    found = [(i.table, i.rows, i.rejected) for i in load([LOG]).inputs]
    assert found == [("calls", 12, 0), ("agent_states", 7, 0)]


def table_rows(layout):
    """Return the log as Asterisk keeps it in a table, in its new or old layout."""
    for time, callid, queue, agent, event, *rest in EVENTS:
        parts = rest[0].split("|") if rest else []
        # The fifth parameter holds what is left.
        parts = [*parts[:4], "|".join(parts[4:])]
        stamp = datetime.fromtimestamp(int(time), UTC).strftime("%F %T.123456")
        row = {"id": "7", "time": stamp, "callid": callid, "queuename": queue}
        row |= {"agent": agent, "event": event}
        if layout == "data1":
            row |= {
                f"data{i + 1}": part for i, part in enumerate([*parts, *[""] * 5][:5])
            }
        else:
            row["data"] = rest[0] if rest else ""
        yield row


@pytest.mark.parametrize("layout", ["data1", "data"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_table_is_read_as_the_file(tmp_path, layout, form):
    made = list(table_rows(layout))
    path = tmp_path / f"export.{form}"
    if form == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, made[0])
            out.writeheader()
            out.writerows(made)
    else:
        pl.DataFrame(made).with_columns(
            pl.col("time").str.to_datetime("%F %T%.f"), pl.col("id").cast(pl.Int64)
        ).write_parquet(path)
    data = load([path])
    for table in ("calls", "agent_states"):
        got, wanted = rows(data, table), rows(load([LOG]), table)
        stamps = [n for n in got.columns if n.endswith("_at")]
        assert got.with_columns(pl.col(stamps) - 123).equals(wanted)


def test_times_of_a_table_are_in_the_zone_that_is_given(tmp_path):
    path = tmp_path / "export.csv"
    path.write_text(
        "time,callid,queuename,agent,event,data1,data2,data3\n"
        "2026-03-02 08:00:10,7.1,q,NONE,ENTERQUEUE,,600,1\n"
        "2026-03-02 08:00:20,7.1,q,SIP/1,CONNECT,10,8.1,3\n"
        "2026-03-02 08:01:20,7.1,q,SIP/1,COMPLETEAGENT,10,60,1\n",
        encoding="utf-8",
    )
    (row,) = rows(load([path], timezone="Europe/Warsaw")).to_dicts()
    assert row["started_at"] == 1_772_434_810_000
    assert row["ended_at"] - row["answered_at"] == 60_000


def test_a_call_without_a_second_parameter_is_timed_by_its_events(tmp_path):
    data = of(
        tmp_path,
        "1772438410|7.1|q|NONE|ENTERQUEUE||600|1",
        "1772438420|7.1|q|SIP/1|CONNECT|10",
        "1772438450|7.1|q|SIP/1|TRANSFER|300|default",
        "1772438500|8.1|q|NONE|ENTERQUEUE||600|1",
        "1772438507|8.1|q|NONE|EXITWITHTIMEOUT|1",
    )
    first, second = rows(data).to_dicts()
    assert (first["wait_s"], first["talk_s"]) == (10, 30)
    assert (second["wait_s"], second["talk_s"]) == (7, None)


def test_an_agent_paused_in_one_of_two_queues_is_available(tmp_path):
    data = of(
        tmp_path,
        "1772438400|NONE|a|SIP/1|ADDMEMBER|",
        "1772438400|NONE|b|SIP/1|ADDMEMBER|",
        "1772438500|NONE|a|SIP/1|PAUSE|mail",
        "1772438600|NONE|b|SIP/1|PAUSE|lunch",
        "1772438700|NONE|a|SIP/1|UNPAUSE|",
        "1772438800|NONE|a|SIP/1|REMOVEMEMBER|",
        "1772438900|NONE|b|SIP/1|REMOVEMEMBER|",
    )
    found = rows(data, "agent_states")
    assert found["state"].to_list() == ["available", "paused", "available", "paused"]
    length = (found["ended_at"] - found["started_at"]) // 1000
    assert length.to_list() == [200, 100, 100, 100]


def test_logging_off_ends_what_pauses_of_all_queues_began(tmp_path):
    data = of(
        tmp_path,
        "1772438400|7.9|NONE|Agent/1|AGENTLOGIN|SIP/1-01",
        "1772438500|NONE|NONE|Agent/1|PAUSEALL|",
        "1772438600|NONE|NONE|Agent/1|UNPAUSEALL|",
        "1772438700|7.9|NONE|Agent/1|AGENTLOGOFF|SIP/1-01|300",
    )
    found = rows(data, "agent_states")
    assert found["state"].to_list() == ["available", "paused", "available"]
    assert found["ended_at"].to_list()[-1] == 1_772_438_700_000


def test_a_pause_at_once_after_ringing_is_the_systems(tmp_path):
    data = of(
        tmp_path,
        "1772438400|NONE|a|SIP/1|ADDMEMBER|",
        "1772438410|7.1|a|NONE|ENTERQUEUE||600|1",
        "1772438430|7.1|a|SIP/1|RINGNOANSWER|15000",
        "1772438430|NONE|a|SIP/1|PAUSE|",
        "1772438500|NONE|a|SIP/1|UNPAUSE|",
        "1772438600|NONE|a|SIP/1|PAUSE|",
    )
    assert rows(data, "agent_states")["changed_by"].to_list() == [
        *(None, "system", None, None)
    ]


def test_broken_lines_are_counted_and_too_many_refused(tmp_path):
    lines = LOG.read_text(encoding="utf-8").splitlines()
    data = of(tmp_path, *lines[:20], "17724390", *lines[20:])
    assert {i.rejected for i in data.inputs} == {1}
    assert noted(data)["calls", "rejected-rows"] == 1
    with pytest.raises(TableError, match="broken"):
        of(tmp_path, *lines[:20], *["17724390"] * 4, *lines[20:])


def test_unknown_events_are_named_once(tmp_path):
    lines = LOG.read_text(encoding="utf-8").splitlines()
    data = of(tmp_path, *lines, "1772439900|NONE|NONE|NONE|SOMETHINGNEW|1")
    (note,) = [n for n in data.notes if n.kind == "unknown-events"]
    assert "SOMETHINGNEW" in note.detail


def test_a_folder_of_logs_is_read_whatever_their_suffix(tmp_path):
    for name in ("queue_log", "queue_log.1", "queue_log-20260301"):
        (tmp_path / name).write_bytes(LOG.read_bytes())
    assert len(discover([tmp_path])) == 3


def test_a_copied_preset_may_say_it_otherwise(tmp_path):
    folder = Path(read_mappings.__code__.co_filename).parent / "presets"
    text = (folder / "asterisk-queue-log.yaml").read_text(encoding="utf-8")
    text = text.replace("EXITEMPTY: no_answer", "EXITWITHKEY: callback")
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    data = load([LOG], mapping=tmp_path / "own.yaml")
    assert rows(data)["outcome"].to_list().count("callback") == 1


def test_a_slip_in_what_code_makes_is_answered():
    item = {
        "assemble": "asterisk-queuelog",
        "table": "calls",
        "columns": {"queue": "q"},
    }
    with pytest.raises(RuleError, match="asterisk-queue-log"):
        read_mapping(item, where="own.yaml", fallback="own")
    item["assemble"] = "asterisk-queue-log"
    with pytest.raises(RuleError, match="makes no column 'q'"):
        read_mapping(item, where="own.yaml", fallback="own")
