"""The sample data that ships, scanned as `make demo` does."""

import re
from pathlib import Path

import pytest

import kpiaudit
from kpiaudit.outputs.formats import render
from kpiaudit.tables.simulate import demo

ROOT = Path(__file__).parent.parent
# One worker scans for all of them.
pytestmark = pytest.mark.xdist_group("sample")


@pytest.fixture(scope="module")
def report() -> kpiaudit.Report:
    return kpiaudit.scan(ROOT / "sample_data")


@pytest.mark.slow
def test_every_planted_pattern_is_found_and_no_look_alike_is_named(
    report: kpiaudit.Report,
) -> None:
    truth = demo().truth
    planted = {
        (pattern, agent)
        for pattern, told in truth.items()
        if pattern != "lookalikes"
        for agent in told["agents"]
    }
    found = {(f.rule, f.subject.id) for f in report.findings}
    assert found == planted


@pytest.mark.slow
def test_the_finding_in_the_readme_is_what_the_demo_prints(
    report: kpiaudit.Report,
) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"(?ms)^── \d+ ─.*?(?=\n```)", text)
    assert shown, "the README shows no finding"
    assert shown[0] in render(report, "text", width=100), "run 'make docs'"
