"""Sentences about data: with examples beside them, and made into notes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kpiaudit.findings import DataNote

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN = 3
_VERBS = {
    "were": "was",
    "have": "has",
    "bear": "bears",
    "equal": "equals",
    "lack": "lacks",
    "stand": "stands",
    "hold": "holds",
    "look": "looks",
}
_MANY = re.compile(r"((?:answered )?(?:row|cell|event|spell|call|caller|end|offer))s\b")


class Sentence(str):
    """What is to be said of so many rows or cells, and some of them by name.

    Args:
        text: What follows the count, without a full stop.
        examples: Names of rows, or places such as `data row 5`; the first few are kept.
    """

    __slots__ = ("examples",)
    examples: tuple[str, ...]

    def __new__(cls, text: str, examples: Iterable[object] = ()) -> Sentence:
        """Return the text with its examples."""
        made = super().__new__(cls, text)
        made.examples = tuple(str(e) for e in examples if e is not None)[:SHOWN]
        return made


def at_rows(rows: Iterable[int]) -> list[str]:
    """Name data rows, counted from 1."""
    return [f"data row {row}" for row in rows]


def noted(table: str, told: tuple[str, int, str], display: str = "") -> DataNote:
    """Make a note of a kind, a count and a sentence.

    Args:
        table: Canonical table.
        told: Kind, count and sentence, which may be a `Sentence`.
        display: File that it is about, if it is about one.

    >>> told = ("footer", 1, "rows at the end that sum up were left out")
    >>> noted("calls", told).detail
    '1 row at the end that sums up was left out.'
    """
    kind, count, text = told
    # What is about the whole file ("the text is no UTF-8") has no number.
    said = text if text.startswith("the ") else f"{count:,} {_singular(text, count)}"
    return DataNote(
        table=table,
        kind=kind,
        count=count,
        detail=f"{display}: {said}." if display else f"{said}.",
        examples=getattr(text, "examples", ()),
    )


def _singular(text: str, count: int) -> str:
    if count != 1 or not _MANY.match(text):
        return text
    head, mark, rest = text.partition(",")
    head = _MANY.sub(r"\1", head, count=1)
    head = re.sub(r"\bthat (repeat|sum)\b", r"that \1s", head)
    head = re.sub(rf"\b({'|'.join(_VERBS)})\b", lambda m: _VERBS[m[1]], head, count=1)
    return re.sub(r"\b(and|which) count as\b", r"\1 counts as", head + mark + rest)
