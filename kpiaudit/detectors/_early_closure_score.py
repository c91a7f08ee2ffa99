"""Do closures that come back follow the score of a bonus? A further question of agents.

Gaming the clock pays while a number of closures, or a share of them in time, can still
be reached. The score is counted from the agent's earlier closures, all of them: those
without a deadline and those that are set aside count for pay as well.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors import _incentives_schemes as schemes
from kpiaudit.detectors.base import Summary
from kpiaudit.stats import supported

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kpiaudit.detectors.base import Found, Summaries
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome
    from kpiaudit.tables.dataset import Dataset, Frame

WEIGHT = 0.4
"""Of the score's answer beside that of the peers. Closures that come back are few, so
that peers see more of the pattern than the score does; chosen on simulated centres."""
LEAST_KNOWN = 0.2
"""Honest closures near the deadline that come back are rare: two or three per agent
and month say little of one agent, and the spread only together."""
_STANDS_OUT = 0.15
"""Agents with a smaller p-value against peers are no yardstick for the score. They may
have most of all the closures that came back."""
_HOUR_MS, _DAY_H = 3_600_000, 24
_KEYS = ("agent_id", "day", "hour", "clock")
_COUNTS = ("contacts", "of_mean", "met", "trials", "events")


def find(summaries: Summaries, how: str) -> dict[str, Any]:
    """Return the schemes on closures; on those in time where that is known."""
    share = schemes.IN_TIME if how != "none" else frozenset[str]()
    return schemes.find(summaries, kpis=schemes.TICKETS_CLOSED | share)


def cells(closed: Frame, counted: Frame, data: Dataset, found: Found) -> Frame:
    """Count closures by agent, local day and hour, and length of the clock.

    Args:
        closed: Tickets with `done_at`, the first closure, before any is set aside.
        counted: Tickets with the flags of the rule.
        data: The dataset.
        found: With the schemes.

    Returns:
        `contacts` are closures, `of_mean` those with a deadline (or a word on it), of
        these `met` in time: the score. `trials` are closures of which it is known
        whether they came back, `events` those near the deadline that did.
    """
    how = str(found.get("mode", "due"))
    done = nw.col("done_at")
    if how == "due":
        dated = nw.col("due_at") > nw.col("opened_at")
        met = dated & (done <= nw.col("due_at"))
    elif how == "sla":
        dated, met = ~nw.col("sla_met").is_null(), nw.col("sla_met")
    else:
        dated = met = done.is_null()
    zero, one = (nw.lit(each).cast(nw.Int64) for each in (0, 1))
    event = nw.col("bounced" if how == "none" else "near_bounced")
    score = _at(closed, data, found).select(
        *_KEYS[:3],
        clock=zero,
        contacts=one,
        of_mean=_flag(dated),
        met=_flag(met),
        trials=zero,
        events=zero,
    )
    shown = _at(counted.filter(nw.col("known") == 1), data, found).select(
        *_KEYS[:3],
        clock=nw.col("clock").cast(nw.Int64),
        contacts=zero,
        of_mean=zero,
        met=zero,
        trials=one,
        events=event.cast(nw.Int64),
    )
    return (
        nw.concat([score, shown], how="vertical")
        .group_by(*_KEYS)
        .agg(**{name: nw.col(name).sum() for name in _COUNTS})
        .sort(*_KEYS)
    )


def _at(frame: Frame, data: Dataset, found: Found) -> Frame:
    """Return closures until the end of the export with their local day and hour."""
    done, opened = nw.col("done_at"), nw.col("opened_at")
    hour = nw.col("day") * _DAY_H + nw.col("hour")
    hour = hour + (opened % _HOUR_MS + done - opened) // _HOUR_MS
    end = int(found.get("end_ms", 2**62))
    return (
        frame.filter(~done.is_null() & (done <= end))
        .with_columns(closed=hour)
        .with_columns(day=nw.col("closed") // _DAY_H, hour=nw.col("closed") % _DAY_H)
        .with_columns(hour=incentives.clock(data, found, incentives.CLOSURES))
    )


def _flag(condition: Any) -> Any:
    return nw.when(condition).then(nw.lit(1)).otherwise(nw.lit(0)).cast(nw.Int64)


def ask(
    summaries: Summaries, found: Found, ids: NDArray[Any], peers: Outcome
) -> Outcome | None:
    """Test every agent's gradient; None where nothing is paid.

    Args:
        summaries: With the cells, if anything is paid.
        found: With the schemes.
        ids: Sorted ids of the agents.
        peers: The comparison with peers: who stands out there is no peer here.
    """
    rows = summaries.get(incentives.CELLS)
    if rows is None or not len(rows):
        return None
    # Agents all of whose tickets are set aside have a score, and nothing to ask.
    rows = rows.where(np.isin(rows["agent_id"].astype(str), ids.astype(str)))
    named = {
        "agent_id": rows["agent_id"],
        "queue": rows["clock"],
        "seconds": rows["met"],
        **{n: rows[n] for n in ("day", "hour", "contacts", "of_mean")},
        **{n: rows[n] for n in ("trials", "events")},
    }
    with np.errstate(invalid="ignore"):
        ordinary = ~(peers.p_value <= _STANDS_OUT)
    return incentives.ask(
        {incentives.CELLS: Summary(columns=named)},
        found,
        ids,
        learn=ordinary,
        least_known=LEAST_KNOWN,
    )


def followed(peers: Outcome, score: Outcome | None) -> Outcome:
    """Let the score support the comparison with peers; None leaves that as it is.

    Given how many closures of an agent came back, when they fall is tied to nothing
    that the comparison with peers uses.
    """
    if score is None:
        return peers
    more, inner = score.p_value, peers.breaking_point

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        if inner is None:
            return np.full(len(rows), np.nan)
        kept = supported.needed(threshold, more[rows], weight=WEIGHT)
        points = [inner(rows[i : i + 1], float(p)) for i, p in enumerate(kept)]
        return np.concatenate(points) if points else np.zeros(0)

    return replace(
        peers,
        p_value=supported.supported(peers.p_value, more, weight=WEIGHT),
        breaking_point=None if inner is None else breaking_point,
        extra={**peers.extra, **incentives.told(score)},
    )
