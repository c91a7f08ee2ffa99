"""Claims about early closure where something is paid: who follows the score."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.detectors import _early_closure_score as score
from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors import _incentives_schemes as schemes
from kpiaudit.detectors.base import Row, Summary
from kpiaudit.detectors.early_closure import EarlyClosure
from tests.detectors.test_early_closure import DAY, HOUR, centre, dataset, gather

if TYPE_CHECKING:
    from kpiaudit.tables.dataset import Dataset

DETECTOR = EarlyClosure()
SCHEMES = {
    "kpi": ["Tickets resolved", "SLA met", "csat"],
    "threshold": [60.0, 85.0, 4.5],
}


def paid(
    tickets: pl.DataFrame, given: dict[str, list[Any]], engine: Any = None
) -> Dataset:
    engine = engine or pl.DataFrame.lazy
    data = dataset(tickets, engine=engine)
    table = dataset(pl.DataFrame(given).with_columns(opened_at=0), engine=engine)
    return replace(
        data,
        frames={**data.frames, "incentives": table.frames["tickets"]},
        columns={**data.columns, "incentives": frozenset(given)},
    )


def counted(data: Dataset) -> tuple[Any, dict[str, Summary]]:
    found = DETECTOR.find(gather(DETECTOR.discover(data)))
    return found, gather(DETECTOR.summarize(data, found))


@pytest.fixture(scope="module")
def tickets() -> pl.DataFrame:
    return centre(5, agents=8, tickets=200, days=62, gaming={0: 0.4, 1: 0.4})


def test_thresholds_are_read_and_percent_are_shares(tickets: pl.DataFrame) -> None:
    found, out = counted(paid(tickets, SCHEMES))
    assert [(s.kpi, s.threshold, s.above) for s in found["schemes"]] == [
        ("sla_met", 0.85, True),
        ("tickets_resolved", 60.0, True),
    ]
    verdicts = DETECTOR.test(out, found, min_effect=None)
    (said,) = (text for text in verdicts.found if "Thresholds" in text)
    assert "sla_met 0.85 per month; tickets_resolved 60 per month" in said
    assert "Each agent's closures while one was in reach" in said


def test_what_is_paid_for_in_time_needs_a_deadline(tickets: pl.DataFrame) -> None:
    found, out = counted(paid(tickets.drop("due_at"), SCHEMES))
    assert [s.kpi for s in found["schemes"]] == ["tickets_resolved"]
    cells = out[incentives.CELLS]
    assert not cells.ints("of_mean").any()
    assert cells.ints("events").sum() == out["cells"].ints("bounced").sum() > 0


def test_the_score_counts_all_closures_and_the_rule_its_own(
    tickets: pl.DataFrame,
) -> None:
    undated = tickets.with_columns(
        due_at=pl.when(pl.col("ticket_id").str.ends_with("7"))
        .then(None)
        .otherwise("due_at")
    )
    found, out = counted(paid(undated, SCHEMES))
    cells, rule = out[incentives.CELLS], out["cells"]
    end = int(found["end_ms"])
    closed = undated.filter(pl.col("agent_id").is_not_null())
    closed = closed.filter(pl.col("resolved_at") <= end)
    dated = closed.filter(pl.col("due_at").is_not_null())
    assert cells.ints("contacts").sum() == len(closed)
    assert cells.ints("of_mean").sum() == len(dated) < len(closed)
    in_time = dated.filter(pl.col("resolved_at") <= pl.col("due_at"))
    assert cells.ints("met").sum() == len(in_time)
    for name, of in (("trials", "known"), ("events", "near_bounced")):
        assert cells.ints(name).sum() == rule.ints(of).sum() > 0


def test_closures_are_counted_at_the_local_hour_they_happen() -> None:
    one = centre(5, agents=1, tickets=40, days=20)
    data = paid(one, SCHEMES)
    shifted = data.table("tickets").with_columns(  # a zone two hours east
        day=(nw.col("opened_at") + 2 * HOUR) // DAY,
        hour=(nw.col("opened_at") + 2 * HOUR) % DAY // HOUR,
    )
    data = replace(data, frames={**data.frames, "tickets": shifted})
    found, out = counted(data)
    cells = out[incentives.CELLS]
    rows = one.filter(pl.col("agent_id").is_not_null())
    rows = rows.filter(pl.col("resolved_at") <= int(found["end_ms"]))
    local = np.sort((rows["resolved_at"].to_numpy() + 2 * HOUR) // HOUR)
    told = np.repeat(
        cells.ints("day") * 24 + cells.ints("hour"), cells.ints("contacts")
    )
    np.testing.assert_array_equal(np.sort(told), local)


def test_cells_are_the_same_elsewhere(tickets: pl.DataFrame) -> None:
    connection = duckdb.connect(config={"threads": 1})

    def elsewhere(frame: pl.DataFrame) -> Any:
        return connection.from_arrow(frame.to_arrow())

    _, want = counted(paid(tickets, SCHEMES))
    _, got = counted(paid(tickets, SCHEMES, elsewhere))
    assert len(want[incentives.CELLS]) > 500
    for column, values in want[incentives.CELLS].columns.items():
        np.testing.assert_array_equal(got[incentives.CELLS][column], values)


def test_where_nothing_is_paid_nothing_changes(tickets: pl.DataFrame) -> None:
    found, plain = counted(dataset(tickets))
    other = {"kpi": ["csat"], "threshold": [4.5]}
    same, unpaid = counted(paid(tickets, other))
    assert "schemes" not in found
    assert "schemes" not in same
    assert plain.keys() == unpaid.keys()
    assert incentives.CELLS not in plain
    one, another = (
        DETECTOR.test(summaries, first, min_effect=None)
        for summaries, first in ((plain, found), (unpaid, same))
    )
    assert one.found == another.found
    for first, second in zip(one.tested, another.tested, strict=True):
        np.testing.assert_array_equal(first.outcome.p_value, second.outcome.p_value)
        assert not [name for name in first.outcome.extra if "gradient" in name]


AGENTS, DAYS, PER_DAY = 30, 120, 10
BONUS = 240.0
"""Of some 300 closures a month: after 17 days the rest comes by itself."""


def world(seed: int, *, follow: bool) -> tuple[Any, dict[str, Summary]]:
    """Count closures of agents of whom five have more that come back, all or while
    the bonus is in reach: as many of them either way."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"A{i:04d}" for i in range(AGENTS)], dtype=object)
    agent, day = (each.ravel() for each in np.indices((AGENTS, DAYS)))
    first = np.datetime64("2026-01-01").astype(np.int64)
    of_month = (np.datetime64("2026-01-01") + day).astype("datetime64[D]")
    of_month = (of_month - of_month.astype("datetime64[M]")).astype(np.int64)
    near = rng.binomial(PER_DAY, np.where(agent < 5, 0.13, 0.1))
    share = np.where(of_month < 17, 0.5, 0.1) if follow else np.full(len(day), 0.32)
    share = np.where(agent < 5, share, 0.1)
    bounced = rng.binomial(near, share)
    zero, ten = np.zeros_like(day), np.full_like(day, PER_DAY)
    cells = {
        "agent_id": ids[agent],
        "day": first + day,
        "hour": zero + 9,
        "clock": zero,
        "contacts": ten,
        "of_mean": ten,
        "met": near,
        "trials": ten,
        "events": bounced,
    }

    def added(values: Any) -> Any:
        return np.bincount(agent, values).astype(np.int64)

    other = added(ten - near)
    late = added(near) + 40
    known = {"known": added(ten), "near_known": added(near)}
    back = {
        "bounced": added(bounced) + rng.binomial(other, 0.1),
        "near_bounced": added(bounced),
    }
    rest = dict.fromkeys(
        ("near_reopened", "near_followed", "just_after", "side_known", "side_bounced"),
        added(zero),
    )
    totals = {"due": added(ten), "met": added(near), "open_late": late}
    index = np.arange(AGENTS)
    counts = totals | {"near": added(near)} | known | back | rest
    days = {"open_late": near, "near": near, "near_known": near}
    return (
        {"mode": "due", "schemes": (scheme("tickets_closed", BONUS),)},
        {
            "cells": Summary(
                columns={
                    "agent_id": ids,
                    "clock": 0 * index,
                    "due_part": 0 * index,
                    **counts,
                }
            ),
            "days": Summary(
                columns={
                    "agent_id": ids[agent],
                    "due_day": first + day,
                    "near_bounced": bounced,
                    **days,
                }
            ),
            incentives.CELLS: Summary(columns=cells),
        },
    )


