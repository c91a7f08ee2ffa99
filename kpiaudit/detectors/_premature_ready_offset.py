"""A constant time from ready to handed over, the same to the tick beyond peers'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors._premature_ready_count import OFFSET_TICK_S, OFFSET_TICKS
from kpiaudit.detectors._premature_ready_explain import pair_of
from kpiaudit.detectors._premature_ready_questions import of_pair
from kpiaudit.findings import Corroboration, Effect
from kpiaudit.stats import peers

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Row, Summary
    from kpiaudit.stats.outcome import FloatArray, IntArray

_FEWEST = 50
_REACH = 1
_NORMAL_95 = 1.959963984540054


def corroboration(row: Row) -> tuple[Corroboration, ...]:
    """Ask whether the agent's waits concentrate at one value.

    The value is the agent's most frequent wait on odd days and is looked for on even
    days, and the other way round, so that it is not tested on what suggested it. Peers'
    share at the same value is the yardstick: a process that takes everybody five
    minutes says nothing.
    """
    if pair_of(row)[0] != "ready" or "offsets" not in row.summaries:
        return ()
    rows = of_pair(row.summaries["offsets"], "ready>handed")
    names = np.unique(rows["agent_id"].astype(str))
    if row.id not in names or len(names) < 4:
        return ()
    at = int(np.searchsorted(names, row.id))
    table = _table(rows, names)
    if table[at].sum() < _FEWEST:
        return ()
    hits = np.zeros((len(names), 2), dtype=np.int64)
    modes = []
    for half in (0, 1):
        mode = int(np.argmax(_near(table[at, half])))
        modes.append(mode)
        hits[:, half] = _near(table[:, 1 - half])[:, mode]
    trials = table.sum(axis=2)[:, ::-1].astype(np.int64)
    subject = np.repeat(np.arange(len(names)), 2)
    outcome = peers.excess(
        subject,
        np.tile(np.arange(2), len(names)),
        hits.ravel(),
        trials.ravel(),
        n_subjects=len(names),
        min_trials=_FEWEST,
    )
    return (_said(outcome.p_value[at], hits, trials, at, modes),)


def _said(
    p_value: float, hits: IntArray, trials: IntArray, at: int, modes: list[int]
) -> Corroboration:
    k, n = float(hits[at].sum()), float(trials[at].sum())
    rest = np.delete(hits, at, axis=0).sum() / max(
        np.delete(trials, at, axis=0).sum(), 1
    )
    share = k / max(n, 1.0)
    half = _NORMAL_95 * np.sqrt(max(share * (1 - share), 1e-9) / max(n, 1.0))
    same = abs(modes[0] - modes[1]) <= 2 * _REACH
    known = not np.isnan(p_value)
    where = (modes[0] + 0.5) * OFFSET_TICK_S / 60.0
    return Corroboration(
        source="a constant time between stamp and handover",
        verdict="supports" if known and p_value <= 0.05 and same else "silent",
        effect=Effect(
            name="waits at one value beyond peers'",
            value=float(share - rest),
            low=float(share - rest - half),
            high=float(share - rest + half),
            unit="share",
        ),
        p_value=float(p_value) if known else None,
        detail=f"{share:.0%} of the agent's waits are about {where:.1f} minutes long, "
        f"and {rest:.0%} of the peers'.",
    )


def _table(rows: Summary, names: object) -> IntArray:
    """Return counts by agent, parity and tick, shape (n_agents, 2, n_ticks)."""
    ids = np.asarray(names)
    table = np.zeros((len(ids), 2, OFFSET_TICKS), dtype=np.int64)
    agent = np.searchsorted(ids, rows["agent_id"].astype(str))
    np.add.at(table, (agent, rows.ints("parity"), rows.ints("tick")), rows.ints("n"))
    return table


def _near(counts: IntArray) -> FloatArray:
    """Return the counts within one tick of each, along the last axis."""
    out = counts.astype(np.float64).copy()
    out[..., 1:] += counts[..., :-1]
    out[..., :-1] += counts[..., 1:]
    return out
