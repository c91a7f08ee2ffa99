"""Scalars and lists of a mapping file, each slip answered with where it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from kpiaudit.errors import RuleError, guess

if TYPE_CHECKING:
    from collections.abc import Iterable


def known_keys(block: Any, keys: Iterable[str], where: str) -> None:
    """Refuse keys that the grammar does not have."""
    if not isinstance(block, dict):
        raise RuleError(f"{where}: a block of 'key: value' is needed here.")
    for name in block:
        if name not in keys:
            raise RuleError(
                f"{where}: unknown key '{name}'.{guess(str(name), keys)} See "
                "docs/mapping.md."
            )


def texts(value: Any, where: str) -> tuple[str, ...]:
    """Return a name or a list of names as a tuple."""
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, dict) for item in items):
        raise RuleError(f"{where} must be a name or a list of names.")
    return tuple(str(item) for item in items if item is not None)


def text(value: Any, where: str) -> str | None:
    """Return a single text, or None."""
    if isinstance(value, (dict, list)):
        raise RuleError(f"{where}: a single text is needed, not a list or a block.")
    return None if value is None else str(value)


def folded(value: Any, where: str) -> tuple[str, ...]:
    """Return texts as they are compared: stripped and lowered."""
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, (dict, list)) for item in items):
        raise RuleError(f"{where} must be a text or a list of texts.")
    return tuple("" if v is None else str(v).strip().lower() for v in items)


def number(value: Any, where: str) -> float | None:
    """Return a number, or None."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise RuleError(f"{where}: '{value}' is not a number.") from error


def whole(value: Any, where: str) -> int | None:
    """Return a whole number, or None."""
    if value is None or str(value).isdecimal():
        return None if value is None else int(value)
    raise RuleError(f"{where}: '{value}' is not a whole number.")


def truth(value: Any, where: str) -> bool:
    """Return true or false; false if nothing is said."""
    if value is None:
        return False
    if str(value).lower() in {"true", "false"}:
        return str(value).lower() == "true"
    raise RuleError(f"{where}: '{value}' must be true or false.")


def pattern(value: Any, where: str) -> str | None:
    """Return a regular expression that compiles, or None."""
    if value is None:
        return None
    try:
        re.compile(str(value))
    except re.error as error:
        raise RuleError(
            f"{where}: 'extract' is no regular expression ({error})."
        ) from error
    return str(value)


def zone(value: Any, where: str) -> str | None:
    """Return the name of a time zone that exists, or None."""
    return None if value is None else check_zone(str(value), where)


def check_zone(name: str, where: str) -> str:
    """Return a time zone's name if it exists.

    Raises:
        RuleError: There is no such zone.
    """
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        from zoneinfo import available_timezones  # noqa: PLC0415  # slow, for slips only

        raise RuleError(
            f"{where}: there is no time zone '{name}'."
            f"{guess(name, available_timezones())} Names are like 'Europe/Warsaw'."
        ) from error
    return name
