"""duration-cap: planted agents and floors are found, look-alikes are not."""

from __future__ import annotations

from types import SimpleNamespace

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.detectors import _duration_cap_floor as floor
from kpiaudit.detectors import _duration_cap_words as words
from kpiaudit.detectors._duration_cap_explain import EXPLAIN, _shared_place
from kpiaudit.detectors._duration_cap_find import Cap, Layout
from kpiaudit.detectors.base import Row, Summary
from kpiaudit.detectors.duration_cap import DurationCap
from kpiaudit.stats import multiplicity
from kpiaudit.tables import schema
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import collect
from kpiaudit.tables.simulate import Centre, Plant, simulate

DAY_MS = 86_400_000
CAP = DurationCap(cap_s=420.0)


def dataset(calls, *, without=()):
    """Turn a simulated table into a dataset as the loader would."""
    frame = calls.drop(without)
    instants = [name for name in frame.columns if name.endswith("_at")]
    frame = frame.with_columns(pl.col(name).dt.epoch("ms") for name in instants)
    period = {}
    if "started_at" in frame.columns:
        at = pl.col("started_at")
        frame = frame.with_columns(at_ms=at, day=at // DAY_MS)
        period = {"calls": (frame["at_ms"].min(), frame["at_ms"].max())}
    return of_frame(frame.lazy(), frame.columns, period)


def of_frame(native, columns, period):
    origins = {
        f"{table}.{column.name}": column.origin
        for table, known in schema.TABLES.items()
        for column in known
    }
    return Dataset(
        frames={"calls": nw.from_native(native)},
        columns={"calls": frozenset(columns)},
        origins=origins,
        period=period,
    )


def collected(frames):
    return {name: Summary.of(frame) for name, frame in collect(frames).items()}


def audit(data, detector=CAP):
    found = detector.find(collected(detector.discover(data)))
    summaries = collected(detector.summarize(data, found))
    return found, summaries, detector.test(summaries, found, min_effect=None)


def flagged(verdicts, level=0.05):
    """Pool all kinds as the scan does; return the flagged ids per kind."""
    sizes = [int(t.outcome.testable.sum()) for t in verdicts.tested]
    p = np.concatenate([t.outcome.p_value for t in verdicts.tested])
    weight = np.ones_like(p)
    weight[~np.isnan(p)] = multiplicity.kind_weights(
        sizes, [t.share for t in verdicts.tested]
    )
    q = np.split(
        multiplicity.q_values(p, weight),
        np.cumsum([len(t.ids) for t in verdicts.tested])[:-1],
    )
    return {
        t.kind: {str(t.ids[i]) for i in np.flatnonzero(own <= level)}
        for t, own in zip(verdicts.tested, q, strict=True)
    }


def accounts(detector, data, found, summaries, verdicts):
    hits = flagged(verdicts)
    return [
        detector.account(
            Row(
                kind=tested.kind,
                id=name,
                index=tested.ids.tolist().index(name),
                tested=tested,
                q_value=0.001,
                summaries=summaries,
                found=found,
                data=data,
            )
        )
        for tested in verdicts.tested
        for name in sorted(hits[tested.kind])
    ]


def centre(**settings):
    return simulate(
        Centre(**({"seed": 5, "agents": 24, "tables": ("calls",)} | settings))
    )


def planted(**settings):
    return centre(plants=(Plant(pattern="duration-cap", **settings),))


@pytest.fixture(scope="module")
def gamed():
    return planted(agents=3, strength=0.3)


@pytest.fixture(scope="module")
def everybody():
    return planted(agents=1.0, strength=0.3, falsify=0.8)


def test_planted_agents_are_found_and_nobody_else(gamed):
    _, _, verdicts = audit(dataset(gamed.tables["calls"]))
    assert flagged(verdicts)["agent"] == set(gamed.truth["duration-cap"]["agents"])


def test_a_floor_on_which_everybody_does_it_is_found(everybody):
    _, _, verdicts = audit(dataset(everybody.tables["calls"]))
    assert flagged(verdicts)["floor"] == {"all"}


def test_honest_agents_are_not_accused():
    _, _, verdicts = audit(dataset(centre().tables["calls"]))
    assert not any(flagged(verdicts).values())


def test_an_unknown_cap_is_found_and_tested_on_the_other_days(everybody):
    data = dataset(everybody.tables["calls"])
    found, _, verdicts = audit(data, DurationCap())
    (cap,) = found["caps"]
    assert abs(cap.cap_s - 420) <= 3
    assert {parity for parity, _ in cap.halves} == {0, 1}
    assert flagged(verdicts)["floor"] == {"all"}


def test_one_agent_with_an_unknown_cap_is_found_agent_by_agent():
    """One of 24: too few calls for the search of all calls together."""
    made = planted(agents=1, strength=0.35)
    found, _, verdicts = audit(dataset(made.tables["calls"]), DurationCap())
    (cap,) = found["caps"]
    assert (cap.cap_s, cap.by_agents) == (420, True)
    assert flagged(verdicts)["agent"] == set(made.truth["duration-cap"]["agents"])


def test_where_no_cap_draws_calls_the_rule_ran_and_says_so():
    found, _, verdicts = audit(dataset(centre().tables["calls"]), DurationCap())
    assert found["caps"] == ()
    assert "no cutoff between 60 and 1,139 s draws calls" in verdicts.found[-1]
    (tested,) = verdicts.tested
    assert tested.outcome.p_value == [1.0]
    assert tested.outcome.smallest_detectable > 0


def test_the_account_of_an_agent_says_how_the_calls_left(gamed):
    data = dataset(gamed.tables["calls"])
    words = accounts(CAP, data, *audit(data))
    assert len(words) == 3
    account = words[0]
    assert "below 420 s (7 min)" in account.headline
    assert account.effect.low < account.effect.value < account.effect.high
    assert account.restated.reported < account.restated.low < account.restated.restated
    assert account.restated.restated < account.restated.high
    assert account.corroboration[0].verdict == "supports"
    assert sum(account.histogram.counts[9:12]) == account.observed
    status = {e.text: e.status for e in account.explanations}
    assert status["a faulty seat"] == "ruled_out"
    assert status["a queue whose calls naturally last a little less than the cap"] == (
        "ruled_out"
    )
    assert not any(e.holds for e in account.explanations)


def test_the_restated_mean_allows_for_how_lengths_past_the_cap_scatter(gamed):
    """So few calls in excess are a draw: their mean length isn't that of all others."""
    calls = gamed.tables["calls"]
    data = dataset(calls)
    length = calls["talk_s"] + calls["hold_s"].fill_null(0)
    sd = length.filter(length >= 420).std()
    for account in accounts(CAP, data, *audit(data)):
        counted = account.restated.high - account.restated.restated
        noise = 1.96 * sd * account.effect.value**0.5 / _answered_by(calls, account)
        assert counted > noise * 0.99
        more = account.effect.high / account.effect.value - 1.0
        gain = account.restated.restated - account.restated.reported
        assert counted == pytest.approx(np.hypot(noise, more * gain), rel=0.05)


@pytest.mark.parametrize(
    ("halves", "every"),
    [(((None, 420),), 1.0), (((0, 420), (1, 425)), 1.0), (((1, 420),), 2.0)],
)
def test_a_cap_that_half_of_the_days_proposed_is_restated_for_all_days(halves, every):
    seconds = Summary(
        columns={
            "second": np.array([400, 430, 500]),
            "odd": np.array([900, 20, 20]),
            "even": np.array([900, 20, 20]),
        }
    )
    found = {"measure": "talk", "seconds": seconds}
    row = SimpleNamespace(
        kind="agent", found=found, value={"effect": 30, "low": 20, "high": 40}.get
    )
    cap = Cap(cap_s=420, halves=halves, given=False)
    assert DurationCap().days_each({"caps": (cap, cap)}) == every
    near = SimpleNamespace(row=row, cap=cap, window=15)
    told = words._restated(near, gains=(7.5, 100.0), mean=300.0, calls=1000)
    assert words.days_each(cap) == every
    assert told.restated == pytest.approx(300.0 + 3.0 * every)
    assert told.low == pytest.approx(300.0 + 0.15 * every)
    assert told.high >= 300.0 + 4.0 * every
    assert ("every second day" in told.assumption) == (every > 1.0)


def _answered_by(calls, account):
    """Count the calls that the account's subject answered."""
    name = account.headline.split(":")[0].removeprefix("Agent ")
    return calls.filter(calls["agent_id"] == name, calls["talk_s"].is_not_null()).height


def test_the_account_of_a_floor_names_the_target_first(everybody):
    data = dataset(everybody.tables["calls"])
    words = accounts(CAP, data, *audit(data))
    assert words[0].headline.startswith("The whole floor: the cap of 420 s")
    assert words[0].next_step.startswith("Look at the target")
    assert len(words[0].histogram.counts) == len(words[0].histogram.expected)


def test_only_a_column_that_the_agent_does_not_write_rules_anything_out(gamed):
    data = dataset(gamed.tables["calls"], without=("station", "trunk", "customer_id"))
    words = accounts(CAP, data, *audit(data))
    status = {e.text: e for e in words[0].explanations}
    assert status["a faulty seat"].status == "uncheckable"
    assert "calls.station" in status["a faulty seat"].detail
    script = status["a scripted close or a reminder that the whole floor follows"]
    assert script.status == "uncheckable"
    assert "calls.customer_id" in script.detail
    assert status["the platform ends calls at the limit"].status == "open"


@pytest.mark.parametrize(
    "lookalikes",
    [("peak-below-cap", "part-timers"), ("rounding-6s", "rounding-60s")],
    ids=" ".join,
)
def test_look_alikes_are_not_accused(lookalikes):
    data = dataset(centre(seed=8, lookalikes=lookalikes).tables["calls"])
    _, _, verdicts = audit(data)
    assert not any(flagged(verdicts).values())


def test_an_automatic_cut_at_the_cap_is_recognised_and_hides_nobody():
    settings = {"lookalikes": ("auto-cut-cap",)}
    honest = dataset(centre(**settings).tables["calls"])
    found, _, verdicts = audit(honest)
    assert found["layouts"][0].cuts == (420,)
    assert not any(flagged(verdicts).values())
    made = centre(
        plants=(Plant(pattern="duration-cap", agents=2, strength=0.4),), **settings
    )
    _, _, verdicts = audit(dataset(made.tables["calls"]))
    assert flagged(verdicts) == {
        "floor": set(),
        "queue": set(),
        "agent": set(made.truth["duration-cap"]["agents"]),
    }


def test_a_rounding_site_is_compared_in_its_own_units():
    made = centre(
        lookalikes=("rounding-6s",),
        plants=(Plant(pattern="duration-cap", agents=3, strength=0.4),),
    )
    found, _, verdicts = audit(dataset(made.tables["calls"]))
    assert sorted(layout.unit for layout in found["layouts"]) == [1, 6]
    assert flagged(verdicts)["agent"] == set(made.truth["duration-cap"]["agents"])


def test_a_platform_that_cuts_calls_at_one_site_only_accuses_nobody():
    calls = centre().tables["calls"]
    length = pl.col("talk_s") + pl.col("hold_s")
    over = (pl.col("site_id") == "S1") & (length > 420)
    cut = pl.when(over).then(420 - pl.col("hold_s")).otherwise(pl.col("talk_s"))
    cut = pl.max_horizontal(cut, pl.lit(1.0))
    found, _, verdicts = audit(dataset(calls.with_columns(talk_s=cut)))
    cuts = {layout.sites: layout.cuts for layout in found["layouts"]}
    assert cuts == {("S1",): (420,), ("S2",): ()}
    assert not any(flagged(verdicts).values())


def test_a_smooth_hump_is_no_sharp_edge():
    second = np.arange(1500)
    base = 40 * np.exp(-second / 400)
    hump = base + 30 * np.exp(-(((second - 410) / 15) ** 2) / 2)
    cut = base * np.where(second >= 420, 0.9, 1)
    cut[405:420] += 25
    layout = Layout(sites=("",))
    place = floor._Place(layout=layout, at=layout.windows(420, 15), width=5, window=15)
    counts = np.random.default_rng(4).poisson(np.array([hump, cut]))
    smooth, sharp = floor.sharpness(counts, place, 0.2)
    assert smooth > 0.2
    assert sharp < 1e-6


def test_a_seat_that_ends_everybodys_calls_early_is_an_explanation_that_holds():
    def place(agent, seat, near, trials):
        return {"agent_id": agent, "place": seat, "near": near, "trials": trials}

    rows = [place("A1", "S1", 60, 100), place("A2", "S1", 55, 100)]
    rows += [place(f"A{i}", "S2", 20, 100) for i in range(3, 20)]
    summary = Summary.of(pl.DataFrame(rows).with_columns(kind=pl.lit("station")))
    data = dataset(centre().tables["calls"].head(10))
    row = Row(
        kind="agent",
        id="A1",
        index=0,
        tested=None,
        q_value=0.0,
        summaries={},
        found={},
        data=data,
    )
    explained = _shared_place(row, summary, "station", EXPLAIN[4].text)
    assert explained.holds
    assert explained.status == "open"


def test_since_asks_what_is_new(gamed):
    since = DurationCap(cap_s=420.0, since="2026-03-20")
    agents = set(gamed.truth["duration-cap"]["agents"])
    always = dataset(gamed.tables["calls"])
    _, summaries, verdicts = audit(always, since)
    assert set(summaries["agents"]["period"].tolist()) == {0, 1}
    assert not flagged(verdicts)["agent"]  # they did it before as well
    later = pl.col("started_at").dt.date() >= pl.date(2026, 3, 20)
    begun = pl.concat(
        [centre().tables["calls"].filter(~later), gamed.tables["calls"].filter(later)]
    )
    _, _, verdicts = audit(dataset(begun), since)
    assert flagged(verdicts)["agent"] == agents


def test_without_days_only_a_given_cap_is_tested(gamed):
    instants = [c for c in gamed.tables["calls"].columns if c.endswith("_at")]
    data = dataset(gamed.tables["calls"], without=instants)
    _, summaries, verdicts = audit(data)
    assert "days" not in summaries
    assert "repeats" not in summaries
    assert any("have no days" in sentence for sentence in verdicts.blind_spots)
    assert flagged(verdicts)["agent"]
    found, _, verdicts = audit(data, DurationCap())
    assert verdicts.tested == ()
    assert verdicts.skipped == (
        "a cap can't be looked for without days (calls.started_at): give cap_s in a "
        "rule, or map calls.started_at"
    )
    assert np.isnan(found["smallest"])


def test_only_the_needed_columns_will_do(gamed):
    needed = gamed.tables["calls"].select("agent_id", "talk_s", "hold_s")
    data = dataset(needed.drop("hold_s"))
    _, _, verdicts = audit(data)
    assert [t.kind for t in verdicts.tested] == ["floor", "agent"]
    assert any("calls.queue" in sentence for sentence in verdicts.blind_spots)


def test_an_empty_table_gives_no_finding(gamed):
    data = dataset(gamed.tables["calls"].clear())
    _, _, verdicts = audit(data)
    assert verdicts.tested == ()
    assert verdicts.skipped


def test_a_handful_of_calls_is_too_few_to_look_for_a_cap(gamed):
    data = dataset(gamed.tables["calls"].head(40).clear())
    assert audit(data, DurationCap())[2].skipped
    some = gamed.tables["calls"].sample(60, seed=1)
    found, _, verdicts = audit(dataset(some), DurationCap())
    assert verdicts.tested == ()
    assert verdicts.skipped.startswith("too few calls to look for a cap: ")
    assert np.isnan(found["smallest"])


@pytest.mark.parametrize("detector", [DurationCap(), CAP], ids=["searched", "given"])
def test_a_pile_up_that_is_nobodys_is_said_to_be_unclear(gamed, detector):
    needed = gamed.tables["calls"].with_columns(
        agent_id=pl.lit("A1"), queue=pl.lit("Q1")
    )
    data = dataset(needed, without=("customer_id",))
    _, _, verdicts = audit(data, detector)
    (said,) = [s for s in verdicts.blind_spots if "pile up" in s]
    assert not any(flagged(verdicts).values())
    assert said.startswith("Calls pile up below 7:00 more than a smooth curve expects")
    assert "do not say at whom" in said


def test_few_days_leave_an_agent_untestable(gamed):
    first = gamed.tables["calls"].filter(
        pl.col("started_at").dt.date() < pl.date(2026, 3, 10)
    )
    _, _, verdicts = audit(dataset(first))
    (agents,) = [t for t in verdicts.tested if t.kind == "agent"]
    assert not agents.outcome.testable.any()


@pytest.mark.parametrize("engine", ["shuffled", "duckdb"])
def test_summaries_do_not_depend_on_the_order_of_rows_or_the_engine(gamed, engine):
    whole = dataset(gamed.tables["calls"])
    frame = whole.table("calls").to_native().collect()
    other = frame.sample(fraction=1.0, shuffle=True, seed=3).lazy()
    if engine == "duckdb":
        duckdb = pytest.importorskip("duckdb")
        connection = duckdb.connect()
        connection.register("calls", frame.to_arrow())
        other = connection.table("calls")
    changed = of_frame(other, frame.columns, whole.period)
    found = CAP.find(collected(CAP.discover(whole)))
    for frames in (CAP.discover, lambda d: CAP.summarize(d, found)):
        one, two = collected(frames(whole)), collected(frames(changed))
        assert one.keys() == two.keys()
        for name in one:
            for column, values in one[name].columns.items():
                np.testing.assert_array_equal(values, two[name][column])


def test_the_records_are_the_calls_near_the_cap(gamed):
    data = dataset(gamed.tables["calls"])
    found, summaries, _ = audit(data)
    agent = gamed.truth["duration-cap"]["agents"][0]
    kept = collect(CAP.records(data, ("agent", agent), found))
    length = kept["flagged"]["talk_s"] + kept["flagged"]["hold_s"]
    assert length.is_between(405, 419.999).all()
    rows = summaries["agents"]
    mine = rows["agent_id"] == agent
    assert len(kept["flagged"]) == rows.ints("near")[mine].sum()
    assert len(kept["control"]) == rows.ints("below")[mine].sum()


@pytest.mark.parametrize(("extra", "told"), [(6, False), (16, True)])
def test_a_few_calls_whose_excess_may_be_nil_are_no_floor(extra, told):
    usual = np.arange(60, 900, 4)
    usual = usual[(usual < 420) | (usual >= 435)]
    second = np.concatenate([usual, np.repeat(410, extra)])
    seconds = {"site_id": "", "queue": "q", "period": 1, "even": 1, "odd": 0}
    seconds = Summary.of(
        pl.DataFrame({"second": second}).with_columns(
            **{name: pl.lit(value) for name, value in seconds.items()}
        )
    )
    zones = {"near": extra + 4, "below": 11, "over": 0, "beyond": 11}
    agents = Summary.of(
        pl.DataFrame(
            {"agent_id": ["A"], "queue": ["q"], "cap_s": [420], "period": [1]}
        ).with_columns(layout=pl.lit(0), **{k: pl.lit(v) for k, v in zones.items()})
    )
    cap = Cap(cap_s=420, halves=((None, 420),), given=True)
    pile = floor.piles(
        {"agents": agents},
        {"layouts": (Layout(sites=("",)),), "seconds": seconds},
        cap,
        (np.array(["A"], dtype=object), np.ones(1)),
        window=15,
        min_relative=0.2,
    )
    outcome = pile.outcome
    assert (outcome.low[0] > 0) == told
    assert max(outcome.extra["p_pile"][0], outcome.extra["p_sharp"][0]) < 0.05
    assert (outcome.p_value[0] < 0.05) == told
