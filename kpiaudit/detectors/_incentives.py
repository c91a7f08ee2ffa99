"""The incentive gradient: does a pattern rise while a bonus is in reach?

One mechanism for every detector that can count its pattern by agent, day and hour.
Without a table `incentives` or a target in `kpis` nothing is read or asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from kpiaudit.findings import Evidence, RestsOn
from kpiaudit.frozen import frozen
from kpiaudit.stats import gradient, held, standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kpiaudit.detectors.base import Found, Row, Summaries, Summary
    from kpiaudit.stats.outcome import Outcome
    from kpiaudit.tables.dataset import Dataset, Frame

CALLS_HANDLED = frozenset(
    {"calls_handled", "handled_calls", "calls_answered", "calls", "contacts_handled"}
)
"""KPIs that count an agent's calls, as tables call them."""
HANDLE_TIME = frozenset(
    {"average_handle_time", "average_handling_time", "handle_time", "aht"}
)
"""KPIs that are a mean of seconds per call."""

CELLS = "standing"
"""Name of the summary of cells; a replica of honest counts has to do without it."""

_DAY_MS = 86_400_000
_EVER = 2**31
_ALWAYS = _EVER * _DAY_MS
_PERIODS = frozenset({"day", "week", "month", "quarter"})
_MOST_BY_HOUR = 2_000_000


@frozen
class Scheme:
    """What was paid for, or agreed as a target.

    Args:
        kpi: Its name, in lower case with underscores.
        kind: `agent`, or whatever else the table says.
        subject: Id of the subject; empty for everybody.
        threshold: Value from which it is paid.
        above: It is paid above the threshold.
        period: `day`, `week`, `month`, `quarter` or `span`.
        first: First day, since 1970-01-01.
        last: The day after the last one.
    """

    kpi: str
    kind: str
    subject: str
    threshold: float
    above: bool
    period: str
    first: int
    last: int


def discover(data: Dataset) -> dict[str, Frame]:
    """Return the rows of `incentives` and `kpis` that state a threshold."""
    if not data.has("calls.day", "calls.hour"):
        return {}
    out: dict[str, Frame] = {}
    if data.has("incentives.kpi", "incentives.threshold"):
        out["schemes"] = _rows(
            data,
            "incentives",
            ("kpi", "subject_kind", "subject_id", "direction", "period"),
            "threshold",
            ("valid_from", "valid_to"),
        )
    if data.has("kpis.kpi", "kpis.target", "kpis.period_start", "kpis.period_end"):
        out["targets"] = _rows(
            data,
            "kpis",
            ("kpi", "subject_kind", "subject_id"),
            "target",
            ("period_start", "period_end"),
        )
    return out


def _rows(
    data: Dataset,
    table: str,
    texts: Iterable[str],
    value: str,
    span: tuple[str, str],
) -> Frame:
    """Return a small table without nulls, its span as `first` and `last`."""

    def column(name: str, empty: Any) -> Any:
        if not data.has(f"{table}.{name}"):
            return nw.lit(empty)
        return nw.col(name).fill_null(empty)

    ends = {
        "first": column(span[0], -_ALWAYS).cast(nw.Int64),
        "last": column(span[1], _ALWAYS).cast(nw.Int64),
    }
    chosen = {name: column(name, "") for name in texts}
    names = (*chosen, "threshold", "first", "last")
    return (
        data.table(table)
        .filter(~nw.col("kpi").is_null() & ~nw.col(value).is_null())
        .select(threshold=nw.col(value).cast(nw.Float64), **chosen, **ends)
        .group_by(*names)
        .agg(rows=nw.len())
        .sort(*names)
    )


def find(summaries: Summaries, *, kpis: Iterable[str]) -> dict[str, Any]:
    """Return the schemes on these KPIs, as a part of what the first stage found."""
    wanted = frozenset(kpis)
    schemes = [
        *_read(summaries.get("schemes"), span=False),
        *_read(summaries.get("targets"), span=True),
    ]
    chosen = tuple(s for s in schemes if s.kpi in wanted)
    return {"schemes": chosen} if chosen else {}


def _read(rows: Summary | None, *, span: bool) -> list[Scheme]:
    out: list[Scheme] = []
    if rows is None:
        return out
    for i in range(len(rows)):
        kpi = re.sub(r"[^a-z0-9]+", "_", str(rows["kpi"][i]).lower()).strip("_")
        period = "span" if span else str(rows["period"][i] or "month").lower()
        side = "" if span else str(rows["direction"][i]).lower()
        first, last = (int(rows.ints(name)[i]) for name in ("first", "last"))
        threshold = float(rows.floats("threshold")[i])
        if not threshold > 0 or (period not in _PERIODS and not span):
            continue
        if span and _ALWAYS in (-first, last):
            continue
        out.append(
            Scheme(
                kpi=kpi,
                kind=str(rows["subject_kind"][i]).lower() or "agent",
                subject=str(rows["subject_id"][i]),
                threshold=threshold,
                above=side == "above" if side else kpi not in HANDLE_TIME,
                period=period,
                first=_local_day(first),
                last=_local_day(last),
            )
        )
    return out


