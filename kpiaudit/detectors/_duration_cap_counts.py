"""The queries of duration-cap: calls around a cutoff, counted on any engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.detectors._duration_cap_cuts import LONGEST_S
from kpiaudit.detectors._duration_cap_search import BLOCK_S, LAST_S
from kpiaudit.tables.engine import flag

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Several

    from kpiaudit.detectors._duration_cap_find import Cap
    from kpiaudit.tables.dataset import Dataset, Frame

BELOW, NEAR, OVER, BEYOND = range(4)
DAY_MS = 86_400_000
IMPOSSIBLE_S = 86_400
"""A longer talk is a slip of the pen or of the unit; it is left out."""
ON_HOLD_S = 30
"""Hold from which a caller who hangs up counts as having left on hold."""


def has(data: Dataset, column: str) -> bool:
    """Say whether the calls have a column."""
    return data.has(f"calls.{column}")


def usable_calls(
    data: Dataset, measure: str, since_day: int | None, frame: Frame | None = None
) -> Frame:
    """Return answered calls of known agents with the columns every query needs.

    Adds `second` (whole seconds of the measure), `ms`, `period` (0 before `since`,
    1 from it on, 1 without it), `parity` of the day (0 without days), and fills
    `queue` and `site_id` with the empty text.

    Args:
        data: The dataset.
        measure: `talk` or `talk+hold`.
        since_day: First day of the later period; None if there is none.
        frame: The calls with further columns; None stands for the table itself.
    """
    frame = (data.table("calls") if frame is None else frame).filter(
        ~nw.col("agent_id").is_null()
        & (nw.col("talk_s") >= 0)
        & (nw.col("talk_s") <= IMPOSSIBLE_S)
    )
    if has(data, "outcome") and not data.answered:
        frame = frame.filter(
            nw.col("outcome").is_null() | (nw.col("outcome") == "answered")
        )
    length = nw.col("talk_s")
    if measure == "talk+hold":
        length = length + nw.col("hold_s").fill_null(0.0)
    text = {
        name: nw.col(name).fill_null("") if has(data, name) else nw.lit("")
        for name in ("queue", "site_id")
    }
    days = has(data, "day")
    period = nw.lit(1)
    if days and since_day is not None:
        period = nw.when(nw.col("day") < since_day).then(0).otherwise(1)
    # By itself, so that what is left out by its length costs nothing more.
    frame = frame.with_columns(second=length.floor().cast(nw.Int64))
    frame = frame.with_columns(
        **text,
        ms=(length * 1000).round(0).cast(nw.Int64),
        # Small: every summary waits for these columns of all rows.
        period=period.cast(nw.Int8),
        parity=((nw.col("day") % 2) if days else nw.lit(0)).cast(nw.Int8),
    )
    return frame.filter(~nw.col("day").is_null()) if days else frame


def seconds(data: Dataset, measure: str, since_day: int | None) -> Frame:
    """Count calls per whole second of a measure of length."""
    keys = ("measure", "period", "site_id", "queue", "second")
    # What is the same in every row is no key: two keys take half the time of five.
    fixed = {
        "period": nw.lit(1).cast(nw.Int64),
        "site_id": nw.lit(""),
        "queue": nw.lit(""),
    }
    if has(data, "day") and since_day is not None:
        del fixed["period"]
    for name in ("site_id", "queue"):
        if has(data, name):
            del fixed[name]
    longest = nw.when(nw.col("second") > LONGEST_S).then(LONGEST_S)
    return (
        usable_calls(data, measure, since_day)
        .with_columns(
            second=longest.otherwise(nw.col("second")).cast(nw.Int64),
            even=flag(nw.col("parity") == 0),
            odd=flag(nw.col("parity") == 1),
        )
        .group_by(*(name for name in keys[1:] if name not in fixed))
        .agg(even=nw.col("even").sum(), odd=nw.col("odd").sum())
        .with_columns(measure=nw.lit(measure), **fixed)
        .select(*keys, "even", "odd")
        .sort(*keys)
    )


def blocks(data: Dataset, measure: str, since_day: int | None) -> Frame:
    """Count each agent's calls in blocks of seconds, for the search agent by agent."""
    keys = ("agent_id", "block_s")
    calls = usable_calls(data, measure, since_day).filter(
        (nw.col("period") == 1) & (nw.col("second") < LAST_S)
    )
    return (
        calls.with_columns(
            block_s=(nw.col("second") - nw.col("second") % BLOCK_S).cast(nw.Int64),
            even=flag(nw.col("parity") == 0),
            odd=flag(nw.col("parity") == 1),
        )
        .group_by(*keys)
        .agg(even=nw.col("even").sum(), odd=nw.col("odd").sum())
        .sort(*keys)
    )


def zone_counts(frame: Frame, keys: Several[str]) -> Frame:
    """Count calls per zone: `below`, `near`, `over`, `beyond`."""
    names = {"below": BELOW, "near": NEAR, "over": OVER, "beyond": BEYOND}
    flags: dict[str, Any] = {n: flag(nw.col("zone") == z) for n, z in names.items()}
    return (
        frame.with_columns(**flags)
        .group_by(*keys)
        .agg(**{name: nw.col(name).sum() for name in names})
    )


