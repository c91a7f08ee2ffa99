"""Canonical Parquet, catalogue tables and lazy frames to a `Dataset` on an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.errors import TableError
from kpiaudit.findings import DataNote, Input
from kpiaudit.tables import columns as cols
from kpiaudit.tables import schema
from kpiaudit.tables.assemble import DERIVED_TALK
from kpiaudit.tables.checks import check
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import counted, flag
from kpiaudit.tables.engines.backend import NotCanonicalError
from kpiaudit.tables.engines.clock import with_clock
from kpiaudit.tables.engines.rows import without_copies
from kpiaudit.tables.engines.sources import pieces
from kpiaudit.tables.engines.tidy import tidied
from kpiaudit.tables.engines.typed import typed, united
from kpiaudit.tables.mapping import Cell, Target
from kpiaudit.tables.missing import FAR_OFF, near
from kpiaudit.tables.origins import origins_of, score_origin
from kpiaudit.tables.ready import LONGEST_S, endless
from kpiaudit.tables.sentence import noted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from kpiaudit.tables.dataset import Frame
    from kpiaudit.tables.engines.backend import Backend
    from kpiaudit.tables.engines.sources import Piece
    from kpiaudit.tables.ready import Period

_BESIDE = {
    "talk_s": ("answered_at", "ended_at", "hold_s"),
    "score": ("administered_by",),
}
_MS = 1000


@dataclass(kw_only=True)
class _Table:
    """A canonical table while it is built on an engine."""

    name: str
    frame: Frame
    names: list[str]
    display: str
    rows: int = 0
    derived: dict[str, str] = field(default_factory=dict)
    span: tuple[int, int] | None = None


@dataclass(kw_only=True)
class _Parts:
    tables: list[_Table] = field(default_factory=list)
    inputs: dict[tuple[int, str], Input] = field(default_factory=dict)
    notes: list[DataNote] = field(default_factory=list)
    origins: dict[str, str] = field(default_factory=dict)


def load_on(
    engine: Backend,
    *,
    paths: Sequence[str | Path] = (),
    tables: Mapping[str, Sequence[Any] | Any] | None = None,
    timezone: str = "UTC",
    period: Period = (None, None),
    max_unreadable: float = 0.05,
    only: Collection[str] | None = None,
) -> Dataset:
    """Build the dataset of canonical input lazily on an engine.

    Args:
        engine: The engine.
        paths: Parquet files, folders and globs.
        tables: Paths, `spark:database.table` names or frames, by canonical table.
        timezone: Zone of days and hours.
        period: First instant that is kept and first that is not.
        max_unreadable: Share of a column's cells that may be unreadable.
        only: Columns (`table.column`) that the rules use: others are neither read nor
            checked. None takes all.

    Raises:
        NotCanonicalError: Something is no canonical Parquet.
        TableError: Something can't be read, or no table has any row left.
    """
    parts = _Parts()
    found = pieces(paths, tables, engine, parts.notes)
    for name in schema.TABLES:
        mine = [piece for piece in found if piece.table == name]
        if mine and (only is None or any(o.startswith(f"{name}.") for o in only)):
            _add(parts, mine, (engine, timezone, period), max_unreadable, only)
        elif mine:
            parts.inputs |= _inputs(mine, None)
    if not parts.tables:
        last = parts.notes[-1].detail if parts.notes else "No rule uses these tables."
        raise TableError(f"{last} Check --since and --until, and the rules.")
    return Dataset(
        frames={t.name: t.frame for t in parts.tables},
        columns={t.name: frozenset(t.names) for t in parts.tables},
        origins=parts.origins,
        inputs=tuple(parts.inputs[place] for place in sorted(parts.inputs)),
        notes=tuple(parts.notes),
        timezone=timezone,
        derived={
            f"{t.name}.{k}": v for t in parts.tables for k, v in t.derived.items()
        },
        period={t.name: t.span for t in parts.tables if t.span},
        rows={t.name: t.rows for t in parts.tables},
    )


def _inputs(mine: Sequence[Piece], rows: int | None) -> dict[tuple[int, str], Input]:
    """Return what the report lists, by the place at which it was given."""
    single = len([file for piece in mine for file in piece.files]) == 1
    found = {}
    for piece in mine:
        for file in piece.files:
            count = rows if file.rows is None and single else file.rows
            if count is None:
                frame = nw.from_native(piece.native).lazy()
                count = counted(frame, {"rows": nw.len()})["rows"]
            found[file.place, file.display] = Input(
                table=piece.table,
                path=file.display,
                rows=count,
                sha256=file.source.sha256() if file.source else None,
            )
    return found


def _add(
    parts: _Parts,
    mine: Sequence[Piece],
    around: tuple[Backend, str, Period],
    max_unreadable: float,
    only: Collection[str] | None,
) -> None:
    engine, timezone, period = around
    table = mine[0].table
    key = schema.key(table)
    for piece in mine:
        if key and key not in piece.cells:
            why = f"it has no column '{key}'"
            raise NotCanonicalError(piece.display, why, engine.name)
    talks = [piece for piece in mine if "talk_s" in piece.cells]
    if table == "calls" and 0 < len(talks) < len(mine):
        other = next(piece for piece in mine if piece not in talks)
        why = "it has no column 'talk_s', which other files of the table have"
        raise NotCanonicalError(other.display, why, engine.name)
    frames = [typed(piece, engine, timezone) for piece in mine]
    frame, names = united(frames, table, {n for piece in mine for n in piece.void})
    context = cols.Context(
        display=mine[0].display, timezone=timezone, max_unreadable=max_unreadable
    )
    now = _Table(name=table, frame=frame, names=names, display=mine[0].display)
    said = _checked(now, mine, context, engine, only)
    parts.inputs |= _inputs(mine, now.rows)
    targets = [(_target(p), tuple(p.cells)) for p in mine]
    now.frame, now.rows, more = without_copies(
        table, now.frame, now.names, now.rows, engine
    )
    said += more
    now.names = [n for n in now.names if _used(table, n, only)]
    now.frame = now.frame.select(now.names)
    _derive(now)
    said += _within(now, timezone, period)
    if key and now.rows and key not in now.names:
        raise NotCanonicalError(
            now.display, f"'{key}' is empty in every row", engine.name
        )
    parts.notes += [noted(table, told) for told in said]
    if not now.rows:
        text = f"{now.display}: no rows of '{table}' are left by the period."
        parts.notes.append(DataNote(table=table, kind="no-rows", count=0, detail=text))
        return
    columns = frozenset(now.names)
    odd = check(table, now.frame, columns)
    parts.notes += odd
    if any(note.kind == FAR_OFF for note in odd):
        now.span = near(table, now.frame)
    parts.tables.append(now)
    parts.origins |= origins_of(table, targets, set(now.derived))
    if table == "surveys" and (writer := score_origin(now.frame, columns)):
        parts.origins["surveys.score"] = writer


def _target(piece: Piece) -> Target:
    cells = {name: Cell(columns=(source,)) for name, source in piece.cells.items()}
    return Target(table=piece.table, cells=cells)


def _used(table: str, name: str, only: Collection[str] | None) -> bool:
    """Say whether a column is used, dates or names rows, or serves to derive one."""
    if only is None or f"{table}.{name}" in only or name == schema.key(table):
        return True
    if name in schema.ANCHORS.get(table, ()):
        return True
    return any(f"{table}.{of}" in only and name in by for of, by in _BESIDE.items())


def _checked(
    now: _Table,
    mine: Sequence[Piece],
    context: cols.Context,
    engine: Backend,
    only: Collection[str] | None,
) -> list[tuple[str, int, str]]:
    """Empty what stands for nothing in the used columns; return what was met."""
    cells = {name: Cell(columns=(name,)) for name in now.names}
    target = Target(table=now.name, cells=cells)
    columns = [
        c for c in cols.columns_of(target, "UTC") if _used(now.name, c.name, only)
    ]
    numbered = frozenset(
        name
        for piece in mine
        for name, dtype in _types(piece).items()
        if dtype.is_integer()
    )
    now.frame, now.rows = tidied(
        now.frame, columns, context, numbered=numbered, engine=engine.name
    )
    if not now.rows:
        raise TableError(f"{now.display}: there are no rows. Export it again.")
    return [
        *((k, n, text) for k, n, text in cols.notes_of(columns)),
        *_differing(now, mine),
    ]


def _types(piece: Piece) -> dict[str, Any]:
    there = nw.from_native(piece.native).collect_schema()
    return {
        name: there[source]
        for name, source in piece.cells.items()
        if (column := schema.column(piece.table, name)) and column.type == "instant"
    }


def _differing(now: _Table, mine: Sequence[Piece]) -> list[tuple[str, int, str]]:
    found = []
    for piece in mine if len(mine) > 1 else ():
        lacking = sorted(set(now.names) - set(piece.cells))
        if lacking:
            text = (
                f"rows of {piece.display} lack {', '.join(lacking)}, which other files "
                "of the table have"
            )
            found.append(
                ("columns-differ", sum(f.rows or 0 for f in piece.files), text)
            )
    return found


def _derive(now: _Table) -> None:
    """Add talk_s to calls that lack it, from what they have."""
    there = set(now.names)
    lacks = "talk_s" not in there and {"answered_at", "ended_at"} <= there
    if now.name != "calls" or not lacks:
        return
    hold = nw.col("hold_s").fill_null(0.0) if "hold_s" in now.names else nw.lit(0.0)
    span = (nw.col("ended_at") - nw.col("answered_at")).cast(nw.Float64)
    talk = span / _MS - hold
    now.names.append("talk_s")
    now.frame = now.frame.with_columns(talk_s=nw.when(talk >= 0).then(talk))
    now.derived["talk_s"] = DERIVED_TALK


def _within(now: _Table, timezone: str, period: Period) -> list[tuple[str, int, str]]:
    """Date the table, keep the period, take out columns that hold nothing."""
    stamps = [n for n in schema.ANCHORS.get(now.name, ()) if n in now.names]
    if stamps:
        now.frame = now.frame.with_columns(at_ms=nw.coalesce(*map(nw.col, stamps)))
        start, end = period
        if start is not None:
            now.frame = now.frame.filter(nw.col("at_ms") >= start)
        if end is not None:
            now.frame = now.frame.filter(nw.col("at_ms") < end)
    negative = [
        c.name
        for c in schema.TABLES[now.name]
        if c.type == "duration" and c.name in now.names
    ]
    wanted = {"rows": nw.len()} | {f"n\t{n}": nw.col(n).count() for n in now.names}
    wanted |= {f"-\t{n}": flag(nw.col(n) < 0).sum() for n in negative}
    wanted |= {f"+\t{n}": flag(nw.col(n) > LONGEST_S).sum() for n in negative}
    if stamps:
        wanted |= {"low": nw.col("at_ms").min(), "high": nw.col("at_ms").max()}
    got = counted(now.frame, wanted)
    now.rows = got["rows"]
    said: list[tuple[str, int, str]] = []
    for name in (n for n in negative if got[f"-\t{n}"]):
        text = f"rows have a {name} below zero, which counts as empty"
        said.append(("negative-durations", got[f"-\t{name}"], text))
        kept = nw.when(nw.col(name) >= 0).then(nw.col(name))
        now.frame = now.frame.with_columns(kept.alias(name))
    for name in (n for n in negative if got[f"+\t{n}"]):
        said.append(endless(name, got[f"+\t{name}"]))
        kept = nw.when(nw.col(name) <= LONGEST_S).then(nw.col(name))
        now.frame = now.frame.with_columns(kept.alias(name))
    empty = [n for n in now.names if not got[f"n\t{n}"] and now.rows]
    if empty:
        one = len(empty) == 1
        which = "column holds" if one else "columns hold"
        counts = "counts" if one else "count"
        text = f"mapped {which} nothing and {counts} as absent: {', '.join(empty)}"
        said.append(("empty-columns", len(empty), text))
    now.names = [n for n in now.names if n not in empty]
    now.frame = now.frame.drop(*empty) if empty else now.frame
    if stamps:
        low, high = got["low"], got["high"]
        now.span = None if low is None else (low, high)
        now.frame = with_clock(now.frame, timezone, now.span or (0, 0))
        now.names += ["at_ms", "day", "hour"]
    return said
