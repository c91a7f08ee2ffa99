"""The same canonical Parquet gives the same dataset and report on every engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import kpiaudit
from kpiaudit.audit import audit
from kpiaudit.outputs.formats import render
from kpiaudit.rulebook import columns_of, read_rules
from kpiaudit.tables.convert import convert
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate
from tests.engines import OTHERS, spark

if TYPE_CHECKING:
    from pathlib import Path

    from kpiaudit.tables.dataset import Dataset

START = datetime(2026, 3, 27, 20, tzinfo=UTC)
engines = pytest.mark.parametrize("engine", OTHERS)


@pytest.fixture(autouse=True)
def _small_session(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("spark"):
        spark()


@pytest.fixture(scope="module")
def canonical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small centre in which two agents hang up at once, converted."""
    folder = tmp_path_factory.mktemp("canonical")
    plant = Plant(pattern="short-calls", agents=2, strength=0.35)
    centre = Centre(
        seed=5, agents=12, days=21, teams=2, plants=(plant,), tables=("calls",)
    )
    tables = {name: [frame] for name, frame in simulate(centre).tables.items()}
    convert(load(tables=tables), folder)
    return folder


def messy() -> pl.DataFrame:
    """Calls over a change of the clocks, with everything that is to be emptied."""
    n = 400
    at = [START + timedelta(minutes=7 * i) for i in range(n)]
    frame = pl.DataFrame(
        {
            "call_id": [f"C{i:04d}" for i in range(n)],
            "agent_id": [f"A{i % 7}" for i in range(n)],
            "queue": [("north", " south ", "N/A", "-")[i % 4] for i in range(n)],
            "ended_by": [
                ("Agent", "customer", "robot", "none")[i % 4] for i in range(n)
            ],
            "transfer_type": [("none", "COLD", "warm", "")[i % 4] for i in range(n)],
            "started_at": at,
            "answered_at": [None if i % 9 == 0 else t for i, t in enumerate(at)],
            "ended_at": [t + timedelta(seconds=30 + i % 200) for i, t in enumerate(at)],
            "hold_s": [float(i % 40) - 2 for i in range(n)],
            "wait_s": [None] * n,
            "wrap_s": pl.Series([i % 11 for i in range(n)], dtype=pl.Int32),
            "station": pl.Series([None] * n, dtype=pl.String),
            "monitored": [i % 3 == 0 for i in range(n)],
        }
    )
    agent = pl.col("agent_id")
    frame = frame.with_columns(
        agent_id=pl.when(agent == "A3").then(pl.lit("No-Agent")).otherwise(agent),
        answered_at=pl.when(pl.col("call_id") == "C0010")
        .then(datetime(1970, 1, 1, tzinfo=UTC))
        .otherwise(pl.col("answered_at")),
        hold_s=pl.when(pl.col("call_id") == "C0011")
        .then(float("inf"))
        .otherwise(pl.col("hold_s")),
    )
    changed = frame.head(3).with_columns(wrap_s=pl.lit(99, dtype=pl.Int32))
    return pl.concat([frame, frame.head(5), changed])


def rows(data: Dataset, table: str) -> pl.DataFrame:
    found = collect({"": data.table(table)})[""]
    return found.select(sorted(found.columns)).sort(pl.all())


def same(data: Dataset, other: Dataset) -> None:
    assert data.columns == other.columns
    assert data.rows == other.rows
    assert data.period == other.period
    assert dict(data.origins) == dict(other.origins)
    assert dict(data.derived) == dict(other.derived)
    # Only polars says which days each of several files covers.
    bare = [
        [replace(i, period_start=None, period_end=None) for i in d.inputs]
        for d in (data, other)
    ]
    assert bare[0] == bare[1]
    for table in data.frames:
        assert rows(data, table).equals(rows(other, table)), table


def kinds(data: Dataset) -> set[tuple[str, str, int]]:
    return {(n.table, n.kind, n.count) for n in data.notes}


@engines
@pytest.mark.parametrize(
    "options",
    [
        {"timezone": "Europe/Berlin"},
        {"timezone": "America/Sao_Paulo", "since": "2026-03-28", "until": "2026-03-29"},
    ],
    ids=["dst", "period"],
)
def test_what_is_to_be_emptied_is_emptied_alike(
    tmp_path: Path, engine: str, options: dict[str, Any]
) -> None:
    messy().write_parquet(tmp_path / "calls.parquet")
    options = {**options, "max_unreadable": 0.2}
    want = load([tmp_path], **options)
    got = load([tmp_path], engine=engine, **options)
    same(want, got)
    assert kinds(want) == kinds(got)


@engines
def test_a_folder_of_parts_is_one_table(tmp_path: Path, engine: str) -> None:
    folder = tmp_path / "calls"
    (folder / "queue=west").mkdir(parents=True)
    frame = messy()
    millis = frame.with_columns(pl.col("^.*_at$").dt.epoch("ms")).drop("wait_s")
    frame[:100].write_parquet(folder / "a[1].parquet")
    frame[100:200].write_parquet(folder / "b.parquet")
    millis[200:].write_parquet(folder / "queue=west" / "c.parquet")
    data = load([tmp_path], max_unreadable=0.2)
    same(data, load([tmp_path], engine=engine, max_unreadable=0.2))


