"""Preset fixtures grown to more rows, with known damage to their rows and layout."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kpiaudit.tables import schema
from kpiaudit.tables.grammar import read_presets
from kpiaudit.tables.load import load
from kpiaudit.tables.mapping import fold
from tests.tables.mutations import ENCODINGS, PACKS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    import polars as pl

    from kpiaudit.tables.dataset import Dataset

FIXTURES = Path(__file__).parent / "presets" / "fixtures"
_COPIES = 5


@dataclass(frozen=True, kw_only=True)
class Grown:
    """A fixture with each of its rows several times, each time under another id.

    Args:
        preset: Its name.
        table: Which canonical table it feeds.
        key: That table's key.
        header: As documented.
        rows: Cells.
        ids: The id of each row, as read.
        want: What is read of the undamaged file.
    """

    preset: str
    table: str
    key: str
    header: list[str]
    rows: list[list[str]]
    ids: list[str]
    want: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class GrownCase:
    """A damaged file and the ids that must be read from it."""

    data: bytes
    name: str
    fixture: Grown
    made: int
    rejected: int
    repeated: int
    ids: frozenset[str]
    marks: tuple[str, ...]


def files() -> list[Path]:
    """Return the export of every fixture."""
    found = FIXTURES.glob("*/export.*")
    return sorted(found)


@cache
def grown() -> tuple[Grown, ...]:
    """Return the CSV fixtures whose rows are records with an id column of their own."""
    found = (_grown(path) for path in files() if path.suffix == ".csv")
    return tuple(g for g in found if g is not None)


def _grown(path: Path) -> Grown | None:
    preset = next(p for p in read_presets() if p.name == path.parent.name)
    (target, *others) = preset.targets
    key = schema.key(target.table)
    cell = target.cells.get(key or "")
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if others or target.keep or target.only or target.drop or key is None:
        return None
    # Of several columns the first has to be filled in every row.
    if cell is None or not replace(cell, columns=cell.columns[:1]).plain:
        return None
    folded = [fold(name) for name in header]
    if fold(cell.columns[0]) not in folded or preset.header or preset.skip_rows:
        return None
    at = folded.index(fold(cell.columns[0]))
    many = [
        [f"{cell}x{copy}" if i == at else cell for i, cell in enumerate(row)]
        for copy in range(_COPIES)
        for row in rows
    ]
    if not all(row[at][0] != "x" for row in many):
        return None
    ids = [row[at] for row in many]
    if len(set(ids)) < len(ids):
        return None
    data = load(tables={target.table: "-"}, stdin=io.BytesIO(_text(header, many)))
    want = _frame(data, target.table, key)
    return Grown(
        preset=preset.name,
        table=target.table,
        key=key,
        header=header,
        rows=many,
        ids=ids,
        want=want,
    )


def _frame(data: Dataset, table: str, key: str) -> pl.DataFrame:
    frame: pl.DataFrame = data.frames[table].to_native().collect()
    return frame.sort(key)


def _text(header: list[str], rows: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([header, *rows])
    return out.getvalue().encode()


def damaged(rng: Random) -> GrownCase:
    """Damage a grown fixture: rows cut, lengthened, repeated; layout changed."""
    fixture = rng.choice(grown())
    order = rng.sample(range(len(fixture.header)), len(fixture.header))
    rows = [[row[i] for i in order] for row in fixture.rows]
    header = [fixture.header[i] for i in order]
    ids = dict(enumerate(fixture.ids))
    marks = {f"preset {fixture.preset}"}
    for at in rng.sample(range(len(rows)), rng.randrange(len(rows) // 5 + 1)):
        del ids[at]
        marks.add("broken row")
        rows[at] = rows[at][: rng.randint(1, len(header) - 1)]
        if not "".join(rows[at]).strip() or rng.random() < 0.5:
            rows[at] = ["more", *[fixture.rows[at][i] for i in order]]
    again = rng.sample(sorted(ids), rng.randrange(3))
    if again:
        marks.add("repeated rows")
    rows += [rows[at] for at in again]
    encoding = rng.choice(ENCODINGS)
    separator = rng.choice(",,;\t")
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    out = io.StringIO()
    eol = rng.choice(("\n", "\r\n"))
    written = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=eol)
    written.writerows([header, *rows])
    data, name = out.getvalue().encode(encoding, "replace"), "export.csv"
    if rng.random() < 0.2 and encoding == "utf-8":
        pack = rng.choice(tuple(PACKS))
        data, name = PACKS[pack](data), name + pack
        marks.add(pack)
    return GrownCase(
        data=data,
        name=name,
        fixture=fixture,
        made=len(rows),
        rejected=len(fixture.rows) - len(ids),
        repeated=len(again),
        ids=frozenset(ids.values()),
        marks=tuple(sorted(marks | {encoding})),
    )


def grown_differences(case: GrownCase, data: Dataset) -> Iterator[str]:
    """Yield what differs from the undamaged file, but for the rows that were broken."""
    (entry,) = data.inputs
    fixture = case.fixture
    if entry.preset != fixture.preset:
        yield f"taken for {entry.preset}, not {fixture.preset}"
    if (entry.rows, entry.rejected) != (case.made - case.rejected, case.rejected):
        yield (
            f"{entry.rows} read + {entry.rejected} rejected, not "
            f"{case.made - case.rejected} + {case.rejected}"
        )
    dropped = sum(n.count for n in data.notes if n.kind == "duplicate-rows")
    if dropped != case.repeated:
        yield f"{dropped} rows dropped as repeated, not {case.repeated}"
    found = _frame(data, fixture.table, fixture.key)
    want = fixture.want.filter(fixture.want[fixture.key].is_in(list(case.ids)))
    # A column that holds nothing any more counts as absent.
    want = want[[s.name for s in want if s.null_count() < len(s)]]
    if set(found.columns) != set(want.columns):
        yield f"columns {sorted(set(found.columns) ^ set(want.columns))} differ"
    elif not found.select(want.columns).equals(want):
        yield "cells differ from those of the undamaged file"
