"""The page on the report: its one-liners run, and it names every key."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kpiaudit.outputs.schema import report_schema

if TYPE_CHECKING:
    from kpiaudit.findings import Report

PAGE = Path(__file__).parents[2] / "docs" / "report.md"


def _blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def _run(command: list[str], report: Report, folder: Path) -> str:
    (folder / "report.json").write_text(report.to_json(), encoding="utf-8")
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_page_names_every_key() -> None:
    named = set(re.findall(r"`([a-z_0-9]+)`", PAGE.read_text(encoding="utf-8")))
    schema = report_schema()
    parts = ["rule", "finding", "note", "input", "subject", "effect", "histogram"]
    keys = set(schema["properties"])
    for part in parts:
        keys |= set(schema["$defs"][part]["properties"])
    assert keys - named == set()


@pytest.mark.parametrize("place", [0, 1])
def test_each_python_example_lists_the_findings(
    place: int, report: Report, tmp_path: Path
) -> None:
    code = _blocks("python")[place]
    said = _run([sys.executable, "-c", code], report, tmp_path)
    assert "strong" in said
    assert "28.7" in said


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_jq_examples_run(report: Report, tmp_path: Path) -> None:
    (block,) = _blocks("sh")
    said = _run(["sh", "-ec", block], report, tmp_path).splitlines()
    assert said[0] == '[1,"high","strong","all",106]'
    assert said[2:] == [
        "duration-cap-3f9a1c02d4e5",
        "survey-shield: no column surveys.eligible",
    ]
