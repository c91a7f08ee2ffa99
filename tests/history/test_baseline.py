import json
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest

from kpiaudit.errors import RuleError
from kpiaudit.findings import (
    Effect,
    Finding,
    Input,
    Report,
    RuleStatus,
    Severity,
    Subject,
)
from kpiaudit.history import baseline, suppressions
from kpiaudit.history.compare import compare, failing

MOMENT = datetime(2026, 6, 30, 12, 0)  # noqa: DTZ001  # as YAML reads it


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
    now = compare(_report(_finding("A1", 200)), earlier)
    assert now.findings[0].state == "worsened"
    assert failing(now.findings, new_only=True) == now.findings


def test_each_state_is_recognised(tmp_path: Path) -> None:
    earlier = _known(
        tmp_path, _finding("same", 40), _finding("less", 90), _finding("gone", 50)
    )
    now = compare(
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
    counted = failing(now.findings, new_only=True)
    assert [f.subject.id for f in counted] == ["new"]


def test_a_longer_month_is_no_worsening(tmp_path: Path) -> None:
    earlier = _known(tmp_path, _finding("A1", 40, n=1000))
    now = compare(_report(_finding("A1", 80, n=2000)), earlier)
    assert now.findings[0].state == "known"


def test_a_baseline_file_says_the_same_as_its_report(tmp_path: Path) -> None:
    report = _report(_finding("A1", 20), _finding("B2", 50))
    short = tmp_path / "baseline.json"
    short.write_text(baseline.write_baseline(json.loads(report.to_json()))[0])
    assert (
        baseline.read_baseline(short).known == _known(tmp_path, *report.findings).known
    )
    assert baseline.read_baseline(short).end == date(2026, 3, 31)


def test_a_stale_baseline_is_said(tmp_path: Path) -> None:
    earlier = _known(tmp_path, _finding("A1", 20))
    now = compare(_report(), earlier, today=date(2026, 12, 31))
    assert [note.kind for note in now.notes] == ["stale-baseline"]


def test_a_rule_that_did_not_run_leaves_no_all_clear(tmp_path: Path) -> None:
    earlier = _known(tmp_path, _finding("A1", 20))
    skipped = replace(
        _report(),
        rules=(RuleStatus(id="short-calls", detector="short-calls", status="skipped"),),
    )
    now = compare(skipped, earlier)
    assert now.compared is not None
    assert not now.compared.gone[0].tested


def _accepted(**more: object) -> suppressions.Suppression:
    entry = {
        "finding": "short-calls-A1",
        "reason": "headset replaced",
        "until": "2026-06-30",
    }
    return suppressions.read_suppressions([entry | more], "kpiaudit.yaml")[0]


def test_a_suppressed_finding_does_not_count_until_it_expires() -> None:
    report = _report(_finding("A1", 20))
    before = compare(report, None, [_accepted()], today=date(2026, 6, 30))
    after = compare(report, None, [_accepted()], today=date(2026, 7, 1))
    assert failing(before.findings, new_only=False) == ()
    assert len(failing(after.findings, new_only=False)) == 1
    assert [note.kind for note in after.notes] == ["expired-suppression"]


def test_a_suppression_covers_no_more_than_it_says() -> None:
    accepted = _accepted(up_to=0.03)
    small = compare(_report(_finding("A1", 20)), None, [accepted])
    large = compare(_report(_finding("A1", 200)), None, [accepted])
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
        suppressions.read_suppressions([entry], "kpiaudit.yaml")


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


@pytest.mark.parametrize(
    "change",
    [
        {"drop": "id"},
        {"drop": "intensity"},
        {"intensity": "much"},
        {"severity": "huge"},
    ],
    ids=str,
)
def test_a_damaged_entry_is_refused_by_name(
    tmp_path: Path, change: dict[str, object]
) -> None:
    text, _ = baseline.write_baseline(json.loads(_report(_finding("A1", 9)).to_json()))
    content = json.loads(text)
    content["findings"][0] |= {k: v for k, v in change.items() if k != "drop"}
    content["findings"][0].pop(change.get("drop"), None)
    path = tmp_path / "b.json"
    path.write_text(json.dumps(content))
    with pytest.raises(RuleError, match=r"b\.json.*damaged.*baseline update"):
        baseline.read_baseline(path)


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text('{"schema": "kpiaudit.baseline/1", "end": NaN, "findings": []}')
    with pytest.raises(RuleError, match="NaN is no JSON number"):
        baseline.read_baseline(path)


def _ends(report: Report, end: str) -> Report:
    calls = Input(table="calls", path="c.csv", rows=1, period_end=end)
    return replace(report, inputs=(calls,))


def test_a_baseline_that_found_nothing_grows_stale_as_well(tmp_path: Path) -> None:
    path = tmp_path / "march.json"
    path.write_text(_ends(_report(), "2026-03-31").to_json())
    earlier = baseline.read_baseline(path)
    assert earlier.end == date(2026, 3, 31)
    now = compare(_report(), earlier, today=date(2026, 12, 31))
    assert [note.kind for note in now.notes] == ["stale-baseline"]


def test_a_baseline_from_the_future_is_said(tmp_path: Path) -> None:
    earlier = _known(tmp_path, _finding("A1", 20))
    late = compare(_report(), earlier, today=date(2026, 2, 28))
    assert [note.kind for note in late.notes] == ["later-baseline"]
    # Tables of the same month end on different days.
    assert compare(_report(), earlier, today=date(2026, 3, 29)).notes == ()


def test_what_was_only_put_off_comes_back_when_the_time_is_over(
    tmp_path: Path,
) -> None:
    until_june = [_accepted()]
    march = compare(_report(_finding("A1", 20)), None, until_june, today=None)
    earlier = _known(tmp_path, *march.findings)
    may, july = (
        compare(_report(_finding("A1", 21)), earlier, until_june, today=day)
        for day in (date(2026, 5, 31), date(2026, 7, 31))
    )
    assert may.findings[0].state == "known"
    assert failing(may.findings, new_only=True) == ()
    assert july.findings[0].state == "new"
    assert failing(july.findings, new_only=True) == july.findings
    # It also comes back if somebody has deleted the entry.
    deleted = compare(_report(_finding("A1", 21)), earlier, today=date(2026, 5, 31))
    assert failing(deleted.findings, new_only=True) == deleted.findings


def test_a_baseline_keeps_what_nobody_looked_for_this_time(tmp_path: Path) -> None:
    march = json.loads(_report(_finding("A1", 20), _finding("B2", 50)).to_json())
    text, kept = baseline.write_baseline(march)
    assert kept == 0
    partial = replace(
        _report(),
        rules=(RuleStatus(id="short-calls", detector="short-calls", status="skipped"),),
    )
    april = json.loads(partial.to_json())
    again, kept = baseline.write_baseline(april, json.loads(text))
    assert kept == 2
    assert json.loads(again)["findings"] == json.loads(text)["findings"]
    looked, kept = baseline.write_baseline(
        json.loads(_report().to_json()), json.loads(text)
    )
    assert kept == 0
    assert json.loads(looked)["findings"] == []


def test_writing_the_same_baseline_again_changes_no_byte() -> None:
    report = json.loads(_report(_finding("B2", 50), _finding("A1", 20)).to_json())
    text, _ = baseline.write_baseline(report)
    assert baseline.write_baseline(report, json.loads(text)) == (text, 0)


def test_a_slip_in_an_id_is_answered_with_the_finding_that_is_there() -> None:
    report = _report(replace(_finding("A1", 20), id="short-calls-2ddb7d627af6"))
    slip = _accepted(finding="short-calls-2ddb7d627a6f")
    now = compare(report, None, [slip], today=date(2026, 3, 31))
    assert now.findings[0].suppressed is None
    (note,) = now.notes
    assert note.kind == "unused-suppression"
    assert "Did you mean 'short-calls-2ddb7d627af6'?" in note.detail
    other = _accepted(finding="short-calls-000000000000")
    (note,) = compare(report, None, [other], today=date(2026, 3, 31)).notes
    assert "Did you mean" not in note.detail


def test_a_renewed_suppression_holds_and_says_nothing() -> None:
    report = _report(_finding("A1", 20))
    entries = [_accepted(), _accepted(until="2026-12-31")]
    now = compare(report, None, entries, today=date(2026, 7, 31))
    assert now.notes == ()
    assert now.findings[0].suppressed is not None


def test_a_suppression_that_is_outgrown_is_said() -> None:
    now = compare(
        _report(_finding("A1", 200)),
        None,
        [_accepted(up_to=0.03)],
        today=date(2026, 3, 31),
    )
    assert [note.kind for note in now.notes] == ["exceeded-suppression"]


def test_without_dates_a_suppression_holds_and_that_is_said() -> None:
    now = compare(_report(_finding("A1", 20)), None, [_accepted()])
    assert now.findings[0].suppressed is not None
    assert [note.kind for note in now.notes] == ["undated-data"]


@pytest.mark.parametrize("until", ["2026-06-30", date(2026, 6, 30), MOMENT], ids=str)
def test_a_last_day_may_be_text_a_date_or_a_moment(until: object) -> None:
    assert _accepted(until=until).until == date(2026, 6, 30)


def test_an_expired_entry_counts_even_where_the_baseline_knew_the_finding(
    tmp_path: Path,
) -> None:
    earlier = _known(tmp_path, _finding("A1", 20))
    now = compare(
        _report(_finding("A1", 21)), earlier, [_accepted()], today=date(2026, 7, 31)
    )
    assert now.findings[0].state == "new"
    removed = compare(_report(_finding("A1", 21)), earlier, today=date(2026, 7, 31))
    assert removed.findings[0].state == "known"
