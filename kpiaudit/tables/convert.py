"""A dataset to canonical Parquet: once, for repeated or large scans."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kpiaudit.errors import TableError, unwritable
from kpiaudit.leftovers import unfinished
from kpiaudit.tables import schema

if TYPE_CHECKING:
    from kpiaudit.tables.dataset import Dataset

HELPERS = ("at_ms", "day", "hour")


def convert(data: Dataset, folder: Path) -> tuple[Path, ...]:
    """Write every table as `<table>.parquet`, sorted by time and then by all columns.

    Instants become UTC timestamps; the helper columns are left out, since the loader
    makes them again for the zone of each scan. Files are written beside their
    destination and renamed: never half a table.

    Args:
        data: Loaded tables.
        folder: Made if it is absent.

    Returns:
        The files, in the order of the tables.

    Raises:
        KpiauditError: A file can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(_write(data, table, folder) for table in sorted(data.frames))
    except (OSError, pl.exceptions.ComputeError) as error:
        raise unwritable(
            f"{folder}: the tables",
            error,
            instead="Choose another folder with --output.",
        ) from error


def _write(data: Dataset, table: str, folder: Path) -> Path:
    native = data.table(table).to_native()
    if not isinstance(native, pl.LazyFrame):
        raise TableError(f"{table}: only tables that polars holds can be converted.")
    names = native.collect_schema().names()
    keep = [name for name in names if name not in HELPERS]
    order = [name for name in ("at_ms",) if name in names] + keep
    frame = native.sort(order, nulls_last=True).select(
        _instant(name) if is_instant(table, name) else pl.col(name) for name in keep
    )
    path = folder / f"{table}.parquet"
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{table}.", suffix=".parquet")
    os.close(handle)
    temporary = Path(name)
    try:
        with unfinished(temporary):
            frame.sink_parquet(temporary, compression="zstd", statistics=True)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return path


def is_instant(table: str, name: str) -> bool:
    """Say whether a canonical column holds instants (`at`, `..._at`, `valid_from`)."""
    column = schema.column(table, name)
    return column is not None and column.type == "instant"


def _instant(name: str) -> pl.Expr:
    return pl.from_epoch(name, time_unit="ms").dt.replace_time_zone("UTC")
