"""Bytes of an export: opened, decompressed within limits, and turned into UTF-8."""

from __future__ import annotations

import codecs
import hashlib
import io
import lzma
import os
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

from kpiaudit.errors import RuleError, TableError
from kpiaudit.frozen import frozen
from kpiaudit.tables.zstd import most_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = 16 * 2**20
FREE_INFLATION = 256 * 2**20  # below this size no ratio is suspicious

MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PAR1", "parquet"),
    (b"\xd0\xcf\x11\xe0", "xls"),
    (b"%PDF", "pdf"),
    (b"SQLite format 3", "sqlite"),
    (b"ARROW1", "arrow"),
    (b"Obj\x01", "avro"),
    (b"ORC", "orc"),
    (b"7z\xbc\xaf", "7z"),
    (b"Rar!", "rar"),
    (b"\x89PNG", "png"),
)
Stamp: TypeAlias = "tuple[int, int, int] | None"

_BROKEN = (
    *(EOFError, ValueError, KeyError, NotImplementedError, RuntimeError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, zipfile.LargeZipFile),
)
"""What the unpackers of the standard library raise when a file is damaged."""

COMPRESSED = ("gzip", "zstd", "bzip2", "xz", "zip")


def limit(name: str, default: float) -> float:
    """Return a limit that an environment variable may raise.

    Raises:
        RuleError: The variable holds no positive number.
    """
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise RuleError(f"The environment variable {name} is '{text}'. Give a number.")
    return value


def max_field_bytes() -> int:
    """Return how long a record may be (KPIAUDIT_MAX_FIELD_MB, 16)."""
    return int(limit("KPIAUDIT_MAX_FIELD_MB", 16) * 2**20)


@frozen
class Source:
    """One file, one member of a zip archive, or standard input.

    Args:
        display: How the report names it: as given.
        path: Where it is; None for standard input.
        member: Name inside a zip archive.
        data: What standard input held.
        table: Table that the user named for it.
        hint: Name that may tell its table: the file's, or its folder's.
        named: Whether the user named it, rather than a folder that holds it.
        stray: Whether a folder or an archive may hold it beside exports: it is named
            neither by the user nor by a glob, nor after a table.
        sheet: Sheet of a workbook whose cells `data` holds as CSV; else None.
        notes: Kind, count and sentence of what was met when it was opened.
    """

    display: str
    path: Path | None = None
    member: str | None = None
    data: bytes | None = None
    table: str | None = None
    hint: str = ""
    named: bool = False
    stray: bool = False
    sheet: str | None = None
    notes: tuple[tuple[str, int, str], ...] = ()

    def sha256(self) -> str | None:
        """Return the hash of the file's bytes; None for what is no local file."""
        if self.path is None:
            return None
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise self._unreadable(error) from error

    def size(self) -> int:
        """Return the bytes on disk."""
        if self.data is not None:
            return len(self.data)
        stamp = self.stamp()
        return stamp[0] if stamp else 0

    def stamp(self) -> Stamp:
        """Return size, time of the last change and number of the file, if it is one."""
        if self.path is None:
            return None
        try:
            found = self.path.stat()
        except OSError as error:
            raise self._unreadable(error) from error
        return found.st_size, found.st_mtime_ns, found.st_ino

    def has_grown(self, stamp: Stamp) -> bool:
        """Say whether something was written to the end of the file meanwhile."""
        now = self.stamp()
        return bool(stamp and now and now[0] > stamp[0] and now[2] == stamp[2])

    def check_unchanged(self, stamp: Stamp) -> None:
        """Refuse a file that is another one than it was.

        Raises:
            TableError: It was changed or removed.
        """
        if self.stamp() != stamp:
            raise TableError(
                f"{self.display}: the file was changed while it was read. Wait until "
                "it is written, then run again."
            )

    def first(self, count: int = 64) -> bytes:
        """Return the first bytes as they stand on disk."""
        if self.data is not None:
            return self.data[:count]
        try:
            with cast("Path", self.path).open("rb") as file:
                return file.read(count)
        except OSError as error:
            raise self._unreadable(error) from error

    def compression(self) -> str | None:
        """Return the compression by magic bytes, whatever the name says."""
        kind = magic(self.first())
        return kind if kind in COMPRESSED else None

    def blocks(self) -> Iterator[bytes]:
        """Yield the decompressed bytes.

        Raises:
            TableError: The archive is cut off, broken, or inflates too much.
        """
        kind = self.compression()
        try:
            yield from self._blocks(kind)
        except _BROKEN as error:
            raise TableError(
                f"{self.display}: the compressed file is cut off or damaged ({error})."
                " Copy or export it again."
            ) from error
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> TableError:
        return TableError(
            f"{self.display}: the file can't be read ({error.strerror or error}). Copy "
            "or export it again."
        )

    def _opened(self) -> BinaryIO:
        if self.data is not None:
            return io.BytesIO(self.data)
        return cast("Path", self.path).open("rb")

    def _blocks(self, kind: str | None) -> Iterator[bytes]:
        with self._opened() as raw:
            if kind is None:
                while block := raw.read(BLOCK):
                    yield block
                return
            if kind == "zstd":
                self.check_inflation(most_bytes(raw))
                yield from _zstd(self)
                return
            out = 0
            with _opened(raw, kind, self) as stream:
                while block := stream.read(BLOCK):
                    out += len(block)
                    self.check_inflation(out)
                    yield block

    def check_inflation(self, inflated: int) -> None:
        """Refuse a file that is a bomb.

        Args:
            inflated: Bytes that came out of it, or will come.

        Raises:
            TableError: They are too many for the file's size.
        """
        ratio = limit("KPIAUDIT_MAX_INFLATE_RATIO", 300)
        if inflated > FREE_INFLATION and inflated > ratio * max(self.size(), 1):
            raise TableError(
                f"{self.display}: inflates to more than {ratio:g} times its size. If "
                "that is right, set KPIAUDIT_MAX_INFLATE_RATIO to a larger number."
            )


