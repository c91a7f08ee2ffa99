"""Two questions of each agent: stamped just before the promise, and then waited?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors import _premature_ready_own as own
from kpiaudit.stats import peers, selection
from kpiaudit.stats.dispersion import day_dispersion
from kpiaudit.stats.odds import Tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome

_MIN_OPEN_LATE = 20
_MULTIPLES = np.exp(np.linspace(0.0, np.log(20.0), 30))
_KEYS = ("pair", "agent_id", "clock")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The hypotheses: what an honest agent may still show.

    Args:
        events: Long waits after stamps near the promise, beyond peers'.
        wait_ratio: Odds of a long wait, near the promise, as a multiple of honest odds.
        near_ratio: Odds of a stamp near the promise, as a multiple of honest odds.
        own_ratio: The same as `wait_ratio` against the agent's own other orders, on
            top of what all agents have in common.
        gate: P-value at which stamps count as piled up.
        extra_ms: Longer wait, for each order in excess, that is not worth a finding.
        min_near: Fewest orders stamped near the promise.
        min_days: Fewest days with such orders.
    """

    events: float
    wait_ratio: float
    near_ratio: float
    own_ratio: float
    gate: float
    extra_ms: float
    min_near: int
    min_days: int


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The summaries of one pair, with agents numbered in their order."""

    ids: NDArray[Any]
    cells: Summary
    subject: IntArray
    days: Summary
    day_subject: IntArray

    @classmethod
    def of(cls, summaries: Summaries, pair: str, ids: NDArray[Any]) -> Counted:
        """Take one pair's rows; `ids` are all agents, sorted."""
        cells = of_pair(summaries["cells"], pair)
        days = of_pair(summaries["days"], pair)
        names = ids.astype(str)
        days = days.where(np.isin(days["agent_id"].astype(str), names))
        return cls(
            ids=ids,
            cells=cells,
            subject=np.searchsorted(names, cells["agent_id"].astype(str)),
            days=days,
            day_subject=np.searchsorted(names, days["agent_id"].astype(str)),
        )

    def total(self, name: str) -> FloatArray:
        """Sum a count over each agent's cells, shape (n_agents,)."""
        each = self.cells.floats(name)
        sums = np.bincount(self.subject, weights=each, minlength=len(self.ids))
        return np.asarray(sums, dtype=np.float64)

    def totals(self) -> dict[str, FloatArray]:
        """Return all counts per agent."""
        names = [n for n in self.cells.columns if n not in _KEYS]
        return {name: self.total(name) for name in names}

    def dispersion(self, events: str, trials: str) -> FloatArray:
        """Return each agent's variance between days over the binomial one."""
        return day_dispersion(
            self.day_subject,
            self.days.ints("day"),
            self.days.ints(events),
            self.days.ints(trials),
            n_subjects=len(self.ids),
        )

    def distinct_days(self, name: str) -> FloatArray:
        """Count the days on which each agent has such orders."""
        some = (self.days.ints(name) > 0).astype(np.float64)
        days = np.bincount(self.day_subject, weights=some, minlength=len(self.ids))
        return np.asarray(days, dtype=np.float64)


def of_pair(rows: Summary, pair: str) -> Summary:
    """Return the rows of one pair of stamp and later instant."""
    return rows.where(rows["pair"].astype(str) == pair)


def pairs_of(summaries: Summaries) -> tuple[str, ...]:
    """Return the pairs of stamp and later instant that were counted, sorted."""
    return tuple(np.unique(summaries["cells"]["pair"].astype(str)).tolist())


def all_agents(summaries: Summaries) -> NDArray[Any]:
    """Return the agents of all pairs, sorted, as an object array of text."""
    return np.unique(summaries["cells"]["agent_id"].astype(str)).astype(object)


