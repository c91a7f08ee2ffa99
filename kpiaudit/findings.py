"""Frozen data: what a scan says. No behaviour beyond small look-ups."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = "kpiaudit.report/1"
NOTICE = (
    "A finding is a pattern that warrants review by a person. It is no proof, and no "
    "decision about an employee may rest on it alone."
)

SubjectKind: TypeAlias = Literal["agent", "team", "site", "queue", "floor"]
ExplanationStatus: TypeAlias = Literal["ruled_out", "open", "uncheckable"]
Verdict: TypeAlias = Literal["supports", "contradicts", "silent"]
Grade: TypeAlias = Literal["strong", "moderate", "weak"]
State: TypeAlias = Literal["new", "known", "worsened", "improved"]


class Severity(IntEnum):
    """Size of the harm to the KPI or to customers; not how sure we are."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3

    @property
    def word(self) -> str:
        """Return `low`, `medium` or `high`."""
        return self.name.lower()


@dataclass(frozen=True, kw_only=True, order=True)
class Subject:
    """Whom or what a finding is about; the floor's id is `all`."""

    kind: SubjectKind
    id: str
    team_id: str | None = None


@frozen
class Effect:
    """An estimate with its interval, in `unit`; None where it can't be computed."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    level: float = 0.95
    unit: str = ""


@frozen
class Evidence:
    """A number behind a finding, with its name and unit; `text` is a sentence.

    `plain` is a clause for who reads no further figures; they are told nothing else.
    """

    name: str
    value: float | None = None
    unit: str = ""
    text: str = ""
    plain: str = ""


@frozen
class Explanation:
    """An innocent explanation and how far the data rule it out.

    Args:
        text: The explanation in words.
        status: `ruled_out`, `open` or `uncheckable`.
        detail: The figures behind the status, and the columns that it rests on.
        holds: The data positively show the explanation. Such an explanation has the
            status `open`.
        rests_on: Columns that a holding explanation rests on. Only if it names some,
            and the subject neither writes nor steers any of them, is the finding
            withdrawn; otherwise it loses one grade.
    """

    text: str
    status: ExplanationStatus
    detail: str = ""
    holds: bool = False
    rests_on: tuple[str, ...] = ()


@frozen
class Corroboration:
    """What another source says about exactly the flagged records.

    Args:
        source: What was asked.
        verdict: `supports` where the records stand out from innocent ones, `silent`
            where they look the same, `contradicts` where they stand out the other way.
        effect: The difference from the best innocent alternative.
        p_value: That innocent records would show as much.
        detail: The figures in words.
        e_value: Weight of the answer; None where the test itself rests on it.
        voice: Sources with the same voice speak of one episode, or have one recorder.
    """

    source: str
    verdict: Verdict
    effect: Effect | None = None
    p_value: float | None = None
    detail: str = ""
    e_value: float | None = None
    voice: str = ""


@frozen
class Restated:
    """The KPI as reported and as it would have been without the pattern."""

    kpi: str
    reported: float | None
    restated: float | None
    low: float | None
    high: float | None
    unit: str = ""
    assumption: str = ""


@frozen
class Cost:
    """Harm in money; for a team, queue or floor, never for a person."""

    value: float
    low: float
    high: float
    currency: str
    basis: str = ""


@frozen
class RestsOn:
    """A column that a finding rests on, who wrote it, and for what it was used."""

    column: str
    origin: str
    role: str


@frozen
class Histogram:
    """Counts in equal bins, for findings whose evidence is a shape.

    Args:
        start: Left edge of the first bin, in `unit`.
        width: Bin width, in `unit`.
        counts: Observed records per bin.
        expected: Counterfactual per bin; empty if there is none.
        mark: Where the cutoff lies, in `unit`; None if nowhere.
        unit: Unit of the axis.
    """

    start: float
    width: float
    counts: tuple[float, ...]
    expected: tuple[float, ...] = ()
    mark: float | None = None
    unit: str = "s"


@frozen
class Selection:
    """Selection across rules (Benjamini & Bogomolov 2014): level left for this rule."""

    rules: int
    selected: int
    level: float


@frozen
class Suppressed:
    """Why and until which day a finding does not count for the exit status."""

    reason: str
    until: str


@frozen
class Gone:
    """A finding of the baseline that this run does not have.

    Args:
        id: Its id.
        rule: Its rule.
        subject: `kind id`.
        tested: The rule ran this time; if not, nobody looked.
    """

    id: str
    rule: str
    subject: str
    tested: bool


@frozen
class Compared:
    """What the report was compared with, and what is no longer there."""

    baseline: str
    gone: tuple[Gone, ...] = ()


@frozen
class Finding:
    """One pattern at one subject; the fields are those of the report's contract."""

    id: str
    rank: int
    rule: str
    detector: str
    kpi: str
    subject: Subject
    severity: Severity
    headline: str
    n: int
    observed: float | None
    expected: float | None
    effect: Effect
    p_value: float | None
    q_value: float | None
    evidence: tuple[Evidence, ...] = ()
    innocent_explanations: tuple[Explanation, ...] = ()
    period_start: str | None = None
    period_end: str | None = None
    corroboration: tuple[Corroboration, ...] = ()
    corroboration_e_value: float | None = None
    restated: Restated | None = None
    also_restated: tuple[Restated, ...] = ()
    cost: Cost | None = None
    part_of: str | None = None
    rests_on: tuple[RestsOn, ...] = ()
    evidence_grade: Grade = "weak"
    breaking_point: float | None = None
    peers: str = ""
    next_step: str = ""
    histogram: Histogram | None = None
    adjusted: Effect | None = None
    selection: Selection | None = None
    state: State | None = None
    suppressed: Suppressed | None = None


