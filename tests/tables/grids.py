"""Small canonical tables as plain values, and the many ways to spell a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, TypeAlias

from kpiaudit.tables import schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Value: TypeAlias = "str | float | bool | None"

_START = datetime(2026, 3, 13, tzinfo=UTC)
_LETTERS = "abc ,;|\t\"'%=xyz09.-"
_WIDE = "żó漢🙂Ж"
_WEST = "éèßÜñ"  # of which no two in a row are UTF-8 by chance
WORST = ("abc", "n.n.", "12:ab", "??", "1-2-3-4-5", "12..5", "wahr?", "20x", "§7")
"""Cells that no column of instants, durations, figures or flags can read."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A canonical table as it should be read.

    Args:
        table: Which.
        names: Its columns, the key first.
        kinds: Their types in the schema.
        rows: Values: texts, seconds, figures, booleans, milliseconds since 1970.
    """

    table: str
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


def _at(rng: Random, i: int) -> int:
    # Days above 12 only: a column of slashes then tells day and month apart.
    at = _START + timedelta(days=i % 15, seconds=rng.randrange(86_400))
    return int(at.timestamp()) * 1000


def _seconds(rng: Random, i: int) -> float:
    del i
    return float(rng.randrange(5000)) + rng.choice((0.0, 0.0, 0.5, 0.25))


def _agent(rng: Random, i: int) -> str:
    del i
    return rng.choice(("007", "A1", "12345678901234567890", "7", "Q-9"))


def _code(*values: str) -> Callable[[Random, int], str]:
    return lambda rng, _: rng.choice(values)


def _text(rng: Random, i: int) -> str:
    del i
    return "".join(rng.choices(_LETTERS, k=rng.randrange(12)))


def _flag(rng: Random, i: int) -> bool:
    del i
    return rng.random() < 0.5


def _figure(*values: float) -> Callable[[Random, int], float]:
    return lambda rng, _: rng.choice(values)


_Maker: TypeAlias = "Callable[[Random, int], Value]"
_TABLES: dict[str, dict[str, _Maker]] = {
    "calls": {
        "call_id": lambda _, i: f"C{i:05d}",
        "agent_id": _agent,
        "started_at": _at,
        "talk_s": _seconds,
        "hold_s": _seconds,
        "team_id": _code("T1", "01", "north"),
        "ended_by": _code("agent", "customer", "system"),
        "resolved": _flag,
        "reason": _text,
    },
    "surveys": {
        "survey_id": lambda _, i: f"{i:07d}",
        "agent_id": _agent,
        "sent_at": _at,
        "score": _figure(1.0, 2.0, 5.0, 9.5, 10.0),
        "call_id": lambda _, i: f"C{i:05d}",
        "channel": _code("email", "sms", "ivr"),
        "comment": _text,
    },
    "tickets": {
        "ticket_id": lambda _, i: f"INC{i:06d}",
        "agent_id": _agent,
        "opened_at": _at,
        "reopen_count": _figure(0, 1, 2, 17),
        "paused_s": _seconds,
        "sla_met": _flag,
        "category": _text,
    },
    "handovers": {
        "order_id": lambda _, i: f"00{i:04d}",
        "agent_id": _agent,
        "placed_at": _at,
        "ready_at": _at,
        "handed_over_at": _at,
        "site_id": _code("S1", "02", "Łódź"),
    },
}
_NEEDED = 3


def grid(rng: Random, *, least: int = 5, most: int = 40) -> Grid:
    """Make a canonical table, some of its optional columns left out."""
    table = rng.choice(tuple(_TABLES))
    makers = _TABLES[table]
    names = [
        name
        for i, name in enumerate(makers)
        if i < _NEEDED or rng.random() < 0.5  # the first ones say which table it is
    ]
    count = rng.randint(least, rng.choice((10, 20, most)))
    kinds = [column.type for n in names if (column := schema.column(table, n))]
    return Grid(
        table=table,
        names=tuple(names),
        kinds=tuple(kinds),
        rows=tuple(tuple(makers[n](rng, i) for n in names) for i in range(count)),
    )


def stained(rng: Random, grid: Grid, encoding: str) -> Grid:
    """Put letters of an encoding, beyond ASCII, into the texts."""
    ink = _WIDE + _WEST if encoding.startswith("utf") else _WEST
    rows = tuple(
        tuple(
            value + rng.choice(ink) + "x"
            if kind == "text" and isinstance(value, str) and rng.random() < 0.5
            else _western(value, encoding)
            for value, kind in zip(row, grid.kinds, strict=True)
        )
        for row in grid.rows
    )
    return Grid(table=grid.table, names=grid.names, kinds=grid.kinds, rows=rows)


def _western(value: Value, encoding: str) -> Value:
    if isinstance(value, str) and not encoding.startswith("utf"):
        return value.encode("ascii", "replace").decode()
    return value


def _instant(form: str) -> Callable[[float], str]:
    return lambda ms: f"{datetime.fromtimestamp(ms / 1000, tz=UTC):{form}}"


def _offset(ms: float) -> str:
    zone = timezone(timedelta(hours=2))
    return f"{datetime.fromtimestamp(ms / 1000, tz=zone):%Y-%m-%dT%H:%M:%S}+02:00"


def _clock(seconds: float) -> str:
    whole, rest = divmod(seconds, 1)
    hours, left = divmod(int(whole), 3600)
    fraction = f"{rest:.2f}"[1:] if rest else ""
    return f"{hours}:{left // 60:02d}:{left % 60:02d}{fraction}"


SPELLINGS: dict[str, dict[str, Callable[..., str]]] = {
    "instant": {
        "plain": _instant("%Y-%m-%d %H:%M:%S"),
        "zulu": _instant("%Y-%m-%dT%H:%M:%SZ"),
        "offset": _offset,
        "dots": _instant("%d.%m.%Y %H:%M:%S"),
        "day first": _instant("%d/%m/%Y %H:%M:%S"),
        "month first": _instant("%m/%d/%Y %H:%M:%S"),
        "twelve hours": _instant("%m/%d/%Y %I:%M:%S %p"),
        "named": _instant("%d %b %Y %H:%M:%S"),
        "basic": _instant("%Y%m%d%H%M%S"),
        "epoch": lambda ms: str(int(ms // 1000)),
        "epoch ms": lambda ms: str(int(ms)),
        "excel": lambda ms: f"{ms / 86_400_000 + 25_569:.10f}",
    },
    "duration": {
        "plain": lambda s: f"{s:g}",
        "decimal": lambda s: f"{s:.2f}",
        "comma": lambda s: f"{s:.2f}".replace(".", ","),
        "thousands": lambda s: f"{s:,.2f}",
        "clock": _clock,
    },
    "number": {
        "plain": lambda x: f"{x:g}",
        "comma": lambda x: f"{x:.1f}".replace(".", ","),
    },
    "count": {"plain": lambda n: str(int(n)), "decimal": lambda n: f"{n:.1f}"},
    "flag": {
        "word": lambda b: "true" if b else "false",
        "digit": lambda b: str(int(b)),
        "yes": lambda b: "Yes" if b else "NO",
    },
}
"""How the values of a kind may be written; texts, ids and codes stand as they are."""

UNITS = {"ms": 1000.0, "min": 1 / 60, "h": 1 / 3600}
"""Units of durations that a mapping file declares, and how many make a second."""
