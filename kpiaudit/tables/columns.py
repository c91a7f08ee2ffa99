"""One canonical column while it is read, and what was met in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from kpiaudit.errors import TableError
from kpiaudit.tables import dates, describe, parse, schema
from kpiaudit.tables.mapping import Cell
from kpiaudit.tables.sentence import Sentence, at_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpiaudit.tables.dates import InstantPlan, Order
    from kpiaudit.tables.mapping import Target
    from kpiaudit.tables.parse import Marks

ROW = "__row__"
KEPT_BY = "__kept_by__"
RECORD = "__record__"
PLUS = "__plus__"
_ROLL_MS = 43_200_000
BUCKETS = frozenset(
    (
        *("noserver", "noagent", "unknown", "none", "ivr", "system", "bot", "queue"),
        *("unassigned", "na", "n/a", "nobody", "anonymous", "acd", "auto"),
        *("automated", "automatic", "voicebot", "chatbot", "virtualagent", "default"),
        *("dialer", "notassigned", "unallocated", "vru", "robot"),
    )
)
"""Ids, folded, that stand for nobody in particular: nobody is judged by them."""
ROUNDED = r"^\s*\d([.,]\d+)?E\+\d+\s*$"
"""A long id that a spreadsheet took for a number: several have become one."""
ROUNDED_FLOAT = r"^\d(\.\d+)?[Ee]\+?\d+$"


@dataclass(kw_only=True)
class Context:
    """What is known about the file while its cells are read.

    Args:
        display: How messages name it.
        timezone: Zone of instants without an offset.
        max_unreadable: Share of unreadable cells that is still tolerated.
        separator: Of the file's fields, if it has one.
        order: Order of day and month in other files with the same columns.
    """

    display: str
    timezone: str
    max_unreadable: float
    separator: str | None = None
    order: Order | None = None


class AmbiguousDatesError(TableError):
    """Day and month can't be told apart in this file; another one may tell."""


@dataclass(kw_only=True)
class Converted:
    """One canonical table out of one file.

    Args:
        table: Which.
        frame: Typed columns, `ROW`, and `KEPT_BY` if the mapping names a stamp.
        columns: Canonical columns in `frame`.
        rows: Rows in `frame`.
        target: The mapping behind it.
        unreadable: Cells that could not be read, by column.
        notes: Kind, count and sentence of what was met.
        lazy: Whether `frame` reads from disk.
        order: Order of day and month, if the file told it.
        filled: Columns that are known to hold something; others may as well.
    """

    table: str
    frame: pl.LazyFrame
    columns: tuple[str, ...]
    rows: int
    target: Target
    unreadable: dict[str, int] = field(default_factory=dict)
    notes: list[tuple[str, int, str]] = field(default_factory=list)
    lazy: bool = False
    order: Order | None = None
    filled: frozenset[str] = frozenset()


@dataclass(kw_only=True)
class Column:
    """One canonical column while it is read, and what was met in it.

    Args:
        name: Canonical name, or that of a helper.
        kind: Its type in the schema; `stamp` for the stamp of a delivery.
        cell: How it comes about.
        codes: Codes that it may hold; empty where any will do.
        plan: How instants are read.
        marks: Decimal mark of its numbers.
        filled: Cells that are not empty.
        unreadable: Cells of these that can't be read.
        first_bad: Data rows of the first few.
        example: The first of them.
        buckets: Cells with an agent id that stands for nobody.
        bucket_names: The first few of these ids.
        unknown_codes: Codes that are not canonical, with their counts.
        e_notation: Ids that a spreadsheet has rounded.
        placeholders: Dates that stand for none.
        sheet_errors: Cells that hold a spreadsheet's error, and count as empty.
        lost: Those of them that stand for a value: all but `#N/A`.
        sheet_error: The first of them.
        sheet_rows: Data rows of the first few.
        settled: Codes that stay as they are, or agents who are no bucket, up to now.
    """

    name: str
    kind: str
    cell: Cell
    plan: InstantPlan
    codes: tuple[str, ...] = ()
    marks: Marks = "point"
    filled: int = 0
    unreadable: int = 0
    first_bad: list[int] = field(default_factory=list)
    example: str = ""
    buckets: int = 0
    bucket_names: list[str] = field(default_factory=list)
    unknown_codes: dict[str, int] = field(default_factory=dict)
    e_notation: int = 0
    placeholders: int = 0
    sheet_errors: int = 0
    lost: int = 0
    sheet_error: str = ""
    sheet_rows: list[int] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)

    @property
    def source(self) -> str:
        """Return the source column that messages name."""
        return (*self.cell.columns, self.cell.date or self.name)[0]


