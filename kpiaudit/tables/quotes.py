"""Records of a CSV whose quotes are not in order, line by line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_MAX_LINES = 2000
_DIGITS = re.compile(rb"[\d\s:./TZ+-]*\d[\d\s:./TZ+-]*")


@dataclass(kw_only=True)
class Mended:
    """What could be saved of a block.

    Args:
        pieces: CSV bytes of each sound record, ended by a newline.
        rows: Number of each sound record in the block, from 1.
        broken: Numbers of the broken ones.
        records: Records met, the broken ones included.
        consumed: Bytes of the block that are dealt with.
    """

    pieces: list[bytes] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    records: int = 0
    consumed: int = 0

    @property
    def data(self) -> bytes:
        """Return the sound records as one piece of CSV."""
        return b"".join(self.pieces)

    def take(self, piece: bytes | None) -> None:
        """Count a record: sound if there are bytes of it, else broken."""
        self.records += 1
        if piece is None or b"\0" in piece:
            self.broken.append(self.records)
        else:
            self.pieces.append(piece)
            self.rows.append(self.records)


def mend(data: bytes, separator: bytes, width: int, *, last: bool) -> Mended:
    """Read lines one by one; a stray quote costs its own line and no other.

    A line is taken as it stands if its quotes are in order. If it ends inside a quoted
    field, lines are added until the field closes in order with the right number of
    fields, unless one of them looks like a record of its own. If quotes stand only
    inside unquoted fields they are taken as ink: `5" pipe`.

    Args:
        data: Whole lines.
        separator: One byte.
        width: Fields that a record must have.
        last: Whether the file ends here; if not, a record that is still open at the
            end is left for the next block.
    """
    sep = re.escape(separator)
    cell = rb' *"(?:[^"]|"")*" *|[^"' + sep + rb"\n]*"
    whole = re.compile(rb"(?:%s)(?:%s(?:%s)){%d}" % (cell, sep, cell, width - 1))
    opened = re.compile(rb'(?:(?:%s)%s)* *"(?:[^"]|"")*' % (cell, sep))
    lines = data.split(b"\n")[:-1]
    found = Mended()
    model: tuple[str, ...] | None = None
    at = 0
    while at < len(lines):
        line = lines[at]
        used = 1
        piece: bytes | None = None
        if b'"' not in line:
            piece = line if line.count(separator) == width - 1 else None
            if model is None and piece is not None:
                model = _signature(line, separator)
        elif whole.fullmatch(line):
            piece = line
        elif opened.fullmatch(line):
            span = _closing(lines, at, whole, (separator, width, model))
            if span is None and not last and at + _MAX_LINES > len(lines):
                return _stopped(found, lines, at)
            if span is not None:
                used = span
                piece = b"\n".join(lines[at : at + used])
        elif not re.search(rb'(?:^|%s) *"' % sep, line):
            piece = _inked(line, separator, width)
        if piece is not None or line.strip():
            found.take(None if piece is None else _tight(piece, separator) + b"\n")
        at += used
    found.consumed = len(data)
    return found


def _stopped(found: Mended, lines: list[bytes], at: int) -> Mended:
    found.consumed = sum(len(line) + 1 for line in lines[:at])
    return found


def _closing(
    lines: list[bytes],
    at: int,
    whole: re.Pattern[bytes],
    record: tuple[bytes, int, tuple[str, ...] | None],
) -> int | None:
    """Return how many lines the record at `at` takes, None if it is broken."""
    separator, width, model = record
    for end in range(at + 1, min(at + _MAX_LINES, len(lines))):
        line = lines[end]
        if b'"' in line:
            joined = b"\n".join(lines[at : end + 1])
            if whole.fullmatch(joined):
                return end + 1 - at
            if joined.count(b'"') % 2 == 0:
                return None
        elif line.count(separator) == width - 1 and model in {
            None,
            _signature(line, separator),
        }:
            return None
    return None


def _signature(line: bytes, separator: bytes) -> tuple[str, ...]:
    """Return which fields are empty, figures or words, as a record's fingerprint."""
    return tuple(
        "9" if _DIGITS.fullmatch(f.strip()) else "a" for f in line.split(separator)
    )


def _inked(line: bytes, separator: bytes, width: int) -> bytes | None:
    fields = line.split(separator)
    if len(fields) != width:
        return None
    return separator.join(b'"' + f.replace(b'"', b'""') + b'"' for f in fields)


def _tight(record: bytes, separator: bytes) -> bytes:
    # Spaces around a quoted field are tolerated here and by nobody further on.
    if b' "' not in record and b'" ' not in record:
        return record
    sep = re.escape(separator)
    parts = re.findall(
        rb'(?:^|%s) *("(?:[^"]|"")*") *(?=%s|\Z)|(?:^|%s)([^"%s]*)(?=%s|\Z)'
        % (sep, sep, sep, sep, sep),
        record,
    )
    return separator.join(quoted or plain for quoted, plain in parts)
