"""Damage that fuzzing found to be read wrongly, slowly, or not at all."""

from __future__ import annotations

import io
import lzma
import zipfile
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest

from kpiaudit.errors import TableError
from kpiaudit.tables import read as reading
from kpiaudit.tables.load import load
from kpiaudit.tables.zstd import most_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from kpiaudit.tables.dataset import Dataset

HEAD = "call_id,agent_id,started_at,talk_s,reason"


def rows(n: int = 30) -> list[str]:
    return [f"C{i:03d},A1,2026-03-{1 + i % 28:02d} 10:00:00,{i},x" for i in range(n)]


def read(folder: Path, data: str | bytes, name: str = "calls.csv") -> Dataset:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return load([path], max_unreadable=0.2)


def counts(data: Dataset) -> tuple[int, int]:
    return data.inputs[0].rows, data.inputs[0].rejected


def kinds(data: Dataset) -> dict[str, int]:
    return {n.kind: n.count for n in data.notes}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("eol", ["\r", "\n"])
def test_nul_characters_cost_their_row_in_every_encoding(tmp_path, encoding, eol):
    lines = [HEAD, *rows()]
    lines[5] = lines[5].replace("x", "\0\0")
    assert counts(read(tmp_path, eol.join(lines).encode(encoding))) == (29, 1)


def test_a_repeated_header_with_spaces_is_no_row(tmp_path):
    header = ",".join(f" {name.upper()} " for name in HEAD.split(","))
    data = read(tmp_path, "\n".join([header, *rows()[:9], header, *rows()[9:]]))
    assert counts(data) == (30, 0)
    assert kinds(data)["repeated-header"] == 1


def test_a_line_of_spaces_is_no_row_beside_broken_quotes(tmp_path):
    lines = [HEAD, *rows(), "  ", "\t"]
    lines[5] = lines[5].replace("x", '"said" no')
    assert counts(read(tmp_path, "\n".join([*lines, *rows(1)]))) == (30, 1)


def test_one_wrong_year_does_not_take_minutes(tmp_path):
    lines = rows()
    lines[3] = lines[3].replace("2026", "2098")
    data = read(tmp_path, "\n".join([HEAD, *lines]))
    assert counts(data) == (30, 0)
    assert "missing-days" not in kinds(data)


def test_a_missing_weekday_is_still_noted(tmp_path):
    lines = [
        f"C{i:03d}-{k},A1,2026-03-{i:02d} 10:00:00,{i},x"
        for i in range(1, 29)
        for k in range(25)
        if i != 17
    ]
    note = next(
        n
        for n in read(tmp_path, "\n".join([HEAD, *lines])).notes
        if n.kind == "missing-days"
    )
    assert (note.count, "2026-03-17" in note.detail) == (1, True)


def zstd(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return pa.compress(data, "zstd", asbytes=True)


@pytest.mark.parametrize("cut", [0.4, 0.9])
def test_xz_that_is_cut_or_damaged_is_refused(tmp_path, cut):
    data = lzma.compress("\n".join([HEAD, *rows(2000)]).encode())
    at = int(len(data) * cut)
    for broken in (data[:at], data[:at] + bytes(9) + data[at + 9 :]):
        with pytest.raises(TableError, match="cut off or damaged"):
            read(tmp_path, broken, "calls.csv.xz")


def test_zstd_that_is_cut_is_refused_wherever(tmp_path):
    data = zstd("\n".join([HEAD, *rows(2000)]))
    for cut in range(1, len(data), len(data) // 25):
        with pytest.raises(TableError):
            read(tmp_path, data[:-cut], "calls.csv.zst")


def test_zstd_with_carriage_returns_alone(tmp_path):
    data = zstd("\r".join([HEAD, *rows(), ""]))
    assert counts(read(tmp_path, data, "calls.csv.zst")) == (30, 0)


def test_a_line_end_that_is_cut_in_half_costs_nothing(tmp_path):
    lines = [HEAD, *(row.replace(",x", ',"x"') for row in rows())]
    for eol in ("\r\n", "\r\r\n"):
        text = eol.join([*lines, ""])
        assert counts(read(tmp_path, text[:-1])) == (30, 0)
        assert counts(read(tmp_path, zstd(text), "calls.csv.zst")) == (30, 0)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 70_000, 300_000, 5_000_000])
