"""From flagged rows to findings, of agents and of the teams they pile up in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors.base import Row
from kpiaudit.evidence import ranking, teams
from kpiaudit.findings import Effect, Evidence, Explanation, Finding, Subject
from kpiaudit.tables.dataset import local_day

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.detectors.base import Account, Tested
    from kpiaudit.evidence.runs import Roster, Run
    from kpiaudit.findings import Grade


PEERS_TOO = (
    "The floor shows the pattern as well: what these peers have of it is not counted "
    "here, only what the agent has beyond them."
)


def add_findings(run: Run, roster: Roster) -> None:
    """Word the subjects of a tested rule that pass its level, and their teams."""
    if run.reason is not None or run.selection is None:
        return
    level = min(run.selection.level, run.rule.max_q)
    run.team = roster.team
    for tested, q in zip(run.verdicts.tested, run.q_value, strict=True):
        flagged = np.flatnonzero(~np.isnan(q) & (q <= level))
        kept: dict[int, tuple[Finding, Account]] = {}
        for index in flagged:
            row = Row(
                kind=tested.kind,
                id=str(tested.ids[index]),
                index=int(index),
                tested=tested,
                q_value=float(q[index]),
                summaries=run.summaries,
                found=run.found,
                data=run.data,
            )
            account = run.rule.detector.account(row)
            upheld = [e for e in account.explanations if e.holds and not _own(e, run)]
            if upheld:
                run.withdrawn.append(
                    f"{tested.kind} {row.id}: set aside, since the data show an "
                    f"innocent explanation ({upheld[0].text}: {upheld[0].detail})"
                )
                continue
            account = _beyond(run, tested.kind, _told(run, account))
            kept[int(index)] = (
                _finding(run, row, account, roster, len(flagged), level),
                account,
            )
        if tested.kind == "agent":
            _roll_up(run, tested, kept, roster)
        run.findings.extend(finding for finding, _ in kept.values())
    _in_floor(run)


def _in_floor(run: Run) -> None:
    """Say of narrower findings that the whole floor's holds the same records."""
    floor = next((f for f in run.findings if f.subject.kind == "floor"), None)
    if floor is not None:
        run.findings[:] = [
            f if f is floor or f.part_of else replace(f, part_of=floor.id)
            for f in run.findings
        ]


def _own(explanation: Explanation, run: Run) -> tuple[str, ...]:
    """Return what an explanation rests on though the audited may have made it so."""
    return tuple(
        name for name in explanation.rests_on if not run.data.independent(name)
    ) or (() if explanation.rests_on else ("no column that it names",))


def _told(run: Run, account: Account) -> Account:
    """Say of explanations that hold on the subject's own columns what that means."""
    explanations = tuple(
        replace(
            e,
            detail=f"{e.detail}; it rests on {', '.join(own)}, which the subject may "
            "have made so: it takes one grade off and withdraws nothing",
        )
        if e.holds and (own := _own(e, run))
        else e
        for e in account.explanations
    )
    return replace(account, explanations=explanations)


def _beyond(run: Run, kind: str, account: Account) -> Account:
    """Say of an agent's figures what they leave out where the floor shows it too."""
    shown = any(finding.subject.kind == "floor" for finding in run.findings)
    if kind != "agent" or not shown:
        return account
    peers = f"{account.peers.rstrip('.')}. {PEERS_TOO}" if account.peers else PEERS_TOO
    return replace(account, peers=peers)


def _finding(
    run: Run, row: Row, account: Account, roster: Roster, flagged: int, level: float
) -> Finding:
    rule, outcome = run.rule, row.outcome
    index = np.array([row.index])
    adjusted, breaking = None, None
    tests = max(int(outcome.testable.sum()), 1)
    if outcome.interval is not None:
        # Benjamini & Yekutieli (2005): intervals of selected parameters.
        cover = 1 - rule.max_q * flagged / tests
        low, high = outcome.interval(index, cover)
        adjusted = replace(
            account.effect, low=float(low[0]), high=float(high[0]), level=cover
        )
    if outcome.breaking_point is not None:
        # The p-value at which the q-value of this row passes the level.
        threshold = min(level * row.value("p_value") / max(row.q_value, 1e-300), 1.0)
        breaking = float(outcome.breaking_point(index, threshold)[0])
    start, end = _period(run, row, roster)
    return Finding(
        id=ranking.finding_id(rule.id, rule.detector.version, row.kind, row.id),
        rank=0,
        rule=rule.id,
        detector=rule.detector.id,
        kpi=rule.detector.kpi,
        subject=Subject(
            kind=row.kind,  # type: ignore[arg-type]
            id=row.id,
            team_id=roster.team.get(row.id) if row.kind == "agent" else None,
        ),
        severity=ranking.severity(rule.severity, account.harm),
        headline=account.headline,
        n=account.n,
        observed=account.observed,
        expected=account.expected,
        effect=account.effect,
        p_value=row.value("p_value"),
        q_value=row.q_value,
        evidence=(*account.evidence, *_others(row)),
        innocent_explanations=account.explanations,
        period_start=start,
        period_end=end,
        corroboration=account.corroboration,
        restated=account.restated,
        also_restated=account.also_restated,
        rests_on=account.rests_on,
        evidence_grade=_grade(row, account),
        breaking_point=breaking,
        peers=account.peers,
        next_step=account.next_step,
        histogram=account.histogram,
        adjusted=adjusted,
        selection=run.selection,
    )


