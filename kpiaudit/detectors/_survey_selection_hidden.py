"""Trouble that one sign does not show, by which the subject's own yardstick is off."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.stats.odds import Tables
    from kpiaudit.stats.outcome import FloatArray, IntArray, Outcome

_AT_MOST = 0.9
"""Of the missing invitations among contacts without a sign: some always are honest."""


def allowed_for(
    by_sign: Mapping[str, Outcome], tables: Mapping[str, Tables]
) -> dict[str, Outcome]:
    """Raise the upper ends of the excess by what the other signs show.

    How many invitations a sign's contacts would have had is read off the subject's
    contacts without that sign. Some of these had trouble all the same, which other
    signs show, and their missing invitations make the yardstick too mild. How far signs
    go together is not counted: at worst every invitation that the other signs miss was
    missing there, and at best none. The lower end and the estimate stand for none.

    Args:
        by_sign: Outcome of each sign, for the same subjects.
        tables: Tables of each sign.
    """
    over = {s: np.maximum(np.nan_to_num(o.effect), 0.0) for s, o in by_sign.items()}
    total = sum(over.values(), start=np.zeros(len(next(iter(over.values())))))
    return {
        sign: _raised(outcome, _milder(outcome, tables[sign], total - over[sign]))
        for sign, outcome in by_sign.items()
    }


def _milder(outcome: Outcome, tables: Tables, hidden: FloatArray) -> FloatArray:
    """Return by how many missing invitations too many are expected, shape (n,)."""
    easy = tables.per_subject(tables.contacts - tables.trouble)
    kept = tables.per_subject(tables.invited - tables.both)
    gone = np.maximum(easy - kept, 0.5)
    hidden = np.minimum(hidden, _AT_MOST * gone)
    lower = np.log(gone / (gone - hidden)) + np.log(
        (kept + hidden + 0.5) / (kept + 0.5)
    )
    n = np.maximum(outcome.trials, 1.0)
    rate = np.clip(np.nan_to_num(outcome.expected) / n, 1e-9, 1.0 - 1e-9)
    return np.asarray(
        n * (rate - sp.special.expit(sp.special.logit(rate) - lower)), dtype=np.float64
    )


def _raised(outcome: Outcome, by: FloatArray) -> Outcome:
    inner = outcome.interval
    out = replace(outcome, high=outcome.high + by)
    if inner is None:
        return out

    def interval(rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
        low, high = inner(rows, level)
        return low, high + by[rows]

    return replace(out, interval=interval)
