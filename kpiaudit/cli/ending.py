"""How a command ends with a status that is no error of anybody's."""

from __future__ import annotations

INTERNAL = 4
"""The status of an error of the program's own, or of a machine that fails it."""


class Failed(Exception):  # noqa: N818 - an outcome, not a fault
    """End with a status after the output was written; the message is the last line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
