from __future__ import annotations

import copy
import json
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpiaudit.outputs import json_v1, ndjson
from kpiaudit.outputs.schema import line_schema, report_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kpiaudit.findings import Report

CONTRACT_FINDING = [
    "id",
    "rank",
    "rule",
    "detector",
    "kpi",
    "subject",
    "severity",
    "headline",
    "n",
    "observed",
    "expected",
    "effect",
    "p_value",
    "q_value",
    "evidence",
    "innocent_explanations",
    "period",
]


def valid(schema: dict[str, Any], value: object) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(value)


def test_the_report_validates_against_its_schema(report: Report, empty: Report) -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())
    for item in (report, empty):
        jsonschema.validate(json.loads(json_v1.render(item)), report_schema())


def test_each_line_of_ndjson_validates_against_the_line_schema(report: Report) -> None:
    jsonschema.Draft202012Validator.check_schema(line_schema())
    lines = ndjson.render(report).splitlines()
    for line in lines:
        jsonschema.validate(json.loads(line), line_schema())
    assert len(lines) == 2


def test_ndjson_gives_exactly_the_findings_of_the_json_report(
    report: Report, empty: Report
) -> None:
    lines = [json.loads(line) for line in ndjson.render(report).split("\n")[:-1]]
    assert lines == json.loads(json_v1.render(report))["findings"]
    assert ndjson.render(empty) == ""


def _paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk to every key, but for a rule's params and the placebos' names."""
    if isinstance(value, dict):
        for key, item in value.items():
            if path[-1:] not in {("params",), ("placebo",)}:
                yield (*path, key)
            yield from _paths(item, (*path, key)) if key != "params" else ()
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _paths(item, (*path, place))


def _changed(value: Any, path: tuple[Any, ...], act: Callable[[Any, Any], None]) -> Any:
    new = copy.deepcopy(value)
    inner = new
    for key in path[:-1]:
        inner = inner[key]
    act(inner, path[-1])
    return new


def test_the_schema_refuses_a_missing_key_anywhere(report: Report) -> None:
    data = json_v1.as_dict(report)
    accepted = [
        path
        for path in _paths(data)
        if valid(report_schema(), _changed(data, path, lambda d, key: d.pop(key)))
    ]
    assert accepted == []


def test_the_schema_refuses_a_wrong_type_anywhere(report: Report) -> None:
    data = json_v1.as_dict(report)
    wrong = object()  # of no JSON type at all

    def spoil(inner: Any, key: Any) -> None:
        inner[key] = [wrong] if not isinstance(inner[key], list) else {"a": wrong}

    accepted = [
        path
        for path in _paths(data)
        if valid(report_schema(), _changed(data, path, spoil))
    ]
    assert accepted == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("findings", 0, "severity"), "severe"),
        (("findings", 0, "n"), "212"),
        (("findings", 0, "rank"), 0),
        (("findings", 0, "p_value"), 1.5),
        (("findings", 0, "subject", "kind"), "person"),
        (("findings", 0, "breaking_point"), 2.4),
        (("rules", 0, "status"), "failed"),
        (("rules", 0, "tested"), None),
        (("inputs", 0, "sha256"), "abc"),
        (("schema",), "kpiaudit.report/2"),
    ],
)
def test_the_schema_refuses_a_wrong_value(
    path: tuple[Any, ...], value: object, report: Report
) -> None:
    data = json_v1.as_dict(report)

    def put(inner: Any, key: Any) -> None:
        inner[key] = value

    assert not valid(report_schema(), _changed(data, path, put))


def test_every_key_stands_in_the_schema(report: Report) -> None:
    """The schema allows keys of later versions; this one has none it doesn't name."""
    schema = report_schema()
    closed = json.loads(
        json.dumps(schema).replace(
            '"type": "object", "properties"',
            '"type": "object", "additionalProperties": false, "properties"',
        )
    )
    jsonschema.validate(json_v1.as_dict(report), closed)


def test_keys_come_in_the_order_of_the_contract(report: Report) -> None:
    data = json.loads(json_v1.render(report))
    assert list(data) == [
        "schema",
        "version",
        "notice",
        "inputs",
        "rules",
        "findings",
        "notes",
        "compared",
    ]
    assert list(data["findings"][0])[: len(CONTRACT_FINDING)] == CONTRACT_FINDING
    assert list(data["rules"][0])[:8] == (
        [
            "id",
            "detector",
            "status",
            "reason",
            "params",
            "tested",
            "untestable",
            "flagged",
        ]
    )
    assert list(data["inputs"][0]) == [
        "table",
        "path",
        "rows",
        "rejected",
        "sha256",
        "preset",
        "period",
    ]


def test_numbers_have_ten_digits_and_are_never_nan(report: Report) -> None:
    finding = json_v1.as_dict(report)["findings"][1]
    assert finding["p_value"] == 3.210123457e-09
    assert finding["q_value"] is None
    infinite = replace(report.findings[1], breaking_point=float("inf"))
    assert json_v1.finding_dict(infinite, "")["breaking_point"] is None


@settings(derandomize=True)
@given(
    st.floats(-1e308, 1e308)
    | st.sampled_from([math.nan, math.inf, -math.inf])
    | st.integers()
)
def test_a_number_is_itself_to_ten_digits(value: float) -> None:
    shown = json_v1.number(value)
    if isinstance(value, int):
        assert shown == value
    elif math.isfinite(value):
        assert shown is not None
        assert f"{shown:.10g}".lstrip("-") == f"{value:.10g}".lstrip("-")
    else:
        assert shown is None


def test_the_largest_float_does_not_round_to_infinity() -> None:
    largest = sys.float_info.max
    assert json_v1.number(largest) == largest
    assert json_v1.number(-largest) == -largest


@settings(derandomize=True)
@given(st.text())
def test_any_text_survives_the_round_trip(text: str) -> None:
    written = json_v1.encoded(text)
    written.encode("utf-8")
    assert json.loads(written) == text
    assert written.isprintable() or not written.isascii()


def test_parameters_hold_lists_text_and_nothing(report: Report) -> None:
    params = json_v1.as_dict(report)["rules"][0]["params"]
    assert params == {"cap_s": None, "reasons": ["a", "b"], "window_s": 30}


def test_hidden_characters_are_escapes_and_come_back(
    report: Report, nasty: str
) -> None:
    text = json_v1.render(report)
    assert r"\u001b[31m" in text
    assert r"\u202e" in text
    assert json.loads(text)["findings"][1]["subject"]["id"] == nasty


def test_the_report_prints_itself(report: Report) -> None:
    assert report.to_json() == json_v1.render(report)
