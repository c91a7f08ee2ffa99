"""What damage that is noted does to the findings of a simulated centre.

`python benchmarks/noted.py` plants each sort of damage into the calls of one honest
centre, `--planted` of one with two agents who end calls short and two who end them
before a cap, and prints the findings and the notes.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl

import kpiaudit
from kpiaudit.tables.simulate import Centre, Plant, simulate

_ROW = pl.int_range(pl.len())
_AT = pl.col("started_at")
_PLANTS = (
    Plant(pattern="short-calls", agents=2, strength=0.2),
    Plant(pattern="duration-cap", agents=2, strength=0.5),
)


def _every(step: int, name: str, value: object) -> pl.Expr:
    other = value if isinstance(value, pl.Expr) else pl.lit(value)
    return pl.when(_ROW % step == 0).then(other).otherwise(name).alias(name)


def damaged(calls: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the calls with each sort of damage, by the note that tells of it."""
    days = calls["started_at"].dt.date().unique().sort()
    team, site = (calls[n].drop_nulls().min() for n in ("team_id", "site_id"))
    stamps = [n for n, t in calls.schema.items() if isinstance(t, pl.Datetime)]
    texts = calls.with_columns(pl.col("talk_s").cast(pl.String))
    zoned = pl.col("answered_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
    on = _AT.dt.date() == days[17]
    later = on & (_AT.dt.hour() >= 13)
    at_site = (pl.col("site_id") == site).fill_null(value=False) & (_ROW % 4 == 0)

    def moved(some: pl.Expr, by: timedelta) -> pl.DataFrame:
        return calls.with_columns(
            pl.when(some).then(pl.col(n) + by).otherwise(n).alias(n) for n in stamps
        )

    def off(some: pl.Expr, name: str, minutes: int) -> pl.DataFrame:
        early = _AT - timedelta(minutes=minutes)
        return calls.with_columns(pl.when(some).then(early).otherwise(name).alias(name))

    return {
        "nothing": calls,
        "bucket-agent": calls.with_columns(_every(25, "agent_id", "NO_SERVER")),
        "duplicate-rows": pl.concat([calls, calls.filter(_ROW % 10 == 0)]),
        "duplicate-ids": pl.concat(
            [calls, calls.filter(_ROW % 50 == 0).with_columns(pl.col("talk_s") + 1)]
        ),
        "negative-durations": calls.with_columns(_every(60, "talk_s", -5.0)),
        "impossible-durations": calls.with_columns(_every(60, "talk_s", 1e5)),
        "times-out-of-order": off(_ROW % 40 == 0, "ended_at", 1),
        "spreadsheet-errors": texts.with_columns(_every(50, "talk_s", "#REF!")),
        "missing-hours": calls.filter(~(on & (_AT.dt.hour() == 11))),
        "missing-days": calls.filter(~on & (_AT.dt.date() != days[23])),
        "missing-teams": calls.filter(~(on & pl.col("team_id").eq_missing(team))),
        "cut-off-day": calls.filter((_AT.dt.date() != days[-1]) | (_AT.dt.hour() < 11)),
        "clock-jumps": moved(later, -timedelta(hours=1)),
        "a clock put forward": moved(later, timedelta(minutes=20)),
        "far-off-instants": moved(_ROW % 9000 == 5, timedelta(days=3650)),
        "clock-differs": off(at_site, "ended_at", 5),
        "talk-disagrees": calls.with_columns(_every(3, "talk_s", pl.col("talk_s") + 7)),
        "rounded-durations": calls.with_columns((pl.col("talk_s") / 60).ceil() * 60),
        "unlikely-unit": calls.with_columns(pl.col("talk_s", "hold_s") * 1000),
        "ids-in-e-notation": calls.with_columns(_every(20, "customer_id", "4.92E+11")),
        "unknown-codes": calls.with_columns(_every(20, "ended_by", "robot7")),
        "missing-ids": calls.with_columns(_every(20, "call_id", None)),
        "no-key": calls.drop("call_id"),
        "placeholder-dates": calls.with_columns(answered_at=zoned).with_columns(
            _every(20, "answered_at", "1970-01-01T00:00:00Z")
        ),
    }


def main() -> None:
    """Print a line for each sort of damage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planted", action="store_true")
    parser.add_argument("--seed", type=int, default=77)
    given = parser.parse_args()
    plants = _PLANTS if given.planted else ()
    centre = Centre(
        seed=given.seed, agents=16, days=28, tables=("calls",), plants=plants
    )
    calls = simulate(centre).tables["calls"].sort("started_at")
    with tempfile.TemporaryDirectory() as folder:
        for name, frame in damaged(calls).items():
            path = Path(folder) / "calls.csv"
            frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ")
            report = kpiaudit.scan(calls=path)
            found = ", ".join(f"{f.rule} {f.subject.id}" for f in report.findings)
            notes = ", ".join(f"{n.kind} ({n.count:,})" for n in report.notes)
            print(f"{name}: {found or 'no finding'}; notes: {notes or 'none'}")


if __name__ == "__main__":
    main()
