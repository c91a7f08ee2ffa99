"""Which mapping, preset or canonical table a file's headers are."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

from kpiaudit.errors import RuleError, TableError, guess
from kpiaudit.frozen import frozen
from kpiaudit.tables import schema
from kpiaudit.tables.discover import meant_as, named_table
from kpiaudit.tables.grammar import no_preset, read_presets
from kpiaudit.tables.mapping import Cell, SourceMapping, Target, fold

if TYPE_CHECKING:
    from kpiaudit.tables.source import Source

CANONICAL = "canonical"


class UnrecognisedError(TableError):
    """Nothing recognises the file; in a folder that is a note."""


@frozen
class Known:
    """What may recognise a file.

    Args:
        mappings: From the user's mapping file.
        preset: Name of the preset to take; None lets the headers decide.
    """

    mappings: tuple[SourceMapping, ...] = ()
    preset: str | None = None

    @cached_property
    def presets(self) -> tuple[SourceMapping, ...]:
        """Return the presets; they are read when a file is not canonical."""
        return read_presets()

    def headers(self) -> frozenset[str]:
        """Return every folded column name that one of them knows."""
        return self._headers

    @cached_property
    def _headers(self) -> frozenset[str]:
        return _named(self.mappings) | _preset_names()

    def told(self) -> SourceMapping | None:
        """Return the mapping that describes files before they are opened, if any."""
        chosen = [m for m in self.mappings if _layout_told(m)]
        if self.preset is not None:
            chosen += [p for p in self.presets if p.name == self.preset]
            chosen = [m for m in chosen if _layout_told(m)]
        return chosen[0] if len(chosen) == 1 else None


def _named(mappings: tuple[SourceMapping, ...]) -> frozenset[str]:
    return frozenset(fold(n) for m in mappings for n in (*m.headers, *m.needs()))


@cache
def _preset_names() -> frozenset[str]:
    return _named(read_presets())


def _layout_told(mapping: SourceMapping) -> bool:
    return bool(
        mapping.header
        or mapping.skip_rows is not None
        or mapping.encoding
        or mapping.separator
        or mapping.records
    )


@frozen
class Match:
    """What a file was taken for, and why."""

    mapping: SourceMapping
    why: str


def recognise(source: Source, header: tuple[str, ...], known: Known) -> Match:
    """Say what a file is by its name and headers.

    The user's mapping comes first, then a preset that was named, canonical headers,
    and presets by their headers.

    Raises:
        UnrecognisedError: Nothing fits.
        TableError: Two presets fit equally.
        RuleError: A mapping names a column that the file does not have.
    """
    folded = [fold(name) for name in header]
    wanted = source.table
    if found := _mapped(source, header, folded, known):
        return found
    if known.preset is not None:
        return _named_preset(source, header, folded, known)
    table, why = _canonical_table(source, folded)
    preset = None
    if table is None or not _mostly_canonical(table, folded):
        preset = _preset(source, folded, known)
    if table and preset is None:
        return Match(mapping=canonical(table, header), why=why)
    if preset:
        return Match(mapping=preset, why=_headers_of(preset))
    near = _nearest(source, folded, known)
    unfit = "".join(
        f" {m.where}, does not fit: the file lacks {unfitting(m, folded)}."
        for m in known.mappings
    )
    raise UnrecognisedError(_unrecognised(source, header, wanted) + unfit + near)


def unfitting(mapping: SourceMapping, folded: list[str]) -> str:
    """Say what a file, of which no table was made by a mapping, lacks for it."""
    lacking = [h for h in mapping.headers if fold(h) not in folded]
    if lacking:
        return f"{', '.join(lacking)} of its 'headers'"
    return "its table" if mapping.headers else "the columns that it names"


def _headers_of(preset: SourceMapping) -> str:
    return f"every column that tells this format is there ({', '.join(preset.headers)})"


def _canonical_table(source: Source, folded: list[str]) -> tuple[str | None, str]:
    if source.table:
        found = source.table if _canonical_names(source.table, folded) else None
        return found, "named with --table, canonical headers"
    hinted = named_table(source.hint)
    if hinted:
        names = _canonical_names(hinted, folded)
        # Other columns beside them may say that these are totals per agent.
        mostly = 2 * len(names) > len([f for f in folded if f])
        if len(names) >= 2 and (mostly or _has_key(hinted, names)):
            return hinted, f"the name '{source.hint}' and canonical headers"
    return _by_headers(folded), "canonical headers"


def _mostly_canonical(table: str, folded: list[str]) -> bool:
    """Say whether half of the file's columns are canonical: a preset must not win."""
    return 2 * len(_canonical_names(table, folded)) >= len([f for f in folded if f])


