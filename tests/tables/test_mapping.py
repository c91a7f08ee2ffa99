"""Mapping files: every key does what docs/mapping.md says, every slip is answered."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from kpiaudit.errors import RuleError, TableError
from kpiaudit.tables.examine import examine
from kpiaudit.tables.grammar import read_mapping, read_mappings
from kpiaudit.tables.load import load
from kpiaudit.tables.plain_yaml import read_yaml


def run(folder: Path, mapping: str, data: str, name: str = "export.csv", **options):
    (folder / "map.yaml").write_text(mapping, encoding="utf-8")
    (folder / name).write_text(data, encoding="utf-8")
    return load([folder / name], mapping=folder / "map.yaml", **options)


def calls(folder: Path, mapping: str, data: str, **options) -> pl.DataFrame:
    got = run(folder, mapping, data, **options)
    return got.frames["calls"].to_native().collect()


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)


BASE = "table: calls\ncolumns:\n  call_id: Id\n"
DATA = "Id,A,B,When\n1,x,10,2026-03-02 10:00:00\n2,y,20,2026-03-02 11:00:00\n"


def test_columns_are_renamed_whatever_their_case_and_spaces(tmp_path):
    found = calls(tmp_path, BASE + "  agent_id: ' a'\n", DATA)
    assert found["agent_id"].to_list() == ["x", "y"]


def test_codes_are_mapped_with_a_default_and_null(tmp_path):
    mapping = (
        BASE + "  ended_by: {column: A, values: {X: agent, Y: null, '*': system}}\n"
    )
    data = DATA + "3,z,1,2026-03-02 10:00:00\n4,,1,2026-03-02 10:00:00\n"
    found = calls(tmp_path, mapping, data)
    assert found["ended_by"].to_list() == ["agent", None, "system", None]


def test_values_and_units_may_be_gathered(tmp_path):
    mapping = (
        BASE
        + "  ended_by: A\n  talk_s: B\nvalues: {calls.ended_by: {x: agent}}\n"
        + "units: {talk_s: ms}\n"
    )
    found = calls(tmp_path, mapping, DATA)
    assert found["ended_by"].to_list() == ["agent", "unknown"]
    assert found["talk_s"].to_list() == [0.01, 0.02]


@pytest.mark.parametrize(
    ("unit", "cell", "seconds"),
    [
        ("s", "90", 90),
        ("ms", "1500", 1.5),
        ("min", "1.5", 90),
        ("h", "2", 7200),
        ("days", "0.5", 43200),
        ("hh:mm:ss", "01:01:01", 3661),
        ("mm:ss", "61:01", 3661),
        ("hh:mm", "01:30", 5400),
    ],
)
def test_units_of_durations(tmp_path, unit, cell, seconds):
    mapping = BASE + f"  talk_s: {{column: A, unit: '{unit}'}}\n"
    assert calls(tmp_path, mapping, f"Id,A\n1,{cell}\n")["talk_s"].item() == seconds


@pytest.mark.parametrize(
    ("unit", "cell"),
    [
        ("epoch_s", "1772445600"),
        ("epoch_ms", "1772445600000"),
        ("epoch_us", "1772445600000000"),
        ("excel", "46083.4166666667"),
    ],
)
def test_units_of_instants(tmp_path, unit, cell):
    mapping = BASE + f"  started_at: {{column: A, unit: {unit}}}\n"
    found = calls(tmp_path, mapping, f"Id,A\n1,{cell}\n")
    assert found["started_at"].item() == ms(2026, 3, 2, 10)


def test_an_instant_from_a_date_and_a_time(tmp_path):
    mapping = BASE + (
        "  started_at: {date: D, time: T1, format: '%y%m%d %H:%M:%S'}\n"
        "  answered_at: {date: D, time: T2, absent_time: ['0:00:00'],"
        " format: '%y%m%d %H:%M:%S', after: started_at}\n"
    )
    data = "Id,D,T1,T2\n1,260302,23:59:50,0:00:10\n2,260302,10:00:00,0:00:00\n"
    found = calls(tmp_path, mapping, data)
    assert found["answered_at"].to_list() == [ms(2026, 3, 3, 0, 0, 10), None]


def test_durations_are_added_to_an_instant(tmp_path):
    mapping = BASE + (
        "  started_at: When\n  answered_at: {column: When, plus: [B], plus_unit: min}\n"
    )
    found = calls(tmp_path, mapping, DATA)
    gap = found["answered_at"] - found["started_at"]
    assert gap.to_list() == [600_000, 1_200_000]


def test_constants_templates_extracts_and_first_filled_columns(tmp_path):
    mapping = (
        "table: calls\ncolumns:\n"
        '  call_id: {template: "{Id}-{A}"}\n'
        "  channel: {constant: Voice}\n"
        "  customer_id: {column: C, extract: '^tel:(.+)$'}\n"
        "  agent_id: {column: [D, A]}\n"
    )
    data = "Id,A,C,D\n1,x,tel:123,\n2,,sip:9,z\n"
    found = calls(tmp_path, mapping, data)
    assert found["call_id"].to_list() == ["1-x", None]
    assert found["channel"].to_list() == ["voice", "voice"]
    assert found["customer_id"].to_list() == ["123", None]
    assert found["agent_id"].to_list() == ["x", "z"]


def test_cases_take_the_first_that_holds(tmp_path):
    mapping = BASE + (
        "  ended_by:\n    cases:\n"
        "      - {when: {A: X}, value: agent}\n"
        "      - {when: {B: {above: 15}}, value: customer}\n"
        "      - {value: system}\n"
        "  reason: {cases: [{when: {A: y}, column: B}]}\n"
    )
    found = calls(tmp_path, mapping, DATA + "3,z,5,2026-03-02 10:00:00\n")
    assert found["ended_by"].to_list() == ["agent", "customer", "system"]
    assert found["reason"].to_list() == [None, "20", None]


def test_a_cell_is_empty_where_its_conditions_do_not_hold(tmp_path):
    mapping = BASE + "  talk_s: {column: B, when: {A: {not: [x]}}}\n"
    assert calls(tmp_path, mapping, DATA)["talk_s"].to_list() == [None, 20.0]


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("drop: {A: x}", ["2"]),
        ("only: {A: [X, Q]}", ["1"]),
        ("drop: [{A: x}, {B: {above: 15}}]", []),
        ("only: {A: x, B: {below: 15}}", ["1"]),
        ("only: {A: {present: true}}", ["1", "2"]),
        ("drop: {A: {present: true}}", []),
    ],
)
def test_rows_are_kept_and_left_out(tmp_path, rule, kept):
    mapping = BASE + rule + "\n"
    data = DATA + "3,,0,2026-03-02 10:00:00\n"
    expected = [*kept, "3"] if rule.startswith("drop") else kept
    got = run(tmp_path, mapping, data)
    ids = got.frames["calls"].to_native().collect()["call_id"].to_list()
    assert ids == expected
    assert {n.kind: n.count for n in got.notes}["left-out-rows"] == 3 - len(expected)


def test_of_records_delivered_again_the_newest_is_kept(tmp_path):
    mapping = BASE + "  reason: A\nkeep: newest by Upd\n"
    data = (
        "Id,A,Upd\n1,old,2026-03-02 10:00:00\n1,new,2026-03-02 12:00:00\n"
        "1,mid,2026-03-02 11:00:00\n2,only,2026-03-01 10:00:00\n"
    )
    got = run(tmp_path, mapping, data)
    found = got.frames["calls"].to_native().collect().sort("call_id")
    assert found["reason"].to_list() == ["new", "only"]
    assert {n.kind: n.count for n in got.notes} == {"superseded-rows": 2}


@pytest.mark.parametrize("name", ["export.csv", "export.parquet"])
def test_an_old_state_that_has_come_back_is_the_newest(tmp_path, name, monkeypatch):
    monkeypatch.setattr("kpiaudit.tables.copies._MANY", 1)
    data = "Id,A,Upd\n1,open,1\n1,shut,2\n1,open,3\n2,shut,1\n2,shut,2\n"
    (tmp_path / "export.csv").write_text(data)
    pl.read_csv(tmp_path / "export.csv").write_parquet(tmp_path / "export.parquet")
    (tmp_path / "map.yaml").write_text(BASE + "  reason: A\nkeep: newest by Upd\n")
    got = load([tmp_path / name], mapping=tmp_path / "map.yaml")
    found = got.frames["calls"].to_native().collect().sort("call_id")
    assert found["reason"].to_list() == ["open", "shut"]
    assert {n.kind: n.count for n in got.notes} == {"superseded-rows": 3}


def test_versions_are_compared_as_numbers_and_per_other_keys(tmp_path):
    mapping = (
        "table: ticket_events\ncolumns: {ticket_id: Id, at: When, new_value: A}\n"
        "keep: newest by N per ticket_id\n"
    )
    data = "Id,When,A,N\n1,2026-03-02,a,9\n1,2026-03-02,b,10\n"
    got = run(tmp_path, mapping, data)
    found = got.frames["ticket_events"].to_native().collect()
    assert found["new_value"].to_list() == ["b"]


def test_one_file_may_feed_several_tables(tmp_path):
    mapping = (
        "headers: [Id, Score]\ntables:\n"
        "  calls: {columns: {call_id: Id, agent_id: A}}\n"
        "  surveys: {columns: {survey_id: Id, score: Score},"
        " only: {Score: {present: true}}}\n"
    )
    data = "Id,A,Score\n1,x,5\n2,y,\n"
    got = run(tmp_path, mapping, data)
    assert got.rows == {"calls": 2, "surveys": 1}
    assert [i.table for i in got.inputs] == ["calls", "surveys"]


def test_origins_and_the_zone_are_the_mappings(tmp_path):
    mapping = (
        "timezone: Asia/Tokyo\n" + BASE + "  resolved: B\n  started_at: When\n"
        "origin: {calls.resolved: system}\n"
    )
    got = run(tmp_path, mapping, DATA.replace(",10,", ",yes,").replace(",20,", ",n,"))
    assert got.origin("calls.resolved") == "system"
    assert got.timezone == "Asia/Tokyo"
    found = got.frames["calls"].to_native().collect()
    assert found["started_at"][0] == ms(2026, 3, 2, 1)
    assert found["hour"][0] == 10


def test_a_file_without_a_header_row(tmp_path):
    mapping = "header: [Id, A, B, When]\n" + BASE + "  agent_id: A\n"
    found = calls(tmp_path, mapping, DATA.split("\n", 1)[1])
    assert found["agent_id"].to_list() == ["x", "y"]


def test_null_texts_of_the_whole_file(tmp_path):
    mapping = "null: [Y]\n" + BASE + "  agent_id: A\n"
    assert calls(tmp_path, mapping, DATA)["agent_id"].to_list() == ["x", None]


def test_dotted_paths_records_and_lists_in_json(tmp_path):
    document = {
        "meta": {"rows": [1]},
        "out": {
            "conversations": [
                {
                    "id": "K1",
                    "start": "2026-03-02T10:00:00Z",
                    "people": [
                        {"role": "agent", "user": {"id": "A1"}, "legs": [{"s": 5}]},
                        {"role": "customer", "legs": [{"s": 6}]},
                        {
                            "role": "agent",
                            "user": {"id": "A2"},
                            "legs": [{"s": 7}, {"s": 8}],
                        },
                    ],
                }
            ]
        },
    }
    mapping = (
        "records: out.conversations\nexplode: people[].legs[]\ntable: calls\ncolumns:\n"
        "  call_id: id\n  started_at: start\n  agent_id: people[].user.id\n"
        "  talk_s: people[].legs[].s\nonly: {'people[].role': agent}\n"
    )
    (tmp_path / "map.yaml").write_text(mapping)
    (tmp_path / "c.json").write_text(json.dumps(document))
    got = load([tmp_path / "c.json"], mapping=tmp_path / "map.yaml")
    found = got.frames["calls"].to_native().collect()
    assert found["agent_id"].to_list() == ["A1", "A2", "A2"]
    assert found["talk_s"].to_list() == [5, 7, 8]


def test_mappings_hold_for_parquet_too(tmp_path):
    mapping = BASE + (
        "  agent_id: {column: A, null: [y]}\n  talk_s: {column: B, unit: min}\n"
        "  started_at: When\n  ended_by: {column: A, values: {x: agent, '*': system}}\n"
        "  answered_at: {column: When, plus: [B], plus_unit: s}\ndrop: {Id: '3'}\n"
        "keep: newest by B\n"
    )
    frame = pl.DataFrame(
        {
            "Id": [1, 2, 3, 1],
            "A": ["x", "y", "x", "x"],
            "B": [10, 20, 30, 5],
            "When": [datetime(2026, 3, 2, 10)] * 4,  # noqa: DTZ001  # naive on purpose
        }
    )
    frame.write_parquet(tmp_path / "export.parquet")
    (tmp_path / "map.yaml").write_text(mapping)
    got = load([tmp_path / "export.parquet"], mapping=tmp_path / "map.yaml")
    found = got.frames["calls"].to_native().collect().sort("call_id")
    assert found.select("call_id", "agent_id", "talk_s", "ended_by").rows() == [
        ("1", "x", 600.0, "agent"),
        ("2", None, 1200.0, "system"),
    ]
    assert found["answered_at"][0] == ms(2026, 3, 2, 10, 0, 10)


def test_a_canonical_file_but_for_one_column(tmp_path):
    mapping = (
        "table: calls\ncanonical: true\ncolumns: {talk_s: {column: dur, unit: ms}}\n"
    )
    found = calls(tmp_path, mapping, "call_id,agent_id,dur\n1,a,500\n")
    assert found.select("call_id", "agent_id", "talk_s").row(0) == ("1", "a", 0.5)


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ("table: cals\ncolumns: {call_id: Id}", "Did you mean 'calls'"),
        (BASE + "  agnet_id: A", "Did you mean 'agent_id'"),
        (BASE + "colums: {}", "unknown key 'colums'. Did you mean 'columns'"),
        (BASE + "  talk_s: {column: B, unit: sec}", "no unit 'sec'"),
        (BASE + "  talk_s: {column: B, constant: 1}", "exactly one of"),
        (BASE + "  talk_s: {colum: B}", "Did you mean 'column'"),
        (BASE + "origin: {agent_id: agnet}", "Did you mean 'agent'"),
        (BASE + "timezone: Europe/Warsav", "Did you mean 'Europe/Warsaw'"),
        (BASE + "keep: latest", "newest by COLUMN"),
        (BASE + "values: {ended_by: {a: b}}", "which 'columns' does not map"),
        (BASE + "  agent_id: Agnt", "has no column 'Agnt'"),
        (BASE + "drop: {A: {abov: 1}}", "Did you mean 'above'"),
        (BASE + "  reason: {column: A, extract: '('}", "no regular expression"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("table: calls\ntable: calls\ncolumns: {call_id: Id}", "stands twice"),
        ("- [", "Mend the YAML"),
        ("just text", "'key: value'"),
        ("", "is empty"),
        ("columns: {call_id: Id}", "either 'table'"),
        ("[" * 5000, "Mend the YAML"),
        ("!!python/object/apply:os.system [ls]", "Mend the YAML"),
    ],
)
def test_slips_are_answered(tmp_path, mapping, says):
    with pytest.raises(RuleError) as caught:
        run(tmp_path, mapping, DATA)
    assert says in str(caught.value)
    assert "map.yaml" in str(caught.value)


def test_a_missing_mapping_file_is_an_error(tmp_path):
    (tmp_path / "calls.csv").write_text("call_id,agent_id,queue\n1,2,3\n")
    with pytest.raises(RuleError, match="no such mapping file"):
        load([tmp_path], mapping=tmp_path / "gone.yaml")


def test_a_mapping_that_fits_no_file_is_not_passed_over(tmp_path):
    mapping = """
