"""`kpiaudit show`: the records behind a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kpiaudit.cli import options
from kpiaudit.cli.writing import check_place, say, write
from kpiaudit.errors import RuleError

if TYPE_CHECKING:
    from kpiaudit.audit import Audit
    from kpiaudit.evidence.runs import Run
    from kpiaudit.findings import Finding


@click.command("show")
@click.argument("finding_id")
@options.source
@options.choice
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="How many records to print.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "ndjson", "csv"]),
    default="text",
    show_default=True,
    help="How to print them.",
)
@click.option(
    "--check-sheet",
    type=click.IntRange(5, 500),
    metavar="N",
    help="Instead, write a sheet of N flagged and N control records in mixed order, "
    "for somebody who listens to them without knowing which is which.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write there instead of to standard output, whole or not at all. A check "
    "sheet always goes to a file (check-sheet.csv), its key beside it, as "
    "FILE.key.csv.",
)
def command(
    finding_id: str,
    source: options.Source,
    choice: options.Choice,
    limit: int,
    form: str,
    check_sheet: int | None,
    output: str | None,
) -> None:
    """Print the records behind a finding.

    FINDING_ID is what a report gives as the finding's id. PATH and the options are
    those of the scan that found it: it is run again.
    """
    from kpiaudit import audit
    from kpiaudit.evidence import sheets

    if check_sheet is not None:
        output = output or "check-sheet.csv"
        if output == "-":
            raise click.UsageError(
                "A check sheet needs a file: its key goes beside it."
            )
    if output is not None:
        check_place(output)
    outcome = audit.audit(source.load(), choice.read())
    run, finding = _look_up(outcome, finding_id)
    frames = audit.records(run, finding)
    flagged = sheets.readable(frames["flagged"])
    if check_sheet is not None and output is not None:
        _write_sheet(flagged, sheets.readable(frames["control"]), check_sheet,
                     finding_id=finding_id, output=output)  # fmt: skip
        return
    if form == "json":
        write(sheets.whole(flagged, finding_id=finding_id, limit=limit), output)
    else:
        write(sheets.render(flagged[:limit], form=form), output)
    say(f"{min(limit, len(flagged))} of {len(flagged)} records")


def _look_up(outcome: Audit, finding_id: str) -> tuple[Run, Finding]:
    for run in outcome.runs:
        for finding in run.findings:
            if finding.id == finding_id:
                return run, finding
    known = ", ".join(f.id for f in outcome.report.findings) or "none"
    raise RuleError(
        f"There is no finding '{finding_id}' in this scan. Its findings: {known}."
    )


def _write_sheet(
    flagged: list[dict[str, Any]],
    control: list[dict[str, Any]],
    size: int,
    *,
    finding_id: str,
    output: str,
) -> None:
    from kpiaudit.evidence.listening import check_sheet

    sheet = check_sheet(flagged, control, size=size, seed=finding_id)
    write(sheet.blind, output)
    write(sheet.key, f"{output}.key.csv")
    if sheet.control < sheet.flagged:
        say(
            f"note: only {sheet.control} control records for {sheet.flagged} flagged "
            "ones; listening will say less. Take a longer period."
        )
    say(
        f"{output}: {sheet.flagged} flagged and {sheet.control} control records, "
        "mixed. "
        "Whoever listens writes yes or no under pattern_heard, or nothing where it "
        f"can't be told. Keep {output}.key.csv from the listener; then run "
        f"'kpiaudit score-sheet {output}'."
    )
