"""The assembled table within the period, without what holds nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from kpiaudit.tables import schema
from kpiaudit.tables.assemble import anchors, dated
from kpiaudit.tables.sentence import SHOWN, Sentence

if TYPE_CHECKING:
    from kpiaudit.tables.assemble import Assembled

Period: TypeAlias = "tuple[int | None, int | None]"
"""First instant of a period and the first after it, in epoch milliseconds."""

LONGEST_S = 1e12
"""Durations above this many seconds are no numbers of milliseconds any more."""
_HEAD = 100_000


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A canonical table as it is scanned.

    Args:
        frame: Its columns, `at_ms`, `day` and `hour` included.
        columns: Their names.
        rows: Rows in the period.
        span: First and last anchor instant; None if nothing dates the rows.
    """

    frame: pl.LazyFrame
    columns: frozenset[str]
    rows: int
    span: tuple[int, int] | None


def ready(done: Assembled, timezone: str, period: Period) -> Ready:
    """Date a table, keep the period, and take out columns that hold nothing.

    Durations below zero count as empty; both are noted in `done`.
    """
    stamps = anchors(done)
    frame = _within(dated(done, timezone, stamps), period)
    names = frame.collect_schema().names()
    negative = [
        c.name
        for c in schema.TABLES[done.table]
        if c.type == "duration" and c.name in names
    ]
    # Most columns show in the first rows that they hold something.
    head = frame.head(_HEAD).select(pl.all().count()).collect(engine="streaming")
    doubtful = [n for n in names if not head[n][0]]
    wanted = {n: pl.col(n).count() for n in doubtful}
    wanted |= {f"{n}\t-": (pl.col(n) < 0).sum() for n in negative}
    wanted |= {f"{n}\t+": (pl.col(n) > LONGEST_S).sum() for n in negative}
    if "at_ms" in names:
        wanted |= {"\tlow": pl.col("at_ms").min(), "\thigh": pl.col("at_ms").max()}
        wanted["\tundated"] = pl.col(stamps[0]).null_count()
    got = frame.select(pl.len().alias("\trows"), **wanted)
    facts = got.collect(engine="streaming").row(0, named=True)
    if not facts.get("\tundated", 1):
        # One instant dates all rows: no query has to read the others for it.
        frame = _within(dated(done, timezone, stamps[:1]), period)
    for name in (n for n in negative if facts[f"{n}\t-"]):
        text = f"rows have a {name} below zero, which counts as empty"
        rows = _first(frame, schema.key(done.table), pl.col(name) < 0)
        text += f" (such as {', '.join(rows)})" if rows else ""
        told = Sentence(text, rows)
        done.notes.append(("negative-durations", facts[f"{name}\t-"], told))
        frame = frame.with_columns(pl.when(pl.col(name) >= 0).then(name).alias(name))
    for name in (n for n in negative if facts[f"{n}\t+"]):
        done.notes.append(endless(name, facts[f"{name}\t+"]))
        sane = pl.col(name) <= LONGEST_S
        frame = frame.with_columns(pl.when(sane).then(name).alias(name))
    # A key stays: rules need it, and it may be empty in this period alone.
    kept = schema.key(done.table)
    empty = [n for n in doubtful if not facts[n] and facts["\trows"] and n != kept]
    if empty:
        one = len(empty) == 1
        which = "column holds" if one else "columns hold"
        counts = "counts" if one else "count"
        text = f"mapped {which} nothing and {counts} as absent: {', '.join(empty)}"
        done.notes.append(("empty-columns", len(empty), text))
        frame = frame.drop(empty)
    low, high = facts.get("\tlow"), facts.get("\thigh")
    return Ready(
        frame=frame if done.lazy else frame.collect().lazy(),
        columns=frozenset(n for n in names if n not in empty),
        rows=int(facts["\trows"]),
        span=None if low is None or high is None else (int(low), int(high)),
    )


def _first(frame: pl.LazyFrame, key: str | None, bad: pl.Expr) -> list[str]:
    """Return the first few ids of the rows for which something holds."""
    if key not in frame.collect_schema().names():
        return []
    some = frame.filter(bad & pl.col(str(key)).is_not_null()).select(key).head(SHOWN)
    return some.collect(engine="streaming").to_series().to_list()


def endless(name: str, count: int) -> tuple[str, int, str]:
    """Say how many durations no calendar can hold: kind, count, sentence."""
    text = f"rows have a {name} longer than any calendar, which counts as empty"
    return "impossible-durations", count, text


def _within(frame: pl.LazyFrame, period: Period) -> pl.LazyFrame:
    if "at_ms" not in frame.collect_schema().names():
        return frame
    start, end = period
    if start is not None:
        frame = frame.filter(pl.col("at_ms") >= start)
    if end is not None:
        frame = frame.filter(pl.col("at_ms") < end)
    return frame
