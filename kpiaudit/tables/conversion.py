"""Parts of text to one typed canonical table, as they come.

Most columns are read at first try: they hold one kind of stamp, or plain numbers. Only
where that fails are the texts kept, since the order of day and month and the decimal
mark are decided over a whole column.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from kpiaudit.tables import columns as cols
from kpiaudit.tables import dates, firsttry, parse
from kpiaudit.tables.cells import any_holds, text_cell
from kpiaudit.tables.columns import ROW, Column, Context, Converted
from kpiaudit.tables.spill import Pile
from kpiaudit.tables.textcells import ANYTHING, Seen, read_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kpiaudit.tables.mapping import SourceMapping, Target


class TextsNeededError(Exception):
    """What was read at first try has to be read again: commas are decimal marks."""


@dataclass(kw_only=True)
class Conversion:
    """A canonical table while the parts of its file come.

    Args:
        target: How the canonical columns come about.
        mapping: Its null texts and time zone.
        context: The file.
        patient: Whether all texts are kept until the last part is there.
        columns: Those to be read.
        waiting: Names of the columns of which texts are kept.
        tried: Names of those of which a part was read at first try.
        held: The parts; waiting columns as text.
        given: Rows that came, those that the mapping leaves out included.
    """

    target: Target
    mapping: SourceMapping
    context: Context
    patient: bool = False
    columns: list[Column] = field(init=False)
    waiting: set[str] = field(init=False)
    tried: set[str] = field(default_factory=set)
    held: Pile = field(default_factory=Pile)
    given: int = 0

    def __post_init__(self) -> None:
        """Set out the columns."""
        zone = self.mapping.timezone or self.context.timezone
        self.columns = cols.columns_of(self.target, zone)
        semicolons = self.context.separator == ";"
        self.waiting = {
            c.name
            for c in self.columns
            if firsttry.waits(c) and (self.patient or firsttry.unclear(c, semicolons))
        }

    def take(self, part: pl.DataFrame, seen: Seen = ANYTHING) -> None:
        """Take the next part, with the mapping's source names and `ROW`."""
        self.given += part.height
        texts = self._texts(part)
        done = self._at_first_try(texts)
        for column in self.columns:
            cells = texts[column.name]
            if not firsttry.waits(column):
                done[column.name] = read_column(cells, texts[ROW], column, seen)
        found = {c.name: done.get(c.name, texts[c.name]) for c in self.columns}
        self.held.add(pl.DataFrame({ROW: texts[ROW], **found}))

    def finish(self) -> Converted:
        """Decide what had to wait, and read the rest.

        Raises:
            TextsNeededError: Texts that were let go are needed: begin anew, patiently.
            TableError: More cells than tolerated are unreadable, or the order of day
                and month can't be told.
        """
        if self.waiting:
            _decide(self.held, self._waiting(), self.context)
            commas = {c.name for c in self.columns if c.marks == "comma"}
            if commas & self.tried:
                raise TextsNeededError
        typed = self._typed()
        rows = typed.height
        cols.check_readable(self.columns, rows, self.context)
        orders = (c.plan.order for c in self.columns if c.plan.order)
        left_out = cols.left_out(self.given - rows, self.target)
        return Converted(
            table=self.target.table,
            frame=typed.lazy(),
            columns=tuple(c.name for c in self.columns if not c.name.startswith("__")),
            rows=rows,
            target=self.target,
            order=next(orders, None),
            unreadable={c.name: c.unreadable for c in self.columns if c.unreadable},
            notes=[*cols.notes_of(self.columns), *left_out],
            lazy=typed.spilled,
        )

    def _waiting(self) -> list[Column]:
        return [c for c in self.columns if c.name in self.waiting]

    def _texts(self, part: pl.DataFrame) -> pl.DataFrame:
        there: Mapping[str, Any] = {n: pl.String() for n in part.columns if n != ROW}
        if self.target.only:
            part = part.filter(any_holds(self.target.only, there))
        if self.target.drop:
            part = part.filter(~any_holds(self.target.drop, there))
        found = {
            c.name: part[c.cell.columns[0]]
            for c in self.columns
            if self._as_it_stands(c, there)
        }
        asked = [c for c in self.columns if c.name not in found]
        if asked:
            nulls = self.mapping.null
            cells = (text_cell(c.cell, there, nulls).alias(c.name) for c in asked)
            made = part.select(pl.col(ROW), *cells)
            found |= {c.name: made[c.name] for c in asked}
        return pl.DataFrame({ROW: part[ROW], **found})

    def _as_it_stands(self, column: Column, there: Mapping[str, Any]) -> bool:
        """Say whether a column's texts are those of the file: no need to ask polars."""
        cell = column.cell
        return cell.plain and not self.mapping.null and cell.columns[0] in there

    def _at_first_try(self, texts: pl.DataFrame) -> dict[str, pl.Series]:
        """Read all columns that don't wait in one go; those that fail wait from now."""
        columns = [
            c for c in self.columns if firsttry.waits(c) and c.name not in self.waiting
        ]
        wanted = {c.name: firsttry.attempt(texts[c.name], c) for c in columns}
        tries = {name: e for name, e in wanted.items() if e is not None}
        got = texts.select(**tries)
        done: dict[str, pl.Series] = {}
        for column in columns:
            name, cells = column.name, texts[column.name]
            if name in tries and firsttry.whole(got[name], cells, column):
                done[name] = got[name]
                if cells.null_count() < len(cells):
                    self.tried.add(name)
                    column.filled += len(cells) - cells.null_count()
            else:
                self.waiting.add(name)
                if name not in self.tried:
                    column.plan.shapes.clear()
        return done

    def _typed(self) -> Pile:
        moved = any(c.cell.plus or c.cell.after for c in self.columns)
        if not (self.waiting or moved):
            return self.held
        typed = Pile()
        for part in self.held.parts():
            found = {ROW: part[ROW]}
            for column in self.columns:
                cells = part[column.name]
                late = firsttry.waits(column) and cells.dtype == pl.String
                found[column.name] = (
                    read_column(cells, part[ROW], column) if late else cells
                )
            frame = pl.DataFrame(found)
            if moved:
                frame = cols.finished(frame.lazy(), self.columns).collect()
            typed.add(frame)
        self.held.clear()
        return typed


