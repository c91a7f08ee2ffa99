"""Our own reading of our schemas, held against the library's."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from kpiaudit.history.baseline import baseline_schema, write_baseline
from kpiaudit.outputs.conform import faults
from kpiaudit.outputs.schema import line_schema, report_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.findings import Report

WRONG: tuple[Any, ...] = (None, True, "", "x", -1, 2, 0.5, [], {}, [1], {"a": 1})


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def _slim(value: Any) -> Any:
    """Keep one item of each list: the others are judged alike."""
    if isinstance(value, dict):
        return {key: _slim(inner) for key, inner in value.items()}
    return [_slim(item) for item in value[:1]] if isinstance(value, list) else value


def _with(value: Any, path: tuple[Any, ...], new: Any, *, drop: bool) -> Any:
    changed = copy.deepcopy(value)
    place = changed
    for step in path[:-1]:
        place = place[step]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return changed


def _documents(report: Report) -> list[tuple[Any, dict[str, Any]]]:
    content = json.loads(report.to_json())
    return [
        (content, report_schema()),
        (content["findings"][0], line_schema()),
        (json.loads(write_baseline(content)[0]), baseline_schema()),
    ]


def test_what_we_write_keeps_to_our_schemas(report: Report, empty: Report) -> None:
    for document, schema in _documents(report):
        jsonschema.validate(document, schema)
        assert list(faults(document, schema)) == []
    content = json.loads(write_baseline(json.loads(empty.to_json()))[0])
    jsonschema.validate(content, baseline_schema())


@pytest.mark.parametrize("place", [1, 2], ids=["finding", "baseline"])
def test_we_find_a_fault_exactly_where_the_library_finds_one(
    place: int, report: Report
) -> None:
    document, schema = _documents(report)[place]
    document = _slim(document)
    validator = jsonschema.Draft202012Validator(schema)
    seen = {True: 0, False: 0}
    for path in _paths(document):
        if not path:
            continue
        tries = [_with(document, path, new, drop=False) for new in WRONG]
        tries.append(_with(document, path, None, drop=True))
        for changed in tries:
            wrong = not validator.is_valid(changed)
            assert bool(list(faults(changed, schema))) is wrong, (path, changed)
            seen[wrong] += 1
    assert min(seen.values()) > 10


def test_a_fault_is_told_with_its_place(report: Report) -> None:
    document, schema = _documents(report)[0]
    document["findings"][1]["severity"] = "huge"
    assert list(faults(document, schema)) == [
        "$.findings[1].severity: 'huge' should be low or medium or high"
    ]


def test_nan_is_no_number(report: Report) -> None:
    document, schema = _documents(report)[0]
    document["findings"][1]["effect"]["value"] = float("nan")
    assert len(list(faults(document, schema))) == 1


def test_a_schema_with_words_that_we_do_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="uniqueItems"):
        list(faults([], {"uniqueItems": True}))
