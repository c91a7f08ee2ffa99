"""What a spreadsheet could not work out is counted, and never passes as empty."""

import polars as pl
import pytest

from kpiaudit.errors import TableError
from kpiaudit.tables.load import load

ERRORS = ("#REF!", "#VALUE!", "#N/A", "#DIV/0!", "#NAME?", "#NUM!")


def export(**cells):
    rows = 200
    columns = {
        "call_id": [f"C{i}" for i in range(rows)],
        "agent_id": [f"A{i % 5}" for i in range(rows)],
        "customer_id": [f"K{i:06d}" for i in range(rows)],
        "ended_by": ["agent"] * rows,
        "started_at": [
            f"2026-03-02T10:{i // 60:02d}:{i % 60:02d}Z" for i in range(rows)
        ],
        "talk_s": [str(60 + i) for i in range(rows)],
    }
    for name, given in cells.items():
        columns[name][3 : 3 + len(given)] = list(given)
    return pl.DataFrame(columns)


def noted(data):
    return {
        n.detail.split("'")[1]: n for n in data.notes if n.kind == "spreadsheet-errors"
    }


@pytest.mark.parametrize("column", export().columns[1:])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_each_error_counts_as_empty_and_is_noted(tmp_path, column, form):
    frame = export(**{column: ERRORS})
    path = tmp_path / f"calls.{form}"
    getattr(frame, f"write_{form}")(path)
    data = load([path])
    note = noted(data)[column]
    assert note.count == len(ERRORS)
    assert not [
        n for n in data.notes if n.kind in {"unreadable-cells", "unknown-codes"}
    ]
    assert data.table("calls").collect()[column].is_null().sum() == len(ERRORS)
    if form == "csv":
        assert note.examples == ("data row 4", "data row 5", "data row 6")
        assert "such as '#REF!'" in note.detail


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("column", ["agent_id", "customer_id", "talk_s"])
def test_a_column_of_lost_values_is_refused_and_one_of_failed_lookups_is_not(
    tmp_path, column, form
):
    path = tmp_path / f"calls.{form}"
    getattr(export(**{column: ["#REF!"] * 12}), f"write_{form}")(path)
    with pytest.raises(TableError, match=rf"'{column}': 6\.0% .*#REF!"):
        load([path])
    getattr(export(**{column: ["#N/A"] * 12}), f"write_{form}")(path)
    assert noted(load([path]))[column].count == 12
