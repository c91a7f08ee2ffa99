"""Exports with damage of which all is known: what must be read, and what rejected."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from tests.tables import grids

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.tables.grids import Grid, Value

READABLE = ("instant", "duration", "number", "count", "flag")
"""Kinds of columns in which a cell can be unreadable."""


def _zip(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("export.csv", data)
    return out.getvalue()


PACKS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda data: gzip.compress(data, 1),
    ".bz2": bz2.compress,
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    ".zip": _zip,
}


@dataclass(kw_only=True)
class Line:
    """One row of the file that is to be written.

    Args:
        values: What its cells mean; None where they were emptied or made unreadable.
        cells: What is written.
        damage: What is done to its structure; empty if nothing.
        repeats: Whether it repeats another line.
    """

    values: list[Value]
    cells: list[str | None]
    damage: str = ""
    repeats: bool = False


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file, and what a reader must make of it.

    Args:
        data: Its bytes.
        name: A file name that fits.
        table: Which canonical table it feeds.
        names: Columns of `want`.
        want: Rows that must be read, the key first.
        made: Rows in the file, damaged and repeated ones included.
        rejected: Rows whose structure was damaged.
        repeated: Sound rows that repeat another.
        unreadable: Unreadable cells by column.
        mapping: Declared units: column to unit.
        marks: What was done, for a tally.
    """

    data: bytes
    name: str
    table: str
    names: tuple[str, ...]
    want: tuple[tuple[Value, ...], ...]
    made: int
    rejected: int
    repeated: int
    unreadable: dict[str, int]
    mapping: dict[str, str] = field(default_factory=dict)
    marks: tuple[str, ...] = ()


def mutated(rng: Random) -> Case:
    """Make an export of any format, with known damage."""
    form = rng.choice(("csv", "csv", "csv", "csv", "ndjson", "json", "parquet"))
    return {"csv": _csv, "ndjson": _json, "json": _json, "parquet": _parquet}[form](
        rng, form
    )


def _lines(
    rng: Random, grid: Grid, marks: set[str]
) -> tuple[list[Line], dict[str, str]]:
    """Spell the values; empty some cells, make some unreadable, repeat some rows."""
    units: dict[str, str] = {}
    columns: list[list[str | None]] = []
    for i, kind in enumerate(grid.kinds):
        values = [row[i] for row in grid.rows]
        ways = grids.SPELLINGS.get(kind)
        if ways is None:
            columns.append([None if v is None else str(v) for v in values])
            continue
        if kind == "duration" and rng.random() < 0.15:
            unit = rng.choice(tuple(grids.UNITS))
            units[grid.names[i]] = unit
            marks.add(f"unit {unit}")
            columns.append([repr(v * grids.UNITS[unit]) for v in values])
            continue
        way = rng.choice(tuple(ways))
        marks.add(f"{kind} {way}")
        columns.append([ways[way](v) for v in values])
    lines = [
        Line(values=list(row), cells=list(cells))
        for row, cells in zip(grid.rows, zip(*columns, strict=True), strict=True)
    ]
    _spoil(rng, grid, lines, marks)
    if rng.random() < 0.3:
        marks.add("repeated rows")
        for line in rng.sample(lines, rng.randint(1, min(3, len(lines)))):
            lines.insert(rng.randint(0, len(lines)), replace(line, repeats=True))
    return lines, units


def _spoil(rng: Random, grid: Grid, lines: list[Line], marks: set[str]) -> None:
    """Empty cells, and make cells unreadable."""
    if rng.random() < 0.5:
        marks.add("emptied cells")
        for _ in range(rng.randint(1, 4)):
            line, at = rng.choice(lines), rng.randrange(1, len(grid.names))
            line.cells[at] = line.values[at] = None
    places = [i for i, kind in enumerate(grid.kinds) if kind in READABLE]
    if rng.random() < 0.5 and places:
        marks.add("unreadable cells")
        for _ in range(rng.randint(1, 4)):
            line, at = rng.choice(lines), rng.choice(places)
            line.cells[at], line.values[at] = rng.choice(grids.WORST), None


def _case(lines: list[Line], grid: Grid, **more: Any) -> Case:
    sound = [line for line in lines if not line.damage]
    unreadable = {
        name: sum(line.cells[i] in grids.WORST for line in sound)
        for i, name in enumerate(grid.names)
        if grid.kinds[i] in READABLE
    }
    want = dict.fromkeys(tuple(line.values) for line in sound)
    return Case(
        table=grid.table,
        names=grid.names,
        want=tuple(want),
        made=len(lines),
        rejected=len(lines) - len(sound),
        repeated=len(sound) - len(want),
        unreadable={name: n for name, n in unreadable.items() if n},
        **more,
    )


# CSV -------------------------------------------------------------------------------

DAMAGES = ("short", "long", "stray quote", "unclosed quote", "nul", "rubbish")
ENCODINGS = (
    *("utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"),
    *("cp1252", "latin-1"),
)


