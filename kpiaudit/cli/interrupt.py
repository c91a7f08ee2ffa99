"""Ctrl-C and SIGTERM at any moment, also while polars does not listen to Python."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

INTERRUPTED = 130
TERMINATED = 143
_PATIENCE_S = 0.4
_LISTEN_S = 0.1


class _Terminated(BaseException):
    """SIGTERM has come."""


def run_interruptibly(work: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    """Do the work in a thread, so that this one is free to hear of signals.

    A query that has begun can't be stopped, and Python hears of a signal only when it
    is over. So the work is asked to stop, and if it has not by then the process ends
    as it stands, without the files that it was writing.

    Args:
        work: Returns the exit status and the last line for standard error.

    Returns:
        What `work` returned, unless a signal ended it.
    """
    done: list[tuple[int, str]] = []
    worker = threading.Thread(target=lambda: done.append(work()), daemon=True)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        worker.start()
        while worker.is_alive():
            # Polars' handler lets system calls go on, so a wait without end would
            # sleep through Ctrl-C until the work is over.
            worker.join(_LISTEN_S)
        # Polars hears of Ctrl-C as well: the work may be over before it is told here.
        result = done[0] if done else (INTERRUPTED, "interrupted")
        _deaf()
    except (KeyboardInterrupt, _Terminated) as stop:
        _deaf()
        if isinstance(stop, KeyboardInterrupt):
            _end(worker, INTERRUPTED, "interrupted")
        _end(worker, TERMINATED, "terminated")
    return result


def _deaf() -> None:
    """Hear of no further signal: the end has begun."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise _Terminated


def _quiet(*_: object) -> None:
    """Say nothing of where the work was when it was stopped."""


def _end(worker: threading.Thread, status: int, message: str) -> None:
    import ctypes

    from kpiaudit.leftovers import sweep

    # The exception may strike outside the work's own `try`, as when polars has told it
    # already: Python's complaint of that would run into the last line.
    threading.excepthook = sys.unraisablehook = _quiet
    # In Python code the work unwinds by itself, and its own clean-up is the best.
    if worker.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(worker.ident), ctypes.py_object(KeyboardInterrupt)
        )
        worker.join(_PATIENCE_S)
    sweep()
    # Straight to the descriptor: the work may hold the stream's lock.
    clear = "\r\x1b[2K" if sys.stderr.isatty() else ""
    os.write(2, f"{clear}kpiaudit: {message}\n".encode())
    os._exit(status)
