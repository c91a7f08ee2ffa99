"""What `inspect` says of a file: what it was taken for, and what was found in it."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from kpiaudit.frozen import frozen
from kpiaudit.tables import schema
from kpiaudit.tables.assemble import DERIVED_TALK
from kpiaudit.tables.describe import how
from kpiaudit.tables.mapping import fold
from kpiaudit.tables.recognise import CANONICAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kpiaudit.errors import KpiauditError
    from kpiaudit.findings import DataNote
    from kpiaudit.tables.columns import Converted
    from kpiaudit.tables.reading import Read


@frozen
class ColumnReport:
    """One canonical column that a file gives.

    Args:
        table: Canonical table.
        name: Canonical column.
        source: Source columns that it comes from; empty for a constant.
        type: How its cells are read.
        origin: Who wrote it.
        unit: Unit of its values; empty where there is none.
        meaning: One clause.
        how: How its cells come about, in words.
        derived: How it was derived; empty if it was read.
        unreadable: Cells that could not be read.
    """

    table: str
    name: str
    source: tuple[str, ...]
    type: str
    origin: str
    unit: str = ""
    meaning: str = ""
    how: str = ""
    derived: str = ""
    unreadable: int = 0


@frozen
class FileReport:
    """What became of one file.

    Args:
        path: As given.
        error: Why it can't be used; empty if it can.
        format: `csv`, `ndjson`, `json`, `parquet`, `arrow` or `frame`.
        encoding: Of the text.
        separator: Of the fields; None but for CSV.
        compression: `gzip`, ... or None.
        tables: Canonical tables that it feeds.
        preset: Mapping that was used; `canonical` if none was needed.
        why: What it was recognised by.
        about: What the mapping says of the format.
        confidence: What a preset rests on; empty for canonical files and mappings.
        cautions: What a user of the preset has to know.
        columns: Canonical columns that it gives.
        unmapped: Source columns that nothing reads.
        rows: Rows read.
        rejected: Rows whose structure is broken.
        unreadable: Cells that could not be read, by `table.column`.
        notes: Kind, count and sentence.
    """

    path: str
    error: str = ""
    format: str = ""
    encoding: str | None = None
    separator: str | None = None
    compression: str | None = None
    tables: tuple[str, ...] = ()
    preset: str = ""
    why: str = ""
    about: str = ""
    confidence: str = ""
    cautions: tuple[str, ...] = ()
    columns: tuple[ColumnReport, ...] = ()
    unmapped: tuple[str, ...] = ()
    rows: int = 0
    rejected: int = 0
    unreadable: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[tuple[str, int, str], ...] = ()

    @property
    def table(self) -> str | None:
        """Return the first table that the file feeds, None if there is none."""
        return self.tables[0] if self.tables else None


@frozen
class Examined:
    """What `inspect` says.

    Args:
        files: What became of each file.
        notes: What a scan would note of the data.
        present: Each `table.column` that a scan would find, without the empty ones.
    """

    files: tuple[FileReport, ...]
    notes: tuple[DataNote, ...]
    present: frozenset[str] = frozenset()


def report_error(path: str, error: KpiauditError) -> FileReport:
    """Report a file that can't be used."""
    return FileReport(path=path, error=str(error))


def report_unrecognised(report: FileReport) -> FileReport:
    """Report a file that a folder holds beside others, and that nothing recognises."""
    return FileReport(
        path=report.path,
        why="nothing recognises it",
        notes=(("unrecognised-file", 1, report.error),),
    )


def report_read(read: Read) -> FileReport:
    """Report a file that was read."""
    used = {fold(name) for name in read.match.mapping.needs()}
    text = read.sniffed.format in {"csv", "ndjson", "json", "queue_log"}
    return FileReport(
        path=read.display,
        format=read.sniffed.format,
        encoding=read.sniffed.encoding if text else None,
        separator=read.sniffed.separator,
        compression=read.sniffed.compression,
        tables=tuple(c.table for c in read.converted),
        preset=read.match.mapping.name,
        why=read.match.why,
        about=read.match.mapping.about,
        confidence=read.match.mapping.confidence if read.match.mapping.shipped else "",
        cautions=read.match.mapping.notes,
        columns=tuple(
            c
            for piece in read.converted
            for c in _columns(piece, named=read.match.mapping.name != CANONICAL)
        ),
        unmapped=tuple(_left_over(read.header, used)),
        rows=read.rows,
        rejected=read.rejected,
        unreadable={
            f"{c.table}.{name}": n
            for c in read.converted
            for name, n in c.unreadable.items()
        },
        notes=(*read.notes, *(note for c in read.converted for note in c.notes)),
    )


def _left_over(header: tuple[str, ...], used: set[str]) -> Iterator[str]:
    """Yield the columns that nothing reads; what an empty object holds may be read."""
    for name in header:
        whole = (f"{fold(name)}.", f"{fold(name)}[].")
        if (
            name
            and fold(name) not in used
            and not any(u.startswith(whole) for u in used)
        ):
            yield name


def _columns(piece: Converted, *, named: bool) -> Iterator[ColumnReport]:
    """Yield the columns; of a canonical file they are their own sources."""
    for column in schema.TABLES[piece.table]:
        cell = piece.target.cells.get(column.name)
        if cell is not None and column.name in piece.columns:
            yield ColumnReport(
                table=piece.table,
                name=column.name,
                source=cell.needs(),
                type=column.type,
                origin=piece.target.origins.get(column.name, column.origin),
                unit=column.unit,
                meaning=column.meaning,
                how=how(cell, "" if named else column.name),
                unreadable=piece.unreadable.get(column.name, 0),
            )
    if (
        piece.table == "calls"
        and "talk_s" not in piece.columns
        and {"answered_at", "ended_at"} <= set(piece.columns)
    ):
        yield ColumnReport(
            table="calls",
            name="talk_s",
            source=(),
            type="duration",
            origin="derived",
            unit="s",
            meaning="conversation without hold",
            how=f"computed: {DERIVED_TALK}",
            derived=DERIVED_TALK,
        )
