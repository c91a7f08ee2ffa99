"""The grammar of mappings and presets: which source column is which canonical one."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, TypeAlias

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

UNITS = (
    "s",
    "ms",
    "min",
    "h",
    "days",
    "hh:mm:ss",
    "mm:ss",
    "hh:mm",
    "epoch_s",
    "epoch_ms",
    "epoch_us",
    "excel",
)
"""Units that a column may declare; the last four are for instants."""


@frozen
class Condition:
    """A test of one source column; texts are compared without case and outer spaces.

    Args:
        column: Source column, or a dotted path into JSON.
        any_of: True if the cell is one of these.
        none_of: True if the cell is none of these (an empty cell is none of them).
        above: True if the cell is a number above this.
        below: True if the cell is a number below this.
        present: True if the cell is filled (or, if False, empty).
    """

    column: str
    any_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] | None = None
    above: float | None = None
    below: float | None = None
    present: bool | None = None


When: TypeAlias = tuple[Condition, ...]
"""Conditions that must all hold."""


@frozen
class Case:
    """What a cell becomes when the conditions hold: a text, or another column's."""

    when: When = ()
    value: str | None = None
    column: str | None = None


@frozen
class Cell:
    """How one canonical column comes about.

    Args:
        columns: Source columns; the first that is filled counts.
        constant: A text for every row.
        template: Text with `{source column}` in it; empty where one of them is empty.
        instead: Further templates; the first that is not empty counts.
        date: Source column with the date of an instant.
        time: Source column with its time of day.
        absent_time: Times of day that mean "did not happen".
        after: Canonical instant that this one follows: half a day earlier means that
            midnight has passed in between.
        plus: Source durations that are added to the instant or duration.
        plus_unit: Unit of these durations.
        cases: The first case whose conditions hold.
        values: Source code to canonical code; None empties the cell.
        default: What a code outside `values` becomes; see `has_default`.
        has_default: Whether there is a default.
        null: Further texts that stand for an empty cell.
        extract: Regular expression; its first group (or the whole match) is kept.
        unit: One of `UNITS`.
        format: strptime formats of an instant, tried in this order.
        timezone: Zone of this instant if it has no offset.
        when: The cell is empty where these conditions do not hold.
        optional: Whether the source column may be missing.
    """

    columns: tuple[str, ...] = ()
    constant: str | None = None
    template: str | None = None
    instead: tuple[str, ...] = ()
    date: str | None = None
    time: str | None = None
    absent_time: tuple[str, ...] = ()
    after: str | None = None
    plus: tuple[str, ...] = ()
    plus_unit: str | None = None
    cases: tuple[Case, ...] = ()
    values: Mapping[str, str | None] = field(default_factory=dict)
    default: str | None = None
    has_default: bool = False
    null: tuple[str, ...] = ()
    extract: str | None = None
    unit: str | None = None
    format: tuple[str, ...] = ()
    timezone: str | None = None
    when: When = ()
    optional: bool = False

    @property
    def plain(self) -> bool:
        """Say whether the cell is one source column as it stands."""
        return len(self.columns) == 1 and not (
            self.plus
            or self.values
            or self.has_default
            or self.null
            or self.extract
            or self.when
        )

    def needs(self) -> tuple[str, ...]:
        """Return the source columns without which the cell can't come about."""
        found = [*self.columns, *_fields(self.template), *self.plus]
        found += [name for text in self.instead for name in _fields(text)]
        found += [name for name in (self.date, self.time) if name]
        found += [c.column for c in self.when]
        for case in self.cases:
            found += [c.column for c in case.when]
            found += [case.column] if case.column else []
        return tuple(dict.fromkeys(found))


@frozen
class Keep:
    """Which of several deliveries of one record counts.

    Args:
        column: Source column with the stamp or number of the delivery.
        per: Canonical columns that name the record; none stands for the key.
        record: Source column that names the record, instead of `per`.
    """

    column: str
    per: tuple[str, ...] = ()
    record: str | None = None


