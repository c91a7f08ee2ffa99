"""The rules where nothing is to be found."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.detectors import _placebo_deadlines as deadlines
from kpiaudit.detectors import base
from kpiaudit.detectors._perfect_scores_count import COUNTS
from kpiaudit.detectors._replicas import reported, within_margins
from kpiaudit.detectors.duration_cap import DurationCap
from kpiaudit.detectors.perfect_scores import PerfectScores
from kpiaudit.detectors.short_calls import ShortCalls
from kpiaudit.evidence import placebo
from kpiaudit.evidence.runs import Run
from kpiaudit.findings import PlaceboRuns
from kpiaudit.stats import replicate
from kpiaudit.tables.dataset import Dataset

AGENTS, DAYS = 16, 25


@dataclass(frozen=True)
class FakeFinding:
    evidence_grade: str


def short_calls(seed, sd=0.3, window=(), gamer=None):
    """Counts of honest agents, some with many calls of 30 to 39 seconds.

    A `gamer` ends every fourth call at once.
    """
    rng = np.random.default_rng(seed)
    ids = np.array([f"A{i:02d}" for i in range(AGENTS)], dtype=object)
    habit = np.exp(sd * rng.standard_normal((3, AGENTS)))[:, :, None]
    calls = np.full((AGENTS, DAYS), 60)
    under = rng.binomial(calls, np.minimum(0.05 * habit[0], 0.5))
    short = rng.binomial(under, np.minimum(0.4 * habit[1], 0.9))
    again = rng.binomial(short, np.minimum(0.3 * habit[2], 0.9))
    if gamer is not None:
        cut = rng.binomial(calls[gamer] - under[gamer], 0.25)
        under[gamer] += cut
        short[gamer] += cut
        again[gamer] += rng.binomial(cut, 0.55)
    days = {
        "calls": calls,
        "short": short,
        "next": under - short,
        "short_known": short,
        "short_redialled": again,
        "long_known": calls - short,
        "long_redialled": rng.binomial(calls - short, 0.04),
    }
    text = {"agent_id": ids, "queue": np.full(AGENTS, "", dtype=object)}
    counts = text | {name: each.sum(axis=1) for name, each in days.items()}
    density = rng.poisson(20, (AGENTS, 60))
    for agent in window:
        density[agent, 30:40] += 60
    return {
        "counts": base.Summary(columns=counts),
        "days": base.Summary(
            columns={
                "agent_id": np.repeat(ids, DAYS),
                "day": np.tile(np.arange(DAYS), AGENTS),
            }
            | {name: each.ravel() for name, each in days.items()}
        ),
        "density": base.Summary(
            columns={
                "agent_id": np.repeat(ids, 60),
                "second": np.tile(np.arange(60), AGENTS),
                "calls": density.ravel(),
            }
        ),
    }


def run_of(summaries, **settings):
    rule = SimpleNamespace(detector=ShortCalls(), min_effect=5.0, max_q=0.05, id="x")
    return Run(rule=rule, data=None, summaries=summaries, **settings)


def test_windows_in_which_nothing_is_gained_are_silent_on_honest_calls():
    assert placebo.cheap(run_of(short_calls(1)))["cutoffs"] == PlaceboRuns(
        runs=3, flagged=0
    )


def test_an_agent_who_stands_out_in_such_a_window_makes_it_speak():
    got = placebo.cheap(run_of(short_calls(1, window=(3,))))["cutoffs"]
    assert got.flagged >= 1


def test_replicas_keep_what_makes_honest_agents_differ():
    summaries = short_calls(2, sd=0.5)

    def spread(counts):
        under = counts.ints("short") + counts.ints("next")
        return float(np.std(np.log((under + 0.5) / counts.ints("calls"))))

    drawn = list(ShortCalls().replicas(summaries, {}, number=6, seed=1))
    assert len(drawn) == 6
    widths = [spread(each["counts"]) for each in drawn]
    assert np.mean(widths) == pytest.approx(spread(summaries["counts"]), rel=0.35)


def test_replicas_are_possible_counts_and_keep_calls_and_days():
    summaries = short_calls(3)
    for each in ShortCalls().replicas(summaries, {}, number=3, seed=2):
        for name in ("counts", "days"):
            new, old = each[name], summaries[name]
            np.testing.assert_array_equal(new["calls"], old["calls"])
            assert np.all(new.ints("short") + new.ints("next") <= new.ints("calls"))
            assert np.all(new.ints("short_known") <= new.ints("short"))
            assert np.all(new.ints("short_redialled") <= new.ints("short_known"))
            assert np.all(new.ints("long_redialled") <= new.ints("long_known"))
            assert np.all(new.ints("next") >= 0)


def test_the_same_seed_draws_the_same_replicas():
    summaries = short_calls(4)
    one, other = (
        next(ShortCalls().replicas(summaries, {}, number=1, seed=9)) for _ in range(2)
    )
    np.testing.assert_array_equal(one["counts"]["short"], other["counts"]["short"])


def test_a_reported_agent_has_the_habits_of_others_in_every_replica():
    summaries = short_calls(5, gamer=3)
    tested = ShortCalls().test(summaries, {}, min_effect=None).tested
    assert reported(base.Verdicts(tested=tested), tested[-1].ids)[3]
    old = summaries["counts"]["short"]
    for each in ShortCalls().replicas(summaries, {}, number=3, seed=2):
        new = each["counts"]["short"]
        assert new[3] < old[3] / 3
        assert new.max() < old[3] / 2


def answered(seed, agents=16, each=400):
    """Counts of answers: some agents' customers answer fast, whatever they think."""
    rng = np.random.default_rng(seed)
    zero, trials = np.zeros(agents, dtype=np.int64), np.full(agents, each)
    share = 1 / (1 + np.exp(1.5 - 0.8 * rng.standard_normal(agents)))
    top = rng.binomial(trials, 0.55)
    fast_top, fast_other = rng.binomial(top, share), rng.binomial(trials - top, share)
    gift_top, gift_other = rng.binomial(top, 0.03), rng.binomial(trials - top, 0.03)
    kept = dict.fromkeys(("milli", "top_milli", "owned_top", "placed_top"), zero)
    columns = kept | {
        "answers": trials,
        "top": top,
        "timed_top": top,
        "fast_top": fast_top,
        "timed_other": trials - top,
        "fast_other": fast_other,
        "asked": zero,
        "known_top": zero,
        "troubled": zero,
        "troubled_top": zero,
        "followed_top": top,
        "gift_top": gift_top,
        "followed_other": trials - top,
        "gift_other": gift_other,
        "signed": fast_top + fast_other + gift_top + gift_other,
        "signed_top": fast_top + gift_top,
        "rare": gift_top + gift_other,
        "rare_top": gift_top,
    }
    ids = np.array([f"A{i:02d}" for i in range(agents)], dtype=object)
    strata = ("queue", "contact", "channel", "administered_by")
    texts = {name: np.full(agents, "", dtype=object) for name in strata}
    counts = base.Summary(columns={"agent_id": ids, **texts, **columns})
    return {"counts": counts}


