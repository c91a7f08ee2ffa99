"""Looking for a cap agent by agent: few who cut calls hardly show on a whole floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats import peers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kpiaudit.detectors._duration_cap_find import Cap
    from kpiaudit.detectors.base import Summary
    from kpiaudit.stats.outcome import FloatArray, IntArray

BLOCK_S = 15
"""Calls are counted in blocks of so many seconds; two make up half a minute."""
CUTOFFS = np.arange(90, 1141, 30)
"""Cutoffs that are looked at, in seconds: people set caps at half minutes."""
LAST_S = int(CUTOFFS[-1]) + 2 * BLOCK_S

LEAST_APART_S = 5 * BLOCK_S
"""Cutoffs so far apart share no call in their windows."""

ENOUGH_CALLS = 2000
"""So many calls tell how a recorder rounds, and what a search would show."""
_TOO_COARSE_S = 60
"""Recorded in such units, calls that are moved by a few seconds stay where they are."""

_BELOW = 3  # blocks
_FEWEST_CALLS = 20  # around a cutoff, on one half of the days
_DIFFER = 0.2  # sd of log-odds that honest agents are taken to differ by at least
_STANDS_OUT = 4.0  # standard errors
_FEW_AGENTS = 60  # of whom too few to learn an honest spread well from one cutoff
_MOST_PAIRS = 800  # of agent and cutoff, from which the honest spread is learned


@frozen
class Blocks:
    """Calls per agent and block of seconds.

    Args:
        ids: Agents, sorted, shape (n_agents,).
        calls: On even and on odd days, shape (2, n_agents, LAST_S / BLOCK_S).
    """

    ids: NDArray[Any]
    calls: FloatArray

    @classmethod
    def of(cls, rows: Summary) -> Blocks:
        """Lay out the collected counts `agent_id`, `block_s`, `even`, `odd`."""
        ids, agent = rows.coded("agent_id")
        calls = np.zeros((2, len(ids), LAST_S // BLOCK_S))
        block = rows.ints("block_s") // BLOCK_S
        for parity, name in enumerate(("even", "odd")):
            np.add.at(calls[parity], (agent, block), rows.floats(name))
        return cls(ids=ids.astype(object), calls=calls)

    def around(self, parity: int | None) -> tuple[FloatArray, FloatArray]:
        """Return calls near each cutoff, and those around it, (n_agents, n_cutoffs).

        Args:
            parity: Of the days; None adds them up.
        """
        calls = self.calls.sum(axis=0) if parity is None else self.calls[parity]
        sums = np.pad(np.cumsum(calls, axis=1), ((0, 0), (1, 0)))
        at = CUTOFFS // BLOCK_S
        near = calls[:, at - 1]
        return near, sums[:, at + 1] - sums[:, at - 1 - _BELOW]


def propose(blocks: Blocks) -> dict[int, int]:
    """Propose a cutoff for either half of the days, from what the other half shows.

    It is where the calls of one agent pile up most, beside the other agents' calls
    around the same cutoff. Who is tested there is tested on other days.

    Returns:
        Cutoff by the parity of the days on which to test it; empty if none stands out.
    """
    found = {}
    for parity in (0, 1):
        near, around = blocks.around(parity)
        enough = around >= _FEWEST_CALLS
        if enough.sum(axis=0).max(initial=0) <= 3:
            continue
        share = near.sum(axis=0) / np.maximum(around.sum(axis=0), 1.0)
        expected = around * share
        chance = expected * (1.0 - share)
        sd = np.sqrt(np.maximum(chance + (_DIFFER * chance) ** 2, 0.25))
        z = np.where(enough, (near - expected) / sd, -np.inf).max(axis=0)
        if z.max() >= _STANDS_OUT:
            found[1 - parity] = int(CUTOFFS[int(z.argmax())])
    return found


def yardstick(
    blocks: Blocks | None, cap: Cap, moved: Summary | None = None
) -> Blocks | None:
    """Return the calls at other cutoffs if agents are to be measured by them.

    They are where one agent's calls proposed the cap, and where agents are few. A cap
    that stands in the rule is one that agents know of: honest ones may differ more at
    it than where nothing is at stake.

    Args:
        blocks: Calls per agent and block.
        cap: The cutoff.
        moved: Calls that were planted just below cutoffs (`cap_s`, `agent_id`,
            `calls`), if any were.
    """
    if blocks is None or cap.given or any(c not in CUTOFFS for _, c in cap.halves):
        return None
    if not (cap.by_agents or len(blocks.ids) <= _FEW_AGENTS):
        return None
    return blocks if moved is None else _with(blocks, cap, moved)


def _with(blocks: Blocks, cap: Cap, moved: Summary) -> Blocks:
    """Move calls that pass a cutoff below it, on the days on which it is tested."""
    rows = moved.where(moved.ints("cap_s") == cap.cap_s)
    agent = rows.places("agent_id", blocks.ids)
    places = [
        (parity, cutoff // BLOCK_S)
        for half, cutoff in cap.halves
        for parity in ((0, 1) if half is None else (half,))
    ]
    calls = blocks.calls.copy()
    for parity, at in places:
        more = np.round(rows.floats("calls") / len(places))
        past = calls[parity][agent, at:].sum(axis=1)
        # Wherever a call would have ended, it is as likely to be among the moved ones.
        share = np.minimum(more / np.maximum(past, 1.0), 1.0)
        calls[parity][agent, at] -= np.round(calls[parity][agent, at] * share)
        calls[parity][agent, at - 1] += more
    return Blocks(ids=blocks.ids, calls=calls)


def among_cutoffs(
    blocks: Blocks, halves: tuple[tuple[int | None, int], ...], *, min_excess: float
) -> FloatArray:
    """Ask of a cutoff that was searched for, with all others as a yardstick.

    What honest agents differ by is learned from the same agents at the other cutoffs of
    the same roundness, where many values are, instead of from their few values here.
    The p-values are multiplied by the number of cutoffs: an agent's habit lasts, so
    that other days alone do not make up for having chosen the most striking of all.

    Args:
        blocks: Calls per agent and block.
        halves: (parity of the days, cutoff in seconds), as of a cap.
        min_excess: Excess calls that do not count.

    Returns:
        p-values, shape (n_agents,), nan where calls are too few to say.
    """
    size = len(blocks.ids)
    near, around = np.zeros(size), np.zeros(size)
    for parity, cutoff in halves:
        at = int(np.searchsorted(CUTOFFS, cutoff))
        own = blocks.around(parity)
        near, around = near + own[0][:, at], around + own[1][:, at]
    others = _others([cutoff for _, cutoff in halves], size)
    all_near, all_around = blocks.around(None)
    events = np.concatenate([near, all_near[:, others].T.ravel()])
    trials = np.concatenate([around, all_around[:, others].T.ravel()])
    stratum = np.repeat(np.arange(1 + len(others)), size)
    outcome = peers.excess(
        np.arange(len(trials)),
        stratum.astype(np.int64),
        events.astype(np.int64),
        trials.astype(np.int64),
        n_subjects=len(trials),
        min_excess=min_excess,
    )
    p: FloatArray = np.minimum(outcome.p_value[:size] * len(CUTOFFS), 1.0)
    return p


def _others(cutoffs: list[int], size: int) -> IntArray:
    """Return positions of the nearest other cutoffs, as many as the fit can use."""
    gap = np.abs(CUTOFFS[:, None] - np.array(cutoffs)).min(axis=1)
    nearest = np.argsort(gap, kind="stable")
    apart = nearest[gap[nearest] >= LEAST_APART_S]
    return np.sort(apart[: max(_MOST_PAIRS // max(size, 1), 1)])


def unsearched(fewest: int, unit: int, without: str) -> str:
    """Say why no cap can be looked for; empty if it can.

    Args:
        fewest: Calls on the half of the days that has fewer.
        unit: Of the durations, in seconds.
        without: `no day`, `one day` (or only every other one), or empty.
    """
    if without == "no day":
        return (
            "a cap can't be looked for without days (calls.started_at): give cap_s in "
            "a rule, or map calls.started_at"
        )
    if without:
        return (
            "a cap can't be looked for in one day's calls (or in those of every other "
            "day), since what some days propose is tested on others: give cap_s in a "
            "rule, or more days"
        )
    if unit >= _TOO_COARSE_S:
        return (
            f"calls.talk_s is rounded to {unit} s, so a cap can't be looked for: which "
            "calls end just below it can't be seen. Export seconds, or give cap_s in a "
            "rule"
        )
    if fewest >= ENOUGH_CALLS / 2:
        return ""
    return (
        f"too few calls to look for a cap: {fewest:,} on one half of the days, where "
        f"{ENOUGH_CALLS // 2:,} are needed; give cap_s in a rule"
    )
