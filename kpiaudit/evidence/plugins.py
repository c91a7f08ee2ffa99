"""Errors in the code of plugins, said with the name of the plugin."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kpiaudit.detectors import catalogue
from kpiaudit.detectors.base import Summary
from kpiaudit.errors import KpiauditError, RunError
from kpiaudit.tables.engine import collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kpiaudit.rulebook import Rule
    from kpiaudit.tables.dataset import Dataset, Frame


@contextmanager
def named(rules: Sequence[Rule], data: Dataset) -> Iterator[None]:
    """Say which plugin an error comes from.

    Its code stands in the traceback. If it does not, the error may come from a frame
    that a plugin left to be collected with all others: each one is then asked alone.

    Raises:
        RunError: A plugin's detector failed.
    """
    try:
        yield
    except KpiauditError:
        raise
    except Exception as error:
        for rule in rules:
            origin = catalogue.origin_of(type(rule.detector))
            if origin is None:
                continue
            failed = _step_in(error, rule) or _fails_alone(rule, data)
            if failed:
                raise RunError(
                    f"{origin}: the detector '{rule.detector.id}' failed in {failed} "
                    f"({type(error).__name__}: {error}). Mend or uninstall the "
                    f"package, or leave the rule out with --ignore {rule.id}."
                ) from error
        raise


def _step_in(error: BaseException, rule: Rule) -> str | None:
    """Return the first function of the detector's module in the error's traceback."""
    module = type(rule.detector).__module__
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") == module:
            return frame.f_code.co_name
    return None


def _fails_alone(rule: Rule, data: Dataset) -> str | None:
    """Return what the detector fails in if no other one runs beside it."""
    detector = rule.detector
    if data.missing(detector.needs):
        return None
    step = "discover"
    try:
        found = detector.find(_collected(detector.discover(data)))
        step = "summarize"
        _collected(detector.summarize(data, found))
    except Exception:  # noqa: BLE001 - it is asked for nothing else
        return step
    return None


def _collected(frames: Mapping[str, Frame]) -> dict[str, Summary]:
    return {name: Summary.of(frame) for name, frame in collect(frames).items()}
