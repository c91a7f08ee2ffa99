"""Ask the other tables about exactly the flagged records, for all findings at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors.base import Summary
from kpiaudit.evidence import following
from kpiaudit.evidence.answers import Answer, Cells, Heard, answered
from kpiaudit.findings import Corroboration, Effect, RestsOn
from kpiaudit.stats import contrast as stats
from kpiaudit.tables.contacts import with_next_contact
from kpiaudit.tables.engine import collect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kpiaudit.detectors.base import Alternative
    from kpiaudit.detectors.sources import Source
    from kpiaudit.evidence.runs import Run
    from kpiaudit.findings import Finding
    from kpiaudit.stats.outcome import IntArray
    from kpiaudit.tables.dataset import Dataset


def hear(runs: Iterable[Run], data: Dataset) -> None:
    """Count what followed the records of some rules, where that was not done yet.

    The frames of all these rules are collected together: one read of the other tables.

    Args:
        runs: The rules to ask about; `heard` is set.
        data: All tables.
    """
    new = [run for run in runs if run.heard is None]
    data = with_next_contact(data) if new else data
    frames = {}
    for number, run in enumerate(new):
        chosen, lacking = following.usable(run, data)
        run.heard = Heard(sources=chosen, lacking=lacking, cells={})
        for name, frame in following.counts(run, data, chosen).items():
            frames[f"{number}/{name}"] = frame
    collected = collect(frames, small=data.small) if frames else {}
    for name, counted in collected.items():
        place, _, part = name.partition("/")
        heard = new[int(place)].heard
        if heard is not None:
            heard.cells[part] = Cells.of(Summary.of(counted))


def corroborate(runs: Iterable[Run], data: Dataset) -> None:
    """Add to every finding what other sources say about its records.

    Args:
        runs: All rules; those without findings are left alone.
        data: All tables.
    """
    asked = [run for run in runs if run.findings]
    hear(asked, data)
    for run in asked:
        if run.heard is None:
            continue
        if run.heard.lacking:
            run.unheard.append(
                "What these could say about the flagged records, as the export lacks "
                f"them: {'; '.join(run.heard.lacking)}."
            )
        mute = [
            source.name
            for source, cells in run.heard.answers()
            if not _ask(run, source, cells, data)
        ]
        if mute:
            run.unheard.append(
                "Asked about the flagged records, but with too few of them, or of "
                f"innocent ones, to tell: {', '.join(mute)}."
            )
        _weigh(run)


def _ask(run: Run, source: Source, cells: Cells, data: Dataset) -> bool:
    """Add one source's answer to each finding of a rule; say whether it has any."""
    spoke = False
    named = {f.subject.id for f in run.findings if f.subject.kind == "agent"}
    for index, finding in enumerate(run.findings):
        about = _about(finding, run.findings, cells)
        answer = answered(cells, about, named, run.rule.detector.alternative)
        if answer is None:
            continue
        spoke = True
        item = _said(source, answer, run.rule.detector.alternative)
        origin = data.origin(source.written)
        rests = RestsOn(column=source.written, origin=origin, role="corroboration")
        kept = tuple(c for c in finding.corroboration if c.source != item.source)
        columns = {r.column for r in finding.rests_on}
        run.findings[index] = replace(
            finding,
            corroboration=(*kept, item),
            rests_on=finding.rests_on
            if source.written in columns
            else (*finding.rests_on, rests),
        )
    return spoke


def _about(finding: Finding, findings: Sequence[Finding], cells: Cells) -> IntArray:
    """Select the cells of a finding's own flagged records."""
    kind, who = finding.subject.kind, finding.subject.id
    if kind == "agent":
        return cells.flagged(who)
    flagged = ~cells.control
    if kind == "queue":
        flagged &= cells.queue == cells.queues.get(who, -1)
    if kind == "team":
        members = [f.subject.id for f in findings if f.part_of == finding.id]
        flagged &= cells.named(members)[cells.agent]
    return np.flatnonzero(flagged)


def _times(ratio: float) -> str:
    return "more than 100" if ratio > 100.0 else f"{ratio:.1f}"


def _said(source: Source, answer: Answer, alternative: Alternative) -> Corroboration:
    """Put an answer into a verdict and words."""
    found, honest, easier = answer.contrast, answer.honest, answer.easier
    yardsticks = (alternative.text, "the subject's own comparable records")
    against, other = yardsticks[answer.own], yardsticks[not answer.own]
    share = answer.events / answer.records
    detail = (
        f"{share:.1%} of {answer.records:,.0f} flagged records, {honest.rate:.1%} "
        f"after {against}: {found.ratio:.1f} times as often ({_times(found.ratio_low)} "
        f"to {_times(found.ratio_high)})"
    )
    if easier is not None and not np.isnan(easier.ratio):
        detail += (
            f", which counts as the stricter yardstick; {_times(easier.ratio)} times "
            f"({_times(easier.ratio_low)} to {_times(easier.ratio_high)}) after {other}"
        )
    verdict = "silent"
    if found.low > 0:
        verdict = "supports"
    elif answer.below_all:
        verdict = "contradicts"
        detail += (
            "; less than innocent records would show, which speaks against the finding "
            "and ranks it after others of the same harm"
        )
    else:
        detail += f"; it would look the same if {alternative.same_if}"
    counted = source.id in alternative.counted
    if counted:
        detail += "; part of the test itself, so it does not count again"
    return Corroboration(
        source=source.name,
        verdict=verdict,  # type: ignore[arg-type]
        effect=Effect(
            name="share beyond innocent records",
            value=found.difference,
            low=found.low,
            high=found.high,
            unit="share",
        ),
        p_value=found.p_value,
        detail=detail,
        e_value=None if counted else found.e_value,
        voice=source.voice,
    )


def _weigh(run: Run) -> None:
    """Combine what independent voices say about each finding."""
    for index, finding in enumerate(run.findings):
        heard = [
            (item.voice, item.e_value)
            for item in finding.corroboration
            if item.e_value is not None
        ]
        if heard:
            run.findings[index] = replace(
                finding, corroboration_e_value=stats.together(heard)
            )
