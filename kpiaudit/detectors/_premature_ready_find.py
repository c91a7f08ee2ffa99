"""Which stamps and which later instants the export has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kpiaudit.detectors._premature_ready_count import (
    COLUMN,
    ENDS,
    FROM_COURIER,
    OPTIONAL,
    STAMPS,
    end_column,
)

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Found, Summaries

_FILLED = 0.05
"""A column that is filled in a smaller share of the orders is not used."""
_OWN = 0.2
"""Ids of another kind in actor_id would set every order aside."""
_ROUNDED = 0.4
"""Share of stamps on five minutes from which the floor is counted in such steps."""


def read(summaries: Summaries, stamp: str | None) -> Found:
    """Return the pairs of stamp and later instant that can be compared.

    Args:
        summaries: `given`: how often each column is filled.
        stamp: `ready` or `delivered` if the rule names one.
    """
    given = summaries["given"]
    if not len(given):
        return {"pairs": (), "columns": dict.fromkeys(OPTIONAL, 0)}
    total = int(given.ints("n")[0])
    filled = {c: int(given.ints(f"n_{c}")[0]) / max(total, 1) for c in OPTIONAL}
    stamps = [s for s in STAMPS if stamp in {None, s} and filled[COLUMN[s]] >= _FILLED]
    pairs = []
    for each in stamps:
        ends = [e for e in ENDS[each] if filled[COLUMN[e]] >= _FILLED]
        if len(ends) > 1 and "courier" in ends:
            ends.remove("courier")
        pairs += [f"{each}>{end}" for end in ends]
        if each == "ready" and filled["courier_arrived_at"] >= _FILLED:
            pairs += [f"{each}>{e}{FROM_COURIER}" for e in ends if e != "courier"]
    if not pairs:
        pairs = [f"{each}>" for each in stamps]
    found: dict[str, Any] = {
        "pairs": tuple(pairs),
        "columns": {c: round(share, 6) for c, share in filled.items()},
        "actors_known": int(given.ints("n_own")[0]) >= _OWN * max(total, 1),
        "rounded": tuple(
            s
            for s in stamps
            if int(given.ints(f"five_{s}")[0])
            >= _ROUNDED * max(int(given.ints(f"n_{COLUMN[s]}")[0]), 1)
        ),
    }
    return found


def sentences(found: Found) -> tuple[str, ...]:
    """Say in sentences what was found."""
    out = []
    for pair in found.get("pairs", ()):
        stamp, _, end = str(pair).partition(">")
        if end.endswith(FROM_COURIER):
            out.append(
                f"The wait until {end_column(end)} is also counted from the courier's "
                f"arrival, where that is later than {COLUMN[stamp]}."
            )
        elif end:
            out.append(
                f"The stamp {COLUMN[stamp]} is compared with {COLUMN[end]}, which is "
                f"filled in {float(found['columns'][COLUMN[end]]):.0%} of the orders."
            )
    if found.get("rounded"):
        names = ", ".join(COLUMN[s] for s in found["rounded"])
        out.append(f"Most stamps are rounded to five minutes: {names}.")
    if found.get("actors_known"):
        out.append("Orders that somebody else than their agent stamped are set aside.")
    return tuple(out)
