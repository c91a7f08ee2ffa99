"""All findings at a glance: one line each, in the order of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len

from kpiaudit.outputs.clean import shortened
from kpiaudit.outputs.words import amounts, kpi_name, subject_name

if TYPE_CHECKING:
    from kpiaudit.findings import Finding, Report

_MOST = 40
_SUBJECT = 28


def overview(report: Report, width: int) -> tuple[str, ...]:
    """Return a table of the findings, as aligned lines; empty for fewer than two.

    Args:
        report: A cleaned report.
        width: Columns; what does not fit is left out from the right, column by column.
    """
    if len(report.findings) < 2:
        return ()
    rows = [_cells(finding) for finding in report.findings[:_MOST]]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    shown = len(widths)
    while shown > 1 and 2 * (shown - 1) + sum(widths[:shown]) > width:
        shown -= 1
    lines = ["  ".join(_padded(row, widths)[:shown]).rstrip() for row in rows]
    more = len(report.findings) - len(rows)
    return (*lines, *((f"and {more} more, below",) if more else ()))


def _padded(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell + " " * (wide - cell_len(cell))
        for cell, wide in zip(row, widths, strict=True)
    ]


def _cells(finding: Finding) -> tuple[str, ...]:
    kpi, again = "", finding.restated
    if again is not None and again.restated is not None:
        (told, now), unit = amounts([again.reported, again.restated], again.unit)
        kpi = f"{kpi_name(again.kpi)} {told}, restated {now}{unit}"
    return (
        f"{finding.rank:>3}",
        shortened(subject_name(finding.subject), _SUBJECT),
        finding.rule,
        f"harm {finding.severity.word}, evidence {finding.evidence_grade}",
        kpi,
    )
