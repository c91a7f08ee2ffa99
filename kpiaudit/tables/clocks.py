"""Notes on clocks: set back in the middle of an export, or wrong at one place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np
import polars as pl

from kpiaudit.findings import DataNote
from kpiaudit.frozen import frozen
from kpiaudit.tables import schema
from kpiaudit.tables.engine import collect, flag
from kpiaudit.tables.parts import parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from kpiaudit.tables.columns import Converted
    from kpiaudit.tables.dataset import Frame

_MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_STEP_MS = 25 * 3_600_000
_FEWEST = 200  # rows, below which an order may be chance
_MOST = 50  # places that are looked at; more means that the order is another one
_SHARE = 0.001
_SPAN = 20  # lengths of its jump that an export must last
_SHOWN = 3
_PLACES = ("site_id", "station")
_PLACE_FEWEST = 10
_PLACE_SHARE = 0.05
_PLACE_TIMES = 10


@frozen
class _Jump:
    """A row that stands before the one above it; instants in milliseconds."""

    name: str | None
    before: int | None
    above: int
    here: int
    below: int | None

    @property
    def alone(self) -> bool:
        """Say whether one row is off and the others go on in order."""
        return self._above_off or (self.below is not None and self.below >= self.above)

    @property
    def _above_off(self) -> bool:
        return self.before is not None and self.before <= self.here

    @property
    def back_ms(self) -> int:
        """How far it goes back."""
        return self.above - self.here


@frozen
class Jumps:
    """What is to be said of a file's clock, and which instants it passed twice.

    Args:
        note: The note.
        doubled: From the first instant after the clock was set back to the last before
            it, in milliseconds since 1970, for each time that it was.
    """

    note: DataNote
    doubled: tuple[tuple[int, int], ...]


@dataclass(kw_only=True)
class Backwards:
    """Rows that go back by more than a minute, met while a table is read in parts.

    Args:
        found: These rows; no further ones once there are too many for an order.
    """

    found: list[_Jump] = field(default_factory=list)
    _last: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _open: bool = False

    @property
    def too_many(self) -> bool:
        """Say whether the rows stand in another order than that of time."""
        return len(self.found) > _MOST

    def take(self, part: pl.DataFrame) -> None:
        """Take the next rows: `at` in milliseconds, and their `name`."""
        if self.too_many:
            return
        rows = part.filter(pl.col("at").is_not_null())
        if rows.is_empty():
            return
        at = rows["at"].to_numpy()
        if self._open:
            self.found[-1] = replace(self.found[-1], below=int(at[0]))
        begun = len(self._last)
        every = np.concatenate((self._last, at))
        back = np.flatnonzero(every[:-1] - every[1:] > _MINUTE_MS) + 1
        back = back[back >= begun][: _MOST + 1 - len(self.found)]
        for i in back.tolist():
            jump = _Jump(
                name=rows["name"][i - begun],
                before=int(every[i - 2]) if i > 1 else None,
                above=int(every[i - 1]),
                here=int(every[i]),
                below=int(every[i + 1]) if i + 1 < len(every) else None,
            )
            self.found.append(jump)
        self._open = len(back) > 0 and self.found[-1].below is None
        self._last = every[-2:]


def told_by_order(pieces: Sequence[tuple[str, Converted]]) -> bool:
    """Say whether the rows of a table are one file's, and may tell of its clock."""
    return len(pieces) == 1 and bool(_stamps(pieces[0][1]))


