"""The rows of a table by customer and instant: sorted once a scan, asked often.

The order is kept in parts of the customers, so that one part is in memory at a time
where the whole would exceed the budget (`spill.memory_bytes`); the parts then lie in
the temporary folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from kpiaudit.tables.spill import memory_bytes, room, spill_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

ROW = "__row__"
"""Column with the position of a row in its table, from 0 on."""
NEVER = -(2**62)
"""Instant of rows that have none: no mask is carried along."""
PART = 4_000_000
"""Rows that are sorted at once, at some 100 bytes each."""
CHUNK = 4_000_000
"""Rows of a piece of what is laid beside a table, where that is on disk."""

_RAW = {"who": np.uint64, "at": np.int64, "end": np.int64, "id": np.uint64}
_BYTES = 36
_SHARE = 4
"""Of the budget for tables: the order is needed beside whatever else is counted."""
_NAMES = ("row", "at", "end", "id", "first")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some of the customers' rows, by customer, instant and id.

    Args:
        row: Position of each in the table.
        at: Instant, in milliseconds.
        end: When the record was over, in milliseconds.
        id: Hash of the id; the legs of a contact share it.
        first: Whether a customer begins here.
    """

    row: NDArray[np.uint32]
    at: NDArray[np.int64]
    end: NDArray[np.int64]
    id: NDArray[np.uint64]
    first: NDArray[np.bool_]

    def group(self) -> NDArray[np.uint32]:
        """Number the customers."""
        return np.cumsum(self.first, dtype=np.uint32)


