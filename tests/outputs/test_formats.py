"""What holds in every format."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING

import pytest

from kpiaudit.errors import KpiauditError
from kpiaudit.outputs.formats import FORMATS, render

if TYPE_CHECKING:
    from kpiaudit.findings import Report

# No output may use these, in any case, as whole words.
FORBIDDEN = re.compile(
    r"\b(fraud|frauds|fraudulent|cheat|cheats|cheater|cheating|culprits?|guilty|"
    r"offenders?|suspects?|suspected|perpetrators?|misconduct|lie|lies|liars?)\b",
    re.IGNORECASE,
)
HOSTILE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_the_formats_are_those_of_the_command_line() -> None:
    assert list(FORMATS) == [
        "text",
        "json",
        "ndjson",
        "csv",
        "markdown",
        "html",
        "junit",
        "sarif",
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_uses_a_forbidden_word(name: str, report: Report) -> None:
    assert FORBIDDEN.findall(render(report, name, verbose=1)) == []


@pytest.mark.parametrize("name", FORMATS)
def test_no_empty_report_uses_a_forbidden_word(name: str, empty: Report) -> None:
    assert FORBIDDEN.findall(render(empty, name, verbose=1)) == []


@pytest.mark.parametrize("name", FORMATS)
def test_the_notice_stands_in_every_format(name: str, report: Report) -> None:
    words = " ".join(unescape(render(report, name)).split())
    assert report.notice in words


@pytest.mark.parametrize("name", FORMATS)
def test_no_control_or_bidi_character_comes_through(name: str, report: Report) -> None:
    assert HOSTILE.findall(render(report, name, verbose=1)) == []


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_report_gives_the_same_text(name: str, report: Report) -> None:
    assert render(report, name) == render(report, name)


@pytest.mark.parametrize("name", FORMATS)
def test_half_a_character_can_still_be_written(name: str, report: Report) -> None:
    broken = replace(report.inputs[0], path="calls-\udce4.csv")
    render(replace(report, inputs=(broken,)), name).encode("utf-8")


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "ndjson"])
def test_output_ends_with_one_newline(name: str, report: Report, empty: Report) -> None:
    for text in (render(report, name), render(empty, name)):
        assert text.endswith("\n")
        assert not text.endswith("\n\n")


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_gives_a_cost_for_a_person(name: str, report: Report) -> None:
    person = replace(report, findings=report.findings[1:])
    assert "EUR" not in render(person, name, verbose=1)


def test_an_unknown_format_names_the_nearest(report: Report) -> None:
    with pytest.raises(KpiauditError, match="Did you mean 'markdown'"):
        render(report, "markdwn")


def test_a_format_is_loaded_only_when_asked_for() -> None:
    code = (
        "import sys, kpiaudit.outputs.formats as f, kpiaudit.findings as k\n"
        "r = k.Report(version='1', inputs=(), rules=(), findings=(), notes=())\n"
        "f.render(r, 'json')\n"
        "print([m for m in ('rich', 'numpy', 'polars') if m in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "[]"
