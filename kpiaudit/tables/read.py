"""One file, or one data frame, to the canonical tables that it feeds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from kpiaudit.errors import TableError
from kpiaudit.findings import Input
from kpiaudit.tables import schema
from kpiaudit.tables.assembly import assembled
from kpiaudit.tables.cells import as_text
from kpiaudit.tables.columns import ROW, Context
from kpiaudit.tables.mapping import fold
from kpiaudit.tables.recognise import recognise
from kpiaudit.tables.sniff import Sniffed, sniff
from kpiaudit.tables.source import Source
from kpiaudit.tables.spill import Pile
from kpiaudit.tables.textcells import convert_text
from kpiaudit.tables.textfile import RawTable, read_csv
from kpiaudit.tables.typedfile import convert_frame

if TYPE_CHECKING:
    from pathlib import Path

    from kpiaudit.tables.columns import Converted
    from kpiaudit.tables.dates import Order
    from kpiaudit.tables.mapping import SourceMapping
    from kpiaudit.tables.recognise import Known, Match


@dataclass(frozen=True, kw_only=True)
class Options:
    """What holds for every file.

    Args:
        known: Mappings and presets.
        timezone: Zone of instants without an offset.
        max_unreadable: Share of broken rows or unreadable cells that is tolerated.
        order: Order of day and month, where a file itself does not tell.
    """

    known: Known
    timezone: str
    max_unreadable: float
    order: Order | None = None


@dataclass(frozen=True, kw_only=True)
class Read:
    """One file that was read.

    Args:
        display: Path as given.
        sniffed: What it is.
        header: Its columns.
        match: What it was taken for, and why.
        converted: Canonical tables out of it.
        rows: Rows read.
        rejected: Rows whose structure is broken.
        sha256: Of its bytes.
        notes: Kind, count and sentence about the whole file.
    """

    display: str
    sniffed: Sniffed
    header: tuple[str, ...]
    match: Match
    converted: tuple[Converted, ...]
    rows: int
    rejected: int = 0
    sha256: str | None = None
    notes: tuple[tuple[str, int, str], ...] = field(default=())

    def order(self) -> Order | None:
        """Return the order of day and month, if the file told it."""
        return next((c.order for c in self.converted if c.order), None)

    def inputs(self) -> tuple[Input, ...]:
        """Return what the report says of the file, once a table."""
        return tuple(
            Input(
                table=c.table,
                path=self.display,
                rows=c.rows,
                rejected=self.rejected,
                sha256=self.sha256,
                preset=self.match.mapping.name,
            )
            for c in self.converted
        )


def read_source(source: Source, options: Options) -> Read:
    """Sniff, recognise and read a file.

    Raises:
        TableError: It can't be used.
        UnrecognisedError: Nothing recognises it.
    """
    told = options.known.told()
    sniffed = sniff(source, options.known.headers, told)
    if sniffed.format in {"parquet", "arrow"}:
        return _read_columnar(source, sniffed, options)
    if sniffed.format in {"csv", "xlsx"}:
        return _read_csv(source, sniffed, options)
    if sniffed.format == "queue_log":
        return _read_queue_log(source, sniffed, options)
    return _read_json(source, sniffed, options, told)


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
        frame = (
            pl.scan_parquet(path, glob=False, hive_partitioning=False)
            if sniffed.format == "parquet"
            else pl.scan_ipc(path)
        )
        frame.collect_schema()
        return _convert_lazy(frame, source, sniffed, options)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableError(
            f"{source.display}: the file is cut off or damaged ({error}). Copy or "
            "export it again."
        ) from error


def _convert_lazy(
    frame: pl.LazyFrame, source: Source, sniffed: Sniffed, options: Options
) -> Read:
    header = tuple(frame.collect_schema().names())
    match = recognise(source, header, options.known)
    columns = _positions(match.mapping, header, source)
    frame = frame.select([pl.col(header[i]).alias(name) for name, i in columns.items()])
    if match.mapping.assemble:
        return _assembled_frame(frame, source, sniffed, match, options)
    context = Context(
        display=source.display,
        timezone=options.timezone,
        max_unreadable=options.max_unreadable,
        order=options.order,
    )
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
        sha256=source.sha256(),
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
    read = _converted(source, sniffed, tuple(types.names()), match, raw, options)
    return replace(read, sha256=source.sha256())


def _read_csv(source: Source, sniffed: Sniffed, options: Options) -> Read:
    match = recognise(source, sniffed.header, options.known)
    columns = _positions(match.mapping, sniffed.header, source)
    with ThreadPoolExecutor(1) as pool:
        # Hashing lets go of the interpreter: it costs no time beside the reading.
        sha256 = pool.submit(source.sha256)
        raw = read_csv(source, sniffed, tuple(sorted(set(columns.values()))))
    named = RawTable(
        pile=Pile(),
        rows=raw.rows,
        broken=raw.broken,
        first_broken=raw.first_broken,
        encoding=raw.encoding,
        notes=raw.notes,
    )
    for part in raw.pile.parts():
        named.pile.add(
            part.select(
                ROW, *(pl.col(str(i)).alias(name) for name, i in columns.items())
            )
        )
    sniffed = replace(sniffed, encoding=raw.encoding)
    read = _converted(source, sniffed, sniffed.header, match, named, options)
    return replace(read, sha256=sha256.result())


def _read_queue_log(source: Source, sniffed: Sniffed, options: Options) -> Read:
    from kpiaudit.tables.queuelog import read_queue_log  # noqa: PLC0415  # rare

    match = recognise(source, sniffed.header, options.known)
    raw = read_queue_log(source, sniffed)
    sniffed = replace(sniffed, encoding=raw.encoding)
    read = _converted(source, sniffed, sniffed.header, match, raw, options)
    return replace(read, sha256=source.sha256())


def _assembled(
    raw: RawTable, mapping: SourceMapping, options: Options
) -> dict[str, RawTable]:
    """Return the rows of each table: the file's own, or those made of its records."""
    if not mapping.assemble or not raw.rows:
        return dict.fromkeys((t.table for t in mapping.targets), raw)
    zone = mapping.timezone or options.timezone
    made = assembled(mapping.assemble, raw, zone)
    return {t.table: made[t.table] for t in mapping.targets}