@frozen
class SmallestDetectable:
    """The effect that the data at hand would show with the stated power."""

    value: float | None
    unit: str
    power: float = 0.8


@frozen
class PlaceboRuns:
    """How often a placebo was run, and how often it would have been reported.

    Args:
        runs: How often.
        flagged: Runs in which somebody would have been reported.
        luck: Share of runs in which honest data may show somebody.
    """

    runs: int
    flagged: int
    luck: float = 0.05


@frozen
class RuleStatus:
    """What became of a rule: that it ran, or why it could not.

    Args:
        id: The rule's id.
        detector: The detector that it tunes.
        status: `ran` or `skipped`.
        reason: Why it was skipped, or what it can't see; None if nothing to say.
        params: The detector's parameters as they were used.
        tested: Subjects with enough data.
        untestable: Subjects with too little.
        flagged: Subjects with a finding.
        blind_spots: What this rule could not see in these data, in sentences.
        found: What the first stage found (a cap, a delay), in sentences.
        withdrawn: Patterns that an innocent explanation accounts for, in sentences.
        unheard: Sources that could not be asked about findings, in sentences.
        restated: KPIs of the whole floor, without what the agents' findings show.
        spread: Estimated spread between honest subjects (sd on the log-odds scale).
        smallest_detectable: Smallest effect seen with 80 % power.
        placebo: Placebo runs by name.
        selection: Selection across rules.
    """

    id: str
    detector: str
    status: Literal["ran", "skipped"]
    reason: str | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    tested: int = 0
    untestable: int = 0
    flagged: int = 0
    blind_spots: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()
    restated: tuple[Restated, ...] = ()
    spread: float | None = None
    smallest_detectable: SmallestDetectable | None = None
    placebo: Mapping[str, PlaceboRuns] | None = None
    selection: Selection | None = None


@frozen
class DataNote:
    """Something about the data itself, with a count and where to look.

    Args:
        table: Canonical table, or an empty string for a file of no table.
        kind: Short id, such as `duplicate-ids`, `unreadable-cells`, `rejected-rows`.
        count: How many rows or cells.
        detail: One sentence: what, where (file, first data rows), what follows.
        examples: Up to three of what was counted, by id, day or place; they stand in
            `detail` as well. Empty where the sentence names cells instead.
    """

    table: str
    kind: str
    count: int
    detail: str
    examples: tuple[str, ...] = ()


@frozen
class Input:
    """One table that was read from one path.

    Args:
        table: Canonical table.
        path: As given.
        rows: Rows read.
        rejected: Rows whose structure is broken.
        sha256: Of the file's bytes; None for what is no local file.
        preset: Name of the mapping; `canonical` if none was needed.
        period_start: First day in it; None if it has no dates.
        period_end: Last day in it.
    """

    table: str
    path: str
    rows: int
    rejected: int = 0
    sha256: str | None = None
    preset: str = "canonical"
    period_start: str | None = None
    period_end: str | None = None


@frozen
class Report:
    """Everything that a scan says, in a stable order."""

    version: str
    inputs: tuple[Input, ...]
    rules: tuple[RuleStatus, ...]
    findings: tuple[Finding, ...]
    notes: tuple[DataNote, ...]
    compared: Compared | None = None
    schema: str = SCHEMA
    notice: str = NOTICE

    def to_json(self) -> str:
        """Return what `--format json` prints."""
        # The only upward call: a convenience promised by the contract, kept lazy so
        # that this module stays on the ground floor.
        from importlib import import_module  # noqa: PLC0415

        text: str = import_module("kpiaudit.outputs.json_v1").render(self)
        return text
