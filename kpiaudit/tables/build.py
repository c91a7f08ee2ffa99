"""What was read, table by table, to the `Dataset` of one scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.errors import TableError
from kpiaudit.findings import DataNote
from kpiaudit.tables import schema
from kpiaudit.tables.assemble import assemble
from kpiaudit.tables.checks import check
from kpiaudit.tables.clocks import jumps
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.origins import origins_of, score_origin
from kpiaudit.tables.ready import ready

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        inputs=tuple(i for r in found for i in r.inputs()),
        notes=tuple(notes),
        timezone=timezone,
        derived=parts.derived,
        period=parts.period,
        rows=parts.rows,
        files=tuple(r.again for r in found if r.again),
    )


def _read_notes(table: str, found: Sequence[Read]) -> list[DataNote]:
    return [
        DataNote(table=table, kind=k, count=n, detail=f"{r.display}: {n:,} {text}.")
        for r in found
        for i, c in enumerate(r.converted)
        if c.table == table
        # What holds for the whole file is said once.
        for k, n, text in (*(r.notes if i == 0 else ()), *c.notes)
    ]


def _add(
    parts: _Parts,
    table: str,
    pieces: list[tuple[str, Converted]],
    around: tuple[list[DataNote], str, Period],
) -> None:
    notes, timezone, period = around
    done = assemble(table, pieces)
    now = ready(done, timezone, period)
    notes += [
        DataNote(table=table, kind=k, count=n, detail=f"{n:,} {text}.")
        for k, n, text in done.notes
    ]
    if not now.rows:
        files = ", ".join(display for display, _ in pieces)
        text = f"{files}: no rows of '{table}' are left by the mapping and the period."
        notes.append(DataNote(table=table, kind="no-rows", count=0, detail=text))
        return
    frame = nw.from_native(now.frame)
    notes += check(table, frame, now.columns)
    if not _AGAIN & {kind for kind, _, _ in done.notes}:
        notes += [note for file, piece in pieces for note in jumps(file, piece)]
    parts.frames[table] = frame
    parts.columns[table] = now.columns
    parts.rows[table] = now.rows
    if now.span:
        parts.period[table] = now.span
    parts.derived |= {f"{table}.{k}": v for k, v in done.derived.items()}
    targets = [(piece.target, piece.columns) for _, piece in pieces]
    parts.origins |= origins_of(table, targets, set(done.derived))
    if table == "surveys" and not any("score" in t.origins for t, _ in targets):
        writer = score_origin(frame, now.columns)
        parts.origins |= {"surveys.score": writer} if writer else {}
