"""The first stage of short-calls: outages, and numbers that call again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.detectors._short_calls_count import (
    BLOCKS_MS,
    Windows,
    calls,
    flag,
    has,
    whole_number,
)
from kpiaudit.tables.neighbours import Sequence, legs, standing_out
from kpiaudit.tables.sharing import nothing, once, settled

if TYPE_CHECKING:
    from collections.abc import Sequence as Several

    from kpiaudit.tables.dataset import Dataset, Frame


def blocks(data: Dataset, windows: Windows, kinds: Several[str]) -> dict[str, Frame]:
    """Count, per block of time and place, the agents with short calls at once."""
    frame = calls(data, windows).filter(nw.col("handled") == 1)
    dated: dict[str, Frame] = {}
    full: dict[str, Frame] = {}
    for kind in kinds:
        place = nw.lit("") if not kind else nw.col(kind).fill_null("")
        placed = frame.with_columns(place=place)
        # The longer blocks are made of the shorter ones: calls are read once.
        short = once(_in_blocks(placed.with_columns(calls=nw.lit(1)), BLOCKS_MS[0]))
        for number, length in enumerate(BLOCKS_MS):
            name = f"blocks:{kind}:{number}"
            dated[name] = placed.with_columns(start=_start("at_ms", length))
            full[name] = short if not number else _in_blocks(short, length, "start")
    # Three agents with short calls are three short calls: few blocks have them, and
    # only these are counted agent by agent.
    some = settled(
        {
            name: counted.filter(nw.col("short") >= 3)
            .filter(nw.col("short") * 5 >= nw.col("calls"))
            .select("place", "start")
            for name, counted in full.items()
        },
        small=data.small,
    )
    return {name: _by_block(rows, some[name]) for name, rows in dated.items()}


def _start(instant: str, length: int) -> Any:
    return nw.col(instant) - nw.col(instant) % length


def _in_blocks(frame: Frame, length: int, instant: str = "at_ms") -> Frame:
    """Add up `calls` and `short` per place and block of time."""
    return (
        frame.with_columns(start=_start(instant, length))
        .group_by("place", "start")
        .agg(calls=whole_number("calls").sum(), short=nw.col("short").sum())
    )


def _by_block(dated: Frame, some: Frame) -> Frame:
    """Return the blocks in which calls of several agents at once are short."""
    if nothing(some):
        dated = dated.head(0)
    each = (
        dated.join(some, on=["place", "start"], how="inner")
        .group_by("place", "start", "agent_id")
        .agg(calls=nw.len(), short=nw.col("short").sum())
        .with_columns(hit=flag(nw.col("short") > 0), calls=whole_number("calls"))
        .group_by("place", "start")
        .agg(
            calls=nw.col("calls").sum(),
            short=nw.col("short").sum(),
            agents=nw.len(),
            hit=nw.col("hit").sum(),
        )
    )
    several = (nw.col("hit") >= 3) & (nw.col("hit") * 2 >= nw.col("agents"))
    return each.filter(several & (nw.col("short") * 5 >= nw.col("calls"))).sort(
        "place", "start"
    )


def numbers(data: Dataset, windows: Windows, *, least: int, most: int) -> Frame:
    """Count calls and short ones, per agent, of numbers that stand out by either."""
    frame = calls(data, windows).filter(
        (nw.col("handled") == 1) & ~nw.col("customer_id").is_null()
    )
    # Few numbers stand out; only these are counted agent by agent.
    how = Sequence(
        per="customer_id",
        at="at_ms",
        id="call_id",
        mark="short",
        horizon_ms=0,
        then=legs(data),
        order=data.orders.get("calls"),
    )
    some = settled(
        {"": standing_out(frame, how, least=least, most=most)}, small=data.small
    )[""]
    if nothing(some):
        frame = frame.head(0)
    return (
        frame.join(some, on="customer_id", how="inner")
        .group_by("customer_id", "agent_id")
        .agg(calls=nw.len(), short=nw.col("short").sum())
        .with_columns(calls=whole_number("calls"), short=whole_number("short"))
        .sort("customer_id", "agent_id")
    )


def whole(data: Dataset, windows: Windows) -> Frame:
    """Return one row: handled calls, short ones, first and last instant.

    No row without any such call. A group of all rows would do the same, but polars
    keeps them in memory until it is complete.
    """
    frame = calls(data, windows).filter(nw.col("handled") == 1)
    at = nw.col("at_ms") if has(data, "at_ms") else nw.lit(0).cast(nw.Int64)
    return (
        frame.with_columns(at=at)
        .select(
            calls=nw.len(),
            short=nw.col("short").sum(),
            first=nw.col("at").min(),
            last=nw.col("at").max(),
        )
        .filter(nw.col("calls") > 0)
    )
