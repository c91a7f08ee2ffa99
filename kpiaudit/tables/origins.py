"""Who wrote each column, so that the audited are never their own alibi."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from kpiaudit.tables import schema
from kpiaudit.tables.engine import collect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kpiaudit.tables.dataset import Frame
    from kpiaudit.tables.mapping import Target

_INDEPENDENCE = (
    "system",
    "third_party",
    "customer",
    "supervisor",
    "derived",
    "steered",
    "agent",
    "unknown",
)
_TOLERATED = 0.05


def origins_of(
    table: str, targets: Iterable[tuple[Target, tuple[str, ...]]], derived: set[str]
) -> dict[str, str]:
    """Return who wrote each column: the mapping's word, else the schema's default.

    Where files differ, the least independent writer counts.

    Args:
        table: Canonical table.
        targets: Of each file its mapping, and the columns that it gives.
        derived: Columns that were derived.
    """
    found: dict[str, str] = {}
    targets = list(targets)
    for column in schema.TABLES[table]:
        said = [
            target.origins.get(column.name, column.origin)
            for target, names in targets
            if column.name in names
        ]
        said += ["derived"] if column.name in derived else []
        if said:
            found[f"{table}.{column.name}"] = max(said, key=_INDEPENDENCE.index)
    return found


def score_origin(frame: Frame, columns: frozenset[str]) -> str | None:
    """Return who wrote the scores of surveys; None if nothing says otherwise.

    Scores that more than one in twenty times were collected by the agent (or by a
    supervisor) are not the customers' own.
    """
    if not {"administered_by", "score"} <= columns:
        return None
    groups = (
        frame.filter(~nw.col("score").is_null())
        .group_by("administered_by")
        .agg(n=nw.len())
    )
    rows = collect({"": groups})[""].iter_rows()
    count = {str(name): int(n) for name, n in rows}
    total = sum(count.values())
    for writer in ("agent", "supervisor"):
        if count.get(writer, 0) > _TOLERATED * total:
            return writer
    return None
