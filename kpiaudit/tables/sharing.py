"""What several summaries read, computed once; loads no engine of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kpiaudit.tables.dataset import Frame


def once(frame: Frame) -> Frame:
    """Ask for a frame that several others read to be computed once.

    Polars does so when told to. DuckDB and Spark would plan, and run, the whole of it
    for each of the others, so they write it to a disk at once: DuckDB to the temporary
    folder, Spark where its executors are.
    """
    if not frame.implementation.is_polars():
        return _on_disk(frame)
    shared: Frame = nw.from_native(frame.to_native().cache())
    return shared


def _on_disk(frame: Frame) -> Frame:
    # Loaded where they are needed: polars by the first, nothing by the others.
    from kpiaudit.tables.engine import finishing  # noqa: PLC0415
    from kpiaudit.tables.engines.duck import on_disk  # noqa: PLC0415
    from kpiaudit.tables.engines.spark import on_executors  # noqa: PLC0415

    write = on_disk if frame.implementation.is_duckdb() else on_executors
    with finishing():
        kept: Frame = nw.from_native(write(frame.to_native())).lazy()
    return kept


def narrow(frame: Frame, texts: Iterable[str]) -> Frame:
    """Write texts of few different words as numbers, where rows wait in memory.

    Only in polars, where a text takes 16 bytes in each row: what is grouped by them is
    the same and in the same order. `engine.collect` returns texts again.

    Args:
        frame: Rows that several others are counted from.
        texts: Columns of it that are grouped by, and not compared with anything.
    """
    if not frame.implementation.is_polars():
        return frame
    return frame.with_columns(nw.col(name).cast(nw.Categorical) for name in texts)


_ON_DISK = 30_000_000
"""Rows of a table from which a tenth of them is not kept in memory."""


def settled(
    frames: Mapping[str, Frame],
    *,
    rows: int = 0,
    small: bool = False,
    alike: bool = True,
) -> dict[str, Frame]:
    """Compute frames at once, which others are then joined with or counted from.

    Polars would read a table until what is joined is complete, and keep all of it in
    memory meanwhile; and of a frame that several others are counted from it keeps all
    until the last of them is done. Other engines work as in `once`.

    Args:
        frames: Few rows each, by any name; all on the same engine.
        rows: Rows of the table that the frames hold a share of, where that share may
            be large; the frames then go to disk.
        small: Whether all tables have few rows (`Dataset.small`).
        alike: As in `engine.collect`.
    """
    from kpiaudit.tables.engine import collect  # noqa: PLC0415  # loads polars
    from kpiaudit.tables.spill import sunk  # noqa: PLC0415

    if not all(frame.implementation.is_polars() for frame in frames.values()):
        return {name: once(frame) for name, frame in frames.items()}
    if rows >= _ON_DISK:
        return {n: nw.from_native(sunk(f.to_native())) for n, f in frames.items()}
    found = collect(frames, texts=False, small=small, alike=alike)
    return {n: nw.from_native(f.lazy()) for n, f in found.items()}


def nothing(settled_: Frame) -> bool:
    """Say whether a frame that was settled has no row; other engines don't know."""
    if not settled_.implementation.is_polars():
        return False
    return bool(settled_.head(1).collect().is_empty())
