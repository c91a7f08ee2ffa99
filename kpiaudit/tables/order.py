"""The rows of a table by customer and instant: sorted once a scan, asked often.

Where the order of all rows would exceed the budget (`spill.memory_bytes`) it is kept in
parts of the customers in the temporary folder, two of which are in memory at a time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from kpiaudit.frozen import frozen
from kpiaudit.tables.byrow import PART, Held
from kpiaudit.tables.dataset import ROW
from kpiaudit.tables.packed import Packed
from kpiaudit.tables.parts import parts
from kpiaudit.tables.spill import memory_bytes, room, spill_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

NEVER = -(2**62)
"""Instant of rows that have none: no mask is carried along."""
SLICE = 1_000_000
"""Rows, about, of a part that is in memory: several are worked on side by side."""

_RAW = {"who": np.uint64, "at": np.int64, "id": np.uint64}
_PILED = {**_RAW, "over": np.int64}
_BYTES = 17
_SHARE = 3
"""Of the budget for tables: the order is needed beside whatever else is counted."""
_NAMES = ("row", "at", "id", "first")
_THREADS = 4
_LOADED = 2


Columns = dict[str, "NDArray[Any]"]
"""Values by name, for the rows of a part or of a table."""


@frozen
class Part:
    """Some of the customers' rows, by customer, instant and id.

    Args:
        row: Position of each in the table.
        at: Instant, in milliseconds.
        id: Half of the hash of the id; the legs of a contact share it.
        first: Whether a customer begins here.
        over: When each was over, in milliseconds; empty where nobody asked for it.
    """

    row: NDArray[np.uint32]
    at: NDArray[np.int64]
    id: NDArray[np.uint32]
    first: NDArray[np.bool_]
    over: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def group(self) -> NDArray[np.uint32]:
        """Number the customers."""
        return np.cumsum(self.first, dtype=np.uint32)


class Order:
    """The order of a table's rows; computed when it is first asked for.

    Args:
        frame: The table, with `ROW`.
        per: Hash of the customer.
        at: Instant in integer milliseconds; rows without one stand at `NEVER`.
        id: Text by which rows of one instant are ordered; None without one.
        then: Columns by which rows of one instant and id are ordered.
        end: When a record was over, in integer milliseconds; None is `at`.

    Attributes:
        beside: What it said of the rows, kept for whoever asks the same.
        among: Rows that were asked about by what follows them, a bit each.
    """

    def __init__(
        self,
        frame: pl.LazyFrame,
        *,
        per: pl.Expr,
        at: str,
        id: str | None,  # noqa: A002 - as in `Sequence`
        then: tuple[str, ...] = (),
        end: pl.Expr | None = None,
    ) -> None:
        self._frame = frame
        text = pl.lit("") if id is None else pl.col(id).fill_null("")
        hashed = pl.lit(0, pl.UInt64) if id is None else text.hash()
        self._ties = [] if id is None else [text]
        self._ties += map(pl.col, then)
        begun = pl.col(at).fill_null(NEVER)
        self._over = begun if end is None else pl.coalesce(end, begun)
        self._wanted = {"who": per, "at": begun, "id": hashed}
        self._parts: list[Part] | list[Path] | None = None
        self.rows = 0
        self.beside: dict[str, Held] = {}
        self.among: NDArray[np.uint8] | None = None

    def count(self) -> int:
        """Count the table's rows."""
        self._sort()
        return self.rows

    def parts(self) -> Iterator[Part]:
        """Yield the order, some customers at a time."""
        for part in self._sort():
            yield part if isinstance(part, Part) else _loaded(part)

    def each(
        self, ask: Callable[[Part], _Answer], *, over: bool = False
    ) -> Iterator[_Answer]:
        """Yield what is said of each part, in their order.

        Parts are asked side by side, of those on disk two at most.

        Args:
            ask: Is given each part.
            over: Whether parts are to tell when records were over.
        """
        parts: Sequence[Part | Path] = self._sort()
        in_memory = bool(parts) and isinstance(parts[0], Part)
        ends = self._ends() if over and in_memory else None

        def asked(part: Part | Path) -> _Answer:
            if not isinstance(part, Part):
                return ask(_loaded(part, over=over))
            return ask(part if ends is None else replace(part, over=ends[part.row]))

        if len(parts) < 2:
            yield from map(asked, parts)
        else:
            most = _THREADS if in_memory else _LOADED
            yield from _side_by_side(asked, parts, most)

    def _ends(self) -> NDArray[np.int64]:
        """Return when each record was over, by position in the table, in ms."""
        ends = np.empty(self.rows, dtype=np.int64)
        _fill({"over": Held(values=ends)}, self._frame.select(ROW, over=self._over))
        return ends

    def forget(self) -> None:
        """Let the memory go; the next question sorts anew."""
        self._parts = self.among = None
        self.beside.clear()

    def _sort(self) -> list[Part] | list[Path]:
        if self._parts is None:
            count = self._frame.select(pl.len()).collect(engine="streaming")
            self.rows = int(count.item())
            large = self.rows * _BYTES > memory_bytes() // _SHARE
            self._parts = self._on_disk() if large else self._in_memory()
        return self._parts

    def _in_memory(self) -> list[Part]:
        raw = {name: np.empty(self.rows, kind) for name, kind in _RAW.items()}
        _fill(
            {n: Held(values=v) for n, v in raw.items()},
            self._frame.select(ROW, **self._wanted),
        )
        packed = Packed.of(raw["who"], raw["at"])

        def part(ends: tuple[int, int]) -> Part:
            return _part(*packed.order(ends, **raw), raw["id"])

        with ThreadPoolExecutor(min(pl.thread_pool_size(), _THREADS)) as pool:
            return self._by_text(list(pool.map(part, packed.slices(SLICE))))

    def _on_disk(self) -> list[Path]:
        several = max(1, -(-self.rows // PART))
        folder = spill_folder()
        pile = _Pile(several, folder)
        # Ends wait with their parts: those of the whole table, of which each part looks
        # at some everywhere, would all be mapped, and count as memory.
        wanted = self._frame.select(ROW, **self._wanted, over=self._over)
        for batch in parts(wanted):
            pile.add(batch)

        def sort(number: int) -> Path:
            raw = _by_row(pile.take(number))
            packed = Packed.of(raw["who"], raw["at"])
            whole = (0, len(raw["who"]))
            laid = packed.order(whole, raw["who"], raw["at"], raw["id"])
            part = replace(_part(*laid, raw["id"]), over=raw["over"][laid[0]])
            part.row[:] = raw["row"][part.row]
            self._by_text([part])
            return _saved(part, folder / f"order-{number:05d}")

        return list(_side_by_side(sort, range(several), _LOADED))

    def _by_text(self, parts: list[Part]) -> list[Part]:
        """Order rows of one customer at one instant by their ids, legs by the rest."""
        if not self._ties:
            return parts
        spots = [_tied(part) for part in parts]
        rows = [part.row[at] for part, (at, _) in zip(parts, spots, strict=True)]
        if not any(map(len, rows)):
            return parts
        ranks = np.split(
            self._ranks(np.concatenate(rows)), np.cumsum([len(r) for r in rows])[:-1]
        )
        for part, (at, group), rank in zip(parts, spots, ranks, strict=True):
            here = at[np.lexsort((rank, group))]
            for values in (part.row, part.id, part.over):
                if len(values):
                    values[at] = values[here]
        return parts

    def _ranks(self, rows: NDArray[np.uint32]) -> NDArray[np.int64]:
        """Return where some rows stand among each other, ids compared as texts."""
        some = pl.Series(rows).unique()
        keys = {f"key{number}": key for number, key in enumerate(self._ties)}
        wanted = self._frame.select(ROW, **keys).filter(
            pl.col(ROW).is_in(some.implode())
        )
        found = wanted.collect(engine="streaming").sort(*keys, ROW)
        rank = np.empty(len(found), dtype=np.int64)
        rank[np.searchsorted(np.sort(found[ROW]), found[ROW])] = np.arange(len(found))
        return rank[np.searchsorted(np.sort(found[ROW]), rows)]


def _side_by_side(
    ask: Callable[[_Item], _Answer], items: Iterable[_Item], most: int
) -> Iterator[_Answer]:
    """Yield answers in the order of the items; some threads work ahead."""
    with ThreadPoolExecutor(min(pl.thread_pool_size(), most)) as pool:
        yield from pool.map(ask, items)


def _fill(columns: Mapping[str, Held], frame: pl.LazyFrame) -> None:
    """Read columns, each value to the place that `ROW` says."""
    for batch in parts(frame):
        place = batch[ROW].to_numpy()
        for name, held in columns.items():
            held.put(place, batch[name].to_numpy())


def _by_row(raw: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Put rows into the table's order: polars reads ahead, and legs may tie in all."""
    row = raw["row"]
    if (row[1:] > row[:-1]).all():
        return raw
    order = np.argsort(row)
    return {name: values[order] for name, values in raw.items()}


def _part(
    order: NDArray[np.intp],
    who: NDArray[np.uint64],
    at: NDArray[np.int64],
    ids: NDArray[np.uint64],
) -> Part:
    first = np.ones(len(who), dtype=np.bool_)
    np.not_equal(who[1:], who[:-1], out=first[1:])
    return Part(
        row=order.astype(np.uint32),
        at=at,
        id=ids[order].astype(np.uint32),
        first=first,
    )


def _tied(part: Part) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of rows of one customer at one instant, and their groups."""
    tied = (part.at[1:] == part.at[:-1]) & ~part.first[1:]
    spots = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
    return spots, np.cumsum(np.append(False, ~tied))[spots]


class _Pile:
    """What is to be sorted, split by customer as it comes, in files."""

    def __init__(self, several: int, folder: Path) -> None:
        self._several = several
        self._folder = folder

    def add(self, batch: pl.DataFrame) -> None:
        """Add some rows: `ROW`, `who`, `at`, `id`, `over`."""
        rows = {name: batch[name].to_numpy() for name in _PILED}
        rows["row"] = batch[ROW].to_numpy().astype(np.uint32, copy=False)
        # The sort takes the upper half of the hash: parts are told by the lower one.
        part = (rows["who"] % np.uint64(self._several)).astype(np.uint16)
        order = np.argsort(part, kind="stable")  # by their two bytes: no comparing
        ends = np.searchsorted(part[order], np.arange(self._several + 1))
        for name, values in rows.items():
            laid = values[order]
            for number, (low, high) in enumerate(pairwise(ends.tolist())):
                path = self._folder / f"raw-{number:05d}-{name}"
                with room(path), path.open("ab") as file:
                    laid[low:high].tofile(file)

    def take(self, number: int) -> dict[str, NDArray[Any]]:
        """Return a part, and let it go."""
        types: dict[str, Any] = {**_PILED, "row": np.uint32}
        out = {}
        for name, kind in types.items():
            path = self._folder / f"raw-{number:05d}-{name}"
            out[name] = np.fromfile(path, kind) if path.exists() else np.empty(0, kind)
            path.unlink(missing_ok=True)
        return out


def _saved(part: Part, path: Path) -> Path:
    with room(path):
        path.mkdir()
        for name in (*_NAMES, "over"):
            np.save(path / f"{name}.npy", getattr(part, name))
    return path


def _loaded(path: Path, *, over: bool = False) -> Part:
    names = (*_NAMES, "over") if over else _NAMES
    return Part(**{name: np.load(path / f"{name}.npy") for name in names})


def beside(
    order: Order,
    ask: Callable[[Part], tuple[NDArray[np.uint32], Columns]],
    *,
    empty: Mapping[str, Any],
    over: bool = False,
) -> dict[str, Held]:
    """Return what the order says of a table's rows, by their position in it.

    Args:
        order: The order.
        ask: Returns, for a part, positions in the table and values of their rows.
        empty: Value of rows that nothing is said of, by name, with its numpy type.
        over: Whether the parts are to tell when records were over.

    Returns:
        Values by name, shape (n_rows,); in memory or, if that would take more than a
        third of `spill.memory_bytes`, on disk.
    """
    size = order.count() * sum(np.asarray(v).itemsize for v in empty.values())
    on_disk = size > memory_bytes() // _SHARE
    whole = {n: Held.of(order.rows, v, on_disk=on_disk) for n, v in empty.items()}

    def put(part: Part) -> None:
        rows, said = ask(part)
        for name, values in said.items():
            whole[name].put(rows, values)

    for _ in order.each(put, over=over):
        pass
    return whole


def marks(order: Order, rows: NDArray[np.uint32]) -> Held:
    """Return 1 for some rows of a table and 0 for all others."""
    on_disk = order.count() > memory_bytes() // _SHARE
    held = Held.of(order.rows, np.int8(0), on_disk=on_disk)
    held.put(rows, np.ones(len(rows), dtype=np.int8))
    return held
