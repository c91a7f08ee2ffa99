"""`kpiaudit demo`: sample exports with planted patterns."""

from __future__ import annotations

from pathlib import Path

import click

from kpiaudit.cli.writing import say


@click.command("demo")
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--seed", default=20260302, show_default=True, help="Of the simulation.")
def command(folder: str, seed: int) -> None:
    """Write sample exports, with planted patterns and innocent look-alikes, to DIR."""
    from kpiaudit.tables.simulate import demo, write

    write(demo(seed=seed), Path(folder))
    say(f"Sample exports are in {folder}. Next: kpiaudit scan {folder}")
