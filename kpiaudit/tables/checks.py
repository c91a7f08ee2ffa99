"""Notes on the data themselves: what a reader of any finding has to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.findings import DataNote
from kpiaudit.tables import schema
from kpiaudit.tables.clocks import places
from kpiaudit.tables.engine import collect, counted, flag
from kpiaudit.tables.missing import days, teams

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


@dataclass(frozen=True, kw_only=True)
class _Check:
    kind: str
    bad: nw.Expr
    detail: str
    least: int = 1
    share: float = 0.0


def check(table: str, frame: Frame, columns: frozenset[str]) -> tuple[DataNote, ...]:
    """Look at a canonical table for what is odd in it, in a few passes.

    In the portable subset, like the detectors: the same notes on every engine.

    Args:
        table: Which.
        frame: Its rows, with `at_ms`, `day` and `hour` if it is dated.
        columns: Columns that hold anything.
    """
    checks = list(_checks(table, columns))
    counts = {f"n{i}": _sum(one.bad) for i, one in _at(checks)}
    got = counted(
        _with_talk(frame, columns), counts | _heaps(columns) | {"rows": nw.len()}
    )
    found = [
        (i, one)
        for i, one in _at(checks)
        if got[f"n{i}"] >= max(one.least, one.share * got["rows"])
    ]
    for one, count in _heaping(columns, got):
        got[f"n{len(checks)}"] = count
        found.append((len(checks), one))
        checks.append(one)
    # Examples cost more than counts, and most exports need none.
    some = _examples(table, frame, columns, found)
    notes = [
        DataNote(
            table=table,
            kind=one.kind,
            count=int(got[f"n{i}"]),
            detail=one.detail
            + (f" (such as {', '.join(some[i])})." if some.get(i) else "."),
            examples=tuple(some.get(i, ())),
        )
        for i, one in found
    ]
    if any(one.kind == _DISORDER for _, one in found):
        order = [pair for pair in _ORDER[table] if columns.issuperset(pair)]
        notes += places(table, frame, columns, order)
    if "day" in columns:
        notes += days(table, frame)
        notes += teams(table, frame, columns)
    return tuple(notes)


def _examples(
    table: str, frame: Frame, columns: frozenset[str], found: list[tuple[int, _Check]]
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
        for i, c in found
    }
    return {int(i): rows[name].to_list() for i, rows in collect(first).items()}


def _at(checks: list[_Check]) -> list[tuple[int, _Check]]:
    return list(enumerate(checks))


def _sum(condition: nw.Expr) -> nw.Expr:
    return flag(condition).sum()


def _checks(table: str, columns: frozenset[str]) -> Iterator[_Check]:
    for c in schema.TABLES[table]:
        if c.type == "duration" and c.name in columns and c.name != "paused_s":
            yield _Check(
                kind="impossible-durations",
                bad=nw.col(c.name) > _DAY_S,
                detail=f"Rows with {c.name} above a day; look at its unit",
            )
    for first, then in _ORDER.get(table, ()):
        if {first, then} <= columns:
            yield _Check(
                kind=_DISORDER,
                bad=nw.col(then) < nw.col(first),
                detail=f"Rows with {then} before {first}",
            )
    if {"talk_s", "answered_at", "ended_at"} <= columns:
        hold = nw.col("hold_s").fill_null(0.0) if "hold_s" in columns else nw.lit(0.0)
        span = (nw.col("ended_at") - nw.col("answered_at")) / 1000 - hold
        yield _Check(
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
            kind="rounded-durations",
            bad=some & (talk % (step * 1000) == 0),
            detail=f"{share[step]:.0%} of the values of talk_s are whole multiples of "
            f"{step} s, where 1 in {step} would be by chance: they were rounded, and "
            "thresholds within a step can't be seen",
        )
        yield one, int(got[f"by{step}"])
