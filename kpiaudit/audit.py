"""Rules x dataset -> report: collect, test, correct, word, rank."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

import kpiaudit
from kpiaudit.errors import TableError
from kpiaudit.evidence import (
    assemble,
    corroborate,
    counting,
    deciding,
    minimum,
    placebo,
    plugins,
    power,
    ranking,
    restating,
)
from kpiaudit.evidence.costs import add_costs, read_costs
from kpiaudit.evidence.runs import Run, cannot_run, limited
from kpiaudit.findings import Report, RuleStatus, Selection
from kpiaudit.frozen import frozen
from kpiaudit.rulebook import columns_of, read_rules
from kpiaudit.stats import held, multiplicity
from kpiaudit.tables import schema
from kpiaudit.tables.dataset import ROW, local_day
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load
from kpiaudit.tables.neighbours import ordered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from kpiaudit.evidence.costs import UnitCosts
    from kpiaudit.findings import Finding, Input
    from kpiaudit.rulebook import Rule
    from kpiaudit.tables.dataset import Dataset


def _silent(_: str) -> None:
    """Say nothing."""


@frozen
class Audit:
    """A report, and the runs behind it for whoever asks for records."""

    report: Report
    runs: tuple[Run, ...]


def scan(  # noqa: PLR0913 - the options of the command line, all by keyword
    *paths: str | Path,
    rules: str | Path | Sequence[str | Path] | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    mapping: str | Path | None = None,
    preset: str | None = None,
    timezone: str = "UTC",
    since: str | None = None,
    until: str | None = None,
    max_unreadable: float = 0.05,
    engine: str = "polars",
    costs: Mapping[str, object] | None = None,
    **tables: Any,
) -> Report:
    """Scan exports for gamed KPIs.

    Args:
        *paths: Files, folders or globs.
        rules: More rule files or folders; a rule with a shipped id replaces it.
        select: Only these rules or detectors.
        ignore: Without these rules or detectors.
        mapping: Which source columns are which canonical ones.
        preset: A mapping that ships with kpiaudit.
        timezone: Zone of instants without an offset.
        since: First day, as 2026-03-01.
        until: Last day.
        max_unreadable: How damaged a file may be, as a share.
        engine: What runs the aggregations; `duckdb` and `spark` read canonical
            Parquet. Relations of DuckDB and DataFrames of Spark need no word: they are
            worked on where they are.
        costs: What a `contact`, a `reopened_ticket` and a `lost_customer` cost, with
            their `currency`: then findings about more than a person carry the harm in
            money.
        **tables: A path, a list of paths, or a polars, pandas or lazy frame per
            canonical table: `calls="calls.csv", surveys=frame`.

    Returns:
        The report, the same as the command line's on the same data.

    Raises:
        TableError: Input that can't be used.
        RuleError: A rule, a mapping or an option that is wrong.
    """
    more = [rules] if isinstance(rules, str) or hasattr(rules, "__fspath__") else rules
    book = read_rules(more or (), select=select, ignore=ignore)  # type: ignore[arg-type]
    data = load(
        paths,
        tables={
            table: given if isinstance(given, list | tuple) else [given]
            for table, given in tables.items()
        },
        mapping=mapping,
        preset=preset,
        timezone=timezone,
        since=since,
        until=until,
        max_unreadable=max_unreadable,
        engine=engine,
        only=columns_of(book),
    )
    return audit(data, book, costs=read_costs(costs or {}, where="costs")).report


def audit(
    data: Dataset,
    rules: Sequence[Rule],
    *,
    progress: Callable[[str], None] = _silent,
    costs: UnitCosts | None = None,
    battery: bool = False,
) -> Audit:
    """Run rules over a dataset.

    Args:
        data: Loaded tables.
        rules: Rules, sorted by id.
        progress: Is told in a sentence what is being done.
        costs: Unit costs; None leaves money out.
        battery: Run the whole placebo battery, not only what costs next to nothing.

    Returns:
        The report and the runs behind it.

    Raises:
        TableError: No rule could run on these tables, or they were changed meanwhile.
        RunError: A plugin failed.
    """
    with data.unchanged(), plugins.named(rules, data):
        return _audit(data, rules, progress, costs, battery=battery)


def _audit(
    data: Dataset,
    rules: Sequence[Rule],
    progress: Callable[[str], None],
    costs: UnitCosts | None,
    *,
    battery: bool,
) -> Audit:
    data = ordered(data)
    runs = tuple(Run(rule=rule, data=limited(rule, data)) for rule in rules)
    for run in runs:
        run.reason = cannot_run(run)
    active = [run for run in runs if run.reason is None]
    if not active:
        raise TableError(_nothing_ran(runs, data))
    counting.discover(active, progress)
    rosters = counting.summarize(active, progress)
    # The matrices are small: more threads only wait for each other, up to 30 times as
    # long on a busy machine.
    with threadpool_limits(1, "blas"):
        for run in active:
            progress(f"testing {run.rule.id}")
            _test(run)
        if all(run.reason is not None for run in active):
            raise TableError(_nothing_ran(runs, data))
        deciding.decide(active, data)
        _select(active)
        for run in active:
            assemble.add_findings(run, rosters[id(run)])
            if run.reason is None:
                progress(f"asking what {run.rule.id} could have found")
                run.smallest = power.smallest_of(run)
                run.placebo = (
                    placebo.full(run, progress) if battery else placebo.cheap(run)
                )
        if any(run.findings for run in active):
            progress("reading the tables: asking other sources")
            corroborate.corroborate(active, data)
            restating.restate(active)
            add_costs(active, costs)
    for order in data.orders.values():
        order.forget()
    for run in active:
        placebo.take_account(run)
    findings = ranking.ranked(f for run in runs for f in run.findings)
    return Audit(
        report=Report(
            version=kpiaudit.__version__,
            inputs=tuple(_dated(entry, data) for entry in data.inputs),
            rules=tuple(_status(run) for run in runs),
            findings=findings,
            notes=data.notes,
        ),
        runs=runs,
    )


def _dated(entry: Input, data: Dataset) -> Input:
    """Add the days that the table covers, if the file's own are not known."""
    span = data.period.get(entry.table)
    if span is None or entry.period_start is not None:
        return entry
    first, last = (local_day(ms, data.timezone) for ms in span)
    return replace(entry, period_start=first.isoformat(), period_end=last.isoformat())


