"""Notes on the data themselves: what a reader of any finding has to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.findings import DataNote
from kpiaudit.frozen import frozen
from kpiaudit.tables import schema
from kpiaudit.tables.clocks import places
from kpiaudit.tables.engine import collect, flag
from kpiaudit.tables.missing import by_hour, by_team, days, teams

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import polars as pl

    from kpiaudit.tables.dataset import Frame

_DAY_S = 86_400
_LONG_S = 3 * 3600
_LONGEST_S = 1e12
_FEW = 5
_ORDER = {
    "calls": (
        ("started_at", "answered_at"),
        ("answered_at", "ended_at"),
        ("started_at", "ended_at"),
    ),
    "surveys": (("sent_at", "responded_at"),),
    "tickets": (
        ("opened_at", "assigned_at"),
        ("opened_at", "first_reply_at"),
        ("opened_at", "resolved_at"),
        ("resolved_at", "closed_at"),
    ),
    "handovers": (("placed_at", "handed_over_at"), ("handed_over_at", "delivered_at")),
    "agent_states": (("started_at", "ended_at"),),
}
_DISORDER = "times-out-of-order"
_SHOWN = 3  # examples of a note
_NAMES = ("ticket_id", "agent_id", "customer_id")  # of rows without a key
_STEPS = (60, 30, 15, 10, 6, 5)
_TALK = "talk_ms_"


QUESTIONS = {"counts": (), "hours": ("day", "hour"), "teams": ("team_id", "day")}
"""What is asked of a table, and by what its rows are grouped for that."""


@frozen
class _Check:
    """What is odd in a row, and from how many such rows it is said."""

    name: str
    kind: str
    bad: nw.Expr
    detail: str
    least: int = 1
    share: float = 0.0


def asked(table: str, frame: Frame, columns: frozenset[str]) -> dict[str, Frame]:
    """Return what `check` has to know of a table, or of a part of one.

    In the portable subset, like the detectors: the same notes on every engine. All are
    counts, so that those of parts can be added up (`QUESTIONS`).

    Args:
        table: Which.
        frame: Its rows, with `at_ms`, `day` and `hour` if it is dated.
        columns: Columns of it; those that hold nothing do no harm.
    """
    wanted = {one.name: _sum(one.bad) for one in _checks(table, columns)}
    wanted |= _heaps(columns) | {"rows": nw.len()}
    found = {"counts": _with_talk(frame, columns).select(**wanted)}
    if "day" in columns:
        found["hours"] = by_hour(frame)
    if {"day", "team_id"} <= columns:
        found["teams"] = by_team(frame)
    return found


def read_for(table: str, columns: Iterable[str]) -> set[str]:
    """Return the columns that are read for what is `asked`."""
    read = {c.name for c in schema.TABLES[table] if c.type in {"duration", "instant"}}
    key = schema.key(table)
    more = {key, "team_id", "day", "hour"} if key else {"team_id", "day", "hour"}
    return (read | more) & set(columns)


def check(
    table: str,
    frame: Frame,
    columns: frozenset[str],
    answers: Mapping[str, pl.DataFrame] | None = None,
) -> tuple[DataNote, ...]:
    """Look at a canonical table for what is odd in it.

    Args:
        table: Which.
        frame: Its rows, with `at_ms`, `day` and `hour` if it is dated.
        columns: Columns that hold anything.
        answers: What was `asked` of all rows, if it was; else it is asked here.
    """
    answers = answers or collect(asked(table, frame, columns))
    (row,) = answers["counts"].to_dicts()
    got = {name: int(n or 0) for name, n in row.items()}
    found = [
        (one, got[one.name])
        for one in _checks(table, columns)
        if got[one.name] >= max(one.least, one.share * got["rows"])
    ]
    found += _heaping(columns, got)
    # Examples cost more than counts, and most exports need none.
    some = _examples(table, frame, columns, [one for one, _ in found])
    notes = [
        DataNote(
            table=table,
            kind=one.kind,
            count=count,
            detail=one.detail
            + (f" (such as {', '.join(some[i])})." if some.get(i) else "."),
            examples=tuple(some.get(i, ())),
        )
        for i, (one, count) in enumerate(found)
    ]
    if any(one.kind == _DISORDER for one, _ in found):
        order = [pair for pair in _ORDER[table] if columns.issuperset(pair)]
        notes += places(table, frame, columns, order)
    if "day" in columns:
        notes += days(table, answers["hours"])
    if {"day", "team_id"} <= columns:
        notes += teams(table, answers["teams"])
    return tuple(notes)


def _examples(
    table: str, frame: Frame, columns: frozenset[str], found: list[_Check]
) -> dict[int, list[str]]:
    """Return the first few ids of the rows that each check has found."""
    names = [n for n in (schema.key(table), *_NAMES) if n in columns]
    if not names or not found:
        return {}
    name = str(names[0])
    first = {
        str(i): frame.filter(c.bad, ~nw.col(name).is_null())
        .select(name)
        .unique()
        .sort(name)
        .head(_SHOWN)
        for i, c in enumerate(found)
    }
    return {int(i): rows[name].to_list() for i, rows in collect(first).items()}


def _sum(condition: nw.Expr) -> nw.Expr:
    return flag(condition).sum()


def _checks(table: str, columns: frozenset[str]) -> Iterator[_Check]:
    for c in schema.TABLES[table]:
        if c.type == "duration" and c.name in columns and c.name != "paused_s":
            yield _Check(
                name=f"long_{c.name}",
                kind="impossible-durations",
                bad=nw.col(c.name) > _DAY_S,
                detail=f"Rows with {c.name} above a day; look at its unit",
            )
    for first, then in _ORDER.get(table, ()):
        if {first, then} <= columns:
            yield _Check(
                name=f"{then}_before_{first}",
                kind=_DISORDER,
                bad=nw.col(then) < nw.col(first),
                detail=f"Rows with {then} before {first}",
            )
    if {"talk_s", "answered_at", "ended_at"} <= columns:
        hold = nw.col("hold_s").fill_null(0.0) if "hold_s" in columns else nw.lit(0.0)
        span = (nw.col("ended_at") - nw.col("answered_at")) / 1000 - hold
        yield _Check(
            name="disagreeing",
            kind="talk-disagrees",
            bad=(span - nw.col("talk_s")).abs() > 1,
            detail="Rows with a talk_s that differs by more than a second from "
            "ended_at - answered_at - hold_s",
            least=_FEW + 1,
            share=0.001,
        )
    key = schema.key(table)
    if key in columns:
        yield _Check(
            name="nameless",
            kind="missing-ids",
            bad=nw.col(key).is_null(),
            detail=f"Rows without {key}",
        )


def _with_talk(frame: Frame, columns: frozenset[str]) -> Frame:
    """Add the talk time in milliseconds, null where there is none."""
    if "talk_s" not in columns:
        return frame
    # Asked for six times below, and told only once how it comes about.
    talk, some = _talk_ms()
    return frame.with_columns(nw.when(some).then(talk).alias(_TALK))


def _heaps(columns: frozenset[str]) -> dict[str, nw.Expr]:
    if "talk_s" not in columns:
        return {}
    talk = nw.col(_TALK)
    found = {"talks": talk.count(), "long": _sum(nw.col("talk_s") > _LONG_S)}
    for step in _STEPS:
        found[f"by{step}"] = _sum(talk % (step * 1000) == 0)
    return found


def _talk_ms() -> tuple[nw.Expr, nw.Expr]:
    """Return the talk time in milliseconds, and whether there is any."""
    # A slip of the pen may be a number that no count of milliseconds can hold.
    sane = nw.when(nw.col("talk_s").abs() < _LONGEST_S).then(nw.col("talk_s"))
    talk = (sane * 1000).round().cast(nw.Int64)
    return talk, talk > 0


def _heaping(
    columns: frozenset[str], got: dict[str, Any]
) -> Iterable[tuple[_Check, int]]:
    if "talk_s" not in columns or got["talks"] < 200:
        return
    if got["long"] > got["talks"] / 2:
        one = _Check(
            name="long",
            kind="unlikely-unit",
            bad=nw.col("talk_s") > _LONG_S,
            detail="Half of the calls have a talk_s above three hours; if it is in "
            "milliseconds, say 'unit: ms' in a mapping file",
        )
        yield one, int(got["talks"])
    share = {step: got[f"by{step}"] / got["talks"] for step in _STEPS}
    # Multiples of 60 are multiples of 6 too: the step that explains most is named.
    step = max(_STEPS, key=lambda n: share[n] - 1 / n)
    if share[step] > 3 / step + 0.1:
        talk, some = _talk_ms()
        one = _Check(
            name=f"by{step}",
            kind="rounded-durations",
            bad=some & (talk % (step * 1000) == 0),
            detail=f"{share[step]:.0%} of the values of talk_s are whole multiples of "
            f"{step} s, where 1 in {step} would be by chance: they were rounded, and "
            "thresholds within a step can't be seen",
        )
        yield one, int(got[f"by{step}"])
