"""Each finding on a line of its own, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpiaudit.outputs.json_v1 import encoded, finding_dict

if TYPE_CHECKING:
    from kpiaudit.findings import Report


def render(report: Report) -> str:
    """Return a line of JSON per finding; an empty string if there is none."""
    return "".join(
        encoded(finding_dict(finding, report.notice)) + "\n"
        for finding in report.findings
    )
