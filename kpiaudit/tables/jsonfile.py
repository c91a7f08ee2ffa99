"""NDJSON and JSON documents to frames of text, one column a dotted path."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from kpiaudit.errors import TableError
from kpiaudit.tables.assembly import ASSEMBLIES
from kpiaudit.tables.columns import ROW
from kpiaudit.tables.source import limit, max_field_bytes, recoded
from kpiaudit.tables.spill import Pile
from kpiaudit.tables.textfile import RawTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.tables.mapping import SourceMapping
    from kpiaudit.tables.sniff import Sniffed
    from kpiaudit.tables.source import Source

_LINES = 50_000
_SAMPLE = 1000
_USUAL = ("data", "records", "items", "results", "rows", "value", "values", "entries")


def json_header(
    source: Source, sniffed: Sniffed, told: SourceMapping | None = None
) -> tuple[str, ...]:
    """Return the dotted paths in the first thousand records; lists end in `[]`."""
    found: dict[str, None] = {}
    deepest = _deepest()
    for count, record in enumerate(_records(source, sniffed, told)):
        if isinstance(record, dict):
            with _no_deeper(source):
                found.update(dict.fromkeys(_paths(record, "", deepest)))
        if count >= _SAMPLE:
            break
    return tuple(found)


def read_json(
    source: Source, sniffed: Sniffed, wanted: tuple[str, ...], told: SourceMapping
) -> RawTable:
    """Read the wanted paths of a JSON export as text.

    Args:
        source: The file.
        sniffed: `ndjson` or `json`, and its encoding.
        wanted: Dotted paths; those absent from the file give empty columns.
        told: Where the records are, and which list makes the rows.

    Raises:
        TableError: No list of records was found, or the document is broken.
    """
    with _no_deeper(source):
        return _read(source, sniffed, wanted, told)


def _read(
    source: Source, sniffed: Sniffed, wanted: tuple[str, ...], told: SourceMapping
) -> RawTable:
    if told.assemble:
        return _made(source, sniffed, told)
    raw = RawTable(pile=Pile(), encoding=sniffed.encoding)
    plain = not told.explode and all("." not in w and "[" not in w for w in wanted)
    if sniffed.format == "ndjson":
        for lines in _line_groups(source, sniffed):
            frame = _fast(lines, wanted) if plain else None
            if frame is None:
                _take(raw, (_loaded(line) for line in lines), wanted, told)
            else:
                seen = raw.rows + raw.broken
                rows = pl.int_range(seen + 1, seen + frame.height + 1, eager=True)
                raw.pile.add(frame.with_columns(rows.alias(ROW)))
                raw.rows += frame.height
    else:
        _take(raw, _document(source, sniffed, told), wanted, told)
    _check_fields(raw, wanted, source)
    return raw


@contextmanager
def _no_deeper(source: Source) -> Iterator[None]:
    try:
        yield
    except RecursionError as error:
        raise TableError(
            f"{source.display}: the JSON is nested more than {_deepest()} levels deep."
            " If that is right, set KPIAUDIT_MAX_JSON_DEPTH to a larger number."
        ) from error


def _deepest() -> int:
    """Return how deep a record may be nested (KPIAUDIT_MAX_JSON_DEPTH, 100)."""
    return int(limit("KPIAUDIT_MAX_JSON_DEPTH", 100))


def _check_fields(raw: RawTable, wanted: tuple[str, ...], source: Source) -> None:
    """Refuse fields as long as those that a CSV may not have either."""
    for part in raw.pile.parts():
        longest = part.select(pl.max_horizontal(pl.col(wanted).str.len_bytes().max()))
        if (longest.item() or 0) > max_field_bytes():
            raise _too_long(source)


def _too_long(source: Source) -> TableError:
    return TableError(
        f"{source.display}: a record or field is longer than "
        f"{max_field_bytes() / 2**20:g} MB. If that is right, set "
        "KPIAUDIT_MAX_FIELD_MB to a larger number."
    )


def _made(source: Source, sniffed: Sniffed, told: SourceMapping) -> RawTable:
    """Let code make the rows of each record."""
    from kpiaudit.tables.genesys import rows_of_conversation  # noqa: PLC0415  # rare

    assembly = ASSEMBLIES[told.assemble or ""]
    if not assembly.nested:
        raise TableError(
            f"{source.display}: '{told.assemble}' is no format of JSON records. Choose "
            "another mapping or preset."
        )
    raw = RawTable(pile=Pile(), encoding=sniffed.encoding)
    held: dict[str, list[dict[str, Any]]] = {table: [] for table in assembly.gives}
    raw.made = {table: RawTable(pile=Pile()) for table in assembly.gives}
    first: list[int] = []
    for row, record in enumerate(_records(source, sniffed, told), 1):
        if not isinstance(record, dict):
            raw.broken += 1
            first = [*first, row][:5]
            continue
        raw.rows += 1
        for table, cells in rows_of_conversation(record):
            held[table].append(cells | {ROW: row})
            if len(held[table]) >= _LINES:
                _pile_up(raw.made[table], held[table], assembly.gives[table])
    for table, rows in held.items():
        _pile_up(raw.made[table], rows, assembly.gives[table])
    raw.first_broken = tuple(first)
    return raw


def _pile_up(
    table: RawTable, rows: list[dict[str, Any]], names: tuple[str, ...]
) -> None:
    """Put rows on a table's pile, and let go of them."""
    types = dict.fromkeys(names, pl.String()) | {ROW: pl.Int64()}
    columns = {name: [row.get(name) for row in rows] for name in types}
    table.pile.add(pl.DataFrame(columns, schema=types))
    table.rows += len(rows)
    rows.clear()


