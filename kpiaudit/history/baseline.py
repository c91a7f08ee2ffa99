"""What an earlier run said, and what became of it: new, known, worsened, gone."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpiaudit.errors import RuleError
from kpiaudit.findings import (
    SCHEMA,
    Compared,
    DataNote,
    Finding,
    Gone,
    Severity,
    Suppressed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kpiaudit.findings import Report, State

BASELINE_SCHEMA = "kpiaudit.baseline/1"
CHANGED = 1.5
"""A finding has worsened or improved if its intensity moved by more than this factor
and the earlier value lies outside the new interval."""
STALE_DAYS = 120
_FAILING: frozenset[State | None] = frozenset({None, "new", "worsened"})


@dataclass(frozen=True, kw_only=True)
class Known:
    """A finding of the earlier run: its identity and its magnitude.

    Args:
        id: Id of the finding.
        rule: The rule.
        subject: `kind id`, for the message.
        severity: Harm at that time.
        intensity: Effect per record, so that months of different length compare.
    """

    id: str
    rule: str
    subject: str
    severity: Severity
    intensity: float | None


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """A finding that somebody has looked at and accepted until a day.

    Args:
        finding: Id of the finding.
        reason: Why; never empty.
        until: Last day on which it holds, compared with the last day in the data.
        up_to: Largest intensity (effect per record) that it covers; None covers any.
    """

    finding: str
    reason: str
    until: date
    up_to: float | None = None


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What an earlier run said.

    Args:
        source: The file, as given.
        known: Findings by id.
        end: Last day of the earlier run's data, if it says.
    """

    source: str
    known: Mapping[str, Known] = field(default_factory=dict)
    end: date | None = None


