"""What the log of surveys says of each call: invited, ruled out, answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

if TYPE_CHECKING:
    from kpiaudit.tables.dataset import Dataset, Frame

BY_AGENT = ("agent", "advisor", "operator", "rep", "self")
"""Values of `suppressed_by` that name the agent and no system rule."""

NOT_SENT = ("suppressed", "not_offered", "not_sent", "cancelled")


def flag(condition: Any) -> Any:
    """Return 1 where a condition holds and 0 elsewhere, nulls included."""
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int64)


def total(name: str) -> Any:
    """Return the sum of an integer column."""
    return nw.col(name).cast(nw.Int64).sum()


def invitations(data: Dataset) -> Frame:
    """Return one row per call in the survey log, with what became of it.

    The columns are `invited`, `ruled_out` (no invitation, by a rule that the subject
    does not write), `answers`, `score_milli` and `score_sq`. A row that the log itself
    calls suppressed is no invitation; whose doing that was is believed only where a
    system says so.
    """
    there = {name: data.has(f"surveys.{name}") for name in _LOG}
    one = nw.lit(value=True)
    kept, system = ~one, ~one
    if there["eligible"]:
        closed = ~nw.col("eligible")
        kept = kept | closed
        if data.independent("surveys.eligible"):
            system = system | closed
    if there["suppressed_by"]:
        by = nw.col("suppressed_by")
        named = ~by.is_null()
        mine = by.str.to_lowercase().is_in(list(BY_AGENT))
        if there["agent_id"]:
            mine = mine | (by == nw.col("agent_id")).fill_null(value=False)
        kept = kept | named
        if data.independent("surveys.suppressed_by"):
            system = (system | named) & ~(named & mine)
    if there["send_status"]:
        kept = kept | nw.col("send_status").str.to_lowercase().is_in(list(NOT_SENT))
    answered = _answered(data)
    if there["sent_at"]:
        kept = kept | (nw.col("sent_at").is_null() & ~answered)
    milli = (nw.col("score") * 1000.0).round() if there["score"] else nw.lit(0.0)
    scored = ~nw.col("score").is_null() if there["score"] else ~one
    return (
        data.table("surveys")
        .filter(~nw.col("call_id").is_null() & ~nw.col("survey_id").is_null())
        .with_columns(kept=flag(kept), system=flag(system), scored=flag(scored))
        .with_columns(
            sent=1 - nw.col("kept"),
            milli=nw.when(nw.col("scored") == 1)
            .then(milli)
            .otherwise(nw.lit(0.0))
            .cast(nw.Int64),
        )
        .with_columns(sq=nw.col("milli") * nw.col("milli"))
        .group_by("call_id")
        .agg(
            invited=nw.col("sent").max(),
            ruled_out=nw.col("system").max(),
            answers=total("scored"),
            score_milli=total("milli"),
            score_sq=total("sq"),
        )
    )


_LOG = ("eligible", "suppressed_by", "agent_id", "send_status", "sent_at", "score")


def _answered(data: Dataset) -> Any:
    answered = ~nw.lit(value=True)
    for name in ("score", "responded_at"):
        if data.has(f"surveys.{name}"):
            answered = answered | ~nw.col(name).is_null()
    return answered


def log(data: Dataset) -> Frame:
    """Count the log's rows and those without an answer; lowest and highest score."""
    scores = {}
    if data.has("surveys.score"):
        score = nw.col("score")
        scores = {"score_low": score.min(), "score_high": score.max()}
    return (
        data.table("surveys")
        .with_columns(open=1 - flag(_answered(data)))
        .select(rows=nw.len(), unanswered=total("open"), **scores)
    )