def ask(counted: Counted, limits: Limits, usual: float) -> Outcome:
    """Ask both questions of one pair; both have to be answered with yes.

    The second question carries the error rate, since haste before a promise piles
    stamps up as well; the first has to reach the level of the gate. Each is asked
    against peers and against the agent's own orders, and the smaller p-value counts
    twice. Agents whose stamps do not pile up need no second question, so that its
    p-values are weighted by the share of those who do.

    Args:
        counted: Counts of one pair.
        limits: What honest agents may show.
        usual: Share of stamps before the promise, out of those around it, that a
            smooth curve through the floor's stamps gives; nan if there is none.

    Source:
        Genovese, Roeder & Wasserman (2006), Biometrika 93:509-524 (weights that do not
        depend on the p-values); Bourgon, Gentleman & Huber (2010), PNAS 107:9546-9551
        (filtering by an independent question).
    """
    tables = _tables(counted)
    clustered = counted.dispersion("near_long", "near_known")
    waited = selection.withheld(
        tables,
        min_trouble=float(limits.min_near),
        min_excess=limits.events,
        min_ratio=limits.wait_ratio,
        dispersion=clustered,
    )
    spread = float(waited.facts.get("spread", np.nan))

    def own_waited(multiple: float) -> FloatArray:
        """Return own p-values if honest agents differed this many times more."""
        if np.isnan(spread):
            return np.full(len(counted.ids), np.nan)
        return own.waited(
            _scores(counted),
            allowed=limits.own_ratio,
            events=limits.events,
            spread=spread * multiple,
            dispersion=clustered,
        )

    own_p = own_waited(1.0)
    near = _near(counted, limits)
    piled_p = own.piled(
        counted.total("near"),
        counted.total("sides"),
        usual=usual,
        allowed=limits.near_ratio,
        dispersion=counted.dispersion("near", "open_late"),
    )
    first = _either(near.p_value, piled_p)
    second = np.where(np.isnan(waited.p_value), np.nan, _either(waited.p_value, own_p))
    days = counted.distinct_days("near_known")
    second[days < limits.min_days] = np.nan
    piled = ~np.isnan(second) & (first <= limits.gate)
    share = max(int(piled.sum()), 1) / max(int((~np.isnan(second)).sum()), 1)
    p = np.where(piled, second * share, np.maximum(first, second))
    totals = counted.totals()
    extra_ms = _extra_wait(totals)
    # Waits that are longer by seconds are longer for reasons of no interest here.
    trivial = extra_ms < limits.extra_ms * np.maximum(waited.effect, 1.0)
    p = np.where(trivial & ~np.isnan(p), 1.0, p)
    rest = np.maximum(totals["near_known"].sum() - totals["near_known"], 1.0)
    others = totals["near_long"].sum() - totals["near_long"]
    extra = totals | {
        "near_p_value": near.p_value,
        "near_own_p_value": piled_p,
        "near_expected": near.expected,
        "near_ratio": near.ratio,
        "wait_p_value": waited.p_value,
        "wait_own_p_value": own_p,
        "peers_near_long_rate": others / rest,
        "extra_ms": extra_ms,
        "near_days": days,
    }

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        level = threshold / share / 2.0
        return _breaking_point(waited, own_waited, rows, level)

    return replace(
        waited,
        p_value=p,
        extra={**waited.extra, **extra},
        breaking_point=breaking_point,
    )


def _breaking_point(
    waited: Outcome,
    own_waited: Callable[[float], FloatArray],
    rows: IntArray,
    level: float,
) -> FloatArray:
    """Return how many times the honest spread may grow before both tests are lost."""
    last = np.ones(len(rows))
    for multiple in _MULTIPLES:
        last = np.where(own_waited(multiple)[rows] <= level, multiple, last)
    if waited.breaking_point is None:
        return last
    return np.asarray(np.fmax(last, waited.breaking_point(rows, level)))


