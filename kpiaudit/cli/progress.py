"""One line on a terminal that says what is being done."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def progress(*, shown: bool) -> Callable[[str], None]:
    """Return what tells a sentence; silent unless standard error is a terminal."""
    if not (shown and sys.stderr.isatty()):
        return lambda _: None

    def tell(message: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{message}{' ...' if message else ''}")
        sys.stderr.flush()

    return tell