def _unrecognised(source: Source, header: tuple[str, ...], table: str | None) -> str:
    shown = ", ".join(header[:8]) + (", ..." if len(header) > 8 else "")
    what = f"no column of '{table}'" if table else "no table"
    meant = table is None and meant_as(source.hint)
    if meant:
        names = ", ".join(schema.names(meant)[:6])
        return (
            f"{source.display}: the file is named like the table '{meant}', but its "
            f"headers ({shown}) are neither that table's ({names}, ...) nor those of a "
            "preset. Write a mapping file (docs/mapping.md) and pass it with --mapping;"
            f" if it holds no {meant}, give it another name."
        )
    return (
        f"{source.display}: {what} is recognised by its headers ({shown}). Write a "
        "mapping file (docs/mapping.md; 'kpiaudit presets' prints some to copy) and "
        "pass it with --mapping, or leave it out."
    )


def _nearest(source: Source, folded: list[str], known: Known) -> str:
    """Name the preset of which the file has most but not all that tells it."""
    best: tuple[float, SourceMapping] | None = None
    for preset in known.presets:
        there = sum(fold(h) in folded for h in preset.headers)
        share = there / len(preset.headers) if preset.headers else 0.0
        fits = not source.table or source.table in {t.table for t in preset.targets}
        if fits and there >= 3 and share > (best[0] if best else 0.5):
            best = (share, preset)
    if best is None or _indispensable(best[1], folded):
        return ""
    lacking = [h for h in best[1].headers if fold(h) not in folded]
    return (
        f" It resembles '{best[1].name}' but lacks {', '.join(lacking)}; if it is one, "
        f"pass --preset {best[1].name}."
    )


def _mapped(
    source: Source, header: tuple[str, ...], folded: list[str], known: Known
) -> Match | None:
    fits: list[SourceMapping] = []
    for mapping in known.mappings:
        if source.table and source.table not in {t.table for t in mapping.targets}:
            continue
        if mapping.headers:
            if all(fold(h) in folded for h in mapping.headers):
                fits.append(mapping)
        elif mapping.header or _names_columns(mapping, folded):
            fits.append(mapping)
    if not fits:
        return None
    if len(fits) > 1:
        most = max(len(m.headers) for m in fits)
        fits = [m for m in fits if len(m.headers) == most]
    if len(fits) > 1:
        raise RuleError(
            f"{source.display}: the mappings {' and '.join(m.name for m in fits)} fit "
            "equally. Add to their 'headers' what tells them apart."
        )
    mapping = complete(fits[0], header)
    for name in _missing(mapping, folded):
        raise RuleError(
            f"{mapping.where}: {source.display} has no column '{name}'."
            f"{guess(name, header)} Mend the name, or mark it 'optional: true'."
        )
    return Match(mapping=_present(mapping, folded), why=f"mapping file {mapping.where}")


def _names_columns(mapping: SourceMapping, folded: list[str]) -> bool:
    """Say whether a mapping without `headers` means this file: half its columns."""
    needs = [fold(n) for n in mapping.needs()]
    return not needs or 2 * sum(n in folded for n in needs) >= len(needs)


def _missing(mapping: SourceMapping, folded: list[str]) -> list[str]:
    missing: list[str] = []
    given = {*folded, *map(fold, mapping.optional)}
    for target in () if mapping.assemble else mapping.targets:
        for cell in target.cells.values():
            names = cell.needs()
            absent = [n for n in names if fold(n) not in given]
            if len(cell.columns) > 1 and len(absent) < len(names):
                continue
            missing += absent if not cell.optional else []
        record = target.keep.record if target.keep else None
        missing += [record] if record and fold(record) not in given else []
    return missing


def _named_preset(
    source: Source, header: tuple[str, ...], folded: list[str], known: Known
) -> Match:
    preset = next((p for p in known.presets if p.name == known.preset), None)
    if preset is None:
        raise no_preset(known.preset or "", [p.name for p in known.presets])
    lacking = [h for h in preset.headers if fold(h) not in folded]
    if not lacking or preset.header:
        return Match(mapping=_present(preset, folded), why=f"--preset {preset.name}")
    table = source.table or named_table(source.hint)
    if table and _has_key(table, _canonical_names(table, folded)):
        return Match(mapping=canonical(table, header), why="canonical headers")
    needed = _indispensable(preset, folded)
    if needed:
        raise UnrecognisedError(
            f"{source.display}: the preset '{preset.name}' needs the columns "
            f"{', '.join(needed)}, which the file does not have. Choose another."
        )
    why = f"--preset {preset.name}, although the file lacks {', '.join(lacking)}"
    return Match(mapping=_present(preset, folded), why=why)