def _grade(row: Row, account: Account) -> Grade:
    grade = ranking.grade(
        row.q_value, account.rests_on, account.explanations, cap=account.grade_cap
    )
    pointing = any(e.holds for e in account.explanations)
    return ranking.lowered(grade) if pointing else grade


def _others(row: Row) -> tuple[Evidence, ...]:
    """Say what the test gave by itself, where other sources helped to decide."""
    if "p_alone" not in row.outcome.extra or row.value("e_others") == 1.0:
        return ()
    alone = row.value("p_alone")
    told = f"{row.value('p_value') / alone:.2g} times that" if alone > 0 else "the same"
    return (
        Evidence(name="p-value of the test by itself", value=alone, unit="p"),
        Evidence(name="p-value once other sources are heard", text=told),
    )


def _period(run: Run, row: Row, roster: Roster) -> tuple[str | None, str | None]:
    first, last = _days(run, row, roster)
    detector = run.rule.detector
    if first is not None and detector.later_only and detector.since is not None:
        first = max(first, detector.since)
    return first, last


def _days(run: Run, row: Row, roster: Roster) -> tuple[str | None, str | None]:
    if row.kind == "agent" and row.id in roster.days:
        first, last = roster.days[row.id]
        start = datetime(1970, 1, 1, tzinfo=UTC)
        return (
            (start + timedelta(days=first)).date().isoformat(),
            (start + timedelta(days=last)).date().isoformat(),
        )
    span = run.data.period.get(run.rule.detector.table)
    if span is None:
        return None, None
    return tuple(  # type: ignore[return-value]
        local_day(ms, run.data.timezone).isoformat() for ms in span
    )


def _roll_up(
    run: Run,
    tested: Tested,
    kept: dict[int, tuple[Finding, Account]],
    roster: Roster,
) -> None:
    """Add a finding for each team in which flagged agents pile up."""
    team_of = {
        i: roster.team[str(agent)]
        for i, agent in enumerate(tested.ids)
        if str(agent) in roster.team
    }
    for cluster in teams.clusters(tested.outcome.p_value, set(kept), team_of):
        members = [kept[i] for i in cluster.flagged]
        finding = _team_finding(run, cluster, members)
        for i in cluster.flagged:
            agent, account = kept[i]
            kept[i] = (replace(agent, part_of=finding.id), account)
        run.findings.append(finding)


def _team_finding(
    run: Run, cluster: teams.Cluster, members: Sequence[tuple[Finding, Account]]
) -> Finding:
    rule = run.rule
    findings = [finding for finding, _ in members]
    first = findings[0]
    n = sum(f.n for f in findings)
    effect = _summed(first.effect, [f.effect for f in findings])
    harm = sum(a.harm * f.n for f, a in members) / max(n, 1)
    starts = [f.period_start for f in findings if f.period_start]
    ends = [f.period_end for f in findings if f.period_end]
    names = ", ".join(f.subject.id for f in findings)
    return Finding(
        id=ranking.finding_id(rule.id, rule.detector.version, "team", cluster.team),
        rank=0,
        rule=rule.id,
        detector=rule.detector.id,
        kpi=rule.detector.kpi,
        subject=Subject(kind="team", id=cluster.team),
        severity=ranking.severity(rule.severity, harm),
        headline=(
            f"Team {cluster.team}: {len(findings)} of its {cluster.tested} agents show "
            f"the pattern '{rule.id}', far more than fall on one team by chance. Look "
            "at what the team was asked for before looking at its people."
        ),
        n=n,
        observed=_added([f.observed for f in findings]),
        expected=_added([f.expected for f in findings]),
        effect=effect,
        p_value=cluster.p_value,
        q_value=cluster.q_value,
        evidence=(
            Evidence(name="agents with the pattern", text=names),
            Evidence(
                name="chance that they fall on one team like this",
                value=cluster.chance,
                unit="probability",
            ),
        ),
        innocent_explanations=(
            Explanation(
                text="one instruction, device or queue that only this team has",
                status="open",
                detail="see the explanations tested in each agent's finding",
            ),
        ),
        period_start=min(starts, default=None),
        period_end=max(ends, default=None),
        rests_on=first.rests_on,
        evidence_grade=ranking.weakest(f.evidence_grade for f in findings),
        peers="the other teams of the same export",
        next_step=(
            "Ask the team's supervisor which target or instruction the team works to, "
            "then review the agents' records."
        ),
        selection=run.selection,
    )


def _added(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _summed(like: Effect, effects: Sequence[Effect]) -> Effect:
    """Add up effects and their half-widths: one yardstick errs for all agents.

    The restated KPIs of a team do so as well; they tell the same records.
    """
    values = [e.value for e in effects if e.value is not None]
    total = float(sum(values))
    down = [e.value - e.low for e in effects if None not in (e.value, e.low)]  # type: ignore[operator]
    up = [e.high - e.value for e in effects if None not in (e.value, e.high)]  # type: ignore[operator]
    return replace(
        like,
        value=total,
        low=total - float(sum(down)),
        high=total + float(sum(up)),
    )
