"""Short calls: planted found, honest not accused, explanations, missing columns."""

from __future__ import annotations

from dataclasses import replace

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.detectors.base import Row, Summary
from kpiaudit.detectors.short_calls import ShortCalls
from kpiaudit.stats.multiplicity import q_values
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import collect

START_MS = 1_772_409_600_000  # 2026-03-02T00:00Z
DAY_MS = 86_400_000
DETECTOR = ShortCalls()
ORIGINS = {
    f"calls.{c}": "system"
    for c in ("agent_id", "call_id", "customer_id", "started_at", "queue", "station")
} | {"calls.talk_s": "steered", "calls.ended_by": "steered"}


def centre(
    seed=0,
    *,
    agents=20,
    days=20,
    per_day=40,
    gamers=(),
    strength=0.0,
    sd=0.3,
    base=0.018,
    redial=0.3,
):
    """One export in canonical columns, redials included."""
    rng = np.random.default_rng(seed)
    n = agents * days * per_day
    agent = np.repeat(np.arange(agents), days * per_day)
    day = np.tile(np.repeat(np.arange(days), per_day), agents)
    at = START_MS + day * DAY_MS + 8 * 3_600_000 + rng.integers(0, 28_800_000, n)
    talk = np.floor(np.maximum(np.exp(5.2 + 0.8 * rng.standard_normal(n)), 12))
    rate = base * np.exp(sd * rng.standard_normal(agents))
    short = rng.random(n) < rate[agent]
    talk = np.where(short, rng.integers(1, 10, n), talk)
    talk = np.where(rng.random(n) < 0.03, rng.integers(10, 30, n), talk)
    dumped = np.isin(agent, gamers) & (rng.random(n) < strength) & (talk >= 10)
    talk = np.where(dumped, rng.integers(1, 10, n), talk)
    frame = pl.DataFrame(
        {
            "agent_id": [f"A{a:03d}" for a in agent],
            "queue": [f"Q{q}" for q in rng.integers(0, 3, n)],
            "customer_id": [f"C{c:07d}" for c in rng.integers(0, 50 * n, n)],
            "started_at": at,
            "talk_s": talk.astype(float),
            "ended_by": np.where(dumped, "agent", "customer"),
            "station": [f"S{a:03d}" for a in agent],
            "day": day + START_MS // DAY_MS,
        }
    ).with_columns(outcome=pl.lit("answered"), monitored=pl.lit(value=False))
    chance = np.where(dumped, 0.55, np.where(talk < 10, redial, 0.04))
    again = frame.filter(pl.Series(rng.random(n) < chance))
    later = rng.integers(30_000, 600_000, len(again))
    again = again.with_columns(
        started_at=pl.col("started_at") + later,
        talk_s=pl.lit(200.0),
        agent_id=pl.Series([f"A{a:03d}" for a in rng.integers(0, agents, len(again))]),
    )
    return numbered(pl.concat([frame, again]))


def numbered(frame):
    """Sort by time, number the calls, add the anchor."""
    frame = frame.sort("started_at", "agent_id", "customer_id")
    return frame.with_columns(
        call_id=pl.Series([f"K{i:07d}" for i in range(len(frame))]),
        at_ms=pl.col("started_at"),
    )


def dataset(frame, engine="polars"):
    """Wrap canonical calls as the loader does."""
    if engine == "duckdb":
        duckdb = pytest.importorskip("duckdb")
        native = duckdb.connect().from_arrow(frame.to_arrow())
    else:
        native = frame.lazy()
    period = (
        (int(frame["at_ms"].min()), int(frame["at_ms"].max()))
        if "at_ms" in frame.columns and len(frame)
        else (0, 0)
    )
    return Dataset(
        frames={"calls": nw.from_native(native).lazy()},
        columns={"calls": frozenset(frame.columns)},
        origins=ORIGINS,
        period={"calls": period},
        rows={"calls": len(frame)},
    )


def counted(data, detector=DETECTOR):
    """Run both stages."""
    first = {n: Summary.of(f) for n, f in collect(detector.discover(data)).items()}
    found = detector.find(first)
    second = collect(detector.summarize(data, found))
    return {n: Summary.of(f) for n, f in second.items()}, found


def examined(frame, detector=DETECTOR, min_effect=5.0):
    """Return the accounts of what passes q <= .05, by kind and id, and the verdicts."""
    data = dataset(frame)
    summaries, found = counted(data, detector)
    verdicts = detector.test(summaries, found, min_effect=min_effect)
    accounts = {}
    for tested in verdicts.tested:
        q = q_values(tested.outcome.p_value) / tested.share
        for index in np.flatnonzero(q <= 0.05):
            row = Row(
                kind=tested.kind,
                id=str(tested.ids[index]),
                index=int(index),
                tested=tested,
                q_value=float(q[index]),
                summaries=summaries,
                found=found,
                data=data,
            )
            accounts[tested.kind, row.id] = detector.account(row)
    return accounts, verdicts


def upheld(accounts):
    """Leave out what an innocent explanation withdraws."""
    return {
        key: account
        for key, account in accounts.items()
        if not any(e.holds for e in account.explanations)
    }


def test_agents_who_hang_up_are_found_and_nobody_else():
    accounts, _ = examined(centre(gamers=(2, 7), strength=0.1))
    assert set(accounts) == {("agent", "A002"), ("agent", "A007")}
    account = accounts["agent", "A002"]
    assert 40 < account.effect.low < account.effect.value < account.effect.high < 130
    assert account.restated is not None
    assert account.restated.restated < account.restated.reported
