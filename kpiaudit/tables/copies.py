"""Rows that were delivered twice, found by their hashes and left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kpiaudit.tables import schema
from kpiaudit.tables.columns import KEPT_BY, RECORD
from kpiaudit.tables.packed import ascending
from kpiaudit.tables.sentence import SHOWN, Sentence
from kpiaudit.tables.spill import sunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from kpiaudit.tables.assemble import Assembled
    from kpiaudit.tables.mapping import Keep

MOST = 50_000_000
"""Hashes that are held at once while equal rows are looked for."""
_AT = "__at__"
_HASH = "__hash__"
_FEW = 20  # rows of which the ids are looked up for examples
_MANY = 10_000  # rows left out, above which a table on disk is written anew
_LEGS = ("call_id", "agent_id", "started_at")


def names_of_row(table: str, columns: Iterable[str]) -> list[str]:
    """Return the columns that name a row: of calls, the legs share their id."""
    columns = set(columns)
    legs = [n for n in _LEGS if n in columns]
    return legs if table == "calls" else [schema.key(table) or ""]


def settle(done: Assembled, keep: Keep | None = None) -> bool:
    """Leave out rows that stand a second time, and note them.

    Args:
        done: A table of which rows may be named alike.
        keep: By what the newest delivery of a record is told, if the mapping says.

    Returns:
        Whether any row was left out.
    """
    before, key = done.frame, schema.key(done.table)
    # First the newest of each record: an old state that has come back equals it.
    if keep:
        _drop_superseded(done, keep)
    if key or set(schema.ANCHORS.get(done.table, ())) & set(done.columns):
        _drop_equal(done)
    if key:
        _say_duplicate_ids(done, key)
    done.unsettled = False
    return done.frame is not before


def all_distinct(done: Assembled) -> bool:
    """Say whether no two rows have the same name: then no two are equal. Fast."""
    names = names_of_row(done.table, done.columns)
    if done.lazy:
        return not _again(done.frame, names, done.most)
    rows = done.frame.collect().select(names)
    return not repeats(rows.hash_rows().to_numpy())


def repeats(hashes: NDArray[np.uint64]) -> bool:
    """Say whether any hash is there twice. Sorting costs a third of counting them."""
    ordered = ascending(hashes)
    return bool((ordered[1:] == ordered[:-1]).any())


def _drop_equal(done: Assembled) -> None:
    """Drop rows that are equal in every mapped column, and count them."""
    cells = [n for n in done.columns if n != KEPT_BY]
    if done.lazy:
        gone = _equal_rows(done.frame, cells, done.most)
    else:
        frame = done.frame.collect()
        hashes = frame.select(cells).hash_rows()
        if not repeats(hashes.to_numpy()):
            return
        twice = frame.with_row_index(_AT).filter(hashes.is_duplicated())
        first = twice.unique(subset=cells, keep="first", maintain_order=True)
        gone = twice.join(first, on=_AT, how="anti")[_AT]
    names = _names_at(done, gone)
    _without(done, gone)
    if len(gone):
        done.notes.append(duplicate_rows(len(gone), names))


def duplicate_rows(count: int, names: Sequence[str] = ()) -> tuple[str, int, str]:
    """Say how many rows equal another: kind, count, sentence."""
    such = f" (such as {', '.join(names)})" if names else ""
    text = f"rows equal another in every mapped column and were left out{such}"
    return "duplicate-rows", count, Sentence(text, names)


def _names_at(done: Assembled, rows: pl.Series) -> list[str]:
    """Return the ids of the first few of some rows, given by position."""
    key = schema.key(done.table)
    if key not in done.columns or not len(rows):
        return []
    some = pl.col(_AT).is_in(rows.sort().head(_FEW).implode())
    found = done.frame.select(key).with_row_index(_AT).filter(some)
    named = found.collect(engine="streaming")[str(key)].drop_nulls()
    return named.unique(maintain_order=True).head(SHOWN).to_list()


def _equal_rows(frame: pl.LazyFrame, cells: list[str], most: int) -> pl.Series:
    """Find equal rows by their hashes, a bounded number of hashes at a time."""
    twice = _again(frame, cells, most)
    if not twice:
        return pl.Series(_AT, [], dtype=pl.get_index_type())
    again = pl.concat(twice)
    found = (
        frame.with_row_index(_AT)
        .filter(pl.struct(cells).hash().is_in(again.implode()))
        .collect(engine="streaming")
        .sort(_AT)
    )
    first = found.unique(subset=cells, keep="first", maintain_order=True)
    return found.join(first, on=_AT, how="anti")[_AT]


def _again(frame: pl.LazyFrame, cells: list[str], most: int) -> list[pl.Series]:
    """Return the hashes of rows, at `most` so many, that are there more than once."""
    hashed = frame.select(pl.struct(cells).hash().alias(_HASH))
    passes = max(1, -(-most // MOST))
    twice: list[pl.Series] = []
    for turn in range(passes):
        part = hashed
        if passes > 1:
            part = part.filter(pl.col(_HASH) % passes == turn)
        got = part.collect(engine="streaming").to_series()
        if repeats(got.to_numpy()):
            twice.append(got.filter(got.is_duplicated()).unique())
    return twice


def _without(done: Assembled, gone: pl.Series) -> None:
    """Leave rows out by their position."""
    if not len(gone):
        return
    at = pl.col(_AT).is_in(gone.implode())
    kept = done.frame.with_row_index(_AT).filter(~at).drop(_AT)
    if not done.lazy:
        kept = kept.collect().lazy()
    elif len(gone) > _MANY:
        # Every later pass would look the positions up again: write the rest once.
        kept = sunk(kept)
    done.frame = kept


def _drop_superseded(done: Assembled, keep: Keep) -> None:
    """Keep the newest delivery of each record, by the stamp that the mapping names."""
    per = [RECORD] if keep.record else list(keep.per) or [schema.key(done.table) or ""]
    if any(name not in (*done.columns, RECORD) for name in per):
        return
    stamps = (
        done.frame.select(*per, KEPT_BY)
        .with_row_index(_AT)
        .filter(pl.all_horizontal(pl.col(per).is_not_null()))
        .collect(engine="streaming")
        .sort(KEPT_BY, _AT, descending=[True, True], nulls_last=True)
    )
    newest = stamps.unique(subset=per, keep="first", maintain_order=True)
    gone = stamps.join(newest, on=_AT, how="anti")[_AT]
    names = _names_at(done, gone)
    _without(done, gone)
    if len(gone):
        text = (
            f"rows stand there again in a newer state; the newest by '{keep.column}' "
            f"of each {keep.record or ' and '.join(per)} was kept"
            + (f" (such as {', '.join(names)})" if names else "")
        )
        done.notes.append(("superseded-rows", len(gone), Sentence(text, names)))


def _say_duplicate_ids(done: Assembled, key: str) -> None:
    per = names_of_row(done.table, done.columns)
    if done.table == "calls" and "started_at" not in per:
        return
    cells = done.frame.filter(pl.col(key).is_not_null())
    hashes = cells.select(pl.struct(per).hash()).collect(engine="streaming").to_series()
    count = len(hashes) - hashes.n_unique()
    if count:
        again = hashes.filter(hashes.is_duplicated()).unique().sort().head(50)
        some = (
            cells.filter(pl.struct(per).hash().is_in(again.implode()))
            .select(pl.col(key).min())
            .collect(engine="streaming")
            .item()
        )
        done.notes.append(duplicate_ids(count, per, some))


def duplicate_ids(count: int, per: Sequence[str], some: str) -> tuple[str, int, str]:
    """Say how many rows share the names of another: kind, count, sentence."""
    text = (
        f"rows have the same {' and '.join(per)} as another but other values (such as "
        f"{some}); all were kept"
    )
    return "duplicate-ids", count, Sentence(text, (some,))
