"""Fitted yardsticks that are kept, so that a planted pattern can be held against them.

What an agent would have to do to be found is asked many times over, and fitting the
honest spread anew each time would cost as much as the scan itself. The others, by whom
an agent is measured, stay as they were; so their yardstick is kept while a rule is
tested, and only the planted agents' own counts are measured again.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from kpiaudit.stats.outcome import FloatArray, Outcome

    Measure = Callable[..., Outcome]

T = TypeVar("T")


@frozen
class Yardsticks:
    """The yardsticks of one test, in the order in which it fitted them."""

    kept: list[_Kept] = field(default_factory=list)
    answers: list[_Answer] = field(default_factory=list)


@frozen
class _Kept:
    """One fitted comparison.

    Args:
        question: Its kind and settings; another question never uses it.
        sums: What it was fitted to, per subject, shape (n_subjects, n_counts).
        measure: Measures other counts of the same subjects.
    """

    question: tuple[object, ...]
    sums: FloatArray
    measure: Measure


@frozen
class _Answer:
    """What was asked once, of counts that planting may leave alone."""

    question: str
    counts: tuple[NDArray[Any], ...]
    said: Any


_KEEPING: ContextVar[Yardsticks | None] = ContextVar("keeping", default=None)
_AGAINST: ContextVar[Yardsticks | None] = ContextVar("against", default=None)


@contextmanager
def keeping() -> Iterator[Yardsticks]:
    """Keep the yardsticks that are fitted inside this block."""
    kept = Yardsticks()
    token = _KEEPING.set(kept)
    try:
        yield kept
    finally:
        _KEEPING.reset(token)


@contextmanager
def against(kept: Yardsticks) -> Iterator[None]:
    """Inside this block measure by kept yardsticks instead of fitting new ones."""
    token = _AGAINST.set(kept)
    try:
        yield
    finally:
        _AGAINST.reset(token)


def measuring() -> bool:
    """Say whether planted agents are being measured, so that nothing else is asked."""
    return _AGAINST.get() is not None


def sums(columns: Sequence[FloatArray]) -> FloatArray:
    """Put counts per subject side by side, by which a comparison is told again."""
    return np.stack(columns, axis=1).astype(np.float64)


def keep(question: tuple[object, ...], sums: FloatArray, measure: Measure) -> None:
    """Keep a fitted comparison, where somebody asked for that."""
    kept = _KEEPING.get()
    if kept is not None:
        kept.kept.append(_Kept(question=question, sums=sums, measure=measure))


def once(question: str, counts: Sequence[NDArray[Any]], ask: Callable[[], T]) -> T:
    """Ask what planting may leave alone, and inside of `against` only where it didn't.

    Args:
        question: Its name; another question never takes its answer.
        counts: All counts that the answer depends on.
        ask: Answers.
    """
    kept, against = _KEEPING.get(), _AGAINST.get()
    for known in against.answers if against is not None else ():
        if known.question == question and _same(known.counts, counts):
            return cast("T", known.said)
    said = ask()
    if kept is not None:
        answer = _Answer(question=question, counts=tuple(counts), said=said)
        kept.answers.append(answer)
    return said


def _same(one: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]]) -> bool:
    return len(one) == len(other) and all(
        a is b or np.array_equal(a, b) for a, b in zip(one, other, strict=True)
    )


def look_up(question: tuple[object, ...], sums: FloatArray) -> Measure | None:
    """Return how to measure by the kept yardstick that was fitted to the likest counts.

    Several may have been fitted for one question, with different agents as peers; the
    planted ones differ from all of them by the same, so the nearest is the right one.

    Args:
        question: Kind and settings.
        sums: Counts per subject, shape (n_subjects, n_counts).

    Returns:
        The measure; None outside of `against`, or where nothing was kept.
    """
    kept = _AGAINST.get()
    if kept is None:
        return None
    same = [
        each
        for each in kept.kept
        if each.question == question and each.sums.shape == sums.shape
    ]
    if not same:
        return None
    return min(same, key=lambda each: float(np.abs(each.sums - sums).sum())).measure
