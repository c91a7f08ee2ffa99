"""What the log shows of the system's own rules on who is invited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.detectors._survey_selection_counts import LENGTH_STEP_S

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Summaries, Summary
    from kpiaudit.stats.outcome import FloatArray

_UNANSWERED = 0.02
_LEAK = 0.05
"""Share of the expected invitations up to which a rule is still taken for one."""
_ENOUGH = 15.0
"""Expected invitations whose absence makes a rule."""


def rules(summaries: Summaries) -> dict[str, Any]:
    """Return what was found: period, outage days, contact cap, shortest contact.

    Args:
        summaries: Of the first stage.

    Returns:
        `first_day` and `last_day` with `outage_days`, `gap_days` (nobody is invited so
        many days after an invitation), `shortest_s` (nobody is invited after a shorter
        contact), `no_log` (why the table is no log of invitations); each only where it
        was found.
    """
    found: dict[str, Any] = {}
    if "log" in summaries:
        found |= _log(summaries["log"])
    share = None
    if "days" in summaries and len(summaries["days"]):
        days = summaries["days"]
        invited, n = days.floats("invited"), days.floats("contacts")
        share = float(invited.sum() / max(n.sum(), 1.0))
        found |= _days(days)
    if share and "gaps" in summaries:
        gaps = summaries["gaps"]
        last = _silent(gaps.ints("gap_days"), gaps, share)
        if last is not None:
            # The day on which the rule ends is silent for a part only: out with it.
            found["gap_days"] = last + 1
    if share and "lengths" in summaries:
        lengths = summaries["lengths"]
        last = _silent(lengths.ints("step"), lengths, share)
        if last is not None:
            found["shortest_s"] = (last + 1) * LENGTH_STEP_S
    return found


def _log(log: Summary) -> dict[str, Any]:
    rows, unanswered = log.floats("rows"), log.floats("unanswered")
    if not len(rows) or rows[0] == 0:
        return {"no_log": "the survey table has no rows"}
    out: dict[str, Any] = {}
    if unanswered[0] < rows[0]:
        out["answers_known"] = True
    if unanswered[0] < max(_UNANSWERED * rows[0], 1.0):
        out["no_log"] = (
            "the survey table holds answers only (no row without one), so nobody can "
            "say who was not invited; give the log of invitations"
        )
    for name in ("score_low", "score_high"):
        if name in log and np.isfinite(log.floats(name)[0]):
            out[name] = float(log.floats(name)[0])
    return out


def _days(days: Summary) -> dict[str, Any]:
    day, n, k = days.ints("day"), days.floats("contacts"), days.floats("invited")
    some = np.flatnonzero(k > 0)
    if not len(some):
        return {"no_log": "no call of the export is in the survey table"}
    first, last = int(day[some[0]]) - 1, int(day[some[-1]]) + 1
    usual = float(np.median(k[some] / n[some]))
    inside = (day >= first) & (day <= last)
    silent = inside & (n * usual >= _ENOUGH) & (k <= 0.1 * n * usual)
    return {
        "first_day": first,
        "last_day": last,
        "outage_days": tuple(int(d) for d in day[silent]),
    }


def _silent(at: FloatArray | Any, counts: Summary, share: float) -> int | None:
    """Return the last of the first values at which hardly anybody is invited.

    The rate must jump there: a share that creeps up is a habit and no rule.
    """
    if not len(at):
        return None
    size = int(at.max()) + 1
    n = np.bincount(at, weights=counts.floats("contacts"), minlength=size)
    k = np.bincount(at, weights=counts.floats("invited"), minlength=size)
    expected = np.cumsum(n) * share
    quiet = (np.cumsum(k) <= _LEAK * expected) & (k <= 2.0 * _LEAK * n * share + 0.5)
    ends = np.flatnonzero(quiet & (expected >= _ENOUGH) & (n > 0))
    return int(ends[-1]) if len(ends) else None