def test_habits_of_answers_hold_whatever_the_score_is():
    for each in PerfectScores().replicas(answered(1), {}, number=3, seed=1):
        names = [name for name in each["counts"].columns if name in COUNTS]
        new = {name: each["counts"].ints(name) for name in names}
        fast = [
            np.log((new[f"fast_{end}"] + 0.5) / (new[f"timed_{end}"] + 1.0))
            for end in ("top", "other")
        ]
        assert np.corrcoef(fast)[0, 1] > 0.7
        signed = [
            (new["signed_top"] / new["top"]),
            (new["signed"] - new["signed_top"]) / (new["answers"] - new["top"]),
        ]
        assert np.corrcoef(signed)[0, 1] > 0.7


def test_replicas_of_answers_are_possible_counts():
    for each in PerfectScores().replicas(answered(2), {}, number=3, seed=2):
        counts = each["counts"]
        low = counts.ints("answers") - counts.ints("top")
        for name, parts in (("signed", ("fast", "gift")), ("rare", ("gift",))):
            top = counts.ints(f"{name}_top")
            lower = counts.ints(name) - top
            assert np.all(top <= counts.ints("top"))
            assert np.all(lower <= low)
            for part in parts:
                assert np.all(counts.ints(f"{part}_top") <= top)
                assert np.all(counts.ints(f"{part}_other") <= lower)


