"""Export files and data frames to a `Dataset`."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from zoneinfo import ZoneInfo

import narwhals as nw
import polars as pl

from kpiaudit.errors import KpiauditError, RuleError, TableError
from kpiaudit.findings import DataNote
from kpiaudit.tables import schema
from kpiaudit.tables.assemble import Assembled, assemble, dated
from kpiaudit.tables.checks import check
from kpiaudit.tables.columns import AmbiguousDatesError
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.discover import discover, named_sources
from kpiaudit.tables.grammar import read_mappings
from kpiaudit.tables.read import Options, Read, read_frame, read_source
from kpiaudit.tables.recognise import Known, UnrecognisedError
from kpiaudit.tables.report import (
    FileReport,
    report_error,
    report_read,
    report_unrecognised,
)
from kpiaudit.tables.yamlvalues import check_zone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kpiaudit.tables.columns import Converted
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

    Raises:
        TableError: A file is absent, empty, broken, ambiguous or recognised by nothing.
        RuleError: A mapping or an option is wrong.
    """
    options = _options(mapping, preset, timezone, max_unreadable)
    _period(since, until, timezone)
    found: list[Read] = []
    notes: list[DataNote] = []
    unclear: list[tuple[Source | tuple[str, Any], AmbiguousDatesError]] = []
    for source in _sources(paths, tables, stdin):
        try:
            found.append(_read(source, options))
        except AmbiguousDatesError as error:
            unclear.append((source, error))
        except UnrecognisedError as error:
            if _named(source):
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
    return _dataset(found, notes, zone, _period(since, until, zone))


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
    for source in _sources(paths, tables, stdin):
        try:
            reports.append(report_read(_read(source, options)))
        except UnrecognisedError as error:
            if not _named(source):
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
) -> tuple[int | None, int | None]:
    """Return the first instant of the period and the first after it."""
    start = _midnight(since, "--since", timezone, 0)
    end = _midnight(until, "--until", timezone, 1)
    if start is not None and end is not None and end <= start:
        raise RuleError(f"--until {until} lies before --since {since}.")
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


def _named(source: Source | tuple[str, Any]) -> bool:
    return isinstance(source, tuple) or source.named


def _read(source: Source | tuple[str, Any], options: Options) -> Read:
    if isinstance(source, tuple):
        return read_frame(source[0], source[1], options)
    return read_source(source, options)


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


def _dataset(
    found: list[Read],
    notes: list[DataNote],
    timezone: str,
    period: tuple[int | None, int | None],
) -> Dataset:
    frames: dict[str, nw.LazyFrame[Any]] = {}
    columns: dict[str, frozenset[str]] = {}
    origins: dict[str, str] = {}
    derived: dict[str, str] = {}
    periods: dict[str, tuple[int, int]] = {}
    rows: dict[str, int] = {}
    for table in schema.TABLES:
        pieces = [
            (r.display, c) for r in found for c in r.converted if c.table == table
        ]
        if not pieces:
            continue
        notes += [
            DataNote(table=table, kind=k, count=n, detail=f"{r.display}: {n:,} {text}.")
            for r in found
            for c in r.converted
            if c.table == table
            for k, n, text in (*r.notes, *c.notes)
        ]
        done = assemble(table, pieces)
        frame, present, count, span = _ready(done, timezone, period)
        notes += [
            DataNote(table=table, kind=k, count=n, detail=f"{n:,} {text}.")
            for k, n, text in done.notes
        ]
        if not count and _left_out(pieces):
            text = "every row was left out, as the mapping says"
            notes.append(DataNote(table=table, kind="no-rows", count=0, detail=text))
            continue
        if not count:
            raise TableError(
                f"There are no rows of '{table}' in the period. Check --since and "
                "--until, and the dates with 'kpiaudit inspect'."
            )
        notes += check(table, frame, present)
        frames[table] = nw.from_native(frame)
        columns[table] = present
        rows[table] = count
        if span:
            periods[table] = span
        derived |= {f"{table}.{k}": v for k, v in done.derived.items()}
        origins |= _origins(table, pieces, done)
    if not frames:
        raise TableError(notes[-1].detail + ". Mend its 'only' or 'drop'.")
    return Dataset(
        frames=frames,
        columns=columns,
        origins=origins,
        inputs=tuple(i for r in found for i in r.inputs()),
        notes=tuple(notes),
        timezone=timezone,
        derived=derived,
        period=periods,
        rows=rows,
    )


def _left_out(pieces: list[tuple[str, Converted]]) -> bool:
    """Say whether a mapping's `only` or `drop` left nothing of the table."""
    return not any(p.rows for _, p in pieces) and any(
        p.target.only or p.target.drop for _, p in pieces
    )


def _ready(
    done: Assembled, timezone: str, period: tuple[int | None, int | None]
) -> tuple[pl.LazyFrame, frozenset[str], int, tuple[int, int] | None]:
    """Return the dated table within the period, its columns, rows and span."""
    frame = dated(done, timezone)
    names = frame.collect_schema().names()
    if "at_ms" in names:
        start, end = period
        if start is not None:
            frame = frame.filter(pl.col("at_ms") >= start)
        if end is not None:
            frame = frame.filter(pl.col("at_ms") < end)
    negative = [
        c.name
        for c in schema.TABLES[done.table]
        if c.type == "duration" and c.name in names
    ]
    wanted = {n: pl.col(n).count() for n in names}
    wanted |= {f"{n}\t-": (pl.col(n) < 0).sum() for n in negative}
    if "at_ms" in names:
        wanted |= {"\tlow": pl.col("at_ms").min(), "\thigh": pl.col("at_ms").max()}
    got = frame.select(pl.len().alias("\trows"), **wanted)
    facts = got.collect(engine="streaming").row(0, named=True)
    below = [n for n in negative if facts[f"{n}\t-"]]
    for name in below:
        count = facts[f"{name}\t-"]
        text = f"rows have a {name} below zero, which counts as empty"
        done.notes.append(("negative-durations", count, text))
        frame = frame.with_columns(pl.when(pl.col(name) >= 0).then(name).alias(name))
    empty = [n for n in names if not facts[n] and facts["\trows"]]
    if empty:
        text = f"mapped columns hold nothing and count as absent: {', '.join(empty)}"
        done.notes.append(("empty-columns", len(empty), text))
        frame = frame.drop(empty)
    low, high = facts.get("\tlow"), facts.get("\thigh")
    span = (int(low), int(high)) if low is not None and high is not None else None
    if not done.lazy:
        frame = frame.collect().lazy()
    present = frozenset(n for n in names if n not in empty)
    return frame, present, int(facts["\trows"]), span


def _origins(
    table: str, pieces: list[tuple[str, Converted]], done: Assembled
) -> dict[str, str]:
    """Return who wrote each column: the mapping's word, else the schema's default.

    Where files differ, the least independent writer counts.
    """
    found: dict[str, str] = {}
    for column in schema.TABLES[table]:
        said = [
            piece.target.origins.get(column.name, column.origin)
            for _, piece in pieces
            if column.name in piece.columns
        ]
        if said:
            found[f"{table}.{column.name}"] = max(said, key=schema.ORIGINS.index)
        elif column.name in done.derived:
            found[f"{table}.{column.name}"] = "derived"
    return found
