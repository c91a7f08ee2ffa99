"""One file, or one data frame, to the canonical tables that it feeds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from kpiaudit.errors import TableError
from kpiaudit.tables.cells import as_text
from kpiaudit.tables.columns import ROW, Context
from kpiaudit.tables.conversion import Conversion, TextsNeededError
from kpiaudit.tables.parquetsize import inflated_bytes
from kpiaudit.tables.reading import (
    Read,
    context_of,
    converted,
    positions,
    refuse_cut_off,
)
from kpiaudit.tables.recognise import recognise
from kpiaudit.tables.sniff import Sniffed, sniff
from kpiaudit.tables.source import Source
from kpiaudit.tables.spill import Pile
from kpiaudit.tables.textfile import RawTable, read_csv
from kpiaudit.tables.typedfile import convert_frame

if TYPE_CHECKING:
    from pathlib import Path

    from kpiaudit.tables.reading import Options
    from kpiaudit.tables.recognise import Match
    from kpiaudit.tables.textcells import Seen

_SMALL = 2**20  # bytes of a file below which a thread costs more than it saves


def read_source(source: Source, options: Options) -> Read:
    """Sniff, recognise and read a file.

    Raises:
        TableError: It can't be used.
        UnrecognisedError: Nothing recognises it.
    """
    stamp = source.stamp()
    read = _read(source, options)
    if read.sniffed.format in {"parquet", "arrow"}:
        source.check_unchanged(stamp)
        return replace(read, again=(source, stamp))
    if source.has_grown(stamp):
        # The log of a running switch never stands still.
        note = (
            "file-grew",
            1,
            "the file grew while it was read; run again for the end",
        )
        return replace(read, notes=(*read.notes, note))
    source.check_unchanged(stamp)
    return read


def _read(source: Source, options: Options) -> Read:
    told = options.known.told()
    sniffed = sniff(source, options.known.headers, told)
    if sniffed.format in {"parquet", "arrow"}:
        return _read_columnar(source, sniffed, options)
    if sniffed.format in {"csv", "xlsx"}:
        return _read_csv(source, sniffed, options)
    if sniffed.format == "queue_log":
        return _read_queue_log(source, sniffed, options)
    from kpiaudit.tables.readjson import read_json_source  # noqa: PLC0415  # rare

    return read_json_source(source, sniffed, options, told)


def read_frame(table: str, frame: Any, options: Options) -> Read:
    """Take a data frame of any kind that narwhals knows as a canonical table.

    Raises:
        TableError: It is no frame, empty, or without canonical columns.
    """
    import narwhals as nw  # noqa: PLC0415  # frames only

    try:
        native = nw.from_native(frame).lazy()
    except TypeError as error:
        raise TableError(
            f"--table {table}: a {type(frame).__name__} is neither a path nor a data "
            "frame. Give a path, or a polars, pandas or DuckDB frame."
        ) from error
    raw = native.to_native()
    if not isinstance(raw, pl.LazyFrame):
        raw = _in_polars(native, raw, table).lazy()
    source = Source(display=f"<{table}>", table=table, named=True)
    return _convert_lazy(raw, source, Sniffed(format="frame"), options)


def _in_polars(native: Any, raw: Any, table: str) -> pl.DataFrame:
    """Return a frame of another library as polars.

    Columns of mixed objects, which pandas allows, are taken as text.
    """
    try:
        return cast("pl.DataFrame", native.collect("polars").to_native())
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        if not hasattr(raw, "astype"):
            raise TableError(
                f"--table {table}: the frame can't be taken over ({error}). Write it "
                "to Parquet and give that file."
            ) from error
    mixed = {name: str for name in raw.columns if str(raw[name].dtype) == "object"}
    return pl.from_pandas(raw.astype(mixed))


def _read_columnar(source: Source, sniffed: Sniffed, options: Options) -> Read:
    path = cast("Path", source.path)
    if source.path is None:
        raise TableError(
            f"{source.display}: Parquet can't be read from a pipe. Give the file."
        )
    try:
        if sniffed.format == "parquet":
            source.check_inflation(inflated_bytes(path))
        frame = (
            pl.scan_parquet(path, glob=False, hive_partitioning=False)
            if sniffed.format == "parquet"
            else pl.scan_ipc(path)
        )
        frame.collect_schema()
        return _convert_lazy(frame, source, sniffed, options)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise TableError(
            f"{source.display}: the file is cut off or damaged ({error}). Copy or "
            "export it again."
        ) from error


def _convert_lazy(
    frame: pl.LazyFrame, source: Source, sniffed: Sniffed, options: Options
) -> Read:
    header = tuple(frame.collect_schema().names())
    match = recognise(source, header, options.known)
    columns = positions(match.mapping, header, source)
    frame = frame.select([pl.col(header[i]).alias(name) for name, i in columns.items()])
    if match.mapping.assemble:
        return _assembled_frame(frame, source, sniffed, match, options)
    asked = {c.column for group in match.mapping.complete for c in group} & set(columns)
    if asked:
        refuse_cut_off(source, [frame.select(sorted(asked)).collect()], match.mapping)
    context = Context(
        display=source.display,
        timezone=options.timezone,
        max_unreadable=options.max_unreadable,
        order=options.order,
    )
    with ThreadPoolExecutor(1) as pool:
        # Hashing lets go of the interpreter: it costs no time beside the reading.
        large = source.size() >= _SMALL
        hashing = pool.submit(source.sha256) if large else None
        converted = tuple(
            convert_frame(frame, target, match.mapping, context)
            for target in match.mapping.targets
        )
    return Read(
        display=source.display,
        sniffed=sniffed,
        header=header,
        match=match,
        converted=converted,
        rows=max(c.rows for c in converted),
        sha256=hashing.result() if hashing else source.sha256(),
    )


def _assembled_frame(
    frame: pl.LazyFrame,
    source: Source,
    sniffed: Sniffed,
    match: Match,
    options: Options,
) -> Read:
    """Read a typed file of which code has to make the rows: as text."""
    types = frame.collect_schema()
    texts = frame.select(as_text(pl.col(n), types[n]).alias(n) for n in types)
    numbered = texts.with_row_index(ROW, 1).with_columns(pl.col(ROW).cast(pl.Int64))
    raw = RawTable(pile=Pile())
    raw.pile.add(numbered.collect())
    raw.rows = raw.pile.height
    read = converted(source, sniffed, tuple(types.names()), match, raw, options)
    return replace(read, sha256=source.sha256())


@dataclass(kw_only=True)
class _Stream:
    """The tables of a CSV file, each part of it converted as it comes.

    Args:
        match: What the file was taken for.
        context: The file.
        columns: Positions of the source columns.
        tables: One conversion a table.
    """

    match: Match
    context: Context
    columns: dict[str, int]
    tables: list[Conversion] = field(default_factory=list)

    def begin(self) -> None:
        """Forget all parts."""
        mapping = self.match.mapping
        self.tables = [
            Conversion(target=target, mapping=mapping, context=self.context)
            for target in mapping.targets
        ]

    def take(self, part: pl.DataFrame, seen: Seen) -> None:
        """Take a part, its columns named by their positions."""
        named = _named(part, self.columns)
        for table in self.tables:
            table.take(named, seen)


def _named(part: pl.DataFrame, columns: dict[str, int]) -> pl.DataFrame:
    named = {name: part[str(i)] for name, i in columns.items()}
    return pl.DataFrame({ROW: part[ROW], **named})


def _read_csv(source: Source, sniffed: Sniffed, options: Options) -> Read:
    match = recognise(source, sniffed.header, options.known)
    columns = positions(match.mapping, sniffed.header, source)
    with ThreadPoolExecutor(1) as pool:
        # Hashing lets go of the interpreter: it costs no time beside the reading.
        large = source.size() >= _SMALL
        hashing = pool.submit(source.sha256) if large else None
        # Rows that code makes of records, or that say whether all is there, need all.
        whole = bool(match.mapping.assemble or match.mapping.complete)
        if not whole:
            try:
                read = _streamed(source, sniffed, match, columns, options)
            except TextsNeededError:
                whole = True
        if whole:
            read = _at_once(source, sniffed, match, columns, options)
    return replace(read, sha256=hashing.result() if hashing else source.sha256())


def _streamed(
    source: Source,
    sniffed: Sniffed,
    match: Match,
    columns: dict[str, int],
    options: Options,
) -> Read:
    context = context_of(source, sniffed, options)
    stream = _Stream(match=match, context=context, columns=columns)
    wanted = tuple(sorted(set(columns.values())))
    raw = read_csv(source, sniffed, wanted, stream)
    sniffed = replace(sniffed, encoding=raw.encoding)
    header = sniffed.header
    return converted(source, sniffed, header, match, raw, options, begun=stream.tables)


def _at_once(
    source: Source,
    sniffed: Sniffed,
    match: Match,
    columns: dict[str, int],
    options: Options,
) -> Read:
    raw = read_csv(source, sniffed, tuple(sorted(set(columns.values()))))
    named = replace(raw, pile=Pile())
    for part in raw.pile.parts():
        named.pile.add(_named(part, columns))
    raw.pile.clear()
    sniffed = replace(sniffed, encoding=raw.encoding)
    return converted(source, sniffed, sniffed.header, match, named, options)


def _read_queue_log(source: Source, sniffed: Sniffed, options: Options) -> Read:
    from kpiaudit.tables.queuelog import read_queue_log  # noqa: PLC0415  # rare

    match = recognise(source, sniffed.header, options.known)
    raw = read_queue_log(source, sniffed)
    sniffed = replace(sniffed, encoding=raw.encoding)
    read = converted(source, sniffed, sniffed.header, match, raw, options)
    return replace(read, sha256=source.sha256())
