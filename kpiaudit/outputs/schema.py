"""JSON Schema of the JSON report and of a line of ndjson (draft 2020-12)."""

from __future__ import annotations

from typing import Any

from kpiaudit.findings import SCHEMA

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_URN = "urn:kpiaudit"

_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER: dict[str, Any] = {"type": "number"}
_NULLABLE: dict[str, Any] = {"type": ["number", "null"]}
_NULLABLE_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_SHARE: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 1}
_CHANCE: dict[str, Any] = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_ID: dict[str, Any] = {"type": "string", "minLength": 1}
_DATE: dict[str, Any] = {
    "type": ["string", "null"],
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}",
}


def report_schema() -> dict[str, Any]:
    """Return the schema of what `--format json` prints.

    Every key is required; keys that a later version adds are allowed.
    """
    return {
        "$schema": _DRAFT,
        "$id": f"{_URN}:report:1",
        "title": "kpiaudit report, version 1",
        **_object(_report()),
        "$defs": _definitions(),
    }


def line_schema() -> dict[str, Any]:
    """Return the schema of one line of what `--format ndjson` prints."""
    return {
        "$schema": _DRAFT,
        "$id": f"{_URN}:finding:1",
        "title": "kpiaudit finding, version 1",
        "$ref": "#/$defs/finding",
        "$defs": _definitions(),
    }


def _definitions() -> dict[str, Any]:
    parts = {
        "input": _input(),
        "rule": _rule(),
        "finding": _finding(),
        "note": _note(),
        "compared": {
            "baseline": _TEXT,
            "gone": _list(
                _object(
                    {
                        "id": _ID,
                        "rule": _ID,
                        "subject": _TEXT,
                        "tested": _said(
                            {"type": "boolean"}, "The rule ran; if not, nobody looked."
                        ),
                    }
                )
            ),
        },
        "subject": _subject(),
        "effect": _effect(),
        "evidence": _evidence(),
        "explanation": _explanation(),
        "corroboration": _corroboration(),
        "restated": _restated(),
        "cost": _cost(),
        "rests_on": {"column": _ID, "origin": _ID, "role": _TEXT},
        "histogram": _histogram(),
        "selection": {"rules": _COUNT, "selected": _COUNT, "level": _SHARE},
    }
    return {name: _object(properties) for name, properties in parts.items()}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema}


def _said(schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}


def _report() -> dict[str, Any]:
    return {
        "schema": {"const": SCHEMA},
        "version": _said(_ID, "Version of kpiaudit that wrote the report."),
        "notice": _said(_ID, "How a finding is to be read."),
        "inputs": _list(_ref("input")),
        "rules": _list(_ref("rule")),
        "findings": _list(_ref("finding")),
        "notes": _list(_ref("note")),
        "compared": _said(
            _nullable(_ref("compared")), "The baseline, and what of it is gone."
        ),
    }


