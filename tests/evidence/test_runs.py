"""Rules that can't run say why, and agents keep their teams."""

from __future__ import annotations

import numpy as np
import polars as pl

from kpiaudit.detectors.base import Summary
from kpiaudit.detectors.short_calls import ShortCalls
from kpiaudit.evidence.runs import Roster, Run, cannot_run
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
