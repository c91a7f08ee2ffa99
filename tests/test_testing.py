import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kpiaudit import testing
from kpiaudit.errors import DetectorError

sys.path.insert(0, str(Path(__file__).parent / "plugin" / "src"))

from acme_kpis import WeekendCalls

DAY_MS = 86_400_000
MONDAY_MS = 1_772_409_600_000  # 2026-03-02


def _centre(seed: int, *, busy: int = 0) -> dict[str, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    agents = np.repeat([f"A{i:02d}" for i in range(20)], 300)
    weekend_rate = np.where(
        np.isin(agents, [f"A{i:02d}" for i in range(busy)]), 0.8, 0.3
    )
    weekend = rng.random(agents.size) < weekend_rate
    day = np.where(
        weekend, 5 + rng.integers(0, 2, agents.size), rng.integers(0, 5, agents.size)
    )
    stamps = MONDAY_MS + (day + 7 * rng.integers(0, 6, agents.size)) * DAY_MS
    frame = pl.DataFrame(
        {
            "call_id": [str(i) for i in range(agents.size)],
            "agent_id": agents,
            "started_at": pl.from_epoch(
                pl.Series(stamps), time_unit="ms"
            ).dt.replace_time_zone("UTC"),
        }
    )
    return {"calls": frame}


def test_the_example_plugin_passes_what_every_detector_must_pass() -> None:
    checked = testing.check_detector(
        WeekendCalls(),
        honest=_centre,
        planted=lambda seed: (_centre(seed, busy=2), ["A00", "A01"]),
        seeds=8,
    )
    assert checked.found == 1.0
    assert checked.accused <= 2


def test_a_detector_that_accuses_the_honest_is_refused() -> None:
    with pytest.raises(DetectorError, match="honest centres"):
        testing.check_detector(
            WeekendCalls(),
            honest=lambda seed: _centre(seed, busy=2),
            planted=lambda seed: (_centre(seed, busy=2), ["A00", "A01"]),
            seeds=5,
        )


def test_a_detector_that_finds_nothing_is_refused() -> None:
    with pytest.raises(DetectorError, match="planted subjects"):
        testing.check_detector(
            WeekendCalls(),
            honest=_centre,
            planted=lambda seed: (_centre(seed), ["A00"]),
            seeds=5,
        )
