"""Rules that can't run say why, and agents keep their teams."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from kpiaudit.detectors.base import Account, Summary
from kpiaudit.detectors.short_calls import ShortCalls
from kpiaudit.evidence import assemble
from kpiaudit.evidence.assemble import PEERS_TOO, _beyond
from kpiaudit.evidence.runs import Roster, Run, cannot_run
from kpiaudit.findings import Effect, Finding, Subject
from kpiaudit.rulebook import Rule
from kpiaudit.tables.dataset import Dataset


def roster(agents, teams):
    return Summary(
        columns={
            "agent_id": np.array(agents, dtype=object),
            "team_id": np.array(teams, dtype=object),
            "n": np.ones(len(agents), dtype=np.int64),
        }
    )


def test_a_target_that_begins_after_the_last_record_is_said_instead_of_ignored():
    data = Dataset(
        frames={"calls": pl.LazyFrame()},
        columns={"calls": frozenset({"agent_id", "talk_s"})},
        period={"calls": (0, 86_400_000)},
    )
    later = Rule(id="x", detector=ShortCalls(since="1970-01-03"))
    assert cannot_run(Run(rule=later, data=data)) == (
        "since 1970-01-03 is later than the last record (1970-01-02)"
    )
    inside = Rule(id="x", detector=ShortCalls(since="1970-01-02"))
    assert cannot_run(Run(rule=inside, data=data)) is None


def test_teams_of_another_table_stand_in_where_the_own_one_has_none():
    own = roster(["A1", "A2"], [None, "T2"])
    assert Roster.of(own, roster(["A1", "A2"], ["T9", "T9"])).team == {
        "A1": "T9",
        "A2": "T2",
    }


def test_an_agent_beside_a_floor_is_said_to_be_measured_beyond_its_peers():
    effect = Effect(name="x", value=1.0, low=0.0, high=2.0, unit="calls")
    account = Account(
        headline="x",
        effect=effect,
        n=1,
        observed=1,
        expected=0,
        harm=0,
        peers="Others.",
    )
    run = Run(
        rule=Rule(id="x", detector=ShortCalls()), data=Dataset(frames={}, columns={})
    )
    assert _beyond(run, "agent", account) == account
    floor = Finding.__new__(Finding)
    object.__setattr__(floor, "subject", Subject(kind="floor", id="all"))
    run.findings.append(floor)
    assert _beyond(run, "floor", account) == account
    assert _beyond(run, "agent", account).peers == f"Others. {PEERS_TOO}"


@pytest.mark.parametrize("later_only", [False, True])
def test_a_finding_on_what_came_since_a_day_begins_there(later_only: bool) -> None:
    detector = SimpleNamespace(later_only=later_only, since="2026-03-20", table="calls")
    run = SimpleNamespace(rule=SimpleNamespace(detector=detector), data=None)
    roster = Roster(team={}, days={"A": (20_514, 20_545)})  # 2 March to 2 April 2026
    row = SimpleNamespace(kind="agent", id="A")
    start, end = assemble._period(run, row, roster)
    assert (start, end) == ("2026-03-20" if later_only else "2026-03-02", "2026-04-02")
