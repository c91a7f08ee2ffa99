"""Is the share that a scan says would be seen really seen in four of five cases?

On simulated honest centres, the share that `evidence.power` gives for an agent of usual
size is planted into one such agent after another, with everything fitted anew. Run:
`PYTHONPATH=. python benchmarks/power.py short-calls duration-cap --centres 8`.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from calibration.plan import DETECTORS
from calibration.worlds import Cell

from kpiaudit.evidence import power
from kpiaudit.evidence.runs import Run
from kpiaudit.stats import held


def run_of(cell: Cell, seed: int) -> tuple[Run, float]:
    """Test one centre; return the run and the seconds it took."""
    module = import_module(f"calibration.{cell.detector.replace('-', '_')}")
    made = module.make(cell, cell.rng(seed))
    detector = made.detector
    rule = SimpleNamespace(detector=detector, min_effect=made.min_effect, max_q=0.05)
    run = Run(rule=rule, data=None, summaries=made.summaries, found=made.found)
    start = time.process_time()
    with held.keeping() as run.yardsticks:
        run.verdicts = detector.test(
            run.summaries, run.found, min_effect=made.min_effect
        )
    return run, time.process_time() - start


def planted(run: Run, share: float, exact: int, rounds: int) -> tuple[int, ...]:
    """Plant into usual agents; return how many are found, and of how many.

    First with everything fitted anew, one agent at a time; then by the kept yardsticks,
    which is nearly as good and costs next to nothing.
    """
    agents = next(t for t in run.verdicts.tested if t.kind == "agent")
    mark = power.threshold(run.verdicts.tested, agents, power.level_of(run))
    rows = power.typical(agents, mark, low=0.25, high=0.75)
    ids = agents.ids.astype(str)[rows].tolist()
    measure = power.measure_of(run, agents, exact=True)
    found = sum(
        measure({ids[n * len(ids) // exact]: share}, 9_000 + n)[
            ids[n * len(ids) // exact]
        ]
        <= mark
        for n in range(exact)
    )
    measure = power.measure_of(run, agents, exact=False)
    kept = sum(
        p <= mark
        for n in range(rounds)
        for start in range(len(ids))
        for p in measure(
            dict.fromkeys(ids[start : start + 1], share), 9_500 + 40 * n + start
        ).values()
    )
    return found, exact, kept, rounds * len(ids)


def main() -> None:
    """Print one line per detector."""
    parser = argparse.ArgumentParser()
    parser.add_argument("detectors", nargs="*", default=DETECTORS)
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--centres", type=int, default=8)
    parser.add_argument("--plants", type=int, default=5, help="fitted anew, a centre")
    parser.add_argument("--rounds", type=int, default=1, help="by kept yardsticks")
    parser.add_argument("--seed", type=int, default=70_000)
    given = parser.parse_args()
    for name in given.detectors:
        total, shares, tests, asks = np.zeros(4, dtype=int), [], 0.0, 0.0
        for seed in range(given.seed, given.seed + given.centres):
            run, seconds = run_of(Cell(detector=name, agents=given.agents), seed)
            tests += seconds
            start = time.process_time()
            sized = power.smallest(run)
            asks += time.process_time() - start
            if sized is None or np.isnan(sized.share):
                shares.append(float("nan"))
                continue
            shares.append(sized.share)
            total += planted(run, sized.share, given.plants, given.rounds)
        said = ", ".join(f"{share:.2g}" for share in shares)
        anew, of_anew, kept, of_kept = total.tolist()
        print(
            f"{name:17} {given.agents} agents: fitted anew {anew} of {of_anew} = "
            f"{anew / max(of_anew, 1):.2f}, by kept yardsticks {kept} of {of_kept} = "
            f"{kept / max(of_kept, 1):.2f}; asking costs {asks / tests:.2f} of the "
            f"test; shares {said}",
            flush=True,
        )


if __name__ == "__main__":
    main()
