"""One gaming pattern a file; `base` is the contract, `catalogue` knows them all.

The private modules of a detector (how it counts, tests and words) are executed when
something in them is first used: listing rules, or a rule whose columns are absent,
does not pay for the statistics of the others.
"""

from __future__ import annotations

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    """Return a private module that is executed on first use."""
    spec = find_spec(f"{__name__}.{name}") if _is_private(name) else None
    if spec is None or spec.loader is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    if spec.name in sys.modules:
        return sys.modules[spec.name]
    spec.loader = LazyLoader(spec.loader)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    globals()[name] = module
    return module


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")
