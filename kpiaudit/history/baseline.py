"""What an earlier run said, kept in a file: read, checked, written."""

from __future__ import annotations

import json
from dataclasses import field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpiaudit.errors import RuleError
from kpiaudit.findings import SCHEMA, Severity
from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BASELINE_SCHEMA = "kpiaudit.baseline/1"
_MAX_BYTES = 200_000_000
"""A report of a hundred thousand findings has half as much."""


@frozen
class Known:
    """A finding of the earlier run: its identity and its magnitude.

    Args:
        id: Id of the finding.
        rule: The rule.
        subject: `kind id`, for the message.
        severity: Harm at that time.
        intensity: Effect per record, so that months of different length compare.
        accepted: It was accepted (suppressed) then: nobody had to act on it, so it is
            not settled once the acceptance has ended.
    """

    id: str
    rule: str
    subject: str
    severity: Severity
    intensity: float | None
    accepted: bool = False


@frozen
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


def read_content(path: str | Path) -> dict[str, Any]:
    """Read the JSON of a baseline file, or of any earlier report.

    Raises:
        RuleError: It is absent, no JSON, or neither of the two.
    """
    try:
        size = Path(path).stat().st_size
        if size > _MAX_BYTES:
            raise RuleError(
                f"{path}: {size / 1e6:.0f} MB is too large for a baseline. Give a file "
                "that 'kpiaudit baseline update' wrote."
            )
        content = json.loads(
            Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant
        )
    except OSError as error:
        raise RuleError(
            f"{path}: the baseline can't be read ({error.strerror}). Check --baseline; "
            "'kpiaudit baseline update REPORT' writes the first one."
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
            f"but {_shown(content, kind)}."
        )
    found: dict[str, Any] = content
    return found


def _shown(content: Any, kind: Any) -> str:
    if isinstance(kind, str):
        return f"'{kind[:60]}'"
    if isinstance(content, dict) and "headline" in content:
        return "a single finding; give a report of --format json, not ndjson"
    return "something else"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def read_baseline(path: str | Path) -> Baseline:
    """Read a baseline file, or any earlier JSON report.

    Raises:
        RuleError: It is absent, no JSON, or neither of the two.
    """
    return as_baseline(read_content(path), str(path))


def as_baseline(content: Mapping[str, Any], source: str) -> Baseline:
    """Read what `read_content` gave.

    Raises:
        RuleError: A finding in it lacks something, or is garbled.
    """
    try:
        known = [_known(entry) for entry in content["findings"]]
        last = _last_day(content)
        return Baseline(
            source=source,
            known={entry.id: entry for entry in known},
            end=date.fromisoformat(last) if last else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        missing = f"has no {error}" if isinstance(error, KeyError) else str(error)
        raise RuleError(
            f"{source}: the baseline is damaged: an entry {missing}. Write it again "
            "with 'kpiaudit baseline update REPORT'."
        ) from error


def _known(entry: Mapping[str, Any]) -> Known:
    if "intensity" in entry:
        intensity = entry["intensity"]
        subject = entry["subject"]
        accepted = entry.get("accepted", False)
    else:
        intensity = ratio(entry["effect"]["value"], entry["n"])
        subject = f"{entry['subject']['kind']} {entry['subject']['id']}"
        accepted = entry.get("suppressed") is not None
    return Known(
        id=str(entry["id"]),
        rule=str(entry["rule"]),
        subject=str(subject),
        severity=Severity[str(entry["severity"]).upper()],
        intensity=None if intensity is None else float(intensity),
        accepted=bool(accepted),
    )


def _last_day(content: Mapping[str, Any]) -> str | None:
    """Return the last day of the data, also of a run that found nothing."""
    if content.get("end") is not None:
        return str(content["end"])[:10]
    entries = [*content.get("inputs", ()), *content["findings"]]
    ends = [(entry.get("period") or {}).get("end") for entry in entries]
    return max((str(end)[:10] for end in ends if end), default=None)


def ratio(value: float | None, n: float) -> float | None:
    """Return the effect per record; None where it can't be computed."""
    return None if value is None or not n else value / n


def write_baseline(
    report: Mapping[str, Any], earlier: Mapping[str, Any] | None = None
) -> tuple[str, int]:
    """Turn a JSON report (as data) into the text of a baseline file.

    Args:
        report: Of this run.
        earlier: The baseline that is replaced. Its findings of rules that did not run
            this time are kept: nobody looked, so nothing is known to have changed.

    Returns:
        The text, and how many findings were kept from the earlier baseline.

    Raises:
        RuleError: The report or the baseline is damaged.
    """
    found = as_baseline(report, "the report").known
    ran = {r.get("id") for r in report.get("rules", ()) if r.get("status") == "ran"}
    kept = {
        known.id: known
        for known in _known_of(earlier)
        if known.rule not in ran and known.id not in found
    }
    content = {
        "schema": BASELINE_SCHEMA,
        "end": _last_day(report),
        "findings": [_entry(known) for _, known in sorted({**found, **kept}.items())],
    }
    return json.dumps(content, indent=2, ensure_ascii=True) + "\n", len(kept)


def _known_of(content: Mapping[str, Any] | None) -> Iterable[Known]:
    if content is None:
        return ()
    return as_baseline(content, "the earlier baseline").known.values()


def _entry(known: Known) -> dict[str, Any]:
    return {
        "id": known.id,
        "rule": known.rule,
        "subject": known.subject,
        "severity": known.severity.word,
        "intensity": None
        if known.intensity is None
        else float(f"{known.intensity:.10g}"),
        "accepted": known.accepted,
    }


def baseline_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a baseline file."""
    text = {"type": "string"}
    name = {"type": "string", "minLength": 1}
    entry = {
        "id": name,
        "rule": name,
        "subject": {**text, "description": "Kind and id."},
        "severity": {"enum": ["low", "medium", "high"]},
        "intensity": {
            "type": ["number", "null"],
            "description": "Effect per record.",
        },
        "accepted": {
            "type": "boolean",
            "description": "It was suppressed at that time.",
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:kpiaudit:baseline:1",
        "title": "kpiaudit baseline, version 1",
        "type": "object",
        "properties": {
            "schema": {"const": BASELINE_SCHEMA},
            "end": {
                "type": ["string", "null"],
                "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
                "description": "Last day of the data.",
            },
            "findings": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": entry,
                    "required": [key for key in entry if key != "accepted"],
                },
            },
        },
        "required": ["schema", "end", "findings"],
    }
