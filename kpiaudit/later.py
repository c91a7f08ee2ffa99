"""Modules of a package that are executed when something in them is first used.

Only where that was asked for, as the command line does: Python 3.11 executes such a
module twice, or hands it out half done, if two threads use it first at once.
"""

from __future__ import annotations

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


_asked: list[bool] = []


def put_off() -> None:
    """Ask for it, in a process that scans in one thread."""
    _asked.append(True)


def on_first_use(package: str, first: str = "") -> Callable[[str], ModuleType]:
    """Return a `__getattr__` for a package: `from package import module` costs nothing.

    The module is executed when something in it is asked for; `from package.module
    import name` asks for something.

    Args:
        package: Its name.
        first: How the names of the modules begin that this is for.
    """

    def get(name: str) -> ModuleType:
        # Without a module from here the import statement makes one as usual.
        ours = bool(_asked) and name.startswith(first) and not name.startswith("__")
        spec = find_spec(f"{package}.{name}") if ours else None
        if spec is None or spec.loader is None:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        if spec.name in sys.modules:
            return sys.modules[spec.name]
        spec.loader = LazyLoader(spec.loader)
        module = module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        setattr(sys.modules[package], name, module)
        return module

    return get
