"""Lazy counts of answered surveys: top scores, and how they came about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

from kpiaudit.frozen import frozen
from kpiaudit.tables.sharing import once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Found
    from kpiaudit.tables.dataset import Dataset, Frame

DAY_MS = 86_400_000
ROUNDED_MS = 60_000
"""Stamps in whole minutes may stand this much before what they follow."""
TROUBLE = ("complaint", "refund")
GIFTS = ("discount", "credit", "refund")
STRATA = ("queue", "contact", "channel", "administered_by")
PLACES = ("device", "address")

COUNTS = (
    "answers",
    "top",
    "milli",
    "top_milli",
    "timed_top",
    "fast_top",
    "timed_other",
    "fast_other",
    "placed_top",
    "owned_top",
    "asked",
    "known_top",
    "troubled",
    "troubled_top",
    "followed_top",
    "gift_top",
    "followed_other",
    "gift_other",
    "signed",
    "signed_top",
    "rare",
    "rare_top",
)


@frozen
class Windows:
    """Lengths and sizes that the counting needs.

    Args:
        fast_ms: An answer within this time of the invitation is a fast one.
        trouble_ms: A complaint or refund within this time after the contact.
        gift_ms: A discount within this time of the answer, before or after.
        customers: A device with so many customers of one agent is the agent's own.
    """

    fast_ms: int
    trouble_ms: int
    gift_ms: int
    customers: int


def flag(condition: Any) -> Any:
    """Return 1 where a condition holds and 0 elsewhere, nulls included."""
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int64)


def answered(data: Dataset) -> Frame:
    """Return the surveys that were answered, about a known agent and not voided."""
    kept = ~nw.col("agent_id").is_null() & ~nw.col("score").is_null()
    if data.has("surveys.voided_at"):
        kept = kept & nw.col("voided_at").is_null()
    return data.table("surveys").filter(kept)


def scale(data: Dataset) -> Frame:
    """Return one row: answers, lowest, highest and number of scores, and the maxima."""
    given = data.has("surveys.score_max")
    best = nw.col("score_max") if given else nw.lit(None, dtype=nw.Float64)
    return (
        answered(data)
        .with_columns(all_of=nw.lit(1), best=best)
        .group_by("all_of")
        .agg(
            answers=nw.len().cast(nw.Int64),
            lowest=nw.col("score").min(),
            highest=nw.col("score").max(),
            levels=nw.col("score").n_unique().cast(nw.Int64),
            best_low=nw.col("best").min(),
            best_high=nw.col("best").max(),
        )
        .sort("all_of")
    )


def answers(data: Dataset, windows: Windows, found: Found) -> Frame:
    """Add to each answer whether it is a top score, and which signs it shows.

    The columns added are the strata (`STRATA`, null as the empty text) and the flags
    `is_top`, `timed` (both instants known), `fast`, `placed` (device or address and
    customer known), `owned`, `known` (whether trouble can be told), `trouble`,
    `followed` (whether discounts can be told) and `gift`.
    """
    frame = _topped(answered(data), data, found)
    frame = _call(frame, data)
    frame = _fast(frame, data, windows)
    frame = _owned(frame, data, windows)
    return _outcomes(frame, data, windows)


def _topped(frame: Frame, data: Dataset, found: Found) -> Frame:
    best: Any = nw.lit(float(found.get("top", "inf")))
    if data.has("surveys.score_max"):
        given = nw.col("score_max")
        best = nw.when(given.is_null()).then(best).otherwise(given)
    texts = {
        name: nw.col(name).fill_null("") if data.has(f"surveys.{name}") else nw.lit("")
        for name in ("channel", "administered_by")
    }
    return frame.with_columns(is_top=flag(nw.col("score") >= best), **texts)


def _call(frame: Frame, data: Dataset) -> Frame:
    """Add what the call says: queue, channel, end, and the agent's complaint flag."""
    no: dict[str, Any] = {
        "queue": nw.lit(""),
        "contact": nw.lit(""),
        "ended_ms": nw.lit(None, dtype=nw.Int64),
        "noted": nw.lit(None, dtype=nw.Int64),
    }
    keys = ("surveys.call_id", "calls.call_id", "calls.agent_id")
    if not data.has(*keys):
        return frame.with_columns(**no)
    whole = {
        "queue": nw.col("queue").max(),
        "contact": nw.col("channel").max(),
        "ended_ms": nw.col("ended_at").max(),
        "noted": nw.col("noted").max(),
    }
    source = {"contact": "channel", "ended_ms": "ended_at", "noted": "complaint"}
    there = {k: v for k, v in whole.items() if data.has(f"calls.{source.get(k, k)}")}
    calls = data.table("calls").filter(
        ~nw.col("call_id").is_null() & ~nw.col("agent_id").is_null()
    )
    if "noted" in there:
        said = nw.col("complaint")
        calls = calls.with_columns(
            noted=nw.when(~said.is_null()).then(flag(said)).cast(nw.Int64)
        )
    if there:
        calls = calls.group_by("call_id", "agent_id").agg(**there)
        frame = frame.join(calls, on=["call_id", "agent_id"], how="left")
    absent = {k: v for k, v in no.items() if k not in there}
    frame = frame.with_columns(**absent) if absent else frame
    return frame.with_columns(
        nw.col("queue").fill_null(""), nw.col("contact").fill_null("")
    )


