"""Values that stand for nothing, found in one pass and emptied where there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from kpiaudit.tables import columns as cols
from kpiaudit.tables import dates
from kpiaudit.tables.cells import NOT_AVAILABLE, SHEET_ERRORS
from kpiaudit.tables.engine import collect, counted, flag
from kpiaudit.tables.engines.backend import NotCanonicalError
from kpiaudit.tables.parse import nothing

if TYPE_CHECKING:
    from kpiaudit.tables.columns import Column
    from kpiaudit.tables.dataset import Frame

_WORDS = ("id", "text", "code")
_SPACES = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_CHANGING = ("untidy", "bucket", "rounded", "outside", "odd")
_MILLIS = 500_000_000_000  # 1985: smaller numbers are seconds, or days
_DAY_MS = 86_400_000
_NEVER = (
    (0, 999),  # 1970-01-01T00:00:00
    (-2_208_988_800_000, -2_208_988_800_000 + _DAY_MS - 1),  # 1900-01-01
    (253_402_214_400_000, 253_402_214_400_000 + _DAY_MS - 1),  # 9999-12-31
    (-62_135_596_800_000, -62_135_596_800_000 + _DAY_MS - 1),  # 0001-01-01
)


def tidied(
    frame: Frame,
    columns: list[Column],
    context: cols.Context,
    *,
    numbered: frozenset[str],
    engine: str,
) -> tuple[Frame, int]:
    """Empty what stands for nothing, and count it in the columns.

    Texts are changed only where a first pass meets one that has to be: on tables that
    `convert` wrote there is none, and every later pass is spared the work.

    Args:
        frame: Canonical names and types.
        columns: Those that are used; what is met is counted in them.
        context: How messages name the table, and how much may be unreadable.
        numbered: Instants that were whole numbers.
        engine: For messages.

    Returns:
        The frame, and its rows.

    Raises:
        TableError: More cells than tolerated are unreadable.
        NotCanonicalError: Whole numbers are no milliseconds.
    """
    wanted = {"rows": nw.len()}
    for column in columns:
        for name, one in _facts(column).items():
            wanted[f"{name}\t{column.name}"] = one
    got = counted(frame, wanted)
    rows = got["rows"]
    changes = []
    for column in columns:
        end = f"\t{column.name}"
        fact = {k.split("\t")[0]: v for k, v in got.items() if k.endswith(end)}
        if column.name in numbered and fact["small"]:
            why = f"'{column.name}' holds whole numbers that are no milliseconds"
            raise NotCanonicalError(context.display, why, engine)
        changed = _learn(column, fact)
        if fact.get("untidy"):
            _sheet_errors(frame, column)
        if fact.get("unknown"):
            _unknown(frame, column)
        if changed:
            changes.append(_read(column).alias(column.name))
    cols.check_readable(columns, rows, context)
    return frame.with_columns(*changes) if changes else frame, rows


def _facts(column: Column) -> dict[str, nw.Expr]:
    value = nw.col(column.name)
    filled = value.count()
    if column.kind in _WORDS:
        found = {"untidy": flag(_untidy(column)).sum()}
        if column.name == "agent_id":
            found["bucket"] = flag(_in_bucket(value)).sum()
        if column.kind == "id":
            found["rounded"] = flag(value.str.contains(cols.ROUNDED)).sum()
        if column.codes:
            read = _read(column, raw=True)
            found["unknown"] = flag(~read.is_in(list(column.codes))).sum()
        return found
    if column.kind == "instant":
        outside = ~value.is_between(dates.FIRST_MS + 1, dates.LAST_MS - 1)
        return {
            "filled": filled,
            "outside": flag(outside).sum(),
            "never": flag(_never(value)).sum(),
            "small": flag((value > 0) & (value < _MILLIS)).sum(),
        }
    if column.kind in {"duration", "number"}:
        return {"filled": filled, "odd": flag(~value.is_finite()).sum()}
    return {}


def _learn(column: Column, fact: dict[str, int]) -> bool:
    """Take in a column's counts; say whether it has to be changed."""
    column.buckets = fact.get("bucket", 0)
    column.e_notation = fact.get("rounded", 0)
    column.placeholders = fact.get("never", 0)
    outside = fact.get("outside", 0)
    column.unreadable = outside - column.placeholders + fact.get("odd", 0)
    column.filled = fact.get("filled", 0) - column.placeholders
    made = column.name == "ended_by" and fact.get("unknown", 0) > 0
    return made or any(fact.get(k) for k in _CHANGING)


def _sheet_errors(frame: Frame, column: Column) -> None:
    """Count the texts that a spreadsheet wrote in the place of a value."""
    bare = nw.col(column.name).str.strip_chars(_SPACES).str.to_uppercase()
    errors = bare.is_in(sorted(SHEET_ERRORS))
    wanted = {
        "errors": flag(errors).sum(),
        "lost": flag(bare.is_in(sorted(SHEET_ERRORS - NOT_AVAILABLE))).sum(),
        "filled": nw.col(column.name).count(),
        "first": nw.when(errors).then(bare).min(),
    }
    got = counted(frame, wanted)
    column.sheet_errors, column.lost = got["errors"], got["lost"]
    column.sheet_error = got["first"] or ""
    column.filled = got["filled"] - got["errors"]


def _unknown(frame: Frame, column: Column) -> None:
    read = frame.select(x=_read(column, raw=True))
    groups = (
        read.filter(~nw.col("x").is_null() & ~nw.col("x").is_in(list(column.codes)))
        .group_by("x")
        .agg(n=nw.len())
        .sort("x")
    )
    for code, n in collect({"": groups})[""].iter_rows():
        column.unknown_codes[str(code)] = int(n)


def _untidy(column: Column) -> nw.Expr:
    value = nw.col(column.name)
    bare = _bare(column)
    keep = column.codes if column.kind == "code" else ()
    return (bare != value) | bare.is_in(sorted(nothing(keep)))


def _bare(column: Column) -> nw.Expr:
    value = nw.col(column.name).str.strip_chars(_SPACES)
    return value.str.to_lowercase() if column.kind == "code" else value


def _in_bucket(text: nw.Expr) -> nw.Expr:
    folded = text.str.to_lowercase().str.replace_all(r"[\s_\-.]+", "")
    return folded.is_in(sorted(cols.BUCKETS))


def _never(value: nw.Expr) -> nw.Expr:
    low, high = _NEVER[0]
    found = value.is_between(low, high)
    for low, high in _NEVER[1:]:
        found = found | value.is_between(low, high)
    return found


def _read(column: Column, *, raw: bool = False) -> nw.Expr:
    """Return the column without what stands for nothing."""
    value = nw.col(column.name)
    if column.kind in {"duration", "number"}:
        return nw.when(value.is_finite()).then(value)
    if column.kind == "instant":
        inside = value.is_between(dates.FIRST_MS + 1, dates.LAST_MS - 1)
        return nw.when(inside).then(value)
    bare = _bare(column)
    keep = column.codes if column.kind == "code" else ()
    some = ~bare.is_in(sorted(nothing(keep)))
    if column.name == "agent_id":
        some = some & ~_in_bucket(value)
    if column.kind == "id":
        some = some & ~value.str.contains(cols.ROUNDED)
    if column.name == "ended_by" and not raw:
        known = bare.is_in(list(column.codes))
        return (
            nw.when(some & known)
            .then(bare)
            .otherwise(nw.when(some).then(nw.lit("unknown")))
        )
    return nw.when(some).then(bare)
