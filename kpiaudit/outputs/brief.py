"""A finding and a rule for a reader with little time: what matters, and no more.

What is left out stands in `story`, which `-v`, HTML, Markdown and JSON tell in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpiaudit.outputs.rule_words import floor_lines, placebo_line, smallest_line
from kpiaudit.outputs.story import (
    Item,
    explanation_line,
    source_line,
    story,
)
from kpiaudit.outputs.words import count

if TYPE_CHECKING:
    from kpiaudit.findings import Corroboration, Explanation, Finding, RuleStatus

_WHOLE = "-v"
_VERDICTS = ("supports", "contradicts", "silent")


def brief(finding: Finding) -> tuple[Item, ...]:
    """Tell a finding in short: who, how much, compared with whom, what else, what now.

    Sources that say nothing and explanations that are ruled out are named only;
    further figures are counted only, unless they have plain words.

    Args:
        finding: One finding, its strings cleaned.
    """
    shorter = {
        "Figures": tuple(item.plain for item in finding.evidence if item.plain),
        "Other sources": _sources(finding.corroboration),
        "Could also be": _explanations(finding.innocent_explanations),
    }
    items = [
        Item(label=item.label, lines=shorter.get(item.label, item.lines))
        for item in story(finding)
    ]
    more = sum(not item.plain for item in finding.evidence)
    if more:
        text = f"{count(more, 'further figure')}: {_WHOLE}, or --format html"
        items.insert(len(items) - 1, Item(label="Details", lines=(text,)))
    return tuple(item for item in items if item.lines)


def _sources(answers: tuple[Corroboration, ...]) -> tuple[str, ...]:
    lines = []
    for verdict in _VERDICTS:
        same = [item for item in answers if item.verdict == verdict]
        if verdict == "silent":
            names = "; ".join(item.source for item in same)
            lines += (
                [f"silent, not clearly more than after innocent records: {names}"]
                if names
                else []
            )
        else:
            lines += [source_line(item) for item in same]
    return tuple(lines)


def _explanations(given: tuple[Explanation, ...]) -> tuple[str, ...]:
    """Tell those that are open, and name the others: read them before you speak."""
    if not given:
        return ("no innocent explanation was examined",)
    told = [explanation_line(item) for item in given if item.status == "open"]
    lost = [explanation_line(item) for item in given if item.status == "uncheckable"]
    gone = "; ".join(item.text for item in given if item.status == "ruled_out")
    return (*told, *lost, *([f"ruled out: {gone}"] if gone else []))


def brief_rule(rule: RuleStatus) -> tuple[str, ...]:
    """Say what became of a rule, and how much could have gone unseen."""
    if rule.status == "skipped":
        return (rule.reason or "no reason given",)
    unclear = f"{rule.untestable:,} with too little data to say"
    tested = f"{count(rule.tested, 'subject')} tested, {unclear}"
    lines = (
        f"{tested}; {count(rule.flagged, 'finding')}",
        rule.reason or "",
        # Who reads that nothing was found asks what was looked at and set aside.
        *(() if rule.flagged else rule.found),
        *rule.withdrawn,
        *floor_lines(rule),
        smallest_line(rule),
        *(f"could not see: {text}" for text in rule.blind_spots),
        placebo_line(rule),
    )
    return tuple(line for line in lines if line)
