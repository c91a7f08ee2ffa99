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
    made = module.make(cell, cell.rng(70_000 + seed))
    detector = made.detector
    rule = SimpleNamespace(detector=detector, min_effect=made.min_effect, max_q=0.05)
    run = Run(rule=rule, data=None, summaries=made.summaries, found=made.found)
    start = time.process_time()
    with held.keeping() as run.yardsticks:
        run.verdicts = detector.test(
            run.summaries, run.found, min_effect=made.min_effect
        )
    return run, time.process_time() - start


def planted(run: Run, share: float, plants: int) -> int:
    """Plant into so many usual agents, one at a time; return how many are found."""
    agents = next(t for t in run.verdicts.tested if t.kind == "agent")
    mark = power.threshold(run.verdicts.tested, agents, power.level_of(run))
    rows = power.typical(agents, mark, low=0.25, high=0.75)
    measure = power.measure_of(run, agents, exact=True)
    found = 0
    for number in range(plants):
        agent = str(agents.ids[rows[number * len(rows) // plants]])
        found += measure({agent: share}, 9_000 + number)[agent] <= mark
    return found


def main() -> None:
    """Print one line per detector."""
    parser = argparse.ArgumentParser()
    parser.add_argument("detectors", nargs="*", default=DETECTORS)
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--centres", type=int, default=8)
    parser.add_argument("--plants", type=int, default=5)
    given = parser.parse_args()
    for name in given.detectors:
        found, all_of, shares, tests, asks = 0, 0, [], 0.0, 0.0
        for seed in range(given.centres):
            run, seconds = run_of(Cell(detector=name, agents=given.agents), seed)
            tests += seconds
            start = time.process_time()
            sized = power.smallest(run)
            asks += time.process_time() - start
            if sized is None or np.isnan(sized.share):
                shares.append(float("nan"))
                continue
            shares.append(sized.share)
            found += planted(run, sized.share, given.plants)
            all_of += given.plants
        said = ", ".join(f"{share:.2g}" for share in shares)
        print(
            f"{name:17} {given.agents} agents: found {found} of {all_of} = "
            f"{found / max(all_of, 1):.2f}; asking costs {asks / tests:.2f} of the "
            f"test; shares {said}",
            flush=True,
        )


if __name__ == "__main__":
    main()
