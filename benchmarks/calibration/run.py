"""Test simulated centres and append one line of JSON per centre."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration import oracle, rivals
from kpiaudit.stats import multiplicity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from calibration.worlds import Cell, Made
    from kpiaudit.detectors.base import Verdicts

RESULTS = Path(__file__).parent.parent / "results"
LEVEL = 0.05
SHARES = {
    "honest": 4.0,
    "full": 8.0,
    "power": 1.0,
    "wide": 1.0,
    "large": 0.5,
    "rivals": 0.5,
    "corroborated": 0.5,
}
"""Of the CPU time, per part; a quick detector does not wait for a slow one."""


def commit() -> str:
    """Return the product's last commit, with + if it was edited since."""
    root = RESULTS.parent.parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words, "--", "kpiaudit"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    return git("log", "-1", "--format=%h") + ("+" if git("diff", "--stat") else "")


def read(folder: Path = RESULTS) -> Iterator[dict[str, Any]]:
    """Yield all results; a line that a stopped run left unfinished is passed over."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def flagged(verdicts: Verdicts) -> list[np.ndarray]:
    """Return who is flagged per kind, by the audit's own error budget."""
    tested = verdicts.tested
    if not tested:
        return []
    sizes = [int(t.outcome.testable.sum()) for t in tested]
    weight = multiplicity.kind_weights(sizes, [t.share for t in tested])
    p = np.concatenate([t.outcome.p_value for t in tested])
    spread = np.ones_like(p)
    spread[~np.isnan(p)] = weight
    hit = np.nan_to_num(multiplicity.q_values(p, spread), nan=1.0) <= LEVEL
    return np.split(hit, np.cumsum([len(t.ids) for t in tested])[:-1])


def one(cell: Cell, seed: int) -> dict[str, Any]:
    """Simulate and test one centre."""
    if cell.path == "full":
        from calibration import full  # noqa: PLC0415 - polars is slow to import

        return full.one(cell, seed)
    if cell.mode == "corroborated":
        return import_module("calibration.corroborated").one(cell, seed, counted)
    module = import_module(f"calibration.{cell.detector.replace('-', '_')}")
    made: Made = module.make(cell, cell.rng(seed))
    start = time.process_time()
    verdicts = made.detector.test(
        made.summaries, made.found, min_effect=made.min_effect
    )
    out = counted(made, verdicts)
    out["seconds"] = round(time.process_time() - start, 3)
    if len(made.events):
        others = rivals.flags(made)
        if cell.mode == "rivals":
            others |= rivals.slow(made, cutoff=module.CAP)
    else:
        others = {"oracle": oracle.flags(made, cell)} if cell.gamers else {}
    if others:
        out["others"] = {
            name: [int((hit & made.gamer).sum()), int((hit & ~made.gamer).sum())]
            for name, hit in others.items()
        }
    return out


def counted(made: Made, verdicts: Verdicts) -> dict[str, Any]:
    """Count right and wrong findings."""
    out = {"true": 0, "false": 0, "other": 0, "testable": 0, "planted_testable": 0}
    out["planted"] = int(made.gamer.sum())
    for tested, hit in zip(verdicts.tested, flagged(verdicts), strict=True):
        if tested.kind != "agent":
            out["other"] += int(hit.sum())
            continue
        gamer = made.gamer[
            np.searchsorted(made.ids.astype(str), tested.ids.astype(str))
        ]
        can = tested.outcome.testable
        out["true"] += int((hit & gamer).sum())
        out["false"] += int((hit & ~gamer).sum())
        out["testable"] += int(can.sum())
        out["planted_testable"] += int((can & gamer).sum())
    return out


def run(plan: dict[str, list[tuple[Cell, int]]], minutes: float, name: str) -> None:
    """Work through groups of cells, in turn, until all are done or the time is over.

    Within a group every cell gets a centre before any gets two.

    Args:
        plan: Cells and the number of centres wanted of each, per group.
        minutes: CPU time.
        name: Of the file in `results`.
    """
    RESULTS.mkdir(exist_ok=True)
    done: dict[str, set[int]] = {}
    for row in read():
        key = json.dumps(row["cell"], sort_keys=True)
        done.setdefault(key, set()).add(row["seed"])
    left = {group: _left(cells, done) for group, cells in plan.items()}
    used = dict.fromkeys(left, 0.0)
    version = commit()
    with (RESULTS / f"{name}.jsonl").open("a", encoding="utf-8") as out:
        while left and sum(used.values()) < 60 * minutes:
            group = min(left, key=lambda g: used[g] / SHARES[g.split()[1]])
            task = next(left[group], None)
            if task is None:
                del left[group]
                continue
            cell, seed = task
            start = time.process_time()
            row = {"cell": asdict(cell), "seed": seed, "version": version}
            out.write(json.dumps(row | one(cell, seed)) + "\n")
            out.flush()
            used[group] += time.process_time() - start


def _left(
    cells: list[tuple[Cell, int]], done: dict[str, set[int]]
) -> Iterator[tuple[Cell, int]]:
    for seed in range(max((n for _, n in cells), default=0)):
        for cell, wanted in cells:
            if seed < wanted and seed not in done.get(cell.key, ()):
                yield cell, seed
