"""Whether tables are built on an engine beside polars, and on which."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpiaudit.errors import RuleError, guess
from kpiaudit.tables.engines.backend import ENGINES, NotCanonicalError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kpiaudit.tables.dataset import Dataset
    from kpiaudit.tables.engines.backend import Backend
    from kpiaudit.tables.ready import Period


def elsewhere(
    name: str,
    *,
    paths: Sequence[str | Path],
    tables: Mapping[str, Sequence[Any] | Any] | None,
    told: object,
    timezone: str,
    period: Period,
    max_unreadable: float,
    only: Collection[str] | None,
) -> Dataset | None:
    """Build the dataset on DuckDB or Spark; None if polars is to read the input.

    A frame of theirs says where it is to be worked on. DuckDB works in this process:
    relations that are not canonical, or stand beside other frames, are polars' to
    read. Nothing of Spark's is ever brought here.

    Args:
        name: Engine that was asked for.
        paths: As in `load`, like the rest.
        tables: Paths, names or frames by table.
        told: A mapping or a preset, which only polars applies.
        timezone: Zone of days and hours.
        period: First instant that is kept and first that is not.
        max_unreadable: Share of a column's cells that may be unreadable.
        only: Columns that will be used.

    Raises:
        RuleError: There is no such engine, or the input is not for it.
    """
    if name not in ENGINES:
        raise RuleError(
            f"There is no engine '{name}'.{guess(name, ENGINES)} Engines are "
            f"{', '.join(ENGINES)}."
        )
    engine = _engine(name, paths, tables)
    if engine is None:
        return None
    loose = name == "polars" and engine.name == "duckdb"
    if told and loose:
        return None
    if told:
        raise RuleError(
            f"--engine {engine.name} reads canonical Parquet, to which no mapping and "
            "no preset applies. Run 'kpiaudit convert' with it first, then scan what "
            "that wrote."
        )
    from kpiaudit.tables.engines.load import load_on  # noqa: PLC0415  # other engines

    try:
        return load_on(
            engine,
            paths=paths,
            tables=tables,
            timezone=timezone,
            period=period,
            max_unreadable=max_unreadable,
            only=only,
        )
    except NotCanonicalError:
        if loose:
            return None
        raise


def _engine(
    name: str,
    paths: Sequence[str | Path],
    tables: Mapping[str, Sequence[Any] | Any] | None,
) -> Backend | None:
    items = [
        item
        for given in (tables or {}).values()
        for item in (given if isinstance(given, (list, tuple)) else (given,))
    ]
    frames = [item for item in items if not isinstance(item, (str, Path))]
    kinds = {_kind(frame) for frame in frames}
    if "spark" in kinds or (name == "spark" and frames):
        if kinds != {"spark"}:
            raise RuleError(
                "Spark DataFrames can't be scanned beside frames of other libraries. "
                "Make them Spark's with spark.createDataFrame, or give a path."
            )
        from kpiaudit.tables.engines.spark import Spark  # noqa: PLC0415  # optional

        return Spark(_session_of(frames[0]))
    if name == "polars":
        alone = kinds == {"duckdb"} and len(frames) == len(items) and not paths
        _refuse_names(items)
        return _backend("duckdb") if alone else None
    if frames:
        if kinds == {"duckdb"} and len(frames) == len(items) and not paths:
            return _backend("duckdb")
        raise RuleError(
            f"--engine {name}: frames of other libraries and files can't be scanned "
            "together on it. Give all as files, or leave the engine out."
        )
    return _backend(name)


def _backend(name: str) -> Backend:
    """Return an engine by its name, whose package is imported only now."""
    if name == "duckdb":
        from kpiaudit.tables.engines.duck import Duck  # noqa: PLC0415  # optional

        return Duck()
    from kpiaudit.tables.engines.spark import Spark  # noqa: PLC0415  # optional

    return Spark()


def _refuse_names(items: Sequence[Any]) -> None:
    """Refuse a name in Spark's catalogue, which polars takes for a file."""
    for item in items:
        if isinstance(item, str) and item.startswith("spark:"):
            raise RuleError(f"{item}: tables by name need --engine spark.")


def _kind(frame: Any) -> str:
    """Return the engine of a frame, its narwhals wrapper taken off."""
    import narwhals as nw  # noqa: PLC0415  # frames only

    native = nw.to_native(frame, pass_through=True)
    module = type(native).__module__.lstrip("_")
    if module.startswith("duckdb"):
        return "duckdb"
    return "spark" if module.startswith("pyspark.sql") else "other"


def _session_of(frame: Any) -> Any:
    import narwhals as nw  # noqa: PLC0415  # frames only

    return nw.to_native(frame, pass_through=True).sparkSession