def test_what_is_usual_can_be_learnt_from_some_rows():
    stratum = np.array([0, 0, 1])
    events, trials = np.array([10, 90, 50]), np.array([100, 100, 100])
    some = replicate.rates(stratum, events, trials, of=np.array([True, False, False]))
    share = 1 / (1 + np.exp(-some))
    assert share == pytest.approx([10.5 / 101, 10.5 / 101, 10.5 / 101])


def test_drawn_events_have_the_dispersion_they_were_asked_for():
    rng = np.random.default_rng(5)
    trials = np.full(20_000, 50)
    drawn = replicate.events(trials, np.zeros(20_000), 2.0, rng)
    assert drawn.var() / (50 * 0.25) == pytest.approx(2.0, rel=0.05)
    assert drawn.mean() == pytest.approx(25.0, rel=0.02)


def test_other_whole_minutes_are_tried_but_none_that_is_paid():
    caps = (SimpleNamespace(cap_s=420), SimpleNamespace(cap_s=600))
    others = [d.cap_s for d in DurationCap().variants({"caps": caps})]
    assert others == [240.0, 300.0]
    assert DurationCap().variants({"caps": ()}) == ()


def test_what_could_not_be_run_is_named():
    run = run_of(short_calls(1))
    ran = placebo.cheap(run)
    (told,) = placebo._unplaced(run, ran)
    assert "negative control" in told
    assert "cutoffs" not in told
    assert not placebo._unplaced(
        run, dict.fromkeys(("negative_control", "cutoffs", "before", "replicas"))
    )


def test_invitations_drawn_within_margins_have_the_odds_they_were_asked_for():
    number = np.full(20_000, 100)
    drawn = within_margins(
        number,
        number // 2,
        number // 5,
        np.full(20_000, -0.7),
        np.random.default_rng(1).standard_normal(20_000),
    )
    mean = drawn.mean()
    odds = mean * (30.0 + mean) / ((20.0 - mean) * (50.0 - mean))
    assert np.log(odds) == pytest.approx(-0.7, abs=0.05)
    assert drawn.min() >= 0
    assert drawn.max() <= 20


def test_one_alarm_is_luck_and_several_are_not():
    quiet = {"cutoffs": PlaceboRuns(runs=3, flagged=1)}
    loud = {"replicas": PlaceboRuns(runs=40, flagged=6)}
    assert placebo.fires(quiet) == ()
    assert placebo.fires(quiet | loud) == ("replicas",)


def asked(*p):
    """Return what a negative control says of agents with these p-values."""
    p_value = np.array(p)
    outcome = SimpleNamespace(p_value=p_value, testable=np.isfinite(p_value))
    tested = SimpleNamespace(kind="agent", share=1.0, outcome=outcome)
    return SimpleNamespace(skipped=None, tested=(tested,))


@pytest.mark.parametrize(
    ("clearest", "fired"), [(1e-6, True), (0.001, True), (0.0035, False), (0.4, False)]
)
def test_one_clear_control_of_two_is_enough(clearest, fired):
    honest, odd = asked(*[0.5] * 10), asked(clearest, *[0.5] * 9)
    control = placebo.held([honest, odd], level=0.05)
    assert control == PlaceboRuns(runs=2, flagged=int(fired), luck=0.025)
    assert bool(placebo.fires({"negative_control": control})) == fired


