"""Notes on time that is missing: days, hours, teams, the end of the last day."""

from __future__ import annotations

from bisect import bisect
from datetime import date, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

import narwhals as nw

from kpiaudit.findings import DataNote
from kpiaudit.tables.engine import collect
from kpiaudit.tables.sentence import SHOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from kpiaudit.tables.dataset import Frame

_ENOUGH = 20  # rows a day or hour, below which its absence may be chance
_EXPECTED = 20  # rows that an empty hour would have had, by that day's other hours
_DENSE = {"calls", "tickets", "surveys", "agent_states"}
FAR_OFF = "far-off-instants"
_APART = 90  # days
_OLD = {"tickets": 5 * 365}  # a backlog holds tickets that were opened years ago
_LONE = 0.001  # share of rows


def by_hour(frame: Frame) -> Frame:
    """Count the rows `n` of a dated table by `day` and `hour`."""
    return (
        frame.filter(~nw.col("day").is_null())
        .group_by("day", "hour")
        .agg(n=nw.len())
        .sort("day", "hour")
    )


def by_team(frame: Frame) -> Frame:
    """Count the rows `n` of a dated table by `team_id` and `day`."""
    return (
        frame.filter(~nw.col("team_id").is_null() & ~nw.col("day").is_null())
        .group_by("team_id", "day")
        .agg(n=nw.len())
        .sort("team_id", "day")
    )


