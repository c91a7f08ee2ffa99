from pathlib import Path

import polars as pl
import pytest

import kpiaudit
from kpiaudit.errors import DetectorError, KpiauditError, RuleError
from kpiaudit.findings import Severity
from kpiaudit.rulebook import Rule, read_file, read_rules


def _read(tmp_path: Path, text: str) -> list[Rule]:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return read_file(path)


def test_the_shipped_rules_can_be_read_and_are_sorted() -> None:
    rules = read_rules()
    assert [rule.id for rule in rules] == sorted(rule.id for rule in rules)
    assert {"duration-cap", "short-calls"} <= {rule.id for rule in rules}


def test_a_rule_says_everything_that_the_contract_knows(tmp_path: Path) -> None:
    (rule,) = _read(
        tmp_path,
        """
- rule: cap-billing
  detector: duration-cap
  severity: high
  params: {cap_s: 420}
  where: {queue: [billing, 007]}
  since: 2026-04-01
  report: {max_q: 0.01, min_effect: 5}
""",
    )
    assert rule.severity is Severity.HIGH
    assert rule.detector.params()["cap_s"] == 420.0
    assert rule.detector.since == "2026-04-01"
    assert rule.detector.since_day == 20544
    assert rule.where["queue"] == ("billing", "007")
    assert (rule.max_q, rule.min_effect) == (0.01, 5.0)


def test_a_rule_with_a_shipped_id_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- rule: short-calls\n  severity: low\n")
    rules = {rule.id: rule for rule in read_rules([path])}
    assert rules["short-calls"].severity is Severity.LOW
    assert rules["short-calls"].source == str(path)


def test_select_and_ignore_take_rules_and_detectors(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- rule: very-short\n  detector: short-calls\n")
    selected = read_rules([path], select=["short-calls"])
    assert [rule.id for rule in selected] == ["short-calls", "very-short"]
    left = read_rules([path], select=["short-calls"], ignore=["very-short"])
    assert [rule.id for rule in left] == ["short-calls"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- rule: x\n  detector: short-cals\n", "short-calls"),
        ("- rule: short-calls\n  params: {max_talk: 5}\n", "max_talk_s"),
        ("- rule: short-calls\n  params: {max_talk_s: ten}\n", "is no number."),
        ("- rule: short-calls\n  params: {max_talk_s: true}\n", "is no number."),
        ("- rule: short-calls\n  severity: severe\n", "low, medium or high"),
        ("- rule: short-calls\n  where: {que: [a]}\n", "queue"),
        ("- rule: short-calls\n  since: soon\n", "2026-04-01"),
        ("- rule: short-calls\n  report: {max_q: 2}\n", "out of range"),
        ("- rule: short-calls\n  report: {max_q: .nan}\n", "out of range"),
        ("- rule: short-calls\n  report: {min_effect: .inf}\n", "out of range"),
        ("- rule: duration-cap\n  params: {cap_s: .nan}\n", "out of range"),
        ("- rule: short-calls\n  reports: {}\n", "report"),
        ("- rule: short-calls\n- rule: short-calls\n", "twice"),
        ("rule: short-calls\n", "list"),
        ("- short-calls\n", "rule: its-id"),
        ("- rule: [\n", "YAML"),
        ("a: &a [x]\nb: *a\n", "aliases"),
    ],
)
def test_a_slip_is_answered_with_where_and_what(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(KpiauditError, match=words) as caught:
        _read(tmp_path, text)
    assert "mine.yaml" in str(caught.value)
    assert caught.value.exit_status == 2


def test_an_unknown_detector_is_a_detector_error(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="kpiaudit rules"):
        _read(tmp_path, "- rule: zzzz\n")


def test_a_missing_rule_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="--rules"):
        read_rules([tmp_path / "none.yaml"])


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="no rule file"):
        read_rules([tmp_path])


def test_an_unknown_selection_is_an_error() -> None:
    with pytest.raises(RuleError, match="short-calls"):
        read_rules(select=["short-cals"])


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(RuleError, match="No rule is left"):
        read_rules(select=["short-calls"], ignore=["short-calls"])


def test_a_rule_of_a_detector_keeps_what_the_shipped_one_says(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- rule: duration-cap\n  params: {cap_s: 420}\n")
    shipped = {rule.id: rule for rule in read_rules()}["duration-cap"]
    mine = {rule.id: rule for rule in read_rules([path])}["duration-cap"]
    assert mine.severity is shipped.severity
    assert (mine.max_q, mine.min_effect) == (shipped.max_q, shipped.min_effect)


def test_a_rule_file_that_is_nested_without_end_is_refused(tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text("a: " + "[" * 5000 + "]" * 5000)
    with pytest.raises(RuleError, match="nested too deep"):
        read_rules([path])


def test_a_rule_whose_where_leaves_nothing_says_what_it_asked_for(tmp_path):
    calls = pl.DataFrame(
        {"call_id": ["1", "2"], "agent_id": ["A", "B"], "queue": ["x", "y"]}
    ).with_columns(talk_s=pl.lit(60.0))
    path = tmp_path / "mine.yaml"
    path.write_text("- rule: mine\n  detector: short-calls\n  where: {queue: [z, w]}\n")
    report = kpiaudit.scan(calls=calls, rules=str(path))
    (mine,) = (rule for rule in report.rules if rule.id == "mine")
    assert mine.status == "skipped"
    assert mine.reason == "no answered call with an agent where queue z or w"
