"""Paths, catalogue tables and lazy frames to pieces of canonical tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import narwhals as nw
import polars as pl

from kpiaudit.errors import RuleError, TableError, guess
from kpiaudit.findings import DataNote
from kpiaudit.frozen import frozen
from kpiaudit.tables import schema
from kpiaudit.tables.discover import discover, named_sources
from kpiaudit.tables.engines.backend import NotCanonicalError
from kpiaudit.tables.recognise import CANONICAL, Known, UnrecognisedError, recognise
from kpiaudit.tables.source import Source, magic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kpiaudit.tables.engines.backend import Backend

CATALOGUE = "spark:"
_REMOTE = ("dbfs:/",)


@frozen
class File:
    """One path, catalogue table or frame, as the report lists it.

    Args:
        display: As given.
        place: Where it stands among all that was given.
        rows: Its rows, if a footer told them.
        source: The file, if it is one.
    """

    display: str
    place: int
    rows: int | None = None
    source: Source | None = None


@frozen
class Piece:
    """Input of one canonical table with one schema, not read yet.

    Args:
        table: Canonical table.
        display: How messages name it.
        native: Lazy frame of the engine.
        cells: Source column of each canonical one.
        files: What it consists of.
        void: Canonical columns of Parquet's type null, which engines read differently.
    """

    table: str
    display: str
    native: Any
    cells: Mapping[str, str]
    files: tuple[File, ...]
    void: frozenset[str] = frozenset()


def pieces(
    paths: Sequence[str | Path],
    tables: Mapping[str, Sequence[Any] | Any] | None,
    engine: Backend,
    notes: list[DataNote],
) -> list[Piece]:
    """Return what is to be read, grouped by table and schema.

    Args:
        paths: Files, folders and globs.
        tables: Paths, `spark:database.table` names or frames, by canonical table.
        engine: The engine.
        notes: Files of a folder that nothing recognises are added.

    Raises:
        NotCanonicalError: Something is no canonical Parquet.
        TableError: Something can't be read.
        RuleError: There is no such table.
    """
    found: list[Piece] = []
    local: list[Source] = []
    if paths or not tables:
        local += discover(paths)
    for table, item in _items(tables):
        display = _beyond(item)
        if display is None:
            local += _named(table, item)
            continue
        native = _native(item, engine)
        cells = _cells(Source(display=display, table=table, named=True), native, engine)
        files = (File(display=display, place=len(found)),)
        found.append(
            Piece(table=table, display=display, native=native, cells=cells, files=files)
        )
    found += _local(local, engine, notes)
    if not found:
        text = notes[0].detail if notes else "There is no input."
        raise TableError(text)
    return found


def _items(tables: Mapping[str, Any] | None) -> Iterator[tuple[str, Any]]:
    for table, given in (tables or {}).items():
        if table not in schema.TABLES:
            raise RuleError(
                f"There is no table '{table}'.{guess(table, schema.TABLES)} Tables "
                f"are {', '.join(schema.TABLES)}."
            )
        for item in given if isinstance(given, (list, tuple)) else (given,):
            yield table, item


def _beyond(item: Any) -> str | None:
    """Return the name of what is no local file; None for what is."""
    if not isinstance(item, (str, Path)):
        return "<frame>"
    text = str(item)
    beyond = text.startswith((CATALOGUE, *_REMOTE)) or "://" in text
    return text if beyond else None


def _named(table: str, item: str | Path) -> Iterator[Source]:
    if str(item) == "-":
        raise RuleError(
            "--table TABLE=-: standard input is read with --engine polars only."
        )
    for _, source in named_sources({table: [item]}, None):
        yield source


def _native(item: Any, engine: Backend) -> Any:
    if not isinstance(item, (str, Path)):
        return nw.to_native(nw.from_native(item).lazy())
    text = str(item)
    if text.startswith(CATALOGUE):
        return engine.table(text.removeprefix(CATALOGUE))
    if engine.name != "spark":
        raise TableError(
            f"{text}: --engine {engine.name} reads local files. Copy it here, or use "
            "--engine spark."
        )
    return engine.parquet([text])


def _cells(
    source: Source, native: Any, engine: Backend, header: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return which column is which canonical one; the headers must be canonical."""
    header = header or tuple(nw.from_native(native).collect_schema().names())
    try:
        match = recognise(source, header, Known())
    except UnrecognisedError as error:
        if source.table is None and not source.named:
            raise
        why = "its columns are not canonical"
        raise NotCanonicalError(source.display, why, engine.name) from error
    if match.mapping.name != CANONICAL:
        why = f"its columns are those of the preset '{match.mapping.name}'"
        raise NotCanonicalError(source.display, why, engine.name)
    (target,) = match.mapping.targets
    return {name: cell.columns[0] for name, cell in target.cells.items()}


def _local(
    sources: Sequence[Source], engine: Backend, notes: list[DataNote]
) -> Iterator[Piece]:
    """Group local Parquet files by table and schema: one read for each group."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[File]] = {}
    cells: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, str]] = {}
    for place, source in enumerate(sources):
        types = _schema(source, engine)
        try:
            match = recognise(source, tuple(types), Known())
        except UnrecognisedError as error:
            if source.named:
                why = "its columns are not canonical"
                raise NotCanonicalError(source.display, why, engine.name) from error
            notes.append(
                DataNote(table="", kind="unrecognised-file", count=1, detail=str(error))
            )
            continue
        table = match.mapping.targets[0].table
        key = table, tuple((name, str(dtype)) for name, dtype in types.items())
        if key not in groups:
            cells[key] = _cells(source, None, engine, tuple(types))
        count = int(_scan(source).select(pl.len()).collect().item())
        groups.setdefault(key, []).append(
            File(display=source.display, place=place, rows=count, source=source)
        )
    for (table, types_of), files in groups.items():
        named = cells[table, types_of]
        void = {name for name, dtype in types_of if dtype == str(pl.Null())}
        yield Piece(
            table=table,
            display=files[0].display
            + (f" and {len(files) - 1} more" if len(files) > 1 else ""),
            native=engine.parquet([_where(f) for f in files]),
            cells=named,
            files=tuple(files),
            void=frozenset(k for k, v in named.items() if v in void),
        )


def _scan(source: Source) -> pl.LazyFrame:
    return pl.scan_parquet(source.path or "", glob=False, hive_partitioning=False)


def _where(file: File) -> str:
    path = file.source.path if file.source else None
    return str((path or Path(file.display)).resolve())


def _schema(source: Source, engine: Backend) -> dict[str, pl.DataType]:
    """Return a local Parquet file's columns and types, from its footer alone.

    Raises:
        NotCanonicalError: It is no Parquet.
        TableError: It is damaged.
    """
    if source.path is None or source.member or magic(source.first()) != "parquet":
        raise NotCanonicalError(source.display, "it is no Parquet file", engine.name)
    try:
        types = dict(_scan(source).collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableError(
            f"{source.display}: the file is cut off or damaged ({error}). Copy or "
            "export it again."
        ) from error
    for name, dtype in types.items():
        nanoseconds = isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns"
        if nanoseconds and engine.name == "spark":
            why = f"'{name}' is in nanoseconds, which Spark can't read"
            raise NotCanonicalError(source.display, why, engine.name)
    return types