def days(table: str, by_hour: pl.DataFrame) -> Iterator[DataNote]:
    """Note days and hours without rows, an end within a day, and instants far off.

    Args:
        table: Canonical table.
        by_hour: Its rows by `day` and `hour`.
    """
    hours = _hours(by_hour)
    far = _far(table, hours)
    if far:
        yield _lone(table, hours, far)
        hours = {day: own for day, own in hours.items() if day not in far}
    if len(hours) < 7:
        return
    count = {day: sum(own.values()) for day, own in hours.items()}
    gone = _gone(count)
    if gone and table in _DENSE:
        shown = ", ".join(str(_date(d)) for d in gone[:5])
        yield DataNote(
            table=table,
            kind="missing-days",
            count=len(gone),
            detail=f"Days without a row on weekdays that usually have many ({shown}"
            f"{', ...' if len(gone) > 5 else ''}): holidays, or missing in the export.",
            examples=tuple(str(_date(d)) for d in gone[:SHOWN]),
        )
    silent = _silent(hours)
    if silent and table in {"calls", "surveys"}:
        shown = ", ".join(silent[:SHOWN])
        yield DataNote(
            table=table,
            kind="missing-hours",
            count=len(silent),
            detail="Hours without a row, between others, that have many on nearly every"
            f" such day ({shown}{', ...' if len(silent) > SHOWN else ''}): closed, an "
            "outage, a clock that was put forward, or missing in the export.",
            examples=tuple(silent[:SHOWN]),
        )
    last = max(count)
    usual = sorted(max(own) for day, own in hours.items() if day != last)
    typical = usual[len(usual) // 10]
    middle = sorted(count[d] for d in count if d % 7 == last % 7 and d != last)
    end = max(hours[last])
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


def near(table: str, frame: Frame) -> tuple[int, int] | None:
    """Return the first and last instant of the rows that are not far off, in ms.

    Args:
        table: Canonical table.
        frame: Rows of a canonical table, with `at_ms`, `day` and `hour`.
    """
    hours = _hours(collect({"": by_hour(frame)})[""])
    rest = set(hours) - _far(table, hours)
    if not rest:
        return None
    inside = frame.filter(nw.col("day").is_between(min(rest), max(rest)))
    ends = inside.select(low=nw.col("at_ms").min(), high=nw.col("at_ms").max())
    low, high = collect({"": ends})[""].row(0)
    return int(low), int(high)


def _hours(by_hour: pl.DataFrame) -> dict[int, dict[int, int]]:
    hours: dict[int, dict[int, int]] = {}
    for day, hour, n in by_hour.select("day", "hour", "n").rows():
        hours.setdefault(day, {})[hour] = n
    return hours


def _far(table: str, hours: dict[int, dict[int, int]]) -> set[int]:
    """Return days with next to no rows, months away from all others.

    They lie farther from the rest than the rest is long: a wrong year, or a clock that
    was not set. A quiet beginning or end of an export is nearer.
    """
    every = sorted(hours)
    rows = sum(sum(own.values()) for own in hours.values())
    room = max(3, round(_LONE * rows))
    far: set[int] = set()
    for order, apart in ((every, _OLD.get(table, _APART)), (every[::-1], _APART)):
        met = 0
        for i, day in enumerate(order[:-1]):
            met += sum(hours[day].values())
            if met > room or 20 * met > rows:
                break
            gap, rest = abs(order[i + 1] - day), abs(order[-1] - order[i + 1])
            if gap > max(apart, rest):
                far |= set(order[: i + 1])
    return far if len(far) < len(every) else set()


def _lone(table: str, hours: dict[int, dict[int, int]], far: set[int]) -> DataNote:
    shown = [str(_date(d)) for d in sorted(far)[:SHOWN]]
    rest = [d for d in hours if d not in far]
    return DataNote(
        table=table,
        kind=FAR_OFF,
        count=sum(sum(hours[d].values()) for d in far),
        detail=f"Rows months away from all others ({', '.join(shown)}"
        f"{', ...' if len(far) > SHOWN else ''}; the others lie from "
        f"{_date(min(rest))} to {_date(max(rest))}): a wrong year, a clock that was "
        "not set, or very old records. The period is that of the others.",
        examples=tuple(shown),
    )


def _silent(hours: dict[int, dict[int, int]]) -> list[str]:
    """Return hours without rows within a day that are usual on that weekday.

    And usual on such a day: a holiday with a tenth of the rows has empty hours.
    """
    found: list[str] = []
    for weekday in range(7):
        own = {day: n for day, n in hours.items() if day % 7 == weekday}
        if len(own) < 4:
            continue
        sums = {day: sum(n.values()) for day, n in own.items()}
        whole = sorted(sums.values())[len(own) // 2]
        for hour in range(24):
            sizes = sorted(n.get(hour, 0) for n in own.values())
            # One day in ten may lack it, and one day at least.
            least = sizes[max(1, len(sizes) // 10)]
            middle = sizes[len(sizes) // 2]
            if not least or middle < _ENOUGH:
                continue
            found += [
                f"{_date(day)} {hour:02d} h"
                for day, n in own.items()
                if hour not in n
                and min(n) < hour < max(n)
                and middle * sums[day] >= _EXPECTED * (whole - middle)
            ]
    return sorted(found)


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
    count = _from_first_full_day(count)
    often = _usual(count) if count else []
    usual: set[int] = set()
    for weekday in range(7 if count else 0):
        sizes = sorted(n for day, n in count.items() if day % 7 == weekday)
        if often[weekday] >= 0.7 and sizes[len(sizes) // 2] >= _ENOUGH:
            usual.add(weekday)
    return [
        d
        for d in range(min(count, default=0), max(count, default=0))
        if d not in count and d % 7 in usual
    ]


def _from_first_full_day(count: dict[int, int]) -> dict[int, int]:
    """Leave out trials before a place opened, and the old end of a backlog.

    Days before the first one with a tenth of the usual rows: between them none is
    missing. Usual is the size of the day on which the middle row stands.
    """
    sizes = sorted(count.values())
    place = bisect(list(accumulate(sizes)), sum(sizes) / 2)
    floor = sizes[min(place, len(sizes) - 1)] / 10 if sizes else 0
    first = min((day for day, n in count.items() if n >= floor), default=0)
    return {day: n for day, n in count.items() if day >= first}


def teams(table: str, by_team: pl.DataFrame) -> Iterator[DataNote]:
    """Note teams without a row on days on which they usually have many.

    Args:
        table: Canonical table.
        by_team: Its rows by `team_id` and `day`.
    """
    teams: dict[str, dict[int, int]] = {}
    for team, day, n in by_team.select("team_id", "day", "n").rows():
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
            f"others have ({', '.join(shown[:SHOWN])}"
            f"{', ...' if len(shown) > SHOWN else ''}): off, or not exported.",
            examples=tuple(shown[:SHOWN]),
        )


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)
