"""What was read, table by table, to the `Dataset` of one scan."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import narwhals as nw
import polars as pl

from kpiaudit.errors import TableError
from kpiaudit.findings import DataNote
from kpiaudit.tables import schema
from kpiaudit.tables.assemble import assemble
from kpiaudit.tables.checks import check
from kpiaudit.tables.clocks import Backwards, jumps, told_by_order
from kpiaudit.tables.copies import settle
from kpiaudit.tables.dataset import Dataset, local_day
from kpiaudit.tables.look import look
from kpiaudit.tables.missing import FAR_OFF, near
from kpiaudit.tables.origins import origins_of, score_origin
from kpiaudit.tables.ready import ready
from kpiaudit.tables.sentence import noted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kpiaudit.findings import Input
    from kpiaudit.tables.columns import Converted
    from kpiaudit.tables.reading import Read
    from kpiaudit.tables.ready import Period

_AGAIN = {"duplicate-rows", "duplicate-ids", "superseded-rows", "filled-rows"}
"""Notes that say that records stand a second time, and so out of their order."""


@dataclass(kw_only=True)
class _Parts:
    """The arguments of a `Dataset` while its tables are built."""

    frames: dict[str, nw.LazyFrame[Any]] = field(default_factory=dict)
    columns: dict[str, frozenset[str]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    derived: dict[str, str] = field(default_factory=dict)
    period: dict[str, tuple[int, int]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    doubled: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    answered: bool = False
    taken: int = 0


def build(
    found: Sequence[Read], notes: list[DataNote], timezone: str, period: Period
) -> Dataset:
    """Put what was read together.

    Args:
        found: Files and frames that were read.
        notes: What is to be said already; more is added.
        timezone: Zone of days and hours.
        period: Only records that started in it are kept.

    Raises:
        TableError: No table has any row left.
    """
    parts = _Parts()
    for table in schema.TABLES:
        pieces = [
            (r.display, c) for r in found for c in r.converted if c.table == table
        ]
        if pieces:
            notes += _read_notes(table, found)
            _add(parts, table, pieces, (notes, timezone, period))
    if not parts.frames:
        raise TableError(
            f"{notes[-1].detail} Check --since and --until, the mapping's 'only' and "
            "'drop', and the dates with 'kpiaudit inspect'."
        )
    return Dataset(
        frames=parts.frames,
        columns=parts.columns,
        origins=parts.origins,
        inputs=tuple(i for r in found for i in _inputs(r, found, timezone, period)),
        notes=tuple(notes),
        timezone=timezone,
        derived=parts.derived,
        period=parts.period,
        rows=parts.rows,
        doubled=parts.doubled,
        answered=parts.answered,
        files=tuple(r.again for r in found if r.again),
    )


def _inputs(
    read: Read, found: Sequence[Read], timezone: str, period: Period
) -> Iterator[Input]:
    """Yield what the report says of a file; its own days, if others feed its table."""
    for piece, entry in zip(read.converted, read.inputs(), strict=True):
        several = sum(c.table == piece.table for r in found for c in r.converted) > 1
        stamps = [n for n in schema.ANCHORS.get(piece.table, ()) if n in piece.columns]
        if not (several and stamps):
            yield entry
            continue
        at = pl.coalesce(stamps).cast(pl.Int64).alias("at")
        rows = piece.frame.select(at)
        if period[0] is not None:
            rows = rows.filter(pl.col("at") >= period[0])
        if period[1] is not None:
            rows = rows.filter(pl.col("at") < period[1])
        ends = rows.select(low=pl.col("at").min(), high=pl.col("at").max())
        low, high = ends.collect(engine="streaming").row(0)
        days = [local_day(ms, timezone).isoformat() for ms in (low, high) if ms]
        first, last = days if len(days) == 2 else (None, None)
        yield replace(entry, period_start=first, period_end=last)


def _read_notes(table: str, found: Sequence[Read]) -> list[DataNote]:
    return [
        noted(table, told, r.display)
        for r in found
        for i, c in enumerate(r.converted)
        if c.table == table
        # What holds for the whole file is said once.
        for told in (*(r.notes if i == 0 else ()), *c.notes)
    ]


def _add(
    parts: _Parts,
    table: str,
    pieces: list[tuple[str, Converted]],
    around: tuple[list[DataNote], str, Period],
) -> None:
    notes, timezone, period = around
    done = assemble(table, pieces, parts.taken)
    parts.taken += done.size
    back = Backwards() if told_by_order(pieces) else None
    seen = look(done, timezone, period, back)
    if seen.alike and settle(done):
        seen = look(done, timezone, period)
    now = ready(done, seen)
    notes += [noted(table, told) for told in done.notes]
    if not now.rows:
        files = ", ".join(display for display, _ in pieces)
        text = f"{files}: no rows of '{table}' are left by the mapping and the period."
        notes.append(DataNote(table=table, kind="no-rows", count=0, detail=text))
        return
    frame = nw.from_native(now.frame)
    odd = check(table, frame, now.columns, None if now.changed else seen.answers)
    notes += odd
    if not _AGAIN & {kind for kind, _, _ in done.notes}:
        found = [jump for file, piece in pieces for jump in jumps(file, piece, back)]
        notes += [jump.note for jump in found]
        parts.doubled[table] = tuple(span for jump in found for span in jump.doubled)
    parts.frames[table] = frame
    parts.columns[table] = now.columns
    parts.rows[table] = now.rows
    # What was taken out of the table since can only have made them fewer.
    parts.answered |= seen.facts.get("unanswered") == 0
    span = now.span
    if any(note.kind == FAR_OFF for note in odd):
        span = near(table, frame)
    if span:
        parts.period[table] = span
    parts.derived |= {f"{table}.{k}": v for k, v in done.derived.items()}
    targets = [(piece.target, piece.columns) for _, piece in pieces]
    parts.origins |= origins_of(table, targets, set(done.derived))
    if table == "surveys" and not any("score" in t.origins for t, _ in targets):
        writer = score_origin(frame, now.columns)
        parts.origins |= {"surveys.score": writer} if writer else {}
