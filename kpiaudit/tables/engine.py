"""Collects the detectors' lazy summaries, whatever engine they run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.tables.dataset import Frame


def collect(frames: Mapping[str, Frame]) -> dict[str, pl.DataFrame]:
    """Run lazy frames together, so that what they share is read once.

    Args:
        frames: Narwhals lazy frames by name, on polars, DuckDB or Spark.

    Returns:
        Polars frames by the same names, in the same order.
    """
    native = {name: frame.to_native() for name, frame in frames.items()}
    lazy = {n: f for n, f in native.items() if isinstance(f, pl.LazyFrame)}
    done = dict(
        zip(lazy, pl.collect_all(list(lazy.values()), engine="streaming"), strict=True)
    )
    return {
        name: done[name] if name in done else frames[name].collect("polars").to_native()
        for name in frames
    }
