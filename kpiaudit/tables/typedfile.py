"""Parquet, Arrow and data frames to canonical tables: lazily, types cast by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from kpiaudit.errors import TableError
from kpiaudit.tables import columns as cols
from kpiaudit.tables import dates, parse
from kpiaudit.tables.cells import any_holds
from kpiaudit.tables.columns import ROW, Context, Converted
from kpiaudit.tables.parts import Tally, added, parts, roots
from kpiaudit.tables.typedcell import WORDS, TypedCell

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpiaudit.tables.mapping import SourceMapping, Target

_ROUNDS = 5
_SAMPLE = 50_000
_FEW_WORDS = 5_000  # different ones in the sample, above which a column has many


def convert_frame(
    frame: pl.LazyFrame, target: Target, mapping: SourceMapping, context: Context
) -> Converted:
    """Turn a typed frame into a canonical table, without holding it in memory.

    One pass looks at columns of few different words by these words, and at all others.
    A second one counts what can't be read, where that may happen at all.

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
    cells = [TypedCell(c, there, mapping.null) for c in columns]
    rows = _look(frame, cells, context)
    gone = 0
    if target.only or target.drop:
        gone = int(whole.select(pl.len()).collect(engine="streaming").item()) - rows
    if not rows + gone:
        raise TableError(f"{context.display}: there are no rows. Export it again.")
    read = (cell.read().alias(cell.column.name) for cell in cells)
    typed = frame.select(pl.col(ROW), *read)
    typed = cols.finished(typed, columns)
    _count_unreadable(frame, cells)
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
        notes=[*cols.notes_of(columns), *cols.left_out(gone, target)],
        lazy=True,
        filled=frozenset(c.column.name for c in cells if c.sure and c.column.filled),
    )


def _look(frame: pl.LazyFrame, cells: list[TypedCell], context: Context) -> int:
    """Find out what decides how the columns are read; return the rows."""
    few, many = _words(frame, cells)
    asking = [c for c in cells if c.column.kind not in WORDS or c in many]
    wanted = _named(asking, TypedCell.facts) | {"rows": pl.len()}
    # Every column is read once, or damage in it would show in some rules only.
    asked = {name.split("\t")[-1] for name in wanted} | {c.column.name for c in few}
    for cell in cells:
        if cell.column.name not in asked:
            wanted[f"empty\t{cell.column.name}"] = cell.value.null_count()
    got = _read_once(frame, few, wanted)
    unlike = [c for c in cells if got.get(f"unlike\t{c.column.name}")]
    got |= _row(frame, _named(unlike, TypedCell.all_word_facts))
    orders: dict[str, list[dict[str, int]]] = {}
    marks: dict[str, list[dict[str, int]]] = {}
    for cell in cells:
        end = f"\t{cell.column.name}"
        fact = {k.split("\t")[0]: v or 0 for k, v in got.items() if k.endswith(end)}
        if fact.get("ordered") and not cell.column.cell.format:
            orders[cell.column.name] = [fact]
        elif fact.get("comma"):
            marks[cell.column.name] = [fact]
        else:
            cell.learn(fact)
    columns = [cell.column for cell in cells]
    cols.decide_orders(columns, orders, context)
    cols.decide_marks(columns, marks, context)
    for cell in cells:
        if cell.column.kind in {"instant", "stamp"} and cell.dtype == pl.String:
            _shapes(frame, cell)
    return int(got["rows"])


def _named(
    cells: list[TypedCell], facts: Callable[[TypedCell], dict[str, pl.Expr]]
) -> dict[str, pl.Expr]:
    """Return counts over some columns, each named by what it counts and where."""
    return {
        f"{name}\t{cell.column.name}": counted
        for cell in cells
        for name, counted in facts(cell).items()
    }


def _row(frame: pl.LazyFrame, wanted: dict[str, pl.Expr]) -> dict[str, Any]:
    """Read a frame once for some aggregates of it; not at all for none."""
    if not wanted:
        return {}
    return frame.select(**wanted).collect(engine="streaming").row(0, named=True)


