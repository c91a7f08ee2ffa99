"""A column by the position of a table's rows, in memory or on disk."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from kpiaudit.frozen import frozen
from kpiaudit.tables.dataset import ROW
from kpiaudit.tables.spill import room, spill_folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PART = 2_000_000
"""Rows of a part where the order is on disk; two are worked on at once, at some 100
bytes a row."""
_WINDOW = 2**25
"""Rows of a column that are mapped at once where values are set all over it."""
_MAPPING = Lock()


@frozen
class Held:
    """A column of a table by the position of its rows, in memory or on disk.

    What is on disk is mapped for one question at a time: else all of it would stay.

    Args:
        values: Shape (n_rows,), or the file that holds them.
    """

    values: NDArray[Any] | Path

    @classmethod
    def of(cls, rows: int, value: Any, *, on_disk: bool) -> Held:
        """Return a column that holds one value everywhere."""
        if not on_disk:
            return cls(values=np.full(rows, value))
        path = spill_folder() / "column.npy"
        said = {"descr": np.asarray(value).dtype.str, "fortran_order": False}
        # Written, not mapped: where the disk is full this is an error, no signal.
        with room(path), path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {**said, "shape": (rows,)})
            for low in range(0, rows, PART):
                np.full(min(PART, rows - low), value).tofile(file)
        return cls(values=path)

    def put(self, rows: NDArray[Any], values: NDArray[Any]) -> None:
        """Set the values of some rows, anywhere in the table."""
        if isinstance(self.values, np.ndarray):
            self.values[rows] = values
            return
        # What a mapping has touched counts as memory until it goes.
        with _MAPPING:
            for low in range(0, len(self._open("r")), _WINDOW):
                here = np.flatnonzero((rows >= low) & (rows < low + _WINDOW))
                self._open("r+")[rows[here]] = values[here]

    def _open(self, mode: Literal["r", "r+"]) -> NDArray[Any]:
        if isinstance(self.values, np.ndarray):
            return self.values
        mapped: NDArray[Any] = np.load(self.values, mmap_mode=mode)
        return mapped

    def look(self) -> pl.Expr:
        """Return the value at each row's position, from a frame with `ROW`.

        Unlike a frame that is laid beside the table it waits for nothing in memory, and
        what was left out before is not looked up.
        """

        def look(rows: pl.Series) -> pl.Series:
            # Neighbours in the table: they touch little of a file.
            there = np.asarray(self._open("r")[rows.to_numpy()])
            return pl.Series(rows.name, there)

        kind = pl.Series(self._open("r")[:0]).dtype
        return pl.col(ROW).map_batches(look, return_dtype=kind, is_elementwise=True)
