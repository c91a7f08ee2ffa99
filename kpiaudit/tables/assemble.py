"""Pieces of one canonical table, from several files, to the table that is scanned."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from kpiaudit.tables import schema
from kpiaudit.tables.columns import KEPT_BY, RECORD, ROW
from kpiaudit.tables.copies import MOST, all_distinct, settle
from kpiaudit.tables.fill import PIECE, filled
from kpiaudit.tables.spill import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.tables.columns import Converted

_TYPES = {
    "id": pl.String(),
    "text": pl.String(),
    "code": pl.String(),
    "instant": pl.Int64(),
    "duration": pl.Float64(),
    "flag": pl.Boolean(),
    "number": pl.Float64(),
    "count": pl.Int64(),
}
_SAMPLE = 1000
"""Rows by which the size of a table is told, and most often whether it has a key."""
DERIVED_TALK = "ended_at - answered_at - hold_s"


@dataclass(kw_only=True)
class Assembled:
    """A canonical table, nearly ready.

    Args:
        table: Which.
        frame: Canonical columns.
        columns: Those that hold anything.
        lazy: Whether it reads from disk.
        most: Rows of all pieces; some may have been left out since.
        size: Bytes that it takes in memory; 0 where it reads from disk.
        keyless: Whether row numbers serve as ids, in a file at least.
        unsettled: Whether rows may stand twice, and nobody has looked up to now: on
            disk, that is asked together with everything else.
        derived: Sentence for each derived column.
        notes: Kind, count and sentence.
    """

    table: str
    frame: pl.LazyFrame
    columns: tuple[str, ...]
    lazy: bool
    most: int = 0
    size: int = 0
    keyless: bool = False
    unsettled: bool = False
    derived: dict[str, str] = field(default_factory=dict)
    notes: list[tuple[str, int, str]] = field(default_factory=list)


def assemble(
    table: str, pieces: Sequence[tuple[str, Converted]], taken: int = 0
) -> Assembled:
    """Put the pieces of a table together, and take out what was delivered twice.

    Args:
        table: Which.
        pieces: Name of the file and its piece.
        taken: Bytes of memory that other tables take already.

    Returns:
        The table. Where it is `unsettled`, rows may still stand twice.
    """
    done = Assembled(table=table, frame=pl.LazyFrame(), columns=(), lazy=False)
    done.lazy = any(piece.lazy for _, piece in pieces)
    done.most = sum(piece.rows for _, piece in pieces)
    pieces = [(display, _named(piece)) for display, piece in pieces]
    every = dict.fromkeys(name for _, piece in pieces for name in piece.columns)
    frames = [_prepared(display, piece, done) for display, piece in pieces]
    frames = _ranked(frames, pieces, schema.key(table))
    done.frame = pl.concat(frames, how="diagonal")
    done.columns = (*every, *(n for n in done.derived if n not in every))
    key = schema.key(table)
    done.keyless = any(key and key not in piece.columns for _, piece in pieces)
    if key and key not in done.columns and done.keyless:
        done.columns = (key, *done.columns)
    _say_differing(pieces, done)
    # What fits is read and cast once, not by every later query.
    done.lazy = done.lazy and not _fits(done, taken)
    if not done.lazy:
        done.frame = done.frame.collect(engine="streaming").lazy()
    if not done.keyless and key and PIECE in done.frame.collect_schema():
        _fill(done, key)
    keep = [piece.target.keep for _, piece in pieces if piece.target.keep]
    if key and not done.keyless and done.lazy and not keep and done.most <= MOST:
        done.unsettled = True
    elif not done.keyless and not (key and all_distinct(done)):
        settle(done, keep[0] if keep else None)
    order = [n for n in schema.names(table) if n in done.columns]
    done.columns = tuple(order)
    done.frame = done.frame.select(order)
    return done


def _fits(done: Assembled, taken: int) -> bool:
    """Say whether a table takes at most half of what may be in memory, and is left."""
    head = done.frame.head(_SAMPLE).collect(engine="streaming")
    size = int(head.estimated_size() / max(head.height, 1) * done.most)
    fits = size <= min(memory_bytes() // 2, memory_bytes() - taken)
    done.size = size if fits else 0
    return fits


def _named(piece: Converted) -> Converted:
    """Pass over a key that is empty in every row: row numbers serve instead."""
    key = schema.key(piece.table)
    if key not in piece.columns or key in piece.filled:
        return piece
    for part in (piece.frame.head(_SAMPLE), piece.frame):
        if part.select(pl.col(key).count()).collect(engine="streaming").item():
            return piece
    return replace(piece, columns=tuple(n for n in piece.columns if n != key))


def _ranked(
    frames: list[pl.LazyFrame],
    pieces: Sequence[tuple[str, Converted]],
    key: str | None,
) -> list[pl.LazyFrame]:
    """Number the files, those that only fill last, if there are any."""
    fills = [piece.target.fill for _, piece in pieces]
    if key is None or len(frames) < 2 or not any(fills):
        return frames
    return [
        frame.with_columns(pl.lit(i + len(frames) * fills[i]).alias(PIECE))
        for i, frame in enumerate(frames)
    ]


def _fill(done: Assembled, key: str) -> None:
    done.frame, count = filled(done.frame, key)
    if count:
        text = (
            f"rows stand in several files under the same {key}; each fills what the "
            "other lacks"
        )
        done.notes.append(("filled-rows", count, text))


def _prepared(display: str, piece: Converted, done: Assembled) -> pl.LazyFrame:
    frame = piece.frame
    names = list(piece.columns)
    typed = [
        pl.col(c.name).cast(_TYPES[c.type])
        for c in schema.TABLES[piece.table]
        if c.name in names
    ]
    there = frame.collect_schema()
    helpers = ((KEPT_BY, pl.Float64()), (RECORD, pl.String()))
    typed += [pl.col(name).cast(kind) for name, kind in helpers if name in there]
    key = schema.key(piece.table)
    if key and key not in names:
        typed.append(pl.format("{}:{}", pl.lit(display), ROW).alias(key))
        done.notes.append(
            (
                "no-key",
                piece.rows,
                (
                    f"rows of {display} have no {key}; row numbers serve as ids, so "
                    "rows that were delivered twice can't be told"
                ),
            )
        )
    frame = frame.select(typed)
    if piece.table == "calls" and "talk_s" not in names:
        frame = _with_talk(frame, names, done)
    return frame


def _with_talk(frame: pl.LazyFrame, names: list[str], done: Assembled) -> pl.LazyFrame:
    if not {"answered_at", "ended_at"} <= set(names):
        return frame
    hold = pl.col("hold_s").fill_null(0.0) if "hold_s" in names else pl.lit(0.0)
    talk = (pl.col("ended_at") - pl.col("answered_at")).cast(pl.Float64) / 1000 - hold
    done.derived["talk_s"] = DERIVED_TALK
    # A stamp before the answer means that nobody spoke, or a broken clock: no talk.
    return frame.with_columns(pl.when(talk >= 0).then(talk).alias("talk_s"))


def _say_differing(pieces: Sequence[tuple[str, Converted]], done: Assembled) -> None:
    for display, piece in pieces:
        lacking = [n for n in done.columns if n not in piece.columns]
        lacking = [n for n in lacking if n not in done.derived]
        lacking = [n for n in lacking if n != schema.key(done.table)]
        if lacking and len(pieces) > 1:
            done.notes.append(
                (
                    "columns-differ",
                    piece.rows,
                    (
                        f"rows of {display} lack {', '.join(sorted(lacking))}, which "
                        "other files of the table have"
                    ),
                )
            )


def anchors(done: Assembled) -> list[str]:
    """Return the instants that date the rows, the first that is known counting."""
    return [n for n in schema.ANCHORS.get(done.table, ()) if n in done.columns]


def dated(done: Assembled, timezone: str, stamps: Sequence[str]) -> pl.LazyFrame:
    """Add `at_ms`, `day` and `hour` in a zone, if anything dates the rows."""
    if not stamps:
        return done.frame
    at = pl.coalesce(stamps).cast(pl.Int64)
    frame = done.frame.with_columns(at_ms=at)
    local = pl.col("at_ms")
    if timezone != "UTC":
        local = (
            pl.from_epoch("at_ms", time_unit="ms")
            .dt.replace_time_zone("UTC")
            .dt.convert_time_zone(timezone)
            .dt.replace_time_zone(None)
            .dt.epoch("ms")
        )
    return frame.with_columns(
        day=(local // 86_400_000).cast(pl.Int64),
        hour=(local // 3_600_000 % 24).cast(pl.Int64),
    )
