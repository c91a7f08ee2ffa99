"""The report as SARIF 2.1.0, for code-scanning dashboards."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kpiaudit.findings import Severity
from kpiaudit.outputs.clean import cleaned
from kpiaudit.outputs.json_v1 import finding_dict
from kpiaudit.outputs.rule_words import rule_lines
from kpiaudit.outputs.story import GONE, gone_lines, note_line

if TYPE_CHECKING:
    from kpiaudit.findings import Finding, Report

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/"
    "sarif-schema-2.1.0.json"
)
_HOME = "https://github.com/kpiaudit/kpiaudit"
_STATES = {
    "new": "new",
    "known": "unchanged",
    "worsened": "updated",
    "improved": "updated",
}
_LEVELS = {Severity.LOW: "note", Severity.MEDIUM: "warning", Severity.HIGH: "error"}


def render(report: Report) -> str:
    """Return the report as a SARIF log with one run.

    `level` is the severity of harm; the strength of evidence is a property.
    """
    report = cleaned(report)
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [_run(report)]}
    return json.dumps(log, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def _run(report: Report) -> dict[str, Any]:
    places = {rule.id: place for place, rule in enumerate(report.rules)}
    return {
        "tool": {"driver": _driver(report)},
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": _notifications(report),
            }
        ],
        "results": [_result(report, finding, places) for finding in report.findings],
        "properties": {"notice": report.notice, "schema": report.schema},
    }


def _driver(report: Report) -> dict[str, Any]:
    return {
        "name": "kpiaudit",
        "version": report.version,
        "informationUri": _HOME,
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": f"Pattern: {rule.detector}"},
                "help": {"text": "\n".join(rule_lines(rule))},
                "properties": {"detector": rule.detector, "status": rule.status},
            }
            for rule in report.rules
        ],
        "properties": {"notice": report.notice},
    }


def _notifications(report: Report) -> list[dict[str, Any]]:
    skipped = [
        {
            "level": "warning",
            "message": {
                "text": f"rule {rule.id} skipped: {rule.reason or 'no reason'}"
            },
            "associatedRule": {"id": rule.id, "index": place},
        }
        for place, rule in enumerate(report.rules)
        if rule.status == "skipped"
    ]
    notes = [
        {"level": "note", "message": {"text": note_line(note)}} for note in report.notes
    ]
    # No results of their own: dashboards would open an alert for what has gone.
    gone = [
        {"level": "note", "message": {"text": f"{GONE}: {line}"}}
        for line in gone_lines(report)
    ]
    return [*skipped, *notes, *gone]


def _result(report: Report, finding: Finding, places: dict[str, int]) -> dict[str, Any]:
    facts = finding_dict(finding, report.notice)
    kept = (
        *("rank", "severity", "evidence_grade", "effect", "p_value", "q_value"),
        *("restated", "also_restated", "cost", "part_of"),
        *("innocent_explanations", "corroboration"),
    )
    return {
        "ruleId": finding.rule,
        **({"ruleIndex": places[finding.rule]} if finding.rule in places else {}),
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.headline} {report.notice}"},
        "locations": [_location(report, finding)],
        "partialFingerprints": {"kpiauditFinding/v1": finding.id},
        **_history(finding),
        "properties": {
            **{name: facts[name] for name in kept},
            "subject": facts["subject"],
            "state": finding.state,
            "notice": report.notice,
        },
    }


def _history(finding: Finding) -> dict[str, Any]:
    """Say in SARIF's words what became of the finding since the baseline."""
    told: dict[str, Any] = {}
    if finding.state is not None:
        told["baselineState"] = _STATES[finding.state]
    if finding.suppressed is not None:
        item = finding.suppressed
        told["suppressions"] = [
            {
                "kind": "external",
                "status": "accepted",
                "justification": f"until {item.until}: {item.reason}",
            }
        ]
    return told


def _location(report: Report, finding: Finding) -> dict[str, Any]:
    kind, name = finding.subject.kind, finding.subject.id
    place: dict[str, Any] = {
        "logicalLocations": [
            {"name": name, "fullyQualifiedName": f"{kind}/{name}", "kind": kind}
        ]
    }
    path = _path(report, finding)
    if path:
        # Dashboards want a line; a finding is about many, so it stands at the first.
        place["physicalLocation"] = {
            "artifactLocation": {"uri": _uri(path)},
            "region": {"startLine": 1},
        }
    return place


def _path(report: Report, finding: Finding) -> str:
    """Return the file of the first table that the finding rests on, else the first."""
    tables = [item.column.partition(".")[0] for item in finding.rests_on]
    for table in tables:
        for item in report.inputs:
            if item.table == table:
                return item.path
    return report.inputs[0].path if report.inputs else ""


def _uri(path: str) -> str:
    if "://" in path:
        return quote(path, safe=":/?&=#%")
    pure = PurePath(path)
    uri = quote(pure.as_posix())
    return f"file://{uri}" if pure.is_absolute() else uri
