"""`kpiaudit convert`: exports to canonical Parquet."""

from __future__ import annotations

from pathlib import Path

import click

from kpiaudit.cli import options
from kpiaudit.cli.writing import say


@click.command("convert")
@options.source
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Folder for the Parquet files.",
)
def command(source: options.Source, output: str) -> None:
    """Convert exports to canonical Parquet, for repeated scans.

    A scan of the folder gives the same findings as one of PATH, and is faster. It needs
    no mapping any more.
    """
    from kpiaudit.outputs.story import note_line
    from kpiaudit.tables.convert import convert
    from kpiaudit.tables.load import load

    # Whatever engine will scan the result: exports are read with polars.
    data = load(source.paths, **source.keywords())
    for path in convert(data, Path(output)):
        say(f"wrote {path}")
    for note in data.notes:
        say(f"note: {note_line(note)}")
