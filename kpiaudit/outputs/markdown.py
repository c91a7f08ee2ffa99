"""The report as GitHub-flavoured Markdown, for a ticket or a wiki."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kpiaudit.outputs.chart import caption, characters
from kpiaudit.outputs.clean import cleaned
from kpiaudit.outputs.rule_words import rule_lines
from kpiaudit.outputs.story import (
    GONE,
    gone_lines,
    note_line,
    read_lines,
    story,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpiaudit.findings import Finding, Report, RuleStatus

_MARKUP = re.compile(r"[\\`*_\[\]|~#!]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def render(report: Report) -> str:
    """Return the report as Markdown; text from an export can't become markup."""
    report = cleaned(report)
    blocks = [
        f"# kpiaudit {escaped(report.version)}",
        f"> {escaped(report.notice)}",
        _bullets(read_lines(report)),
        *(escaped(line) for line in verdict(report)),
    ]
    if report.findings:
        blocks.append("## Findings")
    for finding in report.findings:
        blocks.extend(_finding(finding))
    gone = gone_lines(report)
    if gone:
        blocks.extend((f"## {GONE}", _bullets(gone)))
    for status, title in (("ran", "Rules that ran"), ("skipped", "Rules skipped")):
        chosen = [rule for rule in report.rules if rule.status == status]
        if chosen:
            blocks.extend((f"## {title}", "\n".join(map(_rule, chosen))))
    if report.notes:
        notes = _bullets(note_line(note) for note in report.notes)
        blocks.extend(("## Notes on the data", notes))
    return "\n\n".join(block for block in blocks if block) + "\n"


def escaped(text: str) -> str:
    r"""Return text that Markdown shows as it is.

    >>> escaped("<b>*A*</b>")
    '&lt;b&gt;\\*A\\*&lt;/b&gt;'
    """
    shown = _MARKUP.sub(lambda m: "\\" + m.group(), text.translate(_ENTITIES))
    # An address would become a link by itself.
    shown = shown.replace("://", ":\\//")
    return re.sub(r"(?i)\b(www)\.", r"\1\\.", shown)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines)


def _finding(finding: Finding) -> list[str]:
    blocks = [f"### {finding.rank}. {escaped(finding.headline)}"]
    rows = [
        f"| {item.label} | {'<br>'.join(escaped(line) for line in item.lines)} |"
        for item in story(finding, verbose=1)
    ]
    blocks.append("\n".join(["| | |", "| --- | --- |", *rows]))
    if finding.histogram is not None:
        drawn = characters(finding.histogram, width=60)
        if drawn:
            blocks.append(escaped(caption(finding.histogram)))
            blocks.append("\n".join(["```text", *drawn, "```"]))
    return blocks


def _rule(rule: RuleStatus) -> str:
    lines = [f"  - {escaped(line)}" for line in rule_lines(rule, verbose=1)]
    return "\n".join([f"- **{escaped(rule.id)}**", *lines])