def _input() -> dict[str, Any]:
    return {
        "table": _TEXT,
        "path": _said(_TEXT, "As given."),
        "rows": _said(_COUNT, "Rows read."),
        "rejected": _said(_COUNT, "Rows whose structure is broken."),
        "sha256": _said(
            {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
            "Of the file's bytes; null for what is no local file.",
        ),
        "preset": _said(_TEXT, "Name of the mapping; `canonical` if none was needed."),
        "period": _object({"start": _DATE, "end": _DATE}),
    }


def _rule() -> dict[str, Any]:
    placebo = _object({"runs": _COUNT, "flagged": _COUNT})
    smallest = _object({"value": _NULLABLE, "unit": _TEXT, "power": _SHARE})
    return {
        "id": _ID,
        "detector": _ID,
        "status": {"enum": ["ran", "skipped"]},
        "reason": _said(_NULLABLE_TEXT, "Why it was skipped."),
        "params": _said({"type": "object"}, "The parameters as they were used."),
        "tested": _said(_COUNT, "Subjects with enough data."),
        "untestable": _said(_COUNT, "Subjects with too little data to say."),
        "flagged": _said(_COUNT, "Subjects with a finding."),
        "smallest_detectable": _said(
            _nullable(smallest), "Effect that would show with this power."
        ),
        "placebo": _said(
            _nullable({"type": "object", "additionalProperties": placebo}),
            "Runs in which nothing was to be found, and how many found something.",
        ),
        "blind_spots": _said(_list(_TEXT), "What the rule could not see here."),
        "found": _said(_list(_TEXT), "What the rule first had to find, as a cap."),
        "restated": _said(
            _list(_ref("restated")),
            "KPIs of the whole floor, without what its agents' findings show.",
        ),
        "spread": _said(
            _NULLABLE, "Spread between honest subjects: sd on the log-odds scale."
        ),
        "selection": _nullable(_ref("selection")),
    }


def _finding() -> dict[str, Any]:
    breaking = _object({"spread_ratio": _NUMBER})
    return {
        "id": _said(_ID, "Rule and a hash; does not move with rows or figures."),
        "rank": {"type": "integer", "minimum": 1},
        "rule": _ID,
        "detector": _ID,
        "kpi": _TEXT,
        "subject": _ref("subject"),
        "severity": _said({"enum": ["low", "medium", "high"]}, "Size of the harm."),
        "headline": _ID,
        "n": _said(_COUNT, "Records that the finding rests on."),
        "observed": _NULLABLE,
        "expected": _said(_NULLABLE, "By peers' rates or by the counterfactual."),
        "effect": _ref("effect"),
        "p_value": _CHANCE,
        "q_value": _said(_CHANCE, "Within the rule: the strength of the evidence."),
        "evidence": _list(_ref("evidence")),
        "innocent_explanations": _list(_ref("explanation")),
        "period": _object({"start": _DATE, "end": _DATE}),
        "corroboration": _list(_ref("corroboration")),
        "corroboration_e_value": _said(
            _NULLABLE, "Averaged within a voice, multiplied across voices."
        ),
        "restated": _nullable(_ref("restated")),
        "also_restated": _said(
            _list(_ref("restated")), "Other KPIs that the same records move."
        ),
        "cost": _said(_nullable(_ref("cost")), "Never given for an agent."),
        "part_of": _said(_NULLABLE_TEXT, "Id of a wider finding."),
        "rests_on": _list(_ref("rests_on")),
        "evidence_grade": {"enum": ["strong", "moderate", "weak"]},
        "breaking_point": _said(
            _nullable(breaking),
            "How many times more honest subjects would have to differ than measured.",
        ),
        "peers": _said(_TEXT, "Whom the subject was compared with."),
        "next_step": _said(_TEXT, "What would settle it."),
        "histogram": _nullable(_ref("histogram")),
        "adjusted": _said(
            _nullable(_ref("effect")), "The effect, its level adjusted for selection."
        ),
        "selection": _nullable(_ref("selection")),
        "state": _said(
            {"enum": ["new", "known", "worsened", "improved", None]},
            "Against the baseline; null without one.",
        ),
        "suppressed": _said(
            _nullable(_object({"reason": _ID, "until": _ID})),
            "Accepted until a day: does not count for the exit status.",
        ),
        "notice": _said(_ID, "That of the report, for findings passed on alone."),
    }


def _note() -> dict[str, Any]:
    return {
        "table": _TEXT,
        "kind": _ID,
        "count": _COUNT,
        "detail": _TEXT,
        "examples": _said(_list(_TEXT), "Up to three ids, days or places."),
    }


def _subject() -> dict[str, Any]:
    return {
        "kind": {"enum": ["agent", "team", "site", "queue", "floor"]},
        "id": _said(_TEXT, "`all` for the floor."),
        "team_id": _NULLABLE_TEXT,
    }


def _effect() -> dict[str, Any]:
    return {
        "name": _TEXT,
        "value": _NULLABLE,
        "low": _NULLABLE,
        "high": _NULLABLE,
        "level": _said(_SHARE, "Of the interval from low to high."),
        "unit": _TEXT,
    }


def _evidence() -> dict[str, Any]:
    return {"name": _TEXT, "value": _NULLABLE, "unit": _TEXT, "text": _TEXT}


def _explanation() -> dict[str, Any]:
    return {
        "text": _ID,
        "status": {"enum": ["ruled_out", "open", "uncheckable"]},
        "detail": _said(_TEXT, "The figures behind the status."),
        "holds": _said({"type": "boolean"}, "The data positively show it."),
    }


def _corroboration() -> dict[str, Any]:
    return {
        "source": _ID,
        "verdict": {"enum": ["supports", "contradicts", "silent"]},
        "effect": _nullable(_ref("effect")),
        "p_value": _CHANCE,
        "detail": _TEXT,
        "e_value": _said(_NULLABLE, "Null where the test itself rests on the source."),
        "voice": _said(_TEXT, "Sources with the same voice count once."),
    }


def _restated() -> dict[str, Any]:
    return {
        "kpi": _TEXT,
        "reported": _NULLABLE,
        "restated": _NULLABLE,
        "low": _NULLABLE,
        "high": _NULLABLE,
        "unit": _TEXT,
        "assumption": _said(_TEXT, "What the restatement takes for granted."),
    }


def _cost() -> dict[str, Any]:
    amounts = dict.fromkeys(("value", "low", "high"), _NULLABLE)
    return {**amounts, "currency": _ID, "basis": _said(_TEXT, "What was counted.")}


def _histogram() -> dict[str, Any]:
    return {
        "start": _said(_NUMBER, "Left edge of the first bin."),
        "width": _said(
            {"type": "number", "exclusiveMinimum": 0}, "Of a bin, in `unit`."
        ),
        "counts": _list(_NULLABLE),
        "expected": _said(_list(_NULLABLE), "Counterfactual; empty if there is none."),
        "mark": _said(_NULLABLE, "Where the cutoff stands, in `unit`."),
        "unit": _TEXT,
    }