def day_counts(frame: Frame) -> Frame:
    """Count an agent's calls per day: `near`, and `trials` of below, near and over."""
    kept = frame.filter(nw.col("zone") != BEYOND).filter(nw.col("period") == 1)
    return (
        kept.with_columns(near=flag(nw.col("zone") == NEAR))
        .group_by("cap_s", "agent_id", "day")
        .agg(near=nw.col("near").sum(), trials=nw.len().cast(nw.Int64))
    )


def causes(frame: Frame, data: Dataset) -> Frame:
    """Count the calls below and near the cutoff by how they left the agent."""
    cause = nw.lit("not recorded")
    if has(data, "ended_by"):
        cause = nw.col("ended_by").fill_null("unknown")
        if has(data, "hold_s"):
            held = (cause == "customer") & (nw.col("hold_s") >= ON_HOLD_S)
            cause = nw.when(held).then(nw.lit("customer on hold")).otherwise(cause)
    if has(data, "transfer_type"):
        blind = (nw.col("transfer_type") == "blind").fill_null(value=False)
        cause = nw.when(blind).then(nw.lit("blind transfer")).otherwise(cause)
    kept = frame.filter(nw.col("zone") <= NEAR).filter(nw.col("period") == 1)
    return (
        kept.with_columns(
            cause=cause,
            below=flag(nw.col("zone") == BELOW),
            near=flag(nw.col("zone") == NEAR),
        )
        .group_by("cap_s", "agent_id", "cause")
        .agg(below=nw.col("below").sum(), near=nw.col("near").sum())
    )


def repeats(frame: Frame, last_ms: int, hours: float) -> Frame:
    """Count calls near the cutoff, and around it, that the customer follows up.

    Args:
        frame: Placed calls, from `with_next_contact`.
        last_ms: End of the export; later windows would not lie inside it.
        hours: Length of the window.
    """
    horizon = int(hours * 3_600_000)
    kept = frame.filter(
        (nw.col("period") == 1)
        & (nw.col("named") == 1)
        & (nw.col("at_ms") <= last_ms - horizon)
    )
    again = (nw.col("next_gap_ms") <= horizon) & (nw.col("next_same") == 0)
    again = again.fill_null(value=False)
    near = nw.col("zone") == NEAR
    flags: dict[str, Any] = {
        "near": flag(near),
        "near_again": flag(near & again),
        "rest": flag(~near),
        "rest_again": flag(~near & again),
    }
    return (
        kept.with_columns(**flags)
        .group_by("cap_s", "agent_id", "queue")
        .agg(**{name: nw.col(name).sum() for name in flags})
    )


def places(frame: Frame, column: str) -> Frame:
    """Count calls around the cutoff per agent and piece of equipment.

    Args:
        frame: Placed calls.
        column: `station` or `trunk`.
    """
    kept = frame.filter(
        (nw.col("zone") != BEYOND) & (nw.col("period") == 1) & ~nw.col(column).is_null()
    )
    return (
        kept.with_columns(
            kind=nw.lit(column),
            place=nw.col(column),
            near=flag(nw.col("zone") == NEAR),
        )
        .group_by("cap_s", "kind", "place", "agent_id")
        .agg(near=nw.col("near").sum(), trials=nw.len().cast(nw.Int64))
    )


def bins(calls: Frame, cap: Cap, width: int, n_bins: int) -> Frame:
    """Count an agent's calls in bins on both sides of the cutoff; 0 begins there.

    Args:
        calls: From `usable_calls`.
        cap: The cutoff; its days' halves are laid over each other.
        width: Of a bin, in seconds.
        n_bins: Bins on each side.
    """
    # shifted up, since integer division of negative numbers differs between engines
    offset = nw.lit(-1)
    for half, cutoff in cap.halves:
        own = nw.col("second") - (cutoff - n_bins * width)
        if half is None:
            offset = own
        else:
            offset = nw.when(nw.col("parity") == half).then(own).otherwise(offset)
    inside = calls.with_columns(offset=offset.cast(nw.Int64)).filter(
        (nw.col("offset") >= 0)
        & (nw.col("offset") < 2 * n_bins * width)
        & (nw.col("period") == 1)
    )
    bin_ = nw.col("offset") - nw.col("offset") % width
    return (
        inside.with_columns(
            cap_s=nw.lit(cap.cap_s).cast(nw.Int64),
            offset_s=(bin_ - n_bins * width).cast(nw.Int64),
        )
        .group_by("cap_s", "agent_id", "offset_s")
        .agg(calls=nw.len().cast(nw.Int64))
    )


def totals(calls: Frame, caps: Mapping[int, int]) -> Frame:
    """Add up each agent's calls and time, and those at or past each cutoff.

    Args:
        calls: From `usable_calls`.
        caps: Cutoff in seconds per `cap_s`.
    """
    parts = []
    for cap_s, cutoff in caps.items():
        past = nw.col("second") >= cutoff
        parts.append(
            calls.filter(nw.col("period") == 1)
            .with_columns(
                past=flag(past),
                past_ms=nw.when(past).then(nw.col("ms")).otherwise(0).cast(nw.Int64),
            )
            .group_by("agent_id")
            .agg(
                calls=nw.len().cast(nw.Int64),
                ms=nw.col("ms").sum(),
                past=nw.col("past").sum(),
                past_ms=nw.col("past_ms").sum(),
            )
            .select(
                nw.lit(cap_s).cast(nw.Int64).alias("cap_s"),
                "agent_id",
                *("calls", "ms", "past", "past_ms"),
            )
        )
    return parts[0] if len(parts) == 1 else nw.concat(parts, how="vertical")
