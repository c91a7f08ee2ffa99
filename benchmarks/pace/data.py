"""Large centres for timing: vectorised, written piece by piece, the same every time.

Not for accuracy: durations, customers and instants are drawn independently. A few
agents pile their calls up below seven minutes, so that every query of the rules runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

FOLDER = Path(__file__).parents[1] / "data"
PIECE = 1_000_000
FIRST_MS = 1_735_776_000_000  # 2025-01-02
DAY_MS = 86_400_000
A_DAY = 20  # calls of an agent
CAP_S = 420


def folder(calls: int, agents: int, form: str = "parquet") -> Path:
    """Return where the tables of a centre lie."""
    return FOLDER / f"{calls // 1_000_000}m-{agents}-{form}"


def days(calls: int, agents: int) -> int:
    """Return how long a centre of this size was watched."""
    return max(20, calls // (agents * A_DAY))


def piece(calls: int, agents: int, number: int, size: int) -> pl.DataFrame:
    """Return one piece of the calls, in the order of time."""
    draw = np.random.default_rng(number)
    span = days(calls, agents) * DAY_MS
    low, high = (span * at // calls for at in (number * PIECE, number * PIECE + size))
    at = np.sort(draw.integers(low, high, size)) // 1000 * 1000 + FIRST_MS
    who = draw.integers(0, agents, size)
    talk = np.maximum(draw.gamma(1.6, 190.0, size), 3.0).astype(np.int64)
    hold = np.where(draw.random(size) < 0.2, draw.integers(5, 120, size), 0)
    long = (who % 100 == 7) & (talk + hold > CAP_S) & (draw.random(size) < 0.5)
    hold = np.where(long, 0, hold)
    talk = np.where(long, CAP_S - draw.integers(1, 15, size), talk)
    wait = draw.integers(0, 180, size)
    lost = draw.random(size) < 0.04
    some = np.zeros(size, dtype=bool)
    start = number * PIECE
    return pl.DataFrame(
        {
            "call_id": pl.int_range(start, start + size, eager=True),
            "agent_id": who,
            "team_id": who // 20,
            "queue": draw.integers(0, 8, size),
            "customer_id": draw.integers(0, calls // 5, size),
            "started_at": at,
            "answered_at": at + wait * 1000,
            "ended_at": at + (wait + talk + hold) * 1000,
            "talk_s": talk,
            "hold_s": hold,
            "ended_by": np.where(long, 0, draw.integers(0, 5, size)),
            "outcome": lost.astype(np.int64),
            "lost": lost | some,
        }
    ).select(
        _id("call_id", "C", 10),
        pl.when(~pl.col("lost")).then(_id("agent_id", "A", 5)).alias("agent_id"),
        pl.when(~pl.col("lost")).then(_id("team_id", "T", 3)).alias("team_id"),
        _word("queue", ["billing", "orders", "returns", "faults", *"abcd"]),
        _id("customer_id", "K", 8),
        *(pl.col(c).cast(pl.Datetime("ms", "UTC")) for c in ("started_at",)),
        *(
            pl.when(~pl.col("lost")).then(pl.col(c).cast(pl.Datetime("ms", "UTC")))
            for c in ("answered_at", "ended_at")
        ),
        *(
            pl.when(~pl.col("lost")).then(pl.col(c).cast(pl.Int32)).alias(c)
            for c in ("talk_s", "hold_s")
        ),
        pl.when(~pl.col("lost"))
        .then(_word("ended_by", ["agent", *["customer"] * 3, "system"]))
        .alias("ended_by"),
        _word("outcome", ["answered", "abandoned"]),
    )


def _id(name: str, letter: str, width: int) -> pl.Expr:
    digits = pl.col(name).cast(pl.String).str.zfill(width)
    return pl.concat_str([pl.lit(letter), digits]).alias(name)


def _word(name: str, words: list[str]) -> pl.Expr:
    return pl.lit(pl.Series(words)).gather(pl.col(name)).alias(name)


def surveys(calls: pl.DataFrame, number: int) -> pl.DataFrame:
    """Invitations after a quarter of the answered calls, a fifth of them answered."""
    draw = np.random.default_rng([1, number])
    asked = calls.filter(pl.col("agent_id").is_not_null())
    asked = asked.filter(pl.Series(draw.random(asked.height) < 0.25))
    n = asked.height
    reply = pl.Series(draw.random(n) < 0.2)
    soon = pl.Series(draw.integers(60_000, DAY_MS, n)).cast(pl.Duration("ms"))
    score = pl.Series(draw.choice([1, 2, 3, 4, 5], n, p=[0.1, 0.1, 0.15, 0.3, 0.35]))
    return asked.select(
        survey_id=pl.concat_str([pl.lit("S"), pl.col("call_id")]),
        call_id="call_id",
        agent_id="agent_id",
        customer_id="customer_id",
        sent_at=pl.col("ended_at") + pl.duration(minutes=5),
        responded_at=pl.when(reply).then(
            pl.col("ended_at") + pl.duration(minutes=5) + soon
        ),
        score=pl.when(reply).then(score),
    )


def tickets(calls: pl.DataFrame, number: int) -> pl.DataFrame:
    """Tickets opened in a tenth of the calls, with a target of two days."""
    draw = np.random.default_rng([2, number])
    some = calls.filter(pl.col("agent_id").is_not_null())
    some = some.filter(pl.Series(draw.random(some.height) < 0.1))
    n = some.height
    took = pl.Series((draw.gamma(1.5, 1.1, n) * DAY_MS).astype(np.int64) // 1000 * 1000)
    again = pl.Series(draw.random(n) < 0.06)
    back = pl.Series(draw.integers(1, 14, n) * DAY_MS).cast(pl.Duration("ms"))
    done = pl.col("ended_at") + took.cast(pl.Duration("ms"))
    return some.select(
        ticket_id=pl.concat_str([pl.lit("I"), pl.col("call_id")]),
        agent_id="agent_id",
        team_id="team_id",
        customer_id="customer_id",
        category="queue",
        opened_at="ended_at",
        due_at=pl.col("ended_at") + pl.duration(days=2),
        resolved_at=done,
        reopened_at=pl.when(again).then(done + back),
        reopen_count=again.cast(pl.Int64),
    )


def handovers(calls: pl.DataFrame, number: int) -> pl.DataFrame:
    """Orders promised within the half hour, as many as a tenth of the calls."""
    draw = np.random.default_rng([3, number])
    some = calls.filter(pl.col("agent_id").is_not_null()).gather_every(10)
    n = some.height
    ready = pl.Series(draw.normal(-120, 300, n).astype(np.int64) * 1000)
    gone = pl.Series(draw.gamma(2.0, 120, n).astype(np.int64) * 1000)
    promised = pl.col("ended_at") + pl.duration(minutes=30)
    stamped = promised + ready.cast(pl.Duration("ms"))
    return some.select(
        order_id=pl.concat_str([pl.lit("O"), pl.col("call_id")]),
        agent_id="agent_id",
        team_id="team_id",
        placed_at="ended_at",
        promised_at=promised,
        ready_at=stamped,
        handed_over_at=stamped + gone.cast(pl.Duration("ms")),
    )


TABLES = {
    "calls": lambda calls, _: calls,
    "surveys": surveys,
    "tickets": tickets,
    "handovers": handovers,
}


def write(calls: int, agents: int, form: str, tables: list[str]) -> None:
    """Write a centre unless it is there already."""
    place = folder(calls, agents, form)
    absent = [t for t in tables if not (place / f"{t}.{form}").exists()]
    if not absent:
        return
    place.mkdir(parents=True, exist_ok=True)
    writers: dict[str, object] = {}
    for number in range(-(-calls // PIECE)):
        size = min(PIECE, calls - number * PIECE)
        base = piece(calls, agents, number, size)
        for table in absent:
            _append(TABLES[table](base, number), place / f"{table}.{form}", writers)
    for target in writers.values():
        target.close()  # type: ignore[attr-defined]
    for table in absent:
        partial = place / f"{table}.{form}.part"
        partial.replace(place / f"{table}.{form}")


def _append(frame: pl.DataFrame, path: Path, writers: dict[str, object]) -> None:
    part = path.with_name(f"{path.name}.part")
    name = str(path)
    if path.suffix == ".csv":
        new = name not in writers
        if new:  # opening a file that is open already would empty it
            writers[name] = part.open("wb")
        frame.write_csv(
            writers[name],  # type: ignore[arg-type]
            include_header=new,
            datetime_format="%Y-%m-%dT%H:%M:%SZ",
        )
        return
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    if name not in writers:
        writers[name] = pq.ParquetWriter(part, arrow.schema, compression="zstd")
    writers[name].write_table(arrow, row_group_size=250_000)  # type: ignore[attr-defined]


if __name__ == "__main__":
    wanted = sys.argv[4:] or ["calls"]
    write(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], wanted)
