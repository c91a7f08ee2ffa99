"""`kpiaudit schema`: the JSON Schema of the report."""

from __future__ import annotations

import json

import click

from kpiaudit.cli.writing import write


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of the report."""
    from kpiaudit.outputs.schema import report_schema

    write(json.dumps(report_schema(), indent=2) + "\n", None)
