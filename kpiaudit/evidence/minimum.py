"""A rule's test, with its minimum effect held for every effect it could report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.detectors.base import Detector, Found, Summaries, Tested, Verdicts


def tested(
    detector: Detector, summaries: Summaries, found: Found, *, least: float | None
) -> Verdicts:
    """Test summaries as a scan does, whether real, planted or drawn.

    Args:
        detector: Of the rule.
        summaries: As its `test` takes them.
        found: Likewise.
        least: The rule's `min_effect`, in the unit of the effect; None for no minimum.
    """
    verdicts = detector.test(summaries, found, min_effect=least)
    return replace(verdicts, tested=beyond(verdicts.tested, least))


def beyond(tested: Sequence[Tested], least: float | None) -> tuple[Tested, ...]:
    """Set p-values to 1 where the effect itself is no larger than the rule's minimum.

    A test that adds up several answers may be carried by those to which the minimum
    does not apply, and a floor's curve knows of none; the hypothesis is the rule's all
    the same. Before the correction for many subjects, so that it keeps its level.

    Args:
        tested: Outcomes of one rule.
        least: The rule's `min_effect`, in the unit of the effect; None for no minimum.
    """
    if least is None:
        return tuple(tested)
    out = []
    for each in tested:
        p, effect = each.outcome.p_value, each.outcome.effect
        p = np.where(~np.isnan(p) & (effect <= least), 1.0, p)
        out.append(replace(each, outcome=replace(each.outcome, p_value=p)))
    return tuple(out)