def read_baseline(path: str | Path) -> Baseline:
    """Read a baseline file, or any earlier JSON report.

    Raises:
        RuleError: It is absent, no JSON, or neither of the two.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(
            f"{path}: the baseline can't be read ({error}). Check --baseline."
        ) from error
    except (ValueError, RecursionError) as error:
        raise RuleError(
            f"{path}: the baseline is no JSON ({error}). Give a file that "
            "'kpiaudit baseline update' or 'scan --format json' wrote."
        ) from error
    kind = content.get("schema") if isinstance(content, dict) else None
    if kind not in {SCHEMA, BASELINE_SCHEMA}:
        raise RuleError(
            f"{path}: neither a baseline ({BASELINE_SCHEMA}) nor a report ({SCHEMA}), "
            f"but {kind!r}."
        )
    try:
        known = [_known(entry) for entry in content["findings"]]
        ends = [_end(entry) for entry in content["findings"]]
        last = content.get("end") or max((e for e in ends if e), default=None)
        return Baseline(
            source=str(path),
            known={entry.id: entry for entry in known},
            end=date.fromisoformat(last) if last else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RuleError(
            f"{path}: a finding in the baseline lacks or garbles {error}. Write it "
            "again with 'kpiaudit baseline update'."
        ) from error


def _known(entry: Mapping[str, Any]) -> Known:
    if "intensity" in entry:
        intensity = entry["intensity"]
        subject = entry["subject"]
    else:
        intensity = _ratio(entry["effect"]["value"], entry["n"])
        subject = f"{entry['subject']['kind']} {entry['subject']['id']}"
    return Known(
        id=str(entry["id"]),
        rule=str(entry["rule"]),
        subject=str(subject),
        severity=Severity[str(entry["severity"]).upper()],
        intensity=None if intensity is None else float(intensity),
    )


def _end(entry: Mapping[str, Any]) -> str | None:
    end = (entry.get("period") or {}).get("end")
    return None if end is None else str(end)[:10]


def _ratio(value: float | None, n: float) -> float | None:
    return None if value is None or not n else value / n


def write_baseline(report: Mapping[str, Any]) -> str:
    """Turn a JSON report (as data) into the text of a baseline file."""
    findings = [
        {
            "id": known.id,
            "rule": known.rule,
            "subject": known.subject,
            "severity": known.severity.word,
            "intensity": known.intensity,
        }
        for known in sorted(map(_known, report["findings"]), key=lambda k: k.id)
    ]
    ends = [_end(entry) for entry in report["findings"]]
    content = {
        "schema": BASELINE_SCHEMA,
        "end": max((e for e in ends if e), default=None),
        "findings": findings,
    }
    return json.dumps(content, indent=2) + "\n"


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
        The report with states, with what has gone, and with notes on a stale baseline
        and on expired suppressions.
    """
    notes: list[DataNote] = []
    accepted = dict(_live(suppressions, today, notes))
    findings = tuple(
        _stated(finding, baseline, accepted.get(finding.id))
        for finding in report.findings
    )
    if baseline is None:
        return replace(report, findings=findings, notes=(*report.notes, *notes))
    if baseline.end and today and (today - baseline.end).days > STALE_DAYS:
        notes.append(
            DataNote(
                table="",
                kind="stale-baseline",
                count=(today - baseline.end).days,
                detail=(
                    f"{baseline.source} ends on {baseline.end.isoformat()}, "
                    f"{(today - baseline.end).days} days before these data. Write it "
                    "again with 'kpiaudit baseline update'."
                ),
            )
        )
    now = {finding.id for finding in findings}
    ran = {rule.id for rule in report.rules if rule.status == "ran"}
    gone = tuple(
        Gone(
            id=known.id,
            rule=known.rule,
            subject=known.subject,
            tested=known.rule in ran,
        )
        for _, known in sorted(baseline.known.items())
        if known.id not in now
    )
    return replace(
        report,
        findings=findings,
        notes=(*report.notes, *notes),
        compared=Compared(baseline=baseline.source, gone=gone),
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


def _live(
    suppressions: Iterable[Suppression], today: date | None, notes: list[DataNote]
) -> Iterable[tuple[str, Suppression]]:
    for entry in suppressions:
        if today is not None and entry.until < today:
            notes.append(
                DataNote(
                    table="",
                    kind="expired-suppression",
                    count=1,
                    detail=(
                        f"The suppression of {entry.finding} ended on "
                        f"{entry.until.isoformat()} and no longer holds."
                    ),
                )
            )
        else:
            yield entry.finding, entry


def _stated(
    finding: Finding, baseline: Baseline | None, accepted: Suppression | None
) -> Finding:
    state = None if baseline is None else _state(finding, baseline.known)
    intensity = _ratio(finding.effect.value, finding.n)
    covered = accepted is not None and (
        accepted.up_to is None or (intensity or 0.0) <= accepted.up_to
    )
    suppressed = (
        Suppressed(reason=accepted.reason, until=accepted.until.isoformat())
        if accepted is not None and covered
        else None
    )
    return replace(finding, state=state, suppressed=suppressed)


def _state(finding: Finding, known: Mapping[str, Known]) -> State:
    earlier = known.get(finding.id)
    if earlier is None:
        return "new"
    before = earlier.intensity
    now = _ratio(finding.effect.value, finding.n)
    if before is None or now is None:
        return "worsened" if finding.severity > earlier.severity else "known"
    low = _ratio(finding.effect.low, finding.n)
    high = _ratio(finding.effect.high, finding.n)
    if now > CHANGED * before and (low is None or low > before):
        return "worsened"
    if now * CHANGED < before and (high is None or high < before):
        return "improved"
    return "known"


def read_suppressions(entries: Any, where: str) -> tuple[Suppression, ...]:
    """Read suppressions from a configuration file's list.

    Args:
        entries: Parsed YAML.
        where: The file, for messages.

    Raises:
        RuleError: One has no finding, no reason, no day, or something unknown.
    """
    if not isinstance(entries, list):
        raise RuleError(f"{where}: 'suppress' is a list of findings.")
    return tuple(_suppression(entry, where) for entry in entries)


def _suppression(entry: Any, where: str) -> Suppression:
    if not isinstance(entry, dict) or not entry.get("finding"):
        raise RuleError(f"{where}: every suppression needs 'finding: ID'.")
    place = f"{where}, suppression of {entry['finding']}"
    unknown = set(entry) - {"finding", "reason", "until", "up_to"}
    if unknown:
        raise RuleError(
            f"{place}: unknown key '{min(unknown)}'. Known: finding, reason, until, "
            "up_to."
        )
    reason = str(entry.get("reason") or "").strip()
    if not reason:
        raise RuleError(f"{place}: it needs a reason ('reason: ...').")
    until = entry.get("until")
    try:
        day = until if isinstance(until, date) else date.fromisoformat(str(until))
    except ValueError:
        raise RuleError(
            f"{place}: it needs a last day ('until: 2026-12-31'), not {until!r}."
        ) from None
    up_to = entry.get("up_to")
    if up_to is not None and (
        isinstance(up_to, bool)
        or not isinstance(up_to, int | float)
        or not math.isfinite(up_to)
    ):
        raise RuleError(f"{place}: 'up_to' is a number (effect per record).")
    return Suppression(
        finding=str(entry["finding"]), reason=reason, until=day, up_to=up_to
    )
