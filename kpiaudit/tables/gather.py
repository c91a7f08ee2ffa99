"""What the command line names, to the files that are read, one after the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO
from zoneinfo import ZoneInfo

from kpiaudit.errors import RuleError, TableError
from kpiaudit.findings import DataNote
from kpiaudit.tables.discover import discover, meant_as, named_sources
from kpiaudit.tables.grammar import read_mappings
from kpiaudit.tables.mapping import fold
from kpiaudit.tables.read import read_frame, read_source
from kpiaudit.tables.reading import Options, Read
from kpiaudit.tables.recognise import Known, unfitting
from kpiaudit.tables.sniff import NoTableError, is_workbook
from kpiaudit.tables.yamlvalues import check_zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from kpiaudit.tables.columns import AmbiguousDatesError
    from kpiaudit.tables.ready import Period
    from kpiaudit.tables.source import Source


def read_options(
    mapping: str | Path | None, preset: str | None, timezone: str, share: float
) -> Options:
    """Check what holds for every file.

    Raises:
        RuleError: A zone, share, mapping file or preset is wrong.
    """
    check_zone(timezone, "--timezone")
    if not 0 <= share <= 1:
        raise RuleError(f"--max-unreadable is {share}. Give a share from 0 to 1.")
    known = Known(
        mappings=read_mappings(mapping) if mapping is not None else (),
        preset=preset,
    )
    return Options(known=known, timezone=timezone, max_unreadable=share)


def period_of(
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


def sources_of(
    paths: Sequence[str | Path],
    tables: Mapping[str, Sequence[Any] | Any] | None,
    stdin: BinaryIO | None,
) -> Iterator[Source | tuple[str, Any]]:
    """Yield the files and frames that are named, or those of the current folder."""
    if paths or not tables:
        yield from discover(paths)
    for table, item in named_sources(tables, stdin):
        yield (table, item) if not hasattr(item, "display") else item


def with_sheets(
    sources: Iterable[Source | tuple[str, Any]],
) -> Iterator[Source | tuple[str, Any]]:
    """Put in the place of each workbook its sheets."""
    for source in sources:
        if isinstance(source, tuple) or not is_workbook(source):
            yield source
        else:
            from kpiaudit.tables.excelfile import sheets  # noqa: PLC0415  # rare

            yield from sheets(source)


def refuse_twice(
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


def is_note(source: Source | tuple[str, Any], error: TableError) -> bool:
    """Say whether a file that can't be used is a note: nobody asked for it.

    One that bears a table's name was meant to be read: left out with a note, it would
    pass as clean.
    """
    if isinstance(source, tuple):
        return False
    # A workbook is read if one of its sheets is: see `unread_books`.
    if meant_as(source.hint) and not (source.sheet and source.stray):
        return False
    return source.stray if isinstance(error, NoTableError) else not source.named


def unread_books(
    aside: Iterable[tuple[Source | tuple[str, Any], TableError]],
    sheets: Mapping[tuple[str, str], str],
) -> Iterator[TableError]:
    """Yield what is wrong with workbooks that bear a table's name and hold none.

    Args:
        aside: Sources that are no table, which a note would tell of.
        sheets: Book and table of the sheets that were read, from `refuse_twice`.
    """
    read = {book for book, _ in sheets}
    for source, error in aside:
        if isinstance(source, tuple) or not source.sheet:
            continue
        if meant_as(source.hint) and str(source.path) not in read:
            yield error


def unused_mappings(options: Options, found: Sequence[Read]) -> Iterator[DataNote]:
    """Note a mapping file by which no file was read: a slip, and easily overlooked."""
    mappings = options.known.mappings
    taken = [read.match.mapping for read in found]
    if not mappings or any(m.where and not m.shipped for m in taken):
        return
    mapping, read = mappings[0], found[0]
    lacking = unfitting(mapping, [fold(name) for name in read.header])
    text = (
        f"{mapping.where}, fits no file, and all were read without it: {read.display} "
        f"lacks {lacking}."
    )
    yield DataNote(table="", kind="unused-mapping", count=1, detail=text)


def read_any(source: Source | tuple[str, Any], options: Options) -> Read:
    """Read a file, or take a frame.

    Raises:
        TableError: It can't be used.
    """
    if isinstance(source, tuple):
        return read_frame(source[0], source[1], options)
    read = read_source(source, options)
    return replace(read, notes=(*source.notes, *read.notes)) if source.notes else read


def zone_of(found: list[Read], timezone: str) -> str:
    """Return the zone of days and hours: the mappings' if they all name one."""
    zones = {r.match.mapping.timezone or timezone for r in found}
    return zones.pop() if len(zones) == 1 else timezone


def told_by_others(
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
        yield read_any(source, replace(options, order=next(iter(orders))))
