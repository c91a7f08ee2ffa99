"""A finding as labelled sentences: one wording for every page and screen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kpiaudit.frozen import frozen
from kpiaudit.outputs.rule_words import known_share, selection_line
from kpiaudit.outputs.words import (
    amount,
    amounts,
    count,
    estimate,
    figure,
    kpi_name,
    p_words,
    restatement,
    subject_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.findings import (
        Corroboration,
        DataNote,
        Evidence,
        Explanation,
        Finding,
        Report,
        RuleStatus,
    )

GONE = "In the baseline, and not in this run"
STATUS_WORDS = {
    "ruled_out": "ruled out",
    "open": "open",
    "uncheckable": "cannot be checked",
}
_BARELY = 1.05
"""A breaking point below this is no multiple that says anything to a reader."""
_NO_CERTIFICATE = (
    "This is no certificate. Effects below the smallest that would show, subjects "
    "with too little data, and whatever the skipped rules look for stay unseen."
)


@frozen
class Item:
    """A label and what stands beside it, a sentence a line."""

    label: str
    lines: tuple[str, ...]


def story(finding: Finding, *, verbose: int = 0) -> tuple[Item, ...]:
    """Tell a finding in the order in which a reader asks.

    Args:
        finding: One finding, its strings cleaned.
        verbose: 1 adds p, q, selection and who wrote the columns.
    """
    parts = [
        ("Since the baseline", [_since_baseline(finding)]),
        ("Who", [_who(finding)]),
        ("Weight", [weight(finding)]),
        ("How much", _how_much(finding)),
        ("Compared with", [finding.peers]),
        ("KPI", _kpis(finding)),
        ("Figures", [_figure(item) for item in finding.evidence]),
        ("Other sources", [source_line(item) for item in finding.corroboration]),
        ("Could also be", _explanations(finding)),
        ("Breaking point", [_breaking_point(finding)]),
        ("Cost", [_cost(finding)]),
        ("Part of", [finding.part_of or ""]),
        *(_chance(finding) if verbose else ()),
        ("What to do", [finding.next_step, _see(finding)]),
        ("Id", [finding.id]),
    ]
    items = (
        Item(label=label, lines=tuple(line for line in lines if line))
        for label, lines in parts
    )
    return tuple(item for item in items if item.lines)


def _since_baseline(finding: Finding) -> str:
    parts: list[str] = [finding.state or ""]
    if finding.suppressed is not None:
        item = finding.suppressed
        parts.append(f"accepted until {item.until}: {item.reason}")
    return " · ".join(filter(None, parts))


def gone_lines(report: Report, rule: str | None = None) -> tuple[str, ...]:
    """Say what of the baseline this run does not have, a line a finding.

    Args:
        report: Of this run.
        rule: Only what this rule had found; None for all.
    """
    if report.compared is None:
        return ()
    unclear = {item.id: item.untestable for item in report.rules}
    return tuple(
        f"{gone.subject}: {gone.rule} ({gone.id})"
        + _why_gone(gone.tested, unclear.get(gone.rule, 0))
        for gone in report.compared.gone
        if rule in {None, gone.rule}
    )


def _why_gone(tested: bool, unclear: int) -> str:
    if not tested:
        return ", which was not tested this time"
    if unclear:
        # A month that is half there must not read as an all-clear.
        return f", unless it is among the {unclear:,} with too little data to say"
    return ""


def _see(finding: Finding) -> str:
    return f"see the records: kpiaudit show {finding.id} PATH..."


def weight(finding: Finding) -> str:
    """Say harm and evidence, which are two things."""
    return f"harm: {finding.severity.word} · evidence: {finding.evidence_grade}"


def _who(finding: Finding) -> str:
    days = period(finding.period_start, finding.period_end)
    parts = (subject_name(finding.subject), kpi_name(finding.kpi), days)
    return " · ".join(filter(None, parts))


def period(start: str | None, end: str | None) -> str:
    """Write a period; empty if neither end is known."""
    if start is None and end is None:
        return ""
    return f"{start or 'beginning'} to {end or 'end'}"


def _how_much(finding: Finding) -> list[str]:
    lines = [estimate(finding.effect)]
    if finding.observed is not None:
        against = "" if finding.expected is None else " against "
        expected = figure(finding.expected) + " expected" if against else ""
        lines.append(
            f"{figure(finding.observed)} observed{against}{expected}, "
            f"in {count(finding.n, 'record')}"
        )
    else:
        lines.append(f"in {count(finding.n, 'record')}")
    return lines


def _kpis(finding: Finding) -> list[str]:
    first = [] if finding.restated is None else [finding.restated]
    return [restatement(item) for item in (*first, *finding.also_restated)]


def _figure(item: Evidence) -> str:
    value = "" if item.value is None else amount(item.value, item.unit)
    named = ": ".join(filter(None, (item.name, value)))
    return ". ".join(filter(None, (named, item.text)))


def source_line(item: Corroboration) -> str:
    """Write what one source says, with its effect."""
    effect = "" if item.effect is None else estimate(item.effect)
    facts = "; ".join(filter(None, (effect, item.detail)))
    return f"{item.verdict}: {item.source}" + (f" ({facts})" if facts else "")


def _explanations(finding: Finding) -> list[str]:
    order = list(STATUS_WORDS)
    ranked = sorted(
        finding.innocent_explanations, key=lambda item: order.index(item.status)
    )
    lines = [explanation_line(item) for item in ranked]
    return lines or ["no innocent explanation was examined"]


def explanation_line(item: Explanation) -> str:
    """Write an innocent explanation with its status and what it rests on."""
    word = STATUS_WORDS[item.status]
    if item.holds:
        word += ", and the data point to it"
    return f"{word}: {item.text}" + (f" ({item.detail})" if item.detail else "")


def _breaking_point(finding: Finding) -> str:
    ratio = finding.breaking_point
    if ratio is None or not math.isfinite(ratio):
        return ""
    kind = finding.subject.kind
    honest = "subjects" if kind == "floor" else f"{kind}s"
    if ratio < _BARELY:
        return (
            f"this only just holds: it would be lost if honest {honest} differed a "
            "little more from each other than was measured"
        )
    return (
        f"this would be lost if honest {honest} differed {figure(ratio)} times as much "
        "from each other as was measured"
    )


def _cost(finding: Finding) -> str:
    cost = finding.cost
    if cost is None or finding.subject.kind == "agent":  # never for a person
        return ""
    (value, low, high), _ = amounts([cost.value, cost.low, cost.high], "")
    basis = f" ({cost.basis.replace('_', ' ')})" if cost.basis else ""
    return f"{cost.currency} {value} [{low}, {high}]{basis}"


def _chance(finding: Finding) -> Iterator[tuple[str, list[str]]]:
    p, q = p_words("p", finding.p_value), p_words("q", finding.q_value)
    rare = "how often an honest subject would show at least this much"
    listed = "the share to expect by chance in a list that ends with this one"
    yield "Chance", [f"{p}: {rare}", f"{q}: {listed}"]
    adjusted = "" if finding.adjusted is None else estimate(finding.adjusted)
    chosen = [f"adjusted for selection, {adjusted}" if adjusted else ""]
    yield "Selection", [*chosen, selection_line(finding.selection)]
    yield (
        "Rests on",
        [
            f"{item.column} as {item.role}, written by: {item.origin}"
            for item in finding.rests_on
        ],
    )


def read_lines(report: Report) -> tuple[str, ...]:
    """Say what was read, a line per table, and the period."""
    tables: dict[str, list[int]] = {}
    for item in report.inputs:
        totals = tables.setdefault(item.table or "other", [0, 0, 0])
        for place, more in enumerate((item.rows, item.rejected, 1)):
            totals[place] += more
    lines = []
    for table, (rows, rejected, files) in tables.items():
        paths = [i.path for i in report.inputs if (i.table or "other") == table]
        source = paths[0] if files == 1 else count(files, "file")
        broken = f", {rejected:,} rejected" if rejected else ""
        lines.append(f"read {table}: {count(rows, 'row')}{broken} ({source})")
    starts = [i.period_start for i in report.inputs if i.period_start is not None]
    ends = [i.period_end for i in report.inputs if i.period_end is not None]
    if starts and ends:
        lines.append(f"period: {min(starts)} to {max(ends)}")
    return tuple(lines)


def verdict(report: Report) -> tuple[str, ...]:
    """Sum the report up in a few sentences; no finding is not a clean bill."""
    ran = [rule for rule in report.rules if rule.status == "ran"]
    skipped = len(report.rules) - len(ran)
    scope = f"{count(len(ran), 'rule')} ran, {skipped:,} skipped"
    if report.findings:
        harms = [finding.severity.word for finding in report.findings]
        split = ", ".join(
            f"{harms.count(word):,} of {word} harm"
            for word in ("high", "medium", "low")
            if word in harms
        )
        return (
            f"{count(len(harms), 'finding')} ({split}); {scope}",
            *_changes(report),
        )
    if not ran:
        return (
            f"No findings, because no rule could run; {scope}.",
            *_changes(report),
        )
    most = max(rule.tested for rule in ran)
    names = ", ".join(rule.id for rule in ran)
    tested = (
        f"up to {count(most, 'subject')} in a rule."
        if most
        else "nobody had enough data to be tested."
    )
    return (
        f"No findings; {scope}.",
        f"Looked for: {names}; {tested}",
        *_unseen(ran),
        *_changes(report),
        _NO_CERTIFICATE,
    )


def _unseen(ran: list[RuleStatus]) -> Iterator[str]:
    """Say what no finding leaves room for: for one person, and where that is unsaid."""
    sized = [rule for rule in ran if rule.smallest_detectable is not None]
    known = {rule.id: known_share(rule) for rule in sized}
    # Other units are of a search through all records, not of anybody's share.
    whole = {
        rule.id
        for rule in sized
        if rule.smallest_detectable
        and not rule.smallest_detectable.unit.startswith("share of ")
    }
    said = "; ".join(
        f"{name} less than {share}"
        for name, share in known.items()
        if share and name not in whole
    )
    if said:
        yield f"For one person of usual size that means, with 80% probability: {said}."
    seen = "; ".join(f"{name} {known[name]}" for name in sorted(whole) if known[name])
    if seen:
        yield f"With 80% probability this would have been seen in all: {seen}."
    blind = ", ".join(name for name, share in known.items() if not share)
    if blind:
        yield f"About one person it says nothing: {blind}."


def _changes(report: Report) -> Iterator[str]:
    """Sum up what has changed since the baseline, and what is accepted."""
    parts = []
    if report.compared is not None:
        states = [finding.state for finding in report.findings]
        parts = [
            f"{states.count(word):,} {word}"
            for word in ("new", "worsened", "known", "improved")
            if word == "new" or word in states
        ]
        gone = report.compared.gone
        unseen = sum(not item.tested for item in gone)
        if len(gone) > unseen:
            parts.append(f"{len(gone) - unseen:,} gone")
        if unseen:
            parts.append(f"{unseen:,} known before and not tested this time")
        parts = [f"Against {report.compared.baseline}: {', '.join(parts)}."]
    accepted = sum(finding.suppressed is not None for finding in report.findings)
    if accepted:
        parts.append(f"{count(accepted, 'finding')} accepted for the time being.")
    if parts:
        yield " ".join(parts)


def note_line(note: DataNote) -> str:
    """Write one note on the data as a sentence."""
    where = f"{note.table}: " if note.table else ""
    kind = note.kind.replace("-", " ")
    return f"{where}{kind} ({note.count:,}). {note.detail}".rstrip()
