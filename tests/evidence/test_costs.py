"""Harm in money: for groups only, with an interval, from what the records caused."""

import json
from pathlib import Path

import pytest

from kpiaudit.audit import audit
from kpiaudit.detectors.early_closure import EarlyClosure
from kpiaudit.detectors.short_calls import ShortCalls
from kpiaudit.errors import RuleError
from kpiaudit.evidence.costs import KINDS, UnitCosts, add_costs, read_costs
from kpiaudit.evidence.runs import Run
from kpiaudit.findings import Corroboration, Effect, Finding, Severity, Subject
from kpiaudit.rulebook import Rule
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate

COSTS = UnitCosts(contact=5, reopened_ticket=12, lost_customer=200, currency="EUR")


def costed(kind, *, detector=None, corroboration=(), costs=COSTS, effect=None):
    finding = Finding(
        id="x",
        rank=0,
        rule="x",
        detector="x",
        kpi="",
        subject=Subject(kind=kind, id="A"),
        severity=Severity.LOW,
        headline="",
        n=100,
        observed=50,
        expected=10,
        effect=effect or Effect(name="excess", value=40, low=30, high=50),
        p_value=0.0,
        q_value=0.0,
        corroboration=corroboration,
    )
    rule = Rule(id="x", detector=detector or ShortCalls())
    run = Run(rule=rule, data=Dataset(frames={}, columns={}), findings=[finding])
    add_costs([run], costs)
    return run.findings[0].cost


@pytest.mark.parametrize("kind", ["agent", *KINDS])
def test_a_person_never_has_a_price(kind):
    assert (costed(kind) is None) == (kind == "agent")


def test_a_caller_hung_up_on_has_to_be_served_again():
    cost = costed("floor")
    assert (cost.value, cost.low, cost.high) == (200, 150, 250)
    assert cost.currency == "EUR"
    assert cost.basis == "one more contact each"


def test_a_ticket_that_came_back_costs_what_the_configuration_says():
    assert costed("team", detector=EarlyClosure()).value == 40 * 12


def test_departures_count_beyond_those_after_innocent_records():
    left = Corroboration(
        source="churn within 14 days",
        verdict="supports",
        effect=Effect(name="", value=0.1, low=0.05, high=0.15),
    )
    cost = costed("floor", corroboration=(left,))
    assert cost.value == pytest.approx(200 + 40 * 0.1 * 200)
    assert cost.low < cost.value < cost.high
    assert "churn" in cost.basis


def test_harm_is_never_below_nil():
    below = Effect(name="excess", value=-3, low=-9, high=4)
    cost = costed("floor", effect=below)
    assert (cost.value, cost.low, cost.high) == (0, 0, 20)


def test_what_has_no_price_has_no_cost():
    assert costed("floor", costs=UnitCosts(lost_customer=9, currency="EUR")) is None
    assert costed("floor", costs=None) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"contakt": 5, "currency": "EUR"}, "contact"),
        ({"contact": -5, "currency": "EUR"}, "0 or more"),
        ({"contact": "nan", "currency": "EUR"}, "0 or more"),
        ({"contact": True, "currency": "EUR"}, "0 or more"),
        ({"contact": 5}, "currency"),
        ({"contact": 5, "currency": "<b>"}, "currency"),
    ],
)
def test_costs_that_mean_nothing_are_refused(given, words):
    with pytest.raises(RuleError, match=words):
        read_costs(given, where="kpiaudit.yaml")


@pytest.mark.slow
def test_a_scan_tells_the_harm_of_a_team_and_of_nobody_in_it():
    plant = Plant(
        pattern="short-calls", agents=("A0002", "A0006", "A0010"), strength=0.2
    )
    centre = Centre(
        seed=2, agents=24, days=30, plants=(plant,), tables=("calls", "agents")
    )
    tables = simulate(centre).tables
    data = load(tables={name: [frame] for name, frame in tables.items()})
    rule = Rule(id="short-calls", detector=ShortCalls())
    report = audit(data, (rule,), costs=COSTS).report
    told = json.loads(report.to_json())["findings"]
    prices = {f["subject"]["kind"]: f["cost"] for f in told}
    assert prices["agent"] is None
    assert all((f["cost"] is None) == (f["subject"]["kind"] == "agent") for f in told)
    assert prices["team"]["low"] < prices["team"]["value"] < prices["team"]["high"]


def test_the_configuration_file_gives_costs(tmp_path: Path):
    from kpiaudit.cli.configuration import read  # noqa: PLC0415 - click is not for all

    path = tmp_path / "kpiaudit.yaml"
    path.write_text("costs: {contact: 4.5, currency: EUR}\n", encoding="utf-8")
    assert read(path).defaults()["costs"] == ["contact=4.5", "currency=EUR"]
