"""The formats by name; a format's module is imported when it is first asked for."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from kpiaudit.errors import KpiauditError, guess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kpiaudit.findings import Report

Renderer: TypeAlias = "Callable[..., str]"
"""Takes a report, and the text format also the keywords of `text.render`."""


def _load_and_render(module: str, report: Report, **options: object) -> str:
    text: str = import_module(f"kpiaudit.outputs.{module}").render(report, **options)
    return text


FORMATS: Mapping[str, Renderer] = MappingProxyType(
    {
        name: partial(_load_and_render, module)
        for name, module in (
            ("text", "text"),
            ("json", "json_v1"),
            ("ndjson", "ndjson"),
            ("csv", "csv"),
            ("markdown", "markdown"),
            ("html", "html"),
            ("junit", "junit"),
            ("sarif", "sarif"),
        )
    }
)
"""Format name to renderer, `text` (the default) first."""


def render(
    report: Report,
    format: str = "text",  # noqa: A002  (the word of the command line's option)
    *,
    width: int = 100,
    colour: bool = False,
    verbose: int = 0,
    unicode: bool = True,
) -> str:
    """Return the report in a format.

    Args:
        report: What the scan said.
        format: A name in `FORMATS`.
        width: Columns of the text format.
        colour: ANSI colours in the text format; the caller honours NO_COLOR.
        verbose: 1 adds p, q, spread, selection and origins to the text format.
        unicode: False keeps the text format to ASCII.

    Raises:
        KpiauditError: There is no such format.
    """
    if format not in FORMATS:
        raise KpiauditError(
            f"--format: there is no format '{format}'. Choose one of "
            f"{', '.join(FORMATS)}.{guess(format, FORMATS)}"
        )
    if format == "text":
        return FORMATS[format](
            report, width=width, colour=colour, verbose=verbose, unicode=unicode
        )
    return FORMATS[format](report)
