"""A few rows that were counted, as arrays."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

T = TypeVar("T")


_ORIGIN = ("origin", "")
"""Where a part keeps the summary and the rows that it was taken from."""


@frozen
class Summary:
    """A collected summary: few rows, sorted, as numpy columns.

    Args:
        columns: Arrays of equal length, by name. Text is an object array of str, null
            is None in text and nan in floats; counts are int64. They are not written
            to: what was made of them once is kept.
    """

    columns: Mapping[str, NDArray[Any]]
    _made: dict[tuple[str, str], Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column, shape (n_rows,)."""
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a column."""
        return name in self.columns

    def __len__(self) -> int:
        """Count the rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def floats(self, name: str) -> NDArray[np.float64]:
        """Return a column as float64."""
        return self.columns[name].astype(np.float64)

    def ints(self, name: str) -> NDArray[np.int64]:
        """Return a column as int64; nulls, which floats would hold, count as 0."""
        column = self.columns[name]
        if column.dtype.kind == "f":
            column = np.nan_to_num(column)
        return column.astype(np.int64)

    def where(self, mask: NDArray[np.bool_]) -> Summary:
        """Return the rows that a boolean array of shape (n_rows,) selects."""
        at = np.flatnonzero(mask)
        return self if len(at) == len(mask) else self._at(at)

    def having(self, name: str, text: str) -> Summary:
        """Return the rows with this text in a column, in their order."""
        names, index = self.coded(name)
        place = _place(names, text)
        if place is None:
            return self._at(np.empty(0, dtype=np.int64))

        def runs() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            ends = np.cumsum(np.bincount(index, minlength=len(names)))
            return np.argsort(index, kind="stable"), np.concatenate([[0], ends])

        order, starts = self.once("rows of texts", runs, name)
        return self._at(order[starts[place] : starts[place + 1]])

    def same(self, name: str, text: str) -> NDArray[np.bool_]:
        """Say which rows have this text in a column, shape (n_rows,)."""
        names, index = self.coded(name)
        place = _place(names, text)
        return np.asarray(index == (-1 if place is None else place))

    def coded(self, name: str) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
        """Return the different texts of a column, sorted, and each row's place in them.

        It is `np.unique(self[name].astype(str), return_inverse=True)`, made once: ids
        are told apart for every finding and every planted agent, and objects compare
        slowly.
        """

        def make() -> tuple[NDArray[np.str_], NDArray[np.int64]]:
            if _ORIGIN in self._made:
                parent, rows = self._made[_ORIGIN]
                return _renumbered(parent.coded(name), rows)
            column = self.columns[name]
            if not len(column):
                return column.astype(str), np.empty(0, dtype=np.int64)
            # Rows are sorted, so that equal texts mostly stand one below the other.
            first = np.concatenate([[True], column[1:] != column[:-1]])
            heads = column[first].astype(str)
            names, place = np.unique(heads, return_inverse=True)
            return names, place[np.cumsum(first) - 1].astype(np.int64)

        return self.once("texts", make, name)

    def places(self, name: str, among: NDArray[Any]) -> NDArray[np.int64]:
        """Return where each row's text stands, or would stand, in a sorted array."""
        names, index = self.coded(name)
        texts = among if among.dtype.kind == "U" else among.astype(str)
        return np.searchsorted(texts, names).astype(np.int64)[index]

    def total(self, name: str) -> int:
        """Return the sum of a column of counts."""
        return self.once("sum", lambda: int(self.ints(name).sum()), name)

    def once(self, what: str, make: Callable[[], T], column: str = "") -> T:
        """Return what is made of these rows, or of one column; made once."""
        key = (what, column)
        if key not in self._made:
            self._made[key] = make()
        return cast("T", self._made[key])

    def _at(self, rows: NDArray[np.int64]) -> Summary:
        out = Summary(columns={k: v[rows] for k, v in self.columns.items()})
        out._made[_ORIGIN] = (self, rows)
        return out

    def with_counts(self, **counts: NDArray[Any]) -> Summary:
        """Return the same rows with other counts; what is known of texts stays."""
        out = Summary(columns={**self.columns, **counts})
        out._made.update(
            (key, made)
            for key, made in self._made.items()
            if key[0] in {"texts", "rows of texts"} and key[1] not in counts
        )
        return out

    @classmethod
    def together(cls, parts: Sequence[Summary]) -> Summary:
        """Put the rows of summaries with the same columns one after another."""
        return cls(
            columns={
                name: np.concatenate([part.columns[name] for part in parts])
                for name in parts[0].columns
            }
        )

    @classmethod
    def of(cls, frame: pl.DataFrame) -> Summary:
        """Build one from a collected polars frame."""
        # Rules are read without data frames: the code comes when it is needed.
        from kpiaudit.tables.engine import objects  # noqa: PLC0415

        columns: dict[str, NDArray[Any]] = {}
        for column in frame.get_columns():
            if column.dtype.is_integer() and not column.null_count():
                columns[column.name] = column.to_numpy().astype(np.int64)
            elif column.dtype.is_numeric():
                columns[column.name] = column.to_numpy().astype(np.float64)
            else:
                columns[column.name] = objects(column)
        return cls(columns=columns)


def _place(names: NDArray[np.str_], text: str) -> int | None:
    place = int(np.searchsorted(names, text))
    return place if place < len(names) and names[place] == text else None


def _renumbered(
    coded: tuple[NDArray[np.str_], NDArray[np.int64]], rows: NDArray[np.int64]
) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Return the texts of some rows, and each one's place among these."""
    names, index = coded
    own = index[rows]
    there = np.bincount(own, minlength=len(names)) > 0
    return names[there], (np.cumsum(there) - 1)[own]
