"""A few rows that were counted, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A collected summary: few rows, sorted, as numpy columns.

    Args:
        columns: Arrays of equal length, by name. Text is an object array of str, null
            is None in text and nan in floats; counts are int64.
    """

    columns: Mapping[str, NDArray[Any]]

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
        return Summary(columns={k: v[mask] for k, v in self.columns.items()})

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
