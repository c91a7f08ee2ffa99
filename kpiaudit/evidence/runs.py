"""What one rule has come to, on its way from counts to findings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np

from kpiaudit.detectors.base import Verdicts
from kpiaudit.frozen import frozen
from kpiaudit.stats.held import Yardsticks
from kpiaudit.tables.dataset import local_day

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors.base import Found, Summaries, Summary
    from kpiaudit.evidence.answers import Heard
    from kpiaudit.findings import (
        Finding,
        PlaceboRuns,
        Restated,
        Selection,
        SmallestDetectable,
    )
    from kpiaudit.rulebook import Rule
    from kpiaudit.stats.outcome import FloatArray
    from kpiaudit.tables.byrow import Held
    from kpiaudit.tables.dataset import Dataset


@dataclass(kw_only=True)
class Run:
    """What one rule has come to so far.

    Args:
        rule: The rule.
        data: The dataset, limited to the rule's `where`.
        reason: Why the rule is skipped; None while it is not.
        found: What its first stage found.
        summaries: Its collected summaries.
        verdicts: What its test said.
        yardsticks: What its test fitted, to measure planted agents by.
        q_value: q-values per kind of subject, in the order of `verdicts.tested`.
        selection: Level that selection across rules leaves.
        smallest: What it could have found, with 80 % power.
        placebo: The same rule where nothing was to be found.
        unplaced: Sentences on placebos that were asked for and can't be run.
        unreliable: Why it is not to be relied on here; empty if nothing says so.
        team: Each agent's team, as far as known.
        findings: Its findings, not yet ranked.
        withdrawn: Sentences on patterns that an innocent explanation accounts for.
        heard: What other sources were asked about its records; None before that.
        flagged: Which rows of a table that was sorted are its flagged records, 1 or 0;
            None where that was not asked yet.
        restated: KPIs of the whole floor without what its findings show.
        unheard: Sentences on other sources that could not be asked.
    """

    rule: Rule
    data: Dataset
    reason: str | None = None
    found: Found = field(default_factory=dict)
    summaries: Summaries = field(default_factory=dict)
    verdicts: Verdicts = field(default_factory=Verdicts)
    yardsticks: Yardsticks = field(default_factory=Yardsticks)
    q_value: tuple[FloatArray, ...] = ()
    selection: Selection | None = None
    smallest: SmallestDetectable | None = None
    placebo: dict[str, PlaceboRuns] = field(default_factory=dict)
    unplaced: tuple[str, ...] = ()
    unreliable: str = ""
    team: Mapping[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    heard: Heard | None = None
    flagged: Held | None = None
    restated: list[Restated] = field(default_factory=list)
    unheard: list[str] = field(default_factory=list)


@frozen
class Roster:
    """Team and period of every agent; the team is the one with most records."""

    team: Mapping[str, str]
    days: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, summary: Summary | None, teams: Summary | None = None) -> Roster:
        """Build one from its collected summary.

        Args:
            summary: Records by agent, team and span of days; None without agents.
            teams: The same of another table, where the own one knows no teams.
        """
        team: dict[str, tuple[int, str]] = {}
        days: dict[str, tuple[int, int]] = {}
        if summary is None:
            return cls(team={}, days={})
        if teams is not None:
            team = {name: (0, own) for name, own in cls.of(teams).team.items()}
        for i in range(len(summary)):
            agent = str(summary["agent_id"][i])
            if "team_id" in summary and summary["team_id"][i] is not None:
                size = (int(summary["n"][i]), str(summary["team_id"][i]))
                team[agent] = max(team.get(agent, size), size)
            if "first" in summary and not np.isnan(float(summary["first"][i])):
                first, last = int(summary["first"][i]), int(summary["last"][i])
                known = days.get(agent, (first, last))
                days[agent] = (min(known[0], first), max(known[1], last))
        return cls(team={a: t for a, (_, t) in team.items()}, days=days)


def limited(rule: Rule, data: Dataset) -> Dataset:
    """Return the data with the rule's rows only, as its `where` says."""
    table = rule.detector.table
    conditions = [c for c in rule.where if data.has(f"{table}.{c}")]
    if not conditions:
        return data
    frame = data.table(table)
    for column in conditions:
        frame = frame.filter(nw.col(column).is_in(list(rule.where[column])))
    return replace(data, frames={**data.frames, table: frame})


def cannot_run(run: Run) -> str | None:
    """Say which tables or columns a rule lacks, or why its day can't be used.

    Returns:
        A reason, or None if the rule can run.
    """
    detector = run.rule.detector
    wanted = (*detector.needs, *(f"{detector.table}.{c}" for c in run.rule.where))
    missing = run.data.missing(wanted)
    if not missing:
        return _too_late(run)
    tables = sorted({name.partition(".")[0] for name in missing})
    absent = [table for table in tables if not run.data.has(table)]
    columns = [name for name in missing if name.partition(".")[0] not in absent]
    parts = []
    if absent:
        parts.append(f"no table {', '.join(absent)}")
    if columns:
        parts.append(f"no column {', '.join(columns)}")
    return "; ".join(parts)


def _too_late(run: Run) -> str | None:
    """Say that everything lies before the day on which the target began."""
    detector, span = run.rule.detector, run.data.period.get(run.rule.detector.table)
    if detector.since is None or span is None:
        return None
    last = local_day(span[1], run.data.timezone).isoformat()
    if detector.since <= last:
        return None
    return f"since {detector.since} is later than the last record ({last})"
