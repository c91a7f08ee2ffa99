"""What a customer's sequence of contacts says of each: the one before, the one after.

Two forms with one interface and equal results: windows, which every engine knows, and
a kernel for polars, which sorts one packed integer instead of three windows of texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import polars as pl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kpiaudit.tables.dataset import Frame

PART = 12_000_000
"""Rows that are sorted at once, at some 150 bytes each: the bound on the kernel."""

_LONGEST_MS = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Which rows follow each other.

    Args:
        per: Column that names the customer; rows without one are to be left out first.
        at: Instant in integer milliseconds.
        id: Column that names a contact, whose legs share it; None without one.
        mark: Column of 0 and 1; the row before counts only if it is 1 there.
        horizon_ms: Rows farther apart than this count as not following.
    """

    per: str
    at: str
    id: str | None
    mark: str | None = None
    horizon_ms: int


ADDED = ("next_gap_ms", "next_same", "mark_gap_ms")


def with_neighbours(frame: Frame, how: Sequence) -> Frame:
    """Add how far each row is from its customer's next and previous one.

    Args:
        frame: Rows with the columns that `how` names.
        how: Which rows follow each other.

    Returns:
        The frame with `next_gap_ms` (Int64; null if nothing follows within the
        horizon), `next_same` (1 if what follows is a leg of the same contact, else 0)
        and `mark_gap_ms` (Int64; null unless a marked row precedes within the
        horizon). Rows of a customer are ordered by instant, then id.
    """
    native = frame.to_native()
    if isinstance(native, pl.LazyFrame) and how.horizon_ms <= _LONGEST_MS:
        return nw.from_native(with_sorted(native, how))
    return with_windows(frame, how)


def with_windows(frame: Frame, how: Sequence) -> Frame:
    """Do it with windows, on any engine."""
    order = (how.at,) if how.id is None else (how.at, how.id)

    def beside(name: str, step: int) -> Any:
        return nw.col(name).shift(step).over(how.per, order_by=order)

    wanted = {"next_gap_ms": beside(how.at, -1), "next_same": nw.lit(0)}
    if how.id is not None:
        frame = frame.with_columns(nw.col(how.id).fill_null(""))
        wanted["next_same"] = beside(how.id, -1)
    marked = nw.lit(None, dtype=nw.Int64)
    if how.mark is not None:
        at = nw.when(nw.col(how.mark) == 1).then(nw.col(how.at))
        frame = frame.with_columns(mark_gap_ms=at)
        marked = beside("mark_gap_ms", 1)
    frame = frame.with_columns(**wanted, mark_gap_ms=marked)
    after = nw.col("next_gap_ms") - nw.col(how.at)
    before = nw.col(how.at) - nw.col("mark_gap_ms")
    same = nw.lit(0)
    if how.id is not None:
        leg = nw.col("next_same") == nw.col(how.id)
        same = _flag((after <= how.horizon_ms) & leg)
    return frame.with_columns(
        next_gap_ms=nw.when(after <= how.horizon_ms).then(after),
        next_same=same.cast(nw.Int64),
        mark_gap_ms=nw.when(before <= how.horizon_ms).then(before),
    )


def _flag(condition: Any) -> Any:
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0))


