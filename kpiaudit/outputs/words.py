"""Figures in words: numbers, durations, shares, intervals and p-values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kpiaudit.findings import Effect, Restated, Subject

UNKNOWN = "not known"
_ACRONYMS = {"csat", "nps", "ces", "sla", "kpi", "aht", "asa"}


def figure(value: float | None) -> str:
    """Return a number for reading: whole, or three significant digits.

    >>> figure(136709), figure(28.71), figure(None)
    ('136,709', '28.7', 'not known')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if abs(value) >= 1000 or value == int(value):
        return f"{round(value):,}"
    return f"{value:.3g}"


def clock(seconds: float) -> str:
    """Return seconds as `m:ss` or `h:mm:ss`.

    >>> clock(372.1), clock(3725), clock(-61)
    ('6:12', '1:02:05', '-1:01')
    """
    whole = round(abs(seconds))
    sign = "-" if seconds < 0 and whole else ""
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{sign}{hours}:{minutes:02d}:{left:02d}"
    return f"{sign}{minutes}:{left:02d}"


def percent(share: float) -> str:
    """Return a share as a percentage.

    >>> percent(0.0612), percent(0.0004)
    ('6.1%', '0.04%')
    """
    value = 100 * share
    return f"{value:.1f}%" if abs(value) >= 0.1 or value == 0 else f"{value:.1g}%"


def amounts(values: Sequence[float | None], unit: str) -> tuple[list[str], str]:
    """Write several values of one unit alike.

    Args:
        values: Values in `unit`; None or nan where not known.
        unit: `s` gives clock times from a minute on; `share` or `share of x` gives
            percentages; `1` or nothing gives bare numbers.

    Returns:
        The values in words, and what to write behind the last of them.
    """
    known = [v for v in values if v is not None and math.isfinite(v)]
    head, _, tail = unit.partition(" ")
    if unit == "s" and any(abs(value) >= 59.5 for value in known):
        return [_or_unknown(value, clock) for value in values], ""
    if unit == "s":
        return [figure(value) for value in values], " s"
    if head == "share":
        return [_or_unknown(value, percent) for value in values], f" {tail}".rstrip()
    words = _UNIT_WORDS.get(unit, unit)
    return [figure(value) for value in values], f" {words}".rstrip()


_UNIT_WORDS = {"1": "", "ratio": "times", "probability": ""}
"""Units that read better otherwise, or need no word."""


def _or_unknown(value: float | None, write: Callable[[float], str]) -> str:
    return UNKNOWN if value is None or not math.isfinite(value) else write(value)


def amount(value: float | None, unit: str) -> str:
    """Write one value with its unit.

    >>> amount(420, "s"), amount(0.06, "share of calls"), amount(3, "calls")
    ('7:00', '6.0% of calls', '3 calls')
    >>> amount(3e-20, "p")
    'p < 1e-12'
    """
    if unit == "p":
        return p_words(unit, value)
    (text,), suffix = amounts([value], unit)
    return text if text == UNKNOWN else text + suffix


def estimate(effect: Effect) -> str:
    """Write an effect with its interval, its name in front."""
    values = [effect.value, effect.low, effect.high]
    (value, low, high), suffix = amounts(values, effect.unit)
    if effect.unit and effect.unit in effect.name:
        suffix = ""  # "excess calls: 28.7", not "28.7 calls"
    name = f"{effect.name}: " if effect.name else ""
    if value == UNKNOWN:
        return name + UNKNOWN
    if UNKNOWN in {low, high}:
        return f"{name}{value}{suffix} (no interval)"
    level = f"{100 * effect.level:.4g}% interval"
    return f"{name}{value}{suffix} ({level} {low} to {high})"


def restatement(restated: Restated) -> str:
    """Write a KPI as reported and as restated."""
    values = [restated.reported, restated.restated, restated.low, restated.high]
    (reported, again, low, high), suffix = amounts(values, restated.unit)
    between = "" if UNKNOWN in {low, high} else f" [{low}, {high}]"
    text = f"Reported {reported}{suffix}, restated {again}{suffix}{between}"
    assumption = restated.assumption
    # Some are clauses, some sentences of their own.
    gap = ". " if assumption[:1].isupper() else "; "
    about = gap.join(filter(None, (kpi_name(restated.kpi), assumption)))
    return f"{text} ({about})" if about else text


def kpi_name(kpi: str) -> str:
    """Return a KPI's id in words.

    >>> kpi_name("average_handle_time"), kpi_name("csat")
    ('average handle time', 'CSAT')
    """
    words = kpi.replace("-", "_").split("_")
    return " ".join(w.upper() if w in _ACRONYMS else w for w in words)


def p_words(name: str, value: float | None) -> str:
    """Write a p- or q-value; what is tiny gets a bound.

    >>> p_words("p", 3e-20), p_words("q", 0.0123), p_words("p", None)
    ('p < 1e-12', 'q = 0.012', 'p not computed')
    """
    if value is None or not math.isfinite(value):
        return f"{name} not computed"
    return f"{name} < 1e-12" if value < 1e-12 else f"{name} = {value:.2g}"


def subject_name(subject: Subject) -> str:
    """Say whom or what a finding is about."""
    if subject.kind == "floor":
        return "the whole floor"
    team = f", team {subject.team_id}" if subject.team_id is not None else ""
    return f"{subject.kind} {subject.id}" + (team if subject.kind == "agent" else "")


def count(n: int, noun: str) -> str:
    """Write a count with its noun in the right number.

    >>> count(1, "finding"), count(1200, "row")
    ('1 finding', '1,200 rows')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
