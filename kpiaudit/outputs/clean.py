"""Neutralise text that came from an export, before it reaches a screen or a page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from kpiaudit.findings import Report

_T = TypeVar("_T")

HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: escape sequences, bells, line breaks
    "\u00ad\u200b\u2060-\u2064\ufeff"  # invisible: two ids would look the same
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # turn the direction of writing
    "\u2028\u2029"  # line and paragraph separators
    "\ufff9-\ufffb\ufffe\uffff"  # annotations; noncharacters that XML forbids
    "\ud800-\udfff"  # halves of a character, which UTF-8 can't hold
    "\U000e0000-\U000e007f"  # tags: a second, invisible alphabet
    "]"
)
"""Characters that are never written as they are."""

_SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}


def visible(text: str) -> str:
    r"""Return the text with every hidden character as a visible escape.

    Halves of a surrogate pair become U+FFFD; printable text is left alone.

    >>> visible("A\x1b[31m7\n")
    'A\\x1b[31m7\\n'
    >>> visible("A0007")
    'A0007'
    """
    return HIDDEN.sub(_escape, text) if HIDDEN.search(text) else text


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str, limit: int = 40) -> str:
    """Return at most `limit` characters, the last an ellipsis if some were left out.

    >>> shortened("A0007-A0007-A0007", 8)
    'A0007-A…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def cleaned(report: Report) -> Report:
    """Return the report with `visible` applied to each of its strings.

    Renderers for people start from this, so that none of them can forget a field.
    """
    return _clean(report)


def _clean(value: _T) -> _T:
    """Apply `visible` to all strings of a value, whatever it is made of."""
    return _walk(value)  # type: ignore[return-value]  # it keeps the type it is given


def _walk(value: object) -> object:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_walk(item) for item in value)
    if isinstance(value, Mapping):
        return {_walk(key): _walk(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: _walk(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **changes)
    return value
