"""What became of the findings of an earlier run, and which of them are accepted."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING

from kpiaudit.findings import Compared, DataNote, Finding, Gone, Suppressed
from kpiaudit.history.baseline import ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from kpiaudit.findings import Report, State
    from kpiaudit.history.baseline import Baseline, Known
    from kpiaudit.history.suppressions import Suppression

CHANGED = 1.5
"""A finding has worsened or improved if its intensity moved by more than this factor
and the earlier value lies outside the new interval."""
STALE_DAYS = 120
_AHEAD_DAYS = 7
"""Tables of one month end on different days; a baseline this much ahead is no slip."""
_FAILING: frozenset[State | None] = frozenset({None, "new", "worsened"})


def compare(
    report: Report,
    baseline: Baseline | None,
    suppressions: Sequence[Suppression] = (),
    *,
    today: date | None = None,
) -> Report:
    """Say of every finding whether it is new, known, worsened, improved or suppressed.

    Args:
        report: Of this run.
        baseline: Of an earlier run; None leaves the states empty.
        suppressions: Accepted findings.
        today: Last day of this run's data; decides what has expired. Not the clock,
            so that a report of the same data never changes.

    Returns:
        The report with states, with what has gone, and with notes on a baseline that
        does not fit in time and on suppressions that do not hold.
    """
    live = {s.finding: s for s in suppressions if today is None or s.until >= today}
    ended = {s.finding for s in suppressions} - live.keys()
    findings = tuple(
        _stated(finding, baseline, live.get(finding.id), ended=finding.id in ended)
        for finding in report.findings
    )
    notes = [*_suppression_notes(report, suppressions, live, today)]
    if baseline is None:
        return replace(report, findings=findings, notes=(*report.notes, *notes))
    return replace(
        report,
        findings=findings,
        notes=(*report.notes, *notes, *_baseline_notes(baseline, today)),
        compared=Compared(baseline=baseline.source, gone=_gone(report, baseline)),
    )


def _gone(report: Report, baseline: Baseline) -> tuple[Gone, ...]:
    now = {finding.id for finding in report.findings}
    ran = {rule.id for rule in report.rules if rule.status == "ran"}
    return tuple(
        Gone(
            id=known.id,
            rule=known.rule,
            subject=known.subject,
            tested=known.rule in ran,
        )
        for _, known in sorted(baseline.known.items())
        if known.id not in now
    )


def failing(findings: Iterable[Finding], *, new_only: bool) -> tuple[Finding, ...]:
    """Return the findings that count for the exit status.

    Args:
        findings: With states.
        new_only: Only new and worsened ones count.
    """
    return tuple(
        finding
        for finding in findings
        if finding.suppressed is None and (not new_only or finding.state in _FAILING)
    )


def _note(kind: str, detail: str, count: int = 1) -> DataNote:
    return DataNote(table="", kind=kind, count=count, detail=detail)


def _baseline_notes(baseline: Baseline, today: date | None) -> Iterator[DataNote]:
    if baseline.end is None or today is None:
        return
    days = (today - baseline.end).days
    ends = f"{baseline.source} ends on {baseline.end.isoformat()}"
    if days > STALE_DAYS:
        yield _note(
            "stale-baseline",
            f"{ends}, {days} days before these data. Write it again with 'kpiaudit "
            "baseline update'.",
            days,
        )
    elif days < -_AHEAD_DAYS:
        yield _note(
            "later-baseline",
            f"{ends}, {-days} days after these data, so 'new' and 'gone' read "
            "backwards. Compare with an earlier one.",
            -days,
        )


def _suppression_notes(
    report: Report,
    suppressions: Iterable[Suppression],
    live: Mapping[str, Suppression],
    today: date | None,
) -> Iterator[DataNote]:
    present = {finding.id: finding for finding in report.findings}
    for entry in suppressions:
        finding = present.get(entry.finding)
        if entry.finding not in live:
            back = "and counts again" if finding else "and is not found this time"
            yield _note(
                "expired-suppression",
                f"The suppression of {entry.finding} ended on "
                f"{entry.until.isoformat()}. The finding is no longer accepted, "
                f"{back}: look at it again, then renew the entry or remove it.",
            )
        elif live[entry.finding] is not entry:
            continue  # a later entry for the same finding takes its place
        elif finding is None:
            yield _note("unused-suppression", _unused(entry.finding, present))
        elif not _covers(entry, finding):
            yield _note(
                "exceeded-suppression",
                f"The suppression of {entry.finding} covers up to {entry.up_to:g} per "
                f"record; it is {_intensity(finding) or 0.0:.3g} now, and counts.",
            )
    if live and today is None:
        yield _note(
            "undated-data",
            "These data have no dates, so nobody can say whether a suppression has "
            "expired; all of them hold.",
            len(live),
        )


def _unused(wrong: str, present: Iterable[str]) -> str:
    # Ids share the rule's name, so that the usual cutoff would find all of them near.
    near = difflib.get_close_matches(wrong, list(present), n=1, cutoff=0.9)
    meant = f" Did you mean '{near[0]}'?" if near else " Remove it if it is settled."
    return f"The suppression of {wrong} matches no finding of this run.{meant}"


def _intensity(finding: Finding) -> float | None:
    return ratio(finding.effect.value, finding.n)


def _covers(entry: Suppression, finding: Finding) -> bool:
    return entry.up_to is None or (_intensity(finding) or 0.0) <= entry.up_to


def _stated(
    finding: Finding,
    baseline: Baseline | None,
    accepted: Suppression | None,
    *,
    ended: bool,
) -> Finding:
    suppressed = (
        Suppressed(reason=accepted.reason, until=accepted.until.isoformat())
        if accepted is not None and _covers(accepted, finding)
        else None
    )
    known = None if baseline is None else baseline.known.get(finding.id)
    state = None if baseline is None else _state(finding, known)
    if known is not None and suppressed is None and (known.accepted or ended):
        # It was never settled, only put off: once that has ended, it is to be said.
        state = "worsened" if state == "worsened" else "new"
    return replace(finding, state=state, suppressed=suppressed)


def _state(finding: Finding, earlier: Known | None) -> State:
    if earlier is None:
        return "new"
    before = earlier.intensity
    now = _intensity(finding)
    if before is None or now is None:
        return "worsened" if finding.severity > earlier.severity else "known"
    low = ratio(finding.effect.low, finding.n)
    high = ratio(finding.effect.high, finding.n)
    if now > CHANGED * before and (low is None or low > before):
        return "worsened"
    if now * CHANGED < before and (high is None or high < before):
        return "improved"
    return "known"
