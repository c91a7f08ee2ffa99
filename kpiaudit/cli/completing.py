"""What the Tab key offers for the value of an option."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click

FORMATS = ("text", "json", "ndjson", "csv", "markdown", "html", "junit", "sarif")


def _beginning(names: Iterable[str], incomplete: str) -> list[CompletionItem[str]]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def rules(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the ids of rules, those of --rules among them."""
    del param
    from kpiaudit.errors import KpiauditError
    from kpiaudit.rulebook import read_rules

    try:
        known = read_rules(ctx.params.get("rules") or ())
    except KpiauditError:  # the command itself will say what is wrong with a rule file
        known = read_rules()
    names = {name for rule in known for name in (rule.id, rule.detector.id)}
    return _beginning(sorted(names), incomplete)


def detectors(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the ids of detectors."""
    del ctx, param
    from kpiaudit.detectors import catalogue

    return _beginning(sorted(catalogue.detectors()), incomplete)


def formats(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the formats of a report."""
    del ctx, param
    return _beginning(FORMATS, incomplete)


def presets(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the mappings that ship."""
    del ctx, param
    from kpiaudit.tables.grammar import read_presets

    return _beginning(sorted(p.name for p in read_presets()), incomplete)


def tables(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer the canonical tables, each with the sign that a path follows."""
    del ctx, param
    from kpiaudit.tables import schema

    return _beginning((f"{table}=" for table in schema.TABLES), incomplete)


def zones(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Offer time zones."""
    del ctx, param
    from zoneinfo import available_timezones

    return _beginning(sorted(available_timezones()), incomplete)
