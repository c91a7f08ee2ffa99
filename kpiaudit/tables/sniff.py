"""What a file is before it is read: format, encoding, separator, header row."""

from __future__ import annotations

import codecs
import csv
import io
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias

from kpiaudit.errors import TableError
from kpiaudit.frozen import frozen
from kpiaudit.tables import schema
from kpiaudit.tables.assembly import QUEUE_LOG
from kpiaudit.tables.importids import stated_zone
from kpiaudit.tables.mapping import fold
from kpiaudit.tables.queuelog import is_queue_log
from kpiaudit.tables.source import magic, recoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from kpiaudit.tables.mapping import SourceMapping
    from kpiaudit.tables.source import Source

Names: TypeAlias = "Callable[[], frozenset[str]]"
HEAD = 256 * 1024
_SEPARATORS = (",", ";", "\t", "|", "\x1f", "^", "~")
_NO_TABLE = {
    "xlsx": "an Excel workbook; save the sheet as CSV (UTF-8)",
    "xls": "an old Excel workbook, or one with a password; save the sheet as CSV "
    "(UTF-8)",
    "html": "a web page; export it again as CSV",
    "xml": "XML; export it again as CSV",
    "pdf": "a PDF; export the data as CSV",
    "sqlite": "an SQLite database; export its table as CSV",
    "7z": "a 7z archive; unpack it first",
    "rar": "a RAR archive; unpack it first",
    "avro": "Avro; convert it to Parquet",
    "orc": "ORC; convert it to Parquet",
    "png": "a picture",
    "binary": "no text: it holds NUL bytes; export it again as CSV",
}
_NO_EXPORT = {"pdf", "png", "binary"}
_PACKED = {
    *(".parquet", ".pq", ".arrow", ".feather", ".xlsx", ".xls"),
    *(".zip", ".gz", ".zst", ".bz2", ".xz"),
}
_TEXTS = {".csv", ".tsv", ".psv", ".json", ".ndjson", ".jsonl", ".cdr"}
_NUMBERLIKE = re.compile(r"[\s\d.,:/+\-TZ%]*\d[\s\d.,:/+\-TZ%]*")
_CANONICAL = frozenset(
    name
    for columns in schema.TABLES.values()
    for c in columns
    for name in (c.name, *c.aliases)
)


class NoTableError(TableError):
    """The file holds no table, nor remains of one; in a folder that is a note."""


@frozen
class Sniffed:
    """What a file is.

    Args:
        format: `csv`, `ndjson`, `json`, `queue_log`, `parquet` or `arrow`.
        compression: `gzip`, ... or None.
        encoding: Of the text.
        bom: Whether a byte-order mark said so.
        separator: Of the fields; None but for CSV.
        header: Column names as they stand; empty for JSON.
        skip: Lines of decoded text above the first data row.
        skipped: Lines above the header row.
        cr_only: Whether lines end in a carriage return alone.
        timezone: Zone of its instants, where its header rows name one.
    """

    format: str
    compression: str | None = None
    encoding: str = "utf-8"
    bom: bool = False
    separator: str | None = None
    header: tuple[str, ...] = ()
    skip: int = 0
    skipped: int = 0
    cr_only: bool = False
    timezone: str | None = None


def sniff(
    source: Source,
    known: Names = lambda: frozenset(),  # noqa: PLW0108  # typed so
    told: SourceMapping | None = None,
) -> Sniffed:
    """Look at the first bytes of a file.

    Args:
        source: The file.
        known: Gives the folded column names of presets and mappings; it is asked
            only where the canonical ones do not tell the header.
        told: A mapping that says more about the file.

    Raises:
        NoTableError: The file is empty, prose, or no data at all.
        TableError: It is nothing that can be read.
    """
    kind = magic(source.first())
    if kind in {"parquet", "arrow"}:
        return Sniffed(format=kind)
    compression = source.compression()
    head = _head(source)
    inner = magic(head)
    if inner == "parquet":
        raise TableError(
            f"{source.display}: a Parquet file inside an archive. Unpack it first."
        )
    kind = "xlsx" if compression == "zip" and is_workbook(source) else inner
    if kind in _NO_TABLE:
        raise _no_table(source, kind)
    encoding, bom = _encoding(head, source, told)
    text, cr_only = _text(head, encoding)
    if not text.strip():
        # What is packed is never of no bytes: such a file was cut off.
        cut = not source.first(1) and _suffix(source) in _PACKED
        error = TableError if cut else NoTableError
        raise error(f"{source.display}: the file is empty. Export it again.")
    low = text.lstrip()[:200].lower()
    if re.match(r"<(!doctype html|html|table|head|body|div|meta)", low):
        raise TableError(f"{source.display}: this is {_NO_TABLE['html']}.")
    if low.startswith("<?xml"):
        raise TableError(f"{source.display}: this is {_NO_TABLE['xml']}.")
    form = _json_kind(text)
    if form and not (told and told.separator):
        return Sniffed(format=form, compression=compression, encoding=encoding, bom=bom)
    if is_queue_log(text):
        return Sniffed(
            format="queue_log",
            compression=compression,
            encoding=encoding,
            bom=bom,
            separator="|",
            header=QUEUE_LOG,
        )
    separator, header, skip, above = _layout(text, source, known, told)
    return Sniffed(
        format="xlsx" if source.sheet is not None else "csv",
        compression=compression,
        encoding=encoding,
        bom=bom,
        separator=separator,
        header=header,
        skip=skip,
        skipped=above,
        cr_only=cr_only,
        timezone=stated_zone("\n".join(text.split("\n", skip)[:skip])),
    )