- headers: [Anruf, Dauer]
  table: calls
  columns: {call_id: Anruf, talk_s: Dauer}
"""
    data = "call_id,agent_id,talk_s\n1,7,60\n"
    (note,) = run(tmp_path, mapping, data).notes
    assert note.kind == "unused-mapping"
    assert "export.csv lacks Anruf, Dauer of its 'headers'" in note.detail
    found = examine([tmp_path / "export.csv"], mapping=tmp_path / "map.yaml")
    assert [n.kind for n in found.notes] == ["unused-mapping"]
    with pytest.raises(TableError, match="does not fit: the file lacks Dauer of its"):
        run(tmp_path, mapping, "Anruf,Agent\n1,7\n")


def test_optional_columns_may_be_missing(tmp_path):
    mapping = BASE + "  agent_id: {column: Gone, optional: true}\n"
    assert calls(tmp_path, mapping, DATA).columns[:1] == ["call_id"]


def test_texts_in_yaml_stay_texts():
    item = read_yaml(
        "{a: 007, b: NO, c: 2026-03-02, d: 1:30, e: 0x1F, null: ~}", where="x"
    )
    assert item == [
        {
            "a": "007",
            "b": "NO",
            "c": "2026-03-02",
            "d": "1:30",
            "e": "0x1F",
            "null": None,
        }
    ]


@pytest.fixture
def presets(monkeypatch):
    """Stand in for the shipped presets."""
    texts = (
        (
            "name: alpha\nheaders: [Key, Who]\n"
            "table: calls\ncolumns: {call_id: Key, agent_id: Who, queue: Maybe}"
        ),
        (
            "name: beta\nheaders: [Key, Who, Extra]\n"
            "table: calls\ncolumns: {call_id: Key, agent_id: Extra}"
        ),
        (
            "name: gamma\nheaders: [Key, Other]\ntable: surveys\n"
            "columns: {survey_id: Key, score: Other}"
        ),
        "name: delta\nheaders: [Other, Key]\ntable: calls\ncolumns: {call_id: Key}",
    )
    found = tuple(
        read_mapping(read_yaml(t, where="p")[0], where="p", fallback="p", shipped=True)
        for t in texts
    )
    monkeypatch.setattr("kpiaudit.tables.recognise.read_presets", lambda: found)


def test_presets_are_recognised_by_their_headers(tmp_path, presets):
    path = tmp_path / "x.csv"
    path.write_text(" who ,KEY,z\na,1,2\nb,2,3\n")
    data = load([path])
    assert data.inputs[0].preset == "alpha"
    assert examine([path]).files[0].unmapped == ("z",)
    path.write_text("who,KEY,Extra\na,1,2\n")
    assert load([path]).inputs[0].preset == "beta"
    assert load([path], preset="alpha").inputs[0].preset == "alpha"


def test_two_presets_that_fit_equally_are_an_error(tmp_path, presets):
    path = tmp_path / "x.csv"
    path.write_text("Other,Key\n1,2\n")
    with pytest.raises(TableError, match="delta and gamma fit equally"):
        load([path])
    assert load([path], preset="gamma").rows == {"surveys": 1}
    assert load(tables={"calls": path}).rows == {"calls": 1}


def test_unknown_and_unfitting_presets_are_errors(tmp_path, presets):
    path = tmp_path / "x.csv"
    path.write_text("Other,Else\n1,2\n")
    with pytest.raises(RuleError, match="Did you mean 'gamma'"):
        load([path], preset="gama")
    with pytest.raises(TableError, match="needs the columns Key, Who"):
        load([path], preset="alpha")
    # Half of its headers do, if the record's id is among them.
    path.write_text("Other,Key\n1,2\n")
    assert load([path], preset="alpha").rows == {"calls": 1}
    path.write_text("Other,Who\n1,2\n")
    with pytest.raises(TableError, match="needs the columns Key,"):
        load([path], preset="alpha")


def test_canonical_headers_go_before_presets(tmp_path, presets):
    path = tmp_path / "x.csv"
    path.write_text("call_id,agent_id,queue,Key,Who\n1,2,3,4,5\n")
    assert load([path]).inputs[0].preset == "canonical"


def test_the_shipped_example_is_in_the_grammar():
    folder = Path(__file__).parents[2] / "docs" / "examples"
    for path in folder.glob("*bank*.yaml"):
        assert read_mappings(path)
