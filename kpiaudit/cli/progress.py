"""What is being done, for how long: on standard error, on a terminal only."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TextIO

_TICK_S = 1.0


class Progress:
    """One line that is overwritten, with the seconds since its step began.

    There is no estimate: how long a query takes depends on what is in the tables, and
    the engine does not say how far it is.

    Args:
        stream: Where to; None says nothing.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._message = ""
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._clock: threading.Thread | None = None

    def __call__(self, message: str) -> None:
        """Say what is being done from now on; an empty message ends it."""
        if self._stream is None:
            return
        with self._lock:
            self._message, self._began = message, time.monotonic()
            self._show()
        if not message:
            self._over.set()
        elif self._clock is None:
            self._clock = threading.Thread(target=self._tick, daemon=True)
            self._clock.start()

    def _tick(self) -> None:
        while not self._over.wait(_TICK_S):
            with self._lock:
                self._show()

    def _show(self) -> None:
        if self._stream is None:
            return
        line = ""
        if self._message and not self._over.is_set():
            seconds = int(time.monotonic() - self._began)
            tail = f" ... {seconds} s" if seconds else " ..."
            room = max(shutil.get_terminal_size((80, 24)).columns - len(tail) - 1, 20)
            line = self._message[:room] + tail
        self._stream.write(f"\r\x1b[2K{line}")
        self._stream.flush()


def progress(*, shown: bool) -> Progress:
    """Return a progress line, silent unless standard error is a terminal."""
    return Progress(sys.stderr if shown and sys.stderr.isatty() else None)
