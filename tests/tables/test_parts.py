"""Tables read part by part: nothing is lost, and what stops the reading is raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kpiaudit.errors import TableError
from kpiaudit.tables import parts
from kpiaudit.tables.load import load
from kpiaudit.tables.parts import Tally, added

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 4000


@pytest.fixture
def calls() -> pl.DataFrame:
    place = pl.int_range(ROWS, eager=True)
    return pl.DataFrame(
        {
            "call_id": place.cast(pl.String).str.zfill(6),
            "agent_id": "A" + (place * 7 % 40).cast(pl.String),
            "started_at": 1_772_409_600_000 + place * 60_000,
            "talk_s": place * 37 % 293 + 3,
        }
    )


def test_a_damaged_page_is_told_or_harms_no_row(
    calls: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some damage makes polars panic, which must not pass for the end of the file."""
    monkeypatch.setattr(parts, "_ROWS", 500)
    path = tmp_path / "calls.parquet"
    calls.write_parquet(path, row_group_size=500)
    sound = path.read_bytes()
    told = 0
    for seed in range(60):
        draw, data = np.random.default_rng(seed), bytearray(sound)
        for _ in range(3):
            data[draw.integers(4, len(data) - 3000)] ^= 1 << int(draw.integers(8))
        path.write_bytes(data)
        try:
            assert load([path]).rows["calls"] == ROWS
        except TableError:
            told += 1
    assert told > 20


def test_parts_are_the_table_in_its_order(
    calls: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_ROWS", 300)
    wanted = ("talk_s", "call_id")
    found = list(parts.parts(calls.lazy(), wanted, in_order=True))
    assert len(found) > 10
    assert_frame_equal(pl.concat(found), calls.select("call_id", "talk_s"))


def test_a_table_without_rows_gives_one_part_without_rows(calls: pl.DataFrame) -> None:
    (found,) = parts.parts(calls.lazy().head(0), calls.columns)
    assert found.shape == (0, 4)


def test_what_stops_the_reading_is_raised_and_who_stops_is_not_held(
    calls: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_ROWS", 300)
    broken = calls.lazy().with_columns(pl.col("agent_id").cast(pl.Int64))
    with pytest.raises(pl.exceptions.InvalidOperationError):
        list(parts.parts(broken, calls.columns))
    assert next(parts.parts(calls.lazy(), calls.columns)).height


def test_counts_of_parts_add_up_and_ends_are_compared() -> None:
    some = [
        {"rows": 2, "low\tat": 5, "high": 9},
        {"rows": 1, "low\tat": None, "high": 3},
    ]
    assert added(some) == {"rows": 3, "low\tat": 5, "high": 9}
    tally = Tally(per=("x",))
    for groups in (["a", "b", "a"], ["b", None]):
        tally.add(pl.Series("x", groups).value_counts(name="n"))
    assert tally.total().rows() == [(None, 1), ("a", 2), ("b", 2)]
