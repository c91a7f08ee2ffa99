"""Cells of one column, from text to their type, counting what could not be read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from kpiaudit.frozen import frozen
from kpiaudit.tables import columns as cols
from kpiaudit.tables import dates, parse
from kpiaudit.tables.columns import Column
from kpiaudit.tables.mapping import Cell
from kpiaudit.tables.sentence import SHOWN

if TYPE_CHECKING:
    from kpiaudit.tables.dates import InstantPlan


_LONGEST_NOTHING = max(map(len, parse.nothing()))


@frozen
class Seen:
    """Which characters a part of a file holds anywhere: what need not be looked for.

    Args:
        spaces: White space of any kind, or anything but ASCII.
        plus: A plus sign.
        hash: A number sign.
    """

    spaces: bool
    plus: bool
    hash: bool


ANYTHING = Seen(spaces=True, plus=True, hash=True)


def read_column(
    cells: pl.Series, rows: pl.Series, column: Column, seen: Seen = ANYTHING
) -> pl.Series:
    """Read a column of one part of a file.

    Args:
        cells: Its texts.
        rows: Numbers of their data rows.
        column: How they are read; what is met is counted there.
        seen: What may stand in the part.
    """
    if not column.cell.plain:
        seen = ANYTHING  # a mapping's own texts may hold what the file does not
    if seen.hash:
        _find_sheet_errors(cells, rows, column)
    if column.kind in {"id", "text", "code"}:
        column.filled += len(cells) - cells.null_count()
    if column.kind == "id":
        return _ids(cells, column, seen)
    if column.kind == "text":
        return _bare(cells, seen)
    if column.kind == "code":
        return _codes(cells, column)
    if column.kind == "stamp":
        return _stamps(cells, column)
    out = (
        _instants(cells, column)
        if column.kind == "instant"
        else _figures(cells, column)
    )
    _count(cells, rows, out, column)
    return out


def _find_sheet_errors(cells: pl.Series, rows: pl.Series, column: Column) -> None:
    """Count the cells that a spreadsheet could not work out."""
    maybe = cells.str.contains("#", literal=True).fill_null(value=False)
    if not maybe.any():
        return
    cells, rows = cells.filter(maybe), rows.filter(maybe)
    errors = _apply(cells, parse.sheet_error)
    count = int(errors.sum())
    if not count:
        return
    if column.kind in {"id", "text", "code"}:
        column.filled -= count
    column.sheet_errors += count
    column.lost += int(_apply(cells, partial(parse.sheet_error, lost=True)).sum())
    column.sheet_error = column.sheet_error or cells.filter(errors)[0].strip()
    room = 5 - len(column.sheet_rows)
    column.sheet_rows += rows.filter(errors).head(max(room, 0)).to_list()


def _count(cells: pl.Series, rows: pl.Series, out: pl.Series, column: Column) -> None:
    """Count the cells that are filled, and those of them that were not read."""
    column.filled += len(cells) - cells.null_count()
    if out.null_count() == cells.null_count():
        return
    bad = out.is_null() & cells.is_not_null()
    nothing = cells.str.strip_chars().is_in(list(parse.nothing()))
    if column.kind == "instant":
        never = _apply(cells, dates.placeholder) & bad & ~nothing
        column.placeholders += int(never.sum())
        nothing = nothing | never
    nothing = nothing & bad
    column.filled -= int(nothing.sum())
    bad = bad & ~nothing
    count = int(bad.sum())
    if count:
        column.unreadable += count
        column.example = column.example or str(cells.filter(bad)[0])[:40]
        room = 5 - len(column.first_bad)
        column.first_bad += rows.filter(bad).head(max(room, 0)).to_list()


def _apply(cells: pl.Series, reading: Any, *args: Any) -> pl.Series:
    frame = pl.DataFrame({"x": cells})
    return frame.select(reading(pl.col("x"), *args).alias("x")).to_series()


def _patched(cells: pl.Series, out: pl.Series, reading: Any, *args: Any) -> pl.Series:
    """Read again, by the slow way, the cells that the fast way could not read."""
    if out.null_count() == cells.null_count():
        return out
    bad = out.is_null() & cells.is_not_null()
    return out.scatter(bad.arg_true(), _apply(cells.filter(bad), reading, *args))


def _figures(cells: pl.Series, column: Column) -> pl.Series:
    if column.kind == "flag":
        return _apply(cells, parse.flags)
    if column.kind == "count":
        return _patched(cells, _apply(_plain(cells, None), parse.counts), parse.whole)
    unit = column.cell.unit
    if column.kind == "duration":
        if column.marks == "comma" or ":" in (unit or ""):
            return _apply(cells, parse.durations, column.marks, unit)
        out = _plain(cells, unit)
        return _patched(cells, out, parse.durations, column.marks, unit)
    if column.marks == "comma":
        out = _apply(cells, parse.numbers, column.marks)
    else:
        out = _plain(cells, None)
        out = _patched(cells, out, parse.numbers, column.marks)
    return out


def _instants(cells: pl.Series, column: Column) -> pl.Series:
    """Read with the shapes met up to now; look at what is left for new shapes."""
    plan = column.plan
    if plan.formats or plan.unit:
        return _apply(cells.str.strip_chars(), dates.instants, plan)
    out = pl.repeat(None, len(cells), dtype=pl.Int64, eager=True)
    for attempt in range(8):
        bad = out.is_null() & cells.is_not_null()
        # Outer spaces are rare: they are taken off what could not be read with them.
        left = cells.filter(bad).str.strip_chars() if attempt else cells.drop_nulls()
        if left.is_empty():
            break
        met = (
            dates.sampled(left.unique(maintain_order=True).head(2000), step=2000)
            if attempt
            else dates.sampled(left)
        )
        new = [shape for shape in met if shape not in plan.shapes]
        if attempt > 1 and not new:
            break
        plan.shapes += new
        found = _sane(left, plan)
        whole = len(left) == len(out)
        out = found if whole else out.scatter(bad.arg_true(), found)
    return out


def instants_of(cells: pl.Series, zone: str) -> pl.Series:
    """Read instants in any of the usual shapes, as ms in UTC; null where none is.

    Args:
        cells: Text.
        zone: Zone of those without an offset.
    """
    plan = dates.InstantPlan(timezone=zone)
    return _instants(cells, Column(name="at", kind="instant", cell=Cell(), plan=plan))


def _sane(cells: pl.Series, plan: InstantPlan) -> pl.Series:
    """Read with the plan's shapes; bounds cost time and are needed only if passed."""
    if len(plan.shapes) == 1:
        shape = plan.shapes[0]
        if dates.may_be_utc(shape) and dates.ends_in_z(cells):
            # Most offsets are a plain Z: no pattern has to be looked for in the cell.
            found = _apply(cells, dates.in_utc, shape)
            found = _patched(cells, found, dates.by_shape, shape, plan)
        else:
            found = _apply(cells, dates.by_shape, shape, plan)
        if found.is_between(dates.FIRST_MS + 1, dates.LAST_MS - 1).all():
            return found
    return _apply(cells, dates.instants, plan)


