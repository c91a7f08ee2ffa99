"""How often notes on missing hours and far instants are told of honest tables.

`python benchmarks/notes.py` draws counts of rows by day and hour, by families of honest
centres, and asks the same code that a scan asks. A table is honest if nothing is
missing in it: it is quiet at times, has holidays and strays, grows and shrinks.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np
import polars as pl

from kpiaudit.tables.engine import collect
from kpiaudit.tables.missing import by_hour, days

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FIRST = 20_514  # 2026-03-02, a Monday
PER_DAY = (50, 250, 1_000, 5_000)
LENGTHS = (28, 91, 364)
FAMILIES = ("plain", "around the clock", "holidays", "bursts", "seasonal", "strays")


def rates(family: str, n_days: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Return relative expected rows, shape (n_days, 24)."""
    hour = np.arange(24) + 0.5
    day = np.exp(-(((hour - 10.5) / 2.0) ** 2)) + 0.8 * np.exp(
        -(((hour - 15.0) / 2.5) ** 2)
    )
    if family == "around the clock":
        day += 0.15
    else:
        day = np.where((hour > 8) & (hour < 19), day + 0.3, 0.0)
    week = draw.choice([1.0, 1.0, 1.0, 0.5, 0.0], size=2, p=[0.2, 0.2, 0.2, 0.2, 0.2])
    weekly = np.array([1.1, 1.0, 1.0, 1.0, 0.95, *np.sort(week)[::-1]])
    level = weekly[np.arange(n_days) % 7] * np.exp(0.15 * draw.standard_normal(n_days))
    if family == "holidays":
        off = draw.choice(n_days, size=max(2, n_days // 30), replace=False)
        level[off] *= draw.uniform(0.03, 0.3, len(off))
    if family == "seasonal":
        level *= np.exp(draw.uniform(0.5, 1.2) * np.sin(np.arange(n_days) / n_days * 6))
    found = level[:, None] * day[None, :]
    if family == "bursts":
        found *= np.exp(0.5 * draw.standard_normal(found.shape))
    return np.asarray(found / found.sum() * n_days)


def table(family: str, per_day: int, n_days: int, seed: int) -> pl.LazyFrame:
    """Return the rows of an honest table, with `day`, `hour` and `at_ms`."""
    draw = np.random.default_rng([seed, FAMILIES.index(family), per_day, n_days])
    count = draw.poisson(rates(family, n_days, draw) * per_day)
    if family == "strays":  # calls out of hours, and a few trials before the opening
        count += draw.random(count.shape) < 0.02
    day, hour = np.nonzero(count)
    times = count[day, hour]
    day, hour = (np.repeat(x, times) for x in (day, hour))
    if family == "strays":
        early = draw.integers(1, 45, 2)
        day = np.concatenate((day, -early))
        hour = np.concatenate((hour, [10, 11]))
    frame = pl.DataFrame({"day": day + FIRST, "hour": hour})
    return frame.with_columns(
        at_ms=(pl.col("day") * 24 + pl.col("hour")) * 3_600_000
    ).lazy()


def backlog(per_day: int, n_days: int, seed: int) -> pl.LazyFrame:
    """Return tickets closed in a period, by when they were opened: some long before."""
    draw = np.random.default_rng([seed, 99, per_day, n_days])
    n = draw.poisson(per_day * n_days)
    age = np.exp(draw.normal(0.5, 1.3, n))  # days; one in two hundred above 50
    day = (draw.uniform(0, n_days, n) - age).astype(np.int64) + FIRST
    frame = pl.DataFrame({"day": day, "hour": draw.integers(8, 19, n)})
    return frame.with_columns(
        at_ms=(pl.col("day") * 24 + pl.col("hour")) * 3_600_000
    ).lazy()


def kinds(table_: str, frame: pl.LazyFrame) -> Iterator[str]:
    """Yield the kinds of the notes on a table."""
    hours = collect({"": by_hour(nw.from_native(frame))})[""]
    for note in days(table_, hours):
        yield note.kind


def main() -> None:
    """Print the share of tables with each note, by family and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=200, help="of each sort")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--only", default="", help="families whose name holds this")
    given = parser.parse_args()
    shown = ("missing-hours", "far-off-instants", "missing-days", "cut-off-day")
    print("| honest tables | rows a day | tables |", " | ".join(shown), "|")
    print("|---|---|---|" + "---|" * len(shown))
    families = (*FAMILIES, "backlog of tickets")
    for family in (f for f in families if given.only in f):
        for per_day in PER_DAY:
            met = dict.fromkeys(shown, 0)
            made = 0
            for i in range(given.tables):
                n_days = LENGTHS[i % len(LENGTHS)]
                if per_day * n_days > 500_000:
                    n_days = 91
                made += 1
                if family == "backlog of tickets":
                    found = kinds("tickets", backlog(per_day, n_days, given.seed + i))
                else:
                    frame = table(family, per_day, n_days, given.seed + i)
                    found = kinds("calls", frame)
                for kind in set(found):
                    met[kind] = met.get(kind, 0) + 1
            shares = " | ".join(f"{met[k] / made:.1%}" for k in shown)
            print(f"| {family} | {per_day:,} | {made} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
