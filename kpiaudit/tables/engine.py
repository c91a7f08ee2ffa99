"""Collects the detectors' lazy summaries, whatever engine they run on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import polars as pl
from polars import selectors

from kpiaudit.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from kpiaudit.tables.dataset import Frame

_NARROWED = selectors.categorical()
_TURNS = 4  # queries that a Spark session has under way at once


def collect(
    frames: Mapping[str, Frame],
    *,
    texts: bool = True,
    small: bool = False,
    alike: bool = True,
) -> dict[str, pl.DataFrame]:
    """Run lazy frames together, so that what they share is read once.

    Args:
        frames: Narwhals lazy frames by name, on polars, DuckDB or Spark.
        texts: Whether texts that were narrowed (`sharing.narrow`) are texts again.
        small: Whether the rows are few (`Dataset.small`): polars then sets up no
            stream, which would take longer than the counting.
        alike: Whether polars looks for what the frames share, beside what it was told
            (`sharing.once`); where it was told all, looking makes it read twice.

    Returns:
        Polars frames by the same names, in the same order.

    Raises:
        TableError: The engine ran out of memory or disk, or lost its data.
    """
    native = {name: frame.to_native() for name, frame in frames.items()}
    lazy = {n: f for n, f in native.items() if isinstance(f, pl.LazyFrame)}
    if texts:
        lazy = {n: f.with_columns(_NARROWED.cast(pl.String)) for n, f in lazy.items()}
    ran = pl.collect_all(
        list(lazy.values()),
        engine="in-memory" if small else "streaming",
        optimizations=pl.QueryOptFlags(comm_subplan_elim=alike),
    )
    done = dict(zip(lazy, ran, strict=True))
    rest = [name for name in frames if name not in done]
    # A cluster plans one query while it runs another; a DuckDB connection does not.
    turns = _TURNS if rest and "pyspark" in type(native[rest[0]]).__module__ else 1
    with ThreadPoolExecutor(turns) as pool:
        done |= zip(
            rest, pool.map(_collected, [frames[name] for name in rest]), strict=True
        )
    return {name: done[name] for name in frames}


def _collected(frame: Frame) -> pl.DataFrame:
    """Bring a small frame from DuckDB or Spark; their sums of integers are decimals."""
    with finishing():
        found: pl.DataFrame = frame.collect("polars").to_native()
    whole = [n for n, t in found.schema.items() if isinstance(t, pl.Decimal)]
    whole = [n for n in whole if not getattr(found.schema[n], "scale", 0)]
    return found.with_columns(pl.col(n).cast(pl.Int64) for n in whole)


@contextmanager
def finishing() -> Iterator[None]:
    """Say what to do where DuckDB or Spark can't finish a query.

    Raises:
        TableError: The engine ran out of memory or disk, or lost its data.
    """
    try:
        yield
    except Exception as error:
        engine = type(error).__module__.partition(".")[0].lstrip("_")
        if engine not in {"duckdb", "pyspark", "py4j"}:
            raise
        raise TableError(
            f"{engine} could not finish a query: {str(error).strip()[:300]}. If memory "
            "or disk ran out, give it more (KPIAUDIT_MEMORY_MB, TMPDIR; see "
            "docs/engines.md), or scan a shorter period."
        ) from error


def objects(column: pl.Series) -> NDArray[Any]:
    """Return a column as an object array; equal texts are one object in it."""
    if column.dtype != pl.String:
        return np.array(column.to_list(), dtype=object)
    texts = column.drop_nulls().unique(maintain_order=True)
    different = np.empty(len(texts) + 1, dtype=object)
    different[:-1] = texts.to_list()
    place = column.cast(pl.Enum(texts)).to_physical().cast(pl.Int64)
    return np.asarray(different[place.fill_null(len(texts)).to_numpy()])


def flag(condition: nw.Expr) -> nw.Expr:
    """Return 1 where a condition holds and 0 elsewhere: what every engine can sum."""
    return nw.when(condition).then(1).otherwise(0).cast(nw.Int64)


def counted(frame: Frame, wanted: Mapping[str, nw.Expr]) -> dict[str, Any]:
    """Return aggregates of a frame by name: whole numbers, texts, or None."""
    if not wanted:
        return {}
    # Engines differ in which marks they bear in a name.
    names = {f"c{i}": name for i, name in enumerate(wanted)}
    short = {c: wanted[name] for c, name in names.items()}
    row = collect({"": frame.select(**short)})[""].row(0, named=True)
    return {
        names[c]: v if v is None or isinstance(v, str) else int(v)
        for c, v in row.items()
    }
