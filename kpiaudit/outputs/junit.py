"""The report as JUnit XML: a suite per rule, a failed case per finding."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from kpiaudit.findings import RuleStatus
from kpiaudit.outputs.clean import cleaned
from kpiaudit.outputs.rule_words import rule_lines
from kpiaudit.outputs.story import GONE, gone_lines, story

if TYPE_CHECKING:
    from kpiaudit.findings import Finding, Report


def render(report: Report) -> str:
    """Return the report as JUnit XML.

    A rule that ran without a finding is a passed case, a rule that was skipped a
    skipped one; a finding that is accepted until a day is a skipped case as well.
    """
    report = cleaned(report)
    rules = _rules(report)
    by_rule = {rule.id: _findings_of(report, rule) for rule in rules}
    accepted = sum(map(_accepted, by_rule.values()))
    skipped = sum(rule.status == "skipped" for rule in rules)
    cases = sum(max(len(found), 1) for found in by_rule.values())
    root = ET.Element(
        "testsuites",
        name="kpiaudit",
        tests=str(cases),
        failures=str(sum(len(found) for found in by_rule.values()) - accepted),
        errors="0",
        skipped=str(skipped + accepted),
        time="0",
    )
    for rule in rules:
        _add_suite(root, report, rule, by_rule[rule.id])
    if not rules:  # the notice needs a place to stand
        _add_properties(
            ET.SubElement(root, "testsuite", _counts("kpiaudit", 0)), report
        )
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _rules(report: Report) -> list[RuleStatus]:
    """Return the rules, and those that only findings name, lest one be left out."""
    known = {rule.id: rule for rule in report.rules}
    for finding in report.findings:
        bare = RuleStatus(id=finding.rule, detector=finding.detector, status="ran")
        known.setdefault(finding.rule, bare)
    for gone in report.compared.gone if report.compared is not None else ():
        absent = RuleStatus(
            id=gone.rule, detector="", status="skipped", reason="not among these rules"
        )
        known.setdefault(gone.rule, absent)
    return list(known.values())


def _findings_of(report: Report, rule: RuleStatus) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == rule.id]


def _counts(
    name: str, cases: int, failures: int = 0, skipped: int = 0
) -> dict[str, str]:
    return {
        "name": name,
        "tests": str(cases),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(skipped),
        "time": "0",
    }


def _add_properties(suite: ET.Element, report: Report) -> None:
    properties = ET.SubElement(suite, "properties")
    for name in ("notice", "version", "schema"):
        ET.SubElement(properties, "property", name=name, value=getattr(report, name))


def _add_suite(
    root: ET.Element, report: Report, rule: RuleStatus, findings: list[Finding]
) -> None:
    skipped = rule.status == "skipped"
    accepted = _accepted(findings)
    counts = _counts(
        rule.id,
        max(len(findings), 1),
        len(findings) - accepted,
        int(skipped) + accepted,
    )
    suite = ET.SubElement(root, "testsuite", counts)
    _add_properties(suite, report)
    for finding in findings:
        subject = f"{finding.subject.kind} {finding.subject.id}"
        case = ET.SubElement(suite, "testcase", _case(rule.id, subject))
        _add_outcome(case, finding, report.notice)
    if not findings:
        case = ET.SubElement(suite, "testcase", _case(rule.id, "all subjects"))
        said = "\n".join(rule_lines(rule))
        if skipped:
            ET.SubElement(case, "skipped", message=said)
        else:
            ET.SubElement(case, "system-out").text = said
    gone = gone_lines(report, rule.id)
    if gone:
        said = "\n".join((f"{GONE}:", *gone))
        ET.SubElement(suite, "system-out").text = said


def _accepted(findings: list[Finding]) -> int:
    return sum(finding.suppressed is not None for finding in findings)


def _add_outcome(case: ET.Element, finding: Finding, notice: str) -> None:
    if finding.suppressed is not None:
        item = finding.suppressed
        said = f"accepted until {item.until}: {item.reason}"
        ET.SubElement(case, "skipped", message=said)
        ET.SubElement(case, "system-out").text = _body(finding, notice)
        return
    failure = ET.SubElement(
        case, "failure", message=finding.headline, type=finding.severity.word
    )
    failure.text = _body(finding, notice)


def _case(rule: str, name: str) -> dict[str, str]:
    return {"classname": f"kpiaudit.{rule}", "name": name, "time": "0"}


def _body(finding: Finding, notice: str) -> str:
    lines = [
        f"{item.label}: {line}"
        for item in story(finding, verbose=1)
        for line in item.lines
    ]
    return "\n".join([*lines, notice])