def columns_of(target: Target, zone: str) -> list[Column]:
    """Return the columns to be read, with helpers for what is added to them."""
    found: list[Column] = []
    for name, cell in target.cells.items():
        column = schema.column(target.table, name)
        if column is None:
            continue
        found.append(_column(name, column.type, cell, zone, column.values))
        for i, source in enumerate(cell.plus):
            part = Cell(columns=(source,), unit=cell.plus_unit)
            found.append(_column(f"{PLUS}{name}{i}", "duration", part, zone))
    if target.keep:
        stamp = Cell(columns=(target.keep.column,))
        found.append(_column(KEPT_BY, "stamp", stamp, zone))
        if target.keep.record:
            record = Cell(columns=(target.keep.record,))
            found.append(_column(RECORD, "id", record, zone))
    return found


def _column(
    name: str, kind: str, cell: Cell, zone: str, codes: tuple[str, ...] = ()
) -> Column:
    plan = dates.InstantPlan(
        timezone=cell.timezone or zone,
        formats=cell.format,
        unit=cell.unit if kind == "instant" else None,
    )
    return Column(name=name, kind=kind, cell=cell, codes=codes, plan=plan)


def decide_orders(
    columns: list[Column], orders: dict[str, list[dict[str, int]]], context: Context
) -> None:
    """Set the order of day and month; one column speaks for the file's others.

    Raises:
        TableError: Nothing in the file tells.
    """
    every = dates.decide_order([f for facts in orders.values() for f in facts])
    for column in columns:
        facts = orders.get(column.name)
        if facts is None:
            continue
        order = dates.decide_order(facts) or every
        contradicted = any(f["first"] or f["second"] for f in facts)
        order = order or (None if contradicted else context.order)
        if order is None and column.kind == "instant":
            both = any(f["first"] for f in facts) and any(f["second"] for f in facts)
            why = (
                "some dates only fit day/month and others only month/day"
                if both
                else "no day is above 12, so day and month can't be told apart"
            )
            raise AmbiguousDatesError(
                f"{context.display}, column '{column.source}': {why}. Pass a mapping "
                f"file that says '{column.name}: {{column: {column.source}, format: "
                "[...]}', with '%d/%m/%Y' or '%m/%d/%Y' (docs/mapping.md)."
            )
        column.plan.order = order


def decide_marks(
    columns: list[Column], facts: dict[str, list[dict[str, int]]], context: Context
) -> None:
    """Set the decimal mark of each column with commas; others may speak for it."""
    every = [f for found in facts.values() for f in found]
    for column in columns:
        own = facts.get(column.name, [])
        said = [f for f in own if f["decimal"] or f["thousands"]] or every
        if own:
            column.marks = parse.decide_marks(said, separator=context.separator)


def finished(frame: pl.LazyFrame, columns: list[Column]) -> pl.LazyFrame:
    """Add what is to be added, and move instants past midnight."""
    names = {c.name for c in columns}
    sums = [step for c in columns for step in _sums(c)]
    frame = frame.with_columns(sums) if sums else frame
    rolls = [_rolled(c.name, c.cell.after) for c in columns if c.cell.after in names]
    frame = frame.with_columns(rolls) if rolls else frame
    plus = sorted(name for name in names if name.startswith(PLUS))
    return frame.drop(plus) if plus else frame


def _sums(column: Column) -> Iterable[pl.Expr]:
    if not column.cell.plus:
        return
    total = pl.col(column.name)
    for i in range(len(column.cell.plus)):
        more = pl.col(f"{PLUS}{column.name}{i}")
        if column.kind == "instant":
            more = (more * 1000).round().cast(pl.Int64)
        total = total + more
    yield total.alias(column.name)


def _rolled(name: str, after: str | None) -> pl.Expr:
    here = pl.col(name)
    passed = here < pl.col(after or name) - _ROLL_MS
    return pl.when(passed).then(here + 86_400_000).otherwise(here).alias(name)


def without_rounded(text: pl.Expr, *, floats: bool = False) -> pl.Expr:
    """Empty the ids that a spreadsheet (or a binary fraction) has rounded."""
    return pl.when(~text.str.contains(ROUNDED_FLOAT if floats else ROUNDED)).then(text)


def in_bucket(text: pl.Expr) -> pl.Expr:
    """Return whether an agent's id is a bucket of unknown or no agents."""
    folded = text.str.to_lowercase().str.replace_all(r"[\s_\-.]+", "")
    return folded.is_in(list(BUCKETS))


