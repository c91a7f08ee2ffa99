"""`kpiaudit scan`: run the rules and print what warrants review."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kpiaudit.cli import completing, options
from kpiaudit.cli.completing import FORMATS
from kpiaudit.cli.ending import Failed
from kpiaudit.cli.progress import progress
from kpiaudit.cli.writing import check_place, colour, say, terminal_width, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.evidence.costs import UnitCosts
    from kpiaudit.findings import Finding, Report
    from kpiaudit.history.baseline import Baseline
    from kpiaudit.history.suppressions import Suppression

_EPILOG = """\
Every option but -q, -v and --no-progress can be set in kpiaudit.yaml (`kpiaudit init`
writes one), and but for --table also in the environment, such as
KPIAUDIT_FAIL_ON=high. The command line wins over the environment, which wins over the
file.

Exit status: 0 nothing at or above --fail-on; 1 findings; 2 bad usage or configuration;
3 input that can't be used; 4 an error of kpiaudit's own; 130 interrupted. The last line
on standard error says why it is not 0.
"""


@click.command("scan", epilog=_EPILOG)
@options.source
@options.choice
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="FORMAT[=FILE]",
    envvar="KPIAUDIT_FORMAT",
    shell_complete=completing.formats,
    help=f"One of {', '.join(FORMATS)}. Repeatable with a file each, such as --format "
    "text --format json=report.json.  [default: text]",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    envvar="KPIAUDIT_OUTPUT",
    type=click.Path(allow_dash=True),
    help="Write the report there instead of to standard output, whole or not at all.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["none", "low", "medium", "high"]),
    default="low",
    show_default=True,
    envvar="KPIAUDIT_FAIL_ON",
    help="Findings of at least this severity (harm) make the exit status 1.",
)
@click.option(
    "--exit-zero",
    is_flag=True,
    envvar="KPIAUDIT_EXIT_ZERO",
    help="Turn exit status 1, and only that, into 0.",
)
@click.option(
    "--baseline",
    metavar="FILE",
    envvar="KPIAUDIT_BASELINE",
    type=click.Path(),
    help="Say what is new, known, worsened, improved and gone since this file of "
    "`kpiaudit baseline update`, or since an earlier JSON report.",
)
@click.option(
    "--cost",
    "costs",
    multiple=True,
    metavar="NAME=AMOUNT",
    envvar="KPIAUDIT_COST",
    help="What a contact, reopened_ticket or lost_customer costs, and currency=EUR; "
    "repeatable. Harm is then told in money, for a team, queue or floor only.",
)
@click.option(
    "--new-only",
    is_flag=True,
    envvar="KPIAUDIT_NEW_ONLY",
    help="Only new and worsened findings make the exit status 1; needs --baseline.",
)
@click.option(
    "-q",
    "--quiet",
    is_flag=True,
    help="No notes and no progress on standard error; errors are still said.",
)
@click.option(
    "--placebo",
    is_flag=True,
    envvar="KPIAUDIT_PLACEBO",
    help="Also try every rule where nothing is to be found, which takes minutes.",
)
@click.option(
    "-v",
    "--verbose",
    count=True,
    help="In the text report, also p and q "
    "values, parameters and who wrote the columns.",
)
@click.option(
    "--no-progress",
    is_flag=True,
    help="No progress on standard error, which only a terminal shows anyway.",
)
@click.pass_context
def command(  # noqa: PLR0913, PLR0917 - one argument an option
    ctx: click.Context,
    source: options.Source,
    choice: options.Choice,
    formats: tuple[str, ...],
    output: str | None,
    fail_on: str,
    exit_zero: bool,
    baseline: str | None,
    costs: tuple[str, ...],
    new_only: bool,
    quiet: bool,
    placebo: bool,
    verbose: int,
    no_progress: bool,
) -> None:
    """Scan exports and print what warrants review.

    PATH is a file, a folder or a glob; without one it is the current folder. A folder
    of files named after the tables (calls.csv, surveys.parquet, tickets-2026-03.csv.gz)
    needs no options; `kpiaudit inspect` says what a file was taken for.
    """
    targets = _targets(formats, output)
    if new_only and baseline is None:
        raise click.UsageError("--new-only needs --baseline FILE to compare with.")
    rules = choice.read()
    unit_costs = _unit_costs(costs)
    earlier, accepted = _history(ctx, baseline)
    tell = progress(shown=not (quiet or no_progress))
    tell("reading and checking the files")
    data = source.load(rules)
    from kpiaudit.audit import audit
    from kpiaudit.history.compare import compare, failing
    from kpiaudit.outputs.story import note_line

    report = audit(data, rules, progress=tell, costs=unit_costs, battery=placebo).report
    report = compare(report, earlier, accepted, today=data.last_day())
    tell("")
    _write(report, targets, verbose=verbose)
    if not quiet and all(name != "text" for name, _ in targets):
        for note in report.notes:
            say(f"note: {note_line(note)}")
    counted = _at_least(failing(report.findings, new_only=new_only), fail_on)
    if counted and not exit_zero:
        new = "new or worsened " if new_only else ""
        raise Failed(
            1,
            f"{len(counted)} {new}finding{'s' if len(counted) > 1 else ''} at or above "
            f"'{fail_on}'",
        )


def _unit_costs(given: tuple[str, ...]) -> UnitCosts | None:
    from kpiaudit.evidence.costs import read_costs

    pairs = [text.partition("=") for text in given]
    for name, separator, _ in pairs:
        if not separator:
            raise click.UsageError(f"--cost {name}: write NAME=AMOUNT, as contact=4.5.")
    return read_costs({name: value for name, _, value in pairs}, where="--cost")


def _history(
    ctx: click.Context, baseline: str | None
) -> tuple[Baseline | None, tuple[Suppression, ...]]:
    from kpiaudit.cli.configuration import Configuration
    from kpiaudit.history.baseline import read_baseline
    from kpiaudit.history.suppressions import read_suppressions

    accepted: tuple[Suppression, ...] = ()
    if isinstance(ctx.obj, Configuration) and ctx.obj.values.get("suppress"):
        accepted = read_suppressions(ctx.obj.values["suppress"], str(ctx.obj.path))
    return (None if baseline is None else read_baseline(baseline)), accepted


def _targets(
    formats: Sequence[str], output: str | None
) -> list[tuple[str, str | None]]:
    targets: list[tuple[str, str | None]] = []
    for given in formats or ("text",):
        name, _, path = given.partition("=")
        if name not in FORMATS:
            from kpiaudit.errors import guess

            raise click.UsageError(
                f"--format {given}: there is no format '{name}'."
                f"{guess(name, FORMATS)} Known: {', '.join(FORMATS)}."
            )
        targets.append((name, path or None))
    open_ends = [i for i, (_, path) in enumerate(targets) if path is None]
    if len(open_ends) > 1:
        raise click.UsageError(
            "Only one --format can go to standard output; give the others a file: "
            "--format json=report.json."
        )
    if output is not None:
        if not open_ends:
            raise click.UsageError("--output and --format FORMAT=FILE exclude another.")
        targets[open_ends[0]] = (targets[open_ends[0]][0], output)
    files = [path for _, path in targets if path is not None]
    for path in files:
        if files.count(path) > 1:
            raise click.UsageError(f"{path} can't hold two formats; give each its own.")
        check_place(path)
    return targets


def _write(
    report: Report, targets: Sequence[tuple[str, str | None]], *, verbose: int
) -> None:
    from kpiaudit.outputs import formats

    rendered = [
        (
            formats.render(
                report,
                name,
                width=terminal_width() if path is None else 100,
                colour=colour() and path is None,
                verbose=verbose,
            ),
            path,
        )
        for name, path in targets
    ]
    # Files first: a reader that leaves early must not cost the others their report.
    for text, path in sorted(rendered, key=lambda entry: entry[1] is None):
        write(text, path)


def _at_least(findings: Sequence[Finding], fail_on: str) -> list[Finding]:
    if fail_on == "none":
        return []
    from kpiaudit.findings import Severity

    return [f for f in findings if f.severity >= Severity[fail_on.upper()]]
