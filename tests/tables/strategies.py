"""Call exports of every make, sound and damaged, for property tests and fuzzing."""

from __future__ import annotations

import bz2
import gzip
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = ("call_id", "agent_id", "started_at", "talk_s", "reason")
DAMAGES = ("short", "long", "stray quote", "unclosed quote", "nul", "rubbish", "ink")
"""Ways to damage a row; `ink` is a quote that costs nothing."""

_PACKS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
}


@dataclass(frozen=True, kw_only=True)
class Export:
    """One export file, and what is in it.

    Args:
        data: Its bytes.
        name: A file name that fits.
        rows: Data rows that were made, damaged ones included.
        damaged: Positions of damaged rows, from 0.
        cells: Cells as they should be read, None for nothing, by row.
        encoding: Of the text.
    """

    data: bytes
    name: str
    rows: int
    damaged: tuple[int, ...]
    cells: tuple[tuple[str, str, str, str, str | None], ...]
    encoding: str
    damages: tuple[str, ...] = field(default=())


def _reasons(encoding: str) -> st.SearchStrategy[str]:
    letters = "abc ,;|\t\"\n'%=xyz09.-"
    if encoding != "cp1252":
        letters += "żó漢🙂"
    else:
        letters += "éèß"
    return st.text(st.sampled_from(letters), max_size=12)


@st.composite
def exports(draw: st.DrawFn, *, damage: bool = True, most: int = 40) -> Export:
    """Draw an export.

    Args:
        draw: Of hypothesis.
        damage: Whether rows may be damaged.
        most: Data rows at most.
    """
    separator = draw(st.sampled_from(",;\t|"))
    eol = draw(st.sampled_from(("\n", "\r\n")))
    encoding = draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "cp1252")))
    everything_quoted = draw(st.booleans())
    count = draw(st.integers(1, most))
    cells = [_cells(draw, i, encoding) for i in range(count)]
    lines = [
        separator.join(_written(c, separator, always=everything_quoted) for c in row)
        for row in cells
    ]
    damages: dict[int, str] = {}
    if damage:
        places = draw(st.lists(st.integers(0, count - 1), max_size=3, unique=True))
        kinds = st.sampled_from(DAMAGES)
        damages = {place: draw(kinds) for place in places}
    for place, kind in damages.items():
        lines[place] = _damaged(cells[place], separator, kind)
    title = draw(st.sampled_from(("", "Call report\n", "Report,March\n\n")))
    footer = draw(st.sampled_from(("", "\n\n", "(999 rows)\n")))
    header = separator.join(HEAD)
    text = eol.join([header, *lines]) + draw(st.sampled_from((eol, "")))
    if footer and not text.endswith(eol):
        text += eol
    text = title.replace("\n", eol) + text + footer.replace("\n", eol)
    pack = draw(st.sampled_from(tuple(_PACKS)))
    return Export(
        data=_PACKS[pack](text.encode(encoding, "replace")),
        name=f"calls.csv{pack}",
        rows=count,
        damaged=tuple(sorted(p for p, k in damages.items() if k != "ink")),
        cells=tuple((*row[:4], row[4].strip() or None) for row in cells),
        encoding=encoding,
        damages=tuple(damages.values()),
    )


def _cells(draw: st.DrawFn, i: int, encoding: str) -> tuple[str, str, str, str, str]:
    return (
        f"C{i:05d}",
        draw(st.sampled_from(("007", "A1", "12345678901234567890"))),
        f"2026-03-{1 + i % 28:02d} {i % 24:02d}:00:00",
        str(draw(st.integers(0, 5000))),
        draw(_reasons(encoding)),
    )


def _written(cell: str, separator: str, *, always: bool) -> str:
    if always or any(c in cell for c in (separator, '"', "\n", "\r")):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _damaged(row: tuple[str, ...], separator: str, kind: str) -> str:
    plain = [*row[:4], "plain"]
    last = {
        "stray quote": '"said" no',
        "unclosed quote": '"never closed',
        "nul": "\0\0",
        "ink": '5" pipe',
    }
    fields = {
        "short": plain[:3],
        "long": [*plain, "more", "and more"],
        "rubbish": ["%%%%"],
    }
    return separator.join(fields.get(kind) or [*plain[:4], last[kind]])
