"""The incentive gradient: does a pattern rise while a bonus is in reach?

One mechanism for every detector that can count its pattern by agent, day and hour.
Without a table `incentives` or a target in `kpis` nothing is read or asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from kpiaudit.detectors import _incentives_schemes as schemes
from kpiaudit.findings import Evidence, RestsOn
from kpiaudit.frozen import frozen
from kpiaudit.stats import gradient, held

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors._incentives_schemes import Scheme
    from kpiaudit.detectors.base import Found, Row, Summaries, Summary
    from kpiaudit.stats.outcome import BoolArray, Outcome
    from kpiaudit.tables.dataset import Dataset, Frame

CELLS = "standing"
"""Name of the summary of cells; a replica of honest counts has to do without it."""

_MOST_BY_HOUR = 2_000_000


@frozen
class Records:
    """What is counted, in words.

    Args:
        table: Table of the records.
        word: What a record is called, in the plural.
        within: What else is the same in each comparison.
        unaware: What else makes a pattern, and knows nothing of a score.
    """

    table: str
    word: str
    within: str
    unaware: str


CALLS = Records(
    table="calls", word="calls", within="queue", unaware="Habits, seats and queues"
)
CLOSURES = Records(
    table="tickets",
    word="closures",
    within="length of the clock",
    unaware="Habits and hard tickets",
)


def sentences(found: Found, of: Records = CALLS) -> tuple[str, ...]:
    """Say which schemes were found and what they are used for."""
    given: tuple[Scheme, ...] = found.get("schemes", ())
    mine = [s for s in given if s.kind == "agent"]
    out = []
    if mine:
        levels = sorted({(s.kpi, s.threshold, s.period) for s in mine})
        shown = "; ".join(
            f"{kpi} {threshold:g} per {period}" for kpi, threshold, period in levels[:5]
        )
        more = f" and {len(levels) - 5} more" if len(levels) > 5 else ""
        out.append(
            f"Thresholds that pay: {shown}{more}. Each agent's {of.word} while one was "
            "in reach are compared with the agent's others."
        )
    others = sorted({s.kind for s in given} - {"agent"})
    if others:
        out.append(
            f"Thresholds for a {' or a '.join(others)} are not used: what each agent "
            "could still do about them is open."
        )
    return tuple(out)


def clock(data: Dataset, found: Found, of: Records = CALLS) -> Any:
    """Return the hour as which a record is counted: the day's first in large data.

    An hour of an agent and queue holds few records, so that counts by hour are hardly
    fewer than these. A bonus per day can't do without; a longer one can.
    """
    daily = any(s.period == "day" for s in found.get("schemes", ()))
    if daily or data.rows.get(of.table, 0) <= _MOST_BY_HOUR:
        return nw.col("hour")
    return nw.lit(0).cast(nw.Int64)


def cells(
    frame: Frame, data: Dataset, found: Found, *, trials: Any, events: Any
) -> Mapping[str, Frame]:
    """Count by agent, day, hour and queue what the score and the pattern need.

    Args:
        frame: Handled calls with `agent_id`, `talk_s`, `queue`, `day`, `hour`.
        data: The dataset.
        found: With the schemes.
        trials: Expression of 1 for calls that could show the pattern, else 0.
        events: The same for calls that do.
    """
    seconds: Any = nw.col("talk_s") - nw.col("talk_s") % 1.0
    for part in ("hold_s", "wrap_s"):
        if data.has(f"calls.{part}"):
            more = nw.col(part).fill_null(0.0)
            seconds = seconds + more - more % 1.0
    keys = ("agent_id", "day", "hour", "queue")
    return {
        CELLS: frame.filter(~nw.col("day").is_null())
        .with_columns(
            seconds=seconds.cast(nw.Int64),
            tried=trials,
            shown=events,
            hour=clock(data, found),
        )
        .group_by(*keys)
        .agg(
            contacts=nw.len(),
            seconds=nw.col("seconds").sum(),
            trials=nw.col("tried").sum(),
            events=nw.col("shown").sum(),
        )
        .sort(*keys)
    }


def ask(
    summaries: Summaries,
    found: Found,
    ids: Any,
    *,
    learn: BoolArray | None = None,
    least_known: float = 1.0,
) -> Outcome | None:
    """Test every agent's gradient; None where no scheme tells agents what pays.

    Args:
        summaries: With the cells.
        found: With the schemes.
        ids: Sorted ids of the agents.
        learn: Who is a peer, as in `gradient.gradient`; so is `least_known`.
        least_known: See there.
    """
    rows = summaries.get(CELLS)
    names = np.asarray(ids).astype(str)
    targets = schemes.targets(found, names)
    if rows is None or not len(rows) or not targets:
        return None
    counts = [rows[name] for name in sorted(rows.columns)]

    def asked() -> Outcome:
        cells = _cells(rows, names)
        return gradient.gradient(cells, targets, learn=learn, least_known=least_known)

    # Planting leaves these cells alone, and asking takes as long as all the rest; whom
    # it makes no peer any more would change little.
    return held.once("incentives", [names, *counts], asked)


def _cells(rows: Summary, names: Any) -> gradient.Cells:
    _, stratum = np.unique(rows["queue"].astype(str), return_inverse=True)
    subject = np.searchsorted(names, rows["agent_id"].astype(str))
    return gradient.Cells(
        subject=subject.astype(np.int64),
        day=rows.ints("day"),
        hour=rows.ints("hour"),
        stratum=stratum.astype(np.int64),
        contacts=rows.floats("contacts"),
        amount=rows.floats("seconds"),
        trials=rows.ints("trials"),
        events=rows.ints("events"),
        n_subjects=len(names),
        of_mean=rows.floats("of_mean") if "of_mean" in rows else None,
    )


def told(outcome: Outcome | None) -> dict[str, Any]:
    """Return what the wording needs, to be laid into another outcome's `extra`."""
    if outcome is None:
        return {}
    given = {
        "gradient_p": outcome.p_value,
        "gradient_in_reach": outcome.trials,
        "gradient_events": outcome.observed,
    }
    parts = ("odds", "odds_low", "odds_high", "placebo_odds", "elsewhere", "beaten")
    return given | {f"gradient_{part}": outcome.extra[part] for part in parts}


