"""`kpiaudit power`: what the rules could find in these data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kpiaudit.cli import options
from kpiaudit.cli.progress import progress
from kpiaudit.cli.writing import terminal_width, write

if TYPE_CHECKING:
    from kpiaudit.evidence.sensitivity import Sensitivity


@click.command("power")
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
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="Write there instead of to standard output, whole or not at all.",
)
@click.option(
    "--no-progress",
    is_flag=True,
    help="No progress on standard error, which only a terminal shows anyway.",
)
def command(
    source: options.Source,
    choice: options.Choice,
    form: str,
    output: str | None,
    no_progress: bool,
) -> None:
    """Say what a scan could find, before relying on a clean one.

    The patterns are planted into the counts of some agents in the exports in PATH
    (default: the current folder), and tested. That takes a minute or two.
    """
    rules = choice.read()
    tell = progress(shown=not no_progress)
    tell("reading")
    data = source.load()
    from threadpoolctl import threadpool_limits

    from kpiaudit.audit import audit
    from kpiaudit.evidence.sensitivity import sensitivity
    from kpiaudit.outputs.sensitivity import render

    runs = audit(data, rules, progress=tell).runs
    # Small matrices: more threads would only wait for each other, as in a scan.
    with threadpool_limits(1, "blas"):
        rows = [_plain(sensitivity(run, tell)) for run in runs]
    tell("")
    width = terminal_width() if output is None else 100
    write(render(rows, form=form, width=width), output)


def _plain(item: Sensitivity) -> dict[str, Any]:
    """Return plain values: 10 significant digits, what can't be computed is null."""

    def figure(value: float | None) -> float | None:
        known = value is not None and value == value  # noqa: PLR0124 - nan is not
        return float(f"{value:.10g}") if known else None

    return {
        "rule": item.rule,
        "reason": item.reason,
        "stake": item.stake,
        "supposed": item.supposed,
        "tested": item.tested,
        "untestable": item.untestable,
        "p_value_reported": figure(item.mark),
        "sizes": {
            name: {
                "agents": size.agents,
                "contacts": figure(size.contacts),
                "share": figure(size.share),
            }
            for name, size in item.sizes.items()
        },
        "many": [
            {
                "part": many.part,
                "agents": many.agents,
                "share": figure(many.share),
                "floor": many.floor,
            }
            for many in item.many
        ],
        "checked": None if item.checked is None else list(item.checked),
        "missing": list(item.missing),
        "missing_tables": list(item.missing_tables),
    }
