"""One JSON export to the canonical tables that it feeds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kpiaudit.tables import schema
from kpiaudit.tables.jsonfile import json_header, read_json
from kpiaudit.tables.reading import converted, positions
from kpiaudit.tables.recognise import recognise

if TYPE_CHECKING:
    from kpiaudit.tables.mapping import SourceMapping
    from kpiaudit.tables.reading import Options, Read
    from kpiaudit.tables.recognise import Match
    from kpiaudit.tables.sniff import Sniffed
    from kpiaudit.tables.source import Source
    from kpiaudit.tables.textfile import RawTable


def read_json_source(
    source: Source, sniffed: Sniffed, options: Options, told: SourceMapping | None
) -> Read:
    """Recognise and read a JSON document, or one record a line.

    Raises:
        TableError: It can't be used.
        UnrecognisedError: Nothing recognises it.
    """
    header = json_header(source, sniffed, told)
    match = recognise(source, header, options.known)
    mapping = match.mapping
    late: list[str] = []
    if mapping.name == "canonical":
        # A key that first appears late in the file must not be missed.
        table = mapping.targets[0].table
        late = [n for n in schema.names(table) if n not in mapping.targets[0].cells]
        match = recognise(replace(source, table=table), (*header, *late), options.known)
        header = (*header, *late)
        mapping = match.mapping
    columns = positions(mapping, header, source, exact=True)
    raw = read_json(
        source, sniffed, tuple(header[i] for i in columns.values()), mapping
    )
    renamed = {header[i]: name for name, i in columns.items() if header[i] != name}
    if renamed:
        raw.pile.frames = [frame.rename(renamed) for frame in raw.pile.frames]
    if late:
        match = _without_absent(match, raw, late)
        header = tuple(n for n in header if n not in late or n in _filled(raw))
    read = converted(source, sniffed, header, match, raw, options)
    return replace(read, sha256=source.sha256())


def _filled(raw: RawTable) -> set[str]:
    return {
        name
        for part in raw.pile.parts()
        for name in part.columns
        if part[name].null_count() < part.height
    }


def _without_absent(match: Match, raw: RawTable, late: list[str]) -> Match:
    """Leave out the columns that were looked for in every record, and never found."""
    absent = set(late) - _filled(raw)
    targets = tuple(
        replace(t, cells={k: c for k, c in t.cells.items() if k not in absent})
        for t in match.mapping.targets
    )
    return replace(match, mapping=replace(match.mapping, targets=targets))
