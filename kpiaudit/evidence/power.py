"""What an agent would have to do to be found: planted, measured, and searched for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy as sp

from kpiaudit.evidence import minimum
from kpiaudit.findings import SmallestDetectable
from kpiaudit.frozen import frozen
from kpiaudit.stats import held, multiplicity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kpiaudit.detectors.base import Summaries, Tested
    from kpiaudit.evidence.runs import Run
    from kpiaudit.stats.outcome import FloatArray, IntArray

POWER = 0.8
ALL_RULES = 0.20
"""Nominal error rate over all rules together; see `multiplicity.select_families`. A
rule is never read at more than its own `max_q`, so this only matters from five rules
on. It is twice the 10 % of honest scans that may show anything, since the tests keep
well below their nominal level: with every rule at its own 5 % fewer than 4 % do
(docs/accuracy.md), and at half of this, patterns that stand alone in an export were
lost for nothing."""
_LOWEST, _HIGHEST = 0.002, 0.98
"""Shares among which the smallest one that is found is looked for."""
_TOGETHER = 8
"""One in so many agents is planted at the same time: few enough to stay the few. By
kept yardsticks their scores move by less than .1 against planting one at a time."""
_MOST_TOGETHER = 12
_PLANTS = 30
_FEWEST = 6
_CERTAIN = 0.09
"""Standard deviation of the log of the share at which the search ends."""
_SURE = 0.95
_NEAR = 0.3
"""Half the width, in logs, within which the last shares are planted."""
_REACH = 0.5
"""Answers this much nearer to or farther from the threshold, in standard deviations,
say no more than that they are."""

_SCORE_SDS = np.array([0.15, 0.3, 0.6, 1.2])
_SPREADS = len(_SCORE_SDS)


class Measure(Protocol):
    """Gives the p-values of planted agents."""

    def __call__(self, shares: Mapping[str, float], seed: int, /) -> dict[str, float]:
        """Plant these shares and return the agents' p-values; nan is untestable."""


@frozen
class Sized:
    """Agents of one size, and the share that would be found with 80 % power.

    Args:
        agents: How many agents there are of that size.
        contacts: Their median number of trials.
        share: The share; nan if not even nearly all would be found so often.
    """

    agents: int
    contacts: float
    share: float


def level_of(run: Run) -> float:
    """Return the q-value at which one more finding of a rule would be reported.

    A rule that shows nothing yet would be one more of those selected.
    """
    if run.selection is None:
        return run.rule.max_q
    chosen = run.selection
    shown = any(bool(np.any(q <= chosen.level)) for q in run.q_value)
    selected = chosen.selected + (not shown)
    level = ALL_RULES * max(selected, 1) / max(chosen.rules, 1)
    return run.rule.max_q * min(level / 0.05, 1.0)


def threshold(verdicts: Sequence[Tested], agents: Tested, level: float) -> float:
    """Return the p-value at which one more agent would be reported.

    Args:
        verdicts: Everything that the rule tested.
        agents: The agents among it.
        level: The q-value.

    Source:
        Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57(1), 289-300: the largest
        p-value that is rejected, given all others.
    """
    sizes = [int(t.outcome.testable.sum()) for t in verdicts]
    weights = multiplicity.kind_weights(sizes, [t.share for t in verdicts])
    p = np.concatenate([t.outcome.p_value[t.outcome.testable] for t in verdicts])
    start = sum(
        n for n, t in zip(sizes, verdicts[: _place(verdicts, agents)], strict=False)
    )
    p = p.copy()
    worst = start + int(
        np.argmax(p[start : start + int(agents.outcome.testable.sum())])
    )
    p[worst] = 0.0
    rejected = int((multiplicity.q_values(p, weights) <= level).sum())
    own = float(weights[worst] / weights.mean())
    return level * rejected / len(p) * own


def _place(verdicts: Sequence[Tested], agents: Tested) -> int:
    return next(i for i, t in enumerate(verdicts) if t is agents)


def smallest_of(run: Run) -> SmallestDetectable | None:
    """Return what a rule's status says it could have found; None if that is unknown.

    Detectors that plant their pattern are asked for the share that one agent of usual
    size would have to affect; others may have said it themselves.
    """
    sized = smallest(run)
    if sized is not None:
        share = None if np.isnan(sized.share) else sized.share
        unit = f"share of {run.rule.detector.stake}"
        return SmallestDetectable(value=share, unit=unit, power=POWER)
    for tested in sorted(run.verdicts.tested, key=lambda t: t.kind != "agent"):
        own = tested.outcome.smallest_detectable
        if not np.isnan(own):
            return SmallestDetectable(value=own, unit=tested.unit, power=POWER)
    return None


