"""Pieces of one canonical table, from several files, to the table that is scanned."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from kpiaudit.tables import schema
from kpiaudit.tables.columns import KEPT_BY, RECORD, ROW
from kpiaudit.tables.fill import PIECE, filled
from kpiaudit.tables.sentence import SHOWN, Sentence
from kpiaudit.tables.spill import memory_bytes, sunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
_AT = "__at__"
_HASH = "__hash__"
_HASHES = 50_000_000  # that are held at once while equal rows are looked for
_FEW = 20  # rows of which the ids are looked up for examples
_MANY = 10_000  # rows left out, above which a table on disk is written anew
_LEGS = ("call_id", "agent_id", "started_at")
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
        derived: Sentence for each derived column.
        notes: Kind, count and sentence.
    """

    table: str
    frame: pl.LazyFrame
    columns: tuple[str, ...]
    lazy: bool
    most: int = 0
    derived: dict[str, str] = field(default_factory=dict)
    notes: list[tuple[str, int, str]] = field(default_factory=list)


def assemble(table: str, pieces: Sequence[tuple[str, Converted]]) -> Assembled:
    """Put the pieces of a table together, and take out what was delivered twice.

    Args:
        table: Which.
        pieces: Name of the file and its piece.
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
    keyless = any(key and key not in piece.columns for _, piece in pieces)
    if key and key not in done.columns and keyless:
        done.columns = (key, *done.columns)
    _say_differing(pieces, done)
    # What fits is read and cast once, not by every later query.
    done.lazy = done.lazy and not _fits(done)
    if not done.lazy:
        done.frame = done.frame.collect(engine="streaming").lazy()
    if not keyless and key and PIECE in done.frame.collect_schema():
        _fill(done, key)
    if not keyless and not (key and _all_distinct(done)):
        # First the newest of each record: an old state that has come back equals it.
        if any(piece.target.keep for _, piece in pieces):
            _drop_superseded(done, pieces)
        if key or set(schema.ANCHORS.get(table, ())) & set(done.columns):
            _drop_equal(done)
        if key:
            _say_duplicate_ids(done, key)
    order = [n for n in schema.names(table) if n in done.columns]
    done.columns = tuple(order)
    done.frame = done.frame.select(order)
    return done


def _fits(done: Assembled) -> bool:
    """Say whether a table would take at most half of what may stay in memory."""
    head = done.frame.head(_SAMPLE).collect(engine="streaming")
    size = head.estimated_size() / max(head.height, 1) * done.most
    return size <= memory_bytes() / 2


def _named(piece: Converted) -> Converted:
    """Pass over a key that is empty in every row: row numbers serve instead."""
    key = schema.key(piece.table)
    if key not in piece.columns:
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


def names_of_row(table: str, columns: Iterable[str]) -> list[str]:
    """Return the columns that name a row: of calls, the legs share their id."""
    columns = set(columns)
    legs = [n for n in _LEGS if n in columns]
    return legs if table == "calls" else [schema.key(table) or ""]


def _all_distinct(done: Assembled) -> bool:
    """Say whether no two rows have the same name: then no two are equal. Fast."""
    names = names_of_row(done.table, done.columns)
    if done.lazy:
        return not _again(done.frame, names, done.most)
    rows = done.frame.collect().select(names)
    return not _repeats(rows.hash_rows())


def _repeats(hashes: pl.Series) -> bool:
    """Say whether any hash is there twice. Sorting costs a third of counting them."""
    ordered = np.sort(hashes.to_numpy())
    return bool((ordered[1:] == ordered[:-1]).any())


def _drop_equal(done: Assembled) -> None:
    """Drop rows that are equal in every mapped column, and count them."""
    cells = [n for n in done.columns if n != KEPT_BY]
    if done.lazy:
        gone = _equal_rows(done.frame, cells, done.most)
    else:
        frame = done.frame.collect()
        hashes = frame.select(cells).hash_rows()
        if not _repeats(hashes):
            return
        twice = frame.with_row_index(_AT).filter(hashes.is_duplicated())
        first = twice.unique(subset=cells, keep="first", maintain_order=True)
        gone = twice.join(first, on=_AT, how="anti")[_AT]
    names = _names_at(done, gone)
    _without(done, gone)
    if len(gone):
        done.notes.append(duplicate_rows(len(gone), names))


def duplicate_rows(count: int, names: Sequence[str] = ()) -> tuple[str, int, str]:
    """Say how many rows equal another: kind, count, sentence."""
    such = f" (such as {', '.join(names)})" if names else ""
    text = f"rows equal another in every mapped column and were left out{such}"
    return "duplicate-rows", count, Sentence(text, names)


def _names_at(done: Assembled, rows: pl.Series) -> list[str]:
    """Return the ids of the first few of some rows, given by position."""
    key = schema.key(done.table)
    if key not in done.columns or not len(rows):
        return []
    some = pl.col(_AT).is_in(rows.sort().head(_FEW).implode())
    found = done.frame.select(key).with_row_index(_AT).filter(some)
    named = found.collect(engine="streaming")[str(key)].drop_nulls()
    return named.unique(maintain_order=True).head(SHOWN).to_list()


def _equal_rows(frame: pl.LazyFrame, cells: list[str], most: int) -> pl.Series:
    """Find equal rows by their hashes, a bounded number of hashes at a time."""
    twice = _again(frame, cells, most)
    if not twice:
        return pl.Series(_AT, [], dtype=pl.get_index_type())
    again = pl.concat(twice)
    found = (
        frame.with_row_index(_AT)
        .filter(pl.struct(cells).hash().is_in(again.implode()))
        .collect(engine="streaming")
        .sort(_AT)
    )
    first = found.unique(subset=cells, keep="first", maintain_order=True)
    return found.join(first, on=_AT, how="anti")[_AT]


def _again(frame: pl.LazyFrame, cells: list[str], most: int) -> list[pl.Series]:
    """Return the hashes of rows, at `most` so many, that are there more than once."""
    hashed = frame.select(pl.struct(cells).hash().alias(_HASH))
    passes = max(1, -(-most // _HASHES))
    twice: list[pl.Series] = []
    for turn in range(passes):
        part = hashed
        if passes > 1:
            part = part.filter(pl.col(_HASH) % passes == turn)
        got = part.collect(engine="streaming").to_series()
        if _repeats(got):
            twice.append(got.filter(got.is_duplicated()).unique())
    return twice


def _without(done: Assembled, gone: pl.Series) -> None:
    """Leave rows out by their position."""
    if not len(gone):
        return
    at = pl.col(_AT).is_in(gone.implode())
    kept = done.frame.with_row_index(_AT).filter(~at).drop(_AT)
    if not done.lazy:
        kept = kept.collect().lazy()
    elif len(gone) > _MANY:
        # Every later pass would look the positions up again: write the rest once.
        kept = sunk(kept)
    done.frame = kept


def _drop_superseded(done: Assembled, pieces: Sequence[tuple[str, Converted]]) -> None:
    """Keep the newest delivery of each record, by the stamp that the mapping names."""
    keep = next(p.target.keep for _, p in pieces if p.target.keep)
    per = [RECORD] if keep.record else list(keep.per) or [schema.key(done.table) or ""]
    if any(name not in (*done.columns, RECORD) for name in per):
        return
    stamps = (
        done.frame.select(*per, KEPT_BY)
        .with_row_index(_AT)
        .filter(pl.all_horizontal(pl.col(per).is_not_null()))
        .collect(engine="streaming")
        .sort(KEPT_BY, _AT, descending=[True, True], nulls_last=True)
    )
    newest = stamps.unique(subset=per, keep="first", maintain_order=True)
    gone = stamps.join(newest, on=_AT, how="anti")[_AT]
    names = _names_at(done, gone)
    _without(done, gone)
    if len(gone):
        text = (
            f"rows stand there again in a newer state; the newest by '{keep.column}' "
            f"of each {keep.record or ' and '.join(per)} was kept"
            + (f" (such as {', '.join(names)})" if names else "")
        )
        done.notes.append(("superseded-rows", len(gone), Sentence(text, names)))


def _say_duplicate_ids(done: Assembled, key: str) -> None:
    per = names_of_row(done.table, done.columns)
    if done.table == "calls" and "started_at" not in per:
        return
    cells = done.frame.filter(pl.col(key).is_not_null())
    hashes = cells.select(pl.struct(per).hash()).collect(engine="streaming").to_series()
    count = len(hashes) - hashes.n_unique()
    if count:
        again = hashes.filter(hashes.is_duplicated()).unique().sort().head(50)
        some = (
            cells.filter(pl.struct(per).hash().is_in(again.implode()))
            .select(pl.col(key).min())
            .collect(engine="streaming")
            .item()
        )
        done.notes.append(duplicate_ids(count, per, some))


def duplicate_ids(count: int, per: Sequence[str], some: str) -> tuple[str, int, str]:
    """Say how many rows share the names of another: kind, count, sentence."""
    text = (
        f"rows have the same {' and '.join(per)} as another but other values (such as "
        f"{some}); all were kept"
    )
    return "duplicate-ids", count, Sentence(text, (some,))


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
