"""Whatever is done to an export: rows read and rows rejected are the rows made."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kpiaudit.errors import KpiauditError
from kpiaudit.tables.load import load
from tests.tables.strategies import Export, exports

if TYPE_CHECKING:
    import polars as pl

    from kpiaudit.tables.dataset import Dataset

_QUICK = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def read(data: bytes) -> Dataset:
    return load(tables={"calls": "-"}, stdin=io.BytesIO(data), max_unreadable=1)


def frame(data: Dataset) -> pl.DataFrame:
    return data.frames["calls"].to_native().collect().sort("call_id")


@_QUICK
@given(exports(damage=False))
def test_a_sound_export_is_read_cell_by_cell(export: Export):
    data = read(export.data)
    found = frame(data)
    assert data.inputs[0].rejected == 0
    assert data.inputs[0].rows == export.rows
    assert found["agent_id"].to_list() == [row[1] for row in export.cells]
    assert found["talk_s"].to_list() == [float(row[3]) for row in export.cells]
    if data.has("calls.reason"):
        nothing = {"-", "--"}
        want = [None if row[4] in nothing else row[4] for row in export.cells]
        assert found["reason"].to_list() == want


@_QUICK
@given(exports())
def test_rows_read_and_rows_rejected_are_the_rows_made(export: Export):
    assume(len(export.damaged) < export.rows)
    data = read(export.data)
    assert data.inputs[0].rows + data.inputs[0].rejected == export.rows
    assert data.inputs[0].rejected == len(export.damaged)


@_QUICK
@given(exports(), st.data())
def test_no_bytes_end_in_anything_but_a_message(export: Export, draw: st.DataObject):
    data = bytearray(export.data)
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, len(data) - 1))
        data[place] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(1, len(data)))
    # What can't be used is refused with a message; anything else would fail here.
    with suppress(KpiauditError):
        read(bytes(data[:cut]))


@pytest.mark.parametrize("blocks", [64, 700])
def test_the_size_of_a_block_changes_nothing(blocks, monkeypatch):
    rows = "".join(
        f'C{i},A{i % 3},"said ""{i}"",\nand left",2026-03-02 10:00:{i % 60:02d}\n'
        for i in range(200)
    )
    text = f"call_id,agent_id,reason,started_at\n{rows}".encode()
    want = frame(read(text))
    monkeypatch.setattr("kpiaudit.tables.source.BLOCK", blocks)
    assert frame(read(text)).equals(want)
