"""What every detector must pass, ours or a plugin's."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kpiaudit.audit import audit
from kpiaudit.errors import DetectorError
from kpiaudit.frozen import frozen
from kpiaudit.rulebook import Rule
from kpiaudit.tables import schema
from kpiaudit.tables.engine import collect
from kpiaudit.tables.load import load

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import polars as pl

    from kpiaudit.detectors.base import Detector
    from kpiaudit.findings import Finding
    from kpiaudit.tables.dataset import Dataset

Tables: TypeAlias = "Mapping[str, pl.DataFrame]"

HEADINGS = (
    "## Why it matters",
    "## Evidence",
    "## Innocent explanations",
    "## Source",
)
_NOMINAL = 0.05


@frozen
class Checked:
    """What `check_detector` measured.

    Args:
        honest: Honest centres tried.
        accused: Honest centres with any finding.
        planted: Centres with the pattern tried.
        found: Planted subjects found, as a share.
        first: Centres in which a planted subject (or the floor) ranks first.
    """

    honest: int
    accused: int
    planted: int
    found: float
    first: int


def check_detector(
    detector: Detector,
    *,
    honest: Callable[[int], Tables],
    planted: Callable[[int], tuple[Tables, Collection[str]]],
    seeds: int = 20,
    found: float = 0.8,
) -> Checked:
    """Check a detector against the contract, on honest and on planted tables.

    Args:
        detector: With the parameters that are to be checked.
        honest: Makes canonical tables of an honest centre from a seed.
        planted: Makes tables with the pattern from a seed, and the ids of the subjects
            that show it.
        seeds: Centres of each sort.
        found: Smallest share of planted subjects that must be found.

    Returns:
        What was measured.

    Raises:
        DetectorError: A check fails; the message says which, and by how much.
    """
    check_documentation(type(detector))
    check_summaries(detector, honest(0))
    check_empty(detector, honest(0))
    accused = sum(bool(_findings(detector, honest(seed))) for seed in range(seeds))
    allowed = _upper_count(seeds, _NOMINAL)
    if accused > allowed:
        raise DetectorError(
            f"{detector.id}: {accused} of {seeds} honest centres have a finding; at "
            f"most {allowed} are compatible with {_NOMINAL:.0%}."
        )
    shares, first = [], 0
    for seed in range(seeds):
        tables, subjects = planted(seed)
        findings = _findings(detector, tables)
        named = {f.subject.id for f in findings if f.subject.kind == "agent"}
        everybody = any(f.subject.kind == "floor" for f in findings)
        shares.append(
            len(named & set(subjects)) / len(subjects) if not everybody else 1.0
        )
        first += bool(findings) and _fits(findings[0], subjects)
    share = float(np.mean(shares))
    if share < found or first < found * seeds:
        raise DetectorError(
            f"{detector.id}: {share:.0%} of the planted subjects were found, and in "
            f"{first} of {seeds} centres one of them ranks first; {found:.0%} wanted."
        )
    return Checked(
        honest=seeds, accused=accused, planted=seeds, found=share, first=first
    )


def check_documentation(kind: type[Detector]) -> None:
    """Check headings, parameters and column names of a detector class.

    Raises:
        DetectorError: Something is missing or out of order.
    """
    text = inspect.getdoc(kind) or ""
    places = [text.find(heading) for heading in HEADINGS]
    if -1 in places or places != sorted(places):
        raise DetectorError(
            f"{kind.id}: the class docstring needs the headings "
            f"{', '.join(HEADINGS)}, in this order."
        )
    for field in fields(kind):
        if not (field.metadata.get("unit") and field.metadata.get("doc")):
            raise DetectorError(
                f"{kind.id}: parameter '{field.name}' has no unit or no doc. "
                "Declare it with kpiaudit.param."
            )
    known = {
        f"{table}.{column.name}"
        for table, columns in schema.TABLES.items()
        for column in columns
    }
    for name in (*kind.needs, *kind.uses):
        if name not in known:
            raise DetectorError(f"{kind.id}: there is no canonical column '{name}'.")


def check_summaries(detector: Detector, tables: Tables) -> None:
    """Check that shuffled rows give the same summaries.

    Raises:
        DetectorError: They don't.
    """
    rng = np.random.default_rng(1)
    shuffled = {
        name: frame[rng.permutation(len(frame))] for name, frame in tables.items()
    }
    ordered, mixed = (_summaries(detector, t) for t in (tables, shuffled))
    for name, frame in ordered.items():
        if not frame.equals(mixed[name]):
            raise DetectorError(
                f"{detector.id}: the summary '{name}' depends on the order of the "
                "rows. Sort it, and order windows by (at_ms, id)."
            )


def check_empty(detector: Detector, tables: Tables) -> None:
    """Check that tables without rows in the detector's own table give no finding.

    Raises:
        DetectorError: They do.
    """
    first = tables[detector.table]
    nearly = {**tables, detector.table: first.head(1)}
    if _findings(detector, nearly):
        raise DetectorError(f"{detector.id}: a table of one row gives a finding.")


def _dataset(tables: Tables) -> Dataset:
    return load(tables={name: [frame] for name, frame in tables.items()})


def _summaries(detector: Detector, tables: Tables) -> dict[str, pl.DataFrame]:
    from kpiaudit.detectors.base import Summary  # noqa: PLC0415 - heavy, used here only

    data = _dataset(tables)
    first = collect(detector.discover(data))
    found = detector.find({name: Summary.of(frame) for name, frame in first.items()})
    return {**first, **collect(detector.summarize(data, found))}


def _findings(detector: Detector, tables: Tables) -> tuple[Finding, ...]:
    rule = Rule(id=detector.id, detector=detector)
    return audit(_dataset(tables), (rule,)).report.findings


def _fits(finding: Finding, subjects: Collection[str]) -> bool:
    return finding.subject.id in subjects or finding.subject.kind in {"floor", "team"}


def _upper_count(trials: int, rate: float) -> int:
    """Return the largest count that a rate gives with a chance of 1 % or more."""
    counts = np.random.default_rng(0).binomial(trials, rate, size=20_000)
    return int(np.quantile(counts, 0.99))
