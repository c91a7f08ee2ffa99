"""`kpiaudit rules`: what would run, and with which parameters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from kpiaudit.cli import options
from kpiaudit.cli.writing import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.rulebook import Rule


@click.command("rules")
@options.choice
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print them.",
)
def command(choice: options.Choice, form: str) -> None:
    """List the rules that would run, and with which parameters."""
    rules = choice.read()
    write(_json(rules) if form == "json" else _text(rules), None)


def _json(rules: Sequence[Rule]) -> str:
    return json.dumps([_entry(rule) for rule in rules], indent=2) + "\n"


def _entry(rule: Rule) -> dict[str, Any]:
    return {
        "rule": rule.id,
        "detector": rule.detector.id,
        "kpi": rule.detector.kpi,
        "severity": rule.severity.word,
        "params": rule.detector.params(),
        "where": {column: list(values) for column, values in rule.where.items()},
        "report": {"max_q": rule.max_q, "min_effect": rule.min_effect},
        "needs": list(rule.detector.needs),
        "source": rule.source,
    }


def _text(rules: Sequence[Rule]) -> str:
    lines = []
    for rule in rules:
        detector = rule.detector
        lines.append(f"{rule.id}  ({rule.severity.word} at most)")
        lines.append(f"  {detector.first_line()}")
        if rule.id != detector.id:
            lines.append(f"  detector: {detector.id}")
        lines.append(f"  KPI: {detector.kpi}; needs {', '.join(detector.needs)}")
        for name, value in detector.params().items():
            if name != "since" or value is not None:
                shown = "find it in the data" if value is None else value
                lines.append(f"  {name}: {shown}")
        for column, values in rule.where.items():
            lines.append(f"  only where {column} is {', '.join(values)}")
        effect = "" if rule.min_effect is None else f", effect > {rule.min_effect:g}"
        lines.append(f"  reported if q <= {rule.max_q:g}{effect}")
        lines.append("")
    return "\n".join(lines)
