"""What a reader made of an export with known damage, against what it should."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kpiaudit.tables import schema
from kpiaudit.tables.cells import NULLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kpiaudit.tables.dataset import Dataset
    from tests.tables.grids import Value
    from tests.tables.mutations import Case

_COLUMN = re.compile(r"cells? of '(\w+)' could not be read")


def differences(case: Case, data: Dataset) -> Iterator[str]:
    """Yield what differs: rows, rejected rows, repeated rows, cells, values."""
    (entry,) = data.inputs
    if entry.rows + entry.rejected != case.made:
        yield (
            f"{entry.rows} read + {entry.rejected} rejected, but {case.made} were made"
        )
    if entry.rejected != case.rejected:
        yield f"{entry.rejected} rows rejected, but {case.rejected} were damaged"
    counts = {note.kind: note.count for note in data.notes}
    if counts.get("duplicate-rows", 0) != case.repeated:
        yield (
            f"{counts.get('duplicate-rows', 0)} rows dropped as repeated, but "
            f"{case.repeated} were"
        )
    if "duplicate-ids" in counts:
        yield "rows with the same id were kept"
    unreadable = {
        match[1]: note.count
        for note in data.notes
        if note.kind == "unreadable-cells" and (match := _COLUMN.search(note.detail))
    }
    if unreadable != case.unreadable:
        yield f"unreadable {unreadable}, but {case.unreadable} were damaged"
    yield from _values(case, data)


def _values(case: Case, data: Dataset) -> Iterator[str]:
    frame = data.frames[case.table].to_native().collect()
    got = {row[case.names[0]]: row for row in frame.iter_rows(named=True)}
    if len(got) != len(case.want):
        yield f"{len(got)} different rows, but {len(case.want)} were made"
    kinds = [schema.column(case.table, name).type for name in case.names]
    for row in case.want:
        found = got.get(row[0])
        if found is None:
            yield f"no row {row[0]}"
            continue
        for name, kind, value in zip(case.names, kinds, row, strict=True):
            if not _same(found.get(name), value, kind):
                yield f"{row[0]}: {name} is {found.get(name)!r}, not {value!r}"


def _same(found: Value, value: Value, kind: str) -> bool:
    if isinstance(value, str):
        text = value.strip()
        return found == (None if text in NULLS else text)
    if isinstance(found, float) and isinstance(value, float):
        return abs(found - value) < (0.0005 if kind == "duration" else 1e-9)
    return found == value
