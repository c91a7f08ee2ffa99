"""How exports break, one test a way: nothing broken passes as clean."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import polars as pl
import pytest

from kpiaudit.errors import TableError
from kpiaudit.tables.examine import examine
from kpiaudit.tables.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from kpiaudit.tables.dataset import Dataset

HEAD = ["call_id", "agent_id", "customer_id", "started_at", "talk_s", "reason"]
START = datetime(2026, 3, 1, 8, 0, 0, tzinfo=UTC)


def table(n: int = 60) -> list[list[str]]:
    """Return rows of a sound export."""
    return [
        [
            f"C{i:04d}",
            f"{i % 7:03d}",
            str(100 + i % 9),
            f"{START + timedelta(hours=7 * i):%Y-%m-%d %H:%M:%S}",
            str(60 + i),
            "billing",
        ]
        for i in range(n)
    ]


def text(rows: list[list[str]], sep: str = ",", eol: str = "\n") -> str:
    return "".join(sep.join(row) + eol for row in [HEAD, *rows])


def write(folder: Path, data: str | bytes, name: str = "calls.csv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def frame(data: Dataset) -> pl.DataFrame:
    return data.frames["calls"].to_native().collect().sort("call_id")


def read(folder: Path, data: str | bytes, name: str = "calls.csv", **options):
    return load([write(folder, data, name)], **options)


def kinds(data: Dataset) -> dict[str, int]:
    return {n.kind: n.count for n in data.notes}


def column(folder: Path, name: str, values: list[str], sep: str = ",", **options):
    """Read an export with these cells in one column; return them as read."""
    rows = table(len(values))
    for row, value in zip(rows, values, strict=True):
        row[HEAD.index(name)] = value
    return frame(read(folder, text(rows, sep), **options))[name].to_list()


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def clean(tmp_path):
    return frame(read(tmp_path, text(table())))


@pytest.mark.parametrize("line", ["C9999,001,5", "C9999,1,2,2026-03-02,5,a,b,c", "x"])
def test_rows_with_too_few_or_too_many_fields_are_rejected(tmp_path, clean, line):
    lines = text(table()).splitlines(keepends=True)
    data = read(tmp_path, "".join([*lines[:30], line + "\n", *lines[30:]]))
    assert frame(data).equals(clean)
    assert data.inputs[0].rejected == 1
    note = next(n for n in data.notes if n.kind == "rejected-rows")
    assert "data rows 30" in note.detail


def test_an_unquoted_comma_in_a_text_does_not_shift_columns(tmp_path):
    rows = table()
    rows[10][5] = "late, again"
    data = read(tmp_path, text(rows))
    assert data.inputs[0].rejected == 1
    assert data.rows["calls"] == 59


def test_too_many_broken_rows_make_the_file_unusable_unless_allowed(tmp_path):
    rows = table()
    for row in rows[:6]:
        row.append("more")
    path = write(tmp_path, text(rows))
    with pytest.raises(TableError, match=r"6 of 60 rows \(10\.0%\).*--max-unreadable"):
        load([path])
    assert load([path], max_unreadable=0.2).rows["calls"] == 54


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path, clean):
    assert frame(read(tmp_path, b"\xef\xbb\xbf" + text(table()).encode())).equals(clean)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_read(tmp_path, clean, encoding):
    assert frame(read(tmp_path, text(table()).encode(encoding))).equals(clean)


def test_latin1_far_down_keeps_names_apart(tmp_path):
    rows = table(3000)
    rows[2998][1], rows[2999][1] = "Jos\xe9", "Jos\xe8"
    data = read(tmp_path, text(rows).encode("cp1252"))
    assert {"Jos\xe9", "Jos\xe8"} <= set(frame(data)["agent_id"])
    assert "encoding" in kinds(data)


def test_bytes_broken_in_an_utf8_file_cost_their_row_only(tmp_path):
    rows = table()
    for row in rows[:9]:
        row[5] = "zażółć"
    broken = text(rows).encode().replace(b"C0004,", b"C\xff04,")
    data = read(tmp_path, broken)
    assert data.inputs[0].rejected == 1
    assert "zażółć" in frame(data)["reason"].to_list()


@pytest.mark.parametrize("sep", [";", "\t", "|"])
def test_other_separators_are_found(tmp_path, clean, sep):
    assert frame(read(tmp_path, text(table(), sep))).equals(clean)


def test_excels_sep_line_is_obeyed(tmp_path, clean):
    assert frame(read(tmp_path, "sep=;\n" + text(table(), ";"))).equals(clean)


def test_a_file_of_one_column_is_refused(tmp_path):
    with pytest.raises(TableError, match="only one column"):
        read(tmp_path, "call_id\nC1\nC2\n")


def test_decimal_commas_and_thousands_points(tmp_path):
    values = ["12,5", "1.419,25", "7", "1.000"] * 5
    assert column(tmp_path, "talk_s", values, ";")[:4] == [12.5, 1419.25, 7.0, 1000.0]


def test_decimal_commas_in_quotes(tmp_path):
    values = ['"12,5"', '"3,25"', "7", '"1,125"'] * 5
    assert column(tmp_path, "talk_s", values)[:4] == [12.5, 3.25, 7.0, 1.125]


def test_thousands_commas_do_not_lose_the_large_values(tmp_path):
    values = ['"1,234"', "999", '"1,234.5"', "12.25"] * 5
    assert column(tmp_path, "talk_s", values)[:4] == [1234.0, 999.0, 1234.5, 12.25]


def test_thousands_points_without_any_comma(tmp_path):
    rows = [[*r[:4], "1.234" if i == 7 else r[4], r[5]] for i, r in enumerate(table())]
    assert frame(read(tmp_path, text(rows, ";")))["talk_s"][7] == 1234.0
    # With commas between the fields, or decimals elsewhere, a point is a point.
    assert frame(read(tmp_path, text(rows)))["talk_s"][7] == 1.234
    rows[9][4] = "60.5"
    assert frame(read(tmp_path, text(rows, ";")))["talk_s"][7] == 1.234


def test_spaces_as_thousands_marks(tmp_path):
    values = ["1 234,5", "1\u00a0234,5", "999,25"]
    assert column(tmp_path, "talk_s", values, ";") == [1234.5, 1234.5, 999.25]


def test_quoted_newlines_and_doubled_quotes(tmp_path):
    rows = table()
    rows[3][5] = '"said ""no"",\nthen hung up\n"'
    rows[59][5] = '"last\nline"'
    data = read(tmp_path, text(rows))
    assert data.inputs[0].rejected == 0
    assert frame(data)["reason"][3] == 'said "no",\nthen hung up'
    assert frame(data)["reason"][59] == "last\nline"


def test_an_unclosed_quote_costs_one_row(tmp_path):
    rows = table(300)
    rows[20][5] = '"never closed'
    rows[200][5] = '"closed, here"'
    data = read(tmp_path, text(rows))
    assert (data.rows["calls"], data.inputs[0].rejected) == (299, 1)


def test_an_unclosed_quote_in_a_fully_quoted_file_costs_one_row(tmp_path):
    rows = [[f'"{cell}"' for cell in row] for row in table(300)]
    rows[20][2] = '"100'
    data = read(tmp_path, text(rows))
    assert (data.rows["calls"], data.inputs[0].rejected) == (299, 1)


def test_two_stray_quotes_do_not_swallow_the_rows_between_them(tmp_path):
    rows = table(300)
    rows[20][5] = '"opened'
    rows[40][5] = 'closed"'
    data = read(tmp_path, text(rows))
    assert data.rows["calls"] >= 298
    assert data.rows["calls"] + data.inputs[0].rejected == 300


def test_a_quote_inside_an_unquoted_field_is_ink(tmp_path):
    rows = table(300)
    rows[20][5] = '5" pipe'
    rows[30][5] = 'the "big" one'
    data = read(tmp_path, text(rows))
    assert data.inputs[0].rejected == 0
    assert frame(data)["reason"][20] == '5" pipe'
    assert frame(data)["reason"][30] == 'the "big" one'


def test_month_first_dates_are_told_by_a_day_above_twelve(tmp_path):
    values = ["01/02/2026 10:00", "12/31/2025 10:00", "03/04/2026 10:00"]
    found = column(tmp_path, "started_at", values)
    assert found[:2] == [ms(2026, 1, 2, 10), ms(2025, 12, 31, 10)]


def test_day_first_dates_are_told_by_a_day_above_twelve(tmp_path):
    values = ["01/02/2026 10:00:00", "31/12/2025 10:00:00"]
    found = column(tmp_path, "started_at", values)
    assert found == [ms(2026, 2, 1, 10), ms(2025, 12, 31, 10)]


def test_dates_with_dots_are_day_first(tmp_path):
    values = ["01.02.2026 10:00", "03.04.2026 10:00"]
    assert column(tmp_path, "started_at", values)[0] == ms(2026, 2, 1, 10)


def test_dates_that_may_be_either_ask_for_a_mapping(tmp_path):
    values = ["01/02/2026 10:00", "03/04/2026 10:00"]
    with pytest.raises(TableError, match=r"can't be told apart.*format"):
        column(tmp_path, "started_at", values)
    mapping = write(
        tmp_path,
        "table: calls\ncanonical: true\ncolumns:\n"
        '  started_at: {column: started_at, format: "%m/%d/%Y %H:%M"}\n',
        "map.yaml",
    )
    found = column(tmp_path, "started_at", values, mapping=mapping)
    assert found[0] == ms(2026, 1, 2, 10)


def test_dates_in_both_orders_are_refused(tmp_path):
    values = ["31/01/2026 10:00", "01/31/2026 10:00", "02/03/2026 10:00"]
    with pytest.raises(TableError, match="others only month/day"):
        column(tmp_path, "started_at", values)


def test_offsets_and_zones_are_honoured(tmp_path):
    values = [
        "2026-03-02T10:00:00Z",
        "2026-03-02T10:00:00+02:00",
        "2026-03-02 10:00:00.250 -0530",
        "2026-03-02T10:00:00",
        "2026-03-02 10:00",
    ]
    found = column(tmp_path, "started_at", values, timezone="Europe/Warsaw")
    assert found == [
        ms(2026, 3, 2, 10),
        ms(2026, 3, 2, 8),
        ms(2026, 3, 2, 15, 30) + 250,
        ms(2026, 3, 2, 9),
        ms(2026, 3, 2, 9),
    ]


@pytest.mark.parametrize(
    "values",
    [
        ["1772445600", "1772449200"],
        ["1772445600000", "1772449200000"],
        ["1772445600.0", "1.7724492E+09"],
        ["1772445600000000", "1772449200000000"],
        ["20260302100000", "20260302110000"],
        ["46083.4166666667", "46083.4583333333"],
        ["46083,4166666667", "46083,4583333333"],
        ["2026/03/02 10:00:00", "2026/03/02 11:00:00"],
        ["2-Mar-2026 10:00", "2-Mar-2026 11:00"],
        ["02 March 2026 10:00:00", "02 March 2026 11:00:00"],
        ["Mar 2, 2026 10:00 AM", "Mar 2, 2026 11:00 AM"],
        ["Mon, 02 Mar 2026 10:00:00 +0000", "Mon, 02 Mar 2026 12:00:00 +0100"],
        ["2026-03-02 10:00:00,000", "2026-03-02 11:00:00,000"],
        ["2.3.2026 10:00", "2.3.26 11:00"],
    ],
)
def test_instants_in_many_hands(tmp_path, values):
    found = column(tmp_path, "started_at", values, ";")
    assert found == [ms(2026, 3, 2, 10), ms(2026, 3, 2, 11)]


def test_twelve_hour_clocks(tmp_path):
    values = ["3/2/26 1:04 PM", "3/22/26 12:04 am", "3/2/2026 11:04:05 a.m."]
    found = column(tmp_path, "started_at", values)
    assert found == [
        ms(2026, 3, 2, 13, 4),
        ms(2026, 3, 22, 0, 4),
        ms(2026, 3, 2, 11, 4, 5),
    ]


def test_hours_that_happen_twice_or_never(tmp_path):
    rows = table(100)
    rows[0][3] = "2026-10-25 02:30:00"  # twice in Warsaw: the first is taken
    rows[1][3] = "2026-03-29 02:30:00"  # never
    data = read(tmp_path, text(rows), timezone="Europe/Warsaw")
    assert frame(data)["started_at"][0] == ms(2026, 10, 25, 0, 30)
    assert frame(data)["started_at"][1] is None
    assert kinds(data)["unreadable-cells"] == 1


def test_zoned_and_naive_files_of_one_table(tmp_path):
    rows = table(20)
    write(tmp_path, text(rows), "calls_1.csv")
    for row in rows:
        row[0] += "x"
        row[3] += "Z"
    write(tmp_path, text(rows), "calls_2.csv")
    data = load([tmp_path], timezone="Europe/Warsaw")
    got = dict(frame(data).select("call_id", "started_at").iter_rows())
    assert got["C0000x"] - got["C0000"] == 3_600_000


def test_dates_that_stand_for_none_are_empty(tmp_path):
    rows = table(100)
    for row, value in zip(
        rows, ["1900-01-01", "0000-00-00 00:00:00", "9999-12-31"], strict=False
    ):
        row[3] = value
    data = read(tmp_path, text(rows))
    assert kinds(data) == {"placeholder-dates": 3}


def test_clock_durations(tmp_path):
    values = [
        "1:05",
        "0:01:05",
        "26:00:00",
        "1 day, 2:00:00",
        "1.02:00:00",
        "00:01:05.5",
    ]
    want = [65, 65, 93600, 93600, 93600, 65.5]
    assert column(tmp_path, "talk_s", values, "|") == want
    words = ["1m 5s", "PT1M5S", "2h", "1h 0m 5s", "65 s", "-5"]
    assert column(tmp_path, "talk_s", words) == [65, 65, 7200, 3605, 65, None]


def test_milliseconds_taken_for_seconds_are_noted(tmp_path):
    rows = table(300)
    for row in rows:
        row[4] = str(int(row[4]) * 1001)
    assert {"unlikely-unit", "impossible-durations"} <= set(
        kinds(read(tmp_path, text(rows)))
    )


def test_ids_stay_text(tmp_path):
    values = ["007", "7", "12345678901234567890123", "1.0", "TRUE", "1e5"]
    assert column(tmp_path, "customer_id", values) == values


def test_ids_that_a_spreadsheet_rounded_are_noted(tmp_path):
    rows = table()
    for row in rows:
        row[2] = "4.92E+11"
    assert kinds(read(tmp_path, text(rows)))["ids-in-e-notation"] == 60


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_row_numbers_serve_where_every_id_of_the_rows_was_rounded(tmp_path, kind):
    path = tmp_path / f"calls.{kind}"
    frame = pl.DataFrame(
        {"call_id": ["4.92E+11"] * 3, "agent_id": ["1", "1", "2"], "talk_s": [60.0] * 3}
    )
    frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    data = load([path])
    assert data.has("calls.call_id")
    assert data.frames["calls"].to_native().collect()["call_id"].n_unique() == 3
    assert {"ids-in-e-notation", "no-key"} <= {n.kind for n in data.notes}


def test_a_key_that_is_empty_in_the_period_alone_is_still_there(tmp_path):
    path = tmp_path / "calls.csv"
    rows = [("1", 1), ("", 2), ("", 2)]
    lines = [f"{key},A{i},2026-03-0{d}T08:00:00Z\n" for i, (key, d) in enumerate(rows)]
    path.write_text("call_id,agent_id,started_at\n" + "".join(lines))
    data = load([path], since="2026-03-02")
    assert data.rows["calls"] == 2
    assert data.has("calls.call_id")


def test_ids_that_a_spreadsheet_rounded_are_nobodys(tmp_path):
    values = ["4.92E+11", "4,92E+11", "5E+3", "1e5", "4.92", "492000000000"]
    read_as = [None, None, None, "1e5", "4.92", "492000000000"]
    quoted = [f'"{value}"' for value in values]
    assert column(tmp_path, "customer_id", quoted) == read_as
    path = tmp_path / "calls.parquet"
    pl.DataFrame(
        {
            "call_id": [str(i) for i in range(6)],
            "customer_id": values,
            "talk_s": [60.0] * 6,
        }
    ).write_parquet(path)
    for engine in ("polars", "duckdb"):
        data = load([path], engine=engine)
        rows = data.table("calls").sort("call_id").select("customer_id").collect()
        assert rows["customer_id"].to_list() == read_as
        assert {n.kind: n.count for n in data.notes}["ids-in-e-notation"] == 3


def test_texts_that_stand_for_nothing_are_empty(tmp_path):
    values = ["NA", "null", "N/A", "-", "", "NaN", "#N/A", "none", "\\N", "60"]
    assert column(tmp_path, "talk_s", values) == [None] * 9 + [60.0]
    assert column(tmp_path, "reason", values) == [None] * 9 + ["60"]
    assert (
        column(tmp_path, "started_at", ["NA", *["2026-03-02 10:00:00"] * 9])[0] is None
    )


def test_unreadable_cells_are_counted_whatever_the_rules_use(tmp_path):
    rows = table(100)
    rows[41][4] = "abc"
    data = read(tmp_path, text(rows))
    note = next(n for n in data.notes if n.kind == "unreadable-cells")
    assert (note.count, "data rows 42" in note.detail) == (1, True)
    for row in rows[:7]:
        row[4] = "abc"
    with pytest.raises(TableError, match=r"talk_s.*'abc'.*--max-unreadable"):
        read(tmp_path, text(rows))


@pytest.mark.parametrize("data", ["", "\n\n\n", " \n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path, data):
    with pytest.raises(TableError, match="empty"):
        read(tmp_path, data)


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_a_file_with_a_header_only_is_refused(tmp_path, end):
    with pytest.raises(TableError, match="no rows"):
        read(tmp_path, ",".join(HEAD) + end)


def test_a_mapped_column_that_stands_twice_is_refused(tmp_path):
    lines = text(table()).replace("reason", "talk_s", 1)
    with pytest.raises(TableError, match="'talk_s' stands 2 times"):
        read(tmp_path, lines)


def test_headers_in_other_case_with_stray_spaces(tmp_path, clean):
    lines = text(table()).replace(
        ",".join(HEAD), " Call_ID ,AGENT_ID,Customer_Id,started_at , talk_s,Reason"
    )
    assert frame(read(tmp_path, lines)).equals(clean)


def test_nul_bytes_cost_their_row(tmp_path):
    rows = table()
    rows[5][5] = "bil\0ling"
    assert read(tmp_path, text(rows)).inputs[0].rejected == 1


def test_the_nul_tail_of_a_crashed_writer_is_no_row(tmp_path, clean):
    data = read(tmp_path, text(table()).encode() + b"\0" * 5000)
    assert frame(data).equals(clean)
    assert data.inputs[0].rejected == 1


def test_binary_rubbish_is_refused(tmp_path):
    with pytest.raises(TableError):
        read(tmp_path, bytes(range(256)) * 50)


@pytest.mark.parametrize("eol", ["\r", "\r\n", "\r\r\n"])
def test_other_line_ends(tmp_path, clean, eol):
    assert frame(read(tmp_path, text(table(), eol=eol))).equals(clean)


@pytest.mark.parametrize(
    "footer",
    [
        "Total rows: 60,,,,,",
        "Total,,,,5370,",
        "(60 rows)",
        "60 rows selected",
        "\nGrand Total,,,,5370,\n\n",
        '"Total: 60"',
        "\x1a",
        ",,,,,",
    ],
)
def test_a_footer_is_left_out(tmp_path, clean, footer):
    data = read(tmp_path, text(table()) + footer + "\n")
    assert frame(data).equals(clean)
    assert data.inputs[0].rejected == 0


def test_title_lines_above_the_header_are_skipped(tmp_path, clean):
    title = "Call detail report\nPeriod:,2026-03\n\n"
    assert frame(read(tmp_path, title + text(table()))).equals(clean)


def test_a_header_that_is_repeated_is_no_row(tmp_path, clean):
    lines = text(table()).splitlines(keepends=True)
    data = read(tmp_path, "".join([*lines[:20], lines[0], *lines[20:]]))
    assert frame(data).equals(clean)
    assert kinds(data) == {"repeated-header": 1}


def test_a_separator_at_the_end_of_every_row(tmp_path, clean):
    lines = text(table()).splitlines()
    everywhere = "".join(line + ",\n" for line in lines)
    assert frame(read(tmp_path, everywhere)).equals(clean)
    rows_only = lines[0] + "\n" + "".join(line + ",\n" for line in lines[1:])
    assert frame(read(tmp_path, rows_only)).equals(clean)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("calls.csv.gz", gzip.compress),
        ("calls.csv.gz", lambda b: gzip.compress(b[:500]) + gzip.compress(b[500:])),
        ("calls.csv.bz2", bz2.compress),
        ("calls.csv.xz", lzma.compress),
        ("calls.csv", gzip.compress),
    ],
)
def test_compressed_files_are_told_by_their_bytes(tmp_path, clean, name, pack):
    assert frame(read(tmp_path, pack(text(table()).encode()), name)).equals(clean)


def test_zstd_is_read(tmp_path, clean):
    zstd = pytest.importorskip("pyarrow")
    data = text(table()).encode()
    packed = zstd.compress(data, codec="zstd", asbytes=True)
    with zstd.output_stream(tmp_path / "calls.csv.zst", compression="zstd") as out:
        out.write(data)
    assert packed
    assert frame(load([tmp_path / "calls.csv.zst"])).equals(clean)


@pytest.mark.parametrize("cut", [0.5, 0.98])
def test_a_truncated_archive_is_refused(tmp_path, cut):
    packed = gzip.compress(text(table(500)).encode())
    with pytest.raises(TableError, match="cut off or damaged"):
        read(tmp_path, packed[: int(len(packed) * cut)], "calls.csv.gz")


def test_zip_archives_are_read_like_folders(tmp_path, clean):
    path = tmp_path / "march.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("calls.csv", text(table()))
        archive.writestr("readme.csv", "a,b\n1,2\n")
    data = load([path])
    assert frame(data).equals(clean)
    assert data.inputs[0].path.endswith("march.zip/calls.csv")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<html><body><table><tr><td>1</td></tr></table></body></html>", "web page"),
        (b"\n  <!DOCTYPE html>\n<html>", "web page"),
        (b"<?xml version='1.0'?><a/>", "XML"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "Excel"),
        (b"%PDF-1.7 ...", "PDF"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, data, says):
    with pytest.raises(TableError, match=says):
        read(tmp_path, data, "calls.xls")


def test_a_workbook_that_is_none_is_refused_with_advice(tmp_path):
    path = tmp_path / "calls.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(TableError, match="Save the sheet as CSV"):
        load([path])


def test_the_three_headers_of_a_survey_platform(tmp_path):
    mapping = write(
        tmp_path,
        "table: surveys\nheaders: [ResponseId, Q1]\n"
        "columns: {survey_id: ResponseId, responded_at: EndDate, score: Q1}\n",
        "map.yaml",
    )
    lines = (
        "EndDate,ResponseId,Q1\n"
        '"End Date","Response ID","How\nsatisfied, on the\nwhole?"\n'
        '"{""ImportId"":""endDate""}","{""ImportId"":""_recordId""}",'
        '"{""ImportId"":""QID1""}"\n'
        "2026-03-02 10:00:00,R_1,9\n2026-03-03 10:00:00,R_2,3\n"
    )
    data = load([write(tmp_path, lines, "export.csv")], mapping=mapping)
    found = data.frames["surveys"].to_native().collect()
    assert found["score"].to_list() == [9.0, 3.0]


def test_ndjson_with_late_keys_mixed_types_and_a_broken_line(tmp_path):
    lines = [
        f'{{"call_id": "C{i}", "agent_id": {i % 5}, "talk_s": {i + 0.5},'
        ' "started_at": "2026-03-02T10:00:00Z"}'
        for i in range(2000)
    ]
    lines[1500] = (
        '{"call_id": "C1500", "agent_id": "A1", "queue": "late", "talk_s": "7"}'
    )
    lines[1600] = '{"call_id": "C16'
    data = read(tmp_path, "\n".join(lines), "calls.ndjson")
    found = frame(data)
    late = found.filter(pl.col("call_id") == "C1500")
    assert late.select("agent_id", "queue", "talk_s").row(0) == ("A1", "late", 7.0)
    assert (found.height, data.inputs[0].rejected) == (1999, 1)


def test_json_documents_of_several_kinds(tmp_path):
    record = '{"call_id": "%s", "agent_id": "A", "talk_s": 5, "started_at": 1772445600}'
    rows = ",".join(record % i for i in range(3))
    for document in (
        f"[{rows}]",
        f'{{"data": [{rows}]}}',
        f'{{"n": 3, "items": [{rows}]}}',
    ):
        assert read(tmp_path, document, "calls.json").rows == {"calls": 3}
    deep = "[" * 100_000 + "]" * 100_000
    with pytest.raises(TableError):
        read(tmp_path, deep, "calls.json")
    with pytest.raises(TableError, match="broken"):
        read(tmp_path, f"[{rows}", "calls.json")


def test_csv_files_of_one_table_may_differ_in_columns_and_their_order(tmp_path):
    rows = table(20)
    write(tmp_path, text(rows), "calls_1.csv")
    turned = [[*row[::-1], "x"] for row in [HEAD, *rows]]
    turned[0][-1] = "queue"
    for row in turned[1:]:
        row[5] += "b"
    write(tmp_path, "".join(",".join(row) + "\n" for row in turned), "calls_2.csv")
    data = load([tmp_path])
    assert data.rows == {"calls": 40}
    assert kinds(data) == {"columns-differ": 20}


def test_parquet_files_of_one_table_may_differ_in_types(tmp_path, clean):
    base = pl.read_csv(text(table()).encode(), infer_schema=False)
    at = pl.col("started_at").str.to_datetime("%Y-%m-%d %H:%M:%S")
    one = base.with_columns(at.dt.cast_time_unit("us"), pl.col("talk_s").cast(pl.Int32))
    two = one.with_columns(
        pl.col("call_id") + "b",
        pl.col("started_at").dt.cast_time_unit("ns").dt.replace_time_zone("UTC"),
        pl.col("talk_s").cast(pl.Float64),
        pl.col("customer_id").cast(pl.Int64),
        queue=pl.lit("x").cast(pl.Categorical),
    ).drop("reason")
    one.write_parquet(tmp_path / "calls_1.parquet")
    two.write_parquet(tmp_path / "calls_2.parquet")
    data = load([tmp_path], timezone="Europe/Warsaw")
    got = frame(data)
    first = got.filter(pl.col("call_id").str.len_chars() == 4 + 1)
    assert first["talk_s"].to_list() == clean["talk_s"].to_list()
    other = got.filter(pl.col("call_id").str.ends_with("b"))
    assert other["started_at"].to_list() == clean["started_at"].to_list()
    assert first["started_at"][0] == clean["started_at"][0] - 3_600_000
    assert got.schema["talk_s"] == pl.Float64


@pytest.mark.parametrize("cut", [0.3, 0.99])
def test_truncated_parquet_is_refused(tmp_path, cut):
    path = tmp_path / "calls.parquet"
    pl.read_csv(text(table()).encode()).write_parquet(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(TableError, match="cut off or damaged"):
        load([path])


def test_parquet_without_rows_is_refused(tmp_path):
    path = tmp_path / "calls.parquet"
    pl.read_csv(text(table()).encode()).head(0).write_parquet(path)
    with pytest.raises(TableError, match="no rows"):
        load([path])


def test_whole_numbers_are_wide_enough_to_be_summed(tmp_path):
    path = tmp_path / "tickets.parquet"
    frame = pl.DataFrame(
        {
            "ticket_id": ["1", "2"],
            "reopen_count": [2**31 - 1, 1],
            "opened_at": ["2026-03-02"] * 2,
        },
        schema_overrides={"reopen_count": pl.Int32},
    )
    frame.write_parquet(path)
    got = load([path]).frames["tickets"].to_native().collect()
    assert got["reopen_count"].sum() == 2**31


def test_ids_that_met_a_null_in_pandas_lose_their_point(tmp_path):
    path = tmp_path / "calls.parquet"
    base = pl.read_csv(text(table()).encode())
    base.with_columns(pl.col("customer_id").cast(pl.Float64)).write_parquet(path)
    assert frame(load([path]))["customer_id"][0] == "100"


def test_nobody_is_nobodys_customer(tmp_path):
    values = ["0", "", "NULL", "5"]
    assert column(tmp_path, "customer_id", values) == ["0", None, None, "5"]


def test_a_column_that_holds_nothing_counts_as_absent(tmp_path):
    rows = table()
    for row in rows:
        row[5] = ""
    data = read(tmp_path, text(rows))
    assert not data.has("calls.reason")
    assert kinds(data) == {"empty-columns": 1}
    assert "1 mapped column holds nothing and counts as absent" in data.notes[0].detail


def test_a_huge_field_is_refused_unless_allowed(tmp_path, monkeypatch):
    monkeypatch.setenv("KPIAUDIT_MAX_FIELD_MB", "0.01")
    rows = table()
    rows[3][5] = "x" * 60_000
    with pytest.raises(TableError, match="KPIAUDIT_MAX_FIELD_MB"):
        read(tmp_path, text(rows))
    monkeypatch.setenv("KPIAUDIT_MAX_FIELD_MB", "1")
    assert read(tmp_path, text(rows)).rows["calls"] == 60


def test_a_bomb_is_refused_unless_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr("kpiaudit.tables.source.FREE_INFLATION", 1000)
    rows = table(3000)
    for row in rows:
        row[5] = "x" * 400
    packed = gzip.compress(text(rows).encode())
    monkeypatch.setenv("KPIAUDIT_MAX_INFLATE_RATIO", "10")
    with pytest.raises(TableError, match="KPIAUDIT_MAX_INFLATE_RATIO"):
        read(tmp_path, packed, "calls.csv.gz")


def test_inspect_tells_encoding_separator_and_what_was_left_out(tmp_path):
    report = examine([write(tmp_path, text(table(), ";").encode("utf-16"))]).files[0]
    assert (report.encoding, report.separator, report.rows) == ("utf-16", ";", 60)


def test_daily_files_learn_the_order_of_dates_from_each_other(tmp_path):
    for day in (1, 2, 13):
        rows = table(5)
        for i, row in enumerate(rows):
            row[0] = f"{day}-{i}"
            row[3] = f"{day:02d}/03/2026 10:0{i}:00"
        write(tmp_path, text(rows), f"calls-{day:02d}.csv")
    data = load([tmp_path])
    assert data.period["calls"][0] == ms(2026, 3, 1, 10)
    assert data.rows["calls"] == 15
    (tmp_path / "calls-13.csv").unlink()
    with pytest.raises(TableError, match="can't be told apart"):
        load([tmp_path])


def test_totals_per_agent_are_no_calls(tmp_path):
    path = write(tmp_path, "agent_id,team_id,calls,aht\n1,2,30,400\n", "calls_sum.csv")
    with pytest.raises(TableError, match="recognised"):
        load([path])


def test_mixed_pandas_objects_are_taken_as_text():
    frame = pd.DataFrame(
        {"call_id": [1, "x", None], "agent_id": ["a", 2, 3], "talk_s": [1, "2", None]}
    )
    got = load(tables={"calls": frame}).frames["calls"].to_native().collect()
    assert got["call_id"].to_list() == ["1", "x", None]
    assert got["talk_s"].to_list() == [1.0, 2.0, None]


@pytest.mark.parametrize(
    ("cell", "want"),
    [
        ("2026-03", ms(2026, 3, 1)),
        ("20260302T100000Z", ms(2026, 3, 2, 10)),
        ("20260302T1000", ms(2026, 3, 2, 10)),
        ("Mar  2 2026 10:00AM", ms(2026, 3, 2, 10)),
        ("2026-03-02 10:00:00.0000000 +01:00", ms(2026, 3, 2, 9)),
        ("2026-03-02", ms(2026, 3, 2)),
        ("2-Mar-26", ms(2026, 3, 2)),
    ],
)
def test_more_hands(tmp_path, cell, want):
    assert column(tmp_path, "started_at", [cell], ";") == [want]


def test_keys_that_no_record_has_are_not_looked_for_aloud(tmp_path):
    lines = '{"call_id": "1", "agent_id": "a", "talk_s": 5}\n'
    assert read(tmp_path, lines, "calls.ndjson").notes == ()


def test_text_goes_to_disk_when_memory_is_short(tmp_path, clean, monkeypatch):
    path = write(tmp_path, text(table()))
    monkeypatch.setenv("KPIAUDIT_MEMORY_MB", "0.0001")
    assert frame(load([path])).equals(clean)


@pytest.mark.parametrize("name", ["calls.csv", "calls.parquet"])
def test_duplicates_are_found_wherever_the_table_lies(tmp_path, name):
    rows = [*table(), *table()[:7], [*table()[8][:5], "other"]]
    path = write(tmp_path, text(rows))
    if name.endswith("parquet"):
        pl.read_csv(path, infer_schema=False).write_parquet(tmp_path / name)
    data = load([tmp_path / name])
    assert kinds(data) == {"duplicate-rows": 7, "duplicate-ids": 1}
    assert data.rows["calls"] == 61


def test_quotes_in_every_place_end_in_a_message(tmp_path):
    head = ",".join(HEAD) + "\n"
    for soup in ('",",",""\n', '"\n', '""",', "',\"\n", '"a""b,c\n'):
        with pytest.raises(TableError):
            read(tmp_path, head + soup * 400)


