"""What the change log of the tickets says about closing and opening again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Found
    from kpiaudit.tables.dataset import Dataset, Frame

STATES = ("state", "status", "incident_state", "ticket_status", "ticket_state")
DONE = ("resolved", "solved", "closed", "done", "complete", "completed")
_COLUMNS = tuple(
    f"ticket_events.{column}" for column in ("ticket_id", "at", "field", "new_value")
)


def usable(data: Dataset) -> bool:
    """Say whether there is a log of changes with tickets, instants and values."""
    return data.has(*_COLUMNS)


def _flag(condition: Any) -> Any:
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int64)


def _lower(name: str) -> Any:
    return nw.col(name).str.to_lowercase()


def _log(data: Dataset) -> Frame:
    """Return the changes with `is_state`, `is_done`, `was_done` and `by_agent`."""
    log = data.table("ticket_events").filter(
        ~nw.col("ticket_id").is_null() & ~nw.col("at").is_null()
    )
    state = _lower("field").is_in(list(STATES))
    was = _lower("old_value").is_in(list(DONE)) if _old(data) else nw.lit(False)
    log = log.with_columns(
        is_state=_flag(state),
        is_done=_flag(state & _lower("new_value").is_in(list(DONE))),
        was_done=_flag(state & was),
    )
    if not data.has("ticket_events.actor_id"):
        return log.with_columns(by_agent=nw.lit(1).cast(nw.Int64))
    people = (
        data.table("tickets")
        .filter(~nw.col("agent_id").is_null())
        .select(actor_id=nw.col("agent_id"))
        .group_by("actor_id")
        .agg(by_agent=nw.len().cast(nw.Int64))
    )
    return log.join(people, on="actor_id", how="left").with_columns(
        by_agent=_flag(nw.col("by_agent") > 0)
    )


def _old(data: Dataset) -> bool:
    return data.has("ticket_events.old_value")


def discovered(data: Dataset) -> Mapping[str, Frame]:
    """Count closures in the log, those of agents, and changes that are work."""
    if not usable(data):
        return {}
    counts = (
        _log(data)
        .group_by("is_state", "is_done", "by_agent")
        .agg(n=nw.len())
        .sort("is_state", "is_done", "by_agent")
    )
    return {"log": counts}


def joined(frame: Frame, data: Dataset, found: Found) -> Frame:
    """Add to each ticket its first closure, its reopening and the work after it.

    The columns are `event_resolved`, `event_reopened`, `event_again`, `event_worked`
    (instants or null; the last work on the ticket as agents went on after closing it),
    `worked` (changes by agents after the reopening, closing aside) and `automatic` (1
    where nobody among the agents closed the ticket).
    """
    if not usable(data) or not found.get("closures_logged"):
        none = nw.lit(None).cast(nw.Int64)
        zero = nw.lit(0).cast(nw.Int64)
        return frame.with_columns(
            event_resolved=none,
            event_reopened=none,
            event_again=none,
            event_worked=none,
            worked=zero,
            automatic=zero,
        )
    log = _log(data)
    at, done = nw.col("at"), nw.col("is_done") == 1
    fresh = done & (nw.col("was_done") == 0)
    log = log.with_columns(
        fresh_at=nw.when(fresh).then(at),
        human_at=nw.when(fresh & (nw.col("by_agent") == 1)).then(at),
    )
    first = log.group_by("ticket_id").agg(
        event_resolved=_least("fresh_at"), human_resolved=_least("human_at")
    )
    later = log.join(first, on="ticket_id", how="left")
    opened = (nw.col("is_state") == 1) & ~done & (at > nw.col("event_resolved"))
    second = (
        later.with_columns(open_at=nw.when(opened).then(at))
        .group_by("ticket_id")
        .agg(event_reopened=_least("open_at"))
    )
    after = later.join(second, on="ticket_id", how="left")
    behind = at > nw.col("event_reopened")
    human = (nw.col("by_agent") == 1) & (nw.col("is_state") == 0)
    work = behind & human
    # Work without opening the ticket again: it was marked as resolved, not resolved.
    on = human & (at > nw.col("event_resolved")) & bool(found.get("work_logged"))
    third = (
        after.with_columns(
            again_at=nw.when(behind & done).then(at),
            on_at=nw.when(on).then(at),
            work=_flag(work),
        )
        .group_by("ticket_id")
        .agg(
            event_again=_least("again_at"),
            event_worked=nw.col("on_at").max(),
            worked=nw.col("work").sum(),
        )
    )
    frame = (
        frame.join(first, on="ticket_id", how="left")
        .join(second, on="ticket_id", how="left")
        .join(third, on="ticket_id", how="left")
    )
    automatic = nw.lit(0).cast(nw.Int64)
    if found.get("closers_known"):
        # Where an agent closed it as well, the log's first closure still decides.
        human = nw.col("human_resolved")
        automatic = _flag(
            ~nw.col("event_resolved").is_null()
            & (human.is_null() | (human > nw.col("event_resolved")))
        )
    return frame.with_columns(automatic=automatic)


def _least(name: str) -> Any:
    return nw.col(name).min()