@frozen
class Target:
    """What one source feeds into one canonical table.

    Args:
        table: Canonical table.
        cells: How each canonical column comes about.
        drop: Rows to leave out: those for which one of these holds.
        only: If given, rows to keep: those for which one of these holds.
        keep: Which delivery of a record counts.
        fill: Whether rows only fill what another file's row with the same key lacks.
        canonical: Whether columns with canonical names are taken as they are.
        origins: Who wrote a column, where it differs from the schema.
    """

    table: str
    cells: Mapping[str, Cell] = field(default_factory=dict)
    drop: tuple[When, ...] = ()
    only: tuple[When, ...] = ()
    keep: Keep | None = None
    fill: bool = False
    canonical: bool = False
    origins: Mapping[str, str] = field(default_factory=dict)

    def needs(self) -> tuple[str, ...]:
        """Return every source column that the target reads."""
        found = [name for cell in self.cells.values() for name in cell.needs()]
        found += [c.column for group in (*self.drop, *self.only) for c in group]
        if self.keep:
            found += [n for n in (self.keep.column, self.keep.record) if n]
        return tuple(dict.fromkeys(found))


@frozen
class SourceMapping:
    """One export format: how it is recognised, and what it feeds.

    Args:
        name: Short id; `canonical` for files that need no mapping.
        targets: Tables that it feeds.
        headers: Source columns that it is recognised by; empty: its name is needed.
        where: File that it was read from.
        header: Column names of a file without a header row.
        skip_rows: Lines above the header row; None lets the loader look for it.
        encoding: Text encoding; None lets the loader find out.
        separator: Field separator; None lets the loader find out.
        timezone: Zone of instants without an offset; None takes the option's.
        null: Further texts that stand for an empty cell.
        records: Dotted path to the list of records in a JSON document.
        explode: Dotted path to a list inside each record: one row per item.
        about: What the format is, and what the mapping rests on, in words.
        complete: Rows for which none of these holds show that the export was cut off.
        assemble: Name of the code that makes rows where records are none; the cells
            then name the columns of those rows.
        takes: Source columns that this code reads.
        optional: Source columns that the file may lack.
        confidence: What a preset rests on, and whether it was tried on a real file.
        notes: What a user of a preset has to know, a sentence each.
        shipped: Whether it is a preset.
    """

    name: str
    targets: tuple[Target, ...]
    headers: tuple[str, ...] = ()
    where: str = ""
    header: tuple[str, ...] = ()
    skip_rows: int | None = None
    encoding: str | None = None
    separator: str | None = None
    timezone: str | None = None
    null: tuple[str, ...] = ()
    records: str | None = None
    explode: tuple[str, ...] = ()
    complete: tuple[When, ...] = ()
    assemble: str | None = None
    takes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    about: str = ""
    confidence: str = ""
    notes: tuple[str, ...] = ()
    shipped: bool = False

    def needs(self) -> tuple[str, ...]:
        """Return every source column that the mapping reads."""
        if self.takes:
            return self.takes
        found = [n for t in self.targets for n in t.needs()]
        found += [c.column for group in self.complete for c in group]
        return tuple(dict.fromkeys(found))


def template_parts(template: str) -> tuple[tuple[str, str | None], ...]:
    """Split a template into pairs of literal text and the column that follows it.

    >>> template_parts("{line}-{id}")
    (('', 'line'), ('-', 'id'))
    """
    parts: list[tuple[str, str | None]] = []
    rest = template
    while "{" in rest:
        literal, _, rest = rest.partition("{")
        name, _, rest = rest.partition("}")
        parts.append((literal, name.strip()))
    if rest:
        parts.append((rest, None))
    return tuple(parts)


def _fields(template: str | None) -> tuple[str, ...]:
    return tuple(n for _, n in template_parts(template or "") if n)


def fold(name: str) -> str:
    """Return a header as it is compared: without case, outer and repeated spaces.

    >>> fold("  Call  ID ")
    'call id'
    """
    return " ".join(
        name.replace("\ufeff", "").replace("\u00a0", " ").split()
    ).casefold()
