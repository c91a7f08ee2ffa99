"""What makes the command start sooner; the library leaves its user's process alone."""

from __future__ import annotations

import gc
import math
import os
import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_OBJECTS = 50_000
"""New objects between two looks; Python's own number is 700."""
_SMALL_BYTES = 2_000_000
"""Of files with at most 100,000 rows or so, packed as they may be."""
_SPARE = ("f2py", "testing", "ctypeslib", "polynomial", "rec", "char", "strings")
"""Parts of numpy that are modules of their own, such as its Fortran generator."""


def single_threaded() -> None:
    """Ask for one thread of linear algebra, before numpy is loaded, unless told else.

    The matrices are small: more threads would only wait for each other.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def tuned_polars(paths: Iterable[str]) -> None:
    """Ask polars for less memory and time on large files, unless told else.

    It decodes no more than two groups of rows ahead: 150 MiB less at the peak of ten
    million calls, at no cost of time that was seen. And it keeps more groups at hand
    while it counts (agents by day, and the like): rows of groups that are not at hand
    wait in memory, at a hundred million calls for gigabytes. Room for so many takes
    20 ms to set up, which small files do without. Both are settings of polars that
    other versions may not know, and are read when it is imported.

    Args:
        paths: What is to be read: files, folders, globs or `-`.
    """
    os.environ.setdefault("POLARS_ROW_GROUP_PREFETCH_SIZE", "2")
    if sum(map(_bytes, paths)) <= _SMALL_BYTES:
        return
    for name in ("POLARS_HOT_TABLE_SIZE", "POLARS_MAX_HOT_TABLE_SIZE"):
        os.environ.setdefault(name, str(2**20))
    # Elsewhere polars has another allocator, or one that would complain of an option.
    if sys.platform == "linux":
        os.environ.setdefault("_RJEM_MALLOC_CONF", _allocator())


def _allocator() -> str:
    """Return how polars' allocator is to keep memory, where it is jemalloc.

    With one arena a core, freed pages come back to whichever query asks next, and stay
    for a second instead of half a one; what is given back then goes at once. At ten
    million calls that is 100 MiB less at the peak and a fifth fewer page faults.
    """
    arenas = max(os.cpu_count() or 1, 2)
    return (
        f"background_thread:true,narenas:{arenas},dirty_decay_ms:1000,muzzy_decay_ms:0"
    )


def _bytes(path: str) -> float:
    """Return the size of a file or a flat folder; infinite for anything else."""
    place = Path(path)
    try:
        files = list(place.iterdir()) if place.is_dir() else [place]
        if all(file.is_file() for file in files):
            return sum(file.stat().st_size for file in files)
    except OSError:  # loading says what is wrong with it
        pass
    return math.inf


def seldom_collecting() -> None:
    """Look for cycles of objects less often: hardly any are made, importing makes none.

    A scan of a thousand rows takes some 6 % less time for it.
    """
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])


def without_spare_numpy() -> None:
    """Put off parts of numpy that scipy imports by name, and nobody here needs.

    Each is there as soon as anybody asks for something in it.
    """
    import numpy as np

    for part in _SPARE:
        name = f"numpy.{part}"
        spec = None if name in sys.modules else find_spec(name)
        if spec is None or spec.loader is None:
            continue
        spec.loader = LazyLoader(spec.loader)
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        setattr(np, part, module)
