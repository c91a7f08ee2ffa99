"""Which records of a CSV have the right number of fields, a block at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.errors import TableError
from kpiaudit.frozen import frozen
from kpiaudit.tables.quotes import mend
from kpiaudit.tables.source import max_field_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEWLINE = 10
_QUOTE = 34
_WHITE = b" \t\r\x0b\x0c"


class NotUtf8Error(Exception):
    """The bytes are in an older, one-byte encoding: read the file again with it."""


@frozen
class Block:
    """Records with the right number of fields.

    Args:
        data: CSV bytes, each record ended by a newline.
        rows: Their numbers among all data rows, from 1, shape (n_records,).
        quoted: Whether there are quotes in them.
        spaces: Whether there may be white space, or anything but ASCII, in them.
        plus: Whether there may be plus signs in them.
        hash: Whether there may be number signs in them.
    """

    data: bytes
    rows: NDArray[np.int64]
    quoted: bool
    spaces: bool = True
    plus: bool = True
    hash: bool = True


@dataclass(kw_only=True)
class Scanner:
    """Take blocks of UTF-8 and give back whole, sound records.

    Args:
        separator: One byte.
        width: Fields that a record must have.
        display: How messages name the file.
        seen: Records met up to now, the broken ones included.
        broken: Broken records.
        first_broken: Numbers of the first few.
        reasons: How often which kind of damage was met.
    """

    separator: bytes
    width: int
    display: str
    seen: int = 0
    broken: int = 0
    first_broken: list[int] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    _carry: bytes = b""

    def feed(self, block: bytes, *, last: bool = False) -> Block | None:
        """Take a block; return the sound records that it completes.

        Raises:
            NotUtf8Error: The bytes are in another encoding.
            TableError: A record is longer than the limit.
        """
        data = self._carry + block if self._carry else block
        if last and data and not data.endswith(b"\n"):
            data += b"\n"
        cut = data.rfind(b"\n") + 1
        if not cut:
            self._hold(data)
            return None
        if b'"' not in data[:cut]:
            self._hold(data[cut:])
            return self._plain(data[:cut])
        return self._quoted(data, cut, last=last)

    def _hold(self, rest: bytes) -> None:
        self._check_length(len(rest))
        self._carry = rest

    def _check_length(self, size: int) -> None:
        if size > max_field_bytes():
            raise TableError(
                f"{self.display}: a record after data row {self.seen} is longer than "
                f"{max_field_bytes() / 2**20:g} MB. Look for a missing line end, or "
                "set KPIAUDIT_MAX_FIELD_MB to a larger number."
            )

    def _plain(self, data: bytes) -> Block:
        if block := self._regular(data):
            return block
        buffer = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(buffer == _NEWLINE)
        marks = buffer == self.separator[0]
        return self._sound(data, ends, marks, quoted=False)

    def _regular(self, data: bytes) -> Block | None:
        """Return a block of which every record is as it should be, else None. Fast.

        With all else taken out, separators and line ends are the same in each line.
        """
        if self.width < 2:  # a blank line would look like a record
            return None
        mark = self.separator
        odd = data.translate(None, _without(mark + b"\n+#\0" + _WHITE))
        marks = odd.translate(None, (b"+#\0" + _WHITE).replace(mark, b""))
        count = len(marks) // self.width
        line = mark * (self.width - 1) + b"\n"
        if not count or marks != line * count or b"\0" in odd:
            return None
        ascii_ = data.isascii()
        if not self._short(data) or not (ascii_ or self._decodes(data) is None):
            return None
        rows = np.arange(self.seen + 1, self.seen + count + 1)
        self.seen += count
        inner = _WHITE.replace(mark, b"")
        spaces = not ascii_ or any(c in odd for c in inner)
        return Block(
            data=data,
            rows=rows,
            quoted=False,
            spaces=spaces,
            plus=b"+" in odd,
            hash=b"#" in odd,
        )

    def _short(self, data: bytes) -> bool:
        """Say whether no record can be longer than the limit."""
        half = max_field_bytes() // 2
        if len(data) <= half:
            return True
        parts = range(0, len(data), half)
        return all(data.find(b"\n", at, at + half) >= 0 for at in parts)

    def _quoted(self, data: bytes, cut: int, *, last: bool) -> Block | None:
        buffer = np.frombuffer(data[:cut], np.uint8)
        quotes = buffer == _QUOTE
        # One byte wraps at 256, which is even: the parity stays right.
        inside = np.cumsum(quotes, dtype=np.uint8) & np.uint8(1)
        lines = np.flatnonzero(buffer == _NEWLINE)
        outer = lines[inside[lines] == 0]
        too_long = len(data) - (outer[-1] + 1 if len(outer) else 0) > max_field_bytes()
        if (
            (last and inside[-1])
            or too_long
            or not self._well_formed(buffer, quotes, lines, inside)
        ):
            return self._mended(data, cut, last=last)
        if not len(outer):
            self._hold(data)
            return None
        end = int(outer[-1]) + 1
        self._hold(data[end:])
        marks = (buffer[:end] == self.separator[0]) & (inside[:end] == 0)
        return self._sound(data[:end], outer, marks, quoted=True)

    def _well_formed(
        self,
        buffer: NDArray[np.uint8],
        quotes: NDArray[np.bool_],
        lines: NDArray[np.int64],
        inside: NDArray[np.uint8],
    ) -> bool:
        places = np.flatnonzero(quotes)
        opening, closing = places[0::2], places[1::2]
        edge = np.zeros(256, np.bool_)
        edge[[_NEWLINE, _QUOTE, self.separator[0]]] = True
        before = edge[buffer[opening[opening > 0] - 1]]
        after = edge[buffer[closing[closing < len(buffer) - 1] + 1]]
        if not (before.all() and after.all()):
            return False
        # A line inside a quoted field that has a record's number of separators may be
        # a record that a stray quote has swallowed: look at it closely.
        held = inside[lines] == 1
        if not held.any():
            return True
        starts = np.concatenate((np.zeros(1, np.int64), lines[:-1] + 1))
        count = _per_line(buffer == self.separator[0], starts)
        inner = held[1:] & held[:-1] & (count[1:] == self.width - 1)
        return not inner.any()

    def _mended(self, data: bytes, cut: int, *, last: bool) -> Block:
        found = mend(data[:cut], self.separator, self.width, last=last)
        self._hold(data[found.consumed :])
        rows = np.asarray(found.rows, np.int64) + self.seen
        for row in found.broken:
            self._reject(self.seen + row, "quotes")
        self.seen += found.records
        out = found.data
        ok = self._decodes(out)
        if ok is not None:
            keep = np.ones(len(rows), np.bool_)
            raise_rows = [i for i, line in enumerate(found.pieces) if not _utf8(line)]
            keep[raise_rows] = False
            for i in raise_rows:
                self._reject(int(rows[i]), "encoding")
            out = b"".join(p for i, p in enumerate(found.pieces) if keep[i])
            rows = rows[keep]
        return Block(data=out, rows=rows + 0, quoted=True)

    def _sound(
        self,
        data: bytes,
        ends: NDArray[np.int64],
        marks: NDArray[np.bool_],
        *,
        quoted: bool,
    ) -> Block:
        starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
        self._check_length(int((ends - starts).max()))
        blank = ends == starts
        bad = self._damaged(data, starts, ends)
        if bad is None and not blank.any() and self._all_right(marks, starts):
            rows = np.arange(self.seen + 1, self.seen + len(ends) + 1)
            self.seen += len(ends)
            return Block(data=data, rows=rows, quoted=quoted)
        right = _per_line(marks, starts) == self.width - 1
        for place in np.flatnonzero(~right & ~blank):
            blank[place] = data[starts[place] : ends[place]].isspace()
        filled = ~blank
        number = self.seen + np.cumsum(filled)
        good = filled & right
        if bad is not None:
            good &= ~bad
        for place in np.flatnonzero(filled & ~good):
            why = "fields" if not right[place] else "bytes"
            self._reject(int(number[place]), why)
        self.seen = int(number[-1]) if len(number) else self.seen
        kept = np.frombuffer(data, np.uint8)[np.repeat(good, ends - starts + 1)]
        return Block(data=kept.tobytes(), rows=number[good], quoted=quoted)

    def _all_right(self, marks: NDArray[np.bool_], starts: NDArray[np.int64]) -> bool:
        """Say whether every line has the right number of separators. Fast."""
        width = self.width - 1
        if width > 255 or np.count_nonzero(marks) != width * len(starts):
            return False
        # One byte a line wraps at 256, which the total above would have shown.
        narrow = np.add.reduceat(marks.view(np.uint8), starts, dtype=np.uint8)
        return bool((narrow == width).all())

    def _damaged(
        self, data: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> NDArray[np.bool_] | None:
        """Return which records hold NUL bytes or broken UTF-8, None if none does."""
        bad: NDArray[np.bool_] | None = None
        if b"\0" in data:
            places = np.flatnonzero(np.frombuffer(data, np.uint8) == 0)
            bad = np.zeros(len(ends), np.bool_)
            bad[np.searchsorted(ends, places)] = True
        if self._decodes(data) is not None:
            bad = np.zeros(len(ends), np.bool_) if bad is None else bad
            high = np.flatnonzero(np.frombuffer(data, np.uint8) > 127)
            for place in np.unique(np.searchsorted(ends, high)):
                line = data[int(starts[place]) : int(ends[place])]
                bad[place] |= not _utf8(line)
        return bad

    def _decodes(self, data: bytes) -> str | None:
        """Return why bytes are no UTF-8, None if they are.

        Raises:
            NotUtf8Error: They look like text in a one-byte encoding.
        """
        if data.isascii() or _utf8(data):
            return None
        text = data.decode("utf-8", "replace")
        wrong = text.count("\ufffd")
        right = sum(1 for c in text if ord(c) > 127) - wrong
        if right <= wrong:
            raise NotUtf8Error
        return "bytes that are no UTF-8"

    def _reject(self, row: int, why: str) -> None:
        self.broken += 1
        self.reasons[why] = self.reasons.get(why, 0) + 1
        if len(self.first_broken) < 5:
            self.first_broken.append(row)


@cache
def _without(kept: bytes) -> bytes:
    """Return all bytes but some."""
    return bytes(set(range(256)) - set(kept))


def _per_line(
    marks: NDArray[np.bool_], starts: NDArray[np.int64]
) -> NDArray[np.uint32]:
    return np.add.reduceat(marks.view(np.uint8), starts, dtype=np.uint32)


def _utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
