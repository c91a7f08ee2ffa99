"""The page of `inspect`: a person who never saw the canonical tables understands it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kpiaudit.cli.inspect import columns_missing
from kpiaudit.cli.inspection import page
from kpiaudit.rulebook import read_rules
from kpiaudit.tables.examine import examine

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

FIXTURES = Path(__file__).parents[1] / "tables" / "presets" / "fixtures"
HEAD = "call_id,agent_id,started_at,talk_s,ended_by,wrap\n"


def shown(*paths: Path) -> str:
    rules = read_rules()
    found = examine(paths)
    return page(found, rules, {r.id: columns_missing(r, found.present) for r in rules})


@pytest.mark.parametrize(
    "name",
    ["amazon-connect-contact-records", "asterisk-queue-log", "qualtrics-responses"],
)
def test_the_page_of_an_export(
    name: str, snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(FIXTURES / name)
    (export,) = (f for f in Path().iterdir() if f.name != "expected.yaml")
    text = shown(export)
    assert text == snapshot
    assert max(map(len, text.splitlines())) <= 100


def test_damage_is_shown_with_examples(tmp_path: Path) -> None:
    rows = [
        f"C{i:03d},A{i % 5},2026-03-{1 + i % 28:02d} 10:00:00,60,agent,5\n"
        for i in range(99)
    ]
    rows[7] = rows[7].replace(",60,", ",sixty,")
    rows.insert(9, "C999,A1\n")
    path = tmp_path / "calls.csv"
    path.write_text(HEAD + "".join(rows), encoding="utf-8")
    text = " ".join(shown(path).split())
    assert "99 read, 1 rejected" in text
    assert "1 cell could not be read" in text
    assert "such as 'sixty' (first in data rows 8)" in text
    assert "first: data rows 10" in text
    assert "not used: wrap" in text


def test_an_empty_column_enables_no_rule(tmp_path: Path) -> None:
    rows = [
        f"C{i:03d},A{i % 5},2026-03-{1 + i % 28:02d} 10:00:00,,agent,\n"
        for i in range(99)
    ]
    (tmp_path / "calls.csv").write_text(HEAD + "".join(rows), encoding="utf-8")
    text = " ".join(shown(tmp_path / "calls.csv").split())
    assert "no duration-cap" in text
    assert "Missing: calls.talk_s (conversation without hold)" in text
    assert "'talk_s: THAT NAME' in a mapping file" in text
    assert "no survey-selection" in text
    assert "It needs surveys (one row per invitation" in text


def test_who_wrote_what_is_said_in_words(tmp_path: Path) -> None:
    rows = [
        f"C{i:03d},A{i % 5},2026-03-{1 + i % 28:02d} 10:00:00,60,agent,\n"
        for i in range(99)
    ]
    (tmp_path / "calls.csv").write_text(HEAD + "".join(rows), encoding="utf-8")
    system, steered = shown(tmp_path / "calls.csv").split("Recorded by a system")
    assert "call_id" in system.split("Written by a system")[1]
    assert "ended_by" in steered
    assert "ended_by" not in system


def test_a_file_that_can_not_be_used_is_told_beside_others(tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text(HEAD, encoding="utf-8")
    text = shown(tmp_path / "calls.csv")
    assert "can't be used" in text
    assert "no rows below the header" in text


def test_many_useful_columns_are_counted_after_the_first(tmp_path: Path) -> None:
    rows = [f"C{i:03d},A{i % 5},2026-03-{1 + i % 28:02d},60,agent,\n" for i in range(9)]
    (tmp_path / "calls.csv").write_text(HEAD + "".join(rows), encoding="utf-8")
    bonus = "scheme_id,kpi,threshold\nS1,average_handle_time,420\n"
    (tmp_path / "incentives.csv").write_text(bonus, encoding="utf-8")
    text = shown(tmp_path / "calls.csv", tmp_path / "incentives.csv")
    more = " ".join(text.split()).split("It would see more with")[1].split(".csv")[0]
    assert "more ('kpiaudit explain duration-cap' names them)" in more


def test_a_page_on_broken_files_alone_lists_no_rules(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("call_id,agent_id\n", encoding="utf-8")
    text = told(path)
    assert "can't be used: there are no rows below the header" in text
    assert "No rule can run until a file can be used." in text
    assert "short-calls" not in text


def test_a_half_canonical_file_says_how_far_it_is_canonical(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("call_id,talk_s,server\n1,60,A\n2,61,B\n", encoding="utf-8")
    text = told(path)
    assert "because: 2 of its 3 headers are canonical" in text
    assert "'agent_id: THAT NAME' in a mapping file with 'canonical: true'" in text


def told(*paths: Path) -> str:
    return " ".join(shown(*paths).split())


def test_a_column_of_the_same_name_is_named_where_a_preset_reads_it() -> None:
    text = told(FIXTURES / "freshdesk-tickets-api" / "export.ndjson")
    assert "priority from priority (1 = low, 2 = medium, 3 = high, 4 = urgent)" in text


def test_rows_that_a_preset_leaves_out_are_told_with_the_reason() -> None:
    text = told(FIXTURES / "freshdesk-tickets-api" / "export.ndjson")
    assert "1 row was left out: those where deleted is true, or spam is true" in text
    text = told(FIXTURES / "zendesk-talk-legs" / "export.json")
    assert "1 row was left out: all but those where type is agent" in text


def test_what_a_preset_lacks_is_to_be_added_to_a_copy_of_it() -> None:
    text = told(FIXTURES / "qualtrics-responses" / "export.csv")
    assert "under other names, write 'agent_id: THAT NAME' in a copy of the" in text
    assert "('kpiaudit presets qualtrics-responses > mapping.yaml')" in text
