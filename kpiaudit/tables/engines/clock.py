"""Local day and hour from instants by whole numbers only: alike on every engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import narwhals as nw

if TYPE_CHECKING:
    from kpiaudit.tables.dataset import Frame

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def with_clock(frame: Frame, timezone: str, span: tuple[int, int]) -> Frame:
    """Add `day` and `hour` to a frame with `at_ms`.

    Engines differ in how they write zones and in which rules they know; the offsets of
    a zone over a period are a handful of numbers, which Python's own rules give.

    Args:
        frame: With `at_ms`, milliseconds since 1970 in UTC, never below 0.
        timezone: Zone of the days and hours.
        span: First and last instant.
    """
    first, changes = offsets(timezone, span)
    local = nw.col("at_ms") + first
    for at, step in changes:
        moved = nw.when(nw.col("at_ms") >= at).then(step).otherwise(0)
        local = local + moved.cast(nw.Int64)
    return frame.with_columns(
        day=(local // _DAY_MS).cast(nw.Int64),
        hour=((local // _HOUR_MS) % 24).cast(nw.Int64),
    )


def offsets(
    timezone: str, span: tuple[int, int]
) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Return a zone's offset at the start of a period, and its changes within.

    Returns:
        The first offset from UTC, and pairs of an instant and the step of the offset
        from then on; all in milliseconds.

    >>> offsets("Europe/Berlin", (1_767_225_600_000, 1_780_000_000_000))
    (3600000, ((1774746000000, 3600000),))
    """
    zone = ZoneInfo(timezone)
    low, high = span
    first = now = _offset(zone, low)
    changes: list[tuple[int, int]] = []
    while low < high:
        # Zones do not change twice within twelve hours.
        ahead = min(low + _DAY_MS // 2, high)
        there = _offset(zone, ahead)
        if there != now:
            at = _first_with(zone, low, ahead, now)
            changes.append((at, there - now))
            now = there
        low = ahead
    return first, tuple(changes)


def _offset(zone: ZoneInfo, ms: int) -> int:
    moment = (_EPOCH + timedelta(milliseconds=ms)).astimezone(zone)
    offset = moment.utcoffset() or timedelta(0)
    return round(offset.total_seconds() * 1000)


def _first_with(zone: ZoneInfo, low: int, high: int, before: int) -> int:
    """Return the first millisecond whose offset is another than before."""
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high