def _fast(frame: Frame, data: Dataset, windows: Windows) -> Frame:
    if not data.has("surveys.responded_at"):
        return frame.with_columns(timed=flag_none(), fast=flag_none())
    begin: Any = nw.col("ended_ms")
    if data.has("surveys.sent_at"):
        sent = nw.col("sent_at")
        begin = nw.when(sent.is_null()).then(begin).otherwise(sent)
    after = nw.col("responded_at") - begin
    # Nobody answers before being asked: there a clock is wrong, and no speed is known.
    sane = after >= -ROUNDED_MS
    return frame.with_columns(
        timed=flag(sane), fast=flag(sane & (after <= windows.fast_ms))
    )


def flag_none() -> Any:
    """Return a flag that is set nowhere."""
    return nw.lit(0).cast(nw.Int64)


def _owned(frame: Frame, data: Dataset, windows: Windows) -> Frame:
    """Mark answers from a device or address that serves several of one agent's."""
    frame = frame.with_columns(placed=flag_none(), owned=flag_none())
    if not data.has("surveys.customer_id"):
        return frame
    for place in PLACES:
        if not data.has(f"surveys.{place}"):
            continue
        there = ~nw.col(place).is_null() & ~nw.col("customer_id").is_null()
        mine = (
            frame.filter(there)
            .group_by(place, "agent_id")
            .agg(mine=nw.col("customer_id").n_unique().cast(nw.Int64))
        )
        everybody = mine.group_by(place).agg(everybody=nw.col("mine").sum())
        # Half of its customers: a kiosk or a network serves other agents' as well.
        own = (
            mine.join(everybody, on=place, how="inner")
            .filter(
                (nw.col("mine") >= windows.customers)
                & (nw.col("mine") * 2 >= nw.col("everybody"))
            )
            .select(place, "agent_id", "mine")
        )
        frame = (
            frame.join(own, on=[place, "agent_id"], how="left")
            .with_columns(
                placed=flag((nw.col("placed") == 1) | there),
                owned=flag((nw.col("owned") == 1) | ~nw.col("mine").is_null()),
            )
            .drop("mine")
        )
    return frame


