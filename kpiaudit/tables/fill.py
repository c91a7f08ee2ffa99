"""Rows that two files tell of one record: the one fills what the other lacks."""

from __future__ import annotations

import polars as pl

PIECE = "__piece__"


def filled(frame: pl.LazyFrame, key: str) -> tuple[pl.LazyFrame, int]:
    """Put rows of several files with the same key together.

    A key that a single file has twice is left alone: which row is meant can't be told.

    Args:
        frame: Rows with `PIECE`, the rank of their file: the smaller one has its say.
        key: Column that names a row.

    Returns:
        The rows without `PIECE`, and how many were put together.
    """
    keys = frame.select(key, PIECE).filter(pl.col(key).is_not_null())
    count = keys.group_by(key).agg(rows=pl.len(), files=pl.col(PIECE).n_unique())
    both = count.filter((pl.col("files") > 1) & (pl.col("rows") == pl.col("files")))
    shared = both.collect(engine="streaming")[key]
    if shared.is_empty():
        return frame.drop(PIECE), 0
    inside = pl.col(key).is_in(shared.implode()).fill_null(value=False)
    joined = (
        frame.filter(inside)
        .collect()
        .sort(PIECE, maintain_order=True)
        .group_by(key, maintain_order=True)
        .agg(pl.exclude(PIECE).drop_nulls().first())
    )
    rest = frame.filter(~inside).drop(PIECE)
    return pl.concat([rest, joined.lazy()], how="diagonal"), joined.height
