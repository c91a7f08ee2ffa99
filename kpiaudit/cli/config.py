"""`kpiaudit config`: the effective values, and where each came from."""

from __future__ import annotations

from typing import Any

import click

from kpiaudit.cli.configuration import Configuration
from kpiaudit.cli.scan import command as scan
from kpiaudit.cli.writing import write

_WORDS = {
    "COMMANDLINE": "command line",
    "ENVIRONMENT": "environment",
    "DEFAULT": "default",
}


@click.command("config", context_settings={"ignore_unknown_options": True})
@click.argument(
    "arguments", nargs=-1, type=click.UNPROCESSED, metavar="[SCAN OPTION]..."
)
@click.pass_context
def command(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Print what scan would use, and where it came from.

    Each SCAN OPTION is one of `kpiaudit scan`, to see what it changes. A value is taken
    from the command line, else from KPIAUDIT_*, else from the configuration file.
    """
    with scan.make_context("scan", list(arguments), parent=ctx.parent) as inner:
        configuration = ctx.obj if isinstance(ctx.obj, Configuration) else None
        path = configuration.path if configuration else None
        lines = [f"configuration file: {path or 'none found'}"]
        for parameter in scan.params:
            name = str(parameter.name)
            source = inner.get_parameter_source(name)
            word = _WORDS.get(source.name if source else "", str(path))
            lines.append(f"{name} = {_shown(inner.params[name])}  ({word})")
        accepted = (
            configuration.values.get("suppress") if configuration else None
        ) or []
        lines.append(f"suppress = {len(accepted)} findings  ({path or 'default'})")
    write("\n".join(lines) + "\n", None)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
