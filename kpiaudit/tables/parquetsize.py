"""What a Parquet file says that it holds, read from its footer alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LARGE = 64 * 2**20  # bytes of a file that is its own proof of holding much
_STOP, _FALSE, _BYTE, _I64, _DOUBLE, _BINARY = 0, 2, 3, 6, 7, 8
_LIST, _SET, _MAP, _STRUCT = 9, 10, 11, 12


def inflated_bytes(path: Path) -> int:
    """Return how many bytes a Parquet file may come to when its columns are read.

    Encoded pages count with the size that the footer declares, and every cell with
    eight bytes: a column of one value, repeated a billion times, is a page of a few
    bytes. A footer that makes no sense counts as nothing: whoever reads the file will
    say so.

    Args:
        path: The file; one of more than 64 MB is not looked at.

    Source:
        Apache Parquet format 2.10, `parquet.thrift` (FileMetaData, RowGroup); Apache
        Thrift compact protocol encoding.
    """
    size = path.stat().st_size
    if not 12 < size <= _LARGE:
        return 0
    with path.open("rb") as file:
        file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
        if not 0 < length <= size - 12:
            return 0
        file.seek(-8 - length, 2)
        footer = _Reader(data=file.read(length))
    try:
        return footer.inflated()
    except (IndexError, RecursionError):
        return 0


@dataclass(kw_only=True)
class _Reader:
    """The compact protocol: fields with types, one after the other."""

    data: bytes
    at: int = 0

    def inflated(self) -> int:
        cells = pages = 0
        columns = 1
        for field, kind in self._fields():
            if field == 2 and kind == _LIST:
                columns = self._list()
            elif field == 3 and kind == _I64:
                cells = self._integer() * max(columns - 1, 1)
            elif field == 4 and kind == _LIST:
                pages = self._row_groups()
            else:
                self._skip(kind)
        return max(8 * cells, pages)

    def _row_groups(self) -> int:
        total = 0
        for _ in range(self._size()[0]):
            for field, kind in self._fields():
                if field == 2 and kind == _I64:
                    total += max(self._integer(), 0)
                else:
                    self._skip(kind)
        return total

    def _fields(self) -> Iterator[tuple[int, int]]:
        field = 0
        while (head := self._byte()) & 15 != _STOP:
            field = field + (head >> 4) if head >> 4 else self._integer()
            yield field, head & 15

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _natural(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 70:
                raise IndexError

    def _integer(self) -> int:
        value = self._natural()
        return value >> 1 ^ -(value & 1)

    def _size(self) -> tuple[int, int]:
        head = self._byte()
        size = self._natural() if head >> 4 == 15 else head >> 4
        return self._bounded(size), head & 15

    def _bounded(self, size: int) -> int:
        """Refuse more elements than bytes are left: none takes less than one."""
        if size > len(self.data) - self.at:
            raise IndexError
        return size

    def _list(self) -> int:
        size, kind = self._size()
        for _ in range(size):
            self._skip(kind, element=True)
        return size

    def _skip(self, kind: int, *, element: bool = False) -> None:
        if kind <= _FALSE:
            self.at += element  # a field's truth stands in its type
        elif kind == _BYTE:
            self.at += 1
        elif kind <= _I64:
            self._natural()
        elif kind == _DOUBLE:
            self.at += 8
        elif kind == _BINARY:
            length = self._natural()
            self.at += length
        elif kind in {_LIST, _SET}:
            self._list()
        elif kind == _MAP:
            self._skip_map()
        elif kind == _STRUCT:
            for _, inner in self._fields():
                self._skip(inner)
        else:
            raise IndexError

    def _skip_map(self) -> None:
        size = self._bounded(self._natural())
        kinds = self._byte() if size else 0
        for _ in range(size):
            self._skip(kinds >> 4, element=True)
            self._skip(kinds & 15, element=True)
