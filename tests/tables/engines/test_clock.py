"""Local days and hours from offsets agree with those that polars finds."""

import narwhals as nw
import polars as pl
import pytest

from kpiaudit.tables.engines.clock import with_clock

HOUR = 3_600_000
START, END = 1_700_000_000_000, 1_790_000_000_000  # 2023 to 2026


@pytest.mark.parametrize(
    "zone",
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",  # half an hour of summer time
        "Africa/Casablanca",  # two changes a month apart
        "Asia/Kathmandu",
    ],
)
def test_days_and_hours_are_those_of_the_zone(zone: str) -> None:
    at = pl.DataFrame({"at_ms": range(START, END, 7 * HOUR // 13)})
    frame = nw.from_native(at.lazy())
    got = with_clock(frame, zone, (START, END)).collect("polars").to_native()
    local = pl.from_epoch("at_ms", time_unit="ms").dt.replace_time_zone("UTC")
    local = local.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    want = at.with_columns(
        day=local.dt.epoch("d").cast(pl.Int64), hour=local.dt.hour().cast(pl.Int64)
    )
    assert got.equals(want)
