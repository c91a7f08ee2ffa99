"""Whether a document keeps to one of our JSON Schemas: the words that they use."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_SILENT = {"$schema", "$id", "$defs", "title", "description"}


def faults(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a document breaks the schema, each with its place.

    Only the keywords that our schemas use are known; the dependency that knows all of
    them weighs more than this.

    Args:
        value: A parsed document.
        schema: One of ours.

    Raises:
        ValueError: The schema uses a keyword that is not known here.
    """
    yield from _check(value, schema, schema.get("$defs", {}), "$")


def _check(
    value: Any, schema: Mapping[str, Any], parts: Mapping[str, Any], place: str
) -> Iterator[str]:
    for word, wanted in schema.items():
        if word in _SILENT:
            continue
        if word in {"properties", "required", "additionalProperties"}:
            if isinstance(value, dict):
                yield from _members(word, value, schema, parts, place)
        elif word == "$ref":
            yield from _check(value, parts[wanted.rpartition("/")[2]], parts, place)
        elif word == "anyOf":
            tried = [list(_check(value, one, parts, place)) for one in wanted]
            if all(tried):
                yield from min(tried, key=_depth)
        elif word == "items":
            for i, item in enumerate(value if isinstance(value, list) else ()):
                yield from _check(item, wanted, parts, f"{place}[{i}]")
        else:
            yield from _leaf(word, wanted, value, place)


def _depth(found: list[str]) -> int:
    """Order the alternatives: null is rarely what was meant for an object."""
    return sum("should be null" in fault for fault in found)


def _members(
    word: str,
    value: dict[str, Any],
    schema: Mapping[str, Any],
    parts: Mapping[str, Any],
    place: str,
) -> Iterator[str]:
    known = schema.get("properties", {})
    if word == "required":
        for key in schema[word]:
            if key not in value:
                yield f"{place}: the key '{key}' is missing"
    elif word == "properties":
        for key, inner in known.items():
            if key in value:
                yield from _check(value[key], inner, parts, f"{place}.{key}")
    else:
        for key in value.keys() - known.keys():
            yield from _check(value[key], schema[word], parts, f"{place}.{key}")


def _leaf(word: str, wanted: Any, value: Any, place: str) -> Iterator[str]:
    if word not in _LEAVES:
        raise ValueError(f"the keyword '{word}' is not known")
    holds, broken = _LEAVES[word]
    if not holds(value, wanted):
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
        names = wanted if isinstance(wanted, list) else [wanted]
        yield f"{place}: {shown} {broken} {' or '.join(map(str, names))}"


def _typed(value: Any, wanted: Any) -> bool:
    names = wanted if isinstance(wanted, list) else [wanted]
    return any(_is(value, name) for name in names)


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float) and not math.isfinite(value):
        return False  # Python reads NaN, JSON has none
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def _same(value: Any, wanted: Any) -> bool:
    return type(value) is type(wanted) and bool(value == wanted)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_LEAVES: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "type": (_typed, "should be"),
    "enum": (lambda v, w: any(_same(v, one) for one in w), "should be"),
    "const": (_same, "should be"),
    "pattern": (
        lambda v, w: not isinstance(v, str) or re.search(w, v) is not None,
        "should match",
    ),
    "minLength": (
        lambda v, w: not isinstance(v, str) or len(v) >= w,
        "should have a length of at least",
    ),
    "minimum": (lambda v, w: not _number(v) or v >= w, "should be at least"),
    "maximum": (lambda v, w: not _number(v) or v <= w, "should be at most"),
    "exclusiveMinimum": (lambda v, w: not _number(v) or v > w, "should be above"),
}
"""Keyword to what must hold, and to the words for where it does not."""
