"""Files on their way, so that an interrupt can take them along.

An interrupt may come while a query runs that nothing can stop but the end of the
process; no `finally` runs then. What is unfinished at that moment stands here.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_unfinished: set[Path] = set()


def note(path: Path) -> None:
    """Remember a temporary file or folder until the program ends."""
    _unfinished.add(path)


@contextmanager
def unfinished(path: Path) -> Iterator[None]:
    """Remember a file while it is written."""
    _unfinished.add(path)
    try:
        yield
    finally:
        _unfinished.discard(path)


def sweep() -> None:
    """Remove what is unfinished; called once, just before an abrupt end."""
    for path in tuple(_unfinished):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.exists():
            os.unlink(path)  # noqa: PTH108 - the last act: no more machinery than this
