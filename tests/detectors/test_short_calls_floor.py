"""What a floor's excess of short calls includes."""

from __future__ import annotations

import pytest

import kpiaudit
from kpiaudit.tables.simulate import Centre, Plant, simulate
from tests.detectors.test_short_calls import centre, examined


@pytest.mark.parametrize("lookalike", [None, "short-queue", "dropped-lines"])
def test_the_bounds_hold_the_planted_calls_and_say_what_may_be_innocent(lookalike):
    made = simulate(
        Centre(
            seed=5,
            agents=12,
            teams=2,
            sites=1,
            queues=2,
            days=25,
            tables=("calls", "agents"),
            lookalikes=(lookalike,) if lookalike else (),
            plants=(Plant(pattern="short-calls", agents=12, strength=0.2),),
        )
    )
    report = kpiaudit.scan(calls=made.tables["calls"], select=["short-calls"])
    (found,) = [f for f in report.findings if f.subject.kind == "floor"]
    true = sum(made.truth["short-calls"]["by_agent"].values())
    assert found.effect.low <= true <= found.effect.high
    for item in (found.restated, *found.also_restated):
        assert item.low < item.restated < item.high
    assert found.restated.low <= found.restated.reported - true <= found.restated.high
    (told,) = [e for e in found.evidence if e.name.endswith("may be innocent")]
    assert "takes off 4% of calls" in told.plain
    assert "another one of the same customer's" in told.plain


def test_innocent_short_calls_that_no_longer_call_foretells_are_within_the_bounds():
    honest = centre(3, base=0.03)
    gamed = centre(3, base=0.03, gamers=tuple(range(14)), strength=0.12)
    short, before = (int((f["talk_s"] < 10).sum()) for f in (gamed, honest))
    effect = examined(gamed)[0]["floor", "all"].effect
    assert effect.low <= short - before < effect.value
