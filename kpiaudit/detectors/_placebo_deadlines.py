"""Deadlines moved to where nothing is paid, for the placebo."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import narwhals as nw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.tables.dataset import Dataset

CLOCKS = (60, 80, 125)
"""Percent of the clock at which a ticket is not due; its own deadline lies outside of
what counts as near these."""
WINDOWS = (-4, -2, 3, 5)
"""Windows from the promise at which nothing was promised."""


def tickets(data: Dataset) -> Iterator[Dataset]:
    """Give every ticket another clock, of so many percent of its own."""
    if not data.has("tickets.due_at", "tickets.opened_at"):
        return
    opened, due = nw.col("opened_at"), nw.col("due_at")
    for percent in CLOCKS:
        clock = ((due - opened) * percent / 100).round(0).cast(nw.Int64)
        frame = data.table("tickets").with_columns(due_at=opened + clock)
        yield replace(data, frames={**data.frames, "tickets": frame})


def handovers(data: Dataset, window_ms: int) -> Iterator[Dataset]:
    """Promise every order some windows earlier or later than was promised."""
    for windows in WINDOWS:
        later = nw.col("promised_at") + windows * window_ms
        frame = data.table("handovers").with_columns(promised_at=later)
        yield replace(data, frames={**data.frames, "handovers": frame})