def _csv(rng: Random, form: str) -> Case:
    del form
    marks: set[str] = {"csv"}
    encoding = rng.choice(ENCODINGS)
    # Without a mark, wide text is told by its zeros: by letters of the west only.
    ink = "cp1252" if encoding in {"utf-16-le", "utf-16-be"} else encoding
    grid = grids.stained(rng, grids.grid(rng), ink)
    if rng.random() < 0.5:
        grid = _turned(rng, grid, marks)
    lines, units = _lines(rng, grid, marks)
    if rng.random() < 0.5:
        for line in rng.sample(lines, rng.randint(1, max(1, len(lines) // 5))):
            line.damage = rng.choice(DAMAGES)
            marks.add(line.damage)
    separator = rng.choice(",,,;\t|")
    eol = rng.choice(("\n", "\n", "\r\n", "\r", "\r\r\n"))
    marks |= {encoding, f"separator {separator!r}", f"line end {eol!r}"}
    always = rng.random() < 0.2
    written = [_written(rng, line, separator, always=always) for line in lines]
    header = separator.join(_header(rng, grid, marks))
    if rng.random() < 0.1:
        marks.add("repeated header")
        written.insert(rng.randint(1, len(written)), header)
    if rng.random() < 0.1:
        marks.add("blank lines")
        written.insert(rng.randint(0, len(written)), rng.choice(("", "  ")))
    above = rng.choice(
        ("", "", "", "Call report\n", "Report,March\n\n", f"sep={separator}\n")
    )
    below = rng.choice(("", "", "", "\n\n", "(999 rows)\n", "Total rows: 12\n"))
    text = above + "\n".join([header, *written]) + rng.choice(("\n", ""))
    if below:
        marks.add("footer")
        text += ("" if text.endswith("\n") else "\n") + below
    data = text.replace("\n", eol).encode(encoding)
    name = f"{grid.table}.csv"
    if rng.random() < 0.3 and not (
        encoding.startswith(("utf-16", "utf-32", "cp", "la"))
    ):
        pack = rng.choice(tuple(PACKS))
        marks.add(pack)
        data, name = PACKS[pack](data), name + pack
    return _case(
        lines, grid, data=data, name=name, mapping=units, marks=tuple(sorted(marks))
    )


def _turned(rng: Random, grid: Grid, marks: set[str]) -> Grid:
    """Put the columns but the key in another order."""
    marks.add("columns in another order")
    order = [0, *rng.sample(range(1, len(grid.names)), len(grid.names) - 1)]
    return grids.Grid(
        table=grid.table,
        names=tuple(grid.names[i] for i in order),
        kinds=tuple(grid.kinds[i] for i in order),
        rows=tuple(tuple(row[i] for i in order) for row in grid.rows),
    )


def _header(rng: Random, grid: Grid, marks: set[str]) -> list[str]:
    if rng.random() < 0.2:
        marks.add("header in other case")
        return [f" {name.upper()} " for name in grid.names]
    return list(grid.names)


def _written(rng: Random, line: Line, separator: str, *, always: bool) -> str:
    cells = [_quoted(cell or "", separator, always=always) for cell in line.cells]
    if not line.damage:
        return separator.join(cells)
    plain = [_plain(cell or "", separator) for cell in line.cells]
    last = {
        "stray quote": '"said" no',
        "unclosed quote": '"never closed',
        "nul": "\0\0",
    }
    if line.damage == "short":
        plain = plain[: rng.randint(1, len(plain) - 1)]
    elif line.damage == "long":
        plain += ["more", "and more"][: rng.randint(1, 2)]
    elif line.damage == "rubbish":
        plain = ["%%%%"]
    else:
        plain[-1] = last[line.damage]
    return separator.join(plain)


def _plain(cell: str, separator: str) -> str:
    return "".join(c for c in cell if c not in {'"', separator, "\n"})


def _quoted(cell: str, separator: str, *, always: bool) -> str:
    if always or any(c in cell for c in (separator, '"', "\n", "\r")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


# JSON and Parquet ------------------------------------------------------------------

JUNK = ('{"call_id": "C0', "42", "null", '["x"]', "}{", '"text"', "{'a': 1}", "%%%")
NO_RECORDS = (None, 42, "text", [], ["x"], True)


def _json(rng: Random, form: str) -> Case:
    marks: set[str] = {form}
    grid = grids.stained(rng, grids.grid(rng), "utf-8")
    lines, units = _lines(rng, grid, marks)
    native = rng.random() < 0.5
    found = [
        json.dumps(
            _record(rng, line, grid, native=native), ensure_ascii=rng.random() < 0.5
        )
        for line in lines
    ]
    if rng.random() < 0.4:
        marks.add("no record")
        for at in rng.sample(
            range(len(lines)), rng.randint(1, max(1, len(lines) // 5))
        ):
            lines[at].damage = "no record"
            junk = rng.choice(JUNK) if form == "ndjson" else None
            # The first line says what the file is.
            found[at] = junk if junk and at else json.dumps(rng.choice(NO_RECORDS))
        if form == "ndjson" and lines[0].damage:
            lines[0].damage = ""
            found[0] = json.dumps(_record(rng, lines[0], grid, native=native))
    if form == "ndjson":
        text = rng.choice(("\n", "\r\n", "\n\n")).join(found) + rng.choice(("", "\n"))
    else:
        text = f"[{rng.choice((', ', ',' + chr(10))).join(found)}]"
        if rng.random() < 0.3 and not any(line.damage for line in lines[:10]):
            text = f'{{"count": {len(lines)}, "data": {text}}}'
    encoding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16"))
    marks.add(encoding)
    data, name = text.encode(encoding), f"{grid.table}.{form}"
    if rng.random() < 0.2 and encoding == "utf-8":
        data, name = PACKS[".gz"](data), name + ".gz"
        marks.add(".gz")
    return _case(
        lines, grid, data=data, name=name, mapping=units, marks=tuple(sorted(marks))
    )


def _record(rng: Random, line: Line, grid: Grid, *, native: bool) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, kind, value, cell in zip(
        grid.names, grid.kinds, line.values, line.cells, strict=True
    ):
        if cell is None:
            if rng.random() < 0.5:
                record[name] = rng.choice((None, ""))
        elif native and value is not None and kind in {"number", "count", "flag"}:
            record[name] = value
        else:
            record[name] = cell
    if rng.random() < 0.2:
        record["further"] = rng.choice(([1, 2], {"deep": {"er": 1}}, None, "x" * 50))
    return record


def _parquet(rng: Random, form: str) -> Case:
    marks: set[str] = {form}
    grid = grids.stained(rng, grids.grid(rng), "utf-8")
    lines, units = _lines(rng, grid, marks)
    columns: dict[str, pl.Series] = {}
    for i, (name, kind) in enumerate(zip(grid.names, grid.kinds, strict=True)):
        texts = pl.Series(name, [line.cells[i] for line in lines], dtype=pl.String)
        values = [line.values[i] for line in lines]
        spoilt = any(line.cells[i] in grids.WORST for line in lines)
        if spoilt or name in units or rng.random() < 0.5:
            columns[name] = texts
        else:
            columns[name] = _typed(rng, pl.Series(name, values, strict=False), kind)
    out = io.BytesIO()
    codec = rng.choice(("zstd", "snappy", "uncompressed", "lz4"))
    size = rng.choice((None, 7))
    pl.DataFrame(columns).write_parquet(out, compression=codec, row_group_size=size)
    marks.add(codec)
    return _case(
        lines,
        grid,
        data=out.getvalue(),
        name=f"{grid.table}.parquet",
        mapping=units,
        marks=tuple(sorted(marks)),
    )


def _typed(rng: Random, values: pl.Series, kind: str) -> pl.Series:
    if values.null_count() == len(values):
        return values.cast(pl.String)
    if kind == "instant":
        at = values.cast(pl.Int64).cast(pl.Datetime("ms"))
        at = at.dt.cast_time_unit(rng.choice(("ms", "us", "ns")))
        return at if rng.random() < 0.5 else at.dt.replace_time_zone("UTC")
    if kind == "count":
        return values.cast(rng.choice((pl.Int8, pl.Int32, pl.Int64, pl.Float64)))
    if kind in {"code", "text"} and rng.random() < 0.5:
        return values.cast(pl.Categorical)
    return values


# Noise -----------------------------------------------------------------------------

NOISES = ("bits", "bytes", "cut", "nuls", "spliced", "dropped", "repeated", "swapped")


def noisy(rng: Random, data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Damage bytes anyhow.

    Returns:
        Bytes, and what was done; `cut` alone means that the end is missing.
    """
    if rng.random() < 0.2:
        return data[: rng.randrange(len(data))], ("cut",)
    out = bytearray(data)
    kinds = [rng.choice(NOISES) for _ in range(rng.randint(1, 4))]
    for kind in kinds:
        if not out:
            break
        _noise(rng, out, kind)
    return bytes(out), (*kinds, "any")


def _noise(rng: Random, out: bytearray, kind: str) -> None:
    at = rng.randrange(len(out))
    size = min(rng.choice((1, 4, 30, 300)), len(out) - at)
    if kind == "bits":
        out[at] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        out[at : at + size] = rng.randbytes(size)
    elif kind == "cut":
        del out[at:]
    elif kind == "nuls":
        out[at:at] = bytes(size)
    elif kind == "spliced":
        other = rng.randrange(len(out))
        out[at:at] = out[other : other + size]
    elif kind == "dropped":
        del out[at : at + size]
    elif kind == "repeated":
        out[at:at] = out[at : at + size] * rng.choice((1, 20))
    else:
        other = rng.randrange(len(out))
        out[at], out[other] = out[other], out[at]