def _and(names: Sequence[str]) -> str:
    return ", ".join(names)


def _nothing_ran(runs: Iterable[Run], data: Dataset) -> str:
    reasons = "; ".join(f"{run.rule.id}: {run.reason}" for run in runs)
    paths = _and(sorted({entry.path for entry in data.inputs})) or "the input"
    return (
        f"{paths}: no rule could run ({reasons}). Map the missing columns, or run "
        "'kpiaudit inspect' to see which ones were found."
    )


def _test(run: Run) -> None:
    rule = run.rule
    with held.keeping() as run.yardsticks:
        run.verdicts = minimum.tested(
            rule.detector, run.summaries, run.found, least=rule.min_effect
        )
    tested = run.verdicts.tested
    if run.verdicts.skipped is not None:
        run.reason = f"{run.verdicts.skipped}{run.rule.asked}"
        run.q_value = tuple(np.full(len(t.ids), np.nan) for t in tested)
        return
    run.q_value = deciding.q_values(tested)


def _select(runs: Sequence[Run]) -> None:
    """Share the error rate between the rules that show anything."""

    def smallest(run: Run) -> float:
        q = np.concatenate(run.q_value or (np.empty(0),))
        q = q[~np.isnan(q)]
        return float(q.min()) if q.size else float("nan")

    # A rule with its own max_q is compared on the scale of its own threshold.
    usual = 0.05
    scaled = np.array([smallest(r) * usual / max(r.rule.max_q, 1e-9) for r in runs])
    selected, level = multiplicity.select_families(scaled, power.ALL_RULES)
    families = int((~np.isnan(scaled)).sum())
    for run in runs:
        run.selection = Selection(
            rules=families,
            selected=selected,
            level=run.rule.max_q * min(level / usual, 1.0),
        )


def _status(run: Run) -> RuleStatus:
    verdicts, detector = run.verdicts, run.rule.detector
    params = {k: v for k, v in detector.params().items() if k != "since" or v}
    if run.reason is not None:
        return RuleStatus(
            id=run.rule.id,
            detector=detector.id,
            status="skipped",
            reason=run.reason,
            params=params,
            untestable=verdicts.untestable,
            blind_spots=verdicts.blind_spots,
            found=verdicts.found,
        )
    agents = [t for t in verdicts.tested if t.kind == "agent"] or list(verdicts.tested)
    spread = [t.outcome.facts["spread"] for t in agents if "spread" in t.outcome.facts]
    return RuleStatus(
        id=run.rule.id,
        detector=detector.id,
        status="ran",
        reason=run.unreliable or None,
        params=params,
        tested=sum(int(t.outcome.testable.sum()) for t in verdicts.tested),
        untestable=verdicts.untestable
        + sum(int((~t.outcome.testable).sum()) for t in verdicts.tested),
        flagged=len(run.findings),
        blind_spots=(*verdicts.blind_spots, *run.unplaced),
        unheard=tuple(run.unheard),
        restated=tuple(run.restated),
        placebo=run.placebo or None,
        found=verdicts.found,
        withdrawn=tuple(run.withdrawn),
        spread=spread[0] if spread else None,
        smallest_detectable=run.smallest,
        selection=run.selection,
    )


def records(run: Run, finding: Finding) -> dict[str, pl.DataFrame]:
    """Collect the rows behind a finding, by time and id: `flagged` and `control`.

    Those of a team are the rows behind its agents' findings.
    """
    about = [finding]
    if finding.subject.kind == "team":
        about = [
            f
            for f in run.findings
            if f.part_of == finding.id and f.subject.kind == "agent"
        ]
    frames = {
        f"{number}:{label}": frame
        for number, each in enumerate(about)
        for label, frame in run.rule.detector.records(
            run.data, (each.subject.kind, each.subject.id), run.found
        ).items()
    }
    parts: dict[str, list[pl.DataFrame]] = {}
    for name, rows in collect(frames).items():
        parts.setdefault(name.partition(":")[2], []).append(rows)
    return {label: _in_order(run, rows) for label, rows in parts.items()}


def _in_order(run: Run, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Join rows of one table, with its columns and its rows in the usual order."""
    table = run.rule.detector.table
    first = parts[0]
    for other in parts[1:]:
        first = first.vstack(other.select(first.columns))
    rows = first
    usual = [name for name in schema.names(table) if name in rows.columns]
    rest = [name for name in rows.columns if name not in usual]
    return (
        rows.select(*usual, *rest)
        .drop(ROW, strict=False)
        .sort(
            [c for c in ("at_ms", schema.key(table), "agent_id") if c in rows.columns],
            maintain_order=True,
        )
    )
