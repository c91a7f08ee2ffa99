"""Whole outputs, so that a change in one is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kpiaudit.outputs.formats import render

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from kpiaudit.findings import Report


@pytest.mark.parametrize("name", ["text", "json", "markdown", "csv"])
def test_a_report_looks_like_this(
    name: str, report: Report, snapshot: SnapshotAssertion
) -> None:
    assert render(report, name, width=100) == snapshot


def test_a_verbose_text_looks_like_this(
    report: Report, snapshot: SnapshotAssertion
) -> None:
    assert render(report, "text", verbose=1) == snapshot


def test_a_text_without_findings_looks_like_this(
    empty: Report, snapshot: SnapshotAssertion
) -> None:
    assert render(empty, "text") == snapshot
