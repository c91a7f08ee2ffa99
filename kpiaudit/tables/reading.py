"""What was read of one file, and how its rows become canonical tables."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from kpiaudit.errors import TableError
from kpiaudit.findings import Input
from kpiaudit.frozen import frozen
from kpiaudit.tables.assembly import assembled
from kpiaudit.tables.cells import any_holds
from kpiaudit.tables.columns import Context
from kpiaudit.tables.conversion import convert
from kpiaudit.tables.mapping import fold
from kpiaudit.tables.sentence import Sentence, at_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

    from kpiaudit.tables.columns import Converted
    from kpiaudit.tables.conversion import Conversion
    from kpiaudit.tables.dates import Order
    from kpiaudit.tables.mapping import SourceMapping
    from kpiaudit.tables.recognise import Known, Match
    from kpiaudit.tables.sniff import Sniffed
    from kpiaudit.tables.source import Source, Stamp
    from kpiaudit.tables.textfile import RawTable


@frozen
class Options:
    """What holds for every file.

    Args:
        known: Mappings and presets.
        timezone: Zone of instants without an offset.
        max_unreadable: Share of broken rows or unreadable cells that is tolerated.
        order: Order of day and month, where a file itself does not tell.
    """

    known: Known
    timezone: str
    max_unreadable: float
    order: Order | None = None


@frozen
class Read:
    """One file that was read.

    Args:
        display: Path as given.
        sniffed: What it is.
        header: Its columns.
        match: What it was taken for, and why.
        converted: Canonical tables out of it.
        rows: Rows read.
        rejected: Rows whose structure is broken.
        sha256: Of its bytes.
        notes: Kind, count and sentence about the whole file.
        again: The file and its stamp, if its frames read it again when collected.
    """

    display: str
    sniffed: Sniffed
    header: tuple[str, ...]
    match: Match
    converted: tuple[Converted, ...]
    rows: int
    rejected: int = 0
    sha256: str | None = None
    notes: tuple[tuple[str, int, str], ...] = field(default=())
    again: tuple[Source, Stamp] | None = None

    def order(self) -> Order | None:
        """Return the order of day and month, if the file told it."""
        return next((c.order for c in self.converted if c.order), None)

    def inputs(self) -> tuple[Input, ...]:
        """Return what the report says of the file, once a table."""
        return tuple(
            Input(
                table=c.table,
                path=self.display,
                rows=c.rows,
                rejected=self.rejected,
                sha256=self.sha256,
                preset=self.match.mapping.name,
            )
            for c in self.converted
        )


def converted(
    source: Source,
    sniffed: Sniffed,
    header: tuple[str, ...],
    match: Match,
    raw: RawTable,
    options: Options,
    *,
    begun: Iterable[Conversion] = (),
) -> Read:
    """Turn the text of a file into the tables that it feeds.

    Args:
        source: The file.
        sniffed: What it is.
        header: Its columns.
        match: What it was taken for.
        raw: Its text.
        options: What holds for every file.
        begun: The tables, if all parts have gone into them already.

    Raises:
        TableError: It has no rows, or more of it is damaged than tolerated.
    """
    mapping = match.mapping
    tables = _rows(raw, mapping, options)
    total = raw.rows + raw.broken
    if not total:
        raise TableError(
            f"{source.display}: there are no rows below the header. Export it again."
        )
    first = ", ".join(map(str, raw.first_broken))
    if raw.broken > options.max_unreadable * total:
        raise TableError(
            f"{source.display}: {raw.broken:,} of {total:,} rows "
            f"({raw.broken / total:.1%}) are broken: the number of fields, quotes or "
            f"bytes are wrong (first: data rows {first}). Export it again, or allow "
            "more with --max-unreadable."
        )
    if not raw.rows:
        raise TableError(f"{source.display}: every row is broken (first: {first}).")
    if raw.broken:
        raw.notes.append(
            (
                "rejected-rows",
                raw.broken,
                Sentence(
                    "rows were left out: the number of fields, the quotes or bytes "
                    f"are wrong (first: data rows {first})",
                    at_rows(raw.first_broken),
                ),
            )
        )
    refuse_cut_off(source, raw.pile.parts(), mapping)
    context = context_of(source, sniffed, options)
    converted = tuple(done.finish() for done in begun) or tuple(
        convert(tables[target.table].pile, target, mapping, context)
        for target in mapping.targets
        if tables[target.table].rows
    )
    if not converted:
        raise TableError(
            f"{source.display}: no row of {' or '.join(tables)} could be put together "
            f"from {raw.rows:,} records. Look at the file: its events or segments are "
            f"none that '{mapping.name}' knows."
        )
    for piece in converted if mapping.assemble else ():
        piece.notes += tables[piece.table].notes
    raw.pile.clear()
    return Read(
        display=source.display,
        sniffed=sniffed,
        header=header,
        match=match,
        converted=converted,
        rows=raw.rows,
        rejected=raw.broken,
        notes=(*raw.notes, *_zone_note(sniffed, mapping, options)),
    )


def _zone_note(
    sniffed: Sniffed, mapping: SourceMapping, options: Options
) -> Iterable[tuple[str, int, str]]:
    """Say that the file's own zone goes before the one that was asked for."""
    if sniffed.timezone and not mapping.timezone:
        zone = sniffed.timezone
        if zone != options.timezone:
            text = f"the header says that its instants are in {zone}, and they were "
            text += f"read so; days and hours are those of {options.timezone}"
            yield "time-zone", 1, text