def scheme(kpi: str, threshold: float) -> schemes.Scheme:
    return schemes.Scheme(
        kpi=kpi,
        kind="agent",
        subject="",
        threshold=threshold,
        above=True,
        period="month",
        first=-(2**31),
        last=2**31,
    )


@pytest.mark.parametrize("follow", [True, False])
def test_who_follows_the_score_is_supported_by_it(follow: bool) -> None:
    found, summaries = world(1, follow=follow)
    extra = outcome(summaries, found).extra
    told = extra["gradient_p"]
    if follow:
        assert np.nanmedian(told[:5]) < 0.01
        assert np.nanmin(extra["gradient_odds"][:5]) > 2.0
    else:
        assert np.nanmin(told[:5]) > 0.01
    assert np.nanmin(told[5:]) > 0.005


def test_the_score_adds_to_peers_where_it_can() -> None:
    found, summaries = world(2, follow=True)
    peers = outcome(summaries, {"mode": "due"})
    both = outcome(summaries, found)
    told = both.extra["gradient_p"]
    assert "gradient_p" not in peers.extra
    unsure = (peers.p_value > 1e-4) & (told < 0.01) & (peers.p_value < 0.5)
    assert unsure.any()
    assert (both.p_value[unsure] < peers.p_value[unsure]).all()
    assert (both.p_value[5:] > 1e-3).all()
    assert (both.effect == peers.effect).all()
    rows = np.flatnonzero(both.p_value < 0.01)[:1]
    assert both.breaking_point is not None
    assert both.breaking_point(rows, 0.01)[0] >= 1.0


