"""A histogram with its counterfactual and its cutoff, in characters or as SVG."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from kpiaudit.frozen import frozen
from kpiaudit.outputs.words import amount

if TYPE_CHECKING:
    from kpiaudit.findings import Histogram

HEIGHT = 7
AS_EXPECTED, MORE, FEWER = "█", "▒", "·"


@frozen
class _Bins:
    """A histogram with neighbouring bins merged until it fits."""

    start: float
    width: float
    counts: tuple[float, ...]
    expected: tuple[float, ...]

    @property
    def top(self) -> float:
        return max((*self.counts, *self.expected), default=0.0)

    @property
    def end(self) -> float:
        return self.start + self.width * len(self.counts)


def _merged(item: Histogram, most: int) -> _Bins:
    step = max(1, math.ceil(len(item.counts) / most))
    expected = item.expected if len(item.expected) == len(item.counts) else ()
    return _Bins(
        start=item.start,
        width=item.width * step,
        counts=_sums(item.counts, step),
        expected=_sums(expected, step),
    )


def _sums(values: tuple[float, ...], step: int) -> tuple[float, ...]:
    # A last bin of fewer neighbours would look like a drop: it is scaled up.
    known = [value if math.isfinite(value) else 0.0 for value in values]
    groups = [known[i : i + step] for i in range(0, len(known), step)]
    return tuple(sum(group) * step / len(group) for group in groups)


def caption(item: Histogram) -> str:
    """Say in words what the histogram shows, from where to where."""
    bins = _merged(item, len(item.counts) or 1)
    text = (
        f"records by value, {amount(bins.start, item.unit)} to "
        f"{amount(bins.end, item.unit)}, {amount(item.width, item.unit)} a bin"
    )
    if item.mark is not None:
        text += f"; cutoff at {amount(item.mark, item.unit)}"
    return text


def characters(item: Histogram, *, width: int) -> list[str]:
    """Draw a histogram in lines of text.

    Args:
        item: The histogram; one without any record gives no lines.
        width: Most characters a line may have.
    """
    bins = _merged(item, max(10, min(width, 60)))
    if bins.top <= 0:
        return []
    columns = [
        _column(c, bins.expected[i] if bins.expected else None, bins.top)
        for i, c in enumerate(bins.counts)
    ]
    lines = ["".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    lines.append(_axis(bins, item.mark))
    legend = f"{AS_EXPECTED} observed"
    if bins.expected:
        legend = f"{AS_EXPECTED} as expected  {MORE} more  {FEWER} fewer"
    if item.mark is not None and bins.start <= item.mark <= bins.end:
        legend += "  ^ cutoff"
    return [*lines, legend]


def _column(count: float, expected: float | None, top: float) -> list[str]:
    """Return the cells of a bin, from the top down."""
    high = _cells(count, top)
    if expected is None:
        return [AS_EXPECTED if row <= high else " " for row in range(HEIGHT, 0, -1)]
    level = _cells(expected, top)
    return [_cell(row, high, level) for row in range(HEIGHT, 0, -1)]


def _cells(count: float, top: float) -> int:
    return max(round(HEIGHT * count / top), 1 if count > 0 else 0)


def _cell(row: int, high: int, level: int) -> str:
    if row <= min(high, level):
        return AS_EXPECTED
    if row <= high:
        return MORE
    return FEWER if row <= level else " "


def _axis(bins: _Bins, mark: float | None) -> str:
    cells = ["─"] * len(bins.counts)
    if mark is not None and bins.start <= mark <= bins.end:
        place = math.floor((mark - bins.start) / bins.width)
        cells[min(place, len(cells) - 1)] = "^"
    return "".join(cells)


def svg(item: Histogram) -> str:
    """Draw a histogram as one SVG element, without scripts or references."""
    bins = _merged(item, 120)
    if bins.top <= 0:
        return ""
    wide, tall = 640.0, 160.0
    bar = wide / len(bins.counts)
    bars = "".join(
        f'<rect x="{i * bar:.2f}" y="{tall * (1 - c / bins.top):.2f}" '
        f'width="{max(bar - 0.5, 0.5):.2f}" height="{tall * c / bins.top:.2f}"/>'
        for i, c in enumerate(bins.counts)
    )
    line = " ".join(
        f"{(i + 0.5) * bar:.2f},{tall * (1 - e / bins.top):.2f}"
        for i, e in enumerate(bins.expected)
    )
    curve = f'<polyline class="expected" points="{line}"/>' if line else ""
    said = escape(caption(item))
    labels = (
        f'<text x="0" y="176">{escape(amount(bins.start, item.unit))}</text>'
        f'<text x="640" y="176" text-anchor="end">'
        f"{escape(amount(bins.end, item.unit))}</text>"
    )
    return (
        f'<svg viewBox="0 -14 640 196" role="img" aria-label="{said}">'
        f"<title>{said}</title>{bars}{curve}{_svg_mark(item, bins)}{labels}</svg>"
    )


def _svg_mark(item: Histogram, bins: _Bins) -> str:
    if item.mark is None or not bins.start <= item.mark <= bins.end:
        return ""
    x = 640 * (item.mark - bins.start) / (bins.end - bins.start)
    side = "end" if x > 520 else "start"
    return (
        f'<line class="mark" x1="{x:.2f}" x2="{x:.2f}" y1="-12" y2="160"/>'
        f'<text x="{x + (-4 if side == "end" else 4):.2f}" y="-4" text-anchor="{side}">'
        f"cutoff {escape(amount(item.mark, item.unit))}</text>"
    )
