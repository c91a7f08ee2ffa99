"""Harm, strength of evidence and rank: three things, never one number."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from kpiaudit.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpiaudit.findings import Explanation, Finding, Grade, RestsOn

HARM_FULL = 0.05
"""Harm from which a rule's severity stands as the rule gives it."""
HARM_ONE_LOWER = 0.01
"""Harm from which it is lowered by one step; below, by two."""

_GROUND = {"system", "customer", "third_party"}
_GRADES: tuple[Grade, ...] = ("weak", "moderate", "strong")
_KINDS = ("floor", "site", "queue", "team", "agent")


def severity(ceiling: Severity, harm: float) -> Severity:
    """Lower a rule's severity by the measured harm.

    Args:
        ceiling: The rule's severity.
        harm: Share of the subject's KPI that the pattern makes up, in [0, 1].

    >>> severity(Severity.HIGH, 0.2), severity(Severity.HIGH, 0.02)
    (<Severity.HIGH: 3>, <Severity.MEDIUM: 2>)
    """
    steps = 0 if harm >= HARM_FULL else 1 if harm >= HARM_ONE_LOWER else 2
    return Severity(max(int(ceiling) - steps, int(Severity.LOW)))


def grade(
    q_value: float,
    rests_on: Iterable[RestsOn],
    explanations: Iterable[Explanation],
    *,
    cap: Grade = "strong",
) -> Grade:
    """Say how strong the evidence is.

    Strong asks for q <= 0.001 and at least one innocent explanation ruled out on
    columns that the subject does not write; moderate for q <= 0.01 or one of them
    ruled out. A finding that stands on no column of the system, the customer or a
    third party is weak, whatever its q-value.

    Args:
        q_value: Within the rule.
        rests_on: Columns, with their origins.
        explanations: Innocent explanations, tested.
        cap: The best grade that the test allows.
    """
    if not any(column.origin in _GROUND for column in rests_on):
        return "weak"
    cleared = any(e.status == "ruled_out" for e in explanations)
    reached = (q_value <= 0.01) + (q_value <= 0.001 and cleared)
    reached = max(reached, int(cleared))
    return _GRADES[min(reached, _GRADES.index(cap))]


def lowered(grade: Grade) -> Grade:
    """Return the next weaker grade."""
    return _GRADES[max(_GRADES.index(grade) - 1, 0)]


def weakest(grades: Iterable[Grade]) -> Grade:
    """Return the weakest of some grades; `weak` if there is none."""
    return min(grades, key=_GRADES.index, default="weak")


def finding_id(rule: str, version: int, kind: str, subject: str) -> str:
    """Return an id that does not move with rows, periods or figures."""
    text = "\x1f".join((rule, str(version), kind, subject))
    return f"{rule}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order findings by harm, then by strength of evidence, and number them.

    Within the same harm and grade: contradicted findings last, the floor before a
    queue, a team and a person, then the smaller q-value, the larger effect, and the id.
    """

    def key(finding: Finding) -> tuple[object, ...]:
        contradicted = any(c.verdict == "contradicts" for c in finding.corroboration)
        return (
            -int(finding.severity),
            contradicted,
            -_GRADES.index(finding.evidence_grade),
            _KINDS.index(finding.subject.kind),
            1.0 if finding.q_value is None else finding.q_value,
            -(finding.effect.value or 0.0),
            finding.id,
        )

    ordered = sorted(findings, key=key)
    return tuple(replace(f, rank=i) for i, f in enumerate(ordered, start=1))
