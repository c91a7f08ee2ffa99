"""One reading of an assembled table, for everything that is asked before a scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import polars as pl

from kpiaudit.tables import schema
from kpiaudit.tables.assemble import anchors, dated
from kpiaudit.tables.checks import QUESTIONS, asked, read_for
from kpiaudit.tables.copies import names_of_row, repeats
from kpiaudit.tables.parts import Tally, added, parts, roots
from kpiaudit.tables.ready import doubtful, facts, within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kpiaudit.tables.assemble import Assembled
    from kpiaudit.tables.clocks import Backwards
    from kpiaudit.tables.ready import Period


@dataclass(kw_only=True)
class Look:
    """What a reading has told.

    Args:
        frame: The table, dated and within the period.
        doubtful: Columns that hold nothing in the first rows.
        facts: Counts that decide what is taken out.
        answers: What the checks asked.
        alike: Whether some rows are named alike, and may be equal.
    """

    frame: pl.LazyFrame
    doubtful: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    answers: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    alike: bool = False


def look(
    done: Assembled, timezone: str, period: Period, back: Backwards | None = None
) -> Look:
    """Read a table once; only the first rows twice.

    Args:
        done: The table; where it is `unsettled`, rows named alike are looked for too.
        timezone: Zone of days and hours.
        period: What is looked at of it, but for the names and clocks of all rows.
        back: Takes all rows in their order, if given.
    """
    stamps = anchors(done)
    whole = dated(done, timezone, stamps)
    now = Look(frame=within(whole, period))
    names = whole.collect_schema().names()
    now.doubtful = doubtful(now.frame)
    wanted = facts(done.table, names, doubtful=now.doubtful, stamps=stamps)
    alike = names_of_row(done.table, done.columns) if done.unsettled else []
    key = schema.key(done.table)
    name = pl.lit(None) if done.keyless or key not in names else pl.col(str(key))
    read = {*roots(wanted.values()), *read_for(done.table, names), *alike}
    if "at_ms" in names:
        read.add("at_ms")
    hashes = _Hashes(most=done.most if alike else 0)
    rows = []
    tallies: dict[str, Tally] = {}
    for part in parts(whole, read, in_order=back is not None):
        if alike:
            hashes.add(part.select(alike).hash_rows())
        if back is not None:
            back.take(part.select(at="at_ms", name=name))
        inside = within(part.lazy(), period)
        row, answers = _ask(done.table, inside, frozenset(names), wanted)
        rows.append(row)
        for question, answer in answers.items():
            tally = tallies.setdefault(question, Tally(per=QUESTIONS[question]))
            tally.add(answer)
    now.facts = added(rows)
    if not now.facts.get("undated", 1):
        # One instant dates all rows: no query has to read the others for it.
        now.frame = within(dated(done, timezone, stamps[:1]), period)
    now.answers = {question: tally.total() for question, tally in tallies.items()}
    now.alike = hashes.repeat()
    return now


def _ask(
    table: str,
    part: pl.LazyFrame,
    columns: frozenset[str],
    wanted: Mapping[str, pl.Expr],
) -> tuple[dict[str, Any], dict[str, pl.DataFrame]]:
    """Return the facts of a part and what the checks ask of it, computed together."""
    frames = asked(table, nw.from_native(part), columns)
    lazy = [part.select(**wanted), *(f.to_native() for f in frames.values())]
    facts_, *answers = pl.collect_all(lazy, engine="in-memory")
    return facts_.row(0, named=True), dict(zip(frames, answers, strict=True))


@dataclass(kw_only=True)
class _Hashes:
    """Hashes of the names of rows, in one array of the size that is needed."""

    most: int
    rows: int = 0
    _every: NDArray[np.uint64] | None = None

    def add(self, some: pl.Series) -> None:
        if self._every is None:
            self._every = np.empty(self.most, np.uint64)
        self._every[self.rows : self.rows + len(some)] = some.to_numpy()
        self.rows += len(some)

    def repeat(self) -> bool:
        return self._every is not None and repeats(self._every[: self.rows])
