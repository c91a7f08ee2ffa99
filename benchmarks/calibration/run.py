"""Test simulated centres and append one line of JSON per centre."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration import coverage, oracle, rivals, tally
from calibration.tally import LOOKS
from kpiaudit.evidence import deciding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from calibration.worlds import Cell, Made
    from kpiaudit.detectors.base import Verdicts

RESULTS = Path(__file__).parent.parent / "results"
PACKED = Path(__file__).parent / "centres.jsonl.gz"
LEVEL = 0.05
SHARES = {
    "honest": 5.0,
    "effort": 2.5,
    "power": 2.5,
    "full": 3.0,
    "large": 0.6,
    "wide": 0.3,
    "rivals": 0.3,
    "corroborated": 0.3,
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
    packed = [gzip.decompress(PACKED.read_bytes())] if PACKED.exists() else []
    plain = [path.read_bytes() for path in sorted(folder.glob("*.jsonl"))]
    for text in (*packed, *plain):
        for line in text.decode("utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def pack() -> int:
    """Write all results into the one file that is kept, and return how many.

    So that the next run adds to these instead of starting anew, and anybody can check
    the page. Results of tests that have changed since are not worth keeping: remove the
    file first.
    """
    lines = sorted(json.dumps(row, sort_keys=True) for row in read())
    lines = list(dict.fromkeys(lines))
    text = "".join(f"{line}\n" for line in lines).encode()
    PACKED.write_bytes(gzip.compress(text, 9, mtime=0))
    return len(lines)


def flagged(verdicts: Verdicts) -> list[np.ndarray]:
    """Return who is flagged per kind, by the audit's own error budget."""
    q = deciding.q_values(verdicts.tested)
    return [np.nan_to_num(each, nan=1.0) <= LEVEL for each in q]


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
    q = np.concatenate([*deciding.q_values(verdicts.tested), np.ones(1)])
    out["smallest_q"] = float(f"{np.nanmin(q):.4g}")
    for tested, hit in zip(verdicts.tested, flagged(verdicts), strict=True):
        if tested.kind != "agent":
            out["other"] += int(hit.sum())
            continue
        place = np.searchsorted(made.ids.astype(str), tested.ids.astype(str))
        gamer = made.gamer[place]
        can = tested.outcome.testable
        out["true"] += int((hit & gamer).sum())
        out["false"] += int((hit & ~gamer).sum())
        out["testable"] += int(can.sum())
        out["planted_testable"] += int((can & gamer).sum())
        if len(made.excess):
            true = coverage.shown(made, tested)
            rest = coverage.beyond(tested, true)
            for name, of in (("held", true), ("held_beyond", rest)):
                out[name] = coverage.count(tested.outcome, of, can & gamer, hit)
    return out


def run(
    plan: dict[str, list[tuple[Cell, int]]], minutes: float, name: str, workers: int
) -> None:
    """Work through groups of cells, in turn, until all are done or the time is over.

    Within a group every cell gets a centre before any gets two, and parts share the
    time, so that a run which is cut short leaves a balanced table.

    Args:
        plan: Cells and the number of centres wanted of each, per group.
        minutes: By the clock.
        name: Of the file in `results`.
        workers: Processes, one centre each at a time.
    """
    RESULTS.mkdir(exist_ok=True)
    # One process a core: a linear algebra library that adds threads only gets in the
    # way, and each worker reads this when it starts.
    os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    os.environ["POLARS_MAX_THREADS"] = "1"
    state = _State.of(plan)
    end = time.monotonic() + 60 * minutes
    version = commit()
    spawn = get_context("spawn")
    with (
        (RESULTS / f"{name}.jsonl").open("a", encoding="utf-8") as out,
        ProcessPoolExecutor(workers, mp_context=spawn) as pool,
    ):
        going: dict[Future[tuple[dict[str, Any], float]], tuple[str, Cell, int]] = {}
        while True:
            while len(going) < workers + 1 and time.monotonic() < end:
                task = state.next()
                if task is None:
                    break
                going[pool.submit(_timed, task[1], task[2])] = task
            if not going:
                return
            done, _ = wait(going, return_when=FIRST_COMPLETED)
            for future in done:
                group, cell, seed = going.pop(future)
                result, seconds = future.result()
                row = {"cell": asdict(cell), "seed": seed, "version": version}
                out.write(json.dumps(row | result) + "\n")
                out.flush()
                state.used[group] += seconds
                state.see(cell.key, seed, result)


def _timed(cell: Cell, seed: int) -> tuple[dict[str, Any], float]:
    start = time.process_time()
    return one(cell, seed), time.process_time() - start


@dataclass(frozen=True, kw_only=True)
class _State:
    """What is left to do, per group, and what has been seen of each cell.

    Args:
        left: Centres still to be run.
        used: CPU seconds.
        seen: Whether the seeds run so far had a finding, per cell.
    """

    left: dict[str, Iterator[tuple[Cell, int]]]
    used: dict[str, float]
    seen: dict[str, dict[int, bool]]

    @classmethod
    def of(cls, plan: dict[str, list[tuple[Cell, int]]]) -> _State:
        """Leave out what earlier runs have done."""
        seen: dict[str, dict[int, bool]] = {}
        state = cls(left={}, used=dict.fromkeys(plan, 0.0), seen=seen)
        for row in read():
            state.see(json.dumps(row["cell"], sort_keys=True), row["seed"], row)
        state.left.update({group: state._left(cells) for group, cells in plan.items()})
        return state

    def see(self, key: str, seed: int, row: dict[str, Any]) -> None:
        """Take notice of one result."""
        alarm = row.get("false", 0) + row.get("other", 0) > 0
        self.seen.setdefault(key, {})[seed] = alarm

    def next(self) -> tuple[str, Cell, int] | None:
        """Return the next centre, of the group that has had least for its share."""
        while self.left:
            group = min(
                self.left, key=lambda g: self.used[g] / SHARES[g.rsplit(" ", 1)[1]]
            )
            task = next(self.left[group], None)
            if task is not None:
                # So that a group does not get all workers before it is charged.
                self.used[group] += 0.05
                return group, *task
            del self.left[group]
        return None

    def _left(self, cells: list[tuple[Cell, int]]) -> Iterator[tuple[Cell, int]]:
        for seed in range(max((n for _, n in cells), default=0)):
            for cell, wanted in cells:
                known = self.seen.get(cell.key, {})
                if seed < wanted and seed not in known:
                    # A cell may end early at fixed numbers of centres, decided on
                    # exactly those.
                    if wanted == LOOKS[-1] and tally.ended(known, seed):
                        continue
                    yield cell, seed