def _local_day(instant_ms: int) -> int:
    """Return the day whose local midnight is nearest, in zones up to twelve hours off.

    Schemes begin and end at midnight somewhere; the last second of a day is the end.
    """
    return (instant_ms + _DAY_MS // 2) // _DAY_MS


def sentences(found: Found) -> tuple[str, ...]:
    """Say which schemes were found and what they are used for."""
    schemes: tuple[Scheme, ...] = found.get("schemes", ())
    mine = [s for s in schemes if s.kind == "agent"]
    out = []
    if mine:
        levels = sorted({(s.kpi, s.threshold, s.period) for s in mine})
        shown = "; ".join(
            f"{kpi} {threshold:g} per {period}" for kpi, threshold, period in levels[:5]
        )
        more = f" and {len(levels) - 5} more" if len(levels) > 5 else ""
        out.append(
            f"Thresholds that pay: {shown}{more}. Each agent's calls while one was in "
            "reach are compared with the agent's others."
        )
    others = sorted({s.kind for s in schemes} - {"agent"})
    if others:
        out.append(
            f"Thresholds for a {' or a '.join(others)} are not used: what each agent "
            "could still do about them is open."
        )
    return tuple(out)


def clock(data: Dataset, found: Found) -> Any:
    """Return the hour as which a call is counted: the day's first in large data.

    An hour of an agent and queue holds few calls, so that counts by hour are hardly
    fewer than the calls. A bonus per day can't do without; a longer one can.
    """
    daily = any(s.period == "day" for s in found.get("schemes", ()))
    if daily or data.rows.get("calls", 0) <= _MOST_BY_HOUR:
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


def ask(summaries: Summaries, found: Found, ids: Any) -> Outcome | None:
    """Test every agent's gradient; None where no scheme tells agents what pays.

    Args:
        summaries: With the cells.
        found: With the schemes.
        ids: Sorted ids of the agents.
    """
    rows = summaries.get(CELLS)
    names = np.asarray(ids).astype(str)
    targets = _targets(found, names)
    if rows is None or not len(rows) or not targets:
        return None
    counts = [rows[name] for name in sorted(rows.columns)]

    def asked() -> Outcome:
        return _gradient(rows, names, targets)

    # Planting leaves these cells alone, and asking takes as long as all the rest.
    return held.once("incentives", [names, *counts], asked)


def _gradient(rows: Summary, names: Any, targets: list[standing.Target]) -> Outcome:
    _, stratum = np.unique(rows["queue"].astype(str), return_inverse=True)
    subject = np.searchsorted(names, rows["agent_id"].astype(str))
    return gradient.gradient(
        gradient.Cells(
            subject=subject.astype(np.int64),
            day=rows.ints("day"),
            hour=rows.ints("hour"),
            stratum=stratum.astype(np.int64),
            contacts=rows.floats("contacts"),
            amount=rows.floats("seconds"),
            trials=rows.ints("trials"),
            events=rows.ints("events"),
            n_subjects=len(names),
        ),
        targets,
    )


def _targets(found: Found, names: Any) -> list[standing.Target]:
    """Return one target per threshold, with all agents for whom it holds."""
    agents: dict[tuple[Any, ...], Any] = {}
    for s in found.get("schemes", ()):
        if s.kind != "agent":
            continue
        # Targets reported month after month have spans, each with its own.
        key = (s.first, s.last, s.period, s.threshold, s.above, s.kpi in HANDLE_TIME)
        mask = agents.setdefault(key, np.zeros(len(names), dtype=np.bool_))
        mask |= (names == s.subject) if s.subject else True
    return [
        standing.Target(
            subjects=mask,
            first=key[0],
            last=key[1],
            period=key[2],
            threshold=key[3],
            above=key[4],
            mean=key[5],
        )
        for key, mask in sorted(agents.items(), key=lambda item: item[0])
        if mask.any()
    ]


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


def evidence(row: Row, *, what: str) -> list[Evidence]:
    """Say how far an agent's pattern followed the score.

    Args:
        row: With the `extra` of the gradient, or without.
        what: The flagged records in words, such as `short calls`.
    """
    if "gradient_p" not in row.outcome.extra or np.isnan(row.value("gradient_odds")):
        return []
    p = row.value("gradient_p")
    text = (
        f"95 % interval {row.value('gradient_odds_low'):.1f} to "
        f"{row.value('gradient_odds_high'):.1f}; "
        f"{row.value('gradient_events'):.0f} of {row.value('gradient_in_reach'):.0f} "
        "while a threshold that pays was in reach, the score counted from the calls "
        f"before; {row.value('gradient_elsewhere'):.0f} calls with it met, safe or out "
        "of reach, same agent, period and queue."
    )
    other = row.value("gradient_placebo_odds")
    if not np.isnan(other):
        text += f" At the best fitting of four as round that pay nothing: {other:.1f}."
    if row.value("gradient_beaten"):
        text += " That fits clearly better: this does not count."
    elif not np.isnan(p):
        text += f" p = {p:.2g}. Habits, seats and queues don't know the score."
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
