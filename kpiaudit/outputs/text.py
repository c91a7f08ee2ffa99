"""The report for a reader at a terminal."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.text import Text

from kpiaudit.outputs.brief import brief, brief_rule
from kpiaudit.outputs.chart import caption, characters
from kpiaudit.outputs.clean import cleaned, shortened
from kpiaudit.outputs.overview import overview
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
    from kpiaudit.findings import DataNote, Finding, Report, RuleStatus, Severity

_INDENT = 3
_LABEL = 17
_ID_LIMIT = 40
_HARM = ("", "", "yellow", "red")  # by the value of the severity
_ASCII = str.maketrans(
    {"█": "#", "▒": "+", "·": ".", "─": "-", "—": "-", "…": "...", "\u2013": "-"}
)


def render(
    report: Report,
    *,
    width: int = 100,
    colour: bool = False,
    verbose: int = 0,
    unicode: bool = True,
) -> str:
    """Return the report as text.

    Args:
        report: What the scan said.
        width: Columns; at least 40 are used.
        colour: Whether to write ANSI colours.
        verbose: 0 tells what matters; 1 adds all figures, p, q, spread, selection,
            origins and parameters.
        unicode: False keeps to ASCII, for screens that have nothing else.
    """
    page = _Page(width=max(width, 40), colour=colour)
    report = cleaned(report)
    page.add(f"kpiaudit {report.version}", style="bold")
    for line in read_lines(report):
        page.add(line)
    page.gap()
    for line in verdict(report):
        page.add(line, style="bold" if line.startswith("No findings") else "")
    lines = overview(report, page.width)
    if lines:
        page.gap()
        page.lines.extend(lines)
    for finding in report.findings:
        _write_finding(page, finding, verbose)
    _write_gone(page, gone_lines(report))
    _write_rules(page, report.rules, verbose)
    _write_notes(page, report.notes)
    page.gap()
    page.add(report.notice, style="bold")
    text = "\n".join(page.lines) + "\n"
    return text if unicode else _ascii(text)


def _ascii(text: str) -> str:
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


@dataclass(kw_only=True)
class _Page:
    """Lines of text, wrapped and styled as they are added."""

    width: int
    colour: bool
    lines: list[str] = field(default_factory=list)

    def gap(self) -> None:
        self.lines.append("")

    def rule(self, title: str) -> None:
        self.gap()
        bar = "─" * max(self.width - cell_len(title) - 4, 0)
        self.lines.append(self._styled(f"── {title} {bar}", "dim"))

    def add(
        self, text: str, *, label: str = "", indent: int = 0, style: str = ""
    ) -> None:
        """Add a paragraph; a label stands before its first line."""
        inner = indent + (_LABEL if label else 0)
        for place, line in enumerate(_wrapped(text, self.width - inner)):
            head = label if place == 0 else ""
            lead = " " * indent + self._styled(head, "dim")
            pad = " " * max(inner - indent - cell_len(head), 0)
            self.lines.append(f"{lead}{pad}{self._styled(line, style)}".rstrip())

    def _styled(self, text: str, style: str) -> str:
        if not (self.colour and style and text):
            return text
        return Style.parse(style).render(text, color_system=ColorSystem.STANDARD)


def _wrapped(text: str, width: int) -> list[str]:
    if cell_len(text) == len(text):
        return textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    # Wide characters take two columns: rich knows them, textwrap does not.
    console = Console(width=width, color_system=None, markup=False, emoji=False)
    return [line.plain.rstrip() for line in Text(text).wrap(console, width)]


def _write_finding(page: _Page, finding: Finding, verbose: int) -> None:
    finding = _with_short_ids(finding)
    page.rule(f"{finding.rank}")
    page.add(finding.headline, style="bold")
    for item in story(finding, verbose=verbose) if verbose else brief(finding):
        for place, line in enumerate(item.lines):
            label = item.label if place == 0 else " "
            style = _harm_style(finding.severity) if item.label == "Weight" else ""
            page.add(line, label=label, indent=_INDENT, style=style)
        if item.label == "How much" and finding.histogram is not None:
            _write_histogram(page, finding)


def _harm_style(severity: Severity) -> str:
    return _HARM[int(severity)]


def _write_histogram(page: _Page, finding: Finding) -> None:
    if finding.histogram is None:
        return
    inner = _INDENT + _LABEL
    lines = characters(finding.histogram, width=page.width - inner)
    if lines:
        page.add(caption(finding.histogram), label="Shape", indent=_INDENT)
        page.lines.extend((" " * inner + line).rstrip() for line in lines)


def _with_short_ids(finding: Finding) -> Finding:
    """Shorten ids that would fill the screen; other formats keep them whole."""
    subject = finding.subject
    short = shortened(subject.id, _ID_LIMIT)
    team = None if subject.team_id is None else shortened(subject.team_id, _ID_LIMIT)
    headline = finding.headline
    if short != subject.id:
        headline = headline.replace(subject.id, short)
    return replace(
        finding, headline=headline, subject=replace(subject, id=short, team_id=team)
    )


def _write_gone(page: _Page, lines: tuple[str, ...]) -> None:
    if lines:
        page.rule(GONE)
    for line in lines:
        page.add(line)


def _write_rules(page: _Page, rules: tuple[RuleStatus, ...], verbose: int) -> None:
    for status, title in (("ran", "Rules that ran"), ("skipped", "Rules skipped")):
        chosen = [rule for rule in rules if rule.status == status]
        if chosen:
            page.rule(title)
        for rule in chosen:
            page.add(rule.id, style="bold")
            lines = rule_lines(rule, verbose=verbose) if verbose else brief_rule(rule)
            for line in lines:
                page.add(line, indent=_INDENT)


def _write_notes(page: _Page, notes: tuple[DataNote, ...]) -> None:
    if notes:
        page.rule("Notes on the data")
    for note in notes:
        page.add(note_line(note))
