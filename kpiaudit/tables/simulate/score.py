"""Who can still earn the month's bonus, call by call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.tables.simulate.roster import DAY_S

if TYPE_CHECKING:
    from kpiaudit.tables.simulate.arrivals import Columns
    from kpiaudit.tables.simulate.roster import Floor
    from kpiaudit.tables.simulate.spread import Bools

_EASY, _HOPELESS = 0.5, 1.5
"""Below, the bonus comes by itself; above, nothing helps. In multiples of what the
agent usually does in the time left."""


def bonus_in_reach(floor: Floor, rows: Columns) -> Bools:
    """Say at which answered calls the agent could gain by handling more of them.

    The score is the number of the agent's calls so far in the calendar month.

    Args:
        floor: The staff.
        rows: Answered calls in any order: `agent`, `at`.
    """
    centre = floor.centre
    day = np.clip(rows["at"] // DAY_S, 0, centre.days - 1).astype(np.int64)
    date = centre.epoch_s // DAY_S + day
    month = date.astype("datetime64[D]").astype("datetime64[M]")
    end = (month + 1).astype("datetime64[D]").astype(np.int64)
    per_day = np.bincount(rows["agent"], minlength=centre.agents) / centre.days
    order = np.lexsort((rows["at"], rows["agent"]))
    group = rows["agent"][order] * 12_000 + month.astype(np.int64)[order]
    place = np.arange(len(group))
    start = np.maximum.accumulate(np.where(np.diff(group, prepend=-1) != 0, place, 0))
    done = np.empty(len(group), dtype=np.int64)
    done[order] = place - start
    left = per_day[rows["agent"]] * (end - date)
    missing = centre.calls_bonus - done
    strain = missing / np.maximum(left, 1e-9)
    return np.asarray((missing > 0) & (strain > _EASY) & (strain < _HOPELESS))