def _words(
    frame: pl.LazyFrame, cells: list[TypedCell]
) -> tuple[list[TypedCell], list[TypedCell]]:
    """Return the columns of texts that have few different words, and those of many."""
    words = [c for c in cells if c.column.kind in WORDS and not c.sure]
    if not words:
        return [], []
    head = frame.head(_SAMPLE).select(
        cell.text.n_unique().alias(cell.column.name) for cell in words
    )
    count = head.collect(engine="streaming").row(0, named=True)
    many = [
        c
        for c in words
        if count[c.column.name] > _FEW_WORDS
        and not c.column.codes
        and c.column.name != "agent_id"
    ]
    return [c for c in words if c not in many], many


def _read_once(
    frame: pl.LazyFrame, few: list[TypedCell], wanted: dict[str, pl.Expr]
) -> dict[str, Any]:
    """Read a frame once: for its words, of which the cells learn, and for counts."""
    tallies = [Tally(per=("x",)) for _ in few]
    # In one query with the counts: polars counts the words of several columns at once.
    words = [c.text.alias("x").value_counts(name="len").implode() for c in few]
    names = [f"words\t{place}" for place in range(len(few))]
    rows = []
    read = roots((*(c.text for c in few), *wanted.values()))
    for part in parts(frame, read or {ROW}):
        told = part.select(**dict(zip(names, words, strict=True)), **wanted)
        for name, tally in zip(names, tallies, strict=True):
            tally.add(told[name][0].struct.unnest())
        rows.append(told.drop(names).row(0, named=True))
    for cell, tally in zip(few, tallies, strict=True):
        cell.learn_words(tally.total())
    return added(rows)


def _shapes(frame: pl.LazyFrame, cell: TypedCell) -> None:
    """Find out how a column's instants are written, from what is still unread."""
    plan = cell.column.plan
    if plan.formats or plan.unit:
        return
    for _ in range(_ROUNDS):
        left = frame.select(text=cell.text.str.strip_chars())
        left = left.filter(pl.col("text").is_not_null())
        if plan.shapes:
            left = left.filter(dates.instants(pl.col("text"), plan).is_null())
        some = left.head(2000).collect(engine="streaming").to_series().to_list()
        met = dict.fromkeys(filter(None, map(dates.shape_of, some)))
        new = [shape for shape in met if shape not in plan.shapes]
        if not new:
            return
        plan.shapes += new


def _count_unreadable(frame: pl.LazyFrame, cells: list[TypedCell]) -> None:
    wanted: dict[str, pl.Expr] = {}
    unsure = [c for c in cells if not c.sure and c.column.kind not in (*WORDS, "stamp")]
    for cell in unsure:
        name = cell.column.name
        filled = cell.value.is_not_null()
        if cell.dtype == pl.String:
            filled = filled & ~parse.is_nothing(cell.value)
            wanted[f"errors\t{name}"] = parse.sheet_error(cell.value).sum()
            wanted[f"lost\t{name}"] = parse.sheet_error(cell.value, lost=True).sum()
        if cell.column.kind == "instant":
            never = filled & _never(cell)
            wanted[f"never\t{name}"] = never.sum()
            filled = filled & ~never
        bad = filled & cell.read().is_null()
        wanted[f"filled\t{name}"] = filled.sum()
        wanted[f"bad\t{name}"] = bad.sum()
        wanted[f"first\t{name}"] = pl.col(ROW).filter(bad).min()
        wanted[f"example\t{name}"] = cell.text.filter(bad).min()
    if not wanted:
        return
    got = _row(frame, wanted)
    for column in (cell.column for cell in unsure):
        column.filled = int(got[f"filled\t{column.name}"] or 0)
        column.unreadable = int(got[f"bad\t{column.name}"] or 0)
        column.sheet_errors = int(got.get(f"errors\t{column.name}") or 0)
        column.lost = int(got.get(f"lost\t{column.name}") or 0)
        column.placeholders = int(got.get(f"never\t{column.name}") or 0)
        first = got[f"first\t{column.name}"]
        column.first_bad = [] if first is None else [int(first)]
        column.example = str(got[f"example\t{column.name}"] or "")[:40]


def _never(cell: TypedCell) -> pl.Expr:
    """Return whether a date stands for none, such as 1900-01-01."""
    if cell.dtype == pl.String or isinstance(cell.dtype, (pl.Datetime, pl.Date)):
        return dates.placeholder(cell.text).fill_null(value=False)
    return (cell.value == 0).fill_null(value=False)
