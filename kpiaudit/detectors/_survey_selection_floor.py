"""The whole floor: invitations after trouble before and since a known day."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors._survey_selection_counts import INDEPENDENT
from kpiaudit.detectors._survey_selection_restate import within_customers
from kpiaudit.detectors._survey_selection_signs import ORDER
from kpiaudit.detectors._survey_selection_words import COLUMNS, SIGNS
from kpiaudit.detectors.base import Account, Tested
from kpiaudit.findings import Effect, Evidence, Explanation, RestsOn
from kpiaudit.stats.changing import changed

if TYPE_CHECKING:
    from kpiaudit.detectors._survey_selection_signs import Cells
    from kpiaudit.detectors.base import Found, Row, Summaries

SHARE = 0.2
MIN_RATIO = 1.25
"""A fall of the floor's odds by less than this factor is no finding."""


def floor(cells: Cells) -> Tested | None:
    """Test the floor by the sign that tells most; None without a day to compare with.

    Which sign that is depends on how many contacts have it before and since, and not on
    who was invited.
    """
    if "after" not in cells.counts:
        return None
    since = cells.counts.ints("after") == 1
    signs = [s for s in cells.signs() if s in INDEPENDENT] or list(cells.signs())

    def told(sign: str) -> float:
        trouble = cells.counts.floats(sign)
        return float(min(trouble[since].sum(), trouble[~since].sum()))

    sign = max(signs, key=told)
    outcome = changed(
        cells.tables(sign, ~since), cells.tables(sign, since), min_ratio=MIN_RATIO
    )
    extra = {"sign": np.array([float(ORDER.index(sign))])}
    return Tested(
        kind="floor",
        ids=np.array(["all"], dtype=object),
        outcome=replace(outcome, extra={**outcome.extra, **extra}),
        share=SHARE,
        unit="invitations",
    )


def account(row: Row, day: str) -> Account:
    """Put the floor's finding into words."""
    sign = ORDER[int(row.value("sign"))]
    ratio, low, high = (row.value(n) for n in ("ratio", "ratio_low", "ratio_high"))
    facts = row.outcome.facts
    excess, trials = row.value("effect"), row.value("trials")
    invited = float(row.summaries["cells"].ints("invited").sum())
    names = ["surveys.call_id", *COLUMNS[sign]]
    return Account(
        headline=(
            f"Since {day} the whole floor invites less after trouble: {excess:.0f} of "
            f"{trials:.0f} {SIGNS[sign]} would have been invited before and were not."
        ),
        effect=Effect(
            name="invitations withheld after trouble",
            value=excess,
            low=row.value("low"),
            high=row.value("high"),
            unit="invitations",
        ),
        n=int(trials),
        observed=row.value("observed"),
        expected=row.value("expected"),
        harm=float(np.clip(excess / max(invited + excess, 1.0), 0.0, 1.0)),
        evidence=(
            Evidence(
                name="odds of inviting after trouble, since against before",
                value=ratio,
                text=f"95 % interval {low:.2f} to {high:.2f}, each agent with itself",
            ),
            Evidence(
                name="share of agents whose odds fell",
                value=facts.get("share_below"),
                unit="share",
            ),
        ),
        explanations=(
            Explanation(
                text="Unhappy customers leave before the survey",
                status="ruled_out",
                detail="they did so before that day as well, and the change is counted",
            ),
            Explanation(
                text="The system's own rule on invitations changed on that day",
                status="open",
                detail="the survey tool's settings of that week tell",
            ),
        ),
        rests_on=tuple(
            RestsOn(
                column=name,
                origin=row.data.origin(name),
                role="sign of trouble" if i else "numerator",
            )
            for i, name in enumerate(names)
        ),
        peers="The same agents before that day.",
        next_step=(
            "Ask who changed what in the survey tool that week, and what was announced."
        ),
        # Before and after alone can't tell a target from another change of that day.
        grade_cap="moderate" if sign in INDEPENDENT else "weak",
    )


def described(summaries: Summaries, found: Found, sign: str) -> tuple[str, ...]:
    """Say what the floor's customers show within themselves, as a description.

    Where a customer's contacts compete for one invitation (repeat contacts, a limit on
    how often a customer is asked) the comparison is bent, and nothing is said.
    """
    if sign == "repeat" or found.get("gap_days"):
        return ()
    if "pairs" not in summaries or not len(summaries["pairs"]):
        return ()
    pairs = summaries["pairs"]
    odds, customers = within_customers(pairs, np.ones(len(pairs), dtype=np.bool_))
    if np.isnan(odds.log[0]):
        return ()
    low, high = (float(end[0]) for end in odds.interval())
    sentence = (
        f"Within {customers:.0f} customers with contacts of both kinds, the odds of an "
        f"invitation are {np.exp(odds.log[0]):.2f} times ({low:.2f} to {high:.2f}) as "
        f"high for {SIGNS[sign]} as for their other contacts, whoever the agent."
    )
    return (sentence,)
