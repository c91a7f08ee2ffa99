import narwhals as nw
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kpiaudit.tables import neighbours
from kpiaudit.tables.neighbours import ADDED, Sequence, with_sorted, with_windows

ROWS = 4_000


def _rows(seed: int, *, unit_ms: int, customers: int) -> pl.LazyFrame:
    draw = np.random.default_rng(seed)
    at = draw.integers(0, 3_000, ROWS) * unit_ms
    frame = pl.DataFrame(
        {
            "row": np.arange(ROWS),
            "customer_id": draw.integers(0, customers, ROWS),
            "call_id": draw.integers(0, ROWS // 2, ROWS),
            "at_ms": at,
            "short": draw.integers(0, 2, ROWS),
        }
    )
    return frame.select(
        "row",
        pl.format("K{}", "customer_id").alias("customer_id"),
        # legs of a call share its instant or come later; some have no id or instant
        pl.when(pl.col("call_id") > 20).then(pl.format("C{}", "call_id")),
        pl.when(pl.col("row") % 97 > 0).then("at_ms").alias("at_ms"),
        "short",
    ).lazy()


def _both(rows: pl.LazyFrame, how: Sequence) -> tuple[pl.DataFrame, pl.DataFrame]:
    # Rows that tie in instant and id have no order of their own: leave them out.
    rows = rows.unique(["customer_id", "at_ms", "call_id"], maintain_order=True)
    sorted_ = with_sorted(rows, how).collect()
    windows = with_windows(nw.from_native(rows), how).to_native().collect()
    wanted = ["row", *ADDED]
    return sorted_.select(wanted), windows.select(wanted).with_columns(
        pl.col(ADDED).cast(pl.Int64)
    )


@pytest.mark.parametrize("unit_ms", [1, 400, 1000, 3_600_000])
@pytest.mark.parametrize("customers", [3, 900])
@pytest.mark.parametrize("with_id", [True, False])
def test_the_kernel_equals_the_windows(
    unit_ms: int, customers: int, with_id: bool
) -> None:
    how = Sequence(
        per="customer_id",
        at="at_ms",
        id="call_id" if with_id else None,
        mark="short",
        horizon_ms=20 * unit_ms,
    )
    rows = _rows(7, unit_ms=unit_ms, customers=customers)
    if not with_id:
        rows = rows.unique(["customer_id", "at_ms"], maintain_order=True)
    kernel, windows = _both(rows, how)
    assert_frame_equal(kernel, windows)
    assert kernel["next_gap_ms"].count() > 100


def test_parts_of_the_customers_give_what_all_give_at_once(monkeypatch) -> None:
    how = Sequence(per="customer_id", at="at_ms", id="call_id", horizon_ms=9_000)
    rows = _rows(8, unit_ms=1000, customers=700)
    whole = with_sorted(rows, how).collect()
    monkeypatch.setattr(neighbours, "PART", 450)
    assert_frame_equal(with_sorted(rows, how).collect(), whole)


def test_customers_whose_hashes_agree_in_the_sorted_half_stay_apart() -> None:
    upper = np.uint64(5 << 32)
    who = np.array([upper + 2, upper + 1, upper + 2, upper + 1], dtype=np.uint64)
    at = np.array([4_000, 3_000, 2_000, 1_000])
    order = neighbours._order(who, at, np.zeros(4, dtype=np.uint64))
    assert who[order].tolist() == sorted(who.tolist())
    assert at[order].tolist() == [1_000, 3_000, 2_000, 4_000]


def test_an_empty_table_has_no_neighbours() -> None:
    how = Sequence(per="customer_id", at="at_ms", id="call_id", horizon_ms=9_000)
    rows = _rows(1, unit_ms=1, customers=3).filter(pl.col("row") < 0)
    assert with_sorted(rows, how).collect().height == 0


def test_a_horizon_past_the_kernels_reach_uses_windows() -> None:
    frame = nw.from_native(_rows(1, unit_ms=1, customers=3))
    near = Sequence(per="customer_id", at="at_ms", id=None, horizon_ms=2**20)
    far = Sequence(per="customer_id", at="at_ms", id=None, horizon_ms=2**40)
    plans = [
        neighbours.with_neighbours(frame, how).to_native().explain()
        for how in (near, far)
    ]
    assert ["HCONCAT" in plan for plan in plans] == [True, False]
