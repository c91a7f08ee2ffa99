from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import hypergeom

import kpiaudit
from kpiaudit.audit import audit, records
from kpiaudit.evidence import teams
from kpiaudit.rulebook import read_rules
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate


def _team_of(sizes: dict[str, int]) -> dict[int, str]:
    names = [name for name, size in sizes.items() for _ in range(size)]
    return dict(enumerate(names))


def test_flagged_agents_under_one_team_become_a_team() -> None:
    p = np.full(40, 0.5)
    p[:5] = 1e-6
    (found,) = teams.clusters(p, {0, 1, 2, 3, 4}, _team_of({"T1": 10, "T2": 30}))
    assert found.team == "T1"
    assert found.flagged == (0, 1, 2, 3, 4)
    assert found.tested == 10


def test_the_chance_is_the_hypergeometric_tail() -> None:
    p = np.full(40, 1e-6)
    (found,) = teams.clusters(p, {0, 1, 2, 3, 4}, _team_of({"T1": 10, "T2": 30}))
    assert np.isclose(found.chance, hypergeom.sf(4, 40, 10, 5))


def test_flagged_agents_spread_over_teams_are_no_team() -> None:
    p = np.full(40, 1e-6)
    flagged = {0, 10, 20, 30}
    team_of = _team_of({"T1": 10, "T2": 10, "T3": 10, "T4": 10})
    assert teams.clusters(p, flagged, team_of) == ()


def test_everybody_flagged_is_a_floor_and_not_teams() -> None:
    p = np.full(20, 1e-9)
    assert teams.clusters(p, set(range(20)), _team_of({"T1": 10, "T2": 10})) == ()


def test_one_team_is_the_floor() -> None:
    assert teams.clusters(np.full(9, 1e-9), {0, 1, 2}, _team_of({"T1": 9})) == ()


def test_the_untestable_are_no_members() -> None:
    p = np.full(40, np.nan)
    p[:4] = 1e-6
    p[30:] = 0.5
    (found,) = teams.clusters(p, {0, 1, 2, 3}, _team_of({"T1": 20, "T2": 20}))
    assert found.tested == 4


def test_a_queue_is_part_of_the_floor_that_holds_its_records(tmp_path: Path) -> None:
    plant = Plant(pattern="duration-cap", agents=1.0, strength=0.4)
    made = simulate(Centre(seed=5, agents=24, tables=("calls",), plants=(plant,)))
    made.tables["calls"].write_parquet(tmp_path / "calls.parquet")
    report = kpiaudit.scan(tmp_path, select=["duration-cap"])
    (floor,) = [f for f in report.findings if f.subject.kind == "floor"]
    queues = [f for f in report.findings if f.subject.kind == "queue"]
    assert queues
    assert {f.part_of for f in queues} == {floor.id}
    assert floor.part_of is None


def test_a_team_is_restated_and_its_agents_records_are_shown(tmp_path: Path) -> None:
    quiet = Centre(seed=5, agents=24, days=21, teams=3, tables=("calls", "agents"))
    team = simulate(quiet).tables["agents"].group_by("team_id").agg("agent_id")
    name, members = min(team.rows())
    plant = Plant(
        pattern="short-calls", agents=tuple(sorted(members)[:4]), strength=0.3
    )
    made = simulate(replace(quiet, plants=(plant,)))
    calls = made.tables["calls"]
    calls.write_parquet(tmp_path / "calls.parquet")
    rules = read_rules((), select=["short-calls"], ignore=())
    audited = audit(load([tmp_path]), rules)
    (run,) = audited.runs
    (found,) = [f for f in audited.report.findings if f.subject.kind == "team"]
    assert found.subject.id == name
    assert found.restated is not None
    handled = calls.filter(
        calls["agent_id"].is_in(members) & calls["talk_s"].is_not_null()
    )
    assert found.restated.reported == len(handled)
    gone = len(handled) - (found.restated.restated or 0)
    assert gone == pytest.approx(found.effect.value)
    least = len(handled) - (found.restated.high or 0)
    most = len(handled) - (found.restated.low or 0)
    assert (least, most) == pytest.approx((found.effect.low, found.effect.high))
    mine = [f for f in run.findings if f.part_of == found.id]
    assert found.observed == sum(f.observed or 0 for f in mine) > len(mine)
    assert found.expected == pytest.approx(sum(f.expected or 0 for f in mine))
    kpis = [item.kpi for item in found.also_restated]
    assert kpis == ["average_handle_time", "service_level", "first_contact_resolution"]
    assert found.also_restated[1].reported == pytest.approx(
        (handled["wait_s"] <= 20).mean()
    )
    shown = records(run, found)
    agents = {f.subject.id for f in run.findings if f.part_of == found.id}
    assert set(shown["flagged"]["agent_id"]) == agents
    assert set(shown["control"]["agent_id"]) == agents
    assert shown["flagged"].columns == shown["control"].columns
