"""`kpiaudit inspect`: what each file was taken for, and which rules that enables."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from kpiaudit.cli import options
from kpiaudit.cli.ending import Failed
from kpiaudit.cli.writing import write

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kpiaudit.rulebook import Rule
    from kpiaudit.tables.report import Examined, FileReport


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
    from kpiaudit.cli.inspection import page
    from kpiaudit.tables.examine import examine

    rules = choice.read()
    found = examine(source.paths, **source.keywords())
    reports = found.files
    if form == "json":
        text = _json(found, rules)
    else:
        lacking = {r.id: columns_missing(r, found.present) for r in rules}
        text = page(found, rules, lacking)
    write(text, None)
    broken = [report for report in reports if report.error]
    if broken or not reports:
        raise Failed(3, f"{len(broken)} of {len(reports)} files can't be used")


def columns_given(reports: Sequence[FileReport]) -> set[str]:
    """Return the `table.column` names that files give."""
    return {f"{c.table}.{c.name}" for report in reports for c in report.columns}


def _json(found: Examined, rules: Sequence[Rule]) -> str:
    content = {
        "files": [asdict(report) for report in found.files],
        "notes": [asdict(note) for note in found.notes],
        "rules": [
            {"rule": rule.id, "missing": columns_missing(rule, found.present)}
            for rule in rules
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def columns_missing(rule: Rule, present: Collection[str]) -> list[str]:
    """Return the `table.column` names that a rule needs and nothing gives."""
    return [name for name in rule.detector.needs if name not in present]
