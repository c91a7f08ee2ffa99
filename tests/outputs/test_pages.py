"""CSV, Markdown, HTML, JUnit and SARIF."""

from __future__ import annotations

import csv as stdlib_csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from kpiaudit.findings import Cost, Subject
from kpiaudit.outputs import csv, html, junit, markdown, sarif

if TYPE_CHECKING:
    from kpiaudit.findings import Report


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n=", " =", "\uff1d"]
)
def test_a_cell_that_begins_like_a_formula_is_neutralised(start: str) -> None:
    assert csv.cell(f"{start}cmd()").startswith("'")


@pytest.mark.parametrize("value", [-3.5, -3, 1e-12, "-3.5", "+42", "0012", "A-7"])
def test_a_number_or_a_plain_id_stays_what_it_is(value: object) -> None:
    assert csv.cell(value) == str(value)


def test_a_number_followed_by_more_is_no_number() -> None:
    assert csv.cell("-1+cmd()") == "'-1+cmd()"
    assert csv.cell("+1\n") == "'+1\\n"


def test_csv_reads_back_with_a_row_a_finding(report: Report, empty: Report) -> None:
    rows = list(stdlib_csv.DictReader(io.StringIO(csv.render(report))))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert float(rows[0]["restated"]) == 408
    assert rows[1]["subject_id"].startswith("'=cmd()")
    assert rows[1]["q_value"] == ""
    assert list(rows[0])[-1] == "notice"
    assert len(csv.render(empty).splitlines()) == 1


def test_markdown_keeps_hostile_text_as_text(report: Report) -> None:
    page = markdown.render(report)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}


def test_markdown_makes_no_link_of_an_address() -> None:
    assert "://" not in markdown.escaped("http://a.example www.b.example")
    assert "www\\." in markdown.escaped("www.b.example")


def _parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  (our own output)


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names.extend(name for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_outside(report: Report) -> None:
    outline = _Outline()
    page = html.render(report)
    outline.feed(page.replace("/>", "></rect>").replace("></rect>", "/>"))
    assert outline.tags.count("article") == 2
    assert outline.tags.count("svg") == 1
    assert not {"script", "link", "img", "iframe", "a"} & set(outline.tags)
    assert not any(name.startswith("on") for name in outline.names)
    assert not {"src", "href"} & set(outline.names)
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_shows_hostile_text_as_text(report: Report) -> None:
    page = html.render(report)
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in page


def test_the_drawing_is_well_formed(report: Report) -> None:
    found = re.search(r"<svg.*?</svg>", html.render(report), re.DOTALL)
    assert found is not None
    drawing = _parsed(found.group())
    assert len(drawing.findall("rect")) == 20
    assert drawing.find("line[@class='mark']") is not None
    assert drawing.find("polyline[@class='expected']") is not None


def test_junit_counts_findings_as_failures(report: Report, empty: Report) -> None:
    bare = replace(
        report,
        compared=None,
        findings=tuple(replace(f, suppressed=None) for f in report.findings),
    )
    root = _parsed(junit.render(bare))
    assert root.attrib["tests"] == "3"
    assert root.attrib["failures"] == "2"
    assert root.attrib["skipped"] == "1"
    assert len(root.findall(".//failure")) == 2
    skipped = root.find(".//skipped")
    assert skipped is not None
    assert skipped.attrib["message"] == "no column surveys.eligible"
    notice = root.find("testsuite/properties/property[@name='notice']")
    assert notice is not None
    assert notice.attrib["value"] == report.notice
    assert _parsed(junit.render(empty)).attrib["failures"] == "0"


def test_an_accepted_finding_fails_no_junit_case(report: Report) -> None:
    root = _parsed(junit.render(report))
    assert root.attrib["failures"] == "1"
    said = [case.attrib["message"] for case in root.findall(".//skipped")]
    assert "accepted until 2026-06-30: script of April" in said


def test_junit_tells_what_of_the_baseline_is_gone(report: Report) -> None:
    root = _parsed(junit.render(report))
    told = root.find("testsuite[@name='short-calls']/system-out")
    assert told is not None
    assert "short-calls-00ff00ff00ff" in str(told.text)
    assert "not tested this time" in str(told.text)


def test_junit_leaves_out_no_finding_whose_rule_is_not_listed(report: Report) -> None:
    root = _parsed(junit.render(replace(report, rules=())))
    assert len(root.findall(".//testcase")) == 3


def test_junit_without_rules_still_carries_the_notice(empty: Report) -> None:
    root = _parsed(junit.render(replace(empty, rules=())))
    assert root.find("testsuite/properties/property[@name='notice']") is not None


def test_sarif_has_what_the_standard_asks_for(report: Report) -> None:
    log = json.loads(sarif.render(report))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["duration-cap", "survey-shield"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert report.notice in result["message"]["text"]
        assert result["partialFingerprints"]["kpiauditFinding/v1"]
    assert [result["level"] for result in run["results"]] == ["error", "note"]
    assert run["properties"]["notice"] == report.notice


def test_sarif_carries_what_a_reader_needs_and_no_cost_of_a_person(
    report: Report,
) -> None:
    priced = Cost(value=900.0, low=600.0, high=1200.0, currency="EUR")
    agent = Subject(kind="agent", id="A0007")
    person = replace(report.findings[0], subject=agent, cost=priced)
    team = replace(person, subject=Subject(kind="team", id="T03"))
    log = json.loads(sarif.render(replace(report, findings=(person, team))))
    one, other = (r["properties"] for r in log["runs"][0]["results"])
    assert one["cost"] is None
    assert other["cost"]["value"] == 900
    assert one["restated"]["restated"] == 408
    assert {e["status"] for e in one["innocent_explanations"]}
    assert {c["verdict"] for c in one["corroboration"]}


def test_sarif_points_to_the_file_of_the_finding(report: Report) -> None:
    places = [
        replace(report.inputs[0], path="/exports/a b/calls.csv"),
        replace(report.inputs[0], path="a:b/calls.csv"),
        replace(report.inputs[0], path="s3://bucket/calls.parquet"),
    ]
    uris = []
    for place in places:
        log = json.loads(sarif.render(replace(report, inputs=(place,))))
        location = log["runs"][0]["results"][0]["locations"][0]
        uris.append(location["physicalLocation"]["artifactLocation"]["uri"])
    assert uris == [
        "file:///exports/a%20b/calls.csv",
        "a%3Ab/calls.csv",
        "s3://bucket/calls.parquet",
    ]


def test_sarif_without_inputs_has_no_file(report: Report) -> None:
    log = json.loads(sarif.render(replace(report, inputs=())))
    assert "physicalLocation" not in log["runs"][0]["results"][0]["locations"][0]
