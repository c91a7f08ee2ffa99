"""`kpiaudit scan`: run the rules and print what warrants review."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from kpiaudit.cli import options
from kpiaudit.cli.run import Failed
from kpiaudit.cli.writing import colour, say, terminal_width, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kpiaudit.findings import Finding, Report
    from kpiaudit.history.baseline import Baseline
    from kpiaudit.history.suppressions import Suppression

FORMATS = ("text", "json", "ndjson", "csv", "markdown", "html", "junit", "sarif")


@click.command("scan")
@options.source
@options.choice
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="FORMAT[=FILE]",
    envvar="KPIAUDIT_FORMAT",
    help=f"One of {', '.join(FORMATS)}; repeatable, with a file each.  [default: text]",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    envvar="KPIAUDIT_OUTPUT",
    help="Write there instead.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["none", "low", "medium", "high"]),
    default="low",
    show_default=True,
    envvar="KPIAUDIT_FAIL_ON",
    help="Findings of at least this severity make the exit status 1.",
)
@click.option(
    "--exit-zero",
    is_flag=True,
    envvar="KPIAUDIT_EXIT_ZERO",
    help="Turn exit status 1 into 0.",
)
@click.option(
    "--baseline",
    metavar="FILE",
    envvar="KPIAUDIT_BASELINE",
    help="Compare with a baseline file or an earlier JSON report.",
)
@click.option(
    "--new-only",
    is_flag=True,
    envvar="KPIAUDIT_NEW_ONLY",
    help="Only new and worsened findings count for the exit status.",
)
@click.option("-q", "--quiet", is_flag=True, help="No notes on standard error.")
@click.option("-v", "--verbose", count=True, help="More figures in the text report.")
@click.option("--no-progress", is_flag=True, help="No progress on a terminal.")
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
    new_only: bool,
    quiet: bool,
    verbose: int,
    no_progress: bool,
) -> None:
    """Scan exports (files, folders or globs; default: here) and print findings."""
    targets = _targets(formats, output)
    if new_only and baseline is None:
        raise click.UsageError("--new-only needs --baseline FILE to compare with.")
    rules = choice.read()
    earlier, accepted = _history(ctx, baseline)
    progress = _progress(shown=not (quiet or no_progress))
    progress("reading")
    data = source.load(rules)
    from kpiaudit.audit import audit
    from kpiaudit.history.compare import compare, failing

    report = audit(data, rules, progress=progress).report
    report = compare(report, earlier, accepted, today=data.last_day())
    progress("")
    _write(report, targets, verbose=verbose)
    if not quiet and all(name != "text" for name, _ in targets):
        for note in report.notes:
            say(f"note: {note.table}: {note.kind} ({note.count}): {note.detail}")
    counted = _at_least(failing(report.findings, new_only=new_only), fail_on)
    if counted and not exit_zero:
        new = "new or worsened " if new_only else ""
        raise Failed(
            1,
            f"{len(counted)} {new}finding{'s' if len(counted) > 1 else ''} at or above "
            f"'{fail_on}'",
        )


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


def _progress(*, shown: bool) -> Callable[[str], None]:
    if not (shown and sys.stderr.isatty()):
        return lambda _: None

    def tell(message: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{message}{' ...' if message else ''}")
        sys.stderr.flush()

    return tell


def _at_least(findings: Sequence[Finding], fail_on: str) -> list[Finding]:
    if fail_on == "none":
        return []
    from kpiaudit.findings import Severity

    return [f for f in findings if f.severity >= Severity[fail_on.upper()]]
