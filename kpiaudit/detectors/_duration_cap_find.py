"""The first stage of duration-cap: rounding, automatic cuts, and cutoffs to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors._duration_cap_cuts import (
    LONGEST_S,
    automatic_cuts,
    flattened,
)
from kpiaudit.detectors._duration_cap_search import (
    ENOUGH_CALLS,
    LEAST_APART_S,
    propose,
    unsearched,
)
from kpiaudit.frozen import frozen
from kpiaudit.stats.bunching import excess_below
from kpiaudit.stats.cutoffs import find_cutoffs
from kpiaudit.stats.heaping import free_seconds, rounding

if TYPE_CHECKING:
    from kpiaudit.detectors._duration_cap_search import Blocks
    from kpiaudit.detectors.base import Summary
    from kpiaudit.stats.cutoffs import Cutoff
    from kpiaudit.stats.heaping import Heap
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray

_MOST = 0.5  # of the durations, to take a unit for the recorder's
_MOST_CAPS = 2
_NEARBY = 5  # seconds
_CANDIDATE = 0.3
"""Level of the search only: findings at a cutoff are tested at the rule's own."""

_BETTER = 3.0  # standard errors by which talk alone has to stand out more
_TYPICAL_S = 420  # where the smallest pile-up is stated


@frozen
class Windows:
    """Where the windows around a cutoff lie, in whole seconds.

    Below is [low - 3 width, low), near [low, high), over [high, high + width), and
    beyond [high + width, high + 4 width).

    Args:
        low: First second of the window below the cutoff.
        high: First second after it.
        width: Of a comparison window.
    """

    low: int
    high: int
    width: int


