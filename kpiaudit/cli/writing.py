"""Output, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

import click

from kpiaudit.cli.ending import INTERNAL, Failed
from kpiaudit.errors import unwritable
from kpiaudit.leftovers import unfinished


def write(text: str, output: str | None) -> None:
    """Write a report to a file or to standard output.

    A file is written beside its destination and renamed, so that nobody ever reads
    half a report. A reader that has left (`| head`) is no error.

    Args:
        text: The report.
        output: A path, or None or `-` for standard output.

    Raises:
        KpiauditError: It can't be written: no such folder, no permission (status 2),
            or no space (status 4).
        Failed: Standard output can't be written (status 4).
    """
    if output is None or output == "-":
        _to_stdout(text)
        return
    path = Path(output)
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(text.encode())
        else:
            _replace(path, text)
    except OSError as error:
        raise unwritable(
            f"{output}: the report",
            error,
            instead="Choose another path with --output.",
        ) from error


def check_place(output: str) -> None:
    """Refuse a file that could not be written, before minutes of work are lost on it.

    Raises:
        KpiauditError: There is no such folder, nothing can be written to it, or the
            path is a folder itself.
    """
    path = Path(output)
    if output == "-" or (path.exists() and not path.is_file() and not path.is_dir()):
        return
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # Only a try tells a read-only file system from a missing permission.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise unwritable(
            f"{output}: the report",
            error,
            instead="Choose another path with --output or --format NAME=FILE.",
        ) from error


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with unfinished(temporary), os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        else:
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _to_stdout(text: str) -> None:
    try:
        # Bytes, so that a broken locale can't turn a name into a crash.
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Failed(
            INTERNAL,
            f"standard output can't be written ({error.strerror}): the report is lost.",
        ) from error


def terminal_width() -> int:
    """Return the width of the terminal, between 60 and 120, or 100 without one."""
    if not sys.stdout.isatty():
        return 100
    return min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120)


def colour() -> bool:
    """Say whether standard output takes colour (a terminal, and NO_COLOR not set)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def say(message: str) -> None:
    """Write one line to standard error; names in it can't steer a terminal."""
    from kpiaudit.outputs.clean import visible

    click.echo(visible(message), err=True)
