"""`kpiaudit inspect`: what each file was taken for, and which rules that enables."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from kpiaudit.cli import options
from kpiaudit.cli.run import Failed
from kpiaudit.cli.writing import write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kpiaudit.rulebook import Rule
    from kpiaudit.tables.report import ColumnReport, FileReport


@click.command("inspect")
@options.source
@options.choice
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
def command(source: options.Source, choice: options.Choice, form: str) -> None:
    """Say what each file was taken for, and which rules can run.

    For each file in PATH (default: the current folder): its table, its columns and who
    wrote them, and what could not be read. Exit status 3 if a file can't be used.
    """
    from kpiaudit.tables.load import inspect

    rules = choice.read()
    reports = inspect(source.paths, **source.keywords())
    write(_json(reports, rules) if form == "json" else _text(reports, rules), None)
    broken = [report for report in reports if report.error]
    if broken or not reports:
        raise Failed(3, f"{len(broken)} of {len(reports)} files can't be used")


def columns_given(reports: Sequence[FileReport]) -> set[str]:
    """Return the `table.column` names that files give."""
    return {f"{c.table}.{c.name}" for report in reports for c in report.columns}


def _json(reports: Sequence[FileReport], rules: Sequence[Rule]) -> str:
    present = columns_given(reports)
    content = {
        "files": [asdict(report) for report in reports],
        "rules": [
            {"rule": rule.id, "missing": columns_missing(rule, present)}
            for rule in rules
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def columns_missing(rule: Rule, present: set[str]) -> list[str]:
    """Return the `table.column` names that a rule needs and nothing gives."""
    return [name for name in rule.detector.needs if name not in present]


def _text(reports: Sequence[FileReport], rules: Sequence[Rule]) -> str:
    lines = [line for report in reports for line in _file(report)]
    lines.append("Rules that these files enable")
    present = columns_given(reports)
    for rule in rules:
        missing = columns_missing(rule, present)
        weaker = [name for name in rule.detector.uses if name not in present]
        if missing:
            lines.append(f"  no   {rule.id}: missing {', '.join(missing)}")
        else:
            lines.append(f"  yes  {rule.id}")
            if weaker:
                lines.append(f"       it would see more with {', '.join(weaker)}")
    return "\n".join(lines) + "\n"


def _file(report: FileReport) -> Iterator[str]:
    from kpiaudit.outputs.clean import visible

    yield visible(report.path)
    if report.error:
        yield f"  can't be used: {visible(report.error)}"
        yield ""
        return
    yield f"  read as: {_form(report)}"
    yield f"  taken for: {', '.join(report.tables)} (preset {report.preset})"
    yield f"  because: {visible(report.why)}"
    rejected = f", {report.rejected:,} rejected" if report.rejected else ""
    yield f"  rows: {report.rows:,} read{rejected}"
    yield "  columns:"
    width = max((len(f"{c.table}.{c.name}") for c in report.columns), default=0)
    for column in report.columns:
        yield f"    {f'{column.table}.{column.name}':<{width}}  {_column(column)}"
    if report.unmapped:
        names = ", ".join(visible(name) for name in report.unmapped)
        yield f"  not used: {names}"
    for kind, count, detail in report.notes:
        yield f"  note: {kind.replace('-', ' ')} ({count:,}): {visible(detail)}"
    yield ""


def _form(report: FileReport) -> str:
    separators = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
    separator = report.separator
    parts = [
        report.format,
        report.encoding or "",
        f"separator {separators.get(separator, separator)}" if separator else "",
        report.compression or "",
    ]
    return ", ".join(part for part in parts if part)


def _column(column: ColumnReport) -> str:
    from kpiaudit.outputs.clean import visible

    if column.derived:
        source = f"derived: {column.derived}"
    elif column.source:
        source = f"from {', '.join(visible(name) for name in column.source)}"
    else:
        source = "a constant"
    unreadable = f"; {column.unreadable:,} unreadable" if column.unreadable else ""
    return f"{column.type}, {source}; written by: {column.origin}{unreadable}"
