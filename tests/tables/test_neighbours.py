from dataclasses import replace

import narwhals as nw
import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kpiaudit.tables import byrow, neighbours
from kpiaudit.tables import order as order_
from kpiaudit.tables.contacts import CONTACT, with_next_contact
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.neighbours import (
    ADDED,
    Sequence,
    ordered,
    standing_out,
    with_sorted,
    with_windows,
)
from kpiaudit.tables.packed import Packed

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


def test_legs_of_one_start_are_ordered_by_when_they_were_answered() -> None:
    rows = _rows(9, unit_ms=3_600_000, customers=40).collect().drop_nulls("at_ms")
    rows = rows.unique(["customer_id", "at_ms"], maintain_order=True).with_columns(
        call_id=pl.format("C{}", "row"), answered_at=pl.col("at_ms") + 5_000
    )
    legs = rows.with_columns(
        row=pl.col("row") + ROWS,
        answered_at=pl.when(pl.col("row") % 3 > 0).then(pl.col("at_ms")),
        short=1 - pl.col("short"),
    )
    both = pl.concat([rows, legs])
    how = Sequence(
        per="customer_id",
        at="at_ms",
        id="call_id",
        mark="short",
        horizon_ms=10**8,
        then=("answered_at",),
    )
    wanted = ["row", *ADDED]
    told = [
        with_sorted(both.sample(fraction=1.0, shuffle=True, seed=s).lazy(), how)
        .select(wanted)
        .sort("row")
        .collect()
        for s in range(3)
    ]
    windows = with_windows(nw.from_native(both.lazy()), how).to_native()
    told.append(
        windows.select("row", pl.col(ADDED).cast(pl.Int64)).sort("row").collect()
    )
    for other in told[1:]:
        assert_frame_equal(other, told[0])
    first = told[0].filter(pl.col("row") >= ROWS)
    assert first["next_gap_ms"].is_in([0]).all()
    assert (first["next_same"] == 1).all()


def test_parts_of_the_customers_give_what_all_give_at_once(monkeypatch) -> None:
    how = Sequence(per="customer_id", at="at_ms", id="call_id", horizon_ms=9_000)
    rows = _rows(8, unit_ms=1000, customers=700)
    whole = with_sorted(rows, how).collect()
    monkeypatch.setattr(order_, "SLICE", 450)
    assert_frame_equal(with_sorted(rows, how).collect(), whole)
    monkeypatch.setenv("KPIAUDIT_MEMORY_MB", "0.001")
    monkeypatch.setattr(order_, "PART", 450)
    assert_frame_equal(with_sorted(rows, how).collect(), whole)


def _calls(seed: int) -> Dataset:
    """Return calls of which some end before they begin, with and without customers."""
    rows = _rows(seed, unit_ms=60_000, customers=150)
    row = pl.col("row")
    rows = rows.with_columns(
        pl.when(row % 11 > 0).then("customer_id").alias("customer_id"),
        ended_at=pl.col("at_ms") + (row % 50 - 2) * 30_000,
        talk_s=(row % 50).cast(pl.Float64),
    )
    columns = {"calls": frozenset(rows.collect_schema().names())}
    return Dataset(frames={"calls": nw.from_native(rows)}, columns=columns)


def _next_contacts(data: Dataset) -> pl.DataFrame:
    """Look for each row's next contact by brute force."""
    rows = data.table("calls").to_native()
    contact = pl.col("at_ms").min().alias("begun")
    begun = rows.filter(
        pl.col("customer_id").is_not_null() & pl.col("at_ms").is_not_null()
    )
    begun = begun.group_by("customer_id", pl.col("call_id").fill_null("")).agg(contact)
    end = pl.coalesce("ended_at", "at_ms")
    later = (
        rows.select("row", "customer_id", end=end)
        .join(begun.select("customer_id", "begun"), on="customer_id")
        .filter(pl.col("begun") > pl.col("end"))
        .group_by("row")
        .agg((pl.col("begun") - pl.col("end")).min().alias(CONTACT))
    )
    known = pl.col("customer_id").is_not_null()
    return rows.filter(known).select("row").join(later, on="row", how="left").collect()


@pytest.mark.parametrize("memory", ["700", "0.001"])
def test_the_next_contact_is_the_first_to_begin_after_the_end(
    memory, monkeypatch
) -> None:
    monkeypatch.setenv("KPIAUDIT_MEMORY_MB", memory)
    monkeypatch.setattr(order_, "PART", 900)
    data = _calls(3)
    with_column = with_next_contact(ordered(data)).table("calls").to_native()
    known = with_column.filter(pl.col("customer_id").is_not_null())
    got = known.select("row", CONTACT).collect()
    assert_frame_equal(got.sort("row"), _next_contacts(data).sort("row"))
    assert got[CONTACT].count() > 1_000


