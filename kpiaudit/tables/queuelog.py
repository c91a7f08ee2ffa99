"""Asterisk's `queue_log`: events, from which calls and spells are put together.

The file has no header, and as many fields a line as its event needs. Asterisk can keep
the same events in a table: with the parameters in `data1` to `data5`, or, in older
versions, all of them in `data`. Both are read into the same columns.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import polars as pl

from kpiaudit.tables.assembly import PARAMETERS, QUEUE_LOG
from kpiaudit.tables.columns import ROW
from kpiaudit.tables.queuecalls import CALL_EVENTS, calls_of
from kpiaudit.tables.queuestates import STATE_EVENTS, states_of
from kpiaudit.tables.source import recoded
from kpiaudit.tables.spill import Pile
from kpiaudit.tables.textcells import instants_of
from kpiaudit.tables.textfile import RawTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.tables.sniff import Sniffed
    from kpiaudit.tables.source import Source

_SILENT = ("QUEUESTART", "CONFIGRELOAD", "RINGCANCELED", "DID", "INFO", "RINGING")
_LINE = re.compile(
    r"\d{9,11}(\.\d+)?\|[^|]*\|[^|]*\|[^|]*\|(?P<event>[A-Z]{3,40})(\||$)"
)
_NOBODY = ("", "NONE", "none", "None")


def is_queue_log(text: str) -> bool:
    """Say whether the first lines of a text are events of a queue log."""
    lines = [line.strip() for line in text.split("\n")[:50] if line.strip()]
    fits = [m for line in lines[:-1] or lines if (m := _LINE.match(line))]
    known = {*CALL_EVENTS, *STATE_EVENTS, *_SILENT}
    some = any(match["event"] in known for match in fits)
    return some and 10 * len(fits) >= 9 * max(len(lines) - 1, 1)


def read_queue_log(source: Source, sniffed: Sniffed) -> RawTable:
    """Read the lines of the file; a line without time and event is broken.

    Raises:
        TableError: The bytes can't be read.
    """
    raw = RawTable(pile=Pile(), encoding=sniffed.encoding)
    first: list[int] = []
    latin = False
    for lines, fallback in _lines(source, sniffed):
        latin |= fallback
        text = pl.Series("x", lines, dtype=pl.String).str.strip_chars()
        parts = text.str.splitn("|", 6).struct.rename_fields(list(QUEUE_LOG))
        start = raw.rows + raw.broken + 1
        frame = parts.struct.unnest().with_columns(
            pl.int_range(start, start + len(text), dtype=pl.Int64).alias(ROW)
        )
        sound = text.str.contains(rf"^{_LINE.pattern.replace('?P<event>', '')}")
        first += frame[ROW].filter(~sound).head(5 - len(first)).to_list()
        raw.broken += int((~sound).sum())
        frame = frame.filter(sound)
        raw.rows += frame.height
        raw.pile.add(frame)
    raw.first_broken = tuple(first)
    if latin:
        raw.encoding = "cp1252"
        raw.notes.append(
            ("encoding", 1, "some lines are no UTF-8 and were read as cp1252")
        )
    return raw


def _lines(source: Source, sniffed: Sniffed) -> Iterator[tuple[list[str], bool]]:
    """Yield the filled lines, and whether some are in an older encoding."""
    held = b""
    for block in recoded(source.blocks(), sniffed.encoding):
        data = held + block
        cut = data.rfind(b"\n") + 1
        held = data[cut:]
        if cut:
            yield _decoded(data[:cut])
    if held.strip():
        yield _decoded(held)


def _decoded(data: bytes) -> tuple[list[str], bool]:
    try:
        text, latin = data.decode("utf-8"), False
    except UnicodeDecodeError:
        text, latin = data.decode("cp1252", "replace"), True
    return [line for line in text.split("\n") if line.strip()], latin


def rows_of_events(raw: RawTable, timezone: str) -> dict[str, RawTable]:
    """Put calls and agents' spells together from the events.

    Args:
        raw: The events as text; events without a time that can be read become broken.
        timezone: Zone of times without an offset.

    Returns:
        By table the rows, their instants in UTC, with notes on what did not fit.
    """
    parts = list(raw.pile.parts())
    events = _events(pl.concat(parts, how="diagonal"), timezone)
    bad = events.filter(pl.col("at").is_null())
    raw.rows -= bad.height
    raw.broken += bad.height
    raw.first_broken = (*raw.first_broken, *bad[ROW].head(5))[:5]
    events = events.filter(pl.col("at").is_not_null()).sort("at", ROW)
    _say_strange(events, raw)
    return {
        "calls": _table(*calls_of(events), raw),
        "agent_states": _table(*states_of(events), raw),
    }


def _events(frame: pl.DataFrame, timezone: str) -> pl.DataFrame:
    have = set(frame.columns)
    several = [pl.col(n).fill_null("") for n in PARAMETERS if n in have]
    data = pl.col("data") if "data" in have else pl.lit(None, dtype=pl.String)
    if several:
        # The fifth parameter holds the rest, where an event has more.
        joined = pl.concat_str(several, separator="|").str.strip_chars_end("|")
        data = pl.coalesce(data, joined)
    return frame.select(
        ROW,
        instants_of(frame["time"], timezone).alias("at"),
        *(_somebody(name) for name in ("callid", "queuename", "agent")),
        pl.col("event").fill_null("").str.strip_chars().str.to_uppercase(),
        data.fill_null("").str.split("|").alias("data"),
    )


def _somebody(name: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars()
    return pl.when(~text.is_in(list(_NOBODY))).then(text).alias(name)


def _say_strange(events: pl.DataFrame, raw: RawTable) -> None:
    known = [*CALL_EVENTS, *STATE_EVENTS, *_SILENT]
    strange = events.filter(~pl.col("event").is_in(known))["event"]
    if len(strange):
        names = ", ".join(strange.unique().sort().head(5))
        raw.notes.append(
            (
                "unknown-events",
                len(strange),
                f"events were not used: kpiaudit does not know them ({names})",
            )
        )


def _table(
    rows: pl.DataFrame, notes: list[tuple[str, int, str]], raw: RawTable
) -> RawTable:
    table = RawTable(pile=Pile(), rows=rows.height, encoding=raw.encoding, notes=notes)
    table.pile.add(rows)
    return table
