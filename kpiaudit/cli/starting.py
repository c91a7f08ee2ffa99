"""What makes the command start sooner; the library leaves its user's process alone."""

from __future__ import annotations

import gc
import os
import sys
from importlib.util import LazyLoader, find_spec, module_from_spec

_OBJECTS = 50_000
"""New objects between two looks; Python's own number is 700."""
_SPARE = ("f2py", "testing", "ctypeslib", "polynomial", "rec", "char", "strings")
"""Parts of numpy that are modules of their own, such as its Fortran generator."""


def single_threaded() -> None:
    """Ask for one thread of linear algebra, before numpy is loaded, unless told else.

    The matrices are small: more threads would only wait for each other.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def tuned_polars() -> None:
    """Ask polars for less memory and time on large tables, unless told else.

    It decodes no more than two groups of rows ahead: 150 MiB less at the peak of ten
    million calls, at no cost of time that was seen. And it keeps more groups at hand
    while it counts (agents by day, and the like): rows of groups that are not at hand
    wait in memory, at a hundred million calls for gigabytes. Both are settings of
    polars that other versions may not know.
    """
    os.environ.setdefault("POLARS_ROW_GROUP_PREFETCH_SIZE", "2")
    for name in ("POLARS_HOT_TABLE_SIZE", "POLARS_MAX_HOT_TABLE_SIZE"):
        os.environ.setdefault(name, str(2**20))


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
