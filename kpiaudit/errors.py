"""The exceptions that a user can mend, each saying what, where and how to fix it."""

from __future__ import annotations

import difflib
import errno
import os
import re
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


class RunError(KpiauditError):
    """Report what failed while it ran: a full disk, or a plugin's own error."""

    exit_status = 4


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


def unwritable(what: str, error: Exception, *, instead: str) -> KpiauditError:
    """Return the error of a file that can't be written.

    Args:
        what: The file or folder, and what it is.
        error: What the system, or a library on its behalf, said.
        instead: What to do if the place is the problem and not the space.

    Returns:
        A `RunError` if there is no room, otherwise a usage error.
    """
    number = getattr(error, "errno", None) or _number_in(str(error))
    said = os.strerror(number) if number else str(error)
    if number in _FULL:
        return RunError(f"{what} can't be written ({said}). Free some space.")
    return KpiauditError(f"{what} can't be written ({said}). {instead}")


def _number_in(text: str) -> int | None:
    """Return the system's error number that a library has put into its message."""
    found = re.search(r"\(os error (\d+)\)", text)
    return int(found[1]) if found else None


def guess(wrong: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or an empty string.

    >>> guess("max_talk", ["max_talk_s", "cap_s"])
    " Did you mean 'max_talk_s'?"
    >>> guess("zzz", ["cap_s"])
    ''
    """
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
