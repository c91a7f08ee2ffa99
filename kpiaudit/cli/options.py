"""The options that several commands share, and the loading that follows from them."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import click

from kpiaudit.cli import completing
from kpiaudit.cli.starting import tuned_polars
from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kpiaudit.rulebook import Rule
    from kpiaudit.tables.dataset import Dataset


@frozen
class Source:
    """What is to be loaded, as the command line says it."""

    paths: tuple[str, ...]
    tables: dict[str, list[str]]
    mapping: str | None
    preset: str | None
    timezone: str
    since: str | None
    until: str | None
    max_unreadable: float
    engine: str = "polars"

    def keywords(self) -> dict[str, Any]:
        """Return the keyword arguments of `load` and `inspect`, without the engine."""
        stdin = sys.stdin.buffer if ["-"] in self.tables.values() else None
        return {
            "tables": self.tables,
            "mapping": self.mapping,
            "preset": self.preset,
            "timezone": self.timezone,
            "since": self.since,
            "until": self.until,
            "max_unreadable": self.max_unreadable,
            "stdin": stdin,
        }

    def load(self, rules: Sequence[Rule] | None = None) -> Dataset:
        """Load the tables with the engine.

        Args:
            rules: Only what they use is needed; None stands for everything.
        """
        from kpiaudit.rulebook import columns_of
        from kpiaudit.tables.load import load

        only = None if rules is None else columns_of(rules)
        return load(self.paths, engine=self.engine, only=only, **self.keywords())


@frozen
class Choice:
    """Which rules are to run, as the command line says it."""

    rules: tuple[str, ...]
    select: tuple[str, ...]
    ignore: tuple[str, ...]

    def read(self) -> tuple[Rule, ...]:
        """Read the rules."""
        from kpiaudit.cli.starting import without_spare_numpy

        without_spare_numpy()
        from kpiaudit.rulebook import read_rules

        return read_rules(self.rules, select=self.select, ignore=self.ignore)


_SOURCE = (
    click.argument(
        "paths", nargs=-1, metavar="[PATH]...", type=click.Path(readable=False)
    ),
    click.option(
        "--table",
        "tables",
        multiple=True,
        metavar="TABLE=PATH",
        shell_complete=completing.tables,
        help="This file feeds that table, whatever its name, such as calls=cdr.csv; "
        "calls=- reads standard input. Repeatable.",
    ),
    click.option(
        "--mapping",
        envvar="KPIAUDIT_MAPPING",
        metavar="FILE",
        type=click.Path(),
        help="Which source columns are which of ours (YAML, docs/mapping.md).",
    ),
    click.option(
        "--preset",
        envvar="KPIAUDIT_PRESET",
        metavar="NAME",
        shell_complete=completing.presets,
        help="Use this mapping that ships with kpiaudit (docs/presets.md) instead of "
        "the one that the headers call for.",
    ),
    click.option(
        "--timezone",
        envvar="KPIAUDIT_TIMEZONE",
        default="UTC",
        show_default=True,
        metavar="ZONE",
        shell_complete=completing.zones,
        help="Zone of instants without an offset, and of days and hours, such as "
        "Europe/Warsaw.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["polars", "duckdb", "spark"]),
        default="polars",
        show_default=True,
        envvar="KPIAUDIT_ENGINE",
        help="What runs the aggregations; the last two read canonical Parquet.",
    ),
    click.option(
        "--since",
        envvar="KPIAUDIT_SINCE",
        metavar="DATE",
        help="Only records that started on this day or later, such as 2026-03-01.",
    ),
    click.option(
        "--until",
        envvar="KPIAUDIT_UNTIL",
        metavar="DATE",
        help="Only records that started on this day or earlier.",
    ),
    click.option(
        "--max-unreadable",
        envvar="KPIAUDIT_MAX_UNREADABLE",
        type=click.FloatRange(0, 1),
        default=0.05,
        show_default=True,
        metavar="SHARE",
        help="Share of a file's rows, or of a column's cells, that may be unreadable "
        "before the file is refused.",
    ),
)

_CHOICE = (
    click.option(
        "--rules",
        envvar="KPIAUDIT_RULES",
        multiple=True,
        metavar="FILE_OR_FOLDER",
        type=click.Path(),
        help="More rules (YAML, rules/README.md); one with a shipped rule's id "
        "replaces it. Repeatable.",
    ),
    click.option(
        "--select",
        envvar="KPIAUDIT_SELECT",
        multiple=True,
        metavar="ID",
        shell_complete=completing.rules,
        help="Only this rule, or the rules of this detector. Repeatable.",
    ),
    click.option(
        "--ignore",
        envvar="KPIAUDIT_IGNORE",
        multiple=True,
        metavar="ID",
        shell_complete=completing.rules,
        help="Without this rule, or the rules of this detector. Repeatable.",
    ),
)


def source(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add PATH and the options of loading; the command gets `source`."""

    @functools.wraps(command)
    def gathered(**keywords: Any) -> Any:
        tables: dict[str, list[str]] = {}
        for given in keywords.pop("tables"):
            table, separator, path = given.partition("=")
            if not separator or not path:
                raise click.UsageError(
                    f"--table {given}: write it as TABLE=PATH, such as calls=cdr.csv."
                )
            tables.setdefault(table, []).append(path)
        names = ("mapping", "preset", "timezone", "since", "until", "max_unreadable")
        options = {name: keywords.pop(name) for name in (*names, "engine")}
        paths = keywords.pop("paths") or (() if tables else (".",))
        tuned_polars([*paths, *(path for each in tables.values() for path in each)])
        return command(source=Source(paths=paths, tables=tables, **options), **keywords)

    return _stack(_SOURCE, gathered)


def choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose rules; the command gets `choice`."""

    @functools.wraps(command)
    def gathered(**keywords: Any) -> Any:
        names = ("rules", "select", "ignore")
        options = {name: keywords.pop(name) for name in names}
        return command(choice=Choice(**options), **keywords)

    return _stack(_CHOICE, gathered)


def _stack(
    options: tuple[Callable[..., Any], ...], command: Callable[..., Any]
) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command
