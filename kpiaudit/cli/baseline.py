"""`kpiaudit baseline`: what the next run is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kpiaudit.cli.writing import say, write
from kpiaudit.errors import RuleError


@click.group("baseline")
def command() -> None:
    """Keep what a run said: the next one says only what is new.

    Use the file that `kpiaudit baseline update` writes with `kpiaudit scan --baseline
    FILE`. Any earlier report of `scan --format json` will do as well.
    """


@command.command("update")
@click.argument("report", type=click.Path(dir_okay=False))
@click.option(
    "-o",
    "--output",
    default="kpiaudit-baseline.json",
    show_default=True,
    metavar="FILE",
    type=click.Path(),
    help="The baseline file to write. If there is one already, its findings of rules "
    "that did not run this time are kept.",
)
def update(report: str, output: str) -> None:
    """Write a baseline from REPORT, a file of `kpiaudit scan --format json`.

    What stands in it is known from then on: `scan --baseline FILE` calls it known,
    worsened or improved, and everything else new. The same report gives the same
    bytes, however often this is run.
    """
    from kpiaudit.findings import SCHEMA
    from kpiaudit.history.baseline import as_baseline, read_content, write_baseline

    content = read_content(report)
    if content["schema"] != SCHEMA:
        raise RuleError(f"{report}: give a report of 'scan --format json'.")
    as_baseline(content, report)  # the same checks, and the same messages
    text, kept = write_baseline(content, _earlier(output))
    write(text, output)
    count = len(content["findings"]) + kept
    more = f", {kept} of them of rules that did not run this time" if kept else ""
    say(f"{count} finding{'' if count == 1 else 's'} known in {output}{more}")


def _earlier(output: str) -> dict[str, Any] | None:
    from kpiaudit.findings import SCHEMA
    from kpiaudit.history.baseline import as_baseline, read_content

    if output == "-" or not Path(output).is_file():
        return None
    kept = "It is not overwritten: move it away, or choose another --output."
    try:
        content = read_content(output)
        as_baseline(content, output)
    except RuleError as error:
        raise RuleError(f"{error} {kept}") from error
    if content["schema"] == SCHEMA:
        raise RuleError(f"{output}: this is a report, not a baseline. {kept}")
    return content
