"""The two stages of counting: all rules' lazy frames, collected together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import narwhals as nw

from kpiaudit.detectors.base import Summary
from kpiaudit.detectors.sources import ROSTERS
from kpiaudit.evidence.runs import Roster
from kpiaudit.tables.engine import collect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kpiaudit.evidence.runs import Run
    from kpiaudit.tables.dataset import Dataset, Frame


def _over(runs: Sequence[Run]) -> str:
    """Say how many rows are read, and which rules they are read for."""
    tables = {run.rule.detector.table for run in runs}
    rows = sum(runs[0].data.rows.get(table, 0) for table in tables)
    return f"{rows:,} rows: {', '.join(run.rule.id for run in runs)}"


def discover(runs: Sequence[Run], progress: Callable[[str], None]) -> None:
    """Count what the rules look for something in, and let them look: `found` is set.

    Args:
        runs: The rules that can run.
        progress: Is told in a sentence what is being read.
    """
    frames = {
        (i, name): frame
        for i, run in enumerate(runs)
        for name, frame in run.rule.detector.discover(run.data).items()
    }
    if frames:
        progress(f"looking over {_over(runs)}")
    collected = _collect(frames, runs)
    for i, run in enumerate(runs):
        mine = {name: s for (owner, name), s in collected.items() if owner == i}
        run.found = run.rule.detector.find(mine) if mine else {}


def summarize(
    runs: Sequence[Run], progress: Callable[[str], None]
) -> dict[int, Roster]:
    """Count what the rules test: `summaries` is set.

    Args:
        runs: The rules that can run, with what was found.
        progress: Is told in a sentence what is being read.

    Returns:
        Who is in which team and when, by the `id` of a run.
    """
    progress(f"counting {_over(runs)}")
    frames: dict[tuple[int, str], Frame] = {}
    for i, run in enumerate(runs):
        for name, frame in run.rule.detector.summarize(run.data, run.found).items():
            frames[i, name] = frame
    shared: dict[tuple[str, str], int] = {}
    owner_of: dict[int, int] = {}
    for i, run in enumerate(runs):
        table = run.rule.detector.table
        key = (table, repr(sorted(run.rule.where.items())))
        owner_of[i] = shared.setdefault(key, i)
        if owner_of[i] == i and run.data.has(f"{table}.agent_id"):
            frames[i, _ROSTER] = _roster(run.data, table)
            elsewhere = _with_teams(run.data, table)
            if elsewhere:
                frames[i, _TEAMS] = _roster(run.data, elsewhere)
    collected = _collect(frames, runs)
    for i, run in enumerate(runs):
        run.summaries = {
            name: s for (owner, name), s in collected.items() if owner == i
        }
    rosters = {
        i: Roster.of(run.summaries.get(_ROSTER), run.summaries.get(_TEAMS))
        for i, run in enumerate(runs)
    }
    return {id(run): rosters[owner_of[i]] for i, run in enumerate(runs)}


_MANY_ROWS = 4_000_000
"""From so many on, the rules are read for one by one: what polars shares between
summaries waits in memory until the last of them is done."""
_EVEN_MORE = 30_000_000
"""From so many on, the table is read for each summary by itself: nothing waits."""


def _collect(
    frames: Mapping[tuple[int, str], Frame], runs: Sequence[Run]
) -> dict[tuple[int, str], Summary]:
    turns: dict[object, list[tuple[int, str]]] = {}
    for key, frame in frames.items():
        run = runs[key[0]]
        rows = run.data.rows.get(run.rule.detector.table, 0)
        turn: object = None
        if rows >= _MANY_ROWS and frame.implementation.is_polars():
            turn = key if rows >= _EVEN_MORE else key[0]
        turns.setdefault(turn, []).append(key)
    out: dict[tuple[int, str], Summary] = {}
    for keys in turns.values():
        names = {f"{owner}/{name}": (owner, name) for owner, name in keys}
        collected = collect(
            {text: frames[key] for text, key in names.items()}, small=runs[0].data.small
        )
        out |= {names[text]: Summary.of(frame) for text, frame in collected.items()}
    return {key: out[key] for key in frames}


_ROSTER, _TEAMS = "_roster", "_teams"


def _with_teams(data: Dataset, table: str) -> str | None:
    """Name the table that knows agents' teams, where the rule's own does not."""
    if data.has(f"{table}.team_id"):
        return None
    return next((t for t in ROSTERS if data.has(f"{t}.agent_id", f"{t}.team_id")), None)


def _roster(data: Dataset, table: str) -> Frame:
    by = ["agent_id"]
    if data.has(f"{table}.team_id"):
        by.append("team_id")
    span = (
        {"first": nw.col("day").min(), "last": nw.col("day").max()}
        if data.has(f"{table}.day")
        else {}
    )
    return (
        data.table(table)
        .filter(~nw.col("agent_id").is_null())
        .group_by(*by)
        .agg(n=nw.len(), **span)
        .sort(*by)
    )
