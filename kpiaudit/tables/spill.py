"""A pile of frames that goes to a temporary folder when it grows too large."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kpiaudit.errors import unwritable
from kpiaudit.leftovers import note
from kpiaudit.tables.source import limit

if TYPE_CHECKING:
    from collections.abc import Iterator


def memory_bytes() -> int:
    """Return how much of a table stays in memory (KPIAUDIT_MEMORY_MB, 700)."""
    return int(limit("KPIAUDIT_MEMORY_MB", 700) * 2**20)


def spill_folder() -> Path:
    """Return a new temporary folder, which goes when the program ends."""
    with room(Path("TMPDIR")):
        folder = Path(tempfile.mkdtemp(prefix="kpiaudit-"))
    note(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def room(path: Path) -> Iterator[None]:
    """Say where space is missing.

    Raises:
        KpiauditError: The temporary file can't be written.
    """
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        raise unwritable(
            f"{path}: temporary files",
            error,
            instead="Name another folder with the environment variable TMPDIR.",
        ) from error


def sunk(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Write a lazy frame to a temporary Parquet file and read it from there."""
    path = spill_folder() / "rest.parquet"
    with room(path):
        frame.sink_parquet(path, compression="lz4")
    return pl.scan_parquet(path)


@dataclass(kw_only=True)
class Pile:
    """Frames of one schema; on disk, as Parquet, once they are large.

    The folder goes when the program ends: lazy frames may outlive the pile.
    """

    frames: list[pl.DataFrame] = field(default_factory=list)
    size: int = 0
    height: int = 0
    _folder: Path | None = None
    _files: int = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Put a frame on the pile."""
        self.frames.append(frame)
        self.height += frame.height
        self.size += int(frame.estimated_size())
        if self.size > memory_bytes():
            self._spill()

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = spill_folder()
        for frame in self.frames:
            path = self._folder / f"{self._files:06d}.parquet"
            with room(path):
                frame.write_parquet(path, compression="lz4", statistics=False)
            self._files += 1
        self.frames = []
        self.size = 0

    @property
    def spilled(self) -> bool:
        """Say whether anything is on disk."""
        return self._folder is not None

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield the frames in the order in which they came."""
        if self._folder is not None:
            for path in sorted(self._folder.glob("*.parquet")):
                yield pl.read_parquet(path)
        yield from self.frames

    def clear(self) -> None:
        """Let everything go, on disk as well."""
        self.frames = []
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def lazy(self) -> pl.LazyFrame:
        """Return everything as one lazy frame."""
        if self._folder is None:
            return pl.concat(self.frames, rechunk=False).lazy()
        self._spill()
        return pl.scan_parquet(self._folder / "*.parquet")
