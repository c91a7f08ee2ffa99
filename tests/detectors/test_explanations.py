"""What the innocent explanations of all detectors have in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kpiaudit.audit import audit
from kpiaudit.detectors import catalogue
from kpiaudit.rulebook import columns_of, read_rules
from kpiaudit.tables.load import load

ROOT = Path(__file__).parent.parent.parent
KNOWN = {
    "duration-cap": ("ends calls at the limit", "rounds", "queue", "scripted"),
    "short-calls": (
        "equipment",
        "silent",
        "again and again",
        "automatically",
        "outage",
    ),
    "survey-selection": ("without a survey", "how often", "opted out"),
    "perfect-scores": ("excellent", "easy queue", "few answers"),
    "premature-ready": ("courier", "rounds", "batches", "offline"),
    "early-closure": ("thank-you", "automatically", "end of the month"),
}
DROPPED = {
    "calls": {"site_id", "station", "trunk"},
    "handovers": {"recorded_at"},
    "ticket_events": {"actor_id"},
    "outcomes": {"kind"},
    "surveys": {"device", "address"},
}


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_explanation_is_asked_about(name):
    told = catalogue.detectors()[name].explanations
    for words in KNOWN[name]:
        assert any(words in one.text.lower() for one in told), words
    assert all(one.asks and one.then for one in told)


def test_what_agents_write_rules_nothing_out_and_absent_columns_are_named():
    rules = read_rules((), select=("short-calls", "early-closure", "premature-ready"))
    given = load([ROOT / "sample_data"], only=columns_of(rules))
    columns = {t: c - DROPPED.get(t, set()) for t, c in given.columns.items()}
    data = replace(
        given,
        columns=columns,
        frames={
            t: f.drop(*(DROPPED.get(t, set()) & given.columns[t]))
            for t, f in given.frames.items()
        },
        origins={f"{t}.{c}": "agent" for t, own in columns.items() for c in own},
    )
    audited = audit(data, rules)
    findings = audited.report.findings
    assert len({f.detector for f in findings}) == 3
    assert not any(run.withdrawn for run in audited.runs)
    seen = 0
    for finding in findings:
        kind = catalogue.detectors()[finding.detector]
        for told in finding.innocent_explanations:
            assert told.status != "ruled_out", told
            declared = next((e for e in kind.explanations if e.text == told.text), None)
            assert declared is not None, told.text
            lost = data.missing(declared.columns)
            if declared.either and not any(data.has(c) for c in declared.either):
                lost = (*lost, *declared.either)
            if lost and told.text != "the recorder rounds durations":
                seen += 1
                assert told.status == "uncheckable", told
                assert any(column in told.detail for column in lost), told
    assert seen