@frozen
class Layout:
    """Sites whose systems round durations, and cut calls, alike.

    Args:
        sites: Their ids; the empty text stands for no site.
        unit: Unit of most durations, in seconds.
        heaps: Units to which part of the durations is rounded.
        cuts: Seconds at which the platform ends the calls that are still open.
    """

    sites: tuple[str, ...]
    unit: int = 1
    heaps: tuple[Heap, ...] = ()
    cuts: tuple[int, ...] = ()

    @property
    def free(self) -> BoolArray:
        """Return the seconds of the minute that can be compared, shape (60,)."""
        return free_seconds(self.heaps)

    def windows(self, cutoff: int, window: int) -> Windows:
        """Lay the windows around a cutoff, in whole recording units."""
        if self.unit == 1:
            return Windows(low=cutoff - window, high=cutoff, width=window)
        # A recorder that rounds up lifts calls onto the cutoff or the unit after it.
        unit = self.unit
        width = -(-window // unit) * unit
        high = -(-cutoff // unit) * unit + 1
        return Windows(low=high - width - unit, high=high, width=width)


@frozen
class Cap:
    """A cutoff to test.

    Args:
        cap_s: As it is called in findings.
        halves: (parity of the days it is tested on, cutoff); parity None: all days.
        given: It stands in the rule; otherwise it was found on the other days.
        by_agents: One agent's calls proposed it, not all calls together.
    """

    cap_s: int
    halves: tuple[tuple[int | None, int], ...]
    given: bool
    by_agents: bool = False


def histogram(seconds: Summary, column: str | None = None) -> FloatArray:
    """Add up calls per second, shape (LONGEST_S + 1,).

    Args:
        seconds: The first stage's summary, or some rows of it.
        column: `odd`, `even`, or None for all days.
    """
    calls = (
        seconds.ints("odd") + seconds.ints("even")
        if column is None
        else seconds.ints(column)
    )
    at = np.clip(seconds.ints("second"), 0, LONGEST_S)
    return np.asarray(
        np.bincount(at, weights=calls, minlength=LONGEST_S + 1), dtype=np.float64
    )


def layouts(seconds: Summary) -> tuple[Layout, ...]:
    """Group the sites by how their systems round and cut calls, most calls first."""
    names = seconds["site_id"].astype(str)
    floor = histogram(seconds).astype(np.int64)
    groups: dict[tuple[object, ...], list[Layout]] = {}
    calls: dict[tuple[object, ...], int] = {}
    for site in sorted(set(names.tolist())):
        own = histogram(seconds.where(names == site)).astype(np.int64)
        layout = _layout(site, own if own.sum() >= ENOUGH_CALLS else floor)
        key = (tuple(layout.free.tolist()), layout.unit, layout.cuts)
        groups.setdefault(key, []).append(layout)
        calls[key] = calls.get(key, 0) + int(own.sum())
    found = [
        replace(members[0], sites=tuple(m.sites[0] for m in members))
        for _, members in sorted(
            groups.items(), key=lambda item: (-calls[item[0]], item[1][0].sites)
        )
    ]
    return tuple(found)


def _layout(site: str, counts: IntArray) -> Layout:
    heaps = rounding(counts[:LONGEST_S])
    unit = heaps[0].unit if heaps and heaps[0].share > _MOST else 1
    return Layout(
        sites=(site,), unit=unit, heaps=heaps, cuts=automatic_cuts(counts, unit)
    )


def search(
    seconds: Summary, layout: Layout, *, window: int, min_relative: float
) -> tuple[tuple[Cap, ...], tuple[Cutoff, ...]]:
    """Look for cutoffs below which calls pile up, the strongest two.

    Args:
        seconds: The first stage's summary, of the later period and one measure.
        layout: The sites to search.
        window: Seconds below a cutoff.
        min_relative: Pile-up that does not count, as a share of the usual calls.

    Returns:
        The cutoffs to test, and what the search says about each of them. Both empty
        where nothing stands out, or where the calls have no days.
    """
    halves = _halves(seconds, layout)
    if _fewest(halves) < ENOUGH_CALLS / 2:
        return (), ()
    width = bin_width(window, layout.unit)
    cutoffs = find_cutoffs(
        halves[0],
        halves[1],
        window=-(-window // width) * width,
        bin_width=width,
        min_relative=min_relative,
        level=_CANDIDATE,
        heaps=layout.heaps,
    )[:_MOST_CAPS]
    parity = {"even": 0, "odd": 1}
    caps = tuple(
        Cap(
            cap_s=_round(c.cutoff_s),
            halves=tuple((parity[d], _round(second)) for d, second in c.tested_on),
            given=False,
        )
        for c in cutoffs
    )
    return caps, cutoffs


def _with_agents(
    caps: tuple[Cap, ...], blocks: Blocks, layout: Layout
) -> tuple[Cap, ...]:
    """Add the cutoffs that single agents' calls propose and all calls don't show."""
    if layout.unit > 1:
        return caps  # blocks of seconds hold different numbers of recorded values
    proposed: dict[int, list[tuple[int | None, int]]] = {}
    for parity, cutoff in sorted(propose(blocks).items()):
        if all(abs(cutoff - cap.cap_s) >= LEAST_APART_S for cap in caps):
            proposed.setdefault(cutoff, []).append((parity, cutoff))
    more = tuple(
        Cap(cap_s=cutoff, halves=tuple(halves), given=False, by_agents=True)
        for cutoff, halves in sorted(proposed.items())
    )
    return (*caps, *more)[:_MOST_CAPS]


def _halves(seconds: Summary, layout: Layout) -> list[IntArray]:
    """Return calls per second on odd and on even days, at the sites of a layout."""
    sites, site = seconds.coded("site_id")
    mine = seconds.where(np.isin(sites, layout.sites)[site])
    return [
        flattened(histogram(mine, parity), layout.cuts).astype(np.int64)[:LONGEST_S]
        for parity in ("odd", "even")
    ]


def _fewest(halves: list[IntArray]) -> int:
    return min(int(half.sum()) for half in halves)


def _round(second: int) -> int:
    """Move a cutoff to a multiple of half a minute nearby: people set caps there.

    A pile that ends a few seconds earlier or later looks almost the same.
    """
    nearest = round(second / 30) * 30
    return nearest if abs(nearest - second) <= _NEARBY else second


def bin_width(window: int, unit: int) -> int:
    """Return bins of about five seconds that fill the window, in recording units."""
    if unit > 1:
        return unit
    return max(width for width in range(1, 6) if window % width == 0)


def found(
    seconds: Summary,
    blocks: Blocks | None = None,
    *,
    cap_s: float | None,
    window: int,
    min_relative: float,
) -> dict[str, Any]:
    """Say what the first stage found.

    Args:
        seconds: Calls per measure, period, site, queue and second.
        blocks: Calls per agent and block of seconds; None searches all calls only.
        cap_s: The cap of the rule; None looks for it.
        window: Seconds below a cutoff.
        min_relative: Pile-up that the search passes over.

    Returns:
        `measure`, `blocks`, `seconds` (of it, later period), `before` (earlier),
        `layouts`, `caps`, `cutoffs`, `calls`, `days` (there are any), `given`,
        `smallest` (calls in excess that the search would have shown), `near_s` (within
        how many seconds),
        `unsearched` (why no cap could be looked for, or empty) and `sentences`; empty
        if there is no call.
    """
    later = seconds.where(seconds.ints("period") == 1)
    if not len(later):
        return {}
    # `talk+hold` first: a cap on talk alone shows there too, in calls without hold
    names = sorted(set(later["measure"].astype(str).tolist()), reverse=True)
    measures = {name: later.where(later["measure"] == name) for name in names}
    own = measures[names[0]]
    out: dict[str, Any] = {
        "cutoffs": (),
        "smallest": float("nan"),
        "unsearched": "",
    }
    if cap_s is None:
        place = layouts(own)[0]
        caps, out["cutoffs"] = search(
            own, place, window=window, min_relative=min_relative
        )
        if blocks is not None:
            caps = _with_agents(caps, blocks, place)
        out["unsearched"] = unsearched(
            _fewest(_halves(own, place)),
            place.unit,
            "" if _days(own) else "one day" if blocks is not None else "no day",
        )
        if not out["unsearched"]:
            out["smallest"] = _smallest(own, place, window, min_relative)
            out["near_s"] = _near(place, window)
    else:
        cutoff = round(cap_s)
        caps = (Cap(cap_s=cutoff, halves=((None, cutoff),), given=True),)
    measure = _sharper(measures, caps[0].halves[0][1], window) if caps else names[0]
    own = measures[measure]
    out |= {
        "measure": measure,
        "blocks": blocks,
        "seconds": own,
        "before": seconds.where(
            (seconds.ints("period") == 0) & (seconds.same("measure", measure))
        ),
        "layouts": layouts(own),
        "caps": caps,
        "calls": int(own.ints("odd").sum() + own.ints("even").sum()),
        "days": _days(own),
        "given": cap_s is not None,
    }
    return out | {"sentences": _sentences(out)}


def _days(seconds: Summary) -> bool:
    """Say whether calls lie on days of both parities; without days all are even."""
    return bool(seconds.ints("odd").any() and seconds.ints("even").any())


def _sharper(measures: dict[str, Summary], cutoff: int, window: int) -> str:
    """Return the first measure, unless calls pile up clearly more in another one."""
    best, *others = measures
    if not others:
        return best
    z = {name: _pile_up(own, cutoff, window) for name, own in measures.items()}
    for name in others:
        if z[name] > z[best] + _BETTER:
            best = name
    return best


def _pile_up(seconds: Summary, cutoff: int, window: int) -> float:
    """Return the pile-up below a cutoff in standard errors; 0 if it can't be told."""
    layout = layouts(seconds)[0]
    at = layout.windows(cutoff, window)
    width = bin_width(window, layout.unit)
    if at.high + 60 >= LONGEST_S or at.low <= 2 * width:
        return 0.0
    counts = flattened(histogram(seconds), layout.cuts).astype(np.int64)
    shape = excess_below(
        counts[:LONGEST_S],
        at.high,
        window=-(-(at.high - at.low) // width) * width,
        bin_width=width,
        heaps=layout.heaps,
    )
    return float(np.nan_to_num(shape.z[0]))


def _smallest(
    seconds: Summary, layout: Layout, window: int, min_relative: float
) -> float:
    """Return the calls in excess that the search shows with 80 % power, about 420 s.

    The two halves test at most six seconds at 5 %, so each needs a z of 2.39; the
    other 0.84 is for the power. Half of the calls choose, half of them test.
    """
    counts = flattened(histogram(seconds), layout.cuts)
    near = _near(layout, window)
    usual = counts[_TYPICAL_S - 45 : _TYPICAL_S + 45].sum() * near / 90
    return float(min_relative * usual + (2.39 + 0.84) * np.sqrt(2 * usual))


def _near(layout: Layout, window: int) -> int:
    """Return how many seconds below a cutoff are compared, in whole recording units."""
    at = layout.windows(_TYPICAL_S, window)
    return at.high - at.low


def _sentences(found: dict[str, Any]) -> tuple[str, ...]:
    measure = "talk and hold" if found["measure"] == "talk+hold" else "talk"
    out = [f"length of a call: {measure}"]
    for layout in found["layouts"]:
        where = ", ".join(s for s in layout.sites if s)
        where = f" ({where})" if where else ""
        if layout.unit > 1:
            out.append(f"durations are rounded to {layout.unit} s{where}")
        if layout.cuts:
            out.append(f"the platform ends calls at {layout.cuts[0]} s{where}")
    if found["given"]:
        return tuple(out)
    if not found["caps"] and not found["unsearched"]:
        smallest = found["smallest"]
        out.append(
            "no cutoff between 60 and 1,139 s draws calls; a pile-up of about "
            f"{smallest:,.0f} calls within {found['near_s']} s would have been seen"
        )
    out += [
        f"tested {_round(c.cutoff_s)} s as a cap: {c.relative:.0%} more calls end just "
        f"below than a smooth curve expects (p = {c.p_value:.2g} over the whole search)"
        for c in found["cutoffs"]
    ]
    out += [
        f"tested {cap.cap_s} s as a cap: on other days one agent's calls pile up there"
        for cap in found["caps"]
        if cap.by_agents
    ]
    return tuple(out)
