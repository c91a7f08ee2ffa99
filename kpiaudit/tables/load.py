"""Export files and data frames to a `Dataset`."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from zoneinfo import ZoneInfo

from kpiaudit.errors import KpiauditError, RuleError, TableError
from kpiaudit.findings import DataNote
from kpiaudit.tables.build import build
from kpiaudit.tables.columns import AmbiguousDatesError
from kpiaudit.tables.discover import discover, named_sources
from kpiaudit.tables.engines.choose import elsewhere
from kpiaudit.tables.grammar import read_mappings
from kpiaudit.tables.read import read_frame, read_source
from kpiaudit.tables.reading import Options, Read
from kpiaudit.tables.recognise import Known, UnrecognisedError
from kpiaudit.tables.report import (
    FileReport,
    report_error,
    report_read,
    report_unrecognised,
)
from kpiaudit.tables.sniff import NoTableError, is_workbook
from kpiaudit.tables.yamlvalues import check_zone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from kpiaudit.tables.dataset import Dataset
    from kpiaudit.tables.ready import Period
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
    options = _options(mapping, preset, timezone, max_unreadable)
    period = _period(since, until, timezone)
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
    for source in _sheets(_sources(paths, tables, stdin)):
        try:
            read = _read(source, options)
            _once(source, read, sheets)
            found.append(read)
        except AmbiguousDatesError as error:
            unclear.append((source, error))
        except (UnrecognisedError, NoTableError) as error:
            if not _noted(source, error):
                raise
            notes.append(
                DataNote(table="", kind="unrecognised-file", count=1, detail=str(error))
            )
    found += _told_by_others(unclear, found, options)
    if not found:
        raise TableError(
            f"{notes[0].detail if notes else 'There is no input.'}"
            + (f" ({len(notes)} files were looked at.)" if len(notes) > 1 else "")
        )
    zone = _zone(found, timezone)
    return build(found, notes, zone, _period(since, until, zone))


def inspect(  # noqa: PLR0913  # the same as load
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
) -> tuple[FileReport, ...]:
    """Say of each file what it was taken for; a bad file is told in its report.

    The arguments are those of `load`.

    Raises:
        TableError: A path does not exist.
        RuleError: A mapping or an option is wrong.
    """
    options = _options(mapping, preset, timezone, max_unreadable)
    _period(since, until, timezone)
    reports: list[FileReport] = []
    strange: list[int] = []
    sheets: dict[tuple[str, str], str] = {}
    every: list[Source | tuple[str, Any]] = []
    for source in _sources(paths, tables, stdin):
        try:
            every += _sheets([source])
        except KpiauditError as error:
            reports.append(report_error(cast("Source", source).display, error))
    for source in every:
        try:
            read = _read(source, options)
            _once(source, read, sheets)
            reports.append(report_read(read))
        except (UnrecognisedError, NoTableError) as error:
            if _noted(source, error):
                strange.append(len(reports))
            reports.append(report_error(cast("Source", source).display, error))
        except KpiauditError as error:
            display = source[0] if isinstance(source, tuple) else source.display
            reports.append(report_error(display, error))
    if len(strange) < len(reports):
        # Beside files that are recognised, another one in their folder is a note.
        for i in strange:
            reports[i] = report_unrecognised(reports[i])
    return tuple(reports)


def _options(
    mapping: str | Path | None, preset: str | None, timezone: str, share: float
) -> Options:
    check_zone(timezone, "--timezone")
    if not 0 <= share <= 1:
        raise RuleError(f"--max-unreadable is {share}. Give a share from 0 to 1.")
    known = Known(
        mappings=read_mappings(mapping) if mapping is not None else (),
        preset=preset,
    )
    return Options(known=known, timezone=timezone, max_unreadable=share)


def _period(
    since: date | str | None, until: date | str | None, timezone: str
) -> Period:
    """Return the first instant of the period and the first after it."""
    start = _midnight(since, "--since", timezone, 0)
    end = _midnight(until, "--until", timezone, 1)
    if start is not None and end is not None and end <= start:
        raise RuleError(f"--until {until} is before --since {since}.")
    return start, end


def _midnight(
    day: date | str | None, option: str, timezone: str, plus: int
) -> int | None:
    if day is None:
        return None
    if isinstance(day, str):
        try:
            day = date.fromisoformat(day)
        except ValueError as error:
            raise RuleError(
                f"{option} is '{day}'. Give a date such as 2026-03-31."
            ) from error
    day = date(day.year, day.month, day.day) + timedelta(days=plus)
    start = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone))
    return int(start.timestamp() * 1000)


def _sources(
    paths: Sequence[str | Path],
    tables: Mapping[str, Sequence[Any] | Any] | None,
    stdin: BinaryIO | None,
) -> Iterator[Source | tuple[str, Any]]:
    if paths or not tables:
        yield from discover(paths)
    for table, item in named_sources(tables, stdin):
        yield (table, item) if not hasattr(item, "display") else item


def _sheets(
    sources: Iterable[Source | tuple[str, Any]],
) -> Iterator[Source | tuple[str, Any]]:
    """Put in the place of each workbook its sheets."""
    for source in sources:
        if isinstance(source, tuple) or not is_workbook(source):
            yield source
        else:
            from kpiaudit.tables.excelfile import sheets  # noqa: PLC0415  # rare

            yield from sheets(source)


def _once(
    source: Source | tuple[str, Any], read: Read, sheets: dict[tuple[str, str], str]
) -> None:
    """Refuse two sheets of one workbook that feed the same table.

    Raises:
        TableError: They do.
    """
    if isinstance(source, tuple) or source.sheet is None:
        return
    book = str(source.path)
    for piece in read.converted:
        other = sheets.setdefault((book, piece.table), source.sheet)
        if other != source.sheet:
            raise TableError(
                f"{source.display}: the sheets '{other}' and '{source.sheet}' both "
                f"hold {piece.table}, and one may be a part of the other. Save those "
                "that count as CSV (UTF-8) and give these."
            )


def _noted(source: Source | tuple[str, Any], error: TableError) -> bool:
    """Say whether a file that can't be used is a note: nobody asked for it."""
    if isinstance(source, tuple):
        return False
    return source.stray if isinstance(error, NoTableError) else not source.named


def _read(source: Source | tuple[str, Any], options: Options) -> Read:
    if isinstance(source, tuple):
        return read_frame(source[0], source[1], options)
    read = read_source(source, options)
    return replace(read, notes=(*source.notes, *read.notes)) if source.notes else read


def _zone(found: list[Read], timezone: str) -> str:
    """Return the zone of days and hours: the mappings' if they all name one."""
    zones = {r.match.mapping.timezone or timezone for r in found}
    return zones.pop() if len(zones) == 1 else timezone


def _told_by_others(
    unclear: list[tuple[Source | tuple[str, Any], AmbiguousDatesError]],
    found: list[Read],
    options: Options,
) -> Iterator[Read]:
    """Read files whose dates are ambiguous in the order of their sister files.

    Daily exports hold one date each: those after the 12th tell for the others.
    """
    orders = {r.order() for r in found} - {None}
    for source, error in unclear:
        if len(orders) != 1:
            raise error
        yield _read(source, replace(options, order=next(iter(orders))))
