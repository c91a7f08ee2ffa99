"""Frames of DuckDB and Spark are worked on where they are."""

from __future__ import annotations

import json
import runpy
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw
import polars as pl
import pytest

import kpiaudit
from kpiaudit.outputs.formats import render
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate
from tests.engines import OTHERS, spark

if TYPE_CHECKING:
    from kpiaudit.tables.dataset import Dataset

engines = pytest.mark.parametrize("engine", OTHERS)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plant = Plant(pattern="short-calls", agents=2, strength=0.35)
    made = simulate(
        Centre(seed=5, agents=12, days=21, plants=(plant,), tables=("calls",))
    )
    path = tmp_path_factory.mktemp("frames") / "calls.parquet"
    made.tables["calls"].write_parquet(path)
    return path


def frame_of(path: Path, engine: str) -> Any:
    if engine == "spark":
        return spark().read.parquet(str(path))
    return duckdb.connect(config={"threads": 1}).read_parquet(str(path))


def found(report: kpiaudit.Report) -> str:
    text = render(report, "json")
    return text[text.index('"rules"') : text.index('"notes"')]


def rows(data: Dataset) -> pl.DataFrame:
    found = collect({"": data.table("calls")})[""]
    return found.select(sorted(found.columns)).sort(pl.all())


@engines
def test_a_frame_stays_on_its_engine_and_gives_what_the_file_gives(
    calls: Path, engine: str
) -> None:
    frame = frame_of(calls, engine)
    data = load(tables={"calls": frame})
    kind = nw.Implementation.PYSPARK if engine == "spark" else nw.Implementation.DUCKDB
    assert data.table("calls").implementation is kind
    want = load([calls])
    assert rows(data).equals(rows(want))
    assert (data.columns, data.period) == (want.columns, want.period)


@pytest.mark.spark
def test_a_frame_of_spark_gives_the_findings_of_the_file(calls: Path) -> None:
    want = kpiaudit.scan(calls, select=["short-calls"])
    got = kpiaudit.scan(select=["short-calls"], calls=frame_of(calls, "spark"))
    assert want.findings
    assert found(want) == found(got)


def test_relations_that_are_not_canonical_are_read_as_exports_are(calls: Path) -> None:
    relation = frame_of(calls, "duckdb").project(
        "call_id, agent_id, talk_s, strftime(started_at, '%d.%m.%Y %H:%M:%S') "
        "AS started_at"
    )
    data = load(tables={"calls": relation})
    assert data.table("calls").implementation is nw.Implementation.POLARS
    assert data.has("calls.started_at")
    beside = load(
        tables={"calls": relation, "agents": pl.DataFrame({"agent_id": ["A"]})}
    )
    assert beside.has("calls", "agents")


def test_frames_of_other_libraries_are_not_taken_to_an_engine(calls: Path) -> None:
    frame = pl.read_parquet(calls)
    for engine in ("duckdb", "spark"):
        with pytest.raises(kpiaudit.KpiauditError, match="other libraries") as refused:
            load(tables={"calls": frame}, engine=engine)
        assert refused.value.exit_status == 2


@pytest.mark.spark
def test_tables_are_read_by_name_from_the_catalogue(calls: Path) -> None:
    frame_of(calls, "spark").createOrReplaceTempView("exported_calls")
    named = load(tables={"calls": ["spark:exported_calls"]}, engine="spark")
    assert named.rows == load([calls]).rows
    assert named.inputs[0].path == "spark:exported_calls"
    assert named.inputs[0].sha256 is None
    with pytest.raises(kpiaudit.KpiauditError, match="spark:nowhere") as absent:
        load(tables={"calls": ["spark:nowhere"]}, engine="spark")
    assert absent.value.exit_status == 3


@pytest.mark.spark
def test_the_job_of_the_page_writes_the_report(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "spark.md").read_text("utf-8")
    job = tmp_path / "job.py"
    job.write_text(page.partition("```python\n")[2].partition("```")[0], "utf-8")
    session = spark()
    session.sql("CREATE DATABASE IF NOT EXISTS kpi")
    session.sql(f"CREATE TABLE kpi.calls USING parquet LOCATION '{calls}'")
    monkeypatch.setattr("sys.argv", ["job.py", "kpi", str(tmp_path / "report.json")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(job))
    session.sql("DROP DATABASE kpi CASCADE")
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert ended.value.code == 1
    assert report["findings"]
    assert report["inputs"][0]["sha256"] is None


def agents(calls: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Count over windows of every customer, which have to hold all rows."""
    following = nw.col("at_ms").shift(-1).over("customer_id", order_by="call_id")
    rows = calls.with_columns(next=following, key=nw.col("call_id"))
    return rows.group_by("agent_id").agg(
        n=nw.len(), last=nw.col("next").max(), key=nw.col("key").max()
    )


def test_a_table_larger_than_the_memory_limit_goes_through_the_spill_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 400_000
    at = datetime(2026, 3, 2, tzinfo=UTC)
    folder = tmp_path / "calls"
    folder.mkdir()
    part = pl.DataFrame({"i": range(n)}).select(
        call_id=pl.format("{}-{}", pl.col("i").hash(7), pl.col("i")),
        agent_id=pl.format("A{}", pl.col("i") % 50),
        customer_id=pl.format("K{}", pl.col("i").hash(3)),
        started_at=pl.lit(at) + pl.duration(seconds=pl.col("i")),
        talk_s=(pl.col("i") % 300).cast(pl.Float64),
    )
    part.write_parquet(folder / "a.parquet")
    monkeypatch.setenv("KPIAUDIT_MEMORY_MB", "60")
    calls = load([tmp_path], engine="duckdb").table("calls")
    native = calls.to_native()
    settings = native.query("t", "SELECT current_setting('memory_limit')").fetchall()
    assert settings[0] == ("60.0 MiB",)
    assert collect({"": agents(calls)})[""]["n"].sum() == n
    # Without the folder the same limit does not do.
    bare = duckdb.connect(config={"memory_limit": "60MiB", "temp_directory": ""})
    relation = bare.read_parquet(str(folder / "a.parquet"))
    relation = relation.project("*, epoch_ms(started_at) AS at_ms")
    with pytest.raises(kpiaudit.KpiauditError, match="KPIAUDIT_MEMORY_MB") as full:
        collect({"": agents(nw.from_native(relation).lazy())})
    assert full.value.exit_status == 3
    monkeypatch.setenv("KPIAUDIT_MEMORY_MB", "none")
    with pytest.raises(kpiaudit.KpiauditError, match="KPIAUDIT_MEMORY_MB"):
        load([tmp_path], engine="duckdb")
