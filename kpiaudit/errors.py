"""The exceptions that a user can mend, each saying what, where and how to fix it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class KpiauditError(Exception):
    """Report a problem that the user can mend; exit status 2 unless a subclass differs.

    The message says what is wrong, where (file, rule, column, row, plugin) and how to
    fix it, in one or two sentences, without a traceback.
    """

    exit_status = 2


class TableError(KpiauditError):
    """Report an input that can't be used: absent, broken, empty or ambiguous."""

    exit_status = 3


class RuleError(KpiauditError):
    """Report a rule file, a mapping file or an option that is wrong."""


class DetectorError(KpiauditError):
    """Report a detector or a plugin that can't be loaded or breaks its contract."""


def guess(wrong: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or an empty string.

    >>> guess("max_talk", ["max_talk_s", "cap_s"])
    " Did you mean 'max_talk_s'?"
    >>> guess("zzz", ["cap_s"])
    ''
    """
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
