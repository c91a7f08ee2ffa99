"""Two questions of each agent: piled up before the deadline, and did they bounce."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats import conjunction, peers, selection
from kpiaudit.stats.dispersion import day_dispersion
from kpiaudit.stats.odds import Tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome

_MIN_DAYS = 10
_MIN_OPEN_LATE = 20
_PARTS = 3
_TOGETHER = 0.15
"""Correlation of honest agents' answers to the two questions.

Whoever is hasty closes more before the deadline and has more tickets come back. Habits
may go together more closely than that; the answers, which carry the noise of counts and
the doubt about the honest spread, don't: .1 where habits are correlated by .5.
"""
_MORE_OF_FEW, _FEW = 2, 12
"""In centres of at most twelve agents so many more are taken to make an effort than do:
seven peers say little of how bounces differ honestly, least of all near the deadline.
Without that, 34 of 360 simulated centres of eight agents, one or two of whom make an
honest effort, had a finding, with it 17; of agents who game a tenth of their late
tickets, one of eight, 60 % are found instead of 70 %."""
_WEAK_BOUNCE, _WEAK_NEAR = 1.5, 1.1
"""Multiples of honest odds that are always allowed where no column says when a ticket
was due: the other questions that are left, a hasty habit answers with yes as well."""


@frozen
class Limits:
    """The hypotheses: what an honest agent may still show.

    How far honest agents differ is learnt and stands inside each question already. To
    allow a multiple of honest odds on top of that, 1.5 for bounces and 1.1 for early
    closures, left 2 of 1,822 honest centres with a finding and half the power for
    agents who close a tenth of their late tickets early; without it 4 of 880 have one,
    and 4 of 320 where an agent's habits go together, the worst kind.

    Args:
        events: Bounced closures beyond peers'.
        bounce_ratio: Odds of bouncing, near the deadline, as a multiple of honest odds.
        near_ratio: Odds of closing near the deadline, as a multiple of honest odds.
        min_near: Fewest closures near the deadline.
    """

    events: float
    bounce_ratio: float
    near_ratio: float
    min_near: int


@frozen
class Counted:
    """The summaries with agents numbered in their order."""

    ids: NDArray[Any]
    cells: Summary
    subject: IntArray
    days: Summary
    day_subject: IntArray

    @classmethod
    def of(cls, summaries: Summaries) -> Counted:
        """Number the agents of the summaries."""
        cells, days = summaries["cells"], summaries["days"]
        names = cells["agent_id"].astype(str)
        ids, subject = np.unique(names, return_inverse=True)
        keep = np.isin(days["agent_id"].astype(str), ids)
        days = days.where(keep)
        return cls(
            ids=ids.astype(object),
            cells=cells,
            subject=subject.astype(np.int64),
            days=days,
            day_subject=np.searchsorted(ids, days["agent_id"].astype(str)),
        )

    def total(self, name: str) -> FloatArray:
        """Sum a count over each agent's cells, shape (n_agents,)."""
        each = self.cells.floats(name)
        sums = np.bincount(self.subject, weights=each, minlength=len(self.ids))
        return np.asarray(sums, dtype=np.float64)

    def dispersion(self, events: str, trials: str) -> FloatArray:
        """Return each agent's variance between days over the binomial one."""
        return day_dispersion(
            self.day_subject,
            self.days.ints("due_day"),
            self.days.ints(events),
            self.days.ints(trials),
            n_subjects=len(self.ids),
        )

    def distinct_days(self, name: str) -> FloatArray:
        """Count the days on which each agent has such closures."""
        some = (self.days.ints(name) > 0).astype(np.float64)
        days = np.bincount(self.day_subject, weights=some, minlength=len(self.ids))
        return np.asarray(days, dtype=np.float64)


def ask(
    counted: Counted, limits: Limits, how: str, learn: BoolArray | None = None
) -> Outcome:
    """Ask what the columns allow; where both questions can be asked, both must hold.

    Args:
        counted: Counts per agent.
        limits: What honest agents may show.
        how: What stands for the deadline: due, sla or none.
        learn: From whom to learn what is honest, shape (n_agents,); None stands for
            all.
    """
    if how != "due":
        limits = replace(
            limits,
            bounce_ratio=max(limits.bounce_ratio, _WEAK_BOUNCE),
            near_ratio=max(limits.near_ratio, _WEAK_NEAR),
        )
    if how == "none":
        return _only_bounced(counted, limits)
    ask_bounced = _in_time_bounced if how == "sla" else _bounced
    bounced = ask_bounced(counted, limits, learn)
    near = _near(counted, limits, learn)
    few = counted.distinct_days("near_known") < _MIN_DAYS
    near_p = np.where(few, np.nan, near.p_value)
    more = _MORE_OF_FEW if int((~np.isnan(near_p)).sum()) <= _FEW else 0
    p = conjunction.carried(near_p, bounced.p_value, together=_TOGETHER, more=more)

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        return conjunction.breaking_point(
            near, bounced, rows, threshold, together=_TOGETHER, more=more
        )

    return replace(
        bounced,
        p_value=p,
        extra={**bounced.extra, **_extra(counted, near, bounced)},
        breaking_point=breaking_point,
    )


