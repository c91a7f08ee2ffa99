"""Modules of a package that are executed when something in them is first used."""

from __future__ import annotations

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def on_first_use(package: str, first: str = "") -> Callable[[str], ModuleType]:
    """Return a `__getattr__` for a package: `from package import module` costs nothing.

    The module is executed when something in it is asked for; `from package.module
    import name` asks for something.

    Args:
        package: Its name.
        first: How the names of the modules begin that this is for.
    """

    def get(name: str) -> ModuleType:
        ours = name.startswith(first) and not name.startswith("__")
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
