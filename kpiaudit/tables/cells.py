"""Mapped cells as polars expressions: columns, templates, cases, codes, conditions."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING

import polars as pl

from kpiaudit.tables.mapping import template_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.tables.mapping import Cell, Condition, When

_NOTHING = ("", "-", "--", "na", "n/a", "#n/a", "null", "none", "nan", "nil", "\\n")
NOT_AVAILABLE = frozenset(("#N/A", "#NV"))
"""What a spreadsheet writes where a lookup found nothing: no error of the data."""
SHEET_ERRORS = NOT_AVAILABLE | {
    *("#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"),
    *("#BEZUG!", "#WERT!", "#ZAHL!", "#VALEUR!", "#NOM?", "#NOMBRE!"),
}
"""What spreadsheets, in English, German and French, write in the place of a value."""
NULLS = frozenset(
    text
    for token in _NOTHING
    for text in (token, token.upper(), token.capitalize(), token.title())
) | {"NaN", "(null)", "<null>", *SHEET_ERRORS, *map(str.lower, SHEET_ERRORS)}
"""Texts that stand for an empty cell."""

_YEARS_MS = (-62_135_596_800_000, 253_402_300_799_999)
_DAY_MS = 86_400_000


def as_text(  # noqa: PLR0911  # one return a type
    column: pl.Expr, dtype: pl.DataType
) -> pl.Expr:
    """Return a column as the text that a CSV export of it would hold.

    Args:
        column: The column.
        dtype: Its type; whole floats (ids that met a null) lose their `.0`.
    """
    if dtype == pl.String:
        return column
    column = within_years(column, dtype)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.3f")
        utc = column.dt.convert_time_zone("UTC")
        return utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    if dtype.is_float():
        whole = column.is_finite() & (column == column.floor()) & (column.abs() < 1e15)
        return (
            pl.when(whole)
            .then(column.cast(pl.Int64, strict=False).cast(pl.String))
            .when(column.is_finite())
            .then(column.cast(pl.String))
        )
    if isinstance(dtype, pl.Duration):
        return (column.dt.total_milliseconds() / 1000).cast(pl.String)
    if isinstance(dtype, (pl.List, pl.Struct, pl.Array, pl.Object)):
        return pl.lit(None, dtype=pl.String)
    if dtype == pl.Binary:
        return column.cast(pl.String, strict=False)
    return column.cast(pl.String)


def within_years(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Empty what is no date or time of the years 1 to 9999: polars panics on it."""
    if isinstance(dtype, pl.Datetime):
        return pl.when(column.dt.epoch("ms").is_between(*_YEARS_MS)).then(column)
    if dtype == pl.Date:
        days = column.cast(pl.Int32).cast(pl.Int64)
        return pl.when((days * _DAY_MS).is_between(*_YEARS_MS)).then(column)
    return column


def text_cell(
    cell: Cell, schema: Mapping[str, pl.DataType], nulls: tuple[str, ...] = ()
) -> pl.Expr:
    """Build the text of a mapped cell.

    Args:
        cell: How it comes about.
        schema: Source columns at hand; others count as empty.
        nulls: Further texts that stand for an empty cell.

    Returns:
        An expression of type String; null where there is nothing.
    """

    def text(name: str) -> pl.Expr:
        if name not in schema:
            return pl.lit(None, dtype=pl.String)
        raw = as_text(pl.col(name), schema[name])
        return _without(raw, nulls) if nulls else raw

    found = _base(cell, text)
    if cell.extract:
        found = found.str.extract(_grouped(cell.extract), 1)
    if cell.null:
        found = _without(found, cell.null)
    if cell.values or cell.has_default:
        found = _recode(found, cell)
    if cell.when:
        found = pl.when(holds(cell.when, schema)).then(found)
    return found


