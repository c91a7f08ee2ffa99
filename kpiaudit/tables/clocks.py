"""Notes on clocks: set back in the middle of an export, or wrong at one place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import narwhals as nw
import polars as pl

from kpiaudit.findings import DataNote
from kpiaudit.tables import schema
from kpiaudit.tables.engine import collect, flag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


@dataclass(frozen=True, kw_only=True)
class _Jump:
    """A row that stands before the one above it; instants in milliseconds."""

    name: str
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


@dataclass(frozen=True, kw_only=True)
class Jumps:
    """What is to be said of a file's clock, and which instants it passed twice.

    Args:
        note: The note.
        doubled: From the first instant after the clock was set back to the last before
            it, in milliseconds since 1970, for each time that it was.
    """

    note: DataNote
    doubled: tuple[tuple[int, int], ...]


def jumps(display: str, piece: Converted) -> Iterator[Jumps]:
    """Note where the clock of a file in order of time goes back.

    Only where the order of rows means something: within one file or frame that polars
    reads, and only if, but for a few places, its rows stand in the order of time. An
    export sorted by agent, by day and site or by its calls' ends has more places, or
    goes farther back, and is passed over.

    Args:
        display: Name of the file.
        piece: Its rows, in its order.
    """
    stamps = [n for n in schema.ANCHORS.get(piece.table, ()) if n in piece.columns]
    if not stamps or piece.rows < _FEWEST:
        return
    found, span_ms = _backwards(piece, stamps)
    if len(found) > min(_MOST, max(2, round(_SHARE * piece.rows))):
        return
    steps = [j for j in found if not j.alone]
    strays = [j for j in found if j.alone]
    if any(j.back_ms <= _DAY_MS for j in strays) or not found:
        return  # such as an export in the order of the calls' ends
    longest = max((j.back_ms for j in steps), default=0)
    often = len(steps) > 2 + span_ms / (30 * _DAY_MS)
    if longest > _STEP_MS or longest * _SPAN > span_ms or often:
        return
    shown = [f"{j.name} at {_instant(j.here)}" for j in found[:_SHOWN]]
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


def _backwards(piece: Converted, stamps: Sequence[str]) -> tuple[list[_Jump], int]:
    """Return the rows that go back by more than a minute, and the usual span."""
    key = schema.key(piece.table)
    named = key if key in piece.columns else None
    name = pl.col(named).cast(pl.String) if named else pl.lit("a row")
    at = pl.coalesce(stamps).cast(pl.Int64)
    rows = piece.frame.select(at=at, name=name).filter(pl.col("at").is_not_null())
    beside = rows.with_columns(
        before=pl.col("at").shift(2),
        above=pl.col("at").shift(1),
        below=pl.col("at").shift(-1),
    )
    back = beside.filter(pl.col("above") - pl.col("at") > _MINUTE_MS).head(_MOST + 1)
    # A wrong year at the edge makes no long export: tenths of its rows make the span.
    middle = rows.select(
        low=pl.col("at").quantile(0.1), high=pl.col("at").quantile(0.9)
    )
    jumps_, span = pl.collect_all([back, middle], engine="streaming")
    low, high = span.row(0)
    found = [
        _Jump(
            name=row["name"] or "a row without id",
            before=row["before"],
            above=row["above"],
            here=row["at"],
            below=row["below"],
        )
        for row in jumps_.to_dicts()
    ]
    return found, round((high - low) / 0.8) if low is not None else 0


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
