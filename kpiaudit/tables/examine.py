"""Files looked at without a scan: what each was taken for, and what is odd in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from kpiaudit.errors import KpiauditError, TableError
from kpiaudit.findings import DataNote
from kpiaudit.tables.build import build
from kpiaudit.tables.columns import AmbiguousDatesError
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
from kpiaudit.tables.report import (
    Examined,
    FileReport,
    report_error,
    report_read,
    report_unrecognised,
)
from kpiaudit.tables.sniff import NoTableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from kpiaudit.tables.reading import Options, Read
    from kpiaudit.tables.source import Source


def examine(  # noqa: PLR0913  # the same as load
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
) -> Examined:
    """Report each file, and what is odd in the data of those that can be used.

    The arguments are those of `load`.

    Raises:
        TableError: A path does not exist.
        RuleError: A mapping or an option is wrong.
    """
    options = read_options(mapping, preset, timezone, max_unreadable)
    period_of(since, until, timezone)
    reports: list[FileReport] = []
    found: list[Read] = []
    strange: list[int] = []
    aside: list[tuple[Source | tuple[str, Any], TableError]] = []
    unclear: list[tuple[int, Source | tuple[str, Any], AmbiguousDatesError]] = []
    sheets: dict[tuple[str, str], str] = {}
    for source in _opened(sources_of(paths, tables, stdin), reports):
        try:
            read = read_any(source, options)
            refuse_twice(source, read, sheets)
            found.append(read)
            reports.append(report_read(read))
        except AmbiguousDatesError as error:
            unclear.append((len(reports), source, error))
            reports.append(report_error(_shown(source), error))
        except (UnrecognisedError, NoTableError) as error:
            if is_note(source, error):
                strange.append(len(reports))
                aside.append((source, error))
            reports.append(report_error(_shown(source), error))
        except KpiauditError as error:
            reports.append(report_error(_shown(source), error))
    for place, source, unsure in unclear:
        for read in _told(source, unsure, found, options):
            reports[place] = report_read(read)
            found.append(read)
    if len(strange) < len(reports) and not list(unread_books(aside, sheets)):
        # Beside files that are recognised, another one in their folder is a note.
        for i in strange:
            reports[i] = report_unrecognised(reports[i])
    notes = list(unused_mappings(options, found)) if found else []
    return _examined(tuple(reports), found, notes, timezone, (since, until))


def _opened(
    sources: Iterable[Source | tuple[str, Any]], reports: list[FileReport]
) -> Iterator[Source | tuple[str, Any]]:
    """Yield sources, workbooks sheet by sheet; report those that can't be opened."""
    for source in sources:
        try:
            parts = list(with_sheets([source]))
        except KpiauditError as error:
            reports.append(report_error(_shown(source), error))
            continue
        yield from parts


def _shown(source: Source | tuple[str, Any]) -> str:
    return source[0] if isinstance(source, tuple) else source.display


def _told(
    source: Source | tuple[str, Any],
    error: AmbiguousDatesError,
    found: list[Read],
    options: Options,
) -> Iterator[Read]:
    """Read a file in the order of day and month of its sister files, if they tell."""
    try:
        yield from list(told_by_others([(source, error)], found, options))
    except KpiauditError:
        return  # reported as it was


def _examined(
    files: tuple[FileReport, ...],
    found: list[Read],
    notes: list[DataNote],
    timezone: str,
    days: tuple[date | str | None, date | str | None],
) -> Examined:
    """Add what a scan would find and note in the data of the files that can be used."""
    if not found:
        return Examined(files=files, notes=())
    zone = zone_of(found, timezone)
    try:
        data = build(found, notes, zone, period_of(*days, zone))
    except TableError as error:
        note = DataNote(table="", kind="no-rows", count=0, detail=str(error))
        return Examined(files=files, notes=(note,))
    present = frozenset(
        f"{t}.{name}" for t, own in data.columns.items() for name in own
    )
    return Examined(files=files, notes=data.notes, present=present)