def measure_of(run: Run, agents: Tested, *, exact: bool) -> Measure:
    """Return what plants into a rule's summaries and measures the planted agents.

    Args:
        run: The rule, tested.
        agents: Its outcome for agents.
        exact: Fit everything anew instead of measuring by the kept yardsticks.
    """
    detector = run.rule.detector

    def tested(summaries: Summaries) -> Sequence[Tested]:
        least = run.rule.min_effect
        return minimum.tested(detector, summaries, run.found, least=least).tested

    def measure(shares: Mapping[str, float], seed: int) -> dict[str, float]:
        summaries = detector.plant(run.summaries, run.found, shares, seed)
        if summaries is None:
            return dict.fromkeys(shares, float("nan"))
        if exact:
            verdicts = tested(summaries)
        else:
            with held.against(run.yardsticks):
                verdicts = tested(summaries)
        again = next(t for t in verdicts if t.kind == agents.kind)
        p = dict(zip(again.ids.astype(str), again.outcome.p_value, strict=True))
        return {agent: float(p[agent]) for agent in shares}

    return measure


def search(
    measure: Measure,
    ids: Sequence[str],
    mark: float,
    *,
    plants: int,
    together: int = 1,
    seed: int = 0,
) -> float:
    """Return the share at which an agent is found with 80 % power.

    The first shares lie all over the range, the others where the answer is least
    certain; the search ends once it is known to about 10 %.

    Args:
        measure: Plants and measures.
        ids: Agents to plant into, in a random order, again and again.
        mark: p-value at which an agent is found.
        plants: How many agents are planted at most, about.
        together: How many of them at a time.
        seed: Fixes the random numbers.

    Returns:
        The share, in (0, 1); nan where even nearly all would not be enough.
    """
    rng = np.random.default_rng([seed, 7])
    order = [ids[i] for i in rng.permutation(len(ids))]
    shares, scores = np.empty(0), np.empty(0)
    known = crossing(shares, scores)
    first = 0
    while first < max(plants, 3):
        chosen = [order[(first + i) % len(order)] for i in range(together)]
        # Low-discrepancy places, so that few agents cover a range as well as many.
        turns = (np.arange(first, first + together) + 0.5) * 0.6180339887
        at = np.asarray(turns % 1.0, dtype=np.float64)
        tried = np.clip(np.exp(known.places(at)), _LOWEST, _HIGHEST)
        p = measure(dict(zip(chosen, tried.tolist(), strict=True)), seed + first)
        got = np.array([p[agent] for agent in chosen])
        seen = ~np.isnan(got)
        shares = np.concatenate([shares, np.log(tried[seen])])
        fresh = sp.special.ndtri(mark) - sp.special.ndtri(
            np.clip(got[seen], 1e-300, 1 - 1e-9)
        )
        scores = np.concatenate([scores, fresh])
        first += together
        known = crossing(shares, scores)
        if len(shares) >= _FEWEST and (known.doubt <= _CERTAIN or known.beyond):
            break
    if not len(shares) or known.share > np.log(_HIGHEST):
        return float("nan")
    return float(np.exp(known.share))


@frozen
class Crossing:
    """Where planted agents begin to be found, as far as is known.

    Args:
        share: Log of the share that is found with 80 % power, all doubt included.
        doubt: Standard deviation of that log.
        low: Lower end of where to look next, in logs.
        high: Upper end.
        beyond: It is certain enough that not even nearly all would be found.
    """

    share: float
    doubt: float
    low: float
    high: float
    beyond: bool

    def places(self, at: FloatArray) -> FloatArray:
        """Return log shares to try next, at parts in [0, 1] of where to look."""
        out: FloatArray = self.low + (self.high - self.low) * at
        return out