def test_the_bound_of_a_zstd_file_is_close(size):
    text = bytes(range(256)) * (size // 256) + bytes(size % 256)
    one, two = zstd(text), zstd(b"x" * 100) + zstd(text)
    assert size <= most_bytes(io.BytesIO(one)) <= size + 128 * 1024
    assert size + 100 <= most_bytes(io.BytesIO(two)) <= size + 100 + 128 * 1024


def test_a_zip_with_a_broken_directory_is_refused(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("calls.csv", "\n".join([HEAD, *rows()]))
    data = bytearray(out.getvalue())
    data[data.index(b"PK\x01\x02")] = 0
    with pytest.raises(TableError, match="cut off or damaged"):
        read(tmp_path, bytes(data), "calls.zip")


def frame() -> pl.DataFrame:
    text = "\n".join([HEAD, *rows()]).encode()
    base = pl.read_csv(text, infer_schema=False)
    at = pl.col("started_at").str.to_datetime("%Y-%m-%d %H:%M:%S")
    return base.with_columns(at, pl.col("talk_s").cast(pl.Int64))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Warsaw"])
def test_dates_beyond_every_calendar_are_unreadable_cells(tmp_path, unit, zone):
    at = pl.Series([2**62, -(2**62)], dtype=pl.Int64)
    odd = frame().with_columns(pl.col("started_at").dt.cast_time_unit(unit))
    numbers = odd["started_at"].cast(pl.Int64).scatter([3, 4], at)
    column = numbers.cast(pl.Datetime(unit))
    odd = odd.with_columns(column.dt.replace_time_zone("UTC") if zone else column)
    if zone:
        odd = odd.with_columns(pl.col("started_at").dt.convert_time_zone(zone))
    odd.write_parquet(tmp_path / "calls.parquet")
    data = load([tmp_path / "calls.parquet"], max_unreadable=0.1)
    assert data.rows["calls"] == 30
    assert kinds(data)["unreadable-cells"] == 2


def test_days_beyond_every_calendar_are_unreadable_cells(tmp_path):
    days = pl.Series("started_at", [20_500 + i for i in range(30)], dtype=pl.Int32)
    odd = days.scatter([3], 2**30).cast(pl.Date)
    frame().with_columns(odd).write_parquet(tmp_path / "calls.parquet")
    data = load([tmp_path / "calls.parquet"], max_unreadable=0.1)
    assert kinds(data)["unreadable-cells"] == 1


def test_damage_in_a_column_that_no_rule_reads_is_seen(tmp_path):
    many = pl.concat([frame()] * 40).with_columns(
        call_id=pl.int_range(1200).cast(pl.String),
        resolved=pl.int_range(1200) % 3 == 0,
        wrap_s=pl.int_range(1200).shuffle(seed=1),
    )
    path = tmp_path / "calls.parquet"
    many.write_parquet(path, compression="zstd")
    data = path.read_bytes()
    refused = 0
    for at in range(4, len(data) - 2000, 400):
        path.write_bytes(data[:at] + b"\xff" * 12 + data[at + 12 :])
        try:
            held = load([path], max_unreadable=1)
        except TableError:
            refused += 1
            continue
        held.frames["calls"].to_native().collect()
    assert refused


def meddling(monkeypatch: pytest.MonkeyPatch, path: Path, change: str) -> None:
    """Change a file after its header was read, and before its rows are."""
    real = reading.recognise

    def recognise(*args: object) -> object:
        if change == "removed":
            path.unlink()
        elif change == "cut":
            path.write_bytes(path.read_bytes()[:300])
        elif change == "grown":
            with path.open("a") as file:
                file.write("\n" + rows(1)[0].replace("C000", "C999"))
        else:
            path.write_bytes(path.read_bytes().replace(b"C00", b"D00"))
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "recognise", recognise)


@pytest.mark.parametrize("change", ["removed", "cut", "rewritten"])
def test_a_file_that_changes_under_the_reader_is_refused(tmp_path, monkeypatch, change):
    meddling(monkeypatch, tmp_path / "calls.csv", change)
    with pytest.raises(TableError, match=r"changed while it was read|can't be read"):
        read(tmp_path, "\n".join([HEAD, *rows()]))


def test_a_file_that_grows_under_the_reader_is_read_with_a_note(tmp_path, monkeypatch):
    meddling(monkeypatch, tmp_path / "calls.csv", "grown")
    data = read(tmp_path, "\n".join([HEAD, *rows()]))
    assert counts(data) == (31, 0)
    assert kinds(data)["file-grew"] == 1


@pytest.mark.parametrize("end", ["", '\n{"call'])
def test_a_key_that_stands_twice_counts_as_its_first_whoever_reads(tmp_path, end):
    line = '{{"call_id": "{}", "agent_id": "A", "talk_s": 5, "talk_s": 7}}'
    text = "\n".join(line.format(i) for i in range(30)) + end
    data = read(tmp_path, text, "calls.ndjson")
    talk = data.frames["calls"].to_native().collect()["talk_s"]
    assert set(talk.to_list()) == {5.0}


def test_ids_that_turn_into_words_far_down_are_texts_all_along(tmp_path):
    lines = [f"{i:03d},7,2026-03-02 10:00:00,5,x" for i in range(3000)]
    data = read(tmp_path, "\n".join([HEAD, *lines, "A12,08,2026-03-02 10:00:00,5,x"]))
    ids = data.frames["calls"].to_native().collect()["call_id"].to_list()
    assert (ids[0], ids[-1], len(ids)) == ("000", "A12", 3001)


def test_a_duration_beyond_all_clocks_is_noted_and_not_fatal(tmp_path):
    lines = rows()
    lines[3] = lines[3].replace(",3,x", ",12345678901234567890123,x")
    data = read(tmp_path, "\n".join([HEAD, *lines]))
    assert counts(data) == (30, 0)
    assert kinds(data)["impossible-durations"] == 1


def test_a_footer_that_declares_endless_lists_is_no_reason_to_hang(tmp_path):
    # A list of booleans and a map of bytes, of 2**62 elements each.
    endless = b"\xff" * 8 + b"\x3f"
    for field in (b"\x59\xf1" + endless, b"\x5b" + endless + b"\x33"):
        path = tmp_path / "calls.parquet"
        size = len(field).to_bytes(4, "little")
        path.write_bytes(b"PAR1" + bytes(8) + field + size + b"PAR1")
        with pytest.raises(TableError, match="cut off or damaged"):
            load([path])
