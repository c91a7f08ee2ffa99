"""Export files and data frames to a `Dataset`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from kpiaudit.errors import TableError
from kpiaudit.findings import DataNote
from kpiaudit.tables.build import build
from kpiaudit.tables.columns import AmbiguousDatesError
from kpiaudit.tables.engines.choose import elsewhere
from kpiaudit.tables.gather import (
    is_note,
    period_of,
    read_any,
    read_options,
    refuse_twice,
    sources_of,
    told_by_others,
    unread_books,
    unused_mappings,
    with_sheets,
    zone_of,
)
from kpiaudit.tables.recognise import UnrecognisedError
from kpiaudit.tables.sniff import NoTableError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from kpiaudit.tables.dataset import Dataset
    from kpiaudit.tables.reading import Read
    from kpiaudit.tables.source import Source


def load(  # noqa: PLR0913  # the options of the command line, all by name
    paths: Sequence[str | Path] = (),
    *,
    tables: Mapping[str, Sequence[Any] | Any] | None = None,
    mapping: str | Path | None = None,
    preset: str | None = None,
    timezone: str = "UTC",
    since: date | str | None = None,
    until: date | str | None = None,
    max_unreadable: float = 0.05,
    stdin: BinaryIO | None = None,
    engine: str = "polars",
    only: Collection[str] | None = None,
) -> Dataset:
    """Load exports into canonical tables.

    Args:
        paths: Files, folders and globs; none stands for the current folder unless
            `tables` is given.
        tables: Files, or frames that narwhals knows, by the table that they feed; the
            path `-` is standard input.
        mapping: Mapping file (docs/mapping.md).
        preset: Name of the preset to take instead of what the headers say.
        timezone: Zone of instants without an offset, and of days and hours.
        since: First local day of the records that are kept.
        until: Last local day of the records that are kept.
        max_unreadable: Share of a file's rows that may be broken, and of a mapped
            column's cells that may be unreadable, in [0, 1].
        stdin: Where `-` is read from; None stands for the process's own.
        engine: `polars`, or `duckdb` or `spark` for canonical Parquet and for frames
            of theirs, which are never brought here.
        only: Columns (`table.column`) that will be used: DuckDB and Spark read and
            check no others. None takes all.

    Raises:
        TableError: A file is absent, empty, broken, ambiguous or recognised by nothing.
        RuleError: A mapping or an option is wrong.
    """
    options = read_options(mapping, preset, timezone, max_unreadable)
    period = period_of(since, until, timezone)
    if engine != "polars" or tables:
        data = elsewhere(
            engine,
            paths=paths,
            tables=tables,
            told=mapping or preset,
            timezone=timezone,
            period=period,
            max_unreadable=max_unreadable,
            only=only,
        )
        if data is not None:
            return data
    found: list[Read] = []
    notes: list[DataNote] = []
    unclear: list[tuple[Source | tuple[str, Any], AmbiguousDatesError]] = []
    sheets: dict[tuple[str, str], str] = {}
    aside: list[tuple[Source | tuple[str, Any], TableError]] = []
    for source in with_sheets(sources_of(paths, tables, stdin)):
        try:
            read = read_any(source, options)
            refuse_twice(source, read, sheets)
            found.append(read)
        except AmbiguousDatesError as error:
            unclear.append((source, error))
        except (UnrecognisedError, NoTableError) as error:
            if not is_note(source, error):
                raise
            aside.append((source, error))
            notes.append(
                DataNote(table="", kind="unrecognised-file", count=1, detail=str(error))
            )
    for wrong in unread_books(aside, sheets):
        raise wrong
    found += told_by_others(unclear, found, options)
    if not found:
        raise TableError(
            f"{notes[0].detail if notes else 'There is no input.'}"
            + (f" ({len(notes)} files were looked at.)" if len(notes) > 1 else "")
        )
    notes += unused_mappings(options, found)
    zone = zone_of(found, timezone)
    return build(found, notes, zone, period_of(since, until, zone))
