"""Files that blow up: refused within their limits, which the message says."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest

from kpiaudit.errors import RuleError, TableError
from kpiaudit.tables.load import load
from kpiaudit.tables.parquetsize import inflated_bytes

if TYPE_CHECKING:
    from pathlib import Path

HEAD = b"call_id,agent_id,talk_s,reason\n"
RECORD = {"call_id": "1", "agent_id": "A", "talk_s": 5}


def file(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def deep(levels: int) -> bytes:
    return json.dumps(RECORD)[:-1].encode() + (
        b', "x": ' + b'{"a": ' * levels + b"1" + b"}" * levels + b"}"
    )


@pytest.mark.parametrize("form", ["calls.json", "calls.ndjson"])
def test_deep_json_is_refused_unless_allowed(tmp_path, monkeypatch, form):
    lines = [deep(150), json.dumps(RECORD | {"call_id": "2"}).encode()]
    data = b"\n".join(lines) if "nd" in form else b"[" + b",".join(lines) + b"]"
    path = file(tmp_path, form, data)
    with pytest.raises(TableError, match="KPIAUDIT_MAX_JSON_DEPTH"):
        load([path])
    monkeypatch.setenv("KPIAUDIT_MAX_JSON_DEPTH", "200")
    assert load([path]).rows["calls"] == 2


@pytest.mark.parametrize("form", ["calls.json", "calls.ndjson"])
def test_a_huge_field_in_json_is_refused_unless_allowed(tmp_path, monkeypatch, form):
    monkeypatch.setenv("KPIAUDIT_MAX_FIELD_MB", "0.01")
    records = [RECORD, RECORD | {"call_id": "2", "reason": "x" * 60_000}]
    text = "\n".join(map(json.dumps, records)) if "nd" in form else json.dumps(records)
    path = file(tmp_path, form, text.encode())
    with pytest.raises(TableError, match="KPIAUDIT_MAX_FIELD_MB"):
        load([path])
    monkeypatch.setenv("KPIAUDIT_MAX_FIELD_MB", "1")
    assert load([path]).rows["calls"] == 2


def test_a_json_document_too_large_for_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("KPIAUDIT_MAX_JSON_MB", "0.001")
    path = file(tmp_path, "calls.json", json.dumps([RECORD] * 100).encode())
    with pytest.raises(TableError, match="KPIAUDIT_MAX_JSON_MB"):
        load([path])


def packed(kind: str, data: bytes) -> bytes:
    if kind == "zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("calls.csv", data)
        return out.getvalue()
    if kind == "zst":
        return pa.compress(data, "zstd", asbytes=True)
    return gzip.compress(data)


@pytest.mark.parametrize("kind", ["gz", "zip", "zst"])
def test_bombs_are_refused_unless_allowed(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("kpiaudit.tables.source.FREE_INFLATION", 200_000)
    data = HEAD + b"".join(b"%d,A,5,%s\n" % (i, b"x" * 9000) for i in range(60))
    path = file(tmp_path, f"calls.csv.{kind}", packed(kind, data))
    monkeypatch.setenv("KPIAUDIT_MAX_INFLATE_RATIO", "5")
    with pytest.raises(TableError, match="KPIAUDIT_MAX_INFLATE_RATIO"):
        load([path])
    monkeypatch.setenv("KPIAUDIT_MAX_INFLATE_RATIO", "100000")
    assert load([path]).rows["calls"] == 60


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_bomb_of_a_gigabyte_is_refused_in_little_memory(tmp_path, kind):
    name = f"calls.csv.{kind}"
    data = packed(kind, HEAD) + packed(kind, b"x" * 10**7) * 100
    file(tmp_path, name, data)
    read = (
        "import resource\n"
        "from kpiaudit.errors import TableError\n"
        "from kpiaudit.tables.load import load\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"try: load([{name!r}])\n"
        "except TableError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", read],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *said, kilobytes = done.stdout.splitlines()
    assert "KPIAUDIT_MAX" in said[0]
    assert int(kilobytes) < 200_000


def frame(rows: int) -> pl.DataFrame:
    i = pl.int_range(rows, eager=True).alias("call_id")
    return pl.DataFrame({"call_id": i, "agent_id": i % 9, "talk_s": i % 300})


@pytest.mark.parametrize("codec", ["zstd", "snappy", "uncompressed", "gzip", "lz4"])
@pytest.mark.parametrize("group", [None, 700])
def test_a_parquet_file_says_what_it_holds(tmp_path, codec, group):
    path = tmp_path / "calls.parquet"
    frame(5000).with_columns(reason=pl.lit("x" * 500)).write_parquet(
        path, compression=codec, row_group_size=group
    )
    assert 8 * 4 * 5000 <= inflated_bytes(path) < 5_000_000
    frame(5000).with_columns(
        reason=pl.format("{}{}", pl.lit("x" * 5000), "call_id")
    ).write_parquet(path, compression=codec, row_group_size=group)
    assert inflated_bytes(path) > 25_000_000


def test_a_footer_of_rubbish_counts_as_nothing(tmp_path):
    path = tmp_path / "calls.parquet"
    frame(50).write_parquet(path)
    data = path.read_bytes()
    for at in range(len(data) - 8, len(data) - 300, -3):
        path.write_bytes(data[:at] + b"\xff\xcf\x9c" + data[at + 3 :])
        assert inflated_bytes(path) >= 0
    path.write_bytes(b"PAR1" + bytes(20) + b"PAR1")
    assert inflated_bytes(path) == 0


@pytest.mark.parametrize("kind", ["long texts", "many rows"])
def test_parquet_that_inflates_is_refused_unless_allowed(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("kpiaudit.tables.source.FREE_INFLATION", 200_000)
    table = (
        frame(50).with_columns(reason=pl.format("{}{}", pl.lit("x" * 9000), "call_id"))
        if kind == "long texts"
        else pl.select(pl.repeat(1, 100_000).alias("call_id")).with_columns(
            agent_id=pl.lit("A"), talk_s=pl.lit(5)
        )
    )
    path = tmp_path / "calls.parquet"
    table.write_parquet(path, compression="zstd")
    monkeypatch.setenv("KPIAUDIT_MAX_INFLATE_RATIO", "20")
    with pytest.raises(TableError, match="KPIAUDIT_MAX_INFLATE_RATIO"):
        load([path])
    monkeypatch.setenv("KPIAUDIT_MAX_INFLATE_RATIO", "1000000")
    assert load([path]).rows["calls"]


def test_yaml_bombs_are_refused(tmp_path):
    calls = file(tmp_path, "calls.csv", HEAD + b"1,A,5,x\n")
    laughs = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n"
        for i in range(20)
    )
    for text, said in (
        (laughs, "aliases"),
        ("a: " + "[" * 5000 + "]" * 5000, "deep"),
        ("a: " + "x" * 1_100_000, "1 MB"),
        ("a: !!python/object/apply:os.system [ls]", "tag|construct"),
    ):
        mapping = file(tmp_path, "map.yaml", text.encode())
        with pytest.raises(RuleError, match=said):
            load([calls], mapping=mapping)


def test_tables_in_memory_stay_within_the_budget_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"a number {i:08d} of a customer with a long name" for i in range(4_000)]
    for table, key in (("calls", "call_id"), ("tickets", "ticket_id"),
                       ("handovers", "order_id")):  # fmt: skip
        frame = pl.DataFrame({key: names, "agent_id": "A1", "customer_id": names})
        frame.write_parquet(tmp_path / f"{table}.parquet")
    monkeypatch.setenv("KPIAUDIT_MEMORY_MB", "0.9")
    data = load([tmp_path])
    plans = [data.table(t).to_native().explain() for t in ("calls", "tickets")]
    assert ["SCAN" in plan for plan in plans] == [False, False]
    assert "SCAN" in data.table("handovers").to_native().explain()
