"""What every rule could find in these data, by size and number of agents."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.evidence import minimum, power
from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kpiaudit.detectors.base import Tested
    from kpiaudit.evidence.runs import Run
    from kpiaudit.stats.outcome import FloatArray

SIZES = {"small": (0.0, 0.25), "usual": (0.25, 0.75), "large": (0.75, 1.0)}
MANY = (0.05, 0.4, 1.0)
_RUNS = 10
_CHECKS = 12
_MOST = 0.75


@frozen
class Many:
    """Agents who do it at the same time.

    Args:
        part: Which part of the agents, in (0, 1].
        agents: How many these are.
        share: What each of them would have to affect for the floor, or the middle one
            of them, to be found with 80 % power; None if not even all of it would do.
        floor: The whole floor was tested with the planted counts as well. Without
            that agents are only held against peers, who may do the same.
    """

    part: float
    agents: int
    share: float | None
    floor: bool = False


@frozen
class Sensitivity:
    """What one rule could find.

    Args:
        rule: Its id.
        reason: Why nothing can be said; None if something can.
        stake: What the shares are shares of.
        supposed: What was taken for granted of the planted pattern.
        tested: Subjects with enough data.
        untestable: Subjects with too little.
        mark: p-value at which one more agent would be reported.
        sizes: Per size: agents, their median number of trials, the share.
        many: The same for several agents at once.
        checked: Plants of the usual size's share that were found, and how many were
            planted, each with everything fitted anew; None without a share.
        missing: Columns that the rule could use and that are not there.
        missing_tables: Tables of which all or most such columns are not there.
    """

    rule: str
    reason: str | None = None
    stake: str = ""
    supposed: str = ""
    tested: int = 0
    untestable: int = 0
    mark: float | None = None
    sizes: Mapping[str, power.Sized]
    many: tuple[Many, ...] = ()
    checked: tuple[int, int] | None = None
    missing: tuple[str, ...] = ()
    missing_tables: tuple[str, ...] = ()


def sensitivity(run: Run, tell: Callable[[str], None]) -> Sensitivity:
    """Say what a tested rule could find; takes many tests of the rule.

    Args:
        run: The rule, tested and selected.
        tell: Is told in a sentence what is being done.
    """
    uses = run.rule.detector.uses
    missing = run.data.missing(uses)
    tables = _mostly_missing(uses, missing)
    agents = next((t for t in run.verdicts.tested if t.kind == "agent"), None)
    reason = run.reason
    if reason is None and (agents is None or not agents.outcome.testable.any()):
        reason = "no agent has enough data to be tested"
    if reason is None and not run.rule.detector.stake:
        reason = "its detector can't plant its pattern, so that this stays open"
    if reason is not None or agents is None:
        return Sensitivity(
            rule=run.rule.id,
            reason=reason,
            untestable=_untestable(run),
            sizes={},
            missing=tuple(missing),
            missing_tables=tables,
        )
    sizes = {}
    for name, band in SIZES.items():
        tell(f"{run.rule.id}: planting into {name} agents")
        sized = power.smallest(run, band=band)
        if sized is not None:
            sizes[name] = sized
    mark = power.threshold(run.verdicts.tested, agents, power.level_of(run))
    return Sensitivity(
        rule=run.rule.id,
        stake=run.rule.detector.stake,
        supposed=run.rule.detector.supposed,
        tested=sum(int(t.outcome.testable.sum()) for t in run.verdicts.tested),
        untestable=_untestable(run),
        mark=mark,
        sizes=sizes,
        many=_many(run, agents, mark, tell),
        checked=_checked(run, agents, mark, sizes.get("usual"), tell),
        missing=tuple(missing),
        missing_tables=tables,
    )


def _mostly_missing(uses: Sequence[str], missing: Sequence[str]) -> tuple[str, ...]:
    """Return the tables of which more than three quarters of the columns are missing.

    One column is not said to be a table: which one it is says more.
    """
    known = Counter(name.partition(".")[0] for name in uses)
    absent = Counter(name.partition(".")[0] for name in missing)
    return tuple(t for t, n in absent.items() if n > 1 and n > _MOST * known[t])


def _untestable(run: Run) -> int:
    tested = run.verdicts.tested
    return run.verdicts.untestable + sum(
        int((~t.outcome.testable).sum()) for t in tested
    )


def _checked(
    run: Run,
    agents: Tested,
    mark: float,
    sized: power.Sized | None,
    tell: Callable[[str], None],
) -> tuple[int, int] | None:
    """Plant the usual share again and again, with everything fitted anew."""
    if sized is None or np.isnan(sized.share):
        return None
    measure = power.measure_of(run, agents, exact=True)
    rows = power.typical(agents, mark, low=0.25, high=0.75)
    order = np.random.default_rng(11).permutation(rows)
    ids = agents.ids.astype(str)
    found = 0
    for number in range(_CHECKS):
        tell(f"{run.rule.id}: checking, {number + 1} of {_CHECKS}")
        agent = str(ids[order[number % len(order)]])
        found += measure({agent: sized.share}, 1000 + number)[agent] <= mark
    return found, _CHECKS


def _many(
    run: Run, agents: Tested, mark: float, tell: Callable[[str], None]
) -> tuple[Many, ...]:
    tested = run.verdicts.tested
    floor = next((t for t in tested if t.kind == "floor"), None)
    reached = (
        floor is not None
        and bool(floor.outcome.testable.any())
        and run.rule.detector.floor_planted
    )
    able = agents.ids.astype(str)[agents.outcome.testable]
    order = np.random.default_rng(13).permutation(able)
    out = []
    for part in MANY:
        number = max(1, round(part * len(order)))
        tell(f"{run.rule.id}: planting into {number} agents at once")
        # When half of them are reported, each needs less than one alone would.
        marks = {"agent": min(mark * max(1, number // 2), 0.5)}
        if reached:
            marks["floor"] = _floor_mark(tested, power.level_of(run))
        measure = _together(run, [str(a) for a in order[:number]], marks)
        share = power.search(measure, ["all"], 0.5, plants=_RUNS)
        said = None if np.isnan(share) else share
        out.append(Many(part=part, agents=number, share=said, floor=reached))
    return tuple(out)


def _floor_mark(tested: Sequence[Tested], level: float) -> float:
    """Return the p-value at which the floor alone would be reported."""
    sizes = [int(t.outcome.testable.sum()) for t in tested]
    shares = [t.share for t in tested]
    budget = sum(s for n, s in zip(sizes, shares, strict=True) if n)
    own = next(t for t in tested if t.kind == "floor")
    return level * own.share / budget


def _together(run: Run, ids: list[str], marks: Mapping[str, float]) -> power.Measure:
    """Return what plants one share into many agents and fits everything anew.

    Its p-value is below one half if the floor or the middle one of these agents would
    be reported.
    """
    detector = run.rule.detector

    def score(p: FloatArray, mark: float) -> float:
        known = p[~np.isnan(p)]
        if not len(known):
            return -9.0
        return float(
            sp.special.ndtri(mark)
            - sp.special.ndtri(np.clip(np.median(known), 1e-300, 1 - 1e-9))
        )

    def measure(shares: Mapping[str, float], seed: int) -> dict[str, float]:
        ((name, share),) = shares.items()
        planted = detector.plant(
            run.summaries, run.found, dict.fromkeys(ids, share), seed
        )
        if planted is None:
            return {name: float("nan")}
        best = -9.0
        least = run.rule.min_effect
        for tested in minimum.tested(detector, planted, run.found, least=least).tested:
            if tested.kind not in marks:
                continue
            p = tested.outcome.p_value
            if tested.kind == "agent":
                p = p[np.isin(tested.ids.astype(str), ids)]
            best = max(best, score(p, marks[tested.kind]))
        return {name: float(sp.special.ndtr(-best))}

    return measure
