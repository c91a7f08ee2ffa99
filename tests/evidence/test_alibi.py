"""The audited are not their own alibi: what may withdraw a finding, and what not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from kpiaudit.detectors import base
from kpiaudit.detectors._survey_selection_signs import ORDER
from kpiaudit.detectors._survey_selection_words import other_signs
from kpiaudit.evidence import assemble
from kpiaudit.evidence.runs import Roster, Run
from kpiaudit.findings import Effect, Explanation, RestsOn, Selection, Severity
from kpiaudit.stats.outcome import Outcome
from kpiaudit.tables.dataset import Dataset


def run_with(explanation, origins):
    names = ("trials", "observed", "expected", "effect", "low", "high")
    ratios = ("ratio", "ratio_low", "ratio_high")
    nan = np.full(1, np.nan)
    outcome = Outcome(p_value=np.array([1e-6]), **dict.fromkeys((*names, *ratios), nan))
    grounds = (RestsOn(column="calls.queue", origin="system", role="numerator"),)
    account = base.Account(
        headline="",
        effect=Effect(name="x", value=9.0, low=1.0, high=20.0, unit="calls"),
        n=9,
        observed=9.0,
        expected=1.0,
        harm=0.1,
        explanations=(explanation, Explanation(text="another", status="ruled_out")),
        rests_on=grounds,
    )
    detector = SimpleNamespace(
        id="d", kpi="k", version=1, table="calls", account=lambda _: account
    )
    rule = SimpleNamespace(id="d", detector=detector, max_q=0.05, severity=Severity.LOW)
    columns = {"calls": frozenset(name.partition(".")[2] for name in origins)}
    run = Run(
        rule=rule,
        data=Dataset(frames={"calls": None}, columns=columns, origins=origins),
    )
    ids = np.array(["A1"], dtype=object)
    run.verdicts = SimpleNamespace(
        tested=(base.Tested(kind="agent", ids=ids, outcome=outcome),)
    )
    run.q_value = (np.array([1e-6]),)
    run.selection = Selection(rules=1, selected=1, level=0.05)
    assemble.add_findings(run, Roster(team={}, days={}))
    return run


def holding(*columns):
    return Explanation(
        text="a bad line", status="open", detail="x", holds=True, rests_on=columns
    )


@pytest.mark.parametrize("origin", ["system", "customer", "third_party"])
def test_what_others_wrote_withdraws(origin):
    run = run_with(holding("calls.trunk"), {"calls.trunk": origin})
    assert not run.findings
    assert "a bad line" in run.withdrawn[0]


@pytest.mark.parametrize("origin", ["agent", "steered", "unknown", "supervisor", ""])
def test_what_the_subject_may_have_written_takes_one_grade_off(origin):
    origins = {"calls.trunk": origin, "calls.station": "system"} if origin else {}
    run = run_with(holding("calls.station", "calls.trunk"), origins)
    assert not run.withdrawn
    (finding,) = run.findings
    assert finding.evidence_grade == "moderate"
    told = finding.innocent_explanations[0]
    assert told.status == "open"
    assert "calls.trunk" in told.detail
    assert "withdraws nothing" in told.detail


def test_an_explanation_that_names_no_column_withdraws_nothing():
    assert run_with(holding(), {"calls.trunk": "system"}).findings


def test_without_a_holding_explanation_the_grade_stays():
    open_one = Explanation(text="a bad line", status="open")
    (finding,) = run_with(open_one, {}).findings
    assert finding.evidence_grade == "strong"
    assert finding.innocent_explanations[0] == open_one


@pytest.mark.parametrize(
    ("sign", "low", "high", "verdict"),
    [
        ("redress", 0.95, 1.3, "silent"),  # as often as peers
        ("redress", 1.2, 2.5, "contradicts"),
        ("unresolved", 1.2, 2.5, "silent"),  # the agent's own alibi
    ],
)
def test_only_what_others_recorded_contradicts_and_only_beyond_peers(
    sign, low, high, verdict
):
    told = {"ratio": (low * high) ** 0.5, "low": low, "high": high, "p": 0.9}
    extra = {f"{name}.{sign}": np.array([value]) for name, value in told.items()}
    extra |= {f"trials.{sign}": np.array([80.0])}
    extra |= {"sign": np.array([ORDER.index("flagged")])}
    values = {name: float(value[0]) for name, value in extra.items()}
    row = SimpleNamespace(
        outcome=SimpleNamespace(extra=extra), value=values.__getitem__
    )
    (answer,) = other_signs(row)
    assert answer.verdict == verdict
