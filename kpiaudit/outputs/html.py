"""The report as one self-contained page: no script, no reference to the outside."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from kpiaudit.outputs.chart import caption, svg
from kpiaudit.outputs.clean import cleaned
from kpiaudit.outputs.rule_words import rule_lines
from kpiaudit.outputs.story import (
    GONE,
    Item,
    gone_lines,
    note_line,
    read_lines,
    story,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpiaudit.findings import Finding, Report, RuleStatus

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --bar: #4a7fb5; --mark: #c2541d; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
h3 { font-size: 1.05rem; margin: 0 0 .5rem; }
article { border: 1px solid var(--line); border-radius: .4rem; padding: 1rem;
  margin: 1rem 0; break-inside: avoid; }
dl { display: grid; grid-template-columns: 9rem 1fr; gap: .3rem 1rem; margin: 0; }
dt { opacity: .7; } dd { margin: 0; } dd p { margin: 0; }
.notice { border-left: .3rem solid var(--mark); padding: .5rem 1rem; }
.weight { font-weight: 600; }
svg { display: block; width: 100%; max-width: 42rem; margin: 1rem 0 .2rem; }
svg rect { fill: var(--bar); } svg text { font-size: 12px; fill: currentColor; }
svg .expected { fill: none; stroke: currentColor; stroke-width: 1.5; }
svg .mark { stroke: var(--mark); stroke-width: 2; stroke-dasharray: 5 3; }
figcaption { font-size: .85rem; opacity: .8; } figure { margin: 0; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(report: Report) -> str:
    """Return the report as an HTML page; text from an export can't become markup."""
    report = cleaned(report)
    body = [
        f"<h1>kpiaudit {escape(report.version)}</h1>",
        f'<p class="notice">{escape(report.notice)}</p>',
        _list(read_lines(report)),
        *(f"<p>{escape(line)}</p>" for line in verdict(report)),
        "<h2>Findings</h2>" if report.findings else "",
        *(_finding(finding) for finding in report.findings),
        f"<h2>{GONE}</h2>" if gone_lines(report) else "",
        _list(gone_lines(report)),
        _rules("Rules that ran", [r for r in report.rules if r.status == "ran"]),
        _rules("Rules skipped", [r for r in report.rules if r.status == "skipped"]),
    ]
    if report.notes:
        body.append("<h2>Notes on the data</h2>")
        body.append(_list(note_line(note) for note in report.notes))
    return _page("\n".join(part for part in body if part))


def _page(body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>kpiaudit report</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _finding(finding: Finding) -> str:
    rows = "\n".join(_row(item) for item in story(finding, verbose=1))
    return (
        f'<article id="{escape(finding.id)}">\n'
        f"<h3>{finding.rank}. {escape(finding.headline)}</h3>\n"
        f"{_figure(finding)}<dl>\n{rows}\n</dl>\n</article>"
    )


def _figure(finding: Finding) -> str:
    drawn = svg(finding.histogram) if finding.histogram is not None else ""
    if finding.histogram is None or not drawn:
        return ""
    said = caption(finding.histogram)
    if finding.histogram.expected:
        said += "; the line is what would be expected without the pattern"
    return f"<figure>{drawn}<figcaption>{escape(said)}</figcaption></figure>\n"


def _row(item: Item) -> str:
    lines = "".join(f"<p>{escape(line)}</p>" for line in item.lines)
    mark = ' class="weight"' if item.label == "Weight" else ""
    return f"<dt>{escape(item.label)}</dt><dd{mark}>{lines}</dd>"


def _rules(title: str, rules: list[RuleStatus]) -> str:
    if not rules:
        return ""
    parts = [
        f"<details open><summary>{escape(rule.id)}</summary>"
        f"{_list(rule_lines(rule, verbose=1))}</details>"
        for rule in rules
    ]
    return "\n".join([f"<h2>{escape(title)}</h2>", *parts])
