"""Notes on the data themselves: what a reader of any finding has to know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.findings import DataNote
from kpiaudit.tables import schema
from kpiaudit.tables.clocks import places
from kpiaudit.tables.engine import collect, counted, flag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kpiaudit.tables.dataset import Frame

_DAY_S = 86_400
_LONG_S = 3 * 3600
_LONGEST_S = 1e12
_FEW = 5
_ENOUGH = 20  # rows a day, below which the last hour of a day says little
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
    got = counted(frame, counts | _heaps(columns) | {"rows": nw.len()})
    found = [
        (i, one)
        for i, one in _at(checks)
        if got[f"n{i}"] >= max(one.least, one.share * got["rows"])
    ]
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
    notes += _heaping(table, columns, got)
    if "day" in columns:
        notes += _days(table, frame)
        notes += _teams(table, frame, columns)
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


def _heaps(columns: frozenset[str]) -> dict[str, nw.Expr]:
    if "talk_s" not in columns:
        return {}
    # A slip of the pen may be a number that no count of milliseconds can hold.
    sane = nw.when(nw.col("talk_s").abs() < _LONGEST_S).then(nw.col("talk_s"))
    talk = (sane * 1000).round().cast(nw.Int64)
    some = talk > 0
    found = {"talks": _sum(some), "long": _sum(nw.col("talk_s") > _LONG_S)}
    for step in _STEPS:
        found[f"by{step}"] = _sum(some & (talk % (step * 1000) == 0))
    return found


def _heaping(
    table: str, columns: frozenset[str], got: dict[str, Any]
) -> Iterable[DataNote]:
    if "talk_s" not in columns or got["talks"] < 200:
        return
    if got["long"] > got["talks"] / 2:
        yield DataNote(
            table=table,
            kind="unlikely-unit",
            count=int(got["talks"]),
            detail="Half of the calls have a talk_s above three hours; if it is in "
            "milliseconds, say 'unit: ms' in a mapping file.",
        )
    share = {step: got[f"by{step}"] / got["talks"] for step in _STEPS}
    # Multiples of 60 are multiples of 6 too: the step that explains most is named.
    step = max(_STEPS, key=lambda n: share[n] - 1 / n)
    if share[step] > 3 / step + 0.1:
        yield DataNote(
            table=table,
            kind="rounded-durations",
            count=int(got[f"by{step}"]),
            detail=f"{share[step]:.0%} of the values of talk_s are whole multiples of "
            f"{step} s, where 1 in {step} would be by chance: they were rounded, and "
            "thresholds within a step can't be seen.",
        )


def _days(table: str, frame: Frame) -> Iterator[DataNote]:
    by_day = (
        frame.filter(~nw.col("day").is_null())
        .group_by("day")
        .agg(n=nw.len(), last=nw.col("hour").max())
        .sort("day")
    )
    days = collect({"": by_day})[""]
    if days.height < 7:
        return
    count = dict(zip(days["day"].to_list(), days["n"].to_list(), strict=True))
    last = max(count)
    gone = _gone(count)
    if gone and table in {"calls", "tickets", "surveys", "agent_states"}:
        shown = ", ".join(str(_date(d)) for d in gone[:5])
        yield DataNote(
            table=table,
            kind="missing-days",
            count=len(gone),
            detail=f"Days without a row on weekdays that usually have many ({shown}"
            f"{', ...' if len(gone) > 5 else ''}): holidays, or missing in the export.",
            examples=tuple(str(_date(d)) for d in gone[:_SHOWN]),
        )
    usual = sorted(days["last"].to_list()[:-1])
    typical = usual[len(usual) // 10]
    middle = sorted(count[d] for d in count if d % 7 == last % 7 and d != last)
    end = days["last"].to_list()[-1]
    enough = middle and middle[len(middle) // 2] >= _ENOUGH
    if enough and end + 1 < typical and count[last] < 0.7 * middle[len(middle) // 2]:
        yield DataNote(
            table=table,
            kind="cut-off-day",
            count=count[last],
            detail=f"The last day, {_date(last)}, ends at {end} h, earlier than others:"
            " the export was cut off in the middle of it.",
            examples=(str(_date(last)),),
        )


def _usual(count: dict[int, int]) -> list[float]:
    """Return, by day modulo 7, on which share of these weekdays there are rows.

    One wrong year makes a span of decades: what is counted here is counted once.
    """
    first, last = min(count), max(count)
    shares: list[float] = []
    for weekday in range(7):
        met = sum(day % 7 == weekday for day in count)
        all_of_them = (last - weekday) // 7 - (first - 1 - weekday) // 7
        shares.append(met / all_of_them if all_of_them > 2 else 0.0)
    return shares


def _gone(count: dict[int, int]) -> list[int]:
    """Return the days without a row on weekdays that nearly always have many.

    The rhythm of the week is learned: a weekday on which three in ten days have no rows
    is one on which the place closes now and then. Where there are few rows a day, some
    days have none by chance.
    """
    often = _usual(count)
    usual: set[int] = set()
    for weekday in range(7):
        sizes = sorted(n for day, n in count.items() if day % 7 == weekday)
        if often[weekday] >= 0.7 and sizes[len(sizes) // 2] >= _ENOUGH:
            usual.add(weekday)
    return [
        d for d in range(min(count), max(count)) if d not in count and d % 7 in usual
    ]


def _teams(table: str, frame: Frame, columns: frozenset[str]) -> Iterator[DataNote]:
    """Note teams without a row on days on which they usually have many."""
    if not {"team_id", "day"} <= columns:
        return
    by_team = (
        frame.filter(~nw.col("team_id").is_null() & ~nw.col("day").is_null())
        .group_by("team_id", "day")
        .agg(n=nw.len())
        .sort("team_id", "day")
    )
    size = collect({"": by_team})[""]
    teams: dict[str, dict[int, int]] = {}
    for team, day, n in zip(*(size[c].to_list() for c in size.columns), strict=True):
        teams.setdefault(team, {})[day] = n
    # Days without anybody are no team's: they are noted for the whole table.
    floor = {day for count in teams.values() for day in count}
    found = {
        team: [d for d in _gone(count) if d in floor]
        for team, count in teams.items()
        if len(count) >= 7
    }
    shown = [f"{team} on {_date(gone[0])}" for team, gone in found.items() if gone]
    if shown:
        yield DataNote(
            table=table,
            kind="missing-teams",
            count=sum(map(len, found.values())),
            detail="Days on which a team that usually has many rows has none, while "
            f"others have ({', '.join(shown[:_SHOWN])}"
            f"{', ...' if len(shown) > _SHOWN else ''}): off, or not exported.",
            examples=tuple(shown[:_SHOWN]),
        )


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)
