"""The text of a commented `kpiaudit.yaml`; no name in it can break out of its place."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from kpiaudit.cli.inspect import columns_given, columns_missing
from kpiaudit.cli.inspection import further
from kpiaudit.outputs.clean import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kpiaudit.rulebook import Rule
    from kpiaudit.tables.report import FileReport

_WIDTH = 88
_HEAD = """\
kpiaudit.yaml: what `kpiaudit scan` does here without being told. It is found from
this folder and from the folders below it. Paths are relative to this file. The
command line wins over the environment (KPIAUDIT_FAIL_ON=high), which wins over this
file. `kpiaudit config` prints what is in force, and where each value came from."""
_SAID = """\
# ── What is said, and when it fails ──

# Findings of at least this severity make the exit status 1: none, low, medium, high.
fail_on: low
# Turn exit status 1, and only that, into 0.
# exit_zero: true
# text, json, ndjson, csv, markdown, html, junit or sarif; several at once with a file
# each, one of them without, for standard output.
# format: [text, json=report.json]
# Also try every rule where nothing is to be found, which takes minutes.
# placebo: true
# Instead of standard output, if there is one format.
# output: report.txt

# ── What is known already ──

# Say what is new, known, worsened, improved and gone since an earlier run. `kpiaudit
# baseline update report.json` writes this file; an earlier JSON report does as well.
# baseline: kpiaudit-baseline.json
# Only new and worsened findings make the exit status 1.
# new_only: true

# What harm costs: then findings about a team, queue or floor tell it in money.
# costs: {contact: 4.50, reopened_ticket: 12, lost_customer: 180, currency: EUR}
# Findings that somebody has looked at and accepted, until a day (compared with the
# last day in the data). `up_to` is the largest effect per record that is accepted.
# suppress:
#   - finding: short-calls-2ddb7d627af6
#     reason: headset replaced, ticket 4711
#     until: 2026-12-31
#     up_to: 0.1
"""


def page(
    reports: Sequence[FileReport], rules: Sequence[Rule], settings: Mapping[str, Any]
) -> str:
    """Return the text of a configuration file.

    Args:
        reports: What the files were taken for.
        rules: The rules that would run.
        settings: What was said on the command line, by key of the configuration.
    """
    lines = [*_comment(_HEAD), "", "# ── What is read ──", ""]
    lines += _read(reports, settings)
    lines += ["", "# ── What is looked for ──", ""]
    lines += _rules(reports, rules)
    return "\n".join([*lines, "", _SAID])


def quoted(value: str) -> str:
    r"""Return a text as a YAML scalar on one line, whatever stands in it.

    >>> quoted("exports"), quoted("no"), quoted("a: b\n# c")
    ('exports', "'no'", '"a: b\\n# c"')
    """
    import yaml

    listed: str = yaml.safe_dump(
        [value], default_flow_style=True, allow_unicode=True, width=10**9
    )
    return listed.strip()[1:-1]


def _comment(text: str, *, indent: str = "") -> Iterator[str]:
    for line in textwrap.wrap(
        " ".join(text.split()), _WIDTH - 2 - len(indent), break_on_hyphens=False
    ):
        yield f"# {indent}{line}"


def _read(reports: Sequence[FileReport], settings: Mapping[str, Any]) -> Iterator[str]:
    yield "# Files, folders or globs, and what they were taken for."
    for report in reports:
        yield from _comment(_taken(report), indent="  ")
    if settings["paths"]:
        yield "paths:"
        yield from (f"  - {quoted(path)}" for path in settings["paths"])
    else:
        yield "# paths: [exports]"
    yield "# A file that feeds a table, whatever its name and its headers."
    yield from _tables(settings["tables"])
    yield "# Which columns are which, if the headers are your own (docs/mapping.md)."
    yield _line("mapping", settings, "mapping.yaml")
    yield "# Or a mapping that ships with kpiaudit, instead of what was recognised."
    yield _line("preset", settings, _preset(reports))
    yield "# Zone of instants without an offset, and of days and hours: where the"
    yield "# systems stand that wrote the exports. A wrong one shifts the working day."
    yield f"timezone: {quoted(settings['timezone'])}"
    yield "# Only records that started in this period, first and last day."
    yield _line("since", settings, "2026-03-01")
    yield _line("until", settings, "2026-03-31")
    yield "# Share of a file's rows or cells that may be unreadable, or it is refused."
    share = settings["max_unreadable"]
    yield f"{'# ' if share == 0.05 else ''}max_unreadable: {share}"
    yield "# What runs the aggregations."
    yield "# engine: polars"


def _taken(report: FileReport) -> str:
    name = visible(report.path)
    if not report.tables:
        return f"{name}: {report.why}, and is left out"
    told = f"{name}: {', '.join(report.tables)}, {report.rows:,} rows"
    return told if report.preset == "canonical" else f"{told}, preset {report.preset}"


def _tables(tables: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield "tables:" if tables else "# tables: {calls: cdr.csv}"
    for table, paths in tables.items():
        yield f"  {quoted(table)}:"
        yield from (f"    - {quoted(path)}" for path in paths)


def _preset(reports: Sequence[FileReport]) -> str:
    used = sorted({r.preset for r in reports if r.preset not in {"", "canonical"}})
    return used[0] if used else "NAME"


def _line(key: str, settings: Mapping[str, Any], example: str) -> str:
    value = settings[key]
    return f"# {key}: {quoted(example)}" if value is None else f"{key}: {quoted(value)}"


def _rules(reports: Sequence[FileReport], rules: Sequence[Rule]) -> Iterator[str]:
    present = columns_given(reports)
    lacking = {rule.id: columns_missing(rule, present) for rule in rules}
    yield "# Rules that can run on these files:"
    for rule in rules:
        if not lacking[rule.id]:
            absent = [name for name in rule.detector.uses if name not in present]
            more = list(further(absent, {n.partition(".")[0] for n in present}))
            weaker = f" (would see more with {', '.join(more)})" if more else ""
            yield from _comment(f"{rule.id}{weaker}", indent="  ")
    if any(lacking.values()):
        yield "# Rules that are skipped, as each report says, for want of columns:"
    for name, columns in lacking.items():
        if columns:
            yield from _comment(f"{name}: {', '.join(columns)}", indent="  ")
    yield "# Only these rules or detectors, or all but these."
    yield f"# select: [{rules[0].id}]"
    yield f"# ignore: [{rules[-1].id}]"
    yield "# More rules; one with a shipped rule's id replaces it (`kpiaudit rules`)."
    yield "# rules: [my_rules.yaml]"
