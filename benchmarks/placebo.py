"""Does the placebo battery say how often honest centres are really reported?

Per family of honest spread: the share of simulated honest centres with an agent
reported, and what replicas drawn from each centre's own fitted spread say of it. Run:
`PYTHONPATH=. python benchmarks/placebo.py --centres 40 --replicas 5`.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from calibration.worlds import FAMILIES, Cell

from kpiaudit.evidence.placebo import reported

LEVELS = (0.05, 0.2, 0.5)
"""The level in use, and two at which alarms are frequent enough to be compared."""


def counted(cell: Cell, centres: int, replicas: int) -> dict[str, list[int]]:
    """Return, per level, alarms among centres and among their replicas."""
    module = import_module(f"calibration.{cell.detector.replace('-', '_')}")
    out = {"centres": [0] * len(LEVELS), "replicas": [0] * len(LEVELS), "runs": [0, 0]}
    for seed in range(centres):
        made = module.make(cell, cell.rng(50_000 + seed))
        detector = made.detector
        drawn = detector.replicas(
            made.summaries, made.found, number=replicas, seed=seed
        )
        for kind, summaries in (
            ("centres", made.summaries),
            *(("replicas", each) for each in drawn),
        ):
            verdicts = detector.test(summaries, made.found, min_effect=made.min_effect)
            out["runs"][kind == "replicas"] += 1
            for place, level in enumerate(LEVELS):
                out[kind][place] += reported(verdicts, level, ("agent",))
    return out


def main() -> None:
    """Print one line per family."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--detector", default="short-calls")
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--centres", type=int, default=40)
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    given = parser.parse_args()
    head = "  ".join(f"q<={level}: true, placebo" for level in LEVELS)
    print(f"{'family':10} {head}")
    for family in given.families:
        cell = Cell(detector=given.detector, agents=given.agents, family=family)
        got = counted(cell, given.centres, given.replicas)
        centres, drawn = got["runs"]
        shares = "  ".join(
            f"{true}/{centres} = {true / centres:.3f}, "
            f"{told}/{drawn} = {told / max(drawn, 1):.3f}"
            for true, told in zip(got["centres"], got["replicas"], strict=True)
        )
        print(f"{family:10} {shares}", flush=True)


if __name__ == "__main__":
    main()