@engines
def test_rules_and_findings_are_the_same_byte_for_byte(
    canonical: Path, engine: str, tmp_path: Path
) -> None:
    where = tmp_path / "where.yaml"
    queues = "{queue: [billing, orders, technical]}"
    where.write_text(f"- {{rule: short-calls, detector: short-calls, where: {queues}}}")
    rules = read_rules([where], select=["short-calls"])
    options: dict[str, Any] = {"timezone": "Europe/Paris", "until": "2026-03-21"}
    want = audit(load([canonical], **options), rules).report
    got = audit(
        load([canonical], engine=engine, only=columns_of(rules), **options), rules
    ).report
    assert want.findings
    parts = [render(r, "json").partition('"rules"')[2] for r in (want, got)]
    assert parts[0].partition('"notes"')[0] == parts[1].partition('"notes"')[0]


@engines
def test_teams_that_only_another_table_knows_are_known_alike(
    canonical: Path, engine: str, tmp_path: Path
) -> None:
    calls = pl.read_parquet(canonical / "calls.parquet").drop("team_id")
    calls.write_parquet(tmp_path / "calls.parquet")
    ids = calls["agent_id"].drop_nulls().unique().sort()
    teams = pl.DataFrame({"agent_id": ids}).with_columns(team_id=pl.lit("north"))
    teams.write_parquet(tmp_path / "agents.parquet")
    rules = read_rules(select=["short-calls"])
    only = columns_of(rules)
    want = audit(load([tmp_path]), rules).report.findings
    got = audit(load([tmp_path], engine=engine, only=only), rules).report.findings
    assert {finding.subject.team_id for finding in want} == {"north"}
    assert [f.subject for f in got] == [f.subject for f in want]


@engines
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (pl.col("started_at").dt.strftime("%d.%m.%Y"), "'started_at' is String"),
        (pl.col("started_at").dt.replace_time_zone(None), "not a timestamp with a"),
        (pl.col("started_at").dt.epoch("s").alias("started_at"), "no milliseconds"),
        (pl.col("monitored").cast(pl.Int8), "'monitored' is Int8"),
        (pl.col("wrap_s").cast(pl.String), "'wrap_s' is String"),
    ],
    ids=["text", "naive", "seconds", "flag", "number"],
)
def test_types_that_only_exports_have_are_refused(
    tmp_path: Path, engine: str, change: pl.Expr, why: str
) -> None:
    messy().with_columns(change).write_parquet(tmp_path / "calls.parquet")
    with pytest.raises(kpiaudit.KpiauditError, match="kpiaudit convert") as refused:
        load([tmp_path], engine=engine, timezone="Asia/Tokyo", max_unreadable=0.2)
    assert refused.value.exit_status == 2
    # Spark has names of its own for types.
    assert engine == "spark" or why in str(refused.value)


def test_a_key_that_is_empty_in_every_row_is_refused(tmp_path: Path) -> None:
    frame = messy().with_columns(call_id=pl.lit("4.92E+11"))
    frame.write_parquet(tmp_path / "calls.parquet")
    with pytest.raises(kpiaudit.KpiauditError, match="'call_id' is empty in every row"):
        load([tmp_path], engine="duckdb", max_unreadable=0.2)


@engines
def test_files_of_naive_and_of_zoned_stamps_are_told_apart(
    tmp_path: Path, engine: str
) -> None:
    naive = pl.col("^.*_at$").dt.replace_time_zone(None)
    (tmp_path / "calls").mkdir()
    messy()[:200].with_columns(naive).write_parquet(tmp_path / "calls" / "a.parquet")
    messy()[200:].write_parquet(tmp_path / "calls" / "b.parquet")
    data = load([tmp_path], max_unreadable=0.2)
    same(data, load([tmp_path], engine=engine, max_unreadable=0.2))
    with pytest.raises(kpiaudit.KpiauditError, match=r"a\.parquet.*kpiaudit convert"):
        load([tmp_path], engine=engine, timezone="Asia/Tokyo", max_unreadable=0.2)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_other_than_canonical_parquet_is_refused_before_anything_is_started(
    tmp_path: Path, engine: str
) -> None:
    messy().select("call_id", "agent_id", "queue").write_csv(tmp_path / "calls.csv")
    with pytest.raises(kpiaudit.KpiauditError, match="no Parquet file") as refused:
        load([tmp_path], engine=engine)
    assert refused.value.exit_status == 2
    with pytest.raises(kpiaudit.KpiauditError, match="no mapping") as refused:
        load([tmp_path], engine=engine, preset="genesys")
    assert refused.value.exit_status == 2
    with pytest.raises(kpiaudit.KpiauditError, match="standard input"):
        load(tables={"calls": ["-"]}, engine=engine)
    with pytest.raises(kpiaudit.KpiauditError, match=r"no engine 'sparc'.*'spark'"):
        load([tmp_path], engine="sparc")
    with pytest.raises(kpiaudit.KpiauditError, match="--engine spark"):
        load(tables={"calls": ["spark:db.calls"]})


def test_a_damaged_file_is_status_3(tmp_path: Path) -> None:
    messy().write_parquet(tmp_path / "calls.parquet")
    data = (tmp_path / "calls.parquet").read_bytes()
    (tmp_path / "calls.parquet").write_bytes(data[:-20])
    with pytest.raises(kpiaudit.KpiauditError, match="cut off or damaged") as broken:
        load([tmp_path], engine="duckdb")
    assert broken.value.exit_status == 3
