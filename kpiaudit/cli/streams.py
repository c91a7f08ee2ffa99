"""Standard input, output and error where the caller has closed one of them."""

from __future__ import annotations

import os
import sys
from typing import TextIO, cast


def complete() -> None:
    """Put something in the place of streams that are closed.

    A data file must not get their number. What is read from a closed input, or written
    to a closed output, is an error that is said like any other; messages to a closed
    standard error go nowhere.
    """
    sys.stdin = sys.stdin or _opened(0, os.O_WRONLY, "r")
    sys.stdout = sys.stdout or _opened(1, os.O_RDONLY, "w")
    sys.stderr = sys.stderr or _opened(2, os.O_WRONLY, "w")


def _opened(number: int, flags: int, mode: str) -> TextIO:
    handle = os.open(os.devnull, flags)
    if handle != number:
        os.dup2(handle, number)
        os.close(handle)
    return cast("TextIO", os.fdopen(number, mode, encoding="utf-8", closefd=False))
