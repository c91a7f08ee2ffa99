"""`kpiaudit power` on sample exports."""

from __future__ import annotations

import json

from click.testing import CliRunner

from kpiaudit.cli.run import cli
from kpiaudit.evidence import sensitivity
from kpiaudit.outputs.sensitivity import render


def test_power_says_what_one_agent_would_have_to_do(tmp_path, monkeypatch):
    # How often is enough to be precise is not the question here.
    monkeypatch.setattr(sensitivity, "_CHECKS", 3)
    monkeypatch.setattr(sensitivity, "_RUNS", 4)
    out = tmp_path / "power.json"
    arguments = ["power", "sample_data", "--select", "survey-selection"]
    done = CliRunner().invoke(cli, [*arguments, "--format", "json", "-o", str(out)])
    assert done.exit_code == 0, done.output
    (rule,) = json.loads(out.read_text())["rules"]
    assert rule["rule"] == "survey-selection"
    assert set(rule["sizes"]) == {"small", "usual", "large"}
    assert 0.0 < rule["sizes"]["usual"]["share"] < 1.0
    assert rule["checked"][1] == 3
    assert rule["supposed"]
    few, many, everybody = rule["many"]
    assert [few["agents"], many["agents"], everybody["agents"]] == [1, 10, 24]
    assert everybody["share"] is None  # nobody is left to be compared with
    assert not everybody["floor"]


ROW = {
    "rule": "short-calls",
    "reason": None,
    "stake": "an agent's calls",
    "supposed": "half of the callers ring again",
    "tested": 24,
    "untestable": 3,
    "sizes": {"usual": {"agents": 11, "contacts": 1475.0, "share": 0.0331}},
    "many": [
        {"part": 0.05, "agents": 1, "share": 0.041, "floor": False},
        {"part": 0.4, "agents": 9, "share": None, "floor": False},
        {"part": 1.0, "agents": 23, "share": None, "floor": False},
    ],
    "checked": [10, 12],
    "missing": ["calls.station"],
}


def test_what_could_be_found_is_said_in_words():
    said = " ".join(render([ROW], form="text").split())
    assert "24 subjects tested, 3 with too little data to say" in said
    assert "no finding means less than 3.3% of an agent's calls" in said
    assert "5% of the agents at once (1): no finding means less than 4.1%" in said
    assert "missed, since their peers do the same" in said
    assert "all agents at once (23): can't be seen if everybody does it" in said
    assert "10 of 12 were found" in said
    assert "supposed: half of the callers ring again" in said
    assert "what would sharpen it: calls.station" in said


def test_a_table_that_is_missing_is_named_instead_of_its_columns():
    uses = ("calls.station", "calls.queue", "kpis.kpi", "kpis.target", "kpis.period")
    missing = ("calls.station", *uses[2:])
    tables = sensitivity._mostly_missing(uses, missing)
    assert tables == ("kpis",)
    row = ROW | {"missing": list(missing), "missing_tables": list(tables)}
    assert "what would sharpen it: table kpis, calls.station" in render(
        [row], form="text"
    )
    # A single column says more than its table's name.
    assert sensitivity._mostly_missing(("tickets.queue",), ("tickets.queue",)) == ()


def test_a_rule_that_can_say_nothing_says_why():
    row = ROW | {"reason": "no table surveys", "sizes": {}, "many": [], "checked": None}
    assert "nothing can be said: no table surveys" in render([row], form="text")
