"""Texts to durations, numbers, counts, flags and codes; null where unreadable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import polars as pl

from kpiaudit.tables.cells import NOT_AVAILABLE, NULLS, SHEET_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable

Marks: TypeAlias = Literal["point", "comma"]
"""Whether a point or a comma stands before the fraction of a number."""

_SPACES = "[\\s\u00a0\u202f\u2009'\u2019_]"
_POINT = r"^[+-]?(?:\d+|\d{1,3}(?:[ ,]\d{3})+)?(?:\.\d*)?(?:[eE][+-]?\d{1,3})?$"
_COMMA = r"^[+-]?(?:\d+|\d{1,3}(?:[ .]\d{3})+)?(?:,\d*)?(?:[eE][+-]?\d{1,3})?$"
_DECIMAL = r"\d\.\d{3},\d|,\d{1,2}\s*$|,\d{4,}\s*$|^\s*[+-]?0,\d"
_WORDED = (
    r"^p?(?:(\d+)\s*d(?:[a-z]*)?)?[t,\s]*(?:(\d+)\s*h[a-z]*)?[,\s]*"
    r"(?:(\d+)\s*m(?:in[a-z]*)?)?[,\s]*(?:(\d+(?:[.,]\d+)?)\s*s[a-z]*)?$"
)
_CLOCK = (
    r"^(-)?(?:(\d+)(?:\s+days?,?\s+|\s+|\.))?"
    r"(\d+):([0-5]?\d)(?::([0-5]?\d(?:[.,]\d+)?))?$"
)
_SCALE = {"s": 1.0, "ms": 0.001, "min": 60.0, "h": 3600.0, "days": 86_400.0}
_TRUE = ("true", "t", "yes", "y", "1", "1.0")
_FALSE = ("false", "f", "no", "n", "0", "0.0")


def mark_facts(text: pl.Expr) -> dict[str, pl.Expr]:
    """Count what says whether a comma is a decimal or a thousands mark.

    Returns:
        Counts: cells with a `comma`; cells in which a comma can only be a `decimal`
        mark; in which it can only mean `thousands`; cells with a `point` and none.
    """
    comma = text.str.contains(",", literal=True)
    return {
        "comma": comma.sum(),
        "decimal": text.str.contains(_DECIMAL).sum(),
        "thousands": text.str.contains(r",\d{3}\.|,\d{3},\d{3}").sum(),
        "point": (~comma & text.str.contains(r"\d\.(\d{1,2}|\d{4,})\s*$")).sum(),
    }


def point_facts(text: pl.Expr) -> dict[str, pl.Expr]:
    """Count what says whether a point alone is a decimal or a thousands mark.

    Returns:
        Counts: cells such as `1.234`, which may be both; cells with a `point` that can
        only be decimal; whole numbers below and from 1,000 without any mark.
    """
    bare = text.str.strip_chars()
    both = bare.str.contains(r"^[1-9]\d{0,2}(\.\d{3})+$")
    return {
        "both": both.sum(),
        "point": (bare.str.contains(".", literal=True) & ~both).sum(),
        "small": bare.str.contains(r"^\d{1,3}$").sum(),
        "large": bare.str.contains(r"^\d{4,}$").sum(),
    }


def points_part_thousands(facts: Iterable[dict[str, int]]) -> bool:
    """Say whether points stand before thousands: whole numbers of 1,000 have them.

    A number with three decimals would not leave them out of every smaller number.
    """
    facts = list(facts)
    total = {k: sum(f[k] for f in facts) for k in ("both", "point", "small", "large")}
    return bool(
        total["both"] and total["small"] and not (total["point"] or total["large"])
    )


def decide_marks(facts: Iterable[dict[str, int]], *, separator: str | None) -> Marks:
    """Decide which mark a file's numbers have.

    Args:
        facts: Of the column, or of all the file's columns of numbers.
        separator: Of the file; a semicolon speaks for decimal commas.
    """
    facts = list(facts)
    total = {k: sum(f[k] for f in facts) for k in ("decimal", "thousands", "point")}
    if not any(f["comma"] for f in facts):
        return "point"
    if total["decimal"] != total["thousands"] + total["point"]:
        said = total["decimal"] > total["thousands"] + total["point"]
        return "comma" if said else "point"
    return "comma" if separator == ";" else "point"


def numbers(text: pl.Expr, marks: Marks) -> pl.Expr:
    """Read texts such as `12.5`, `1,419.25`, `1.419,25`, `1 419,25` or `85 %`."""
    bare = (
        text.str.strip_chars()
        .str.replace_all(_SPACES, " ")
        .str.replace(r"\s*%$", "")
        .str.replace("\u2212", "-", literal=True)
    )
    valid = bare.str.contains(_POINT if marks == "point" else _COMMA)
    if marks == "point":
        plain = bare.str.replace_all(r"[ ,]", "")
    else:
        plain = bare.str.replace_all(r"[ .]", "").str.replace(",", ".", literal=True)
    return pl.when(valid).then(plain.cast(pl.Float64, strict=False))


def plain_numbers(text: pl.Expr) -> pl.Expr:
    """Read what polars reads as a finite number; null for the rest. Fast."""
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def durations(text: pl.Expr, marks: Marks, unit: str | None = None) -> pl.Expr:
    """Read durations in seconds: numbers, `27:03:09`, `3m 9s`, `PT3M9S`, `1 day, 2:00`.

    Args:
        text: The cells.
        marks: Decimal mark of plain numbers.
        unit: Of plain numbers; `hh:mm` makes the last part of `a:b` minutes.
    """
    size = scale(unit)
    bare = text.str.strip_chars()
    plain = numbers(text, marks) * size
    return pl.coalesce(plain, _clock(bare, unit), _worded(bare))


def scale(unit: str | None) -> float:
    """Return the seconds in one of a unit; 1 for clock times."""
    return _SCALE.get(unit or "s", 1.0)


def plain_durations(text: pl.Expr, unit: str | None = None) -> pl.Expr:
    """Read plain numbers as seconds; null for the rest. Fast."""
    return plain_numbers(text) * scale(unit)


def _clock(text: pl.Expr, unit: str | None) -> pl.Expr:
    part = text.str.extract_groups(_CLOCK).struct

    def number(group: int) -> pl.Expr:
        cell = part.field(str(group)).str.replace(",", ".", literal=True)
        return cell.cast(pl.Float64, strict=False)

    first, second, third = number(3), number(4), number(5)
    two = first * 60 + second
    three = (first * 60 + second) * 60 + third
    size = (
        pl.when(third.is_not_null())
        .then(three)
        .otherwise(two * 60 if unit == "hh:mm" else two)
    )
    size = size + number(2).fill_null(0) * 86_400
    return pl.when(part.field("1").is_not_null()).then(-size).otherwise(size)


def _worded(text: pl.Expr) -> pl.Expr:
    low = text.str.to_lowercase()
    part = low.str.extract_groups(_WORDED).struct
    total = pl.lit(0.0)
    for group, size in ((1, 86_400), (2, 3600), (3, 60), (4, 1)):
        cell = part.field(str(group)).str.replace(",", ".", literal=True)
        total = total + cell.cast(pl.Float64, strict=False).fill_null(0) * size
    said = low.str.contains(_WORDED) & low.str.contains(r"\d")
    return pl.when(said).then(total)


def flags(text: pl.Expr) -> pl.Expr:
    """Read true/false, yes/no, y/n, t/f and 1/0 in any case."""
    low = text.str.strip_chars().str.to_lowercase()
    return (
        pl.when(low.is_in(list(_TRUE)))
        .then(statement=True)
        .when(low.is_in(list(_FALSE)))
        .then(statement=False)
    )


def counts(number: pl.Expr) -> pl.Expr:
    """Read whole numbers from Float64; null for fractions."""
    whole = number.cast(pl.Int64, strict=False)
    return pl.when(number == number.floor()).then(whole)


def whole(text: pl.Expr) -> pl.Expr:
    """Read whole numbers, in which a point or a comma can only mean thousands."""
    return pl.coalesce(counts(numbers(text, "point")), counts(numbers(text, "comma")))


def texts(text: pl.Expr, keep: tuple[str, ...] = ()) -> pl.Expr:
    """Strip texts and empty those that stand for nothing.

    Args:
        text: The cells.
        keep: Texts that are codes of this column although they look like nothing.
    """
    bare = text.str.strip_chars()
    return pl.when(~bare.is_in(list(nothing(keep)))).then(bare)


def codes(text: pl.Expr, keep: tuple[str, ...] = ()) -> pl.Expr:
    """Strip and lower texts, and empty those that stand for nothing."""
    return texts(text.str.to_lowercase(), keep)


def nothing(keep: tuple[str, ...] = ()) -> frozenset[str]:
    """Return the texts that stand for an empty cell, in a column with such codes."""
    return frozenset(t for t in NULLS if t.lower() not in keep)


def sheet_error(text: pl.Expr, *, lost: bool = False) -> pl.Expr:
    """Return whether a cell holds a spreadsheet's error, such as `#REF!`.

    Args:
        text: The cells.
        lost: Leave out `#N/A`: a lookup that found nothing has lost nothing.
    """
    wanted = SHEET_ERRORS - NOT_AVAILABLE if lost else SHEET_ERRORS
    bare = text.str.strip_chars().str.to_uppercase()
    return bare.is_in(sorted(wanted)).fill_null(value=False)


def is_nothing(text: pl.Expr) -> pl.Expr:
    """Return whether a cell holds a text that stands for nothing."""
    return text.str.strip_chars().is_in(list(NULLS))
