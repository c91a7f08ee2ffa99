"""What several summaries read, computed once; loads no engine of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def settled(frames: Mapping[str, Frame]) -> dict[str, Frame]:
    """Compute small frames at once, which others are then joined with.

    Polars would read a table until what is joined is complete, and keep all of it in
    memory meanwhile. Other engines get the frames as they are.

    Args:
        frames: Few rows each, by any name; all on the same engine.
    """
    from kpiaudit.tables.engine import collect  # noqa: PLC0415  # loads polars

    if not all(frame.implementation.is_polars() for frame in frames.values()):
        return dict(frames)
    return {n: nw.from_native(f.lazy()) for n, f in collect(frames).items()}


def nothing(settled_: Frame) -> bool:
    """Say whether a frame that was settled has no row; other engines don't know."""
    if not settled_.implementation.is_polars():
        return False
    return bool(settled_.head(1).collect().is_empty())