def outcome(summaries: Any, found: Any) -> Any:
    tested = DETECTOR.test(summaries, found, min_effect=None).tested
    return next(each.outcome for each in tested if each.kind == "agent")


def test_honest_replicas_go_without_the_score() -> None:
    found, summaries = world(3, follow=True)
    (replica,) = DETECTOR.replicas(summaries, found, number=1, seed=1)
    assert incentives.CELLS not in replica


def test_a_finding_says_what_the_score_said(tickets: pl.DataFrame) -> None:
    data = paid(tickets, SCHEMES)
    found, summaries = world(4, follow=True)
    tested = DETECTOR.test(summaries, found, min_effect=None).tested[-1]
    row = Row(
        kind="agent",
        id="A0000",
        index=0,
        tested=tested,
        q_value=0.01,
        data=data,
        found=found,
        summaries=summaries,
    )
    account = DETECTOR.account(row)
    (told,) = (e for e in account.evidence if "bonus was in reach" in e.name)
    assert told.name.startswith("closures near the deadline that came back")
    assert "the score counted from the closures before" in told.text
    assert "hard tickets don't know the score" in told.text
    assert "incentives.threshold" in [each.column for each in account.rests_on]


def test_shares_are_out_of_reach_beyond_all_tickets() -> None:
    found = {"schemes": (scheme("sla_met", 0.9), scheme("tickets_closed", 90.0))}
    targets = schemes.targets(found, np.array(["A0001"]))
    assert {(t.mean, t.most) for t in targets} == {(True, 1.0), (False, np.inf)}
    assert score.find({}, "due") == {}
