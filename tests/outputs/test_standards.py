"""The formats that others have defined, held against what their readers insist on."""

from __future__ import annotations

import csv as csv_reader
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from kpiaudit.outputs import csv, junit, sarif

if TYPE_CHECKING:
    from kpiaudit.findings import Report

TEXT: dict[str, Any] = {"type": "string"}
INDEX: dict[str, Any] = {"type": "integer", "minimum": 0}


def _only(required: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    """Describe an object that may hold nothing else, as SARIF's objects do."""
    return {
        "type": "object",
        "properties": {**properties, "properties": {"type": "object"}},
        "required": list(required),
        "additionalProperties": False,
    }


MESSAGE = _only(("text",), text={**TEXT, "minLength": 1})
NOTIFICATION = _only(
    ("message",),
    message=MESSAGE,
    level={"enum": ["none", "note", "warning", "error"]},
    associatedRule=_only(id=TEXT, index=INDEX),
)
LOCATION = _only(
    logicalLocations={
        "type": "array",
        "items": _only(name=TEXT, fullyQualifiedName=TEXT, kind=TEXT),
    },
    physicalLocation=_only(
        ("artifactLocation",),
        artifactLocation=_only(uri={**TEXT, "format": "uri-reference"}),
        region=_only(("startLine",), startLine={"type": "integer", "minimum": 1}),
    ),
)
RESULT = _only(
    ("message",),
    message=MESSAGE,
    ruleId=TEXT,
    ruleIndex=INDEX,
    level={"enum": ["none", "note", "warning", "error"]},
    locations={"type": "array", "items": LOCATION},
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
    baselineState={"enum": ["new", "unchanged", "updated", "absent"]},
    suppressions={
        "type": "array",
        "uniqueItems": True,
        "items": _only(
            ("kind",),
            kind={"enum": ["inSource", "external"]},
            status={"enum": ["accepted", "underReview", "rejected"]},
            justification=TEXT,
        ),
    },
)
# Of SARIF 2.1.0 (OASIS, errata 01), as much as a report of ours uses: what is
# required, which values there are, and that no object holds anything else.
SARIF = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "$schema": {**TEXT, "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": _only(
                ("tool",),
                tool=_only(
                    ("driver",),
                    driver=_only(
                        ("name",),
                        name=TEXT,
                        version=TEXT,
                        informationUri={**TEXT, "format": "uri"},
                        rules={
                            "type": "array",
                            "uniqueItems": True,
                            "items": _only(
                                ("id",), id=TEXT, shortDescription=MESSAGE, help=MESSAGE
                            ),
                        },
                    ),
                ),
                invocations={
                    "type": "array",
                    "items": _only(
                        ("executionSuccessful",),
                        executionSuccessful={"type": "boolean"},
                        toolExecutionNotifications={
                            "type": "array",
                            "items": NOTIFICATION,
                        },
                    ),
                },
                results={"type": "array", "items": RESULT},
            ),
        },
    },
    "required": ["version", "runs"],
    "additionalProperties": False,
}


def test_sarif_has_the_structure_of_the_standard(report: Report, empty: Report) -> None:
    for page in (report, empty, replace(report, inputs=(), rules=())):
        jsonschema.validate(json.loads(sarif.render(page)), SARIF)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), "2.0.0"),
        (("runs", 0, "results", 0, "level"), "high"),
        (("runs", 0, "results", 0, "baselineState"), "known"),
        (("runs", 0, "results", 0, "message"), {}),
        (("runs", 0, "results", 0, "state"), "new"),
        (("runs", 0, "tool"), {}),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "to",
)
def test_what_breaks_the_standard_is_noticed(
    path: tuple[Any, ...], value: Any, report: Report
) -> None:
    log = json.loads(sarif.render(report))
    place = log
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(log, SARIF)


def test_sarif_says_what_is_new_and_what_is_accepted(report: Report) -> None:
    (run,) = json.loads(sarif.render(report))["runs"]
    floor = run["results"][0]
    assert floor["baselineState"] == "updated"
    assert floor["suppressions"][0]["justification"].startswith("until 2026-06-30")
    told = run["invocations"][0]["toolExecutionNotifications"]
    assert any("short-calls-00ff00ff00ff" in note["message"]["text"] for note in told)
    bare = json.loads(sarif.render(replace(report, findings=report.findings[1:])))
    assert "suppressions" not in bare["runs"][0]["results"][0]


# What the readers of JUnit files (Jenkins, GitLab, GitHub actions) agree on: which
# element may hold which, in that order, and which attributes it needs.
CHILDREN = {
    "testsuites": ("testsuite",),
    "testsuite": ("properties", "testcase", "system-out"),
    "properties": ("property",),
    "testcase": ("skipped", "failure", "system-out"),
}
NEEDED = {
    "testsuites": {"tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testcase": {"name", "classname", "time"},
    "property": {"name", "value"},
    "failure": {"message", "type"},
    "skipped": {"message"},
}


def _faults(element: ET.Element) -> list[str]:
    faults = [
        f"{element.tag} lacks {name}"
        for name in sorted(NEEDED.get(element.tag, set()) - set(element.attrib))
    ]
    allowed = CHILDREN.get(element.tag, ())
    places = [
        allowed.index(child.tag) if child.tag in allowed else -1 for child in element
    ]
    if -1 in places or places != sorted(places):
        faults.append(f"{element.tag} holds {[child.tag for child in element]}")
    return [*faults, *(fault for child in element for fault in _faults(child))]


def _sums(element: ET.Element) -> dict[str, str]:
    return {
        "tests": str(len(element.findall(".//testcase"))),
        "failures": str(len(element.findall(".//failure"))),
        "skipped": str(len(element.findall(".//skipped"))),
        "errors": str(len(element.findall(".//error"))),
    }


def test_junit_has_the_structure_that_its_readers_know(
    report: Report, empty: Report
) -> None:
    for page in (report, empty, replace(report, rules=()), replace(empty, rules=())):
        root = ET.fromstring(junit.render(page))  # noqa: S314  # our own
        assert root.tag == "testsuites"
        assert _faults(root) == []
        for suite in (root, *root):
            assert suite.attrib.items() >= _sums(suite).items()
    root.append(ET.Element("testcase"))
    assert _faults(root) == [
        "testsuites holds ['testsuite', 'testcase']",
        "testcase lacks classname",
        "testcase lacks name",
        "testcase lacks time",
    ]


FROZEN = (
    "rank id rule detector kpi subject_kind subject_id team_id severity "
    "evidence_grade headline n observed expected effect_name effect effect_low "
    "effect_high effect_level effect_unit p_value q_value period_start period_end "
    "reported restated restated_low restated_high restated_unit breaking_point "
    "cost cost_low cost_high currency explanations_ruled_out explanations_open "
    "explanations_uncheckable sources_supporting sources_contradicting peers "
    "next_step part_of state suppressed_until notice"
)


def test_the_columns_of_csv_are_frozen(report: Report) -> None:
    """A column may be added at the end; a spreadsheet refers to the others."""
    header = next(csv_reader.reader(io.StringIO(csv.render(report))))
    assert " ".join(header[:45]) == FROZEN