def _fast(lines: list[bytes], wanted: tuple[str, ...]) -> pl.DataFrame | None:
    """Let polars read lines of which all are sound; None if one is not."""
    if any(b'"\\u0000' in line for line in lines[:1]):
        return None
    try:
        frame = pl.read_ndjson(
            b"\n".join(lines), schema=dict.fromkeys(wanted, pl.String)
        )
    except (pl.exceptions.PolarsError, OSError, ValueError):
        return None
    return frame if frame.height == len(lines) else None


def _take(
    raw: RawTable, records: Iterator[Any], wanted: tuple[str, ...], told: SourceMapping
) -> None:
    columns: dict[str, list[str | None]] = {name: [] for name in wanted}
    rows: list[int] = []
    row = raw.rows + raw.broken
    first = list(raw.first_broken)
    for record in records:
        row += 1
        if not isinstance(record, dict):
            raw.broken += 1
            first = [*first, row][:5]
            continue
        raw.rows += 1
        for flat in _flattened(record, told.explode):
            rows.append(row)
            for name in wanted:
                columns[name].append(flat.get(name))
    raw.first_broken = tuple(first)
    frame = pl.DataFrame(columns, schema=dict.fromkeys(wanted, pl.String))
    raw.pile.add(frame.with_columns(pl.Series(ROW, rows, dtype=pl.Int64)))


def _flattened(
    record: dict[str, Any], explode: tuple[str, ...]
) -> Iterator[dict[str, str | None]]:
    flat: dict[str, str | None] = {}
    _flatten(record, "", flat, _deepest())
    if not explode:
        yield flat
        return
    yield from _exploded(record, explode[-1].split("[]."), "", flat)


def _exploded(
    record: dict[str, Any], path: list[str], prefix: str, flat: dict[str, str | None]
) -> Iterator[dict[str, str | None]]:
    name = path[0].removesuffix("[]")
    items: Any = record
    for part in name.split("."):
        items = items.get(part) if isinstance(items, dict) else None
    for item in items if isinstance(items, list) else []:
        here = dict(flat)
        below = f"{prefix}{name}[]."
        if isinstance(item, dict):
            _flatten(item, below, here, _deepest())
            if len(path) > 1:
                yield from _exploded(item, path[1:], below, here)
                continue
        yield here