def with_sorted(native: pl.LazyFrame, how: Sequence) -> pl.LazyFrame:
    """Do it with one sort of packed integers, in polars, before anything is collected.

    While it ran inside a query, what that query had read until then waited in memory.
    """
    found = _Found(int(native.select(pl.len()).collect(engine="streaming").item()))
    parts = max(1, -(-len(found.next_gap) // PART))
    for part in range(parts):
        _fill(found, native, how, (part, parts))
    # Rows keep their order: what is computed by position is laid beside them.
    return pl.concat([native, found.frame().lazy()], how="horizontal").with_columns(
        pl.col(ADDED).cast(pl.Int64)
    )


class _Found:
    """The three columns by position of the row; -1 stands for nothing."""

    def __init__(self, rows: int) -> None:
        self.next_gap: NDArray[np.int32] = np.full(rows, -1, dtype=np.int32)
        self.next_same: NDArray[np.int8] = np.zeros(rows, dtype=np.int8)
        self.mark_gap: NDArray[np.int32] = np.full(rows, -1, dtype=np.int32)

    def frame(self) -> pl.DataFrame:
        """Return them as polars columns."""
        gaps = {"next_gap_ms": self.next_gap, "mark_gap_ms": self.mark_gap}
        frame = pl.DataFrame(gaps | {"next_same": self.next_same}, nan_to_null=False)
        return frame.select(
            pl.when(pl.col("next_gap_ms") >= 0).then("next_gap_ms"),
            "next_same",
            pl.when(pl.col("mark_gap_ms") >= 0).then("mark_gap_ms"),
        )


def _fill(
    found: _Found, native: pl.LazyFrame, how: Sequence, part: tuple[int, int]
) -> None:
    """Compute the rows of every `part[1]`-th customer."""
    rows = _narrow(native, how, part)
    if not rows.height:
        return
    who, at, id_, place = (rows[c].to_numpy() for c in ("who", "at", "id", "row"))
    order = _order(who, at, id_)
    order = _by_text(order, (who, at, id_), native, how, place)
    mark = rows["mark"].to_numpy()[order]
    who, at, id_, place = who[order], at[order], id_[order], place[order]
    gap = at[1:] - at[:-1]
    follows = (who[1:] == who[:-1]) & (gap <= how.horizon_ms)
    found.next_gap[place[:-1]] = np.where(follows, gap, -1)
    if how.id is not None:
        found.next_same[place[:-1]] = follows & (id_[1:] == id_[:-1])
    found.mark_gap[place[1:]] = np.where(follows & (mark[:-1] == 1), gap, -1)


def _narrow(native: pl.LazyFrame, how: Sequence, part: tuple[int, int]) -> pl.DataFrame:
    """Read what the order needs, as integers, with the position of each row."""
    some = pl.col("at").is_not_null()
    if part[1] > 1:
        some &= pl.col("who") % part[1] == part[0]
    id_, mark = pl.lit(0, pl.UInt64), pl.lit(0, pl.Int8)
    if how.id is not None:
        id_ = pl.col(how.id).fill_null("").hash()
    if how.mark is not None:
        mark = (pl.col(how.mark) == 1).fill_null(value=False).cast(pl.Int8)
    wanted = native.select(who=pl.col(how.per).hash(), at=how.at, id=id_, mark=mark)
    return wanted.with_row_index("row").filter(some).collect(engine="streaming")


def _order(
    who: NDArray[np.uint64], at: NDArray[np.int64], id_: NDArray[np.uint64]
) -> NDArray[np.intp]:
    """Return the rows' order by customer and instant, then by id where they tie.

    Half of the customer's hash and the second make one integer, which sorts several
    times faster than three columns; the few groups in which that is not enough are
    sorted by all three.
    """
    second = ((at - at.min()) // 1000).astype(np.uint64)
    key = (who & np.uint64(0xFFFFFFFF00000000)) | second
    order = pl.Series(key).arg_sort().to_numpy()
    key = key[order]
    group = key >> np.uint64(32)
    sorted_who = who[order]
    near = group[1:] == group[:-1]
    unclear = near & ((key[1:] == key[:-1]) | (sorted_who[1:] != sorted_who[:-1]))
    if unclear.any():
        again = np.flatnonzero(np.isin(group, group[1:][unclear]))
        rows = order[again]
        exact = np.lexsort((id_[rows], at[rows], who[rows], group[again]))
        order = order.copy()
        order[again] = rows[exact]
    return order


def _by_text(
    order: NDArray[np.intp],
    keys: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    native: pl.LazyFrame,
    how: Sequence,
    place: NDArray[Any],
) -> NDArray[np.intp]:
    """Order rows of one customer at one instant by the text of their ids."""
    if how.id is None:
        return order
    who, at, id_ = (key[order] for key in keys)
    tied = (who[1:] == who[:-1]) & (at[1:] == at[:-1])
    if not (tied & (id_[1:] != id_[:-1])).any():
        return order
    spots = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
    rows = order[spots]
    at_row = place[rows]
    texts = (
        native.select(pl.col(how.id).fill_null("").alias("text"))
        .with_row_index("row")
        .filter(pl.col("row").is_in(pl.Series(at_row.astype(np.uint32)).implode()))
        .collect(engine="streaming")
    )
    rank = texts.with_columns(rank=pl.col("text").rank("dense"))
    known = dict(zip(rank["row"].to_list(), rank["rank"].to_list(), strict=True))
    ranks = np.array([known[row] for row in at_row.tolist()])
    group = np.cumsum(np.append(False, ~tied))[spots]
    order = order.copy()
    order[spots] = rows[np.lexsort((ranks, group))]
    return order