def _opened(raw: BinaryIO, kind: str, source: Source) -> BinaryIO:
    # Each of these modules is needed for its own kind of file only.
    if kind == "gzip":
        import gzip  # noqa: PLC0415

        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if kind == "bzip2":
        import bz2  # noqa: PLC0415

        return cast("BinaryIO", bz2.BZ2File(raw))
    if kind == "xz":
        return cast("BinaryIO", lzma.LZMAFile(raw))
    archive = zipfile.ZipFile(raw)
    members = zip_members(archive)
    name = source.member or (members[0] if members else "")
    if archive.getinfo(name).flag_bits & 1:
        raise TableError(
            f"{source.display}: the archive has a password. Unpack it first."
        )
    return cast("BinaryIO", archive.open(name))


def zip_members(archive: zipfile.ZipFile) -> list[str]:
    """Return the files in an archive that may be tables, sorted."""
    return sorted(
        info.filename
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.startswith("__MACOSX/")
        and not info.filename.rsplit("/", 1)[-1].startswith(".")
    )


def _zstd(source: Source) -> Iterator[bytes]:
    # The standard library knows zstd from Python 3.14 on; polars knows it always, and
    # is asked for lines: one column, no quotes, a separator that text does not hold.
    import polars as pl  # noqa: PLC0415

    raw = source.data if source.data is not None else source.path
    try:
        lines = pl.read_csv(
            cast("Path", raw),
            has_header=False,
            separator="\x1f",
            quote_char=None,
            infer_schema=False,
            truncate_ragged_lines=True,
        ).to_series()
    except pl.exceptions.NoDataError:
        return
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableError(
            f"{source.display}: the compressed file is cut off, damaged or not UTF-8 "
            f"({error}). Unpack it first."
        ) from error
    for start in range(0, len(lines), 100_000):
        part = lines.slice(start, 100_000).fill_null("").to_list()
        # No newline behind the last line: lines may end in a carriage return alone.
        yield (("\n" if start else "") + "\n".join(part)).encode()


def magic(head: bytes) -> str | None:
    """Return what the first bytes say a file is, or None if they say nothing."""
    for start, kind in MAGIC:
        if head.startswith(start):
            return kind
    return None


def recoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Turn blocks of text in any encoding into UTF-8, each line ended by a newline.

    Args:
        blocks: Bytes in `encoding`.
        encoding: Name of a Python codec; `utf-8` is passed through unchecked.
    """
    pending = b""
    utf8 = encoding.lower().replace("_", "-") in {"utf-8", "utf8", "ascii"}
    decoder = None if utf8 else codecs.getincrementaldecoder(encoding)("replace")
    first = True
    for block in blocks:
        data = decoder.decode(block).encode() if decoder else block
        if first:
            data = data.removeprefix(codecs.BOM_UTF8)
            first = False
        data = pending + data
        # A carriage return at the end may be half of a line end: wait for the rest.
        cut = len(data) - len(data.rstrip(b"\r"))
        pending = data[len(data) - cut :] if cut else b""
        yield unified(data[: len(data) - cut] if cut else data)
    tail = (
        (decoder.decode(b"", True).encode() if decoder else b"") if not first else b""
    )
    # Carriage returns that nothing follows are a line end of which the rest is missing.
    if tail:
        yield unified(pending + tail)


def unified(data: bytes) -> bytes:
    """Replace line ends with carriage returns by plain newlines."""
    if b"\r" not in data:
        return data
    return data.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n")
