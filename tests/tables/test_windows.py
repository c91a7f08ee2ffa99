"""The kernel for polars and the windows of every engine say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kpiaudit.tables.engine import collect
from kpiaudit.tables.windows import NEVER, Along, highest_before, stepped, upcoming
from tests.engines import OTHERS, native

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpiaudit.tables.dataset import Frame

ROWS = 400
ALONG = Along(per=("customer", "matter"), order=("at", "row"))


def _rows() -> pl.DataFrame:
    draw = np.random.default_rng(3)
    return pl.DataFrame(
        {
            "row": np.arange(ROWS),
            "customer": draw.integers(0, 60, ROWS),
            "matter": draw.integers(0, 3, ROWS),
            "at": draw.integers(-50, 300, ROWS),
            "kind": draw.integers(0, 3, ROWS),
            "day": draw.integers(-9, 20_000, ROWS),
        }
    ).with_columns(
        pl.when(pl.col("customer") > 4).then(pl.format("K{}", "customer")),
        pl.when(pl.col("matter") > 0).then(pl.format("M{}", "matter")),
        pl.when(pl.col("day") % 7 > 0).then("day").otherwise(-1_000_000),
    )


def _steps(frame: Frame) -> Frame:
    beside = {"after": ("matter", -1), "before": ("at", 1), "second": ("day", 2)}
    return stepped(frame, ALONG, beside)


def _highest(frame: Frame) -> Frame:
    return highest_before(frame, ALONG, "day", -1_000_000)


def _next(frame: Frame) -> Frame:
    return upcoming(frame, ALONG, "kind", {"next_0": 0, "next_2": 2})


@pytest.mark.parametrize("ask", [_steps, _highest, _next])
@pytest.mark.parametrize("engine", OTHERS)
def test_engines_agree(engine: str, ask: Callable[[Any], Any]) -> None:
    found = {
        name: collect({"": ask(nw.from_native(native(_rows(), name)).lazy())})[""]
        for name in ("polars", engine)
    }
    kernel, windows = (frame.sort("row") for frame in found.values())
    assert kernel.shape[0] == ROWS
    assert_frame_equal(kernel, windows, check_dtypes=False)


def test_the_next_event_may_be_the_row_itself_or_none_at_all() -> None:
    rows = pl.LazyFrame(
        {"who": ["A", "A", "A", "B"], "at": [5, 1, 9, 2], "kind": [1, 0, 0, 0]}
    )
    along = Along(per=("who",), order=("at",))
    found = collect({"": upcoming(nw.from_native(rows), along, "kind", {"one": 1})})
    assert found[""]["one"].to_list() == [5, 5, NEVER, NEVER]