def test_honest_controls_together_rarely_mark_a_rule():
    rng = np.random.default_rng(41)
    fired = 0
    for _ in range(2000):
        controls = [asked(*rng.random(20)), asked(*rng.random(20))]
        control = placebo.held(controls, level=0.05)
        fired += bool(placebo.fires({"negative_control": control}))
    assert fired / 2000 <= 0.06


def test_a_placebo_with_one_run_can_fire():
    assert placebo.fires({"before": PlaceboRuns(runs=1, flagged=1)}) == ("before",)


@pytest.mark.parametrize(("flagged", "grade"), [(0, "strong"), (9, "weak")])
def test_a_rule_whose_placebo_fires_gives_weak_findings_only(flagged, grade):
    found = FakeFinding(evidence_grade="strong")
    run = run_of({}, findings=[found])
    run.placebo = {"replicas": PlaceboRuns(runs=40, flagged=flagged)}
    placebo.take_account(run)
    assert run.findings[0].evidence_grade == grade
    assert bool(run.unreliable) == (grade == "weak")


def dataset(table, **columns):
    frame = nw.from_native(pl.LazyFrame(columns))
    return Dataset(frames={table: frame}, columns={table: frozenset(columns)})


def test_moved_promises_and_clocks_leave_everything_else_alone():
    data = dataset("handovers", promised_at=[1_000_000, None], ready_at=[900_000, 5])
    moved = [
        each.table("handovers").collect().to_native()
        for each in deadlines.handovers(data, 300_000)
    ]
    shifts = [frame["promised_at"][0] - 1_000_000 for frame in moved]
    assert shifts == [windows * 300_000 for windows in deadlines.WINDOWS]
    assert all(frame["promised_at"][1] is None for frame in moved)
    assert all(frame["ready_at"].to_list() == [900_000, 5] for frame in moved)
    tickets = dataset("tickets", opened_at=[1_000], due_at=[101_000])
    clocks = [
        each.table("tickets").collect().to_native()["due_at"][0] - 1_000
        for each in deadlines.tickets(tickets)
    ]
    assert clocks == [60_000, 80_000, 125_000]
    assert list(deadlines.tickets(dataset("tickets", opened_at=[1]))) == []


def test_a_cutoff_at_which_nobody_could_be_tested_is_no_run(monkeypatch):
    few = short_calls(3)
    detector = ShortCalls()
    run = SimpleNamespace(
        rule=SimpleNamespace(detector=detector), summaries=few, found={}
    )
    untested = base.Verdicts(skipped="too little data")
    monkeypatch.setattr(placebo.power, "level_of", lambda _: 0.05)
    assert placebo.cheap(run)["cutoffs"].runs == 3
    monkeypatch.setattr(ShortCalls, "elsewhere", lambda *_: (untested,) * 3)
    assert placebo.cheap(run) == {}


def test_a_call_after_one_with_somebody_else_within_a_week_is_told_from_others():
    day = 24 * 3600 * 1000
    calls = pl.LazyFrame(
        {
            "call_id": list("abcdefghijkk"),
            "customer_id": list("111223344555"),
            "agent_id": ["A", "B", "B", "A", None, *"ABABBAB"],
            "at_ms": [0, day, 2 * day, 0, day, 0, 8 * day, 0, day, 0, day, day],
            "direction": ["inbound"] * 8 + ["outbound", *["inbound"] * 3],
            "outcome": ["answered"] * 9 + ["no_answer", *["answered"] * 2],
        }
    )
    data = Dataset(
        frames={"calls": nw.from_native(calls)},
        columns={"calls": frozenset(calls.collect_schema().names())},
    )
    marked = (
        placebo._after_others(placebo._taken(data), ("agent_id",))
        .to_native()
        .sort("call_id")
    )
    taken = dict.fromkeys("abcdefgh", 0) | {"b": 1}
    assert marked.collect()["event"].to_list() == [*taken.values(), 0, 0]
