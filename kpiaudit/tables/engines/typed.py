"""Columns of a piece as the canonical types, or a refusal that says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.tables import schema
from kpiaudit.tables.engines.backend import NotCanonicalError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpiaudit.tables.dataset import Frame
    from kpiaudit.tables.engines.backend import Backend
    from kpiaudit.tables.engines.sources import Piece

DTYPES: dict[str, Any] = {
    "id": nw.String,
    "text": nw.String,
    "code": nw.String,
    "instant": nw.Int64,
    "duration": nw.Float64,
    "flag": nw.Boolean,
    "number": nw.Float64,
    "count": nw.Int64,
}


def typed(piece: Piece, engine: Backend, timezone: str) -> tuple[Frame, list[str]]:
    """Return a piece with canonical names and types, and which columns it has.

    Instants become Int64 milliseconds; nothing is checked by value yet.

    Args:
        piece: As the engine reads it.
        engine: The engine.
        timezone: Zone of instants without one; only UTC is read here.

    Raises:
        NotCanonicalError: A column has a type that only the loader for exports reads.
    """
    there = nw.from_native(piece.native).collect_schema()
    wanted: dict[str, str] = {}
    for column in schema.TABLES[piece.table]:
        source = piece.cells.get(column.name)
        if source is None or column.name in piece.void:
            continue
        sql = _sql(column.type, source, there[source], (engine, timezone))
        if sql is None:
            why = f"'{source}' is {there[source]}, not {_words(column.type)}"
            raise NotCanonicalError(piece.display, why, engine.name)
        wanted[column.name] = sql
    frame = nw.from_native(engine.select(piece.native, wanted)).lazy()
    casts = (
        nw.col(name).cast(DTYPES[_type(piece.table, name)])
        for name in wanted
        if _type(piece.table, name) != "flag"
    )
    return frame.with_columns(*casts), list(wanted)


def _type(table: str, name: str) -> str:
    column = schema.column(table, name)
    return column.type if column else "text"


def _sql(kind: str, source: str, dtype: Any, around: tuple[Backend, str]) -> str | None:
    """Return SQL for a column that can be read as a type; None if it can't."""
    engine, timezone = around
    plain = engine.quoted(source)
    if kind in {"id", "text", "code"}:
        if dtype.is_integer():
            return engine.text(source)
        fits = dtype in {nw.String, nw.Categorical} or isinstance(dtype, nw.Enum)
    elif isinstance(dtype, nw.Datetime):
        zoned = dtype.time_zone is not None
        fits = kind == "instant" and (zoned or timezone == "UTC")
        plain = engine.millis(source, zoned=zoned)
    elif kind in {"instant", "count"}:
        fits = dtype.is_integer()
    else:
        fits = dtype == nw.Boolean if kind == "flag" else dtype.is_numeric()
    return plain if fits else None


def _words(kind: str) -> str:
    return {
        "instant": "a timestamp with a zone (or whole milliseconds since 1970)",
        "flag": "a flag (boolean)",
        "count": "a whole number",
        "duration": "a number of seconds",
        "number": "a number",
    }.get(kind, "text")


def united(
    frames: list[tuple[Frame, list[str]]], table: str, void: Iterable[str]
) -> tuple[Frame, list[str]]:
    """Return the pieces of a table as one frame; what one lacks is null there.

    Args:
        frames: The pieces, and which columns each has.
        table: Canonical table.
        void: Columns that are there without holding anything.
    """
    every = {*(name for _, names in frames for name in names), *void}
    order = [c.name for c in schema.TABLES[table] if c.name in every]
    filled = [
        frame.select(
            nw.col(name)
            if name in names
            else nw.lit(None).cast(DTYPES[_type(table, name)]).alias(name)
            for name in order
        )
        for frame, names in frames
    ]
    whole = filled[0] if len(filled) == 1 else nw.concat(filled, how="vertical")
    return whole, order