def convert(
    parts: Pile, target: Target, mapping: SourceMapping, context: Context
) -> Converted:
    """Turn text that is all there into a canonical table.

    Args:
        parts: Frames whose columns bear the mapping's source names.
        target: How the canonical columns come about.
        mapping: Its null texts and time zone.
        context: The file.

    Raises:
        TableError: More cells than tolerated are unreadable, or the order of day and
            month can't be told.
    """
    for patient in (False, True):
        done = Conversion(
            target=target, mapping=mapping, context=context, patient=patient
        )
        for part in parts.parts():
            done.take(part)
        try:
            return done.finish()
        except TextsNeededError:
            done.held.clear()
    raise TextsNeededError


def _decide(held: Pile, columns: Iterable[Column], context: Context) -> None:
    """Decide, over whole columns, the order of dates and the marks of numbers."""
    columns = list(columns)
    orders: dict[str, list[dict[str, int]]] = {}
    marks: dict[str, list[dict[str, int]]] = {}
    points: dict[str, list[dict[str, int]]] = {}
    x = pl.col("x")
    for part in held.parts():
        for column in columns:
            cells = part[column.name]
            if cells.dtype != pl.String:
                continue
            if column.kind in {"instant", "stamp"} and not column.cell.format:
                if dates.has_order(cells):
                    facts = cols.facts_of(cells, dates.order_facts(x))
                    orders.setdefault(column.name, []).append(facts)
            elif (
                column.kind in {"duration", "number", "count"}
                and cells.str.contains(",", literal=True).any()
            ):
                facts = cols.facts_of(cells, parse.mark_facts(x))
                marks.setdefault(column.name, []).append(facts)
            elif context.separator == ";" and column.kind in {"duration", "number"}:
                # Who separates fields by semicolons may write 1.234 for 1234.
                facts = cols.facts_of(cells, parse.point_facts(x))
                points.setdefault(column.name, []).append(facts)
    cols.decide_orders(columns, orders, context)
    cols.decide_marks(columns, marks, context)
    for column in columns:
        met = points.get(column.name, [])
        if column.name not in marks and parse.points_part_thousands(met):
            column.marks = "comma"
