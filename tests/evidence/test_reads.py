"""How often a scan reads a Parquet file, and that reading rule by rule changes none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from numpy.testing import assert_array_equal

from kpiaudit.evidence import counting as stages
from kpiaudit.evidence.runs import Run, cannot_run
from kpiaudit.rulebook import columns_of, read_rules
from kpiaudit.tables import assemble
from kpiaudit.tables.load import load
from kpiaudit.tables.neighbours import ordered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kpiaudit.tables.dataset import Dataset

AGENTS, ROWS = 12, 1200
SMALL = 5
"""Reads of a file that then stays in memory: the first rows twice, all facts,
rows, and the order in which they stand."""
LOADING = 5
"""Reads of one that does not: the first rows thrice, all facts, and all checks."""
COUNTING = 12
"""Reads of the two stages of the rules, and of the customers' order before them."""


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Calls of a quiet floor over ten days, everybody's alike."""
    place = pl.int_range(ROWS, eager=True)
    at = 1_772_409_600_000 + place * 360_000
    frame = pl.DataFrame(
        {
            "call_id": place.cast(pl.String).str.zfill(6),
            "agent_id": "A" + (place * 7 % AGENTS).cast(pl.String),
            "team_id": "T" + (place * 7 % AGENTS % 3).cast(pl.String),
            "customer_id": "K" + (place * 31 % 900).cast(pl.String),
            "queue": "orders",
            "started_at": at.cast(pl.Datetime("ms", "UTC")),
            "ended_at": (at + 300_000).cast(pl.Datetime("ms", "UTC")),
            "talk_s": (place * 37 % 293 + 3).cast(pl.Float64),
            "ended_by": "customer",
        }
    )
    path = tmp_path / "calls.parquet"
    frame.write_parquet(path)
    return path


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count, per collection, how many readings of a file stand in its plan."""
    reads: list[int] = []

    def watch(holder: Any, name: str) -> None:
        plain: Callable[..., Any] = getattr(holder, name)
        inside = [False]

        def watched(given: Any, *more: Any, **named: Any) -> Any:
            if not inside[0]:
                frames = [given] if isinstance(given, pl.LazyFrame) else list(given)
                reads.append(pl.explain_all(frames).count("Parquet SCAN"))
            inside[0] = True
            try:
                return plain(given, *more, **named)
            finally:
                inside[0] = False

        monkeypatch.setattr(holder, name, watched)

    watch(pl.LazyFrame, "collect")
    watch(pl.LazyFrame, "collect_batches")
    watch(pl.LazyFrame, "sink_batches")
    watch(pl, "collect_all")
    return reads


def counted(data: Dataset) -> list[Run]:
    """Count all that the rules count, and test nothing."""
    runs = [Run(rule=rule, data=data) for rule in read_rules()]
    active = [run for run in runs if cannot_run(run) is None]
    stages.discover(active, str)
    stages.summarize(active, str)
    return active


def test_a_file_is_not_read_more_often_than_it_was(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The goal is two; a query that makes it more shows here.

    Large tables are read rule by rule: no summary tells.
    """
    reads = counting(monkeypatch)
    counted(ordered(load([calls])))
    assert sum(reads) <= SMALL
    reads.clear()
    monkeypatch.setattr(assemble, "_fits", lambda *_: False)
    data = ordered(load([calls], only=columns_of(read_rules())))
    loading = sum(reads)
    together = counted(data)
    assert loading <= LOADING
    assert sum(reads) - loading <= COUNTING
    monkeypatch.setattr(stages, "_MANY_ROWS", 0)
    for alone, before in zip(counted(data), together, strict=True):
        assert alone.summaries.keys() == before.summaries.keys()
        for name, summary in alone.summaries.items():
            for column, values in summary.columns.items():
                assert_array_equal(values, before.summaries[name][column])
