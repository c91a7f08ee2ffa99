"""The public log of 24,918 incidents: tickets and events, and nobody is accused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kpiaudit import scan
from kpiaudit.tables.load import load

LOG = Path(__file__).parents[2] / "shared" / "data" / "uci_incident_event_log.parquet"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LOG.exists(), reason="the public log is absent"),
]


def test_the_log_is_tickets_and_events():
    data = load([LOG])
    found = {i.table: (i.rows, i.preset) for i in data.inputs}
    assert {preset for _, preset in found.values()} == {"servicenow-incident-log"}
    assert set(found) == {"tickets", "ticket_events"}
    assert data.rows["tickets"] == 24_918
    (note,) = [n for n in data.notes if n.kind == "superseded-rows"]
    assert data.rows["tickets"] + note.count == found["tickets"][0]


def test_the_automatic_close_is_the_systems_and_nothing_is_reported():
    report = scan(LOG)
    (rule,) = [r for r in json.loads(report.to_json())["rules"] if r["status"] == "ran"]
    assert rule["id"] == "early-closure"
    assert any(
        "120 hours" in text and "automatic close" in text for text in rule["found"]
    )
    assert not report.findings