def evidence(row: Row, *, what: str, of: Records = CALLS) -> list[Evidence]:
    """Say how far an agent's pattern followed the score.

    Args:
        row: With the `extra` of the gradient, or without.
        what: The flagged records in words, such as `short calls`.
        of: All of them.
    """
    if "gradient_p" not in row.outcome.extra or np.isnan(row.value("gradient_odds")):
        return []
    p = row.value("gradient_p")
    text = (
        f"95 % interval {row.value('gradient_odds_low'):.1f} to "
        f"{row.value('gradient_odds_high'):.1f}; "
        f"{row.value('gradient_events'):.0f} of {row.value('gradient_in_reach'):.0f} "
        f"while a threshold that pays was in reach, the score counted from the "
        f"{of.word} before; {row.value('gradient_elsewhere'):.0f} {of.word} with it "
        f"met, safe or out of reach, same agent, period and {of.within}."
    )
    other = row.value("gradient_placebo_odds")
    if not np.isnan(other):
        text += f" At the best fitting of those as round that pay nothing: {other:.1f}."
    if row.value("gradient_beaten"):
        text += " That fits clearly better: this does not count."
    elif not np.isnan(p):
        text += f" p = {p:.2g}. {of.unaware} don't know the score."
    return [
        Evidence(
            name=f"{what} while the bonus was in reach, odds against out of reach",
            value=row.value("gradient_odds"),
            unit="ratio",
            text=text,
        )
    ]


def rests_on(row: Row) -> tuple[RestsOn, ...]:
    """Return the columns of the threshold, where the gradient was asked."""
    if "gradient_p" not in row.outcome.extra:
        return ()
    if np.isnan(row.value("gradient_p")):
        return ()
    names = ("incentives.threshold", "kpis.target")
    return tuple(
        RestsOn(column=name, origin=row.data.origin(name), role="threshold")
        for name in names
        if row.data.has(name)
    )
