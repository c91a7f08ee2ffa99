"""`kpiaudit presets`: the formats that are recognised, and one of them to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kpiaudit.cli import completing
from kpiaudit.cli.writing import write

if TYPE_CHECKING:
    from kpiaudit.tables.mapping import SourceMapping


@click.command("presets")
@click.argument("name", required=False, shell_complete=completing.presets)
def command(name: str | None) -> None:
    """List the formats that are recognised, or print one to copy.

    With the NAME of a preset its file is printed: a mapping that can be saved, changed
    and given with --mapping (docs/mapping.md).
    """
    from kpiaudit.tables.grammar import preset_text, read_presets

    if name is None:
        write("\n".join(map(_listed, read_presets())) + "\n", None)
        return
    write(preset_text(name), None)


def _listed(preset: SourceMapping) -> str:
    tables = ", ".join(target.table for target in preset.targets)
    return f"{preset.name} ({tables})\n  {preset.about} ({preset.confidence})"
