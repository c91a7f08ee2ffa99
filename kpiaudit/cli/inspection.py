"""The page of `kpiaudit inspect`, for who knows the export and not kpiaudit."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kpiaudit.outputs.clean import visible
from kpiaudit.tables import schema
from kpiaudit.tables.recognise import CANONICAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kpiaudit.findings import DataNote
    from kpiaudit.rulebook import Rule
    from kpiaudit.tables.report import ColumnReport, Examined, FileReport

_WIDTH = 100
_SHOWN = 6  # columns that would let a rule see more
_WRITERS = {
    "system": "Written by a system; the person who is measured can't write these",
    "steered": "Recorded by a system, but what the person does chooses the value",
    "agent": "Typed or clicked by the person who is measured",
    "supervisor": "Written by a supervisor",
    "customer": "Said by the customer",
    "third_party": "Written by a third party",
    "derived": "Computed from other columns",
    "unknown": "Nobody says who writes these: as if the person who is measured did",
}
_RESTS = {
    "doc": "It rests on the vendor's documentation",
    "repo": "It rests on schemas and files in public repositories",
}
_SEPARATORS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
_FORMATS = {
    "csv": "CSV text",
    "ndjson": "JSON, one record a line",
    "json": "a JSON document",
    "parquet": "Parquet",
    "arrow": "Arrow",
    "xlsx": "a sheet of an Excel workbook",
    "queue_log": "Asterisk's queue log",
    "frame": "a data frame",
}


def page(
    found: Examined, rules: Sequence[Rule], lacking: Mapping[str, Sequence[str]]
) -> str:
    """Return what `inspect` prints.

    Args:
        found: The files and what is to be noted of their data.
        rules: Those that would run.
        lacking: Of each rule the columns that it needs and nothing gives.
    """
    lines = [line for report in found.files for line in _file(report)]
    if found.notes:
        only = found.files[0].path if len(found.files) == 1 else ""
        lines += ["Notes on the data", *_notes(found.notes, only), ""]
    if found.files and all(report.error for report in found.files):
        lines += _wrapped("No rule can run until a file can be used.", "")
    else:
        lines += ["Rules that these files enable", *_rules(found, rules, lacking)]
    return "\n".join(lines) + "\n"


def _file(report: FileReport) -> Iterator[str]:
    yield visible(report.path)
    if report.error:
        yield from _said("can't be used", report.error.removeprefix(f"{report.path}: "))
        yield ""
        return
    for i, table in enumerate(report.tables):
        label = "and for" if i else "taken for"
        yield from _said(label, f"{table}: {schema.ROWS[table]}")
    yield from _said("because", _why(report))
    yield from _said("format", _confidence(report))
    if report.format:
        yield from _said("read as", _form(report))
        yield from _said("rows", _rows(report))
    if report.cautions:
        yield "  know before you trust it:"
        for caution in report.cautions:
            yield from _wrapped(caution, "    - ")
    for table in report.tables:
        yield from _columns(table, report)
    if report.unmapped:
        names = ", ".join(visible(name) for name in report.unmapped)
        yield from _said("not used", f"{names} (a mapping file can name them)")
    if not report.format:
        for _, _, detail in report.notes:
            yield from _said("note", detail.removeprefix(f"{report.path}: "))
    yield ""


def _rows(report: FileReport) -> str:
    rejected = f"{report.rejected:,} rejected" if report.rejected else "none rejected"
    return f"{report.rows:,} read, {rejected}"


def _why(report: FileReport) -> str:
    if report.preset == CANONICAL and report.unmapped:
        some = sum(not c.derived for c in report.columns)
        return f"{some} of its {some + len(report.unmapped)} headers are canonical"
    return report.why + (f"; preset '{report.preset}'" if report.confidence else "")


def _confidence(report: FileReport) -> str:
    """Say what a preset is and rests on, in words."""
    if not report.confidence:
        return report.about
    rests, _, tried = report.confidence.partition("; ")
    said = f"{_RESTS.get(rests, f'It rests on {rests}')}, and was {tried}."
    if tried.startswith("not"):
        said += " Compare a few rows with what the platform itself shows."
    return f"{report.about} {said}"


def _form(report: FileReport) -> str:
    separator = report.separator if report.format == "csv" else None
    parts = [
        _FORMATS.get(report.format, report.format),
        report.encoding or "",
        f"separated by {_SEPARATORS.get(separator, separator)}" if separator else "",
        f"packed with {report.compression}" if report.compression else "",
    ]
    return ", ".join(part for part in parts if part)


def _columns(table: str, report: FileReport) -> Iterator[str]:
    own = [c for c in report.columns if c.table == table]
    width = max((len(c.name) for c in own), default=0)
    yield f"  the columns of {table}, and who writes them"
    for origin, heading in _WRITERS.items():
        some = [c for c in own if c.origin == origin]
        if some:
            yield f"    {heading}:"
        for column in some:
            yield from _wrapped(_column(column), f"      {column.name:<{width}}  ")


def _column(column: ColumnReport) -> str:
    unit = f", in {column.unit}" if column.unit not in {"", "ISO 8601"} else ""
    said = f"{column.meaning}{unit}"
    if column.how:
        said = f"{visible(column.how)}: {said}"
    bad = column.unreadable
    cells = "cell" if bad == 1 else "cells"
    return said + (f"; {bad:,} {cells} could not be read" if bad else "")


def _notes(notes: Sequence[DataNote], only: str) -> Iterator[str]:
    """List the notes; the name of the only file goes without saying."""
    for note in notes:
        detail = note.detail.removeprefix(f"{only}: ")
        table = f"{note.table}, " if note.table else ""
        kind = note.kind.replace("-", " ")
        yield from _wrapped(f"{table}{kind} ({note.count:,}): {detail}", "  - ")


def _rules(
    found: Examined,
    rules: Sequence[Rule],
    lacking: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    tables = {name.partition(".")[0] for name in found.present}
    presets = {
        table: file.preset
        for file in found.files
        if file.confidence or file.preset == CANONICAL
        for table in file.tables
    }
    for rule in rules:
        missing = lacking[rule.id]
        first = rule.detector.first_line()
        yield from _wrapped(f"{rule.id}: {first}", "  no   " if missing else "  yes  ")
        if missing:
            yield from _wrapped(_remedy(missing, tables, presets), "       ")
            continue
        weaker = [name for name in rule.detector.uses if name not in found.present]
        if weaker:
            listed = ", ".join(_first(list(further(weaker, tables)), rule))
            yield from _wrapped(f"It would see more with {listed}.", "       ")


def further(names: Sequence[str], tables: set[str]) -> Iterator[str]:
    """Name columns of tables that are there, and whole tables that are not.

    Args:
        names: Columns as `table.column`.
        tables: Those that are there.
    """
    yield from (_meant(n) for n in names if n.partition(".")[0] in tables)
    absent = dict.fromkeys(n.partition(".")[0] for n in names)
    for table in (t for t in absent if t not in tables):
        yield f"the table {table} ({schema.ROWS[table]})"


def _first(names: list[str], rule: Rule) -> list[str]:
    """Name the first few and count the others: a list of twenty is read by nobody."""
    rest = len(names) - _SHOWN
    if rest < 2:
        return names
    command = f"'kpiaudit explain {rule.detector.id}' names them"
    return [*names[:_SHOWN], f"and {rest} more ({command})"]


def _meant(name: str) -> str:
    """Return a column with what it means."""
    table, _, column = name.partition(".")
    found = schema.column(table, column)
    return f"{name} ({found.meaning})" if found else name


def _remedy(
    missing: Sequence[str], tables: set[str], presets: Mapping[str, str]
) -> str:
    absent = dict.fromkeys(n.partition(".")[0] for n in missing)
    none = [table for table in absent if table not in tables]
    said = [
        f"It needs {table} ({schema.ROWS[table]}), and no file gives any: export them "
        "too."
        for table in none
    ]
    here = [name for name in missing if name.partition(".")[0] in tables]
    if here:
        listed = ", ".join(_meant(name) for name in here)
        table, _, example = here[0].partition(".")
        copy = presets.get(table, "")
        where = "a mapping file (docs/mapping.md)"
        if copy == CANONICAL:
            where = "a mapping file with 'canonical: true' (docs/mapping.md)"
        elif copy:
            where = f"a copy of the preset ('kpiaudit presets {copy} > mapping.yaml')"
        them, name = (
            ("them", "other names") if len(here) > 1 else ("it", "another name")
        )
        said.append(
            f"Missing: {listed}. If the export has {them} under {name}, write "
            f"'{example}: THAT NAME' in {where}; if not, the question can't be "
            "answered from it."
        )
    return " ".join(said)


def _said(label: str, text: str) -> Iterator[str]:
    if text:
        yield from _wrapped(text, f"  {label + ':':<15}")


def _wrapped(text: str, lead: str) -> Iterator[str]:
    """Break a text into lines; those after the first are indented as far."""
    yield from textwrap.wrap(
        visible(text),
        width=_WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [lead.rstrip()]
