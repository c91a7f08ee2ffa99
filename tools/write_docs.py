"""Write the generated pages: rules, detectors, tables, and the README's finding.

`--check` compares all but the last, which tests/test_sample.py holds to the data.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import kpiaudit
from kpiaudit.cli.explain import needed, page
from kpiaudit.detectors import catalogue
from kpiaudit.outputs.formats import render
from kpiaudit.rulebook import read_rules
from kpiaudit.tables import schema

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Detector

ROOT = Path(__file__).parent.parent
_HEAD = "<!-- Written by `make docs`. -->\n\n"


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    built_in = {
        name: kind
        for name, kind in catalogue.detectors().items()
        if kind.__module__.startswith("kpiaudit.")
    }
    found = {
        ROOT / "docs" / "detectors" / f"{name}.md": _HEAD + page(kind)
        for name, kind in built_in.items()
    }
    found[ROOT / "docs" / "explanations.md"] = _HEAD + _explanations(built_in)
    found[ROOT / "rules" / "README.md"] = _HEAD + _rules()
    found[ROOT / "docs" / "tables.md"] = _HEAD + _tables()
    return found


_RULES = """\
# Shipped rules

A rule is a detector, tuned. These run without any configuration; a rule of your own
with the same id replaces one (`--rules FILE`).

| rule | pattern | KPI | harm at most | reported if |
| --- | --- | --- | --- | --- |
"""

_EXPLANATIONS = """\
# Innocent explanations

What else a pattern could be, what each detector asks about it, and what happens then.
A finding lists all of its detector's explanations, each with one of these statuses:

- **ruled_out**: the data speak against it, on columns of origin `system`, `customer` or
  `third_party`.
- **open**: nothing speaks against it, or only columns that the subject writes or
  steers; the finding names them.
- **uncheckable**: the columns below are not there; the finding names them.

If one holds on columns of origin `system`, `customer` or `third_party`, the finding is
**withdrawn**: it is not in the report, and the rule's status says so. If one holds on a
column that the subject writes or steers, the finding stays and loses one grade; that
explanation is `open` and its `holds` is true.

The origin in brackets is the usual one ([tables.md](tables.md)); a mapping may say
otherwise, and what an agent writes or steers neither rules anything out nor withdraws
a finding. Nor does a column of origin `unknown`.
"""

_TABLES = """\
# Canonical tables

What kpiaudit reads, once an export is mapped. A folder of files named after the tables
with these headers needs no mapping. Every column is optional unless it is a key; a rule
whose columns are absent is skipped and says so.

*Origin* says who wrote the column. The audited are never their own alibi: an innocent
explanation is ruled out only on columns of `system`, `customer` or `third_party`.

"""


def _explanations(kinds: dict[str, type[Detector]]) -> str:
    origin = {
        f"{table}.{column.name}": column.origin
        for table, columns in schema.TABLES.items()
        for column in columns
    }
    lines = []
    for name, kind in kinds.items():
        lines += [
            "",
            f"## [{name}](detectors/{name}.md)",
            "",
            "| explanation | what is asked | columns it needs | if so |",
            "| --- | --- | --- | --- |",
        ]
        for one in kind.explanations:
            words = re.sub(
                r"`([a-z_.]+)`",
                lambda found: f"{found[0]} ({origin[found[1]]})",
                needed(one),
            )
            text = one.text[0].upper() + one.text[1:]
            words = words or "only those of the detector"
            lines.append(f"| {text} | {one.asks} | {words} | {one.then} |")
    return _EXPLANATIONS + "\n".join(lines) + "\n"


def _rules() -> str:
    lines = []
    for rule in read_rules():
        effect = "" if rule.min_effect is None else f", effect > {rule.min_effect:g}"
        lines.append(
            f"| [{rule.id}](../docs/detectors/{rule.detector.id}.md) | "
            f"{rule.detector.first_line()} | {rule.detector.kpi} | "
            f"{rule.severity.word} | q <= {rule.max_q:g}{effect} |"
        )
    return _RULES + "\n".join(lines) + "\n"


def _tables() -> str:
    lines = []
    for table, columns in schema.TABLES.items():
        lines += [
            f"## {table}",
            "",
            "| column | type | unit | meaning | origin |",
            "| --- | --- | --- | --- | --- |",
        ]
        for column in columns:
            key = " (key)" if column.key else ""
            alias = "".join(f", alias `{name}`" for name in column.aliases)
            lines.append(
                f"| `{column.name}`{key}{alias} | {column.type} | {column.unit} | "
                f"{column.meaning} | {column.origin} |"
            )
        lines.append("")
    return _TABLES + "\n".join(lines)


def finding_of_the_readme(report: kpiaudit.Report) -> str:
    """Return the finding that the README shows, as `make demo` prints it."""
    text = render(report, "text", width=100)
    blocks = re.split(r"(?m)^(?=── \d+ ─)", text)
    shown = next(b for b in blocks if re.search(r"(?m)^\s+Id\s+short-calls-", b))
    return shown.rstrip()


def _write_readme() -> None:
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    shown = finding_of_the_readme(kpiaudit.scan(ROOT / "sample_data"))
    new = re.sub(r"(?ms)^── \d+ ─.*?(?=\n```)", lambda _: shown, text, count=1)
    if new != text:
        path.write_text(new, encoding="utf-8")
        print("wrote README.md")


def main() -> None:
    """Write the pages, or say which ones are out of date."""
    stale = [
        path
        for path, text in pages().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv:
        if stale:
            names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
            sys.exit(f"out of date: {names}. Run 'make docs'.")
        return
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages()[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    _write_readme()


if __name__ == "__main__":
    main()
