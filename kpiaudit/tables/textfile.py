"""A CSV export to frames of text: sound records only, broken ones counted."""

from __future__ import annotations

import csv
import re
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import polars as pl

from kpiaudit.errors import TableError
from kpiaudit.tables.ahead import ahead
from kpiaudit.tables.columns import ROW
from kpiaudit.tables.records import Block, NotUtf8Error, Scanner
from kpiaudit.tables.source import recoded
from kpiaudit.tables.spill import Pile
from kpiaudit.tables.textcells import Seen

if TYPE_CHECKING:
    from collections.abc import Generator

    from kpiaudit.tables.sniff import Sniffed
    from kpiaudit.tables.source import Source

_TAIL = 8
_LARGE = 2**25  # bytes of a file: two blocks, one of which can be read ahead
_HELD = 65_536  # bytes of the last lines at most
_FOOTER = re.compile(
    r"\W*(grand total|sub-?totals?|totals?|sum|summe|gesamt|suma|razem|records?|"
    r"rows?( count)?|count|end of (report|file|data)|generated|exported|printed|"
    r"report (generated|run|date)|applied filters|filters?|page \d|"
    r"\d[\d,. ]* (rows?|records?)|\(\d+ rows?)\b.*",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(kw_only=True)
class RawTable:
    """Text of an export's mapped columns, with what was left out on the way.

    Args:
        pile: Frames with String columns and `ROW`, numbers of data rows from 1.
        rows: Data rows that are sound.
        broken: Rows whose structure is broken.
        first_broken: Numbers of the first few.
        encoding: In which it was read.
        notes: Kind, count and sentence of what else was met.
        made: Rows that code has made of the records, by table.
    """

    pile: Pile
    rows: int = 0
    broken: int = 0
    first_broken: tuple[int, ...] = ()
    encoding: str = "utf-8"
    notes: list[tuple[str, int, str]] = field(default_factory=list)
    made: dict[str, RawTable] = field(default_factory=dict)


class Sink(Protocol):
    """What takes the parts of a file in the place of a pile."""

    def begin(self) -> None:
        """Forget all parts: the file is read once more, in another encoding."""

    def take(self, part: pl.DataFrame, seen: Seen) -> None:
        """Take a part, its columns named by their positions."""


def read_csv(
    source: Source,
    sniffed: Sniffed,
    wanted: tuple[int, ...],
    sink: Sink | None = None,
) -> RawTable:
    """Read the wanted columns of a CSV file as text.

    Args:
        source: The file.
        sniffed: Its encoding, separator and header.
        wanted: Positions of the columns.
        sink: Where the parts go, if not on the pile.

    Raises:
        TableError: The bytes can't be read, or a record is too long.
    """
    encodings = [sniffed.encoding]
    if sniffed.encoding == "utf-8":
        encodings += ["cp1252", "latin-1"]
    for encoding in encodings:
        if sink is not None:
            sink.begin()
        try:
            return _read(source, sniffed, wanted, encoding, sink)
        except (NotUtf8Error, UnicodeDecodeError):
            continue
    raise TableError(
        f"{source.display}: the text is in no encoding that could be told. Name it "
        "with 'encoding:' in a mapping file."
    )


def _read(
    source: Source,
    sniffed: Sniffed,
    wanted: tuple[int, ...],
    encoding: str,
    sink: Sink | None,
) -> RawTable:
    names = sniffed.header
    separator = sniffed.separator or ","
    scanner = Scanner(
        separator=separator.encode(), width=len(names), display=source.display
    )
    raw = RawTable(pile=Pile(), encoding=encoding)
    repeated = blank = 0
    with closing(_split(source, sniffed, wanted, scanner, raw)) as split:
        for part, seen in split:
            some, again = _without_headers(part, names, wanted, seen)
            frame = _without_blanks(some)
            blank += some.height - frame.height
            repeated += again
            raw.rows += frame.height
            if sink is None:
                raw.pile.add(frame)
            else:
                sink.take(frame, seen)
    raw.broken = scanner.broken
    raw.first_broken = tuple(scanner.first_broken)
    if repeated:
        raw.notes.append(
            ("repeated-header", repeated, "rows that repeat the header were left out")
        )
    if blank:
        raw.notes.append(
            ("blank-rows", blank, "rows without any mapped cell were left out")
        )
    if encoding != sniffed.encoding:
        raw.notes.append(
            ("encoding", 1, f"the text is no UTF-8 and was read as {encoding}")
        )
    return raw


def _without_blanks(frame: pl.DataFrame) -> pl.DataFrame:
    if not _may_be_blank(frame):
        return frame
    cells = pl.exclude(ROW).str.strip_chars().fill_null("")
    return frame.filter(~pl.all_horizontal(cells == ""))


def _split(
    source: Source,
    sniffed: Sniffed,
    wanted: tuple[int, ...],
    scanner: Scanner,
    raw: RawTable,
) -> Generator[tuple[pl.DataFrame, Seen], None, None]:
    """Yield records, split into cells, and what they may hold.

    Of a large file bytes are looked at, split and worked on by a thread each.
    """
    blocks = _fed(source, sniffed, scanner, raw.encoding, raw)
    large = source.size() >= _LARGE
    if large:
        blocks = ahead(blocks)

    def split() -> Generator[tuple[pl.DataFrame, Seen], None, None]:
        with closing(blocks):
            for block in blocks:
                seen = Seen(spaces=block.spaces, plus=block.plus, hash=block.hash)
                yield _frame(block, sniffed, wanted, source), seen

    return ahead(split()) if large else split()


def _fed(
    source: Source, sniffed: Sniffed, scanner: Scanner, encoding: str, raw: RawTable
) -> Generator[Block, None, None]:
    """Yield sound records; the last lines are held back to look for a footer."""
    skip = sniffed.skip
    held = b""
    for piece in recoded(source.blocks(), encoding):
        data = piece.replace(b"\r", b"\n") if sniffed.cr_only else piece
        if skip or len(data) < _HELD:
            data, held = held + data, b""
        while skip and b"\n" in data:
            skip -= 1
            data = data[data.index(b"\n") + 1 :]
        if skip:
            held = data
            continue
        cut = _tail_start(data)
        # Blocks are large: what was held and what comes are put together in one copy.
        whole = b"".join((held, memoryview(data)[:cut]))
        held = data[cut:]
        if whole and (block := scanner.feed(whole)):
            yield block
    if skip:
        return
    body = _without_footer(held, sniffed, raw)
    block = scanner.feed(body, last=True)
    if block:
        yield block


def _tail_start(data: bytes) -> int:
    """Return where the last few lines begin: at most 64 KB of them are held back."""
    floor = max(len(data) - _HELD, 0)
    at = len(data)
    for _ in range(_TAIL + 1):
        before = data.rfind(b"\n", floor, at)
        if before < 0:
            break
        at = before
    return min(at + 1, len(data))


def _without_footer(held: bytes, sniffed: Sniffed, raw: RawTable) -> bytes:
    lines = held.split(b"\n")
    left_out = 0
    while lines:
        text = lines[-1].decode("utf-8", "replace").strip(" \t\x1a,;|")
        # An odd quote closes a field that began on an earlier line.
        if text.count('"') % 2 or (text and not _is_footer(text, sniffed)):
            break
        left_out += bool(text)
        lines.pop()
    if left_out:
        raw.notes.append(
            ("footer", left_out, "rows at the end that sum up were left out")
        )
    return b"\n".join(lines) + b"\n" if lines else b""


def _is_footer(text: str, sniffed: Sniffed) -> bool:
    if not _FOOTER.fullmatch(text):
        return False
    try:
        row = next(csv.reader([text], delimiter=sniffed.separator or ","))
    except (csv.Error, StopIteration):
        return False
    filled = [cell for cell in row if cell.strip()]
    return len(filled) <= max(2, len(sniffed.header) // 2)


def _frame(
    block: Block, sniffed: Sniffed, wanted: tuple[int, ...], source: Source
) -> pl.DataFrame:
    """Let polars split records whose structure is known to be sound."""
    names = [str(i) for i in sorted(wanted)]
    if not block.data or not len(block.rows):
        empty = {name: pl.Series(name, [], dtype=pl.String) for name in names}
        return pl.DataFrame(empty).with_columns(pl.Series(ROW, [], dtype=pl.Int64))
    frame = pl.read_csv(
        block.data,
        has_header=False,
        separator=sniffed.separator or ",",
        quote_char='"' if block.quoted else None,
        # Named, or polars would take the number of columns from the first line.
        schema={str(i): pl.String() for i in range(len(sniffed.header))},
        columns=sorted(wanted),
    )
    if frame.height != len(block.rows):
        raise TableError(
            f"{source.display}: {frame.height} of {len(block.rows)} records near data "
            f"row {block.rows[0]} could be split. Look for stray quotes there."
        )
    # Put together column by column, or polars would copy them into fewer pieces.
    return pl.DataFrame({ROW: _numbers(block), **{n: frame[n] for n in names}})


def _numbers(block: Block) -> pl.Series:
    first, last = int(block.rows[0]), int(block.rows[-1])
    if last - first + 1 == len(block.rows):
        return pl.int_range(first, last + 1, eager=True)
    return pl.Series(block.rows, dtype=pl.Int64)


def _may_be_blank(frame: pl.DataFrame) -> bool:
    cells = [c for c in frame.columns if c != ROW]
    return all(
        frame[c].null_count() or bool((frame[c].str.len_bytes() < 3).any())
        for c in cells
    )


def _without_headers(
    frame: pl.DataFrame, names: tuple[str, ...], wanted: tuple[int, ...], seen: Seen
) -> tuple[pl.DataFrame, int]:
    cells = [(str(i), names[i]) for i in wanted if names[i]]
    if not cells:
        return frame, 0
    first = frame[cells[0][0]]
    # The names were stripped of the spaces that a repeated header still has.
    first = first.str.strip_chars() if seen.spaces else first
    if not (first == cells[0][1]).any():
        return frame, 0
    same = pl.all_horizontal(
        pl.col(c).str.strip_chars().fill_null("") == name for c, name in cells
    )
    kept = frame.filter(~same)
    return kept, frame.height - kept.height