def without_buckets(text: pl.Expr) -> pl.Expr:
    """Empty the ids that are buckets."""
    return pl.when(~in_bucket(text)).then(text)


def check_readable(columns: list[Column], rows: int, context: Context) -> None:
    """Refuse a file of which too many cells of a column are unreadable.

    The share is of the column's filled cells; a sparse column must also reach a tenth
    of it among all rows, so that one odd cell does not cost the file.

    Raises:
        TableError: There are too many.
    """
    for column in columns:
        bad = column.unreadable + column.lost
        share = bad / max(column.filled + column.lost, 1)
        of_rows = bad / max(rows, 1)
        if share > context.max_unreadable and of_rows > context.max_unreadable / 10:
            example = column.example or column.sheet_error or "#REF!"
            first = column.first_bad or column.sheet_rows
            rows_ = ", ".join(map(str, first))
            where = f"'{example}'" + (f"; first in data rows {rows_}" if first else "")
            raise TableError(
                f"{context.display}, column '{column.source}': {share:.1%} of the cells"
                f" can't be read as {column.name} ({where}). {_mend(column)}, "
                "or allow more with --max-unreadable."
            )


def _mend(column: Column) -> str:
    if column.lost > column.unreadable:
        return (
            "They are errors of a spreadsheet: give the export as the platform wrote it"
        )
    skipped = _skipped(column)
    if skipped:
        return f"Times are there that {skipped}: give their zone with --timezone"
    return "Say how they are written in a mapping file"


def _skipped(column: Column) -> str:
    if column.kind != "instant" or not dates.skipped_hour(column.example, column.plan):
        return ""
    return f"the clocks of {column.plan.timezone} skip in spring"


def notes_of(columns: list[Column]) -> Iterable[tuple[str, int, str]]:
    """Say what was met in the columns: kind, count, sentence."""
    for c in columns:
        for kind, count, detail in _met(c):
            if count:
                yield kind, count, detail


def _met(c: Column) -> Iterable[tuple[str, int, str]]:
    skipped, rows = _skipped(c), ", ".join(map(str, c.first_bad))
    why = f"; it is one that {skipped}, so the zone may be another" if skipped else ""
    yield (
        "unreadable-cells",
        c.unreadable,
        Sentence(
            f"cells of '{c.name}' could not be read and count as empty, such as "
            f"'{c.example}' (first in data rows {rows}){why}",
            at_rows(c.first_bad),
        ),
    )
    rows = ", ".join(map(str, c.sheet_rows))
    yield (
        "spreadsheet-errors",
        c.sheet_errors,
        Sentence(
            f"cells of '{c.name}' hold a spreadsheet's error, such as "
            f"'{c.sheet_error or '#REF!'}', and count as empty"
            + (f" (first in data rows {rows})" if rows else ""),
            at_rows(c.sheet_rows),
        ),
    )
    yield (
        "bucket-agent",
        c.buckets,
        Sentence(
            "rows bear an agent_id that stands for nobody; it counts as empty"
            + (f" (such as {', '.join(c.bucket_names)})" if c.bucket_names else ""),
            c.bucket_names,
        ),
    )
    yield (
        "unknown-codes",
        sum(c.unknown_codes.values()),
        Sentence(
            f"cells of '{c.name}' hold codes that are not canonical "
            f"({', '.join(sorted(c.unknown_codes)[:5])}); map them with 'values:' in a "
            "mapping file",
            sorted(c.unknown_codes),
        ),
    )
    yield (
        "ids-in-e-notation",
        c.e_notation,
        (
            f"cells of '{c.name}' look like 4.92E+11, which count as empty: a "
            "spreadsheet has rounded them, and different ids may have become one; "
            "export again without it"
        ),
    )
    yield (
        "placeholder-dates",
        c.placeholders,
        (
            f"cells of '{c.name}' hold a date that stands for none (like 1900-01-01) "
            "and count as empty"
        ),
    )


def left_out(count: int, target: Target) -> Iterable[tuple[str, int, str]]:
    """Say how many rows the mapping's `drop` and `only` left out, and which."""
    if count:
        yield "left-out-rows", count, describe.left_out(target)


def facts_of(cells: pl.Series, wanted: dict[str, pl.Expr]) -> dict[str, int]:
    """Evaluate counts over the column `x`."""
    row: dict[str, Any] = pl.DataFrame({"x": cells}).select(**wanted).row(0, named=True)
    return {k: int(v or 0) for k, v in row.items()}
