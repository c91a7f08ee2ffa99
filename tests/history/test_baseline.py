import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from kpiaudit.errors import RuleError
from kpiaudit.findings import (
    Effect,
    Finding,
    Report,
    RuleStatus,
    Severity,
    Subject,
)
from kpiaudit.history import baseline


def _finding(name: str, value: float, *, n: int = 1000) -> Finding:
    return Finding(
        id=f"short-calls-{name}",
        rank=1,
        rule="short-calls",
        detector="short-calls",
        kpi="calls_per_shift",
        subject=Subject(kind="agent", id=name),
        severity=Severity.MEDIUM,
        headline="...",
        n=n,
        observed=value,
        expected=1.0,
        effect=Effect(name="excess", value=value, low=0.8 * value, high=1.2 * value),
        p_value=1e-6,
        q_value=1e-4,
        period_end="2026-03-31",
    )


def _report(*findings: Finding) -> Report:
    rule = RuleStatus(id="short-calls", detector="short-calls", status="ran")
    return Report(
        version="0.1.0", inputs=(), rules=(rule,), findings=findings, notes=()
    )


def _known(tmp_path: Path, *findings: Finding) -> baseline.Baseline:
    path = tmp_path / "march.json"
    path.write_text(_report(*findings).to_json(), encoding="utf-8")
    return baseline.read_baseline(path)


def test_a_known_small_finding_does_not_hide_a_large_new_one(tmp_path: Path) -> None:
    earlier = _known(tmp_path, _finding("A1", 20))
    now = baseline.compare(_report(_finding("A1", 200)), earlier)
    assert now.findings[0].state == "worsened"
    assert baseline.failing(now.findings, new_only=True) == now.findings


def test_each_state_is_recognised(tmp_path: Path) -> None:
    earlier = _known(
        tmp_path, _finding("same", 40), _finding("less", 90), _finding("gone", 50)
    )
    now = baseline.compare(
        _report(_finding("same", 41), _finding("less", 30), _finding("new", 30)),
        earlier,
    )
    assert {f.subject.id: f.state for f in now.findings} == {
        "same": "known",
        "less": "improved",
        "new": "new",
    }
    assert now.compared is not None
    assert [gone.subject for gone in now.compared.gone] == ["agent gone"]
    counted = baseline.failing(now.findings, new_only=True)
    assert [f.subject.id for f in counted] == ["new"]


def test_a_longer_month_is_no_worsening(tmp_path: Path) -> None:
    earlier = _known(tmp_path, _finding("A1", 40, n=1000))
    now = baseline.compare(_report(_finding("A1", 80, n=2000)), earlier)
    assert now.findings[0].state == "known"


def test_a_baseline_file_says_the_same_as_its_report(tmp_path: Path) -> None:
    report = _report(_finding("A1", 20), _finding("B2", 50))
    short = tmp_path / "baseline.json"
    short.write_text(baseline.write_baseline(json.loads(report.to_json())))
    assert (
        baseline.read_baseline(short).known == _known(tmp_path, *report.findings).known
    )
    assert baseline.read_baseline(short).end == date(2026, 3, 31)


def test_a_stale_baseline_is_said(tmp_path: Path) -> None:
    earlier = _known(tmp_path, _finding("A1", 20))
    now = baseline.compare(_report(), earlier, today=date(2026, 12, 31))
    assert [note.kind for note in now.notes] == ["stale-baseline"]


def test_a_rule_that_did_not_run_leaves_no_all_clear(tmp_path: Path) -> None:
    earlier = _known(tmp_path, _finding("A1", 20))
    skipped = replace(
        _report(),
        rules=(RuleStatus(id="short-calls", detector="short-calls", status="skipped"),),
    )
    now = baseline.compare(skipped, earlier)
    assert now.compared is not None
    assert not now.compared.gone[0].tested


def _accepted(**more: object) -> baseline.Suppression:
    entry = {
        "finding": "short-calls-A1",
        "reason": "headset replaced",
        "until": "2026-06-30",
    }
    return baseline.read_suppressions([entry | more], "kpiaudit.yaml")[0]


def test_a_suppressed_finding_does_not_count_until_it_expires() -> None:
    report = _report(_finding("A1", 20))
    before = baseline.compare(report, None, [_accepted()], today=date(2026, 6, 30))
    after = baseline.compare(report, None, [_accepted()], today=date(2026, 7, 1))
    assert baseline.failing(before.findings, new_only=False) == ()
    assert len(baseline.failing(after.findings, new_only=False)) == 1
    assert [note.kind for note in after.notes] == ["expired-suppression"]


def test_a_suppression_covers_no_more_than_it_says() -> None:
    accepted = _accepted(up_to=0.03)
    small = baseline.compare(_report(_finding("A1", 20)), None, [accepted])
    large = baseline.compare(_report(_finding("A1", 200)), None, [accepted])
    assert small.findings[0].suppressed is not None
    assert large.findings[0].suppressed is None


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ({"reason": "x", "until": "2026-06-30"}, "finding"),
        ({"finding": "a", "until": "2026-06-30"}, "reason"),
        ({"finding": "a", "reason": "x"}, "until"),
        ({"finding": "a", "reason": "x", "until": "soon"}, "until"),
        ({"finding": "a", "reason": "x", "until": "2026-06-30", "who": 1}, "who"),
    ],
)
def test_a_suppression_without_reason_or_end_is_refused(
    entry: dict[str, object], word: str
) -> None:
    with pytest.raises(RuleError, match=word):
        baseline.read_suppressions([entry], "kpiaudit.yaml")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "kpiaudit.report/1"}', '{"schema": "other"}']
)
def test_what_is_no_baseline_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(RuleError, match=r"b\.json"):
        baseline.read_baseline(path)


def test_a_missing_baseline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="--baseline"):
        baseline.read_baseline(tmp_path / "none.json")
