"""The canonical tables of one scan: lazy, typed, and honest about what is missing."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from zoneinfo import ZoneInfo

from kpiaudit.errors import TableError
from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date

    import narwhals as nw

    from kpiaudit.findings import DataNote, Input
    from kpiaudit.tables.order import Order
    from kpiaudit.tables.source import Source, Stamp

ROW = "__row__"
"""Column with the position of a row in its table, from 0 on, where it was sorted."""
_FEW_ROWS = 50_000
"""Up to so many rows polars takes longer to set up a stream than to count them."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Frame: TypeAlias = "nw.LazyFrame[Any]"


@frozen
class Dataset:
    """Canonical tables as lazy frames, with what is known about them.

    In every frame ids and codes are text, durations `_s` are Float64 seconds, flags
    are Boolean, counts Int64, scores Float64. Instants `_at` (and `at`) are **Int64
    milliseconds since 1970-01-01T00:00Z**: integers are the one form in which
    subtraction and sums give the same result on every engine.
    Besides the canonical columns a frame has, if its table has an anchor instant
    (`schema.ANCHORS`), the integer columns `at_ms` (that instant), `day` (local days
    since 1970-01-01) and `hour` (local hour, 0 to 23).

    Args:
        frames: Lazy frame per table; only tables that were given.
        columns: Columns present per table, derived ones (`talk_s`, `day`) included.
        origins: Who wrote a column, by `table.column`.
        inputs: What was read, per file and table.
        notes: What is to be said about the data.
        timezone: Zone of instants without an offset, and of `day` and `hour`.
        derived: How a derived column came about, by `table.column`, in a sentence.
        period: First and last anchor instant per table, Int64 milliseconds.
        rows: Rows per table.
        doubled: Stretches of time per table that a clock passed twice since it was set
            back, first and last millisecond: gaps across them are not known.
        answered: Whether no call with an agent and a length of talk has an outcome
            other than `answered`: who asks for such calls need not read it.
        files: Files that are read again whenever a frame is collected, with what told
            them apart (`Source.stamp`) when they were first read.
        orders: Rows of a table by customer and instant, for those that ask.
    """

    frames: Mapping[str, Frame]
    columns: Mapping[str, frozenset[str]]
    origins: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    notes: tuple[DataNote, ...] = ()
    timezone: str = "UTC"
    derived: Mapping[str, str] = field(default_factory=dict)
    period: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    doubled: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    answered: bool = False
    files: tuple[tuple[Source, Stamp], ...] = ()
    orders: Mapping[str, Order] = field(default_factory=dict)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Refuse what was made of files that somebody changed in the meantime.

        Raises:
            TableError: A file was changed or removed since it was first read.
        """
        try:
            yield
        finally:
            for source, stamp in self.files:
                source.check_unchanged(stamp)

    @property
    def small(self) -> bool:
        """Whether it is known that all tables together have few rows."""
        return 0 < sum(self.rows.values()) <= _FEW_ROWS

    def has(self, *names: str) -> bool:
        """Say whether every `table.column` (or `table`) is there."""
        return not self.missing(names)

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the `table.column` (or `table`) names that are absent."""
        return tuple(name for name in names if not self._present(name))

    def _present(self, name: str) -> bool:
        table, _, column = name.partition(".")
        return table in self.frames and (
            not column or column in self.columns.get(table, frozenset())
        )

    def table(self, name: str) -> Frame:
        """Return the lazy frame of a table.

        Raises:
            TableError: The table was not given.
        """
        if name not in self.frames:
            raise TableError(
                f"There is no table '{name}' in this scan. Give its file, or name it "
                f"with --table {name}=PATH."
            )
        return self.frames[name]

    def last_day(self) -> date | None:
        """Return the last day in the data, over all dated tables; None without one."""
        ends = [end for _, end in self.period.values()]
        if not ends:
            return None
        return (_EPOCH + timedelta(milliseconds=max(ends))).date()

    def origin(self, name: str) -> str:
        """Return who wrote a `table.column`; `unknown` is to be read as the agent."""
        return self.origins.get(name, "unknown")

    def independent(self, name: str) -> bool:
        """Say whether a column is there and the subject can't write or steer it."""
        return self.has(name) and self.origin(name) in {
            "system",
            "customer",
            "third_party",
        }


def local_day(ms: int, timezone: str) -> date:
    """Return the day of an instant in a zone.

    Args:
        ms: Milliseconds since 1970 in UTC.
        timezone: Name of the zone.
    """
    return datetime.fromtimestamp(ms / 1000, tz=ZoneInfo(timezone)).date()
