"""The figures behind a floor of short calls, and what its excess includes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpiaudit.findings import Evidence

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Row


def evidence(row: Row) -> tuple[Evidence, ...]:
    """Return the figures of a flagged floor."""
    known = row.value("short_known")
    share = row.value("short_redialled") / max(known, 1.0)
    out = [
        Evidence(
            name="median excess", value=row.value("median_share"), unit="share of calls"
        ),
        Evidence(
            name="foretold by calls of 10 to 59 s",
            value=row.value("extrapolated_share"),
            unit="share of calls",
        ),
        _bounds(row),
        Evidence(name="agents above the minimum", value=row.value("agents_above")),
        Evidence(name="agents compared", value=row.value("agents")),
    ]
    if known:
        out += [
            Evidence(name="redialled after short calls", value=share, unit="share"),
            Evidence(
                name="redialled after longer calls",
                value=row.value("long_rate"),
                unit="share",
            ),
        ]
    return tuple(out)


def _bounds(row: Row) -> Evidence:
    """Say what the excess of a floor includes, and what it leaves out."""
    again = row.value("again")
    more = (
        f", and those that followed another one of the same customer's, {again:,.0f} "
        "calls"
        if again
        else ""
    )
    text = (
        "the excess includes silent callers, wrong numbers and dropped lines, which no "
        "longer call foretells: the lower end takes off "
        f"{row.value('min_share'):.0%} of calls for them, "
        f"{row.value('innocent'):,.0f} calls; the upper end is all short calls{more}"
    )
    return Evidence(
        name="short calls that may be innocent",
        value=row.value("innocent"),
        unit="calls",
        text=f"{text[0].upper()}{text[1:]}.",
        plain=text,
    )
