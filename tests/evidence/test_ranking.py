from dataclasses import replace

import pytest

from kpiaudit.evidence import ranking
from kpiaudit.findings import (
    Corroboration,
    Effect,
    Explanation,
    Finding,
    RestsOn,
    Severity,
    Subject,
)

BASE = Finding(
    id="b",
    rank=0,
    rule="r",
    detector="r",
    kpi="k",
    subject=Subject(kind="agent", id="A"),
    severity=Severity.MEDIUM,
    headline="h",
    n=1,
    observed=1,
    expected=1,
    effect=Effect(name="e", value=1.0, low=0, high=2),
    p_value=0.001,
    q_value=0.01,
    evidence_grade="moderate",
)
OWN = RestsOn(column="calls.complaint", origin="agent", role="numerator")
SYSTEM = RestsOn(column="calls.queue", origin="system", role="stratum")
CLEARED = Explanation(text="outage", status="ruled_out")


def _ids(*findings: Finding) -> list[str]:
    return [f.id for f in ranking.ranked(findings)]


def test_harm_comes_before_strength_of_evidence() -> None:
    harmful = replace(BASE, id="h", severity=Severity.HIGH, q_value=0.04)
    certain = replace(BASE, id="c", q_value=1e-9, evidence_grade="strong")
    assert _ids(certain, harmful) == ["h", "c"]


def test_contradicted_findings_rank_lower() -> None:
    contradicted = replace(
        BASE,
        id="c",
        evidence_grade="strong",
        corroboration=(Corroboration(source="s", verdict="contradicts"),),
    )
    assert _ids(contradicted, BASE) == ["b", "c"]


def test_the_floor_comes_before_the_person() -> None:
    floor = replace(BASE, id="z", subject=Subject(kind="floor", id="all"), q_value=0.02)
    assert _ids(BASE, floor) == ["z", "b"]


def test_ranks_are_numbered_and_do_not_depend_on_the_order_given() -> None:
    others = [replace(BASE, id=name) for name in "abcd"]
    first = ranking.ranked(others)
    assert [f.rank for f in first] == [1, 2, 3, 4]
    assert first == ranking.ranked(reversed(others))


def test_a_finding_on_the_subjects_own_columns_is_weak() -> None:
    assert ranking.grade(1e-12, [OWN], [CLEARED]) == "weak"


@pytest.mark.parametrize(
    ("q", "explanations", "grade"),
    [
        (1e-4, [CLEARED], "strong"),
        (1e-4, [], "moderate"),
        (0.04, [CLEARED], "moderate"),
        (0.04, [], "weak"),
    ],
)
def test_strong_evidence_needs_a_small_q_and_an_explanation_ruled_out(
    q: float, explanations: list[Explanation], grade: str
) -> None:
    assert ranking.grade(q, [OWN, SYSTEM], explanations) == grade


def test_a_test_may_cap_the_grade() -> None:
    assert ranking.grade(1e-9, [SYSTEM], [CLEARED], cap="moderate") == "moderate"


def test_harm_lowers_severity_but_not_below_low() -> None:
    assert ranking.severity(Severity.HIGH, 0.2) is Severity.HIGH
    assert ranking.severity(Severity.HIGH, 0.001) is Severity.LOW
    assert ranking.severity(Severity.LOW, 0.001) is Severity.LOW


def test_the_id_moves_with_the_version_and_not_with_figures() -> None:
    one = ranking.finding_id("r", 1, "agent", "A")
    assert one == ranking.finding_id("r", 1, "agent", "A")
    assert one != ranking.finding_id("r", 2, "agent", "A")
    assert one.startswith("r-")
