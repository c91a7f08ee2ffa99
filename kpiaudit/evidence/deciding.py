"""Let other sources help to decide which agents are reported."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.evidence import answers, corroborate, following
from kpiaudit.stats import contrast, multiplicity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.detectors.base import Tested
    from kpiaudit.evidence.runs import Run
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray, Outcome
    from kpiaudit.tables.dataset import Dataset


def q_values(tested: Sequence[Tested]) -> tuple[FloatArray, ...]:
    """Return q-values within a rule, over all its kinds of subject together."""
    if not tested:
        return ()
    sizes = [int(t.outcome.testable.sum()) for t in tested]
    weight = multiplicity.kind_weights(sizes, [t.share for t in tested])
    p = np.concatenate([t.outcome.p_value for t in tested])
    spread = np.ones_like(p)
    spread[~np.isnan(p)] = weight
    q = multiplicity.q_values(p, spread)
    return tuple(np.split(q, np.cumsum([len(t.ids) for t in tested])[:-1]))


def decide(runs: Sequence[Run], data: Dataset) -> None:
    """Weigh agents' p-values by what other sources say about their flagged records.

    Only agents who could be reported with the largest weight there is are asked about;
    for all others the answer could change nothing. Sources on which a test rests
    already are not heard, and without any other a rule stays as it was.

    Args:
        runs: Tested rules with their q-values; both are changed.
        data: All tables.

    Source:
        Ignatiadis, Wang & Ramdas (2024), Biometrika 111:417-439 (e-values as weights
        of p-values in a Benjamini-Hochberg procedure).
    """
    asked = [run for run in runs if _candidates(run) and _others(run, data)]
    if asked:
        corroborate.hear(asked, data)
    for run in asked:
        weigh(run)


def weigh(run: Run) -> None:
    """Weigh the p-values of one rule by what was heard about its records."""
    for place, within in _candidates(run):
        tested = run.verdicts.tested[place]
        weighed = replace(tested, outcome=_weighed(run, tested, within))
        both = (
            *run.verdicts.tested[:place],
            weighed,
            *run.verdicts.tested[place + 1 :],
        )
        run.verdicts = replace(run.verdicts, tested=both)
        run.q_value = q_values(both)


def _candidates(run: Run) -> list[tuple[int, BoolArray]]:
    """Return where a rule's agents stand, and which of them are within reach."""
    if run.reason is not None or not run.rule.detector.alternative.decides:
        return []
    reach = run.rule.max_q * contrast.MOST_WEIGHT
    found = (
        (place, np.nan_to_num(q, nan=1.0) <= reach)
        for place, (tested, q) in enumerate(
            zip(run.verdicts.tested, run.q_value, strict=True)
        )
        if tested.kind == "agent"
    )
    return [(place, within) for place, within in found if within.any()]


def _others(run: Run, data: Dataset) -> bool:
    """Say whether any source can be asked on which the test does not rest."""
    usable, _ = following.usable(run, data)
    return any(s.id not in run.rule.detector.alternative.counted for s in usable)


def _weighed(run: Run, tested: Tested, within: BoolArray) -> Outcome:
    """Return the outcome with the p-values of those within reach weighed."""
    bets = _bets(run, tested, within)
    outcome = tested.outcome
    p = contrast.weighed(outcome.p_value, bets)
    # What the subject's own calls or days say against it, no other source mends.
    p = np.fmax(p, outcome.extra.get("p_least", np.zeros(len(p))))
    p = np.where(within, p, outcome.p_value)
    inner = outcome.breaking_point

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        if inner is None:
            return np.full(len(rows), np.nan)
        levels = (contrast.needed(threshold, float(bets[row])) for row in rows)
        parts = [
            inner(np.array([row]), level)
            for row, level in zip(rows, levels, strict=True)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    return replace(
        outcome,
        p_value=p,
        extra={**outcome.extra, "p_alone": outcome.p_value, "e_others": bets},
        breaking_point=None if inner is None else breaking_point,
    )


def _bets(run: Run, tested: Tested, within: BoolArray) -> FloatArray:
    """Return what all other voices together bet against each agent's honesty."""
    alternative = run.rule.detector.alternative
    bets = np.ones(len(tested.ids))
    if run.heard is None:
        return bets
    names = tested.ids.astype(str)
    candidates = set(names[within].tolist())
    said: dict[int, list[tuple[str, float]]] = {}
    for source, cells in run.heard.answers():
        if source.id in alternative.counted:
            continue
        for i in np.flatnonzero(within).tolist():
            mine = cells.flagged(str(names[i]))
            answer = answers.answered(cells, mine, candidates, alternative)
            if answer is not None:
                said.setdefault(i, []).append((source.voice, answer.contrast.e_value))
    for i, heard in said.items():
        bets[i] = contrast.together(heard)
    return bets
