"""Sheets of an Excel workbook as CSV text, which then goes the way of every export.

Every cell is taken as text, so that one `n/a` does not empty a column. Times and
durations are days since the end of 1899 there: they become hours, minutes and seconds.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from kpiaudit.errors import TableError
from kpiaudit.tables.discover import named_table
from kpiaudit.tables.source import FREE_INFLATION, limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kpiaudit.tables.source import Source

_CLOCK = r"^(18\d\d|190\d)-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?$"
_STAMP = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?$"
_ZERO = datetime(1899, 12, 31)  # noqa: DTZ001  # Excel's days have no zone
_LEAP = 60  # Excel believes in 29 February 1900
_LONG = r"^\d{17,}$"
_FEW = 5


def sheets(source: Source) -> tuple[Source, ...]:
    """Return the visible sheets that hold cells, each as CSV text.

    Raises:
        TableError: The extra is not installed, the workbook is damaged, holds no cells,
            or would grow too large.
    """
    excel = _library(source)
    _check_size(source)
    try:
        book = excel.read_excel(
            source.data if source.data is not None else str(source.path)
        )
        loaded = [
            book.load_sheet(name, header_row=None, dtypes="string")
            for name in book.sheet_names
        ]
        frames = [(s.name, s.visible, s.to_polars()) for s in loaded]
    except excel.FastExcelError as error:
        raise TableError(
            f"{source.display}: the workbook is cut off, damaged or has a password "
            f"({str(error).splitlines()[0]}). Save the sheet as CSV (UTF-8)."
        ) from error
    filled = [(name, visible, frame) for name, visible, frame in frames if len(frame)]
    shown = [(name, frame) for name, visible, frame in filled if visible == "visible"]
    if not shown:
        raise TableError(f"{source.display}: the workbook is empty. Export it again.")
    hidden = [name for name, visible, _ in filled if visible != "visible"]
    found = list(_sheets(source, shown))
    if hidden:
        text = f"hidden sheets were not read ({', '.join(hidden)})"
        more = (("hidden-sheets", len(hidden), text),)
        found[0] = replace(found[0], notes=(*found[0].notes, *more))
    return tuple(found)


def _library(source: Source) -> Any:
    try:
        import fastexcel  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise TableError(
            f"{source.display}: this is an Excel workbook. Install what reads it with "
            "'pip install kpiaudit[excel]', or save the sheet as CSV (UTF-8)."
        ) from error
    return fastexcel


def _check_size(source: Source) -> None:
    raw = io.BytesIO(source.data) if source.data is not None else source.path
    try:
        with zipfile.ZipFile(cast("Any", raw)) as archive:
            size = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise TableError(
            f"{source.display}: the workbook is cut off or damaged ({error}). Copy or "
            "export it again."
        ) from error
    ratio = limit("KPIAUDIT_MAX_INFLATE_RATIO", 300)
    if size > FREE_INFLATION and size > ratio * max(source.size(), 1):
        raise TableError(
            f"{source.display}: the workbook would grow more than {ratio:g} times. If "
            "that is right, raise KPIAUDIT_MAX_INFLATE_RATIO."
        )


def _sheets(
    source: Source, shown: Sequence[tuple[str, pl.DataFrame]]
) -> Iterator[Source]:
    single = len(shown) == 1
    for name, frame in shown:
        told = named_table(name)
        cells, notes = _cells(frame)
        yield replace(
            source,
            display=source.display if single else f"{source.display}/{name}",
            data=cells.write_csv(include_header=False, quote_style="always").encode(),
            sheet=name,
            hint=name if told else source.hint,
            named=source.named and single,
            stray=source.stray or (not single and told is None),
            notes=notes,
        )


def _cells(
    frame: pl.DataFrame,
) -> tuple[pl.DataFrame, tuple[tuple[str, int, str], ...]]:
    """Return the cells as a CSV export would hold them, without empty rows."""
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    rounded = sum(_rounded(frame[name]) for name in frame.columns)
    text = "cells hold numbers of more than 15 digits: Excel has rounded them, and "
    text += "different ids may have become one; export them as text"
    notes = (("ids-in-e-notation", rounded, text),) if rounded else ()
    return frame.with_columns(_plain(frame[name]) for name in frame.columns), notes


def _plain(cells: pl.Series) -> pl.Series:
    """Return days since 1899 as a clock, and dates without the midnight of all."""
    stamps = cells.str.contains(_STAMP).fill_null(value=False)
    if not stamps.any():
        return cells
    clocks = cells.str.contains(_CLOCK).fill_null(value=False)
    if clocks.any():
        spans = cells.filter(clocks).to_frame("x").select(_clock(pl.col("x")))
        cells = cells.scatter(clocks.arg_true(), spans.to_series())
    days = stamps & ~clocks
    midnight = cells.str.ends_with(" 00:00:00").fill_null(value=False)
    if days.any() and not (days & ~midnight).any():
        bare = cells.filter(days).str.slice(0, 10)
        cells = cells.scatter(days.arg_true(), bare)
    return cells


def _clock(text: pl.Expr) -> pl.Expr:
    at = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ms")
    days = (at - _ZERO).dt.total_milliseconds()
    ms = days + 86_400_000 * (days >= _LEAP * 86_400_000).cast(pl.Int64)
    size = ms.abs()
    part = size % 1000
    return pl.concat_str(
        pl.when(ms < 0).then(pl.lit("-")).otherwise(pl.lit("")),
        size // 3_600_000,
        pl.lit(":"),
        (size // 60_000 % 60).cast(pl.String).str.zfill(2),
        pl.lit(":"),
        (size // 1000 % 60).cast(pl.String).str.zfill(2),
        pl.when(part > 0)
        .then(pl.concat_str(pl.lit("."), part.cast(pl.String).str.zfill(3)))
        .otherwise(pl.lit("")),
    )


def _rounded(cells: pl.Series) -> int:
    """Count long numbers of a column if each is what a binary number can hold."""
    long = cells.filter(cells.str.contains(_LONG).fill_null(value=False))
    if len(long) < _FEW or len(long) > 100_000:
        long = long.head(1000)
    if len(long) < _FEW or any(int(float(x)) != int(x) for x in long.to_list()):
        return 0
    return len(long)
