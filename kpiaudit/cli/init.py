"""`kpiaudit init`: a commented `kpiaudit.yaml` for the exports that are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kpiaudit.cli import options
from kpiaudit.cli.configuration import FILE
from kpiaudit.cli.writing import say, write
from kpiaudit.errors import RuleError, TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.rulebook import Rule
    from kpiaudit.tables.report import FileReport


@click.command("init")
@options.source
@click.option(
    "-o",
    "--output",
    default=FILE,
    show_default=True,
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="The file to write; - is standard output. Paths in it are written as seen "
    "from its folder.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE if it is there already.")
def command(source: options.Source, output: str, force: bool) -> None:
    """Write a commented kpiaudit.yaml for the exports in PATH.

    It says which file was taken for which table, which rules can run and what the
    others lack, and holds every setting with a word on what it does. The options given
    here are written into it. PATH is the current folder if none is given.
    """
    from kpiaudit.rulebook import read_rules
    from kpiaudit.tables.examine import examine

    if output != "-" and Path(output).exists() and not force:
        raise RuleError(
            f"{output} is there already and is left alone. --force overwrites it, "
            "-o writes another file."
        )
    rules = read_rules()
    reports = examine(source.paths, **source.keywords()).files
    _check(reports, rules)
    from kpiaudit.cli.template import page

    write(page(reports, rules, _settings(source, Path(output).parent)), output)
    if output != "-":
        next_step = "kpiaudit scan" if output == FILE else _scan_with(output)
        say(f"{output} is written. Look it over, then run: {next_step}")


def _scan_with(output: str) -> str:
    return f"kpiaudit --config {output} scan"


def _check(reports: Sequence[FileReport], rules: Sequence[Rule]) -> None:
    """Refuse what the written file could not scan either."""
    from kpiaudit.cli.inspect import columns_given, columns_missing

    nothing = "Nothing was written."
    for report in reports:
        if report.error:
            raise TableError(f"{report.error} {nothing}")
    present = columns_given(reports)
    lacking = {rule.id: columns_missing(rule, present) for rule in rules}
    if all(lacking.values()):
        said = "; ".join(f"{rule}: {', '.join(n)}" for rule, n in lacking.items())
        raise TableError(
            f"No rule could run on these {len(reports)} files, since columns are "
            f"missing ({said}). Map them (docs/mapping.md). {nothing}"
        )


def _settings(source: options.Source, folder: Path) -> dict[str, Any]:
    """Return what was said on the command line, paths as seen from the folder."""

    def seen(path: str) -> str:
        here = Path.cwd()
        if path == "-" or Path(path).is_absolute() or folder.resolve() == here:
            return path
        # A way up and down again could lead elsewhere through a link.
        place = here / path
        inside = place.is_relative_to(folder.resolve())
        return str(place.relative_to(folder.resolve()) if inside else place)

    return {
        "paths": [seen(path) for path in source.paths],
        "tables": {
            table: [seen(path) for path in paths]
            for table, paths in source.tables.items()
        },
        "mapping": None if source.mapping is None else seen(source.mapping),
        "preset": source.preset,
        "timezone": source.timezone,
        "since": source.since,
        "until": source.until,
        "max_unreadable": source.max_unreadable,
    }
