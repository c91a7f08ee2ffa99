"""`kpiaudit demo`: sample exports with planted patterns."""

from __future__ import annotations

import gzip
from pathlib import Path

import click

from kpiaudit.cli.writing import say


@click.command("demo")
@click.argument("folder", type=click.Path(file_okay=False))
@click.option(
    "--seed",
    default=20260302,
    show_default=True,
    help="Another seed gives another centre.",
)
@click.option("--gzip", "packed", is_flag=True, help="Write packed files (.csv.gz).")
def command(folder: str, seed: int, packed: bool) -> None:
    """Write sample exports with planted patterns to FOLDER.

    Beside the patterns there are innocent look-alikes, which a scan should leave alone.
    FOLDER is made if it does not exist.
    """
    from kpiaudit.tables.simulate import demo, write

    write(demo(seed=seed), Path(folder))
    if packed:
        for path in sorted(Path(folder).glob("*.csv")):
            # No name and no time inside, so that the same seed gives the same bytes.
            path.with_name(f"{path.name}.gz").write_bytes(
                gzip.compress(path.read_bytes(), 9, mtime=0)
            )
            path.unlink()
    say(f"Sample exports are in {folder}. Next: kpiaudit scan {folder}")