def _plain(cells: pl.Series, unit: str | None) -> pl.Series:
    """Read plain finite numbers, scaled to seconds if they have a unit."""
    size = parse.scale(unit)
    found = cells.cast(pl.Float64, strict=False)
    if found.null_count() < len(found) and not found.is_finite().all():
        found = _apply(cells, parse.plain_numbers)
    return found if size == 1 else found * size


def _stamps(cells: pl.Series, column: Column) -> pl.Series:
    numbers = _plain(cells, None)
    if numbers.null_count() == cells.null_count():
        return numbers
    return _instants(cells, column).cast(pl.Float64)


def _ids(cells: pl.Series, column: Column, seen: Seen) -> pl.Series:
    if column.name == "agent_id":
        few = cells.drop_nulls().unique().to_list()
        fresh = pl.Series([a for a in few if a not in column.settled], dtype=pl.String)
        inside = _apply(fresh, cols.in_bucket) if len(fresh) else fresh.is_null()
        column.settled.update(fresh.filter(~inside).to_list())
        buckets = fresh.filter(inside)
        if len(buckets):
            inside = cells.is_in(buckets.implode())
            column.buckets += int(inside.sum())
            names = {*column.bucket_names, *buckets.str.strip_chars()}
            column.bucket_names = sorted(names)[:SHOWN]
            cells = _apply(cells, cols.without_buckets)
    if seen.plus and cells.str.contains("E+", literal=True).any():
        wrong = int(cells.str.contains(cols.ROUNDED).sum())
        column.e_notation += wrong
        cells = _apply(cells, cols.without_rounded) if wrong else cells
    return _bare(cells, seen)


def _bare(cells: pl.Series, seen: Seen) -> pl.Series:
    bare = cells.str.strip_chars() if seen.spaces else cells
    if not (bare.str.len_bytes() <= _LONGEST_NOTHING).any():
        return bare
    nothing = bare.is_in(list(parse.nothing()))
    return _apply(bare, parse.texts) if nothing.any() else bare


def _codes(cells: pl.Series, column: Column) -> pl.Series:
    # Few different codes: they are read once each and then looked up.
    old = cells.drop_nulls().unique()
    if column.settled.issuperset(old.to_list()):
        return cells
    new = _apply(old, parse.codes, column.codes)
    unknown: list[str] = []
    if column.codes:
        known = new.is_in(list(column.codes)) | new.is_null()
        unknown = new.filter(~known).unique().to_list()
        for code in unknown:
            same = cells.is_in(old.filter(new == code).implode())
            count = column.unknown_codes.get(code, 0) + int(same.sum())
            column.unknown_codes[code] = count
        if column.name == "ended_by":
            new = new.zip_with(
                known, pl.repeat("unknown", len(new), dtype=pl.String, eager=True)
            )
    if old.equals(new):
        column.settled.update(() if unknown else old.to_list())
        return cells
    return cells.replace_strict(old, new, default=None, return_dtype=pl.String)