def both(
    counted: Counted, limits: Limits, learn: BoolArray | None
) -> tuple[Outcome, Outcome]:
    """Return the answers to the two questions apart, as fitted where due times are."""
    return _near(counted, limits, learn), _bounced(counted, limits, learn)


def _near(counted: Counted, limits: Limits, learn: BoolArray | None) -> Outcome:
    """Compare tickets closed in the last part of the clock with those open then."""
    cells = counted.cells
    stratum = cells.ints("clock") * _PARTS + cells.ints("due_part")
    return peers.excess(
        counted.subject,
        stratum,
        cells.ints("near"),
        cells.ints("open_late"),
        n_subjects=len(counted.ids),
        dispersion=counted.dispersion("near", "open_late"),
        min_ratio=limits.near_ratio,
        min_trials=_MIN_OPEN_LATE,
        learn=learn,
    )


def _bounced(counted: Counted, limits: Limits, learn: BoolArray | None) -> Outcome:
    """Compare how much more often near closures bounce than others, with peers."""
    cells = counted.cells
    tables = Tables.of(
        counted.subject,
        cells.ints("clock"),
        contacts=cells.ints("known"),
        invited=cells.ints("known") - cells.ints("bounced"),
        trouble=cells.ints("near_known"),
        both=cells.ints("near_known") - cells.ints("near_bounced"),
        n_subjects=len(counted.ids),
    )
    return selection.withheld(
        tables,
        min_trouble=float(limits.min_near),
        min_excess=limits.events,
        min_ratio=limits.bounce_ratio,
        dispersion=counted.dispersion("near_bounced", "near_known"),
        learn=learn,
    )


def _in_time_bounced(
    counted: Counted, limits: Limits, learn: BoolArray | None
) -> Outcome:
    """Compare how often tickets reported as in time bounce, with peers'.

    Whoever reports late tickets as in time has hardly any others left to compare with.
    """
    outcome = peers.excess(
        counted.subject,
        np.zeros_like(counted.subject),
        counted.cells.ints("near_bounced"),
        counted.cells.ints("near_known"),
        n_subjects=len(counted.ids),
        dispersion=counted.dispersion("near_bounced", "near_known"),
        min_excess=limits.events,
        min_ratio=limits.near_ratio,
        min_trials=_MIN_OPEN_LATE,
        learn=learn,
    )
    # As in the other comparison, the odds are those of staying closed.
    return replace(
        outcome,
        ratio=1.0 / outcome.ratio,
        ratio_low=1.0 / outcome.ratio_high,
        ratio_high=1.0 / outcome.ratio_low,
    )


def _only_bounced(counted: Counted, limits: Limits) -> Outcome:
    """Compare all closures that bounced with peers', where no deadline is known."""
    outcome = peers.excess(
        counted.subject,
        np.zeros_like(counted.subject),
        counted.cells.ints("bounced"),
        counted.cells.ints("known"),
        n_subjects=len(counted.ids),
        min_excess=limits.events,
        min_ratio=2.0 * limits.bounce_ratio,
    )
    return replace(outcome, extra=_totals(counted))


def _totals(counted: Counted) -> dict[str, FloatArray]:
    names = [n for n in counted.cells.columns if n not in _KEYS]
    return {name: counted.total(name) for name in names}


_KEYS = ("agent_id", "clock", "due_part")


def _extra(counted: Counted, near: Outcome, bounced: Outcome) -> dict[str, FloatArray]:
    """Return what the wording needs, shape (n_agents,) each."""
    own = _totals(counted)
    sum_near, sum_bounced = own["near_known"].sum(), own["near_bounced"].sum()
    rest = np.maximum(sum_near - own["near_known"], 1.0)
    return own | {
        "near_p_value": near.p_value,
        "near_expected": near.expected,
        "near_ratio": near.ratio,
        "near_low": near.ratio_low,
        "near_high": near.ratio_high,
        "bounce_p_value": bounced.p_value,
        "peers_near_bounce_rate": (sum_bounced - own["near_bounced"]) / rest,
        "near_days": counted.distinct_days("near_known"),
    }