def context_of(source: Source, sniffed: Sniffed, options: Options) -> Context:
    """Return what is known about a file before its cells are read."""
    return Context(
        display=source.display,
        timezone=sniffed.timezone or options.timezone,
        max_unreadable=options.max_unreadable,
        order=options.order,
        separator=sniffed.separator,
    )


def _rows(
    raw: RawTable, mapping: SourceMapping, options: Options
) -> dict[str, RawTable]:
    """Return the rows of each table: the file's own, or those made of its records."""
    if raw.made:
        return raw.made
    if not mapping.assemble or not raw.rows:
        return dict.fromkeys((t.table for t in mapping.targets), raw)
    zone = mapping.timezone or options.timezone
    made = assembled(mapping.assemble, raw, zone)
    return {t.table: made[t.table] for t in mapping.targets}


def refuse_cut_off(
    source: Source, parts: Iterable[pl.DataFrame], mapping: SourceMapping
) -> None:
    """Refuse an export of which rows say that it is not whole.

    Raises:
        TableError: There are such rows.
    """
    columns = dict.fromkeys(c.column for group in mapping.complete for c in group)
    count = 0
    for part in parts if columns else ():
        there = dict(part.schema)
        if set(columns) & set(there):
            whole = part.filter(any_holds(mapping.complete, there))
            count += part.height - whole.height
    if count:
        raise TableError(
            f"{source.display}: {count:,} rows say that the export was cut off "
            f"(column {' and '.join(columns)}). Export it again, in shorter periods."
        )


def positions(
    mapping: SourceMapping,
    header: tuple[str, ...],
    source: Source,
    *,
    exact: bool = False,
) -> dict[str, int]:
    """Return where each source column that the mapping reads stands.

    Raises:
        TableError: One of them stands there twice, or none is there at all.
    """
    folded = [fold(name) for name in header]
    found: dict[str, int] = {}
    taken: set[int] = set()
    for name in mapping.needs():
        places = [i for i, h in enumerate(header) if h == name]
        places = places or [i for i, f in enumerate(folded) if f == fold(name)]
        if len(places) > 1:
            raise TableError(
                f"{source.display}: the column '{name}' stands {len(places)} times in "
                "the header. Rename all but one."
            )
        if places and not (exact and places[0] in taken):
            found[name] = places[0]
            taken.add(places[0])
    if not found:
        raise TableError(
            f"{source.display}: none of the mapped columns is there. Mend the mapping."
        )
    return found
