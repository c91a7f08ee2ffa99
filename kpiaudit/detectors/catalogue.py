"""Which detectors there are: the built-in ones, and those of installed plugins."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from kpiaudit.detectors.base import Detector
from kpiaudit.errors import DetectorError, guess

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "kpiaudit.detectors"

_BUILT_IN = (
    ("duration_cap", "DurationCap"),
    ("short_calls", "ShortCalls"),
    ("survey_selection", "SurveySelection"),
    ("perfect_scores", "PerfectScores"),
    ("premature_ready", "PrematureReady"),
    ("early_closure", "EarlyClosure"),
)


@cache
def detectors() -> dict[str, type[Detector]]:
    """Return every detector by id, the built-in ones first, then plugins by name.

    Raises:
        DetectorError: A plugin does not load, is no detector, or takes a taken id.
    """
    known: dict[str, type[Detector]] = {}
    for module, name in _BUILT_IN:
        built_in: type[Detector] = getattr(
            import_module(f"kpiaudit.detectors.{module}"), name
        )
        known[built_in.id] = built_in
    for entry in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        plugin = load_plugin(entry)
        if plugin.id in known:
            raise DetectorError(
                f"{_origin(entry)}: the detector id '{plugin.id}' is already taken by "
                f"{known[plugin.id].__module__}. Give the plugin another id."
            )
        known[plugin.id] = plugin
    return known


def detector(name: str, *, where: str) -> type[Detector]:
    """Return one detector by id.

    Args:
        name: The id.
        where: Who asks (rule file and rule), for the message.

    Raises:
        DetectorError: There is no such detector.
    """
    known = detectors()
    if name not in known:
        raise DetectorError(
            f"{where}: there is no detector '{name}'.{guess(name, known)} "
            "'kpiaudit rules' lists them."
        )
    return known[name]


def origin_of(kind: type[Detector]) -> str | None:
    """Return which plugin of which package a detector is from; None for our own."""
    if kind.__module__.startswith("kpiaudit."):
        return None
    for entry in entry_points(group=GROUP):
        if entry.value == f"{kind.__module__}:{kind.__qualname__}":
            return _origin(entry)
    return f"the module {kind.__module__}"


def load_plugin(entry: EntryPoint) -> type[Detector]:
    """Load one plugin and check that it keeps the contract of a detector.

    Raises:
        DetectorError: It does not; the message names the package and its version.
    """
    try:
        loaded = entry.load()
    except Exception as error:
        raise DetectorError(
            f"{_origin(entry)}: it can't be loaded ({type(error).__name__}: {error}). "
            "Mend or uninstall the package."
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Detector)):
        raise DetectorError(
            f"{_origin(entry)}: '{entry.value}' is no kpiaudit.Detector. Derive the "
            "class from it, or uninstall the package."
        )
    missing = [
        fact
        for fact in ("id", "kpi", "level", "table", "needs")
        if not hasattr(loaded, fact)
    ]
    if missing:
        raise DetectorError(
            f"{_origin(entry)}: the class lacks {', '.join(missing)}. "
            "See 'The contract of a detector' in docs/architecture.md."
        )
    return loaded


def _origin(entry: EntryPoint) -> str:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package"
    return f"plugin '{entry.name}' of {package}"