class Order:
    """The order of a table's rows; computed when it is first asked for.

    Args:
        frame: The table, with `ROW`.
        per: Text of the customer; rows without one follow each other as one customer.
        at: Instant in integer milliseconds; rows without one stand at `NEVER`.
        id: Text by which rows of one instant are ordered; None without one.
        end: When a record was over, in integer milliseconds; None is `at`.
    """

    def __init__(
        self,
        frame: pl.LazyFrame,
        *,
        per: pl.Expr,
        at: str,
        id: str | None,  # noqa: A002 - as in `Sequence`
        end: pl.Expr | None = None,
    ) -> None:
        self._frame = frame
        self._text = None if id is None else pl.col(id).fill_null("")
        hashed = pl.lit(0, pl.UInt64) if self._text is None else self._text.hash()
        begun = pl.col(at).fill_null(NEVER)
        over = begun if end is None else pl.coalesce(end, begun)
        self._wanted = {"who": per.hash(), "at": begun, "end": over, "id": hashed}
        self._parts: list[Part | Path] | None = None
        self.rows = 0
        self.beside: dict[str, pl.LazyFrame] = {}

    def count(self) -> int:
        """Count the table's rows."""
        if self._parts is None:
            self._parts = self._sorted()
        return self.rows

    def parts(self) -> Iterator[Part]:
        """Yield the order, some customers at a time."""
        if self._parts is None:
            self._parts = self._sorted()
        for part in self._parts:
            yield part if isinstance(part, Part) else _loaded(part)

    def forget(self) -> None:
        """Let the memory go; the next question sorts anew."""
        self._parts = None
        self.beside.clear()

    def _sorted(self) -> list[Part | Path]:
        count = self._frame.select(pl.len()).collect(engine="streaming")
        self.rows = int(count.item())
        several = max(1, -(-self.rows // PART))
        large = self.rows * _BYTES > memory_bytes() // _SHARE
        folder = spill_folder() if large else None
        pile = _Pile(several, folder)
        wanted = self._frame.select(ROW, **self._wanted)
        for batch in wanted.collect_batches(chunk_size=500_000, engine="streaming"):
            pile.add(batch)
        out: list[Part | Path] = []
        for number in range(several):
            part = self._arranged(pile.take(number))
            if folder is None:
                out.append(part)
            else:
                out.append(_saved(part, folder / f"order-{number:05d}"))
        return out

    def _arranged(self, raw: Mapping[str, NDArray[Any]]) -> Part:
        who, at, id_, row = (raw[name] for name in ("who", "at", "id", "row"))
        order = arranged(who, at, id_)
        order = self._by_text(order, who, at, id_, row)
        who = who[order]
        first = np.ones(len(who), dtype=np.bool_)
        first[1:] = who[1:] != who[:-1]
        return Part(
            row=row[order],
            at=at[order],
            end=raw["end"][order],
            id=id_[order],
            first=first,
        )

    def _by_text(self, order: NDArray[np.intp], *raw: NDArray[Any]) -> NDArray[np.intp]:
        """Order rows of one customer at one instant by the text of their ids."""
        if self._text is None or not len(order):
            return order
        who, at, id_ = (values[order] for values in raw[:3])
        tied = (who[1:] == who[:-1]) & (at[1:] == at[:-1])
        if not (tied & (id_[1:] != id_[:-1])).any():
            return order
        spots = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
        rows = order[spots]
        ranks = self._ranks(raw[3][rows])
        group = np.cumsum(np.append(False, ~tied))[spots]
        order = order.copy()
        order[spots] = rows[np.lexsort((ranks, group))]
        return order

    def _ranks(self, rows: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return where the ids of some rows stand among each other, as texts."""
        some = pl.Series(rows).unique()
        texts = self._frame.select(ROW, text=self._text).filter(
            pl.col(ROW).is_in(some.implode())
        )
        found = texts.collect(engine="streaming").sort(ROW)
        rank = found["text"].rank("dense").to_numpy()
        at = np.searchsorted(found[ROW].to_numpy(), rows)
        return np.asarray(rank[at], dtype=np.int64)


def arranged(
    who: NDArray[np.uint64], at: NDArray[np.int64], id_: NDArray[np.uint64]
) -> NDArray[np.intp]:
    """Return the rows' order by customer and instant, then by id where they tie.

    The upper bits of the customer's hash and the row's place in time make one integer;
    to sort these takes a tenth of the time of sorting places by three columns. The few
    groups in which that is not enough are sorted by all three.
    """
    if not len(who):
        return np.empty(0, dtype=np.intp)
    # Most tables are in the order of time already.
    timed = None if (at[1:] >= at[:-1]).all() else np.argsort(at, kind="stable")
    bits = np.uint64(max(len(who) - 1, 1).bit_length())
    key = who if timed is None else who[timed]
    key = (key >> bits << bits) | np.arange(len(who), dtype=np.uint64)
    key.sort()
    group = key >> bits
    place = (key & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.intp)
    order = place if timed is None else timed[place]
    near = group[1:] == group[:-1]
    tied = at[order]
    unclear = near & (tied[1:] == tied[:-1])
    mine = who[order]
    unclear |= near & (mine[1:] != mine[:-1])
    if unclear.any():
        again = np.flatnonzero(np.isin(group, group[1:][unclear]))
        rows = order[again]
        exact = np.lexsort((id_[rows], at[rows], who[rows], group[again]))
        order[again] = rows[exact]
    return order


class _Pile:
    """What is to be sorted, split by customer as it comes: in memory, or in files."""

    def __init__(self, several: int, folder: Path | None) -> None:
        self._several = several
        self._folder = folder
        self._held: list[list[dict[str, NDArray[Any]]]] = [[] for _ in range(several)]

    def add(self, batch: pl.DataFrame) -> None:
        """Add some rows: `ROW`, `who`, `at`, `end`, `id`."""
        rows = {name: batch[name].to_numpy().astype(t) for name, t in _RAW.items()}
        rows["row"] = batch[ROW].to_numpy().astype(np.uint32)
        # The sort takes the upper half of the hash: parts are told by the lower one.
        part = rows["who"] % np.uint64(self._several)
        for number in range(self._several):
            mine = part == number if self._several > 1 else slice(None)
            some = {name: values[mine] for name, values in rows.items()}
            if self._folder is None:
                self._held[number].append(some)
                continue
            for name, values in some.items():
                path = self._folder / f"raw-{number:05d}-{name}"
                with room(path), path.open("ab") as file:
                    values.tofile(file)

    def take(self, number: int) -> dict[str, NDArray[Any]]:
        """Return a part, and let it go."""
        types: dict[str, Any] = {**_RAW, "row": np.uint32}
        if self._folder is None:
            held, self._held[number] = self._held[number], []
            return {
                name: np.concatenate([h[name] for h in held] or [np.empty(0, t)])
                for name, t in types.items()
            }
        out = {}
        for name, kind in types.items():
            path = self._folder / f"raw-{number:05d}-{name}"
            out[name] = np.fromfile(path, kind) if path.exists() else np.empty(0, kind)
            path.unlink(missing_ok=True)
        return out


def _saved(part: Part, path: Path) -> Path:
    with room(path):
        path.mkdir()
        for name in _NAMES:
            np.save(path / f"{name}.npy", getattr(part, name))
    return path


def _loaded(path: Path) -> Part:
    return Part(**{name: np.load(path / f"{name}.npy") for name in _NAMES})


Columns = dict[str, "NDArray[Any]"]
"""Values by name, for the rows of one part in its order."""


def beside(
    order: Order,
    ask: Callable[[Part], tuple[NDArray[np.uint32], Columns]],
    *,
    empty: Mapping[str, Any],
    present: NDArray[np.bool_] | None = None,
) -> pl.LazyFrame:
    """Lay what the order says beside a table, in the table's own order.

    Args:
        order: The order.
        ask: Returns, for a part, positions in the table and values of their rows.
        empty: Value of rows that nothing is said of, by name, with its numpy type.
        present: Rows of the table to be kept, by position; None keeps all.

    Returns:
        One row per kept row of the table. It is in memory or, if that would take more
        than a quarter of `spill.memory_bytes`, on disk.
    """
    parts = (ask(part) for part in order.parts())
    first = next(parts, None)
    size = order.rows * sum(np.asarray(v).itemsize for v in empty.values())
    if size <= memory_bytes() // _SHARE:
        whole = {n: np.full(order.rows, v) for n, v in empty.items()}
        while first is not None:
            for name, values in first[1].items():
                whole[name][first[0]] = values
            first = next(parts, None)
        if present is not None and not present.all():
            whole = {name: values[present] for name, values in whole.items()}
        return pl.DataFrame(whole, nan_to_null=False).lazy()
    folder = spill_folder()
    number = 0
    while first is not None:
        by_row = np.argsort(first[0])
        _save_columns(folder / f"part-{number:05d}", first, by_row)
        number += 1
        first = next(parts, None)
    return _merged(folder, number, (order.rows, empty, present))


def _save_columns(
    path: Path, said: tuple[NDArray[Any], Columns], by_row: NDArray[np.intp]
) -> None:
    with room(path):
        path.mkdir()
        np.save(path / "row.npy", said[0][by_row])
        for name, values in said[1].items():
            np.save(path / f"{name}.npy", values[by_row])


def _merged(
    folder: Path,
    parts: int,
    table: tuple[int, Mapping[str, Any], NDArray[np.bool_] | None],
) -> pl.LazyFrame:
    """Write what the parts say in the order of the table, a chunk at a time."""
    rows, empty, present = table
    paths = []
    for low in range(0, rows, CHUNK):
        size = min(CHUNK, rows - low)
        chunk = {name: np.full(size, value) for name, value in empty.items()}
        for part in range(parts):
            place = folder / f"part-{part:05d}"
            at = np.load(place / "row.npy", mmap_mode="r")
            a, b = np.searchsorted(at, [low, low + size])
            spots = at[a:b].astype(np.int64) - low
            for name, values in chunk.items():
                values[spots] = np.load(place / f"{name}.npy", mmap_mode="r")[a:b]
        if present is not None:
            kept = present[low : low + size]
            chunk = {name: values[kept] for name, values in chunk.items()}
        path = folder / f"beside-{low:012d}.parquet"
        with room(path):
            frame = pl.DataFrame(chunk, nan_to_null=False)
            frame.write_parquet(path, compression="lz4", statistics=False)
        paths.append(path)
    return pl.scan_parquet(paths)
