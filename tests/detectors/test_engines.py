"""Every detector's summaries are the same on polars, DuckDB and Spark."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw
import numpy as np
import pytest

from kpiaudit.detectors.base import Summary
from kpiaudit.rulebook import read_rules
from kpiaudit.tables import assemble
from kpiaudit.tables.engine import collect
from kpiaudit.tables.engines import duck
from kpiaudit.tables.engines import spark as on_spark
from kpiaudit.tables.load import load
from kpiaudit.tables.sharing import once
from kpiaudit.tables.simulate import Centre, simulate
from tests.engines import OTHERS, spark

if TYPE_CHECKING:
    from pathlib import Path

    from kpiaudit.tables.dataset import Dataset

RULES = {rule.id: rule for rule in read_rules()}


@pytest.fixture(scope="module")
def data() -> Dataset:
    made = simulate(Centre(seed=11, agents=8, days=10, teams=2)).tables
    return load(tables={name: [frame] for name, frame in made.items()})


def stored(data: Dataset, folder: Path) -> dict[str, str]:
    paths = {}
    for name, frame in collect(dict(data.frames)).items():
        paths[name] = str(folder / f"{name}.parquet")
        frame.write_parquet(paths[name])
    return paths


def moved(data: Dataset, folder: Path, engine: str) -> Dataset:
    """Return a dataset on another engine: its frames as Parquet, read there."""
    connection = duckdb.connect(config={"threads": 1})
    read: Any = spark().read.parquet if engine == "spark" else connection.read_parquet
    frames = {
        name: nw.from_native(read(path)).lazy()
        for name, path in stored(data, folder).items()
    }
    return replace(data, frames=frames)


def counted(data: Dataset, rule: str, *, small: bool = False) -> dict[str, Summary]:
    detector = RULES[rule].detector
    looked = collect(detector.discover(data), small=small)
    first = {n: Summary.of(f) for n, f in looked.items()}
    found = detector.find(first) if first else {}
    second = collect(detector.summarize(data, found), small=small)
    return first | {n: Summary.of(f) for n, f in second.items()}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_summaries_are_the_same_of_a_stream_and_of_a_table_in_memory(
    data: Dataset, rule: str
) -> None:
    assert data.small
    large = replace(data, rows={})
    assert not large.small
    want, got = counted(large, rule), counted(data, rule, small=True)
    assert want.keys() == got.keys()
    for name, summary in want.items():
        for column, values in summary.columns.items():
            np.testing.assert_array_equal(got[name][column], values, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("engine", OTHERS[1:])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_summaries_are_the_same_on_spark(
    data: Dataset, rule: str, engine: str, tmp_path: Path
) -> None:
    want = counted(data, rule)
    got = counted(moved(data, tmp_path, engine), rule)
    assert want.keys() == got.keys()
    assert any(len(summary) for summary in want.values())
    for name, summary in want.items():
        for column, values in summary.columns.items():
            np.testing.assert_array_equal(got[name][column], values, err_msg=name)


def test_duckdb_keeps_whole_numbers_of_what_is_computed_once() -> None:
    connection = duckdb.connect(config={"threads": 1})
    rows = connection.sql('SELECT \'a"\' AS "a ""b", range AS n FROM range(3)')
    large = nw.from_native(rows).lazy().group_by('a "b').agg(nw.col("n").sum() + 2**60)
    kept = once(large)
    assert kept.to_native() is not large.to_native()
    got = collect({"": kept, "sum": kept.select(nw.col("n").sum())})
    assert got[""].rows() == [('a"', 2**60 + 3)]
    assert got["sum"].item() == 2**60 + 3


def test_duckdb_plans_what_several_summaries_share_only_once(
    data: Dataset, tmp_path: Path
) -> None:
    there = moved(data, tmp_path, "duckdb")
    frames = RULES["perfect-scores"].detector.summarize(there, {})
    assert len(frames) > 1
    for frame in frames.values():
        # Nested, they took a second each to plan, however few the rows.
        assert len(re.findall("READ_PARQUET|PARQUET_SCAN", plan(frame, "duckdb"))) == 1


UNUSED = ("wait_s", "disposition", "complaint", "transfer_to")


def plan(frame: Any, engine: str) -> str:
    """Return the columns that the plan reads from Parquet, as the engine says it."""
    native = frame.to_native()
    if engine == "polars":
        return " ".join(re.findall(r"PROJECT (\d+)/\d+ COLUMNS", native.explain()))
    if engine == "duckdb":
        return str(native.explain())
    # Other forms of the plan shorten the list of columns.
    printed = native._sc._jvm.PythonSQLUtils.explainString
    text = printed(native._jdf.queryExecution(), "formatted")
    return " ".join(re.findall(r"ReadSchema: struct<([^>]*)>", text))


@pytest.mark.parametrize("engine", ["polars", *OTHERS])
def test_only_the_columns_that_a_rule_uses_are_read(
    data: Dataset, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A small table would be held in memory, and its plan would name no file.
    monkeypatch.setattr(assemble, "_fits", lambda *_: False)
    # What is computed once would be read from its own file.
    monkeypatch.setattr(duck, "on_disk", lambda native: native)
    monkeypatch.setattr(on_spark, "on_executors", lambda native: native)
    path = tmp_path / "calls.parquet"
    rows = collect({"": data.table("calls")})[""].drop("at_ms", "day", "hour")
    rows.write_parquet(path)
    there = load([path], engine=engine)
    detector = RULES["short-calls"].detector
    assert there.has(*(f"calls.{name}" for name in UNUSED))
    frames = detector.summarize(there, {})
    read = plan(next(iter(frames.values())), engine)
    if engine == "polars":
        # Its plan says how many columns a scan reads, not which.
        used = [n for n in (*detector.needs, *detector.uses) if there.has(n)]
        assert read
        assert all(int(n) <= len(used) + 1 < len(rows.columns) for n in read.split())
        return
    assert "talk_s" in read
    assert not [name for name in UNUSED if name in read]