def _either(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return twice the smaller p-value, or the only one there is."""
    both = ~np.isnan(one) & ~np.isnan(other)
    return np.asarray(np.minimum(np.fmin(one, other) * np.where(both, 2.0, 1.0), 1.0))


def _near(counted: Counted, limits: Limits) -> Outcome:
    """Compare stamps just before the promise with what was still open then."""
    cells = counted.cells
    return peers.excess(
        counted.subject,
        cells.ints("clock"),
        cells.ints("near"),
        cells.ints("open_late"),
        n_subjects=len(counted.ids),
        dispersion=counted.dispersion("near", "open_late"),
        min_ratio=limits.near_ratio,
        min_trials=_MIN_OPEN_LATE,
    )


def _tables(counted: Counted) -> Tables:
    """Return a table per agent and clock: near the promise against a short wait."""
    cells = counted.cells
    return Tables.of(
        counted.subject,
        cells.ints("clock"),
        contacts=cells.ints("known"),
        invited=cells.ints("known") - cells.ints("long"),
        trouble=cells.ints("near_known"),
        both=cells.ints("near_known") - cells.ints("near_long"),
        n_subjects=len(counted.ids),
    )


def _scores(counted: Counted) -> own.Scores:
    cells = counted.cells
    near, near_score = cells.floats("near_known"), cells.floats("near_score")
    return own.Scores(
        subject=counted.subject,
        near=near,
        near_score=near_score,
        far=cells.floats("known") - near,
        far_score=cells.floats("score") - near_score,
        squares=cells.floats("score_squared"),
        n_subjects=len(counted.ids),
    )


def _extra_wait(totals: dict[str, FloatArray]) -> FloatArray:
    """Return how much longer all near orders waited than the agent's others, in ms."""
    near = np.maximum(totals["near_known"], 1.0)
    far = np.maximum(totals["known"] - totals["near_known"], 1.0)
    return totals["near_wait_ms"] - near * totals["far_wait_ms"] / far


def strongest(by_pair: Mapping[int, Outcome]) -> Outcome:
    """Give each subject its outcome at the pair where it is the least likely.

    The p-value is multiplied by how many pairs were tested at that subject. The extra
    `pair` says which one it is, and `p_0`, `p_1`, ... what each of them gave.

    Args:
        by_pair: Outcomes of the same subjects, by the position of their pair.
    """
    outcomes, pairs = list(by_pair.values()), np.array(list(by_pair))
    p = np.stack([o.p_value for o in outcomes])
    tested = (~np.isnan(p)).sum(axis=0)
    best = np.argmin(np.where(np.isnan(p), np.inf, p), axis=0)
    at = np.arange(p.shape[1])

    def taken(arrays: Sequence[FloatArray]) -> FloatArray:
        return np.asarray(np.stack(list(arrays))[best, at], dtype=np.float64)

    extra = {n: taken([o.extra[n] for o in outcomes]) for n in outcomes[0].extra}

    def interval(rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
        both = [o.interval(rows, level) for o in outcomes if o.interval is not None]
        low = np.stack([b[0] for b in both])
        high = np.stack([b[1] for b in both])
        pick = best[rows], np.arange(len(rows))
        return low[pick], high[pick]

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        level = threshold / max(len(outcomes), 1)
        each = [
            o.breaking_point(rows, level)
            for o in outcomes
            if o.breaking_point is not None
        ]
        return np.asarray(np.stack(each)[best[rows], np.arange(len(rows))])

    full = all(o.interval is not None for o in outcomes)
    broken = all(o.breaking_point is not None for o in outcomes)
    first = outcomes[int(np.bincount(best, minlength=len(outcomes)).argmax())]
    return replace(
        first,
        trials=taken([o.trials for o in outcomes]),
        observed=taken([o.observed for o in outcomes]),
        expected=taken([o.expected for o in outcomes]),
        p_value=np.minimum(taken(list(p)) * np.maximum(tested, 1), 1.0),
        effect=taken([o.effect for o in outcomes]),
        low=taken([o.low for o in outcomes]),
        high=taken([o.high for o in outcomes]),
        ratio=taken([o.ratio for o in outcomes]),
        ratio_low=taken([o.ratio_low for o in outcomes]),
        ratio_high=taken([o.ratio_high for o in outcomes]),
        extra=extra
        | {f"p_{i}": outcome.p_value for i, outcome in by_pair.items()}
        | {"pair": pairs[best].astype(np.float64)},
        interval=interval if full else None,
        breaking_point=breaking_point if broken else None,
    )
