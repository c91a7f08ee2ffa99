"""The contract of a detector: what it needs, how it counts, tests and words."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from kpiaudit.detectors.summary import Summary
from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from kpiaudit.findings import (
        Corroboration,
        Effect,
        Evidence,
        Explanation,
        Grade,
        Histogram,
        Restated,
        RestsOn,
    )
    from kpiaudit.stats.outcome import Outcome
    from kpiaudit.tables.dataset import Dataset, Frame

__all__ = [
    "Account",
    "Alternative",
    "Detector",
    "Explain",
    "Found",
    "Row",
    "Summaries",
    "Summary",
    "Tested",
    "Verdicts",
    "param",
]

Found: TypeAlias = "Mapping[str, Any]"
"""What the first stage found (`{"cap_s": 420}`); empty before it."""


def param(default: Any, *, unit: str, doc: str, low: float | None = None) -> Any:
    """Declare a parameter of a detector: a dataclass field with unit and meaning.

    Args:
        default: Value unless a rule says otherwise; None asks the detector to find it.
        unit: Unit of the value (`s`, `days`, `share`, `contacts`, `1` for a number).
        doc: One sentence on what it does.
        low: Smallest allowed value, if any.
    """
    return field(default=default, metadata={"unit": unit, "doc": doc, "low": low})


@frozen
class Explain:
    """An innocent explanation, what is asked about it, and what then happens.

    Args:
        text: The explanation, as findings print it.
        columns: Columns without any of which it is uncheckable.
        either: Columns of which one will do; without all of them it is uncheckable.
        asks: What the detector asks of the data.
        then: What happens where the answer is yes; otherwise it is ruled out, if the
            columns are nobody's own, or open.
    """

    text: str
    columns: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    asks: str = ""
    then: str = ""


@frozen
class Alternative:
    """What innocent records look like, so that other sources can tell the difference.

    The innocent records are everybody else's flagged ones: `records` of the floor.

    Args:
        text: These records in words, as in "after peers' short calls".
        same_if: The innocent explanation that would look the same, as in "the line had
            dropped".
        selected_on: Sources by which flagged records are chosen; they can't testify.
        counted: Sources that the test itself already rests on; they are shown, but
            are no further evidence.
        control: The `control` rows are a second innocent alternative, and the only one
            for a queue or the floor.
        decides: Sources that the test does not rest on help to decide about agents.
            They must be tied to nothing that it uses, if the agent is honest.
    """

    text: str = "peers' records of the same kind"
    same_if: str = "one of the innocent explanations held"
    selected_on: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()
    control: bool = False
    decides: bool = False


Summaries: TypeAlias = "Mapping[str, Summary]"


@frozen
class Tested:
    """The outcome for one kind of subject, with the subjects' ids in its order.

    Args:
        kind: `agent`, `team`, `site`, `queue` or `floor`.
        ids: Ids, object array of shape (n_subjects,).
        outcome: What the test says about each of them.
        share: Share of the rule's error budget that goes to this kind, > 0.
        unit: Unit of the outcome's `effect` and `smallest_detectable`.
    """

    kind: str
    ids: NDArray[Any]
    outcome: Outcome
    share: float = 1.0
    unit: str = "contacts"


@frozen
class Verdicts:
    """What a detector's test gives back for one rule.

    Args:
        tested: Outcomes, floor first; empty if nothing could be tested.
        untestable: Subjects left out before the test because they had too little.
        blind_spots: What the data did not allow to see, in sentences.
        found: What the first stage found, in sentences.
        skipped: Why nothing could be tested at all; None if something was.
    """

    tested: tuple[Tested, ...] = ()
    untestable: int = 0
    blind_spots: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    skipped: str | None = None


@frozen
class Row:
    """One flagged subject, with everything that its wording may draw on.

    Args:
        kind: Kind of subject.
        id: Its id; `all` for the floor.
        index: Its position in `tested`.
        tested: The outcome that it stands in.
        q_value: Within the rule.
        summaries: All collected summaries of the detector.
        found: What the first stage found.
        data: The dataset, for its columns and origins only: nothing is read here.
    """

    kind: str
    id: str
    index: int
    tested: Tested
    q_value: float
    summaries: Summaries
    found: Found
    data: Dataset

    @property
    def outcome(self) -> Outcome:
        """Return the outcome that the row stands in."""
        return self.tested.outcome

    def value(self, name: str) -> float:
        """Return a field or an `extra` of the outcome at this row."""
        extra = self.outcome.extra
        array = extra[name] if name in extra else getattr(self.outcome, name)
        return float(array[self.index])


@frozen
class Account:
    """A flagged row in words and figures; the scan makes a `Finding` of it.

    Args:
        headline: One sentence: who, what, how much, compared with whom.
        effect: The main effect with its 95 % interval.
        n: Records that the finding rests on.
        observed: Count or value observed.
        expected: The same as expected from peers or the counterfactual.
        harm: Size of the harm as a share of the subject's KPI, in [0, 1]; it lowers
            the rule's severity (see docs/architecture.md).
        evidence: Further figures.
        explanations: Innocent ones, each with its status.
        rests_on: Columns, their origin and role.
        peers: Who the subject was compared with, in a sentence.
        next_step: What would settle it, in a sentence.
        corroboration: What other sources say.
        restated: The KPI without the pattern.
        also_restated: Other KPIs that the same records move.
        histogram: Where the shape is the evidence.
        grade_cap: The best evidence grade that the test allows.
    """

    headline: str
    effect: Effect
    n: int
    observed: float | None
    expected: float | None
    harm: float
    evidence: tuple[Evidence, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    rests_on: tuple[RestsOn, ...] = ()
    peers: str = ""
    next_step: str = ""
    corroboration: tuple[Corroboration, ...] = ()
    restated: Restated | None = None
    also_restated: tuple[Restated, ...] = ()
    histogram: Histogram | None = None
    grade_cap: Grade = "strong"


@dataclass(frozen=True, kw_only=True)
class Detector(ABC):
    """One gaming pattern: what it needs, how it counts, how it tests, how it words.

    A subclass is a frozen, keyword-only dataclass whose fields (made with `param`) are
    its parameters and whose class variables are its facts. It keeps no other state,
    reads no file and prints nothing. Its docstring is its documentation.
    """

    id: ClassVar[str]
    version: ClassVar[int] = 1
    kpi: ClassVar[str]
    level: ClassVar[int]
    table: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]
    uses: ClassVar[tuple[str, ...]] = ()
    explanations: ClassVar[tuple[Explain, ...]] = ()
    blind: ClassVar[str] = ""
    alternative: ClassVar[Alternative] = Alternative()
    stake: ClassVar[str] = ""
    """What `plant` takes a share of, such as `an agent's calls`; empty without it."""
    supposed: ClassVar[str] = ""
    """What `plant` takes for granted of the pattern beside its share, in words: the
    smallest share that would be found holds where that holds."""
    floor_planted: ClassVar[bool] = False
    """`plant` also reaches the counts by which the whole floor is tested."""
    restates: ClassVar[tuple[str, ...]] = ()
    """Further KPIs that its flagged calls move (see `evidence/restating.py`); the
    effect must then be a number of calls."""
    later_only: ClassVar[bool] = False
    """Findings are about what came since `since`, and so are their restated KPIs."""
    floor_kpi: ClassVar[tuple[str, str, str, float] | None] = None
    """Summary, numerator, denominator and unit of the KPI that `restated` is about, for
    everybody together; an empty denominator makes it a sum."""
    floor_rate: ClassVar[tuple[str, str, str, str] | None] = None
    """A share that the effect adds to: KPI, summary, numerator, denominator."""
    rate_adds: ClassVar[str] = ""
    """Name of the evidence that says how many records it adds; else the effect."""
    unit_cost: ClassVar[str] = ""
    """What each record in excess costs (`contact`, `reopened_ticket`); empty where that
    depends on what followed it."""

    since: str | None = param(
        None,
        unit="day",
        doc="Day on which the cap, target or bonus began: before is compared with it.",
    )

    @property
    def since_day(self) -> int | None:
        """Return `since` in days since 1970-01-01, as in the frames' column `day`."""
        if self.since is None:
            return None
        return (date.fromisoformat(self.since) - date(1970, 1, 1)).days

    def days_each(self, found: Found) -> float:
        """Return how many days each tested one stands for in KPIs and costs."""
        return 1.0

    def discover(self, data: Dataset) -> Mapping[str, Frame]:
        """Count what the first stage needs in order to find something; often nothing.

        Args:
            data: The dataset, already limited to the rule's `where`.

        Returns:
            Lazy summaries by name, each sorted.
        """
        return {}

    def find(self, summaries: Summaries) -> Found:
        """Say what the first stage found, from its collected summaries."""
        return {}

    @abstractmethod
    def summarize(self, data: Dataset, found: Found) -> Mapping[str, Frame]:
        """Reduce the tables to counts, in the portable subset; each frame sorted.

        Args:
            data: The dataset, already limited to the rule's `where`.
            found: What the first stage found; empty if there was none.

        Returns:
            Lazy summaries by name: one row per subject and stratum, or the like.
        """

    @abstractmethod
    def test(
        self, summaries: Summaries, found: Found, *, min_effect: float | None
    ) -> Verdicts:
        """Test every subject of the collected summaries: a pure function.

        Args:
            summaries: What `summarize` gave, collected.
            found: What the first stage found.
            min_effect: The hypothesis is an effect no larger than this, in the
                detector's own unit of effect; None stands for its default.
        """

    @abstractmethod
    def account(self, row: Row) -> Account:
        """Put one flagged row into words and figures."""

    @abstractmethod
    def records(
        self, data: Dataset, subject: tuple[str, str], found: Found
    ) -> Mapping[str, Frame]:
        """Return the rows of the export that a finding rests on.

        Args:
            data: The dataset, already limited to the rule's `where`.
            subject: Kind and id of the subject. For the floor (`("floor", "all")`) the
                rows of everybody: other sources are asked about these.
            found: What the first stage found.

        Returns:
            `flagged`: the rows behind the finding; `control`: comparable rows of the
            same subject that the finding does not rest on. In any order.
        """

    def plant(
        self, summaries: Summaries, found: Found, agents: Mapping[str, float], seed: int
    ) -> Summaries | None:
        """Put the pattern into some agents' counts, to see whether it would be found.

        A detector that has this says its smallest detectable effect; without it that
        is left open.

        Args:
            summaries: What `summarize` gave, collected; not to be changed.
            found: What the first stage found.
            agents: Share of what is at stake (`stake`) that each of them games.
            seed: Fixes the random numbers.

        Returns:
            All summaries, those agents' counts changed; None if it can't be done.
        """
        del summaries, found, agents, seed
        return None

    def elsewhere(self, summaries: Summaries, found: Found) -> Iterator[Verdicts]:
        """Test cutoffs of the same roundness at which nothing is paid.

        Only from what was collected anyway, since every scan does it. A subject that
        stands out there shows that this rule can't be relied on in these data.
        """
        del summaries, found
        yield from ()

    def variants(self, found: Found) -> tuple[Self, ...]:
        """Return this detector with other cutoffs, which need a read of their own."""
        del found
        return ()

    def moved(self, data: Dataset) -> Iterator[Dataset]:
        """Return the data with deadlines at which nothing is paid."""
        del data
        yield from ()

    def replicas(
        self, summaries: Summaries, found: Found, *, number: int, seed: int
    ) -> Iterator[Summaries]:
        """Draw counts that honest subjects could have had, who differ as these do.

        Rates come from the fitted honest spread, whole days stay together. Shuffling
        subjects would take away the very differences that make false alarms.
        """
        del summaries, found, number, seed
        yield from ()

    @classmethod
    def first_line(cls) -> str:
        """Return the first line of the class docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    def params(self) -> dict[str, Any]:
        """Return the parameters by name, as the rule set them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
