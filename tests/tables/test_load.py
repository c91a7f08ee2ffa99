"""Whole files in, a dataset out."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from kpiaudit.errors import RuleError, TableError
from kpiaudit.tables.examine import examine
from kpiaudit.tables.load import load

HEAD = "call_id,agent_id,queue,started_at,answered_at,ended_at,talk_s,ended_by\n"
D = "2026-03-02"
ROWS = (
    f"C1,007,billing,{D} 10:00:00,{D} 10:00:05,{D} 10:01:05,60,agent\n"
    f"C2,008,sales,{D} 11:00:00,{D} 11:00:09,{D} 11:02:09,120,customer\n"
    "C3,007,billing,2026-03-03 09:00:00,2026-03-03 09:00:01,2026-03-03 09:00:31,"
    "30,agent\n"
)
BANK = Path(__file__).parents[3] / "shared" / "data"


def calls(tmp_path: Path, text: str = HEAD + ROWS, name: str = "calls.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(path: Path, **options: object) -> pl.DataFrame:
    return load([path], **options).frames["calls"].to_native().collect()


def test_canonical_calls_are_read_with_their_types(tmp_path):
    frame = rows(calls(tmp_path))
    assert frame["agent_id"].to_list() == ["007", "008", "007"]
    assert frame["talk_s"].to_list() == [60.0, 120.0, 30.0]
    assert frame["at_ms"][0] == 1_772_445_600_000
    assert frame["day"].to_list() == [20514, 20514, 20515]
    assert frame["hour"].to_list() == [10, 11, 9]
    assert frame.schema["started_at"] == pl.Int64


def test_a_folder_reads_the_files_named_after_tables_and_notes_the_others(tmp_path):
    calls(tmp_path)
    calls(tmp_path, "x,y\n1,2\n", name="other.csv")
    data = load([tmp_path])
    assert set(data.frames) == {"calls"}
    assert [n.kind for n in data.notes] == ["unrecognised-file"]
    assert data.inputs[0].sha256


def test_a_named_file_that_nothing_recognises_is_refused(tmp_path):
    path = calls(tmp_path, "x,y\n1,2\n", name="other.csv")
    with pytest.raises(TableError, match="recognised by its headers"):
        load([path])


def test_the_same_rows_come_from_csv_gzip_ndjson_parquet_frames_and_pipes(tmp_path):
    path = calls(tmp_path)
    want = rows(path)
    zipped = tmp_path / "calls-2026-03.csv.gz"
    zipped.write_bytes(gzip.compress((HEAD + ROWS).encode()))
    text = pl.read_csv(path, infer_schema=False)
    text.write_ndjson(tmp_path / "calls.ndjson")
    (tmp_path / "calls.json").write_text(text.write_json())
    text.write_parquet(tmp_path / "calls.parquet")
    typed = pl.read_csv(
        path, try_parse_dates=True, schema_overrides={"agent_id": pl.String}
    )
    typed.write_parquet(tmp_path / "calls_typed.parquet")
    for name in ("calls-2026-03.csv.gz", "calls.ndjson", "calls.json", "calls.parquet"):
        assert rows(tmp_path / name).equals(want), name
    assert rows(tmp_path / "calls_typed.parquet").equals(want)
    piped = load(tables={"calls": "-"}, stdin=io.BytesIO(path.read_bytes()))
    assert piped.frames["calls"].to_native().collect().equals(want)
    for frame in (typed, typed.lazy(), pd.DataFrame(typed.to_dict(as_series=False))):
        given = load(tables={"calls": [frame]})
        assert given.frames["calls"].to_native().collect().equals(want)


def test_files_of_one_table_with_different_columns_are_put_together(tmp_path):
    calls(tmp_path, name="calls_1.csv")
    calls(
        tmp_path,
        "started_at,call_id,queue\n2026-03-04 08:00:00,C9,vip\n",
        "calls_2.csv",
    )
    data = load([tmp_path])
    assert data.rows["calls"] == 4
    assert "columns-differ" in {n.kind for n in data.notes}


def test_absent_talk_time_is_derived_and_said(tmp_path):
    text = HEAD.replace("talk_s,", "hold_s,") + ROWS
    data = load([calls(tmp_path, text)])
    assert data.derived == {"calls.talk_s": "ended_at - answered_at - hold_s"}
    assert data.origin("calls.talk_s") == "derived"
    assert data.has("calls.talk_s")


def test_an_agent_id_for_nobody_in_particular_is_emptied_and_noted(tmp_path):
    data = load([calls(tmp_path, HEAD + ROWS.replace("008", "No_Server"))])
    assert data.frames["calls"].to_native().collect()["agent_id"].null_count() == 1
    assert [(n.kind, n.count) for n in data.notes] == [("bucket-agent", 1)]


def test_equal_rows_are_dropped_and_counted(tmp_path):
    data = load([calls(tmp_path, HEAD + ROWS + ROWS)])
    assert data.rows["calls"] == 3
    assert [(n.kind, n.count) for n in data.notes] == [("duplicate-rows", 3)]


def test_without_the_key_row_numbers_serve(tmp_path):
    text = "\n".join(line.split(",", 1)[1] for line in (HEAD + ROWS).splitlines())
    data = load([calls(tmp_path, text + "\n")])
    frame = data.frames["calls"].to_native().collect()
    assert frame["call_id"].n_unique() == 3
    assert "no-key" in {n.kind for n in data.notes}


def test_only_records_that_began_in_the_period_are_kept(tmp_path):
    path = calls(tmp_path)
    assert load([path], since="2026-03-03").rows == {"calls": 1}
    assert load([path], until="2026-03-02").rows == {"calls": 2}
    with pytest.raises(TableError, match="no rows"):
        load([path], since="2027-01-01")
    with pytest.raises(RuleError, match="--since"):
        load([path], since="yesterday")


def test_days_and_hours_are_local(tmp_path):
    frame = rows(calls(tmp_path), timezone="Europe/Warsaw")
    assert frame["hour"].to_list() == [10, 11, 9]
    assert frame["at_ms"][0] == 1_772_442_000_000


def test_missing_paths_and_tables_are_answered_with_a_guess(tmp_path):
    calls(tmp_path)
    with pytest.raises(TableError, match=r"Did you mean 'calls\.csv'"):
        load([tmp_path / "cals.csv"])
    with pytest.raises(RuleError, match="Did you mean 'calls'"):
        load(tables={"cals": "x.csv"})
    with pytest.raises(RuleError, match="time zone"):
        load([tmp_path], timezone="Europe/Warsav")


def test_inspect_never_fails_for_one_bad_file(tmp_path):
    calls(tmp_path)
    calls(tmp_path, "", name="surveys.csv")
    good, bad = examine([tmp_path]).files
    assert good.table == "calls"
    assert good.separator == ","
    assert {c.name: c.source for c in good.columns}["talk_s"] == ("talk_s",)
    assert "empty" in bad.error


@pytest.mark.skipif(not BANK.is_dir(), reason="the bank's records are not here")
def test_the_example_mapping_reads_the_anonymous_bank():
    mapping = Path(__file__).parents[2] / "docs/examples/anonymous_bank.yaml"
    data = load([BANK / "anonymous_bank_1999_01_january.csv.gz"], mapping=mapping)
    frame = data.frames["calls"].to_native().collect()
    answered = frame.filter(pl.col("outcome") == "answered")
    short = (answered["talk_s"] < 10).mean()
    assert round(short, 3) == 0.056  # as published with the files
    assert data.timezone == "Asia/Jerusalem"
    assert (frame["answered_at"] < frame["started_at"]).sum() == 0


def test_scores_that_agents_collect_are_not_the_customers_own(tmp_path):
    text = "survey_id,score,administered_by\n1,5,system\n2,4,agent\n"
    data = load([calls(tmp_path, text, "surveys.csv")])
    assert data.origin("surveys.score") == "agent"
    text = text.replace("agent", "system")
    assert load([calls(tmp_path, text, "surveys.csv")]).independent("surveys.score")


def test_a_table_that_the_period_leaves_empty_is_left_out_with_a_note(tmp_path):
    calls(tmp_path)
    calls(tmp_path, "survey_id,sent_at,score\n1,2025-01-01,5\n", "surveys.csv")
    data = load([tmp_path], since="2026-01-01")
    assert set(data.frames) == {"calls"}
    assert [n.kind for n in data.notes] == ["no-rows"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.txt", b"These are the exports of March.\nAsk the planners.\n"),
        (
            "README.txt",
            b"Calls, surveys and tickets of March 2026.\nSee below.\nBye.\n",
        ),
        ("README.txt", b"Exported on 3 March, 2026.\nSee below.\nBye.\n"),
        ("empty.csv", b""),
        ("notes.txt", b" \n"),
        ("scan.dat", b"%PDF-1.7\n\0\0"),
        ("logo.dat", b"\x89PNG\r\n\x1a\n\0\0"),
        ("state.dat", b"\1\0\2\0\3\0\0\7\0"),
    ],
)
def test_a_stray_file_in_a_folder_is_noted_with_its_reason(tmp_path, name, content):
    calls(tmp_path)
    (tmp_path / name).write_bytes(content)
    data = load([tmp_path])
    assert data.rows == {"calls": 3}
    assert [n.kind for n in data.notes] == ["unrecognised-file"]
    assert data.notes[0].detail.startswith(f"{tmp_path / name}: ")
    assert [r.error for r in examine([tmp_path]).files] == ["", ""]
    with pytest.raises(TableError):
        load([tmp_path / "calls.csv", tmp_path / name])
    (tmp_path / "calls.csv").unlink()
    with pytest.raises(TableError):
        load([tmp_path])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("surveys.csv", b""),
        ("calls-2026-03.csv.gz", gzip.compress(b"", mtime=0)),
        ("tickets.txt", b"The export failed.\nAsk the planners.\n"),
        ("export.csv.gz", gzip.compress((HEAD + ROWS).encode(), mtime=0)[:40]),
        ("export.csv.gz", b""),
        ("export.parquet", b"PAR1 cut off"),
        ("export.parquet", b""),
        ("export.csv", b"\0" * 64),
        ("export.csv", b"call_id\nC1\nC2\n"),
        ("export.csv", b"call_id:talk_s\nC1:5\n"),
        ("export.csv", b"<!doctype html><p>Log in"),
        ("export.csv", b"C1,007,60\nC2,008,61\n"),
    ],
)
def test_a_broken_export_in_a_folder_is_never_a_note(tmp_path, name, content):
    calls(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError):
        load([tmp_path])


def test_a_glob_names_its_files(tmp_path):
    calls(tmp_path)
    calls(tmp_path, "", "empty.csv")
    with pytest.raises(TableError, match="empty"):
        load([str(tmp_path / "*.csv")])


@pytest.mark.parametrize("whole", [True, False])
def test_a_file_named_after_a_table_needs_no_key(tmp_path, whole):
    path = calls(tmp_path, "agent_id,talk_s\n007,60\n007,60\n008,61\n")
    data = load([tmp_path if whole else path])
    assert data.rows == {"calls": 3}
    assert "no-key" in {n.kind for n in data.notes}
    other = calls(tmp_path, "agent_id,talk_s\n007,60\n", "other.csv")
    with pytest.raises(TableError, match="recognised by its headers"):
        load([other])


@pytest.mark.parametrize(
    "name", ["surveys.csv", "surveys-2026-03.csv", "Surveys_2.csv"]
)
def test_an_export_that_bears_a_tables_name_is_never_left_out(tmp_path, name):
    calls(tmp_path)
    (tmp_path / name).write_text("a,b\n1,2\n3,4\n", encoding="utf-8")
    with pytest.raises(TableError, match="named like the table 'surveys'"):
        load([tmp_path])
    assert (
        "give it another name"
        in examine([tmp_path]).files[0 if name[0] == "S" else 1].error
    )


def test_totals_beside_exports_are_noted(tmp_path):
    calls(tmp_path)
    (tmp_path / "surveys_per_team.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    data = load([tmp_path])
    assert [n.kind for n in data.notes] == ["unrecognised-file"]
