"""Blocks of time in which short calls pile up, held against counting by hand."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import polars as pl
import pytest

from kpiaudit.detectors import _short_calls_count as count
from kpiaudit.detectors import _short_calls_look as look
from kpiaudit.tables.engine import collect
from tests.detectors.test_short_calls import dataset

pytestmark = pytest.mark.parametrize("engine", ["polars", "duckdb"])

WINDOWS = count.Windows(
    short_s=10.0, next_s=20.0, redial_ms=900_000, episode_ms=1_800_000
)
START_MS = 1_772_409_600_000


def _calls(seed: int) -> pl.DataFrame:
    """Return calls of six hours, in one of which most are short."""
    draw = np.random.default_rng(seed)
    n = 1_500
    at = np.sort(draw.integers(0, 6 * 3_600_000, n))
    outage = (at // 3_600_000 == 3) & (draw.random(n) < 0.8)
    short = outage | (draw.random(n) < 0.15)
    return pl.DataFrame(
        {
            "agent_id": [f"A{a}" for a in draw.integers(0, 6, n)],
            "trunk": draw.choice(["T1", "T2", None], n),
            "call_id": [f"K{i}" for i in range(n)],
            "talk_s": np.where(short, draw.integers(0, 10, n), 60).astype(float),
            "at_ms": START_MS + at,
        }
    ).with_columns(
        # Some calls bear no time.
        pl.when(pl.int_range(pl.len()) % 50 > 0).then("at_ms").alias("at_ms")
    )


@pytest.mark.parametrize("kind", ["", "trunk"])
def test_long_blocks_are_made_of_short_ones(engine, kind) -> None:
    frame = _calls(1)
    named = look.blocks(dataset(frame, engine), WINDOWS, [kind])
    for number, length in enumerate(count.BLOCKS_MS):
        groups = defaultdict(list)
        for row in frame.filter(pl.col("at_ms").is_not_null()).iter_rows(named=True):
            start = row["at_ms"] // length * length
            place = row[kind] or "" if kind else ""
            groups[place, start].append((row["agent_id"], row["talk_s"] < 10))
        wanted = {}
        for key, calls in sorted(groups.items()):
            agents = {agent for agent, _ in calls}
            hit = {agent for agent, short in calls if short}
            brief = sum(short for _, short in calls)
            if (
                len(hit) >= 3
                and 2 * len(hit) >= len(agents)
                and 5 * brief >= len(calls)
            ):
                wanted[key] = (len(calls), brief, len(agents), len(hit))
        found = collect({"": named[f"blocks:{kind}:{number}"]})[""]
        columns = ("place", "start", "calls", "short", "agents", "hit")
        got = {tuple(row[:2]): row[2:] for row in found.select(columns).rows()}
        assert got == wanted
        assert wanted


def test_bursts_are_counted_in_blocks_with_hardly_any_other_call(engine) -> None:
    frame = _calls(2)
    summaries = count.summaries(dataset(frame, engine), WINDOWS, {})
    found = collect({"": summaries["bursts"]})[""]
    blocks = defaultdict(list)
    for agent, at, talk in frame.select("agent_id", "at_ms", "talk_s").rows():
        block = -1 if at is None else at // count.BLOCKS_MS[0]
        blocks[agent, block].append(talk < 10)
    wanted = {}
    for (agent, _), short in blocks.items():
        n, dense = sum(short), sum(short) >= 3 and sum(short) * 5 >= len(short) * 4
        brief, burst = wanted.get(agent, (0, 0))
        wanted[agent] = (brief + n, burst + n * dense)
    got = {agent: tuple(rest) for agent, *rest in found.rows()}
    assert got == wanted
    assert any(burst for _, burst in wanted.values())
