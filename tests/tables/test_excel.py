"""Excel workbooks: every cell read as it was meant, and no sheet taken by guess."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import xlsxwriter

from kpiaudit.errors import TableError
from kpiaudit.tables.examine import examine
from kpiaudit.tables.load import load

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

HEAD = ["call_id", "agent_id", "started_at", "talk_s", "wait_s", "reason"]
START = datetime(2026, 3, 1, 8, 0, 0)  # noqa: DTZ001  # as a sheet holds it


def rows(n: int = 40) -> list[list[object]]:
    return [
        [f"C{i:03d}", f"{i % 7:03d}", START + timedelta(hours=7 * i), 60 + i, i, "bill"]
        for i in range(n)
    ]


def book(path: Path, sheets: dict[str, list[list[object]]], *, hide=()) -> Path:
    """Write a workbook; a timedelta is a duration, a tuple a number and its format."""
    with xlsxwriter.Workbook(str(path)) as out:
        formats: dict[str, object] = {}

        def form(text: str) -> object:
            return formats.setdefault(text, out.add_format({"num_format": text}))

        for name, lines in sheets.items():
            sheet = out.add_worksheet(name)
            if name in hide:
                sheet.hide()
            for i, line in enumerate(lines):
                for j, cell in enumerate(line):
                    if isinstance(cell, datetime):
                        look = form("yyyy-mm-dd hh:mm:ss")
                        sheet.write_datetime(i, j, cell, look)
                    elif isinstance(cell, timedelta):
                        sheet.write(i, j, cell / timedelta(days=1), form("[h]:mm:ss"))
                    elif isinstance(cell, tuple):
                        sheet.write(i, j, cell[0], form(cell[1]))
                    elif cell is not None:
                        sheet.write(i, j, cell)
    return path


def calls(data) -> pl.DataFrame:
    return data.frames["calls"].to_native().collect().sort("call_id")


def test_a_sheet_is_read_as_its_csv_would_be(tmp_path):
    path = book(tmp_path / "calls.xlsx", {"Sheet1": [HEAD, *rows()]})
    lines = [",".join(map(str, row)) for row in [HEAD, *rows()]]
    (tmp_path / "calls.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    got, wanted = load([path]), load([tmp_path / "calls.csv"])
    assert calls(got).equals(calls(wanted))
    (one,) = got.inputs
    assert (one.path, one.rows, one.preset) == (str(path), 40, "canonical")
    assert len(one.sha256) == 64


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        (timedelta(minutes=3, seconds=9), 189),
        (timedelta(hours=27, minutes=3, seconds=9), 97_389),
        (timedelta(days=100, hours=6), 100.25 * 86_400),
        (timedelta(seconds=59), 59),
        (timedelta(0), 0),
        (((8 * 60 + 1) / 1440, "hh:mm:ss"), 8 * 3600 + 60),
        ((189.5 / 86_400, "mm:ss.0"), 189.5),
        (189, 189),
        ("00:03:09", 189),
    ],
)
def test_durations_are_days_in_excel(tmp_path, cell, seconds):
    lines = rows()
    for line in lines:
        line[4] = cell
    path = book(tmp_path / "calls.xlsx", {"calls": [HEAD, *lines]})
    assert set(calls(load([path]))["wait_s"].to_list()) == {seconds}


def test_words_among_numbers_do_not_empty_them(tmp_path):
    lines = rows()
    lines[5][3] = "n/a"
    lines[6][3] = "broken"
    path = book(tmp_path / "calls.xlsx", {"calls": [HEAD, *lines]})
    data = load([path])
    assert calls(data)["talk_s"].null_count() == 2
    (note,) = [n for n in data.notes if n.kind == "unreadable-cells"]
    assert note.count == 1
    assert "broken" in note.detail


def test_too_many_words_are_refused(tmp_path):
    lines = rows()
    for line in lines[:5]:
        line[3] = "broken"
    path = book(tmp_path / "calls.xlsx", {"calls": [HEAD, *lines]})
    with pytest.raises(TableError, match="can't be read as talk_s"):
        load([path])


def test_date_and_time_in_two_columns(tmp_path):
    head = ["Call", "Agent", "Day", "Time", "Talk"]
    day = (START - datetime(1899, 12, 30)).days  # noqa: DTZ001
    lines = [
        [f"C{i}", "A", (day + i, "dd/mm/yyyy"), (i / 1440, "hh:mm"), 60]
        for i in range(30)
    ]
    mapping = tmp_path / "map.yaml"
    mapping.write_text(
        "table: calls\ncolumns:\n  call_id: Call\n  agent_id: Agent\n"
        "  started_at: {date: Day, time: Time}\n  talk_s: Talk\n",
        encoding="utf-8",
    )
    path = book(tmp_path / "export.xlsx", {"Export": [head, *lines]})
    stamps = calls(load([path], mapping=mapping))["started_at"]
    assert stamps.null_count() == 0
    assert stamps.diff().drop_nulls().is_between(0, 86_400_000 * 30).any()
    assert stamps.min() == 1_772_323_200_000


def test_plain_serials_are_dates(tmp_path):
    lines = rows()
    for line in lines:
        line[2] = (line[2] - datetime(1899, 12, 30)) / timedelta(days=1)  # noqa: DTZ001
    path = book(tmp_path / "calls.xlsx", {"calls": [HEAD, *lines]})
    assert calls(load([path]))["started_at"].min() == 1_772_352_000_000


def test_title_lines_empty_rows_and_totals(tmp_path):
    lines = [["Report of March"], [], HEAD, *rows(), [], ["Total", None, None, 3180]]
    path = book(tmp_path / "calls.xlsx", {"calls": lines})
    data = load([path])
    assert data.inputs[0].rows == 40
    assert "footer" in {note.kind for note in data.notes}


def test_the_recognised_sheet_is_taken_and_the_others_are_noted(tmp_path):
    about = [["Export"], ["by", "system"], ["at", "noon"]]
    path = book(
        tmp_path / "export.xlsx",
        {"About": about, "Data": [HEAD, *rows()], "Old": [HEAD, *rows()]},
        hide=["Old"],
    )
    data = load([path])
    assert [i.path for i in data.inputs] == [f"{path}/Data"]
    kinds = {note.kind: note.detail for note in data.notes}
    assert "About" in kinds["unrecognised-file"]
    reports = examine([path]).files
    assert [bool(r.tables) for r in reports] == [False, True]
    assert not any(r.error for r in reports)


def test_hidden_sheets_are_said(tmp_path):
    path = book(
        tmp_path / "calls.xlsx",
        {"Data": [HEAD, *rows()], "Old": [HEAD, *rows()]},
        hide=["Old"],
    )
    data = load([path])
    (note,) = [n for n in data.notes if n.kind == "hidden-sheets"]
    assert "Old" in note.detail


def test_sheets_of_two_tables_are_both_read(tmp_path):
    surveys = [
        ["survey_id", "call_id", "score"],
        *[[f"S{i}", "C1", 9] for i in range(9)],
    ]
    path = book(tmp_path / "month.xlsx", {"calls": [HEAD, *rows()], "surveys": surveys})
    assert [i.table for i in load([path]).inputs] == ["calls", "surveys"]


def test_two_sheets_of_one_table_are_refused(tmp_path):
    path = book(
        tmp_path / "calls.xlsx", {"Jan": [HEAD, *rows()], "Feb": [HEAD, *rows()]}
    )
    with pytest.raises(TableError, match="'Jan' and 'Feb' both hold calls"):
        load([path])
    assert "both hold" in examine([path]).files[1].error


def test_a_workbook_of_which_no_sheet_is_recognised_is_an_error(tmp_path):
    some = [["x", "y"], [1, 2], [3, 4]]
    path = book(tmp_path / "book.xlsx", {"a": some, "b": some})
    with pytest.raises(TableError, match="recognised"):
        load([path])


def test_an_empty_workbook_is_an_error(tmp_path):
    with pytest.raises(TableError, match="empty"):
        load([book(tmp_path / "calls.xlsx", {"calls": []})])
    with pytest.raises(TableError, match="no rows below the header"):
        load([book(tmp_path / "calls.xlsx", {"calls": [HEAD]})])


def test_a_cut_workbook_is_an_error(tmp_path):
    path = book(tmp_path / "calls.xlsx", {"calls": [HEAD, *rows()]})
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(TableError, match="cut off or damaged"):
        load([path])


def test_rounded_ids_are_said(tmp_path):
    lines = rows()
    for i, line in enumerate(lines):
        line[0] = 12_345_678_901_234_567_000 + i * 4096
    path = book(tmp_path / "calls.xlsx", {"calls": [HEAD, *lines]})
    assert "ids-in-e-notation" in {note.kind for note in load([path]).notes}


def test_long_ids_that_are_text_are_left_alone(tmp_path):
    lines = rows()
    for i, line in enumerate(lines):
        line[0] = str(12_345_678_901_234_567_891 + i)
    path = book(tmp_path / "calls.xlsx", {"calls": [HEAD, *lines]})
    data = load([path])
    assert calls(data)["call_id"][0] == "12345678901234567891"
    assert "ids-in-e-notation" not in {note.kind for note in data.notes}


def test_without_the_extra_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = book(tmp_path / "calls.xlsx", {"calls": [HEAD, *rows()]})
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(TableError, match=r"pip install kpiaudit\[excel\]"):
        load([path])
    (report,) = examine([path]).files
    assert "pip install" in report.error


def test_other_sheets_of_a_workbook_that_bears_a_tables_name_are_noted(tmp_path):
    rows = [["call_id", "agent_id", "started_at", "talk_s"]]
    rows += [[f"C{i}", "A1", START, 60] for i in range(5)]
    path = tmp_path / "calls.xlsx"
    book(path, {"Pivot": [["Agent", "Sum"], ["A1", 300]], "data": rows})
    data = load([path])
    assert data.rows["calls"] == 5
    assert [n.kind for n in data.notes if "Pivot" in n.detail] == ["unrecognised-file"]
    (tmp_path / "tickets-1.csv").write_text(
        "ticket_id,agent_id,opened_at\nT,A,2026-03-02\n"
    )
    book(
        path, {"Pivot": [["Agent", "Sum"], ["A1", 300]], "Notes": [["a", "b"], [1, 2]]}
    )
    with pytest.raises(TableError, match="named like the table 'calls'"):
        load([tmp_path])
