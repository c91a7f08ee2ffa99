"""What is read in a thread, one part ahead of whoever works on the parts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from queue import Queue
from threading import Event
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_Part = TypeVar("_Part")


def produced(
    work: Callable[[Callable[[_Part], bool]], None],
) -> Generator[_Part, None, None]:
    """Yield what some work in a thread gives, and raise what stops it.

    Args:
        work: Is given a function, and calls it with each part. It waits there until
            there is room, and should end when that returns True: no more is wanted.
    """
    waiting: Queue[tuple[_Part] | None] = Queue(maxsize=1)
    enough = Event()

    def take(part: _Part) -> bool:
        waiting.put((part,))
        return enough.is_set()

    def run() -> None:
        try:
            work(take)
        finally:
            waiting.put(None)

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(run)
        ended = False
        try:
            while not ended:
                part = waiting.get()
                ended = part is None
                if part is not None:
                    yield part[0]
        finally:
            enough.set()
            # The thread waits for room, and ends with None whatever happens.
            while not ended:
                ended = waiting.get() is None
        working.result()


def ahead(parts: Generator[_Part, None, None]) -> Generator[_Part, None, None]:
    """Yield the same parts, each made while the one before is worked on.

    Close it where it may be left early: a thread that waits for room ends no program.
    """

    def work(take: Callable[[_Part], bool]) -> None:
        with closing(parts):
            for part in parts:
                if take(part):
                    break

    return produced(work)
