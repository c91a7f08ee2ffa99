"""Version 1 of the JSON report, written out field by field."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from kpiaudit.outputs.clean import HIDDEN

if TYPE_CHECKING:
    import re

    from kpiaudit.findings import (
        Compared,
        Corroboration,
        Cost,
        DataNote,
        Effect,
        Evidence,
        Explanation,
        Finding,
        Histogram,
        Input,
        PlaceboRuns,
        Report,
        Restated,
        RestsOn,
        RuleStatus,
        Selection,
        SmallestDetectable,
        Subject,
        Suppressed,
    )


def render(report: Report) -> str:
    """Return the report as one JSON object; the same report gives the same bytes."""
    return encoded(as_dict(report), indent=2) + "\n"


def encoded(value: object, *, indent: int | None = None) -> str:
    """Return JSON text in which every hidden character is an escape.

    Args:
        value: What `as_dict` or `plain` gave.
        indent: Spaces per level; None for one line.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    # Line feeds of the layout are the one control character that json itself writes.
    return HIDDEN.sub(_json_escape, text)


def _json_escape(match: re.Match[str]) -> str:
    char = match.group()
    code = ord(char)
    if char == "\n":
        return char
    if 0xD800 <= code <= 0xDFFF:  # half a character: no reader could decode it
        return "\\ufffd"
    return json.dumps(char)[1:-1] if code > 0x7F else f"\\u{code:04x}"


def number(value: object) -> int | float | None:
    """Return a JSON number of 10 significant digits; None for nan and infinity.

    Whole numbers come without a fraction.

    >>> number(41.0), number(1 / 3), number(float("nan"))
    (41, 0.3333333333, None)
    """
    if value is None:
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    real = float(value)  # type: ignore[arg-type]  # a real number of any library
    if not math.isfinite(real):
        return None
    digits = f"{real:.10g}"
    if digits.lstrip("-").isdigit():
        return int(digits)
    # The largest floats round up to infinity; those stay as they are.
    return float(digits) if math.isfinite(float(digits)) else real