def _head(source: Source) -> bytes:
    parts: list[bytes] = []
    size = 0
    for block in source.blocks():
        parts.append(block)
        size += len(block)
        if size >= HEAD:
            break
    return b"".join(parts)[:HEAD]


def _suffix(source: Source) -> str:
    return PurePath(source.member or source.path or "").suffix.lower()


def _no_table(source: Source, kind: str) -> TableError:
    """Return the error of a kind of file; one named like an export is damaged."""
    stray = kind in _NO_EXPORT and _suffix(source) not in _PACKED | _TEXTS
    error = NoTableError if stray else TableError
    return error(f"{source.display}: this is {_NO_TABLE[kind]}.")


def _names_column(text: str, known: Names) -> bool:
    """Say whether the first line names a column: then it is an export, not prose."""
    line = text.lstrip().split("\n", 1)[0]
    words = {fold(w) for w in re.findall(r"\w+", line) if "_" in w} | {fold(line)}
    return bool(words & (_CANONICAL | known()))


def is_workbook(source: Source) -> bool:
    """Say whether a file is an Excel workbook, by its first bytes."""
    if magic(source.first()) != "zip":
        return False
    return b"[Content_Types].xml" in source.first(4096) or b"xl/" in source.first(4096)


def _encoding(
    head: bytes, source: Source, told: SourceMapping | None
) -> tuple[str, bool]:
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return name, True
    if told and told.encoding:
        try:
            codecs.lookup(told.encoding)
        except LookupError as error:
            raise TableError(
                f"{source.display}: there is no encoding '{told.encoding}' "
                f"({told.where}). Names are like 'utf-8' or 'cp1252'."
            ) from error
        return told.encoding, False
    sample = head[:4096]
    half = len(sample) // 2
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    # Few in the other half are characters of their own: U+0000, U+0100.
    if half and odd > 0.4 * half and even < 0.1 * half:
        return "utf-16-le", False
    if half and even > 0.4 * half and odd < 0.1 * half:
        return "utf-16-be", False
    if b"\0" in re.split(rb"[\r\n]", head, maxsplit=1)[0]:
        raise _no_table(source, "binary")
    return "utf-8", False


def _text(head: bytes, encoding: str) -> tuple[str, bool]:
    if encoding == "utf-8":
        raw = head.removeprefix(codecs.BOM_UTF8)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            # Cut in the middle of a character, or an older encoding: both read well
            # enough here; the reading itself finds out which it is.
            text = raw[: error.start].decode("utf-8")
            if len(raw) - error.start > 4:
                text = raw.decode("cp1252", "replace")
    else:
        text = b"".join(recoded(iter([head]), encoding)).decode("utf-8", "replace")
    text = text.removeprefix("\ufeff").replace("\r\r\n", "\n").replace("\r\n", "\n")
    cr_only = "\n" not in text and "\r" in text
    return (text.replace("\r", "\n") if cr_only else text), cr_only


def _json_kind(text: str) -> str | None:
    start = text.lstrip()
    if start.startswith("["):
        return "json"
    if not start.startswith("{"):
        return None
    line = start.split("\n", 1)[0].rstrip()
    # One object a line, or one document over many lines.
    if line.endswith("}") and len(line) > 2 and _balanced(line):
        rest = start[len(line) :].strip()
        return "ndjson" if rest.startswith("{") or _flat(line) else "json"
    return "json" if '"' in text[:2000] else None


def _flat(line: str) -> bool:
    return "[{" not in line.replace(" ", "")


def _balanced(line: str) -> bool:
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
    return bare.count("{") == bare.count("}")


