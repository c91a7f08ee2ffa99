"""`kpiaudit baseline`: what the next run is compared with."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kpiaudit.cli.writing import say, write
from kpiaudit.errors import RuleError


@click.group("baseline")
def command() -> None:
    """Keep what a run said, so that the next one says only what is new."""


@command.command("update")
@click.argument("report", type=click.Path(dir_okay=False))
@click.option(
    "-o",
    "--output",
    default="kpiaudit-baseline.json",
    show_default=True,
    metavar="FILE",
    help="The baseline file to write.",
)
def update(report: str, output: str) -> None:
    """Write a baseline from the JSON REPORT of a scan."""
    from kpiaudit.findings import SCHEMA
    from kpiaudit.history.baseline import read_baseline, write_baseline

    read_baseline(report)  # the same checks, and the same messages
    content = json.loads(Path(report).read_text(encoding="utf-8"))
    if content["schema"] != SCHEMA:
        raise RuleError(f"{report}: give a report of 'scan --format json'.")
    write(write_baseline(content), output)
    say(f"{len(content['findings'])} findings are known in {output}")
