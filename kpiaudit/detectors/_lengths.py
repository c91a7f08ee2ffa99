"""In which units calls' lengths were written: asked before short ones are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from kpiaudit.tables.engine import flag

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Summary
    from kpiaudit.tables.dataset import Dataset, Frame

_HOURS_S = 3 * 3600
_LONGEST_S = 1e12
_FEWEST = 200  # calls of a site, to tell how its lengths are written
_MOST = 0.6  # of its lengths
HOURS = (
    "half of the calls have a calls.talk_s above three hours, so its unit is not "
    "known: say 'unit: ms' (or another) in a mapping file"
)


def lengths(data: Dataset) -> Frame:
    """Count each site's calls: all, those in whole tens and fifteens, those of hours.

    Calls without any talk are whole multiples of everything, and are left out.
    """
    talk = nw.col("talk_s")
    site = nw.col("site_id").fill_null("") if data.has("calls.site_id") else nw.lit("")
    ms = (talk * 1000).round().cast(nw.Int64)
    return (
        data.table("calls")
        .filter(~nw.col("agent_id").is_null(), talk > 0, talk < _LONGEST_S)
        .with_columns(
            site_id=site,
            tens=flag(ms % 10_000 == 0),
            fifteens=flag(ms % 15_000 == 0),
            hours=flag(talk > _HOURS_S),
        )
        .group_by("site_id")
        .agg(
            calls=nw.len(),
            tens=nw.col("tens").sum(),
            fifteens=nw.col("fifteens").sum(),
            hours=nw.col("hours").sum(),
        )
        .sort("site_id")
    )


def in_hours(rows: Summary) -> bool:
    """Say whether most calls last for hours: their unit is another one."""
    calls = rows.floats("calls").sum()
    return bool(calls >= _FEWEST and rows.floats("hours").sum() > calls / 2)


def coarse(rows: Summary) -> dict[str, Any]:
    """Say where lengths are rounded so that calls of a few seconds can't be told apart.

    Six-second units still tell them apart; units of ten, fifteen or more do not.

    Returns:
        `coarse`, the sites in order, and `all_coarse`: there is no other.
    """
    calls = rows.floats("calls")
    whole = np.maximum(rows.floats("tens"), rows.floats("fifteens"))
    enough = calls >= _FEWEST
    rounded = enough & (whole > _MOST * calls)
    if calls.sum() >= _FEWEST and whole.sum() > _MOST * calls.sum():
        # What is too little to tell is written as it is elsewhere.
        rounded |= ~enough
    sites = [str(site) for site in rows["site_id"][rounded]]
    return {"coarse": sites, "all_coarse": bool(len(rows) and rounded.all())}