def _flatten(
    record: dict[str, Any], prefix: str, out: dict[str, str | None], room: int
) -> None:
    if not room:
        raise RecursionError
    for name, value in record.items():
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{name}.", out, room - 1)
        elif isinstance(value, list):
            if all(not isinstance(v, (dict, list)) for v in value):
                out[prefix + name] = "; ".join(_text(v) or "" for v in value) or None
        else:
            out[prefix + name] = _text(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return {True: "true", False: "false"}.get(value, str(value))


def _paths(record: dict[str, Any], prefix: str, room: int) -> Iterator[str]:
    if not room:
        raise RecursionError
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{name}.", room - 1)
        elif isinstance(value, list) and any(isinstance(v, dict) for v in value):
            for item in value[:3]:
                if isinstance(item, dict):
                    yield from _paths(item, f"{prefix}{name}[].", room - 1)
        else:
            yield prefix + name


def _records(
    source: Source, sniffed: Sniffed, told: SourceMapping | None
) -> Iterator[Any]:
    if sniffed.format == "json":
        yield from _document(source, sniffed, told)
        return
    for lines in _line_groups(source, sniffed):
        for line in lines:
            yield _loaded(line)


def _line_groups(source: Source, sniffed: Sniffed) -> Iterator[list[bytes]]:
    held = b""
    for block in recoded(source.blocks(), sniffed.encoding):
        data = held + block
        cut = data.rfind(b"\n") + 1
        held = data[cut:]
        if len(held) > max_field_bytes():
            raise _too_long(source)
        lines = [line for line in data[:cut].split(b"\n") if line.strip()]
        for start in range(0, len(lines), _LINES):
            yield lines[start : start + _LINES]
    if held.strip():
        yield [held]


def _loaded(line: bytes) -> Any:
    """Return a record, or None if the line is no JSON."""
    try:
        return json.loads(
            line, parse_int=str, parse_float=str, parse_constant=lambda _: None
        )
    except (ValueError, RecursionError):
        return None


def _document(
    source: Source, sniffed: Sniffed, told: SourceMapping | None
) -> Iterator[Any]:
    data = _whole(source, sniffed)
    try:
        document = json.loads(
            data, parse_int=str, parse_float=str, parse_constant=lambda _: None
        )
    except RecursionError as error:
        raise TableError(
            f"{source.display}: the JSON is nested too deep to be an export."
        ) from error
    except ValueError as error:
        raise TableError(
            f"{source.display}: the JSON document is broken ({error}). Export it "
            "again, or as one record a line."
        ) from error
    yield from _list_in(document, told.records if told else None, source)


def _whole(source: Source, sniffed: Sniffed) -> bytes:
    """Return a document, which has to be held in memory as a whole."""
    most = limit("KPIAUDIT_MAX_JSON_MB", 512)
    parts: list[bytes] = []
    size = 0
    for block in recoded(source.blocks(), sniffed.encoding):
        size += len(block)
        if size > most * 2**20:
            raise TableError(
                f"{source.display}: a JSON document of more than {most:g} MB. Export "
                "one record a line, or set KPIAUDIT_MAX_JSON_MB to a larger number."
            )
        parts.append(block)
    return b"".join(parts)


def _list_in(document: Any, path: str | None, source: Source) -> list[Any]:
    if path:
        for part in path.split("."):
            document = document.get(part) if isinstance(document, dict) else None
        if not isinstance(document, list):
            raise TableError(
                f"{source.display}: there is no list at '{path}'. Mend 'records:' in "
                "the mapping file."
            )
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        raise TableError(f"{source.display}: the JSON holds no records.")
    lists = {
        k: v
        for k, v in document.items()
        if isinstance(v, list) and v and all(isinstance(i, dict) for i in v[:10])
    }
    if len(lists) == 1:
        return next(iter(lists.values()))
    usual = [k for k in _USUAL if k in lists]
    if usual:
        return lists[usual[0]]
    if lists:
        raise TableError(
            f"{source.display}: several lists could be the records "
            f"({', '.join(sorted(lists))}). Name one with 'records:' in a mapping file."
        )
    return [document]
