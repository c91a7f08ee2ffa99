"""One row per finding, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

from kpiaudit.outputs.clean import visible
from kpiaudit.outputs.json_v1 import finding_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.findings import Report

# Besides the ASCII signs, the full-width ones that some spreadsheets read as formulas.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")

COLUMNS = (
    "rank",
    "id",
    "rule",
    "detector",
    "kpi",
    "subject_kind",
    "subject_id",
    "team_id",
    "severity",
    "evidence_grade",
    "headline",
    "n",
    "observed",
    "expected",
    "effect_name",
    "effect",
    "effect_low",
    "effect_high",
    "effect_level",
    "effect_unit",
    "p_value",
    "q_value",
    "period_start",
    "period_end",
    "reported",
    "restated",
    "restated_low",
    "restated_high",
    "restated_unit",
    "breaking_point",
    "cost",
    "cost_low",
    "cost_high",
    "currency",
    "explanations_ruled_out",
    "explanations_open",
    "explanations_uncheckable",
    "sources_supporting",
    "sources_contradicting",
    "peers",
    "next_step",
    "part_of",
    "state",
    "suppressed_until",
    "notice",
)


def render(report: Report) -> str:
    """Return the findings as comma-separated values with a header, in UTF-8's reach."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for finding in report.findings:
        row = _row(finding_dict(finding, report.notice))
        writer.writerow([cell(row[name]) for name in COLUMNS])
    return buffer.getvalue()


def cell(value: object) -> str:
    r"""Return a value as a cell that no spreadsheet takes for a formula.

    Text that begins like a formula gets an apostrophe in front; numbers stay numbers,
    whether they were numbers or text.

    >>> cell("=cmd()"), cell(-3.5), cell("-3.5"), cell(None)
    ("'=cmd()", '-3.5', '-3.5', '')
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    risky = _FORMULA.match(value) and not _NUMBER.match(value)
    return ("'" if risky else "") + visible(value)


def _row(finding: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten one finding of the JSON report."""
    subject, effect, period = finding["subject"], finding["effect"], finding["period"]
    restated, cost = finding["restated"] or {}, finding["cost"] or {}
    counted = [item["status"] for item in finding["innocent_explanations"]]
    verdicts = [item["verdict"] for item in finding["corroboration"]]
    return {
        **{name: finding[name] for name in COLUMNS if name in finding},
        "subject_kind": subject["kind"],
        "subject_id": subject["id"],
        "team_id": subject["team_id"],
        "effect_name": effect["name"],
        "effect": effect["value"],
        "effect_low": effect["low"],
        "effect_high": effect["high"],
        "effect_level": effect["level"],
        "effect_unit": effect["unit"],
        "period_start": period["start"],
        "period_end": period["end"],
        "reported": restated.get("reported"),
        "restated": restated.get("restated"),
        "restated_low": restated.get("low"),
        "restated_high": restated.get("high"),
        "restated_unit": restated.get("unit"),
        "suppressed_until": (finding["suppressed"] or {}).get("until"),
        "breaking_point": (finding["breaking_point"] or {}).get("spread_ratio"),
        "cost": cost.get("value"),
        "cost_low": cost.get("low"),
        "cost_high": cost.get("high"),
        "currency": cost.get("currency"),
        "explanations_ruled_out": counted.count("ruled_out"),
        "explanations_open": counted.count("open"),
        "explanations_uncheckable": counted.count("uncheckable"),
        "sources_supporting": verdicts.count("supports"),
        "sources_contradicting": verdicts.count("contradicts"),
    }