def plain(value: object) -> Any:
    """Return a parameter as JSON can hold it: lists, objects, text, numbers, null."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, numbers.Real):
        return number(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return [plain(item) for item in sorted(value, key=str)]
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def as_dict(report: Report) -> dict[str, Any]:
    """Return the report as plain data, keys in the order of the contract."""
    return {
        "schema": report.schema,
        "version": report.version,
        "notice": report.notice,
        "inputs": [_input(item) for item in report.inputs],
        "rules": [_rule(rule) for rule in report.rules],
        "findings": [finding_dict(item, report.notice) for item in report.findings],
        "notes": [_note(note) for note in report.notes],
        "compared": _compared(report.compared),
    }


def finding_dict(finding: Finding, notice: str) -> dict[str, Any]:
    """Return one finding as plain data, the notice with it.

    A finding is passed on by itself more often than a report, so it carries the notice.
    """
    person = finding.subject.kind == "agent"
    return {
        "id": finding.id,
        "rank": finding.rank,
        "rule": finding.rule,
        "detector": finding.detector,
        "kpi": finding.kpi,
        "subject": _subject(finding.subject),
        "severity": finding.severity.word,
        "headline": finding.headline,
        "n": number(finding.n),
        "observed": number(finding.observed),
        "expected": number(finding.expected),
        "effect": _effect(finding.effect),
        "p_value": number(finding.p_value),
        "q_value": number(finding.q_value),
        "evidence": [_evidence(item) for item in finding.evidence],
        "innocent_explanations": [
            _explanation(item) for item in finding.innocent_explanations
        ],
        "period": {"start": finding.period_start, "end": finding.period_end},
        "corroboration": [_corroboration(item) for item in finding.corroboration],
        "corroboration_e_value": number(finding.corroboration_e_value),
        "restated": _restated(finding.restated),
        "also_restated": [_restated(item) for item in finding.also_restated],
        "cost": None if person else _cost(finding.cost),
        "part_of": finding.part_of,
        "rests_on": [_rests_on(item) for item in finding.rests_on],
        "evidence_grade": finding.evidence_grade,
        "breaking_point": _breaking_point(finding.breaking_point),
        "peers": finding.peers,
        "next_step": finding.next_step,
        "histogram": _histogram(finding.histogram),
        "adjusted": None if finding.adjusted is None else _effect(finding.adjusted),
        "selection": _selection(finding.selection),
        "state": finding.state,
        "suppressed": _suppressed(finding.suppressed),
        "notice": notice,
    }


def _input(item: Input) -> dict[str, Any]:
    return {
        "table": item.table,
        "path": item.path,
        "rows": number(item.rows),
        "rejected": number(item.rejected),
        "sha256": item.sha256,
        "preset": item.preset,
        "period": {"start": item.period_start, "end": item.period_end},
    }


def _rule(rule: RuleStatus) -> dict[str, Any]:
    return {
        "id": rule.id,
        "detector": rule.detector,
        "status": rule.status,
        "reason": rule.reason,
        "params": plain(rule.params),
        "tested": number(rule.tested),
        "untestable": number(rule.untestable),
        "flagged": number(rule.flagged),
        "smallest_detectable": _smallest(rule.smallest_detectable),
        "placebo": _placebo(rule.placebo),
        "blind_spots": [*rule.blind_spots, *rule.unheard],
        "found": [*rule.found, *rule.withdrawn],
        "restated": [_restated(item) for item in rule.restated],
        "spread": number(rule.spread),
        "selection": _selection(rule.selection),
    }


def _note(note: DataNote) -> dict[str, Any]:
    return {
        "table": note.table,
        "kind": note.kind,
        "count": number(note.count),
        "detail": note.detail,
        "examples": list(note.examples),
    }


def _subject(subject: Subject) -> dict[str, Any]:
    return {"kind": subject.kind, "id": subject.id, "team_id": subject.team_id}


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "name": effect.name,
        "value": number(effect.value),
        "low": number(effect.low),
        "high": number(effect.high),
        "level": number(effect.level),
        "unit": effect.unit,
    }


def _evidence(item: Evidence) -> dict[str, Any]:
    return {
        "name": item.name,
        "value": number(item.value),
        "unit": item.unit,
        "text": item.text,
    }


def _explanation(item: Explanation) -> dict[str, Any]:
    return {
        "text": item.text,
        "status": item.status,
        "detail": item.detail,
        "holds": bool(item.holds),
    }


def _corroboration(item: Corroboration) -> dict[str, Any]:
    return {
        "source": item.source,
        "verdict": item.verdict,
        "effect": None if item.effect is None else _effect(item.effect),
        "p_value": number(item.p_value),
        "detail": item.detail,
        "e_value": number(item.e_value),
        "voice": item.voice,
    }


def _restated(item: Restated | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {
        "kpi": item.kpi,
        "reported": number(item.reported),
        "restated": number(item.restated),
        "low": number(item.low),
        "high": number(item.high),
        "unit": item.unit,
        "assumption": item.assumption,
    }


def _cost(cost: Cost | None) -> dict[str, Any] | None:
    if cost is None:
        return None
    return {
        "value": number(cost.value),
        "low": number(cost.low),
        "high": number(cost.high),
        "currency": cost.currency,
        "basis": cost.basis,
    }


def _rests_on(item: RestsOn) -> dict[str, Any]:
    return {"column": item.column, "origin": item.origin, "role": item.role}


def _breaking_point(ratio: float | None) -> dict[str, Any] | None:
    value = number(ratio)
    return None if value is None else {"spread_ratio": value}


def _histogram(item: Histogram | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {
        "start": number(item.start),
        "width": number(item.width),
        "counts": [number(count) for count in item.counts],
        "expected": [number(count) for count in item.expected],
        "mark": number(item.mark),
        "unit": item.unit,
    }


def _selection(item: Selection | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {
        "rules": number(item.rules),
        "selected": number(item.selected),
        "level": number(item.level),
    }


def _suppressed(item: Suppressed | None) -> dict[str, Any] | None:
    return None if item is None else {"reason": item.reason, "until": item.until}


def _compared(item: Compared | None) -> dict[str, Any] | None:
    if item is None:
        return None
    gone = [
        {"id": g.id, "rule": g.rule, "subject": g.subject, "tested": bool(g.tested)}
        for g in item.gone
    ]
    return {"baseline": item.baseline, "gone": gone}


def _smallest(item: SmallestDetectable | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {
        "value": number(item.value),
        "unit": item.unit,
        "power": number(item.power),
    }


def _placebo(runs: Mapping[str, PlaceboRuns] | None) -> dict[str, Any] | None:
    if runs is None:
        return None
    return {
        name: {"runs": number(item.runs), "flagged": number(item.flagged)}
        for name, item in runs.items()
    }