def _base(cell: Cell, text: _Text) -> pl.Expr:
    if cell.constant is not None:
        return pl.lit(cell.constant, dtype=pl.String)
    if cell.template is not None:
        return pl.coalesce(_filled_in(t, text) for t in (cell.template, *cell.instead))
    if cell.date is not None:
        return _instant_text(cell, text)
    if cell.cases:
        return _cases(cell, text)
    if len(cell.columns) == 1:
        return text(cell.columns[0])
    return pl.coalesce([_filled(text(name)) for name in cell.columns])


def _filled_in(template: str, text: _Text) -> pl.Expr:
    pieces: list[pl.Expr] = []
    for literal, name in template_parts(template):
        pieces += [pl.lit(literal)] if literal else []
        pieces += [_filled(text(name)).str.strip_chars()] if name else []
    return pl.concat_str(pieces)


def _instant_text(cell: Cell, text: _Text) -> pl.Expr:
    date = _filled(text(cell.date or "")).str.strip_chars()
    if cell.time is None:
        return date
    time = _filled(text(cell.time)).str.strip_chars()
    if cell.absent_time:
        time = _without(time, cell.absent_time)
    return pl.concat_str([date, time], separator=" ")


def _cases(cell: Cell, text: _Text) -> pl.Expr:
    # Written from the last case to the first, so that the first that holds counts.
    found: pl.Expr = pl.lit(None, dtype=pl.String)
    for case in reversed(cell.cases):
        value = (
            text(case.column)
            if case.column is not None
            else pl.lit(case.value, dtype=pl.String)
        )
        test = reduce(and_, (_test(c, text) for c in case.when), pl.lit(value=True))
        found = pl.when(test).then(value).otherwise(found)
    return found


def _recode(found: pl.Expr, cell: Cell) -> pl.Expr:
    folded = found.str.strip_chars().str.to_lowercase()
    old = list(cell.values)
    new = pl.Series(list(cell.values.values()), dtype=pl.String)
    if cell.has_default:
        default = pl.lit(cell.default, dtype=pl.String)
        rest: pl.Expr = pl.when(found.is_not_null()).then(default)
    else:
        rest = found
    if not old:
        return rest
    return folded.replace_strict(old, new, default=rest, return_dtype=pl.String)


def holds(when: When, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Return whether all conditions hold; never null."""

    def text(name: str) -> pl.Expr:
        if name not in schema:
            return pl.lit(None, dtype=pl.String)
        return as_text(pl.col(name), schema[name])

    return reduce(and_, (_test(c, text) for c in when), pl.lit(value=True))


def any_holds(groups: tuple[When, ...], schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """Return whether one of several groups of conditions holds; never null."""
    return reduce(or_, (holds(g, schema) for g in groups), pl.lit(value=False))


def _test(condition: Condition, text: _Text) -> pl.Expr:
    cell = text(condition.column).str.strip_chars().fill_null("")
    tests: list[pl.Expr] = []
    if condition.any_of is not None:
        tests.append(cell.str.to_lowercase().is_in(list(condition.any_of)))
    if condition.none_of is not None:
        tests.append(~cell.str.to_lowercase().is_in(list(condition.none_of)))
    number = cell.cast(pl.Float64, strict=False)
    if condition.above is not None:
        tests.append((number > condition.above).fill_null(value=False))
    if condition.below is not None:
        tests.append((number < condition.below).fill_null(value=False))
    if condition.present is not None:
        filled = ~cell.is_in(list(NULLS))
        tests.append(filled if condition.present else ~filled)
    return reduce(and_, tests, pl.lit(value=True))


def _filled(text: pl.Expr) -> pl.Expr:
    return pl.when(~text.str.strip_chars().is_in(list(NULLS))).then(text)


def _without(text: pl.Expr, tokens: tuple[str, ...]) -> pl.Expr:
    folded = [t.strip().lower() for t in tokens]
    same = text.str.strip_chars().str.to_lowercase().is_in(folded)
    return pl.when(~same).then(text)


def _grouped(pattern: str) -> str:
    import re  # noqa: PLC0415  # only mappings with 'extract' need it

    return pattern if re.compile(pattern).groups else f"({pattern})"


if TYPE_CHECKING:
    from collections.abc import Callable

    _Text = Callable[[str], pl.Expr]