def test_one_sort_serves_rows_that_were_left_out_and_what_is_on_disk(
    monkeypatch,
) -> None:
    data = ordered(_calls(4))
    frame = data.table("calls").to_native()
    some = frame.filter(pl.col("customer_id").is_not_null() & (pl.col("row") % 3 > 0))
    alone = Sequence(
        per="customer_id", at="at_ms", id="call_id", mark="short", horizon_ms=10**9
    )
    own = with_sorted(some.drop(order_.ROW), alone).collect()
    shared = replace(alone, order=data.orders["calls"])
    assert_frame_equal(with_sorted(some, shared).drop(order_.ROW).collect(), own)
    monkeypatch.setenv("KPIAUDIT_MEMORY_MB", "0.001")
    shared = replace(alone, order=ordered(_calls(4)).orders["calls"])
    assert_frame_equal(with_sorted(some, shared).drop(order_.ROW).collect(), own)


def test_legs_that_tie_stand_in_the_order_of_the_table_on_disk_too(monkeypatch) -> None:
    legs = pl.DataFrame(
        {
            "call_id": [f"C{i // 3}" for i in range(90)],
            "customer_id": [f"X{i // 3 % 7}" for i in range(90)],
            "at_ms": [i // 3 * 1000 for i in range(90)],
        }
    ).with_row_index(order_.ROW)

    def rows() -> list[int]:
        own = order_.Order(
            legs.lazy(), per=pl.col("customer_id").hash(), at="at_ms", id="call_id"
        )
        return [row for part in own.parts() for row in part.row.tolist()]

    once = rows()
    monkeypatch.setenv("KPIAUDIT_MEMORY_MB", "0.001")

    def late_first(frame: pl.LazyFrame) -> list[pl.DataFrame]:
        whole = frame.collect()
        return [whole[at : at + 10] for at in (80, 20, 0, 10, 70, 60, 30, 50, 40)]

    monkeypatch.setattr(order_, "parts", late_first)
    assert rows() == once


@pytest.mark.parametrize("memory", ["700", "0.001"])
def test_parts_tell_when_their_records_were_over(memory, monkeypatch) -> None:
    monkeypatch.setenv("KPIAUDIT_MEMORY_MB", memory)
    monkeypatch.setattr(order_, "PART", 900)
    data = ordered(_calls(6))
    at = pl.col("at_ms").fill_null(order_.NEVER)
    end = data.table("calls").to_native().select(end=pl.coalesce("ended_at", at))
    wanted = end.collect()["end"].to_numpy()
    order = data.orders["calls"]
    told = list(order.each(lambda part: (part.row, part.over), over=True))
    rows = np.concatenate([row for row, _ in told])
    assert sorted(rows.tolist()) == list(range(ROWS))
    assert (np.concatenate([over for _, over in told]) == wanted[rows]).all()
    # Where nobody asks they are not read: eight bytes a row.
    assert not any(order.each(lambda part: len(part.over)))


def test_a_column_on_disk_takes_values_window_by_window(monkeypatch) -> None:
    draw = np.random.default_rng(0)
    wanted = np.full(1_000, -1, dtype=np.int32)
    monkeypatch.setattr(byrow, "_WINDOW", 300)
    held = byrow.Held.of(1_000, np.int32(-1), on_disk=True)
    for _ in range(3):
        rows = draw.permutation(1_000)[:200].astype(np.uint32)
        values = draw.integers(0, 9, 200).astype(np.int32)
        held.put(rows, values)
        wanted[rows] = values
    there = pl.LazyFrame({byrow.ROW: np.arange(1_000, dtype=np.uint32)})
    got = there.select(held.look().alias("value")).collect()["value"]
    assert got.to_list() == wanted.tolist()


def test_customers_stand_out_by_the_same_counts_in_both_forms() -> None:
    data = ordered(_calls(5))
    frame = data.table("calls").filter(~nw.col("customer_id").is_null())
    how = Sequence(
        per="customer_id", at="at_ms", id="call_id", mark="short", horizon_ms=0
    )
    names = []
    for order in (None, data.orders["calls"]):
        found = standing_out(frame, replace(how, order=order), least=14, most=31)
        names.append(sorted(found.collect()["customer_id"].to_list()))
    assert names[0] == names[1]
    assert 10 < len(names[0]) < 140


def test_customers_whose_hashes_agree_in_the_sorted_half_stay_apart() -> None:
    upper = np.uint64(5 << 32)
    who = np.array([upper + 2, upper + 1, upper + 2, upper + 1], dtype=np.uint64)
    at = np.array([4_000, 3_000, 2_000, 1_000])
    packed = Packed.of(who, at)
    order, mine, when = packed.order((0, 4), who, at, np.zeros(4, dtype=np.uint64))
    assert who[order].tolist() == mine.tolist() == sorted(who.tolist())
    assert at[order].tolist() == when.tolist() == [1_000, 3_000, 2_000, 4_000]


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
    assert ["python_udf" in plan for plan in plans] == [True, False]
