"""`kpiaudit explain`: what a detector looks for, how, and what else it could be."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING

import click

from kpiaudit.cli import completing
from kpiaudit.cli.writing import write

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Detector, Explain


@click.command("explain")
@click.argument("detector", shell_complete=completing.detectors)
def command(detector: str) -> None:
    """Explain a detector: evidence, parameters, what else it is.

    DETECTOR is an id that `kpiaudit rules` lists, such as short-calls.
    """
    from kpiaudit.detectors import catalogue

    kind = catalogue.detector(detector, where="explain")
    write(page(kind), None)


def page(kind: type[Detector]) -> str:
    """Return the documentation of a detector as Markdown."""
    lines = [f"# {kind.id}", "", inspect.cleandoc(kind.__doc__ or ""), ""]
    lines += ["## Parameters", ""]
    for field in dataclasses.fields(kind):
        unit, doc = field.metadata.get("unit", ""), field.metadata.get("doc", "")
        default = "null" if field.default is None else field.default
        lines.append(f"- `{field.name}` ({unit}; default {default}): {doc}")
    lines += ["", "## Columns", ""]
    lines.append(f"- needs: {', '.join(f'`{name}`' for name in kind.needs)}")
    if kind.uses:
        lines.append(f"- uses: {', '.join(f'`{name}`' for name in kind.uses)}")
    if kind.explanations:
        lines += ["", "## Explanations that are tested", ""]
        for explain in kind.explanations:
            names = needed(explain)
            lines.append(f"- {explain.text}" + (f" (needs {names})" if names else ""))
    if kind.blind:
        lines += ["", "## What it can't see", "", kind.blind]
    return "\n".join(lines) + "\n"


def needed(explain: Explain) -> str:
    """Return in words without which columns an explanation can't be checked."""
    parts = [f"`{name}`" for name in explain.columns]
    if explain.either:
        parts.append(" or ".join(f"`{name}`" for name in explain.either))
    return ", ".join(parts)
