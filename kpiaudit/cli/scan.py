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

FORMATS = ("text", "json", "ndjson", "csv", "markdown", "html", "junit", "sarif")


@click.command("scan")
@options.source
@options.choice
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="FORMAT[=FILE]",
    help=f"One of {', '.join(FORMATS)}; repeatable, with a file each.  [default: text]",
)
@click.option("-o", "--output", metavar="FILE", help="Write there instead.")
@click.option(
    "--fail-on",
    type=click.Choice(["none", "low", "medium", "high"]),
    default="low",
    show_default=True,
    help="Findings of at least this severity make the exit status 1.",
)
@click.option("--exit-zero", is_flag=True, help="Turn exit status 1 into 0.")
@click.option("-q", "--quiet", is_flag=True, help="No notes on standard error.")
@click.option("-v", "--verbose", count=True, help="More figures in the text report.")
@click.option("--no-progress", is_flag=True, help="No progress on a terminal.")
def command(  # noqa: PLR0913, PLR0917 - one argument an option
    source: options.Source,
    choice: options.Choice,
    formats: tuple[str, ...],
    output: str | None,
    fail_on: str,
    exit_zero: bool,
    quiet: bool,
    verbose: int,
    no_progress: bool,
) -> None:
    """Scan exports (files, folders or globs; default: here) and print findings."""
    targets = _targets(formats, output)
    rules = choice.read()
    progress = _progress(shown=not (quiet or no_progress))
    progress("reading")
    data = source.load()
    from kpiaudit.audit import audit

    report = audit(data, rules, progress=progress).report
    progress("")
    _write(report, targets, verbose=verbose)
    if not quiet and all(name != "text" for name, _ in targets):
        for note in report.notes:
            say(f"note: {note.table}: {note.kind} ({note.count}): {note.detail}")
    failing = _failing(report.findings, fail_on)
    if failing and not exit_zero:
        raise Failed(
            1,
            f"{len(failing)} finding{'s' if len(failing) > 1 else ''} at or above "
            f"'{fail_on}'",
        )


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


def _failing(findings: Sequence[Finding], fail_on: str) -> list[Finding]:
    if fail_on == "none":
        return []
    from kpiaudit.findings import Severity

    return [f for f in findings if f.severity >= Severity[fail_on.upper()]]
