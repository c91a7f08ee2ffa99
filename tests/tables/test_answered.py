"""Whether the outcome of a call has to be read at all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest

from kpiaudit.detectors import _duration_cap_counts, _lengths, _short_calls_count
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load

if TYPE_CHECKING:
    from kpiaudit.tables.dataset import Dataset

WINDOWS = _short_calls_count.Windows(
    short_s=10.0, next_s=20.0, redial_ms=900_000, episode_ms=1_800_000
)


def _loaded(agent: str | None, talk: float | None, outcome: str | None) -> Dataset:
    """Load calls that were answered, those that nobody took, and one more."""
    n = 60
    begun = datetime(2026, 3, 2, 9)  # noqa: DTZ001 - in the zone of the scan
    last = n - 1
    frame = pl.DataFrame(
        {
            "call_id": [f"K{i}" for i in range(n)],
            "agent_id": [f"A{i % 4}" if i % 7 else None for i in range(last)] + [agent],
            "customer_id": [f"C{i % 20}" for i in range(n)],
            "started_at": [begun + timedelta(minutes=5 * i) for i in range(n)],
            "talk_s": [float(5 * i) if i % 7 else None for i in range(last)] + [talk],
            "outcome": ["answered" if i % 7 else "abandoned" for i in range(last)]
            + [outcome],
        }
    )
    return load(tables={"calls": [frame]})


@pytest.mark.parametrize(
    ("agent", "talk", "outcome", "answered"),
    [
        ("A1", 7.0, "answered", True),
        ("A1", 7.0, None, True),
        ("A1", None, "abandoned", True),
        (None, 7.0, "abandoned", True),
        ("A1", 7.0, "abandoned", False),
    ],
)
def test_outcomes_are_read_where_somebody_talked_in_a_lost_call(
    agent, talk, outcome, answered
) -> None:
    data = _loaded(agent, talk, outcome)
    assert data.answered == answered
    frames = {
        "short-calls": _short_calls_count.calls(data, WINDOWS),
        "duration-cap": _duration_cap_counts.usable_calls(data, "talk", None),
        "lengths": _lengths.lengths(data),
    }
    plans = {name: frame.to_native().explain() for name, frame in frames.items()}
    assert {'"outcome"' in plans[n] for n in ("duration-cap", "lengths")} == {
        not answered
    }
    calls = frames["short-calls"].select("call_id", "handled").to_native()
    assert ('"outcome"' in calls.explain()) == (not answered)
    handled = collect({"": frames["duration-cap"].select("call_id")})[""]["call_id"]
    kept = agent is not None and talk is not None and outcome != "abandoned"
    assert ("K59" in handled) == kept
    flagged = calls.filter(pl.col("handled") == 1).collect()["call_id"]
    assert flagged.to_list() == handled.to_list()
