"""A mapped cell of a typed frame, as it stands, as text, and as a canonical column."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from kpiaudit.tables import columns as cols
from kpiaudit.tables import dates, parse
from kpiaudit.tables.cells import NULLS, as_text, text_cell, within_years

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.tables.columns import Column

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
UNLIKE = (
    rf"^\s|\s$|^#|{cols.ROUNDED}|^(?:" + "|".join(sorted(map(re.escape, NULLS))) + ")$"
)
"""What every text matches that is not read as it stands, or is told of in a note."""
WORDS = ("id", "text", "code")
FIGURES = ("duration", "number", "count")


class TypedCell:
    """One mapped cell; what is found out about its column makes reading it cheaper.

    Args:
        column: Canonical column.
        there: Source columns and their types.
        nulls: Further texts that stand for an empty cell.
    """

    def __init__(
        self, column: Column, there: Mapping[str, pl.DataType], nulls: tuple[str, ...]
    ) -> None:
        cell = column.cell
        self.column = column
        self.dtype: pl.DataType = pl.String()
        if cell.plain and not cell.format:
            dtype = there.get(cell.columns[0], pl.String())
            # A whole file's empty texts may be numbers (-1), never dates or flags.
            as_number = dtype.is_numeric() and any(map(_NUMBER.fullmatch, nulls))
            self.dtype = pl.String() if as_number else dtype
        if self.dtype == pl.String:
            self.value = text_cell(cell, there, nulls)
        else:
            self.value = pl.col(cell.columns[0])
        if isinstance(self.dtype, (pl.Categorical, pl.Enum)):
            self.value = self.value.cast(pl.String)
            self.dtype = pl.String()
        whole = self.dtype.is_integer() or self.dtype == pl.Boolean
        # Sure: every cell is read as it stands, nothing has to be tidied or bounded.
        self.sure = whole and column.kind != "instant"
        self.milliseconds = False

    @property
    def text(self) -> pl.Expr:
        """Return the cell as a CSV export would hold it."""
        return as_text(self.value, self.dtype)

    def read(self) -> pl.Expr:
        """Return the canonical column."""
        kind = self.column.kind
        if kind in WORDS:
            return self._words()
        if kind == "instant":
            return self._instant()
        if kind == "stamp":
            return self._stamp()
        if kind == "flag":
            return self.value if self.dtype == pl.Boolean else parse.flags(self.text)
        if kind == "count" and self.dtype == pl.String:
            return parse.whole(self.text)
        number = self._number()
        return parse.counts(number) if kind == "count" else number

    def _words(self) -> pl.Expr:
        column, text = self.column, self.text
        if self.sure:
            return text
        if column.name == "agent_id":
            text = cols.without_buckets(text)
        if column.kind == "id":
            text = cols.without_rounded(text, floats=self.dtype == pl.Float64)
        if column.kind != "code":
            return parse.texts(text)
        found = parse.codes(text, column.codes)
        if column.name == "ended_by":
            known = found.is_in(list(column.codes)) | found.is_null()
            found = pl.when(known).then(found).otherwise(pl.lit("unknown"))
        return found

    def _number(self) -> pl.Expr:
        unit = self.column.cell.unit
        timed = self.column.kind == "duration"
        if isinstance(self.dtype, pl.Duration):
            return self.value.dt.total_milliseconds().cast(pl.Float64) / 1000
        if self.dtype == pl.Time:
            return self.value.cast(pl.Int64).cast(pl.Float64) / 1e9
        if self.dtype.is_numeric() or self.dtype == pl.Boolean:
            number = self.value.cast(pl.Float64)
            if not self.sure:
                number = pl.when(number.is_finite()).then(number)
            size = parse.scale(unit) if timed else 1.0
            return number if size == 1 else number * size
        marks = self.column.marks
        slow = (
            parse.durations(self.text, marks, unit)
            if timed
            else parse.numbers(self.text, marks)
        )
        if marks == "comma" or ":" in (unit or ""):
            return slow
        fast = (
            parse.plain_durations(self.text, unit)
            if timed
            else parse.plain_numbers(self.text)
        )
        return pl.coalesce(fast, slow)

    def _instant(self) -> pl.Expr:
        plan = self.column.plan
        if isinstance(self.dtype, pl.Datetime):
            value = self.value if self.sure else within_years(self.value, self.dtype)
            value = value.dt.cast_time_unit("ms")
            naive = self.dtype.time_zone is None
            ms = dates.localise(value, plan.timezone) if naive else value.dt.epoch("ms")
        elif self.dtype == pl.Date:
            value = within_years(self.value, self.dtype)
            ms = dates.localise(value.cast(pl.Datetime("ms")), plan.timezone)
        elif self.dtype.is_numeric():
            if self.milliseconds:
                return self.value.cast(pl.Int64)
            ms = dates.numeric_instants(self.value.cast(pl.Float64), plan)
        else:
            return dates.instants(self.text.str.strip_chars(), plan)
        return ms if self.sure else dates.sane(ms)

    def _stamp(self) -> pl.Expr:
        if self.dtype.is_numeric():
            return self.value.cast(pl.Float64)
        if self.dtype != pl.String:
            return self._instant().cast(pl.Float64)
        number = parse.plain_numbers(self.text)
        if not self.column.plan.shapes:
            return number
        stamp = dates.instants(self.text.str.strip_chars(), self.column.plan)
        return pl.coalesce(number, stamp.cast(pl.Float64))

    def facts(self) -> dict[str, pl.Expr]:  # noqa: PLR0911  # one return a type
        """Return counts over the column that decide how it is read."""
        kind = self.column.kind
        if kind in WORDS:
            return {} if self.sure else self._word_facts()
        if self.dtype == pl.String:
            if kind in {"instant", "stamp"}:
                return dates.order_facts(self.text)
            return parse.mark_facts(self.text) if kind in FIGURES else {}
        if self.dtype.is_float() and kind in FIGURES:
            return {"odd": (~self.value.is_finite()).sum()}
        if kind != "instant":
            return {}
        value = self.value
        if isinstance(self.dtype, pl.Datetime):
            value = value.dt.epoch("ms")
        elif not self.dtype.is_integer():
            return {}
        return {"low": value.min(), "high": value.max()}

    def _word_facts(self) -> dict[str, pl.Expr]:
        plain = self.column.kind in {"id", "text"} and self.column.name != "agent_id"
        if plain and self.dtype == pl.String:
            # One pattern costs a tenth of asking for everything, and most match none.
            return {
                "unlike": self.text.str.contains(UNLIKE).sum(),
                "filled": self.text.is_not_null().sum(),
            }
        return self.all_word_facts()

    def all_word_facts(self) -> dict[str, pl.Expr]:
        """Return counts over a column of texts, of everything that can be odd."""
        errors = parse.sheet_error(self.text)
        found = {
            "changed": (~self.read().eq_missing(self.text)).sum(),
            "errors": errors.sum(),
            "lost": parse.sheet_error(self.text, lost=True).sum(),
            "filled": (self.text.is_not_null() & ~errors).sum(),
        }
        if self.column.kind == "id" and self.dtype in {pl.String, pl.Float64}:
            floats = self.dtype == pl.Float64
            shape = cols.ROUNDED_FLOAT if floats else cols.ROUNDED
            wrong = self.text.str.contains(shape)
            found["e_notation"] = wrong.sum()
        return found

    def learn(self, fact: Mapping[str, int]) -> None:
        """Take in the counts of `facts`."""
        column = self.column
        column.sheet_errors += fact.get("errors", 0)
        column.lost += fact.get("lost", 0)
        if fact.get("unlike") == 0:
            column.filled, self.sure = fact["filled"], True
        elif "changed" in fact:
            column.filled = fact["filled"]
            self.sure = not fact["changed"]
            column.e_notation = fact.get("e_notation", 0)
        elif "odd" in fact:
            self.sure = not fact["odd"]
        elif "low" in fact:
            inside = fact["low"] > dates.FIRST_MS and fact["high"] < dates.LAST_MS
            if isinstance(self.dtype, pl.Datetime):
                zoned = self.dtype.time_zone is not None
                self.sure = inside and (zoned or column.plan.timezone == "UTC")
            else:
                plain = column.cell.unit in {None, "epoch_ms"} and fact["low"] >= 5e11
                self.milliseconds = self.sure = inside and plain

    def learn_words(self, groups: pl.DataFrame) -> None:
        """Take in the different texts `x` of the column, with their number `len`."""
        column = self.column
        x = pl.col("x")
        whole = TypedCell.__new__(TypedCell)
        whole.column, whole.dtype, whole.value = column, pl.String(), x
        whole.sure = whole.milliseconds = False
        same = groups.select(whole.read().eq_missing(x)).to_series()
        self.sure = bool(same.all())
        errors = groups.filter(parse.sheet_error(x))
        column.sheet_errors = int(errors["len"].sum())
        column.lost = int(errors.filter(parse.sheet_error(x, lost=True))["len"].sum())
        column.sheet_error = str(errors["x"][0]) if len(errors) else ""
        filled = groups.filter(x.is_not_null())["len"].sum() - column.sheet_errors
        column.filled = int(filled)
        if column.name == "agent_id":
            inside = groups.filter(cols.in_bucket(x))
            column.buckets = int(inside["len"].sum())
            column.bucket_names = inside["x"].str.strip_chars().sort().head(3).to_list()
        if column.kind == "id":
            wrong = groups.filter(x.str.contains(cols.ROUNDED))
            column.e_notation = int(wrong["len"].sum())
        if column.codes:
            read = groups.with_columns(parse.codes(x, column.codes))
            strange = read.filter(~x.is_in(list(column.codes)))
            for code, n in strange.iter_rows():
                column.unknown_codes[code] = column.unknown_codes.get(code, 0) + n
