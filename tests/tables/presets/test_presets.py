"""Presets: each fixture, written from documented headers, is read cell by cell."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml

from kpiaudit.errors import RuleError, TableError
from kpiaudit.tables import schema
from kpiaudit.tables.discover import discover
from kpiaudit.tables.examine import examine
from kpiaudit.tables.grammar import preset_text, read_presets
from kpiaudit.tables.load import load
from kpiaudit.tables.mapping import fold
from kpiaudit.tables.read import read_source
from kpiaudit.tables.reading import Options
from kpiaudit.tables.recognise import Known, recognise

FIXTURES = Path(__file__).parent / "fixtures"
PAGE = Path(__file__).parents[3] / "docs" / "presets.md"
NAMES = sorted(folder.name for folder in FIXTURES.iterdir() if folder.is_dir())
PRESETS = {preset.name: preset for preset in read_presets()}


def fixture(name: str) -> Path:
    (found,) = (f for f in (FIXTURES / name).iterdir() if f.name != "expected.yaml")
    return found


def expected(name: str) -> dict[str, list[dict[str, object]]]:
    text = (FIXTURES / name / "expected.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def canonical(value: object) -> object:
    """Return instants as a data set holds them."""
    if isinstance(value, datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=UTC)
        return int(zoned.timestamp() * 1000)
    return value


def check(data, wanted: dict[str, list[dict[str, object]]]) -> None:
    origins = wanted.pop("origins", {})
    assert set(data.frames) == set(wanted)
    for table, rows in wanted.items():
        got = data.frames[table].to_native().collect().to_dicts()
        assert len(got) == len(rows), got
        for here, there in zip(got, rows, strict=True):
            for column, value in there.items():
                assert here.get(column) == canonical(value), (table, column, here)
    for column, origin in origins.items():
        assert data.origin(column) == origin


def test_every_preset_has_a_fixture():
    assert sorted(PRESETS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_values_are_read_cell_by_cell(name):
    data = load([fixture(name)])
    assert {i.preset for i in data.inputs} == {name}
    check(data, expected(name))
    noise = {"unreadable-cells", "unknown-codes", "empty-columns", "no-key"}
    assert not [n for n in data.notes if n.kind in noise]


def shuffled(path: Path) -> str:
    """Return the file with its columns (or keys) in another order."""
    turn = random.Random(7)  # noqa: S311  # an order, nothing secret
    text = path.read_text(encoding="utf-8")
    if not path.suffix:
        return text  # an event log, whose lines bear no names
    if path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(text)))
        order = list(range(len(rows[0])))
        turn.shuffle(order)
        out = io.StringIO()
        rows[0] = [f" {cell.swapcase()}" for cell in rows[0]]
        csv.writer(out).writerows([[row[i] for i in order] for row in rows])
        return out.getvalue()
    if path.suffix == ".ndjson":
        records = [json.loads(line) for line in text.splitlines()]
        return "\n".join(json.dumps(turned(r)) for r in records) + "\n"
    return json.dumps(turned(json.loads(text)))


def turned(value: object) -> object:
    if isinstance(value, dict):
        return {k: turned(v) for k, v in reversed(value.items())}
    if isinstance(value, list):
        return [turned(v) for v in value]
    return value


@pytest.mark.parametrize("name", NAMES)
def test_headers_alone_tell_the_preset(name, tmp_path):
    path = tmp_path / "some file"
    path.write_text(shuffled(fixture(name)), encoding="utf-8")
    data = load([path])
    assert {i.preset for i in data.inputs} == {name}
    check(data, expected(name))


@pytest.mark.parametrize("name", NAMES)
def test_no_other_preset_matches_the_file(name):
    (source,) = discover([fixture(name)])
    options = Options(known=Known(), timezone="UTC", max_unreadable=0.05)
    header = {fold(h) for h in read_source(source, options).header}
    fits = [
        preset.name
        for preset in PRESETS.values()
        if all(fold(h) in header for h in preset.headers)
    ]
    assert fits == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_named_after_a_table_is_taken_for_the_preset(name):
    (source,) = discover([fixture(name)])
    known = Known()
    options = Options(known=known, timezone="UTC", max_unreadable=0.05)
    header = read_source(source, options).header
    for target in PRESETS[name].targets:
        named = replace(source, hint=target.table)
        assert recognise(named, header, known).mapping.name == name


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_says_what_it_rests_on(name):
    folder = Path(schema.__file__).parent / "presets"
    item = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    assert item["name"] == name
    assert item["about"]
    assert item["evidence"]
    assert item["notes"]
    grade, _, tried = item["confidence"].partition("; ")
    assert grade in {"doc", "repo"}
    assert tried.startswith(("not tried on", "tried on"))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_names_its_key_and_codes(name):
    for target in PRESETS[name].targets:
        key = schema.key(target.table)
        assert key is None or key in target.cells
        for column, cell in target.cells.items():
            codes = schema.column(target.table, column).values
            said = {v for v in (*cell.values.values(), cell.default) if v}
            said |= {case.value for case in cell.cases if case.value}
            assert not codes or said <= set(codes)


def test_presets_are_listed_in_the_documentation():
    text = PAGE.read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert sorted(listed) == NAMES


def test_the_mapping_on_the_page_adds_what_a_site_names(tmp_path):
    (block,) = re.findall(
        r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    (tmp_path / "map.yaml").write_text(block, encoding="utf-8")
    export = fixture("qualtrics-responses").read_text(encoding="utf-8")
    own = ["AgentID", "Agent", '"{""ImportId"":""AgentID""}"', "ben", "cleo", ""]
    lines = zip(export.splitlines(), own, strict=True)
    text = "\n".join(f"{line},{cell}" for line, cell in lines) + "\n"
    (tmp_path / "export.csv").write_text(text, encoding="utf-8")
    data = load([tmp_path / "export.csv"], mapping=tmp_path / "map.yaml")
    rows = data.frames["surveys"].to_native().collect()
    assert rows["agent_id"].to_list() == ["ben", "cleo"]
    assert rows["score"].to_list() == [9.0, None]


def test_conversations_without_ratings_are_tickets_alone(tmp_path):
    document = json.loads(fixture("intercom-conversations").read_text("utf-8"))
    for record in document["conversations"]:
        del record["conversation_rating"]
    (tmp_path / "export.json").write_text(json.dumps(document), encoding="utf-8")
    data = load([tmp_path / "export.json"])
    assert set(data.frames) == {"tickets"}
    assert "no-rows" in {note.kind for note in data.notes}


def test_columns_that_an_export_leaves_out_are_absent(tmp_path):
    text = fixture("zendesk-tickets").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    left = [c for c in rows[0] if c not in {"Due date", "On hold time in minutes"}]
    with (tmp_path / "export.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, left, extrasaction="ignore")
        out.writeheader()
        out.writerows(rows)
    data = load([tmp_path / "export.csv"])
    assert data.missing(["tickets.due_at", "tickets.paused_s"])
    assert data.has("tickets.resolved_at", "tickets.closed_at")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_cut_off_export_is_refused(tmp_path, form):
    text = fixture("genesys-cloud-interactions").read_text(encoding="utf-8")
    path = tmp_path / f"export.{form}"
    frame = pl.read_csv(text.replace("YES", "NO", 1).encode(), infer_schema=False)
    frame.write_csv(path) if form == "csv" else frame.write_parquet(path)
    with pytest.raises(TableError, match="1 rows say that the export was cut off"):
        load([path])


def test_what_is_damaged_in_a_conversation_is_counted(tmp_path):
    text = fixture("genesys-cloud-conversations").read_text(encoding="utf-8")
    text = text.replace('"value": 182500', '"value": "x"')
    (tmp_path / "export.json").write_text(text, encoding="utf-8")
    data = load([tmp_path / "export.json"], max_unreadable=0.5)
    (note,) = [n for n in data.notes if n.kind == "unreadable-cells"]
    assert (note.count, note.table) == (1, "calls")
    assert data.frames["calls"].to_native().collect()["talk_s"].null_count() == 3


def test_conversations_without_surveys_are_calls_alone(tmp_path):
    document = json.loads(fixture("genesys-cloud-conversations").read_text("utf-8"))
    document["conversations"][0].pop("surveys")
    lines = [json.dumps(record) for record in document["conversations"]]
    (tmp_path / "export.ndjson").write_text("\n".join(lines), encoding="utf-8")
    data = load([tmp_path / "export.ndjson"])
    assert [i.table for i in data.inputs] == ["calls"]
    assert not [n for n in data.notes if n.kind == "no-rows"]


def test_invitations_and_responses_become_one_row_each():
    names = ("qualtrics-distribution-contacts", "qualtrics-responses")
    data = load([fixture(name) for name in names])
    rows = data.frames["surveys"].to_native().collect().sort("survey_id")
    assert rows["survey_id"].to_list() == ["EMD_1/CID_2", "EMD_2/CID_1", "R_1", "R_2"]
    (both,) = rows.filter(survey_id="R_1").to_dicts()
    # The response has its say; the invitation fills what it lacks.
    assert both["customer_id"] == "cust-1"
    assert both["channel"] == "email"
    assert both["sent_at"] == canonical(datetime(2026, 3, 2, 8, tzinfo=UTC))
    assert both["responded_at"] == canonical(datetime(2026, 3, 2, 8, 2, tzinfo=UTC))
    kinds = {note.kind: note.count for note in data.notes}
    assert kinds["filled-rows"] == 1
    assert "duplicate-ids" not in kinds


def test_a_file_that_lacks_a_little_is_told_which_preset_it_resembles(tmp_path):
    path = tmp_path / "report.csv"
    path.write_text(
        "CALL ID,TIMESTAMP,AGENT,TALK TIME,ANI\n1,2026-03-02 08:00,a,0:30,5\n"
    )
    with pytest.raises(TableError, match=r"lacks DISPOSITION.*--preset five9-call-log"):
        load([path])
    (row,) = (
        load([path], preset="five9-call-log")
        .frames["calls"]
        .to_native()
        .collect()
        .to_dicts()
    )
    assert (row["call_id"], row["talk_s"]) == ("1", 30.0)


def test_legs_with_the_same_beginning_are_no_second_delivery(tmp_path):
    records = [
        json.loads(line)
        for line in fixture("amazon-connect-contact-records").read_text().splitlines()
    ]
    first = records[0] | {"ContactId": "x1", "InitialContactId": "x1"}
    leg = first | {"ContactId": "x2"}
    again = leg | {
        "DisconnectReason": "OTHER",
        "LastUpdateTimestamp": "2030-01-01T00:00:00Z",
    }
    path = tmp_path / "records.ndjson"
    path.write_text("\n".join(json.dumps(r) for r in (first, again, leg)))
    rows = load([path]).frames["calls"].to_native().collect()
    assert rows.height == 2
    assert "unknown" in rows["ended_by"].to_list()


def test_a_queue_log_without_any_known_event_is_refused(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("time,callid,queuename,agent,event\n1772438400,1,q,a,NEWTHING\n")
    with pytest.raises(TableError, match="could be put together from 1 records"):
        load([path])


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_preset_is_a_mapping_that_reads_the_same(name, tmp_path):
    copy = tmp_path / "mapping.yaml"
    copy.write_text(preset_text(name), encoding="utf-8")
    check(load([fixture(name)], mapping=copy), expected(name))


def test_a_slip_in_what_is_added_to_a_copied_preset_is_an_error(tmp_path):
    copy = tmp_path / "mapping.yaml"
    text = preset_text("qualtrics-responses").replace(
        "columns:\n", "columns:\n  agent_id: AgnetID\n", 1
    )
    copy.write_text(text, encoding="utf-8")
    with pytest.raises(RuleError, match="no column 'AgnetID'"):
        load([fixture("qualtrics-responses")], mapping=copy)


def rewritten(name: str, tmp_path: Path, *pairs: tuple[str, str]) -> list[dict]:
    """Load a fixture with other texts in it, and return the rows of its one table."""
    text = fixture(name).read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "export.csv"
    path.write_text(text, encoding="utf-8")
    data = load([path])
    assert {i.preset for i in data.inputs} == {name}
    (table,) = data.frames
    return data.frames[table].to_native().collect().to_dicts()


def test_a_ready_time_that_is_a_truth_value_says_no_time(tmp_path):
    rows = rewritten(
        "doordash-avoidable-wait", tmp_path, ("2026-03-02 18:15:00", "TRUE")
    )
    assert [r["order_id"] for r in rows] == ["dd1", "dd2", "dd3"]
    assert rows[0]["ready_at"] is None
    assert rows[0]["courier_arrived_at"] == canonical(datetime(2026, 3, 2, 18, 14))  # noqa: DTZ001


def test_sums_and_counts_of_a_call_log_are_its_columns(tmp_path):
    rows = rewritten(
        "five9-call-log",
        tmp_path,
        (",TALK TIME,", ",TALK TIME sum,"),
        (",HOLD TIME,", ",HOLD TIME sum,"),
        (",ABANDONED", ",ABANDONED count"),
    )
    assert [(r["talk_s"], r["hold_s"], r["outcome"]) for r in rows[:2]] == [
        (280.0, 30.0, "answered"),
        (0.0, 0.0, "abandoned"),
    ]


def test_a_call_record_without_linkedid_is_a_call_of_its_own(tmp_path):
    rows = rewritten("freepbx-cdr", tmp_path, (",linkedid,", ",other,"))
    assert [r["call_id"] for r in rows[:2]] == ["1772438400.1", "1772439000.2"]
    assert [r["agent_id"] for r in rows[:2]] == ["201", "202"]


def test_a_zone_in_the_third_header_row_is_the_zone_of_the_instants(tmp_path):
    text = fixture("qualtrics-responses").read_text(encoding="utf-8")
    plain = load([fixture("qualtrics-responses")])
    assert not [n for n in plain.notes if n.kind == "time-zone"]
    path = tmp_path / "export.csv"
    path.write_text(text.replace('""UTC""', '""America/Denver""'), encoding="utf-8")
    data = load([path])
    frames = [d.frames["surveys"].to_native().collect() for d in (plain, data)]
    utc, denver = (f["responded_at"].to_list() for f in frames)
    assert [b - a for a, b in zip(utc, denver, strict=True) if a] == [
        7 * 3_600_000 for a in utc if a
    ]
    (note,) = [n for n in data.notes if n.kind == "time-zone"]
    assert "its instants are in America/Denver" in note.detail
    path.write_text(text.replace('""UTC""', '""Mars/Base""'), encoding="utf-8")
    assert [n.kind for n in load([path]).notes] == [n.kind for n in plain.notes]


def test_a_copied_preset_is_a_mapping_and_not_the_preset(tmp_path):
    copy = tmp_path / "mapping.yaml"
    copy.write_text(preset_text("olist-orders"), encoding="utf-8")
    (report,) = examine([fixture("olist-orders")], mapping=copy).files
    assert report.confidence == ""
    assert "mapping file" in report.why
