"""A table read once, part by part, for everything that is asked of it.

Polars fills one group-by at a time and keeps the rows that others wait for in memory.
Counts of parts can be added up, so that no row has to wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from kpiaudit.tables.ahead import produced

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

_ROWS = 500_000
"""Rows of a part: some 60 MB of ten columns."""
_GROUPS = 100_000
"""Groups that are kept apart, part by part, before they are added up."""


def parts(
    frame: pl.LazyFrame,
    wanted: Collection[str] | None = None,
    *,
    in_order: bool = False,
) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table, some at a time.

    Args:
        frame: The table; one without rows gives one part without rows.
        wanted: Its columns that are read; None stands for all.
        in_order: Whether the parts have to come in the table's order, which costs
            memory.
    """
    # In the frame's own order: another one is a step in which parts wait.
    names = frame.collect_schema().names()
    read = frame.select(n for n in names if wanted is None or n in wanted)
    some = False
    for part in _batches(read, in_order=in_order):
        some = True
        yield part
    if not some:
        yield read.collect_schema().to_frame()


def _batches(frame: pl.LazyFrame, *, in_order: bool) -> Iterator[pl.DataFrame]:
    """Yield what a frame gives, and raise what stops it.

    Where a damaged file makes polars panic, its own `collect_batches` ends as if the
    file did.
    """

    def read(take: Callable[[pl.DataFrame], bool]) -> None:
        frame.sink_batches(
            take, chunk_size=_ROWS, maintain_order=in_order, engine="streaming"
        )

    return produced(read)


def roots(wanted: Iterable[pl.Expr]) -> set[str]:
    """Return the columns of which expressions are made."""
    return {name for one in wanted for name in one.meta.root_names()}


def added(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Put counts of parts together: `low`s and `high`s are compared, the rest added.

    Args:
        rows: Counts by name; those of an end begin with `low` or `high`.

    Returns:
        Counts of the whole; None for an end of which no part has one.
    """
    found: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            some = found.setdefault(name, [])
            if value is not None:
                some.append(value)
    ends = {"low": min, "high": max}
    return {
        name: ends[end](some, default=None)
        if (end := name.partition("\t")[0]) in ends
        else sum(some)
        for name, some in found.items()
    }


@dataclass(kw_only=True)
class Tally:
    """Rows by group, added up part by part.

    Args:
        per: Columns that name a group; without any there is one group.
    """

    per: tuple[str, ...]
    _some: list[pl.DataFrame] = field(default_factory=list)
    _height: int = 0
    _most: int = _GROUPS

    def add(self, groups: pl.DataFrame) -> None:
        """Take the groups of a part: `per`, and whole numbers to be added."""
        counts = pl.exclude(self.per) if self.per else pl.all()
        self._some.append(groups.with_columns(counts.cast(pl.Int64)))
        self._height += groups.height
        if self._height > self._most:
            self._most = max(_GROUPS, 2 * self.total().height)

    def total(self) -> pl.DataFrame:
        """Return what was added up to now, sorted by `per`."""
        every = pl.concat(self._some)
        if len(self._some) > 1:
            every = every.group_by(self.per).sum() if self.per else every.sum()
        every = every.sort(self.per) if self.per else every
        self._some, self._height = [every], every.height
        return every
