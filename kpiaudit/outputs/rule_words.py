"""What became of a rule, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kpiaudit.outputs.words import amount, count, figure, restatement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.findings import PlaceboRuns, RuleStatus, Selection


def selection_line(item: Selection | None) -> str:
    """Say how many rules were selected, and the level left; empty if not known."""
    if item is None:
        return ""
    return (
        f"{item.selected} of {count(item.rules, 'rule')} selected; level left for this "
        f"rule {figure(item.level)}"
    )


def rule_lines(rule: RuleStatus, *, verbose: int = 0) -> tuple[str, ...]:
    """Say what became of a rule, what it tested, and what it could not see."""
    if rule.status == "skipped":
        return (
            rule.reason or "no reason given",
            *rule.blind_spots,
            *rule.unheard,
        )
    tested = count(rule.tested, "subject")
    lines = [
        f"{tested} tested, {rule.untestable:,} with too little data to say",
        f"{count(rule.flagged, 'subject')} with a finding",
        rule.reason or "",
        *(f"found: {text}" for text in (*rule.found, *rule.withdrawn)),
        *(f"could not see: {text}" for text in (*rule.blind_spots, *rule.unheard)),
        *floor_lines(rule),
        smallest_line(rule),
        placebo_line(rule),
        *(_rule_figures(rule) if verbose else ()),
    ]
    return tuple(line for line in lines if line)


def floor_lines(rule: RuleStatus) -> tuple[str, ...]:
    """Say what the whole floor's KPIs would have been without the findings."""
    return tuple(f"the whole floor: {restatement(item)}" for item in rule.restated)


def smallest_line(rule: RuleStatus) -> str:
    """Say how much could be there without a finding; empty if that is not known."""
    item = rule.smallest_detectable
    if item is None:
        return ""
    chance = f"with {100 * item.power:.0f}% probability"
    known = known_share(rule)
    if known is None:
        stake = item.unit.removeprefix("share of ")
        return (
            "no finding says nothing about one person: a pattern in all of "
            f"{stake} could still have been missed"
        )
    about = " about the others" if rule.flagged else ""
    seen = f"that much would have been seen {chance}"
    return f"no finding{about} means less than {known}: {seen}"


def known_share(rule: RuleStatus) -> str | None:
    """Return the smallest effect in words; None where not even all would be seen."""
    item = rule.smallest_detectable
    if item is None or item.value is None or not math.isfinite(item.value):
        return None
    _, shared, stake = item.unit.partition("share of ")
    if shared:
        share = f"{100 * item.value:.2g}" if item.value < 0.995 else "100"
        return f"{share}% of {stake}"
    return amount(item.value, item.unit)


def placebo_line(rule: RuleStatus) -> str:
    """Say how often the rule reported where nothing was to be found."""
    runs = [
        f"{name.replace('_', ' ')} {item.flagged:,} of {item.runs:,}{_luck(item)}"
        for name, item in (rule.placebo or {}).items()
    ]
    return f"flagged where nothing was to be found: {', '.join(runs)}" if runs else ""


def _luck(item: PlaceboRuns) -> str:
    """Say how often honest data give as much; empty if often."""
    fewer = sum(
        math.comb(item.runs, k) * item.luck**k * (1 - item.luck) ** (item.runs - k)
        for k in range(item.flagged)
    )
    chance = 100.0 * max(1.0 - fewer, 0.0)
    if chance >= 20.0:
        return ""
    often = f"{chance:.0f}%" if chance >= 1.0 else "less than 1%"
    return f" (by luck in {often} of scans of honest data)"


def _rule_figures(rule: RuleStatus) -> Iterator[str]:
    if rule.spread is not None:
        yield (
            f"spread between honest subjects: {figure(rule.spread)} "
            "(standard deviation on the log-odds scale)"
        )
    yield selection_line(rule.selection)
    params = ", ".join(f"{name}={value}" for name, value in rule.params.items())
    yield f"parameters: {params}" if params else ""