def _layout(
    text: str, source: Source, known: Names, told: SourceMapping | None
) -> tuple[str, tuple[str, ...], int, int]:
    """Return separator, header, lines above the data and lines above the header."""
    lines = text.split("\n")
    start = told.skip_rows or 0 if told else 0
    separators: tuple[str, ...] = _SEPARATORS
    if match := re.fullmatch(r"sep=(.)", lines[start].strip(' "'), re.IGNORECASE):
        separators, start = (match[1],), start + 1
    elif lines[start].rstrip() == "sep=" or lines[start] == "sep=\t":
        separators, start = ("\t",), start + 1
    if told and told.separator:
        separators = (told.separator,)
    body = "\n".join(lines[start:])
    best: tuple[float, str, list[tuple[list[str], int]]] | None = None
    for separator in separators:
        rows = _rows(body, separator)
        score = _consistency(rows, known)
        if best is None or score > best[0]:
            best = (score, separator, rows)
    if best is None or best[0] <= 0:
        column = _names_column(text, known) and not _beside(source)
        error = TableError if column else NoTableError
        raise error(
            f"{source.display}: only one column was found, so this is no table whose "
            "fields are separated by comma, semicolon, tab or bar. Export it as CSV, "
            "or name the separator in a mapping file."
        )
    _, separator, rows = best
    if told and told.header:
        first = _first_of_width(rows, len(told.header))
        above = start + (rows[first - 1][1] if first else 0)
        return separator, told.header, above, above
    index = _header_row(rows, known, source, fixed=bool(told and told.skip_rows))
    header = [cell.strip().removeprefix("\ufeff") for cell in rows[index][0]]
    above = start + (rows[index - 1][1] if index else 0)
    last = index
    for i in (index + 1, index + 2):
        if i < len(rows) and any("importid" in c[:14].lower() for c in rows[i][0]):
            last = i  # Qualtrics: names, questions, ids of the questions
    header = _widened(header, rows[last + 1 :])
    return separator, tuple(header), start + rows[last][1], above


def _rows(body: str, separator: str) -> list[tuple[list[str], int]]:
    """Return the first records with the number of lines read up to their end."""
    found: list[tuple[list[str], int]] = []
    reader = csv.reader(io.StringIO(body, newline="\n"), delimiter=separator)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                found.append((row, reader.line_num))
            elif found:
                found[-1] = (found[-1][0], reader.line_num)
            if len(found) >= 400:
                break
    except csv.Error:
        return _split_rows(body, separator)
    return found


def _split_rows(body: str, separator: str) -> list[tuple[list[str], int]]:
    lines = body.split("\n")[:400]
    return [(ln.split(separator), i + 1) for i, ln in enumerate(lines) if ln.strip()]


def _consistency(rows: list[tuple[list[str], int]], known: Names) -> float:
    """Score a separator: share of records with the usual width, and known headers."""
    widths = [len(row) for row, _ in rows]
    if not widths:
        return 0
    usual = max(set(widths), key=lambda w: (widths.count(w) * (w > 1), w))
    if usual < 2:
        return 0
    hits = max(_hits(rows, known))
    return hits * 100 + widths.count(usual) / len(widths) * 10 + min(usual, 50) / 100


def _hits(rows: list[tuple[list[str], int]], known: Names) -> list[int]:
    """Return how many known column names stand in each of the first rows."""
    folded = [{fold(cell) for cell in row} for row, _ in rows[:40]]
    hits = [len(names & _CANONICAL) for names in folded]
    if max(hits, default=0) >= 3:
        return hits
    more = known()
    return [max(n, len(names & more)) for n, names in zip(hits, folded, strict=True)]


def _header_row(
    rows: list[tuple[list[str], int]],
    known: Names,
    source: Source,
    *,
    fixed: bool,
) -> int:
    if fixed:
        return 0
    hits = _hits(rows, known)
    if max(hits, default=0) >= 2:
        return hits.index(max(hits))
    widths = [len(row) for row, _ in rows]
    usual = max(set(widths), key=lambda w: (widths.count(w) * (w > 1), w))
    index = next(i for i, w in enumerate(widths) if abs(w - usual) <= 1 and w > 1)
    cells = [c.strip() for c in rows[index][0] if c.strip()]
    if any(_NUMBERLIKE.fullmatch(cell) for cell in cells) or len(cells) < 2:
        # Commas in prose fall anywhere: its lines agree on no number of fields.
        prose = 2 * widths.count(usual) < len(widths)
        # Sheets of figures and texts stand beside the one that holds the export.
        error = NoTableError if prose or _beside(source) else TableError
        raise error(
            f"{source.display}: no header row was found (the first row is "
            f"'{' '.join(cells)[:60]}'). Add one, or give the names with 'header:' in "
            "a mapping file."
        )
    return index


def _beside(source: Source) -> bool:
    return source.sheet is not None and source.stray


def _first_of_width(rows: list[tuple[list[str], int]], width: int) -> int:
    for i, (row, _) in enumerate(rows[:40]):
        if len(row) == width:
            return i
    return 0


def _widened(header: list[str], rows: list[tuple[list[str], int]]) -> list[str]:
    """Add a nameless column if every row but the header ends in a separator."""
    widths = {len(row) for row, _ in rows[:200]}
    if widths == {len(header) + 1} and all(not row[-1] for row, _ in rows[:200]):
        return [*header, ""]
    return header
