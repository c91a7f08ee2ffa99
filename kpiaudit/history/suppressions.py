"""Findings that somebody accepted, with a reason and a last day."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

from kpiaudit.errors import RuleError, guess
from kpiaudit.frozen import frozen

_KEYS = ("finding", "reason", "until", "up_to")


@frozen
class Suppression:
    """A finding that somebody has looked at and accepted until a day.

    Args:
        finding: Id of the finding.
        reason: Why; never empty.
        until: Last day on which it holds, compared with the last day in the data.
        up_to: Largest intensity (effect per record) that it covers; None covers any.
    """

    finding: str
    reason: str
    until: date
    up_to: float | None = None


def read_suppressions(entries: Any, where: str) -> tuple[Suppression, ...]:
    """Read suppressions from a configuration file's list.

    Args:
        entries: Parsed YAML.
        where: The file, for messages.

    Raises:
        RuleError: One has no finding, no reason, no day, or something unknown.
    """
    if not isinstance(entries, list):
        raise RuleError(
            f"{where}: 'suppress' is a list of findings ('- finding: ID', with "
            "'reason' and 'until' below)."
        )
    return tuple(_suppression(entry, where) for entry in entries)


def _suppression(entry: Any, where: str) -> Suppression:
    if not isinstance(entry, dict) or not entry.get("finding"):
        raise RuleError(f"{where}: every suppression needs 'finding: ID'.")
    place = f"{where}, suppression of {entry['finding']}"
    for key in entry:
        if key not in _KEYS:
            raise RuleError(
                f"{place}: unknown key '{key}'.{guess(str(key), _KEYS)} Known: "
                f"{', '.join(_KEYS)}."
            )
    reason = entry.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise RuleError(f"{place}: it needs a reason in words ('reason: ...').")
    return Suppression(
        finding=str(entry["finding"]),
        reason=reason.strip(),
        until=_day(entry.get("until"), place),
        up_to=_limit(entry.get("up_to"), place),
    )


def _day(value: Any, place: str) -> date:
    if isinstance(
        value, datetime
    ):  # a datetime is a date, and can't be compared to one
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        given = "" if value is None else f", not {value!r}"
        raise RuleError(
            f"{place}: it needs a last day ('until: 2026-12-31'){given}."
        ) from None


def _limit(value: Any, place: str) -> float | None:
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
    ):
        raise RuleError(f"{place}: 'up_to' is a number (effect per record).")
    return float(value)