def _indispensable(preset: SourceMapping, folded: list[str]) -> list[str]:
    """Return what a file lacks that a preset can't do without, if it was asked for.

    That is the column with the table's key, and half of those that tell the format.
    """
    lacking = [h for h in preset.headers if fold(h) not in folded]
    if preset.assemble or 2 * len(lacking) > len(preset.headers):
        return lacking
    keys = [schema.key(t.table) for t in preset.targets]
    cells = [t.cells.get(k) for t, k in zip(preset.targets, keys, strict=True) if k]
    return [
        name
        for cell in cells
        if cell and not any(fold(n) in folded for n in cell.needs())
        for name in cell.needs()
    ]


def _preset(source: Source, folded: list[str], known: Known) -> SourceMapping | None:
    fits = [
        p
        for p in known.presets
        if p.headers
        and all(fold(h) in folded for h in p.headers)
        and (not source.table or source.table in {t.table for t in p.targets})
    ]
    if not fits:
        return None
    most = max(len(p.headers) for p in fits)
    fits = [p for p in fits if len(p.headers) == most]
    if len(fits) > 1:
        raise TableError(
            f"{source.display}: the presets "
            f"{' and '.join(sorted(p.name for p in fits))} fit equally. Choose one "
            "with --preset."
        )
    return _present(fits[0], folded)


def _present(mapping: SourceMapping, folded: list[str]) -> SourceMapping:
    """Leave out the cells whose source columns the file does not have."""
    if mapping.assemble:
        return mapping

    def has(cell: Cell) -> bool:
        names = cell.needs()
        if len(cell.columns) > 1 or cell.cases or cell.instead:
            return any(fold(n) in folded for n in names)
        return all(fold(n) in folded for n in names)

    def told(cell: Cell) -> Cell:
        # Of several columns those that the file has: so they are named, and read.
        there = tuple(n for n in cell.columns if fold(n) in folded)
        return replace(cell, columns=there) if there else cell

    targets = tuple(
        replace(t, cells={k: told(c) for k, c in t.cells.items() if has(c)})
        for t in mapping.targets
    )
    return replace(mapping, targets=targets)


def complete(mapping: SourceMapping, header: tuple[str, ...]) -> SourceMapping:
    """Add columns with canonical names to targets that ask for them."""
    targets: list[Target] = []
    for target in mapping.targets:
        cells = dict(target.cells)
        if target.canonical:
            extra = canonical(target.table, header).targets[0].cells
            used = {fold(n) for c in cells.values() for n in c.needs()}
            for name, cell in extra.items():
                if name not in cells and fold(cell.columns[0]) not in used:
                    cells[name] = cell
        targets.append(replace(target, cells=cells))
    return replace(mapping, targets=tuple(targets))


def canonical(table: str, header: tuple[str, ...]) -> SourceMapping:
    """Return the mapping of a file whose headers are canonical."""
    names = _canonical_names(table, [fold(h) for h in header])
    cells = {name: Cell(columns=(header[i],)) for name, i in names.items()}
    return SourceMapping(name=CANONICAL, targets=(Target(table=table, cells=cells),))


def _canonical_names(table: str, folded: list[str]) -> dict[str, int]:
    """Return canonical column to position; a proper name goes before an alias."""
    found: dict[str, int] = {}
    for column in schema.TABLES[table]:
        for name in (column.name, *column.aliases):
            if name in folded:
                found[column.name] = folded.index(name)
                break
    return found


def _has_key(table: str, names: dict[str, int]) -> bool:
    """Say whether rows are named or at least dated: totals per agent are neither."""
    key = schema.key(table)
    dated = set(schema.ANCHORS.get(table, ())) & set(names)
    return key in names or bool(dated) or (key is None and len(names) >= 2)


def _by_headers(folded: list[str]) -> str | None:
    """Return the one table whose key and two more columns are there."""
    scores: dict[str, int] = {}
    for table in schema.TABLES:
        names = _canonical_names(table, folded)
        key = schema.key(table)
        if (key is None and len(names) >= 3) or (key in names and len(names) >= 3):
            scores[table] = len(names)
    if not scores:
        return None
    best = max(scores.values())
    fits = [t for t, score in scores.items() if score == best]
    return fits[0] if len(fits) == 1 else None