def _read_json(
    source: Source, sniffed: Sniffed, options: Options, told: SourceMapping | None
) -> Read:
    from kpiaudit.tables.jsonfile import json_header, read_json  # noqa: PLC0415

    header = json_header(source, sniffed, told)
    match = recognise(source, header, options.known)
    mapping = match.mapping
    late: list[str] = []
    if mapping.name == "canonical":
        # A key that first appears late in the file must not be missed.
        table = mapping.targets[0].table
        late = [n for n in schema.names(table) if n not in mapping.targets[0].cells]
        match = recognise(replace(source, table=table), (*header, *late), options.known)
        header = (*header, *late)
        mapping = match.mapping
    columns = _positions(mapping, header, source, exact=True)
    raw = read_json(
        source, sniffed, tuple(header[i] for i in columns.values()), mapping
    )
    renamed = {header[i]: name for name, i in columns.items() if header[i] != name}
    if renamed:
        raw.pile.frames = [frame.rename(renamed) for frame in raw.pile.frames]
    if late:
        match = _without_absent(match, raw, late)
        header = tuple(n for n in header if n not in late or n in _filled(raw))
    read = _converted(source, sniffed, header, match, raw, options)
    return replace(read, sha256=source.sha256())


def _filled(raw: RawTable) -> set[str]:
    return {
        name
        for part in raw.pile.parts()
        for name in part.columns
        if part[name].null_count() < part.height
    }


def _without_absent(match: Match, raw: RawTable, late: list[str]) -> Match:
    """Leave out the columns that were looked for in every record, and never found."""
    absent = set(late) - _filled(raw)
    targets = tuple(
        replace(t, cells={k: c for k, c in t.cells.items() if k not in absent})
        for t in match.mapping.targets
    )
    return replace(match, mapping=replace(match.mapping, targets=targets))


def _converted(
    source: Source,
    sniffed: Sniffed,
    header: tuple[str, ...],
    match: Match,
    raw: RawTable,
    options: Options,
) -> Read:
    mapping = match.mapping
    tables = _assembled(raw, mapping, options)
    total = raw.rows + raw.broken
    if not total:
        raise TableError(
            f"{source.display}: there are no rows below the header. Export it again."
        )
    first = ", ".join(map(str, raw.first_broken))
    if raw.broken > options.max_unreadable * total:
        raise TableError(
            f"{source.display}: {raw.broken:,} of {total:,} rows "
            f"({raw.broken / total:.1%}) are broken: their number of fields, quotes or "
            f"bytes are wrong (first: data rows {first}). Export it again, or allow "
            "more with --max-unreadable."
        )
    if not raw.rows:
        raise TableError(f"{source.display}: every row is broken (first: {first}).")
    if raw.broken:
        raw.notes.append(
            (
                "rejected-rows",
                raw.broken,
                (
                    "rows were left out: their number of fields, their quotes or bytes "
                    f"are wrong (first: data rows {first})"
                ),
            )
        )
    context = Context(
        display=source.display,
        timezone=options.timezone,
        max_unreadable=options.max_unreadable,
        order=options.order,
        separator=sniffed.separator,
    )
    converted = tuple(
        convert_text(tables[target.table], target, mapping, context)
        for target in mapping.targets
    )
    for piece in converted if mapping.assemble else ():
        piece.notes += tables[piece.table].notes
    raw.pile.clear()
    return Read(
        display=source.display,
        sniffed=sniffed,
        header=header,
        match=match,
        converted=converted,
        rows=raw.rows,
        rejected=raw.broken,
        notes=tuple(raw.notes),
    )


def _positions(
    mapping: SourceMapping,
    header: tuple[str, ...],
    source: Source,
    *,
    exact: bool = False,
) -> dict[str, int]:
    """Return where each source column that the mapping reads stands.

    Raises:
        TableError: One of them stands there twice, or none is there at all.
    """
    folded = [fold(name) for name in header]
    found: dict[str, int] = {}
    taken: set[int] = set()
    for name in mapping.needs():
        places = [i for i, h in enumerate(header) if h == name]
        places = places or [i for i, f in enumerate(folded) if f == fold(name)]
        if len(places) > 1:
            raise TableError(
                f"{source.display}: the column '{name}' stands {len(places)} times in "
                "the header. Rename all but one."
            )
        if places and not (exact and places[0] in taken):
            found[name] = places[0]
            taken.add(places[0])
    if not found:
        raise TableError(
            f"{source.display}: none of the mapped columns is there. Mend the mapping."
        )
    return found
