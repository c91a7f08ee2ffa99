"""What several summaries read, computed once; loads no engine of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

if TYPE_CHECKING:
    from kpiaudit.tables.dataset import Frame


def once(frame: Frame) -> Frame:
    """Ask for a frame that several others read to be computed once.

    Polars does so when told to; other engines get the frame as it is and decide for
    themselves.
    """
    if not frame.implementation.is_polars():
        return frame
    shared: Frame = nw.from_native(frame.to_native().cache())
    return shared
