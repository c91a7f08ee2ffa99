"""A report with everything in it, hostile text included."""

from __future__ import annotations

import pytest

from kpiaudit.findings import (
    Compared,
    Corroboration,
    Cost,
    DataNote,
    Effect,
    Evidence,
    Explanation,
    Finding,
    Gone,
    Histogram,
    Input,
    PlaceboRuns,
    Report,
    Restated,
    RestsOn,
    RuleStatus,
    Selection,
    Severity,
    SmallestDetectable,
    Subject,
    Suppressed,
)

NASTY = "=cmd()\x1b[31m<script>alert('x')</script>\u202e|`*"


@pytest.fixture
def nasty() -> str:
    return NASTY


@pytest.fixture
def floor_finding() -> Finding:
    counts = (*range(20, 60, 4), 90, 130, 12, 10, 9, 8, 7, 6, 5, 4)
    expected = (*range(20, 60, 4), 58.0, 56.0, 52, 48, 40, 33, 25, 18, 10, 6)
    return Finding(
        id="duration-cap-0a1b2c3d4e5f",
        rank=1,
        rule="duration-cap",
        detector="duration-cap",
        kpi="average_handle_time",
        subject=Subject(kind="floor", id="all"),
        severity=Severity.HIGH,
        headline="The cap of 7:00 draws 106 calls to just below it on the whole floor.",
        n=3210,
        observed=220,
        expected=114,
        effect=Effect(
            name="excess calls", value=106, low=81.25, high=133, unit="calls"
        ),
        p_value=1e-40,
        q_value=4e-40,
        evidence=(
            Evidence(name="share of calls near the cap", value=0.0612, unit="share"),
            Evidence(name="cap", value=420, unit="s", text="Found on odd days."),
        ),
        innocent_explanations=(
            Explanation(
                text="The switch cuts calls at the cap",
                status="ruled_out",
                detail="calls.ended_by: 2 of 220 ended by the system",
            ),
            Explanation(text="Callers know the cap", status="uncheckable"),
        ),
        period_start="2026-03-02",
        period_end="2026-04-30",
        corroboration=(
            Corroboration(
                source="repeat contact within 24 h",
                verdict="supports",
                effect=Effect(
                    name="more repeat contacts",
                    value=0.12,
                    low=0.05,
                    high=0.2,
                    unit="share of calls",
                ),
                p_value=0.001,
            ),
            Corroboration(source="survey score", verdict="silent", detail="7 answers"),
        ),
        restated=Restated(
            kpi="average_handle_time",
            reported=372.1,
            restated=408.0,
            low=401.2,
            high=415.3,
            unit="s",
            assumption="moved calls would have lasted as long as the rest",
        ),
        cost=Cost(value=1250, low=800, high=1700.5, currency="EUR"),
        rests_on=(
            RestsOn(column="calls.talk_s", origin="steered", role="numerator"),
            RestsOn(column="calls.answered_at", origin="system", role="denominator"),
        ),
        evidence_grade="strong",
        histogram=Histogram(
            start=360, width=5, counts=counts, expected=expected, mark=420
        ),
        adjusted=Effect(
            name="excess calls", value=106, low=72, high=141, level=0.995, unit="calls"
        ),
        selection=Selection(rules=4, selected=1, level=0.0125),
        state="worsened",
        suppressed=Suppressed(reason="script of April", until="2026-06-30"),
        next_step="Listen to 20 of these calls and to 20 others, blind.",
    )


@pytest.fixture
def agent_finding() -> Finding:
    return Finding(
        id="duration-cap-3f9a1c02d4e5",
        rank=2,
        rule="duration-cap",
        detector="duration-cap",
        kpi="average_handle_time",
        subject=Subject(kind="agent", id=NASTY, team_id="T03"),
        severity=Severity.LOW,
        headline=f"Agent {NASTY} ended 41 of 212 calls just below the cap.",
        n=212,
        observed=41,
        expected=12.3,
        effect=Effect(name="excess calls", value=28.7, low=21, high=37.1, unit="calls"),
        p_value=3.2101234567891e-9,
        q_value=float("nan"),
        innocent_explanations=(
            Explanation(text="Short queue", status="open", holds=True),
            Explanation(text="New to the job", status="ruled_out", detail="4 years"),
        ),
        period_start="2026-03-02",
        period_end="2026-04-28",
        # An output must not print it: a cost is never given for a person.
        cost=Cost(value=99, low=9, high=999, currency="EUR"),
        part_of="duration-cap-0a1b2c3d4e5f",
        evidence_grade="moderate",
        breaking_point=2.4,
        peers="118 agents of the same queues and hours",
    )


@pytest.fixture
def rules() -> tuple[RuleStatus, ...]:
    return (
        RuleStatus(
            id="duration-cap",
            detector="duration-cap",
            status="ran",
            params={"cap_s": None, "reasons": ("a", "b"), "window_s": 30.0},
            tested=120,
            untestable=3,
            flagged=2,
            blind_spots=("Calls without calls.ended_by are not told apart.",),
            found=("a cap at 7:00",),
            spread=0.31,
            smallest_detectable=SmallestDetectable(value=0.06, unit="share of calls"),
            placebo={
                "negative_control": PlaceboRuns(runs=3, flagged=0),
                "replicas": PlaceboRuns(runs=200, flagged=9),
            },
            selection=Selection(rules=4, selected=1, level=0.0125),
        ),
        RuleStatus(
            id="survey-shield",
            detector="survey-shield",
            status="skipped",
            reason="no column surveys.eligible",
        ),
    )


@pytest.fixture
def report(
    floor_finding: Finding, agent_finding: Finding, rules: tuple[RuleStatus, ...]
) -> Report:
    return Report(
        version="0.1.0",
        inputs=(
            Input(
                table="calls",
                path="calls.csv",
                rows=136709,
                sha256="ab" * 32,
                period_start="2026-03-02",
                period_end="2026-04-30",
            ),
            Input(table="surveys", path="s 1.csv", rows=10, rejected=1),
            Input(table="surveys", path="s 2.csv", rows=20),
        ),
        rules=rules,
        findings=(floor_finding, agent_finding),
        notes=(
            DataNote(
                table="calls",
                kind="duplicate-ids",
                count=12,
                detail="calls.csv, rows 4, 9, 12: kept once.",
            ),
        ),
        compared=Compared(
            baseline="march.json",
            gone=(
                Gone(
                    id="short-calls-00ff00ff00ff",
                    rule="short-calls",
                    subject=f"agent {NASTY}",
                    tested=False,
                ),
            ),
        ),
    )


@pytest.fixture
def empty(rules: tuple[RuleStatus, ...]) -> Report:
    return Report(version="0.1.0", inputs=(), rules=rules, findings=(), notes=())
