"""Texts of a typed file: columns of few different ones, and of many."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kpiaudit.tables import columns as cols
from kpiaudit.tables import parse, typedfile
from kpiaudit.tables.cells import NULLS, SHEET_ERRORS
from kpiaudit.tables.load import load
from kpiaudit.tables.typedcell import UNLIKE

ODD = (
    *(" K1", "K2\u2003", "#REF!", "#ref!", "#N/A", "n/a", "NULL", "None", "-", ""),
    *("4.92E+11", " 5E+10", "4,9E+11", "K 3", "K#4", "1e5", "nonesuch", None),
)


def test_no_odd_text_goes_by_the_first_question() -> None:
    """What is read otherwise than it stands, or told of in a note, is looked at."""
    spaces = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
    padded = [text for space in spaces for text in (f"{space}K", f"K{space}")]
    frame = pl.DataFrame({"x": [*ODD, *NULLS, *SHEET_ERRORS, *padded]})
    x = pl.col("x")
    odd = parse.sheet_error(x) | x.str.contains(cols.ROUNDED)
    odd |= ~parse.texts(cols.without_rounded(x)).eq_missing(x)
    found = frame.select(odd=odd.fill_null(value=False), met=x.str.contains(UNLIKE))
    assert found.filter(pl.col("odd"))["met"].all()
    assert not pl.Series(["K1", "K 3", "K#4", "1e5"]).str.contains(UNLIKE).any()


@pytest.mark.parametrize("odd", [(), ODD])
def test_columns_of_many_texts_are_read_like_those_of_few(
    monkeypatch: pytest.MonkeyPatch, odd: tuple[str | None, ...]
) -> None:
    """What is asked first of a column of many texts overlooks nothing."""
    texts = [*(f"K{i:03d}" for i in range(200)), *odd]
    calls = pl.DataFrame(
        {
            "call_id": [f"C{i:03d}" for i in range(len(texts))],
            "customer_id": texts,
            "agent_id": ["A1", "A2"] * (len(texts) // 2) + ["A1"] * (len(texts) % 2),
            "started_at": [1_772_409_600_000 + 60_000 * i for i in range(len(texts))],
            "talk_s": [60 + i for i in range(len(texts))],
        }
    )
    few = load(tables={"calls": calls})
    monkeypatch.setattr(typedfile, "_FEW_WORDS", 0)
    many = load(tables={"calls": calls})
    told = [[(n.kind, n.count) for n in data.notes] for data in (many, few)]
    assert told[0] == told[1]
    assert_frame_equal(
        many.table("calls").collect().to_native(),
        few.table("calls").collect().to_native(),
    )
