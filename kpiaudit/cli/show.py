"""`kpiaudit show`: the records behind a finding."""

from __future__ import annotations

import click

from kpiaudit.cli import options
from kpiaudit.cli.writing import say, write
from kpiaudit.errors import RuleError


@click.command("show")
@click.argument("finding_id")
@options.source
@options.choice
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Records to print.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "ndjson"]),
    default="text",
    show_default=True,
    help="How to print them.",
)
def command(
    finding_id: str,
    source: options.Source,
    choice: options.Choice,
    limit: int,
    form: str,
) -> None:
    """Print the records behind the finding FINDING_ID of a scan of PATH."""
    from kpiaudit import audit
    from kpiaudit.evidence import sheets

    outcome = audit.audit(source.load(), choice.read())
    for run in outcome.runs:
        for finding in run.findings:
            if finding.id == finding_id:
                rows = sheets.readable(audit.records(run, finding)["flagged"])
                write(sheets.render(rows[:limit], form=form), None)
                say(f"{min(limit, len(rows))} of {len(rows)} records")
                return
    known = ", ".join(f.id for f in outcome.report.findings) or "none"
    raise RuleError(
        f"There is no finding '{finding_id}' in this scan. Its findings: {known}."
    )
