"""The work that a scan is compared with; each run in a process of its own.

`python benchmarks/pace/work.py NAME FILE`. `floor` reads what the rules use and does
the least with it; `duckdb` and `pandas` do by hand what the rules of the calls table
count; `csv` reads the same columns as text and reads the instants; `rddensity` tests
twenty agents' handle times, `rddensity-none` nobody's: that is what to take off.
"""

# ruff: noqa: S608 - queries of constants, no input
from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

CAP_S, WINDOW_S = 420, 15
INSTANTS = ("started_at", "answered_at", "ended_at")


def floor(path: str) -> None:
    """Read every column and add it up: lengths of texts, integers of the others."""
    import polars as pl  # noqa: PLC0415 - one engine a process

    frame = pl.scan_parquet(path)
    frame.select(
        (pl.col(n).str.len_bytes() if t == pl.String else pl.col(n).to_physical())
        .cast(pl.Int64)
        .sum()
        for n, t in frame.collect_schema().items()
    ).collect(engine="streaming")


def csv(path: str) -> None:
    """Read every column as text, and the instants with one explicit format."""
    import polars as pl  # noqa: PLC0415 - one engine a process

    frame = pl.scan_csv(path, infer_schema=False)
    frame.with_columns(
        pl.col(n).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
        for n in INSTANTS
    ).select(
        (pl.col(n).to_physical() if n in INSTANTS else pl.col(n).str.len_bytes()).sum()
        for n in frame.collect_schema().names()
    ).collect(engine="streaming")


_DUCKDB = """
create temp table c as
with w as (
  select *, epoch_ms(started_at) as ms, coalesce(epoch_ms(ended_at), 0) as fin,
    lead(epoch_ms(started_at)) over s as next_at, lead(call_id) over s as next_id,
    lag(case when talk_s < 10 and agent_id is not null then epoch_ms(started_at) end)
      over s as before_at
  from read_parquet('{path}')
  window s as (partition by customer_id order by started_at, call_id)
)
select agent_id, team_id, queue, ended_by, ms, ms // 86400000 as day, talk_s,
  talk_s + hold_s as handle_s, (talk_s < 10)::int as short,
  (talk_s < 10 and ms - before_at <= 1800000)::int as again,
  (next_at - ms <= 86400000)::int as next_24h,
  (next_at - fin <= 900000 and next_id <> call_id)::int as redial,
  (next_at - ms <= 604800000)::int as next_7d
from w where agent_id is not null and talk_s is not null
"""
_AROUND = "c where handle_s between 360 and 479"
_NEAR = "sum((handle_s between 405 and 419)::int)"
_SHORT = "count(*), sum(short), sum(redial), sum(short * redial)"
_BLOCK = "agent_id, count(*), sum(short) from c group by all having sum(short) > 2"
_COUNTS = (
    "select queue, talk_s, day % 2, count(*) from c group by all",
    "select queue, handle_s, day % 2, count(*) from c group by all",
    f"select ms // 600000 t, {_BLOCK}",
    f"select ms // 3600000 t, {_BLOCK}",
    f"select agent_id, queue, {_NEAR}, sum(next_24h) from {_AROUND} group by all",
    f"select agent_id, ended_by, {_NEAR}, count(*) from {_AROUND} group by all",
    f"select agent_id, day, {_NEAR}, count(*) from {_AROUND} group by all",
    f"select agent_id, handle_s // 5, count(*) from {_AROUND} group by all",
    f"select agent_id, sum(handle_s), {_NEAR}, sum(next_7d) from c group by all",
    f"select agent_id, queue, {_SHORT} from c where again = 0 group by all",
    f"select agent_id, day, {_SHORT} from c where again = 0 group by all",
    f"select agent_id, ended_by, {_SHORT} from c where again = 0 group by all",
    "select agent_id, talk_s, count(*) from c where talk_s < 60 group by all",
    "select agent_id, team_id, count(*), min(day), max(day) from c group by all",
)


def duckdb(path: str) -> None:
    """Count in DuckDB, by hand, what the rules count."""
    import duckdb as engine  # noqa: PLC0415 - one engine a process

    with engine.connect() as base:
        base.execute("set threads = 2")
        base.execute("set preserve_insertion_order = false")
        base.execute(_DUCKDB.format(path=path))
        for query in _COUNTS:
            base.execute(query).fetchall()


def pandas(path: str) -> None:
    """Count in pandas, by hand, what the rules count."""
    import pandas as pd  # noqa: PLC0415 - one engine a process

    c = pd.read_parquet(path).sort_values(["customer_id", "started_at", "call_id"])
    at = c["started_at"].astype("int64")
    by = c["customer_id"]
    gap = at.groupby(by).shift(-1) - at
    c["next_24h"], c["next_7d"] = gap <= 86_400_000, gap <= 604_800_000
    other = c["call_id"].groupby(by).shift(-1) != c["call_id"]
    after = gap - (c["talk_s"] + c["hold_s"]) * 1000
    c["short"] = c["talk_s"] < 10
    before = at - at.where(c["short"]).groupby(by).shift(1)
    c["redial"] = (after <= 900_000) & other
    c["again"] = c["short"] & (before <= 1_800_000)
    c["at"], c["day"] = at, at // 86_400_000
    c = c[c["agent_id"].notna() & c["talk_s"].notna()]
    c["handle_s"] = c["talk_s"] + c["hold_s"]
    c["near"] = c["handle_s"].between(CAP_S - WINDOW_S, CAP_S - 1)
    c["both"] = c["short"] & c["redial"]
    for column in ("talk_s", "handle_s"):
        c.groupby(["queue", column, c["day"] % 2]).size()
    for length in (600_000, 3_600_000):
        c.groupby([c["at"] // length, "agent_id"])["short"].agg(["size", "sum"])
    around = c[c["handle_s"].between(CAP_S - 60, CAP_S + 59)]
    for keys in (["agent_id", "queue"], ["agent_id", "ended_by"], ["agent_id", "day"]):
        around.groupby(keys)[["near", "next_24h"]].sum()
        c[~c["again"]].groupby(keys)[["short", "redial", "both"]].sum()
    around.groupby(["agent_id", around["handle_s"] // 5]).size()
    c.groupby("agent_id")[["handle_s", "next_7d"]].sum()
    c[c["talk_s"] < 60].groupby(["agent_id", "talk_s"]).size()
    c.groupby(["agent_id", "team_id"])["day"].agg(["size", "min", "max"])


def rddensity(path: str, *, agents: int = 20) -> None:
    """Test the density of single agents' handle times at the cap, one by one."""
    import polars as pl  # noqa: PLC0415 - one engine a process
    from rddensity import rddensity as tested  # noqa: PLC0415 - as above

    calls = pl.scan_parquet(path).select(
        "agent_id", pl.col("talk_s") + pl.col("hold_s")
    )
    several = calls.group_by("agent_id").agg("talk_s").collect(engine="streaming")
    taken = several.drop_nulls("agent_id").sort("agent_id").head(agents)
    for seconds in taken["talk_s"]:
        tested(seconds.drop_nulls().to_numpy() + 0.5, c=float(CAP_S))


if __name__ == "__main__":
    works = {f.__name__: f for f in (floor, csv, duckdb, pandas, rddensity)}
    works["rddensity-none"] = partial(rddensity, agents=0)
    works[sys.argv[1]](str(Path(sys.argv[2])))