def test_whole_numbers_with_thousands_marks(tmp_path):
    lines = "ticket_id,reopen_count,paused_s\n" + "".join(
        f'T{i},{n},"8{i},5"\n' for i, n in enumerate(['"1,200"', "1.200", "7", "3.0"])
    )
    data = load([write(tmp_path, lines, "tickets.csv")])
    found = data.frames["tickets"].to_native().collect()
    assert found["reopen_count"].to_list() == [1200, 1200, 7, 3]


def test_lines_of_spaces_are_no_rows(tmp_path, clean):
    lines = text(table()).splitlines(keepends=True)
    data = read(tmp_path, "".join([*lines[:9], "  \t \n", *lines[9:], " \n"]))
    assert frame(data).equals(clean)
    assert data.inputs[0].rejected == 0


def test_times_that_the_clocks_skip_are_said_to_be_so(tmp_path):
    hours = [f"2026-03-29T{1 + i // 40:02d}:{i % 40:02d}:00" for i in range(100)]
    path = tmp_path / "calls.csv"
    frame = pl.DataFrame(
        {"call_id": [f"K{i}" for i in range(100)], "started_at": hours}
    )
    frame.write_csv(path)
    with pytest.raises(TableError, match=r"Europe/Zurich skip in spring.*--timezone"):
        load([path], timezone="Europe/Zurich")
    notes = load([path], timezone="Europe/Zurich", max_unreadable=0.5).notes
    (note,) = [n for n in notes if n.kind == "unreadable-cells"]
    assert "the clocks of Europe/Zurich skip" in note.detail
    frame.with_columns(started_at=pl.lit("soon")).write_csv(path)
    with pytest.raises(TableError, match="mapping file"):
        load([path], timezone="Europe/Zurich")


def test_a_folder_that_holds_folders_only_names_them(tmp_path):
    (tmp_path / "march").mkdir()
    with pytest.raises(TableError, match=r"not searched: name them \(march\)"):
        load([tmp_path])
