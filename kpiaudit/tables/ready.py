"""The assembled table within the period, without what holds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from kpiaudit.frozen import frozen
from kpiaudit.tables import schema
from kpiaudit.tables.sentence import SHOWN, Sentence

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from kpiaudit.tables.assemble import Assembled
    from kpiaudit.tables.look import Look

Period: TypeAlias = "tuple[int | None, int | None]"
"""First instant of a period and the first after it, in epoch milliseconds."""

LONGEST_S = 1e12
"""Durations above this many seconds are no numbers of milliseconds any more."""
_HEAD = 100_000


@frozen
class Ready:
    """A canonical table as it is scanned.

    Args:
        frame: Its columns, `at_ms`, `day` and `hour` included.
        columns: Their names.
        rows: Rows in the period.
        changed: Whether durations were emptied.
        span: First and last anchor instant; None if nothing dates the rows.
    """

    frame: pl.LazyFrame
    columns: frozenset[str]
    rows: int
    changed: bool
    span: tuple[int, int] | None


def doubtful(frame: pl.LazyFrame) -> list[str]:
    """Return the columns that hold nothing in the first rows: most show there."""
    head = frame.head(_HEAD).select(pl.all().count()).collect(engine="streaming")
    return [name for name in head.columns if not head[name][0]]


def facts(
    table: str,
    names: Collection[str],
    *,
    doubtful: Iterable[str],
    stamps: Sequence[str],
) -> dict[str, pl.Expr]:
    """Return counts over a dated table that decide what is taken out of it.

    Args:
        table: Canonical table.
        names: Its columns.
        doubtful: Those of them that may hold nothing.
        stamps: Those of them that date the rows.
    """
    timed = _durations(table, names)
    wanted = {"rows": pl.len()}
    wanted |= {f"filled\t{n}": pl.col(n).count() for n in doubtful}
    wanted |= {f"negative\t{n}": (pl.col(n) < 0).sum() for n in timed}
    wanted |= {f"endless\t{n}": (pl.col(n) > LONGEST_S).sum() for n in timed}
    if "at_ms" in names:
        wanted |= {"low": pl.col("at_ms").min(), "high": pl.col("at_ms").max()}
        wanted["undated"] = pl.col(stamps[0]).null_count()
    if table == "calls" and {"agent_id", "talk_s", "outcome"} <= {*names}:
        talked = pl.col("agent_id").is_not_null() & pl.col("talk_s").is_not_null()
        wanted["unanswered"] = (talked & (pl.col("outcome") != "answered")).sum()
    return wanted


def _durations(table: str, names: Collection[str]) -> list[str]:
    return [
        c.name for c in schema.TABLES[table] if c.type == "duration" and c.name in names
    ]


def ready(done: Assembled, look: Look) -> Ready:
    """Take out of a table what holds nothing.

    Durations below zero count as empty; both are noted in `done`.

    Args:
        done: The table.
        look: What a reading of it has told.
    """
    frame, found = look.frame, look.facts
    names = frame.collect_schema().names()
    negative = [n for n in _durations(done.table, names) if found[f"negative\t{n}"]]
    beyond = [n for n in _durations(done.table, names) if found[f"endless\t{n}"]]
    for name in negative:
        text = f"rows have a {name} below zero, which counts as empty"
        rows = _first(frame, schema.key(done.table), pl.col(name) < 0)
        text += f" (such as {', '.join(rows)})" if rows else ""
        told = Sentence(text, rows)
        done.notes.append(("negative-durations", found[f"negative\t{name}"], told))
        frame = frame.with_columns(pl.when(pl.col(name) >= 0).then(name).alias(name))
    for name in beyond:
        done.notes.append(endless(name, found[f"endless\t{name}"]))
        sane = pl.col(name) <= LONGEST_S
        frame = frame.with_columns(pl.when(sane).then(name).alias(name))
    # A key stays: rules need it, and it may be empty in this period alone.
    kept = schema.key(done.table)
    void = [n for n in look.doubtful if not found[f"filled\t{n}"]]
    empty = [n for n in void if found["rows"] and n != kept]
    if empty:
        one = len(empty) == 1
        which = "column holds" if one else "columns hold"
        counts = "counts" if one else "count"
        text = f"mapped {which} nothing and {counts} as absent: {', '.join(empty)}"
        done.notes.append(("empty-columns", len(empty), text))
        frame = frame.drop(empty)
    low, high = found.get("low"), found.get("high")
    return Ready(
        frame=frame if done.lazy else frame.collect().lazy(),
        columns=frozenset(n for n in names if n not in empty),
        rows=int(found["rows"]),
        changed=bool(negative or beyond),
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


def within(frame: pl.LazyFrame, period: Period) -> pl.LazyFrame:
    """Keep the rows of a dated table that are in the period."""
    if "at_ms" not in frame.collect_schema().names():
        return frame
    start, end = period
    if start is not None:
        frame = frame.filter(pl.col("at_ms") >= start)
    if end is not None:
        frame = frame.filter(pl.col("at_ms") < end)
    return frame
