"""`kpiaudit demo`: sample exports with planted patterns."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import click

from kpiaudit.cli.writing import say
from kpiaudit.errors import unwritable


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

    simulated = demo(seed=seed)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        # All files or none: they are written beside the folder's own and moved.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".demo-") as beside:
            write(simulated, Path(beside))
            for path in sorted(Path(beside).iterdir()):
                done = _packed(path) if packed else path
                done.replace(Path(folder) / done.name)
    except OSError as error:
        raise unwritable(
            f"{folder}: the sample exports", error, instead="Choose another folder."
        ) from error
    say(f"Sample exports are in {folder}. Next: kpiaudit scan {folder}")


def _packed(path: Path) -> Path:
    """Pack a file in its place."""
    done = path.with_name(f"{path.name}.gz")
    # No name and no time inside, so that the same seed gives the same bytes.
    done.write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    return done
