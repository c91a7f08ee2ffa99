"""In which units calls' lengths were written: asked before short ones are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from kpiaudit.tables.engine import flag

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Summary
    from kpiaudit.tables.dataset import Dataset, Frame

_BRIEF_S = 120  # calls of which rounding is asked: it is these that have to be told
_HOURS_S = 3 * 3600
_DAY_S = 86_400
_LONGEST_S = 1e12
_FEWEST_BRIEF = 50  # of a site, to tell how its lengths are written
_FEWEST = 200  # calls, to tell their unit
_MOST = 0.6  # of the lengths
HOURS = (
    "half of the calls have a calls.talk_s above three hours, so its unit is not "
    "known: say 'unit: ms' (or another) in a mapping file"
)


def lengths(
    data: Dataset, *, since_day: int | None = None, outbound: bool = True
) -> Frame:
    """Count each site's brief calls, those in whole tens and fifteens, and long ones.

    Calls without any talk are whole multiples of everything, and are left out; so are,
    for the speed of it, most others, of which nothing is asked here. The rest has to
    be of the calls that a rule looks at, or its share of them could not be told.

    Args:
        data: The dataset.
        since_day: Calls before this day are left out; None keeps all.
        outbound: Whether outbound calls count.
    """
    talk = nw.col("talk_s")
    site = nw.col("site_id").fill_null("") if data.has("calls.site_id") else nw.lit("")
    ms = (talk * 1000).round().cast(nw.Int64)
    brief = (talk > 0) & (talk <= _BRIEF_S)
    long = (talk > _HOURS_S) & (talk < _LONGEST_S)
    frame = data.table("calls")
    if data.has("calls.outcome") and not data.answered:
        outcome = nw.col("outcome")
        frame = frame.filter(outcome.is_null() | (outcome == "answered"))
    if not outbound and data.has("calls.direction"):
        way = nw.col("direction")
        frame = frame.filter(way.is_null() | (way != "outbound"))
    if since_day is not None and data.has("calls.day"):
        frame = frame.filter(nw.col("day") >= since_day)
    return (
        frame.filter(brief | long, ~nw.col("agent_id").is_null())
        .with_columns(
            site_id=site,
            brief=flag(talk <= _BRIEF_S),
            tens=flag((talk <= _BRIEF_S) & (ms % 10_000 == 0)),
            fifteens=flag((talk <= _BRIEF_S) & (ms % 15_000 == 0)),
            hours=flag(talk > _HOURS_S),
            days=flag(talk > _DAY_S),
        )
        .group_by("site_id")
        .agg(
            brief=nw.col("brief").sum(),
            tens=nw.col("tens").sum(),
            fifteens=nw.col("fifteens").sum(),
            hours=nw.col("hours").sum(),
            days=nw.col("days").sum(),
        )
        .sort("site_id")
    )


def in_hours(rows: Summary, calls: int) -> bool:
    """Say whether most calls last for hours: their unit is another one.

    Args:
        rows: From `lengths`.
        calls: Those of up to a day among which the others were counted.
    """
    total = calls + rows.floats("days").sum()
    return bool(total >= _FEWEST and rows.floats("hours").sum() > total / 2)


def coarse(rows: Summary) -> dict[str, Any]:
    """Say where lengths are rounded so that calls of a few seconds can't be told apart.

    Six-second units still tell them apart; units of ten, fifteen or more do not.

    Returns:
        `coarse`, the sites in order, and `all_coarse`: there is no other.
    """
    brief = rows.floats("brief")
    whole = np.maximum(rows.floats("tens"), rows.floats("fifteens"))
    enough = brief >= _FEWEST_BRIEF
    rounded = enough & (whole > _MOST * brief)
    if brief.sum() >= _FEWEST_BRIEF and whole.sum() > _MOST * brief.sum():
        # What is too little to tell is written as it is elsewhere.
        rounded |= ~enough
    sites = [str(site) for site in rows["site_id"][rounded]]
    return {"coarse": sites, "all_coarse": bool(len(rows) and rounded.all())}
