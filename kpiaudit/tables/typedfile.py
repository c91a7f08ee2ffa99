"""Parquet, Arrow and data frames to canonical tables: lazily, types cast by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from kpiaudit.errors import TableError
from kpiaudit.tables import columns as cols
from kpiaudit.tables import dates, parse
from kpiaudit.tables.cells import any_holds, as_text, text_cell
from kpiaudit.tables.columns import ROW, Column, Context, Converted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.tables.mapping import SourceMapping, Target

_ROUNDS = 5


def convert_frame(
    frame: pl.LazyFrame, target: Target, mapping: SourceMapping, context: Context
) -> Converted:
    """Turn a typed frame into a canonical table, without holding it in memory.

    Two passes at most over the mapped columns: what is in them, and, where text has
    to be read, how much of it can't be.

    Args:
        frame: Source columns.
        target: How the canonical columns come about.
        mapping: Its null texts and time zone.
        context: The file.

    Raises:
        TableError: More cells than tolerated are unreadable, or the order of day and
            month can't be told.
    """
    zone = mapping.timezone or context.timezone
    columns = cols.columns_of(target, zone)
    there = dict(frame.collect_schema())
    frame = frame.with_row_index(ROW, offset=1).with_columns(pl.col(ROW).cast(pl.Int64))
    whole = frame
    if target.only:
        frame = frame.filter(any_holds(target.only, there))
    if target.drop:
        frame = frame.filter(~any_holds(target.drop, there))
    raw = {c.name: _Raw(c, there, mapping.null) for c in columns}
    rows = _look(frame, columns, raw, context)
    gone = 0
    if target.only or target.drop:
        gone = int(whole.select(pl.len()).collect(engine="streaming").item()) - rows
    if not rows + gone:
        raise TableError(f"{context.display}: there are no rows. Export it again.")
    typed = frame.select(
        pl.col(ROW), *(raw[c.name].read(c).alias(c.name) for c in columns)
    )
    typed = cols.finished(typed, columns)
    _count_unreadable(frame, columns, raw)
    cols.check_readable(columns, rows, context)
    names = tuple(c.name for c in columns if not c.name.startswith("__"))
    return Converted(
        table=target.table,
        frame=typed,
        columns=names,
        rows=rows,
        target=target,
        order=next((c.plan.order for c in columns if c.plan.order), None),
        unreadable={c.name: c.unreadable for c in columns if c.unreadable},
        notes=[*cols.notes_of(columns), *cols.left_out(gone)],
        lazy=True,
    )


class _Raw:
    """A mapped cell of a typed frame, as it stands and as text."""

    def __init__(
        self, column: Column, there: Mapping[str, pl.DataType], nulls: tuple[str, ...]
    ) -> None:
        cell = column.cell
        self.dtype: pl.DataType = pl.String()
        self.clean = False
        self.plain_ms = False
        if cell.plain and not cell.format and not nulls:
            self.dtype = there.get(cell.columns[0], pl.String())
        if self.dtype == pl.String or not cell.plain:
            self.value = text_cell(cell, there, nulls)
            self.dtype = pl.String()
        else:
            self.value = pl.col(cell.columns[0])
        if isinstance(self.dtype, (pl.Categorical, pl.Enum)):
            self.value = self.value.cast(pl.String)
            self.dtype = pl.String()

    @property
    def text(self) -> pl.Expr:
        return as_text(self.value, self.dtype)

    def read(self, column: Column) -> pl.Expr:
        """Return the canonical column."""
        kind = column.kind
        if kind in {"id", "text", "code"}:
            return self._words(column)
        if kind == "instant":
            return self._instant(column)
        if kind == "stamp":
            return self._stamp(column)
        if kind == "flag":
            return self.value if self.dtype == pl.Boolean else parse.flags(self.text)
        number = self._number(column)
        return parse.counts(number) if kind == "count" else number

    def _words(self, column: Column) -> pl.Expr:
        if self.clean:
            return self.text
        text = self.text
        if column.name == "agent_id":
            text = cols.without_buckets(text)
        if column.kind != "code":
            return parse.texts(text)
        found = parse.codes(text, column.codes)
        if column.name == "ended_by":
            known = found.is_in(list(column.codes)) | found.is_null()
            found = pl.when(known).then(found).otherwise(pl.lit("unknown"))
        return found

    def _number(self, column: Column) -> pl.Expr:
        unit = column.cell.unit
        timed = column.kind == "duration"
        if isinstance(self.dtype, pl.Duration):
            return self.value.dt.total_milliseconds().cast(pl.Float64) / 1000
        if self.dtype == pl.Time:
            return self.value.cast(pl.Int64).cast(pl.Float64) / 1e9
        if self.dtype.is_numeric() or self.dtype == pl.Boolean:
            number = self.value.cast(pl.Float64)
            number = pl.when(number.is_finite()).then(number)
            return number * parse.scale(unit) if timed else number
        slow = (
            parse.durations(self.text, column.marks, unit)
            if timed
            else parse.numbers(self.text, column.marks)
        )
        if column.marks == "comma" or (unit or "").count(":"):
            return slow
        fast = (
            parse.plain_durations(self.text, unit)
            if timed
            else parse.plain_numbers(self.text)
        )
        return pl.coalesce(fast, slow)

    def _instant(self, column: Column) -> pl.Expr:
        plan = column.plan
        if isinstance(self.dtype, pl.Datetime):
            value = self.value.dt.cast_time_unit("ms")
            if self.dtype.time_zone is None:
                ms = dates.localise(value, plan.timezone)
            else:
                ms = value.dt.epoch("ms")
        elif self.dtype == pl.Date:
            ms = dates.localise(self.value.cast(pl.Datetime("ms")), plan.timezone)
        elif self.dtype.is_numeric():
            if self.plain_ms:
                return self.value.cast(pl.Int64)
            ms = dates.numeric_instants(self.value.cast(pl.Float64), plan)
        else:
            return dates.instants(self.text.str.strip_chars(), plan)
        if self.clean:
            return ms
        return pl.when(ms.is_between(dates.FIRST_MS + 1, dates.LAST_MS - 1)).then(ms)

    def _stamp(self, column: Column) -> pl.Expr:
        if self.dtype.is_numeric():
            return self.value.cast(pl.Float64)
        if self.dtype == pl.String:
            number = parse.plain_numbers(self.text)
            plan = column.plan
            if not plan.shapes:
                return number
            return pl.coalesce(
                number,
                dates.instants(self.text.str.strip_chars(), plan).cast(pl.Float64),
            )
        return self._instant(column).cast(pl.Float64)


def _look(
    frame: pl.LazyFrame, columns: list[Column], raw: dict[str, _Raw], context: Context
) -> int:
    """Count, in one pass, what decides how the columns are read; return the rows."""
    wanted = {
        f"{name}\t{c.name}": counted
        for c in columns
        for name, counted in _facts(c, raw[c.name]).items()
    } | {"rows": pl.len()}
    got: dict[str, Any] = (
        frame.select(**wanted).collect(engine="streaming").row(0, named=True)
    )
    orders: dict[str, list[dict[str, int]]] = {}
    marks: dict[str, list[dict[str, int]]] = {}
    for c in columns:
        end = f"\t{c.name}"
        fact = {k.split("\t")[0]: v or 0 for k, v in got.items() if k.endswith(end)}
        one = raw[c.name]
        if c.kind in {"id", "text", "code"}:
            _words_met(frame, c, one, fact)
        elif one.dtype == pl.String and "ordered" in fact:
            if fact["ordered"] and not c.cell.format:
                orders[c.name] = [fact]
        elif one.dtype == pl.String and fact.get("comma"):
            marks[c.name] = [fact]
        elif c.kind == "instant" and one.dtype.is_integer():
            certain = fact["low"] >= 5e11 and fact["high"] < dates.LAST_MS
            one.plain_ms = c.cell.unit in {None, "epoch_ms"} and certain
    cols.decide_orders(columns, orders, context)
    cols.decide_marks(columns, marks, context)
    for c in columns:
        if c.kind in {"instant", "stamp"} and raw[c.name].dtype == pl.String:
            _shapes(frame, c, raw[c.name])
    return int(got["rows"])


def _words_met(
    frame: pl.LazyFrame, column: Column, raw: _Raw, fact: dict[str, int]
) -> None:
    raw.clean = fact["changed"] == 0
    column.buckets = fact.get("buckets", 0)
    column.e_notation = fact.get("e_notation", 0)
    if column.codes:
        column.unknown_codes = _strange(frame, column, raw)


def _facts(column: Column, raw: _Raw) -> dict[str, pl.Expr]:
    if column.kind in {"id", "text", "code"}:
        read = raw.read(column)
        found = {"changed": (~read.eq_missing(raw.text)).sum()}
        if column.name == "agent_id":
            found["buckets"] = cols.in_bucket(raw.text).sum()
        if column.kind == "id" and (raw.dtype == pl.String or raw.dtype.is_float()):
            found["e_notation"] = raw.text.str.contains(
                r"(?i)^\s*\d(\.\d+)?E\+?\d+\s*$"
            ).sum()
        return found
    if raw.dtype == pl.String and column.kind in {"instant", "stamp"}:
        return dates.order_facts(raw.text)
    if raw.dtype == pl.String and column.kind in {"duration", "number", "count"}:
        return parse.mark_facts(raw.text)
    if column.kind == "instant" and raw.dtype.is_integer():
        return {"low": raw.value.min(), "high": raw.value.max()}
    return {}


def _strange(frame: pl.LazyFrame, column: Column, raw: _Raw) -> dict[str, int]:
    read = parse.codes(raw.text, column.codes).alias("code")
    found = (
        frame.select(read)
        .filter(~pl.col("code").is_in(list(column.codes)))
        .group_by("code")
        .len()
        .collect(engine="streaming")
    )
    return {str(code): int(n) for code, n in found.iter_rows()}


def _shapes(frame: pl.LazyFrame, column: Column, raw: _Raw) -> None:
    """Find out how a column's instants are written, from what is still unread."""
    plan = column.plan
    if plan.formats or plan.unit:
        return
    for _ in range(_ROUNDS):
        left = frame.select(text=raw.text.str.strip_chars()).filter(
            pl.col("text").is_not_null()
        )
        if plan.shapes:
            left = left.filter(dates.instants(pl.col("text"), plan).is_null())
        some = left.head(2000).collect(engine="streaming").to_series().to_list()
        met = dict.fromkeys(filter(None, map(dates.shape_of, some)))
        new = [shape for shape in met if shape not in plan.shapes]
        if not new:
            return
        plan.shapes += new