def _outcomes(frame: Frame, data: Dataset, windows: Windows) -> Frame:
    """Mark answers of customers who complained, or who were given something."""
    noted = nw.col("noted")
    frame = frame.with_columns(
        known=flag(~noted.is_null()),
        trouble=flag(noted == 1),
        followed=flag_none(),
        gift=flag_none(),
    )
    if not data.has(
        "surveys.customer_id", "outcomes.customer_id", "outcomes.kind", "outcomes.at_ms"
    ):
        return frame
    begin: Any = nw.col("ended_ms")
    for column in ("sent_at", "responded_at"):
        if data.has(f"surveys.{column}"):
            begin = nw.when(begin.is_null()).then(nw.col(column)).otherwise(begin)
    frame = frame.with_columns(begin_ms=begin)
    named = ~nw.col("customer_id").is_null()
    kinds: list[tuple[str, str, tuple[str, ...], str, int, int]] = [
        ("known", "trouble", TROUBLE, "begin_ms", 0, windows.trouble_ms)
    ]
    if data.has("surveys.responded_at"):
        kinds.append(
            (
                "followed",
                "gift",
                GIFTS,
                "responded_at",
                -windows.gift_ms,
                windows.gift_ms,
            )
        )
    for known, name, which, instant, low, high in kinds:
        hit = _near(frame, data, which, instant, (low, high))
        frame = (
            frame.join(hit, on="survey_id", how="left")
            .with_columns(
                flag((nw.col(known) == 1) | (named & ~nw.col(instant).is_null())).alias(
                    known
                ),
                flag((nw.col(name) == 1) | ~nw.col("hit").is_null()).alias(name),
            )
            .drop("hit")
        )
    return frame


def _near(
    frame: Frame,
    data: Dataset,
    kinds: tuple[str, ...],
    instant: str,
    window: tuple[int, int],
) -> Frame:
    """Return the surveys whose customer had such an outcome near an instant."""
    events = (
        data.table("outcomes")
        .filter(nw.col("kind").is_in(list(kinds)) & ~nw.col("customer_id").is_null())
        .select("customer_id", happened=nw.col("at_ms"))
    )
    gap = nw.col("happened") - nw.col(instant)
    return (
        frame.filter(~nw.col("customer_id").is_null())
        .select("survey_id", "customer_id", instant)
        .join(events, on="customer_id", how="inner")
        .filter((gap >= window[0]) & (gap <= window[1]))
        .group_by("survey_id")
        .agg(hit=nw.len().cast(nw.Int64))
    )


def summaries(data: Dataset, windows: Windows, found: Found) -> Mapping[str, Frame]:
    """Return every summary that the test and the wording draw on."""
    frame = once(_counted(answers(data, windows, found)))
    out = {"counts": _totals(frame, ("agent_id", *STRATA))}
    if data.has("surveys.day"):
        dated = frame.filter(~nw.col("day").is_null())
        out["days"] = _totals(dated, ("agent_id", "day"))
    return out


def _counted(frame: Frame) -> Frame:
    top, other = nw.col("is_top"), 1 - nw.col("is_top")
    milli = (nw.col("score") * 1000.0).round().cast(nw.Int64)
    signed = flag(nw.col("fast") + nw.col("owned") + nw.col("gift") > 0)
    rare = flag(nw.col("owned") + nw.col("gift") > 0)
    return frame.with_columns(
        answers=nw.lit(1).cast(nw.Int64),
        top=top,
        milli=milli,
        top_milli=milli * top,
        timed_top=nw.col("timed") * top,
        fast_top=nw.col("fast") * top,
        timed_other=nw.col("timed") * other,
        fast_other=nw.col("fast") * other,
        placed_top=nw.col("placed") * top,
        owned_top=nw.col("owned") * top,
        asked=nw.col("known"),
        troubled=nw.col("trouble"),
        troubled_top=nw.col("trouble") * top,
        known_top=nw.col("known") * top,
        followed_top=nw.col("followed") * top,
        gift_top=nw.col("gift") * top,
        followed_other=nw.col("followed") * other,
        gift_other=nw.col("gift") * other,
        signed=signed,
        signed_top=signed * top,
        rare=rare,
        rare_top=rare * top,
    )


def _totals(frame: Frame, keys: tuple[str, ...]) -> Frame:
    sums = {name: nw.col(name).cast(nw.Int64).sum() for name in COUNTS}
    return frame.group_by(*keys).agg(**sums).sort(*keys)