def jumps(
    display: str, piece: Converted, back: Backwards | None = None
) -> Iterator[Jumps]:
    """Note where the clock of a file in order of time goes back.

    Only where the order of rows means something: within one file or frame that polars
    reads, and only if, but for a few places, its rows stand in the order of time. An
    export sorted by agent, by day and site or by its calls' ends has more places, or
    goes farther back, and is passed over.

    Args:
        display: Name of the file.
        piece: Its rows, in its order.
        back: Its rows that go back, if they were looked for; else they are here.
    """
    stamps = _stamps(piece)
    if not stamps:
        return
    found = (back or _backwards(piece, stamps)).found
    if not found or len(found) > min(_MOST, max(2, round(_SHARE * piece.rows))):
        return
    steps = [j for j in found if not j.alone]
    strays = [j for j in found if j.alone]
    if any(j.back_ms <= _DAY_MS for j in strays):
        return  # such as an export in the order of the calls' ends
    longest = max((j.back_ms for j in steps), default=0)
    span_ms = _span(piece, stamps)
    often = len(steps) > 2 + span_ms / (30 * _DAY_MS)
    if longest > _STEP_MS or longest * _SPAN > span_ms or often:
        return
    named = schema.key(piece.table) in piece.columns
    nameless = "a row without id" if named else "a row"
    shown = [f"{j.name or nameless} at {_instant(j.here)}" for j in found[:_SHOWN]]
    note = DataNote(
        table=piece.table,
        kind="clock-jumps",
        count=len(found),
        detail=f"{display}: its rows stand in the order of {stamps[0]}, but the clock "
        f"goes back at {len(found)} of them (such as {', '.join(shown)}): it was set, "
        "an hour was written twice, or single stamps are wrong.",
        examples=tuple(shown),
    )
    yield Jumps(note=note, doubled=tuple((j.here, j.above) for j in steps))


def _stamps(piece: Converted) -> list[str]:
    """Return the columns that date a piece, if it has rows enough for an order."""
    anchors = schema.ANCHORS.get(piece.table, ()) if piece.rows >= _FEWEST else ()
    return [name for name in anchors if name in piece.columns]


def _backwards(piece: Converted, stamps: Sequence[str]) -> Backwards:
    """Read a piece for the rows that go back."""
    key = schema.key(piece.table)
    name = pl.col(str(key)).cast(pl.String) if key in piece.columns else None
    at = pl.coalesce(stamps).cast(pl.Int64)
    rows = piece.frame.select(at=at, name=pl.lit(None) if name is None else name)
    back = Backwards()
    for part in parts(rows, ("at", "name"), in_order=True):
        back.take(part)
        if back.too_many:
            break
    return back


def _span(piece: Converted, stamps: Sequence[str]) -> int:
    """Return how long an export usually is, in milliseconds.

    A wrong year at the edge makes no long export: tenths of its rows make the span.
    """
    at = pl.coalesce(stamps).cast(pl.Int64).drop_nulls()
    ends = piece.frame.select(low=at.quantile(0.1), high=at.quantile(0.9))
    low, high = ends.collect(engine="streaming").row(0)
    return round((high - low) / 0.8) if low is not None else 0


def _instant(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def places(
    table: str,
    frame: Frame,
    columns: frozenset[str],
    order: Sequence[tuple[str, str]],
) -> Iterator[DataNote]:
    """Note sites and stations at which stamps stand in the wrong order by far oftener.

    In the portable subset.

    Args:
        table: Canonical table.
        frame: Its rows.
        columns: Columns that hold anything.
        order: Pairs of instants of which the second can't be the earlier.
    """
    for place in (n for n in _PLACES if n in columns):
        wanted = {
            f"n{i}": flag(nw.col(then) < nw.col(first)).sum()
            for i, (first, then) in enumerate(order)
        }
        counts = (
            frame.filter(~nw.col(place).is_null())
            .group_by(place)
            .agg(rows=nw.len(), **wanted)
            .sort(place)
        )
        got = collect({"": counts})[""]
        for i, (first, then) in enumerate(order):
            yield from _wrong(table, got, place, (f"n{i}", f"{then} before {first}"))


def _wrong(
    table: str, got: pl.DataFrame, place: str, told: tuple[str, str]
) -> Iterator[DataNote]:
    column, what = told
    names = got[place].to_list()
    bad, rows = got[column].to_list(), got["rows"].to_list()
    for name, k, n in zip(names, bad, rows, strict=True):
        others = (sum(bad) - k) / max(sum(rows) - n, 1)
        clear = k >= _PLACE_FEWEST and k >= _PLACE_SHARE * n
        if len(names) > 1 and clear and k / n >= _PLACE_TIMES * others:
            yield DataNote(
                table=table,
                kind="clock-differs",
                count=k,
                detail=f"{place} {name}: {k:,} of {n:,} rows ({k / n:.0%}) have {what},"
                f" and {others:.1%} elsewhere: its clock differs from the others'.",
                examples=(name,),
            )