def _count_unreadable(
    frame: pl.LazyFrame, columns: list[Column], raw: dict[str, _Raw]
) -> None:
    wanted: dict[str, pl.Expr] = {}
    for c in columns:
        one = raw[c.name]
        if c.kind in {"id", "text", "code", "stamp"} or one.plain_ms:
            continue
        filled = one.value.is_not_null()
        if one.dtype == pl.String:
            filled = filled & ~parse.is_nothing(one.value)
            if c.kind == "instant":
                never = dates.placeholder(one.value)
                wanted[f"never\t{c.name}"] = (filled & never).sum()
                filled = filled & ~never
        bad = filled & one.read(c).is_null()
        wanted[f"filled\t{c.name}"] = filled.sum()
        wanted[f"bad\t{c.name}"] = bad.sum()
        wanted[f"first\t{c.name}"] = pl.col(ROW).filter(bad).min()
        wanted[f"example\t{c.name}"] = one.text.filter(bad).min()
    if not wanted:
        return
    got: dict[str, Any] = (
        frame.select(**wanted).collect(engine="streaming").row(0, named=True)
    )
    for c in columns:
        if f"bad\t{c.name}" in got:
            c.filled = int(got[f"filled\t{c.name}"] or 0)
            c.unreadable = int(got[f"bad\t{c.name}"] or 0)
            c.placeholders = int(got.get(f"never\t{c.name}") or 0)
            first = got[f"first\t{c.name}"]
            c.first_bad = [] if first is None else [int(first)]
            c.example = str(got[f"example\t{c.name}"] or "")[:40]
