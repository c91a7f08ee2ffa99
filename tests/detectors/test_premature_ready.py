"""Claims about the detector of orders stamped before they are ready."""

from functools import cache
from typing import Any

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.audit import audit
from kpiaudit.detectors.base import Summary, Verdicts
from kpiaudit.detectors.premature_ready import PrematureReady
from kpiaudit.findings import Finding
from kpiaudit.rulebook import Rule
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate

DETECTOR = PrematureReady()
RULE = Rule(id=DETECTOR.id, detector=DETECTOR)
BANNED = "fraud|cheat|culprit|guilty|offender|suspect|perpetrator|misconduct|\\blie"


@cache
def orders(
    *,
    seed: int = 1,
    agents: int = 16,
    days: int = 42,
    gaming: tuple[str, ...] = (),
    strength: float = 0.8,
    how: str = "ready",
    falsify: float = 0.0,
    lookalikes: tuple[str, ...] = (),
) -> pl.DataFrame:
    """Return the handovers of a simulated centre."""
    plant = Plant(
        pattern="premature-ready",
        agents=gaming,
        strength=strength,
        how=how,
        falsify=falsify,
    )
    centre = Centre(
        seed=seed,
        agents=agents,
        days=days,
        lookalikes=lookalikes,
        plants=(plant,) if gaming else (),
        tables=("handovers",),
    )
    return simulate(centre).tables["handovers"]


def everybody(agents: int = 16) -> tuple[str, ...]:
    frame = orders(agents=agents)
    return tuple(sorted(frame["agent_id"].unique()))


def dataset(frame: pl.DataFrame) -> Dataset:
    return load(tables={"handovers": [frame]})


def findings(frame: pl.DataFrame, rule: Rule = RULE) -> tuple[Finding, ...]:
    return audit(dataset(frame), (rule,)).report.findings


def named(frame: pl.DataFrame, rule: Rule = RULE) -> set[str]:
    return {finding.subject.id for finding in findings(frame, rule)}


def gather(frames: Any) -> dict[str, Summary]:
    return {k: Summary.of(v) for k, v in collect(frames).items()}


def run(data: Dataset) -> tuple[Verdicts, dict[str, Summary], Any]:
    found = DETECTOR.find(gather(DETECTOR.discover(data)))
    summaries = gather(DETECTOR.summarize(data, found))
    return DETECTOR.test(summaries, found, min_effect=None), summaries, found


def test_orders_marked_as_ready_too_early_are_found() -> None:
    frame = orders(gaming=("A0003",))
    (finding,) = findings(frame)
    assert finding.subject.id == "A0003"
    assert finding.restated is not None
    assert finding.restated.restated < finding.restated.reported


def test_orders_marked_as_delivered_too_early_are_found() -> None:
    assert named(orders(gaming=("A0003",), how="delivered", strength=0.6)) == {"A0003"}


def test_the_floor_is_found_if_everybody_does_it() -> None:
    assert "all" in named(orders(gaming=everybody(), strength=0.4))


@pytest.mark.parametrize(
    "lookalike", ["", "round-5min", "batch-scan", "late-couriers", "offline-device"]
)
def test_honest_clerks_are_not_accused(lookalike: str) -> None:
    lookalikes = (lookalike,) if lookalike else ()
    assert named(orders(seed=7, agents=12, lookalikes=lookalikes)) == set()


def test_shuffled_rows_and_duckdb_give_the_same_summaries() -> None:
    frame = orders(agents=6, days=14)
    ordered = dataset(frame)
    _, _, found = run(ordered)
    first = collect(
        {**DETECTOR.discover(ordered), **DETECTOR.summarize(ordered, found)}
    )
    connection = duckdb.connect(config={"threads": 1})
    rows = ordered.table("handovers").to_native().collect()
    connection.register("orders", rows.to_arrow())
    native = nw.from_native(connection.table("orders"))
    shuffled = dataset(frame[np.random.default_rng(1).permutation(len(frame))])
    others = [
        shuffled,
        Dataset(frames={"handovers": native}, columns=ordered.columns),
    ]
    for data in others:
        again = collect({**DETECTOR.discover(data), **DETECTOR.summarize(data, found)})
        for name, expected in first.items():
            assert again[name].cast(expected.schema).equals(expected), name


def test_an_empty_table_gives_no_finding() -> None:
    data = dataset(orders())
    empty = Dataset(
        frames={"handovers": data.table("handovers").filter(nw.col("day") < 0)},
        columns=data.columns,
    )
    verdicts, _, _ = run(empty)
    assert verdicts.skipped is not None