def crossing(shares: FloatArray, scores: FloatArray) -> Crossing:
    """Say at which log share four in five scores lie above 0.

    Scores rise in a straight line with the log of the share, with a common spread;
    those far from 0 only say on which side they are.

    Args:
        shares: Logs of the planted shares, shape (n,).
        scores: Normal scores of the p-values, less that of the threshold.

    Source:
        Tobin (1958), Econometrica 26(1), 24-36 (the censored line); integrated on a
        grid under a weak prior of its width.
    """
    at, width, sd = (
        a.ravel()[:, None]
        for a in np.meshgrid(
            np.linspace(np.log(_LOWEST) - 0.5, np.log(4.0), 100),
            np.exp(np.linspace(np.log(0.03), np.log(0.8), 7)),
            _SCORE_SDS,
        )
    )
    mean = sd / width * (shares - at)
    inside = np.abs(scores) < _REACH
    near, far = mean[:, inside], mean[:, ~inside]
    log = (-0.5 * ((scores[inside] - near) / sd) ** 2 - np.log(sd)).sum(axis=1)
    log += sp.special.log_ndtr((np.sign(scores[~inside]) * far - _REACH) / sd).sum(
        axis=1
    )
    log -= 0.5 * (np.log(width[:, 0] / 0.25) / 0.6) ** 2
    log -= 0.5 * (np.log(sd[:, 0] / 0.3) / 0.6) ** 2
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    found = at[:, 0] + float(sp.special.ndtri(POWER)) * width[:, 0]
    middle = float(weight @ found)
    doubt = float(np.sqrt(weight @ (found - middle) ** 2))
    # What is not known about the line is doubt about the next plant as well.
    grid = np.linspace(np.log(_LOWEST) - 0.5, np.log(4.0), 400)
    seen = weight > weight.max() * 1e-4
    # The spread of the scores, which varies fastest, no longer matters here.
    told = np.where(seen, weight, 0.0).reshape(-1, _SPREADS).sum(axis=1)
    some = told > 0.0
    power = told[some] @ sp.special.ndtr(
        (grid - at[::_SPREADS][some]) / width[::_SPREADS][some]
    )
    share = float(np.interp(POWER * told.sum(), power, grid))
    half = max(2.0 * doubt, _NEAR)
    limits = np.log(_LOWEST), np.log(_HIGHEST)
    return Crossing(
        share=share,
        doubt=doubt,
        low=float(np.clip(middle - half, *limits)),
        high=float(np.clip(middle + half, *limits)),
        beyond=bool(weight[found > limits[1]].sum() > _SURE),
    )


def typical(agents: Tested, level: float, *, low: float, high: float) -> IntArray:
    """Return testable agents without a finding, whose trials lie between two quantiles.

    Args:
        agents: Their outcome.
        level: p-values at or below this are findings.
        low: Lower quantile of the trials.
        high: Upper one.
    """
    outcome = agents.outcome
    able = outcome.testable & ~(np.nan_to_num(outcome.p_value, nan=1.0) <= level)
    if not able.any():
        return np.empty(0, dtype=np.int64)
    least, most = np.quantile(outcome.trials[able], [low, high])
    inside = able & (outcome.trials >= least) & (outcome.trials <= most)
    return np.flatnonzero(inside)


def smallest(
    run: Run,
    *,
    plants: int = _PLANTS,
    exact: bool = False,
    band: tuple[float, float] = (0.25, 0.75),
) -> Sized | None:
    """Return what an agent of one size would have to do to be found with 80 % power.

    Args:
        run: A rule that was tested and selected.
        plants: How many agents are planted at most, about.
        exact: Fit everything anew for each of them, which takes long.
        band: Quantiles of the agents' trials between which that size lies.

    Returns:
        None where the detector can't plant its pattern or tested no agent.
    """
    agents = next((t for t in run.verdicts.tested if t.kind == "agent"), None)
    if agents is None or not run.rule.detector.stake:
        return None
    if not agents.outcome.testable.any():
        return None
    mark = threshold(run.verdicts.tested, agents, level_of(run))
    rows = typical(agents, mark, low=band[0], high=band[1])
    if not len(rows):
        return None
    ids = agents.ids.astype(str)[rows].tolist()
    if run.rule.detector.plant(run.summaries, run.found, {ids[0]: 0.5}, 0) is None:
        return None
    able = int(agents.outcome.testable.sum())
    few = 1 if exact else min(max(1, able // _TOGETHER), _MOST_TOGETHER)
    together = min(few, plants // 3, len(ids))
    share = search(
        measure_of(run, agents, exact=exact),
        ids,
        mark,
        plants=plants,
        together=together,
    )
    return Sized(
        agents=len(rows),
        contacts=float(np.median(agents.outcome.trials[rows])),
        share=share,
    )
