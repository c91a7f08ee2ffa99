"""Does the placebo battery say how often honest centres are really reported?

Per rule and family of honest spread: the share of simulated honest centres with an
agent reported, and what replicas drawn from each centre's own fitted spread say of it.
Run:
`PYTHONPATH=. python benchmarks/placebo.py early-closure --centres 40 --replicas 5`.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from calibration.plan import DETECTORS
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


def line(name: str, got: dict[str, list[int]]) -> str:
    """Return alarms among centres and among replicas, per level, and their ratio."""
    centres, drawn = got["runs"]
    parts = []
    for true, told in zip(got["centres"], got["replicas"], strict=True):
        one, other = true / max(centres, 1), told / max(drawn, 1)
        ratio = f" ({other / one:.2f})" if one else ""
        parts.append(
            f"{true}/{centres} = {one:.3f}, {told}/{drawn} = {other:.3f}{ratio}"
        )
    return f"{name:10} " + "  ".join(parts)


def main() -> None:
    """Print one line per family and one for all of them, rule by rule."""
    parser = argparse.ArgumentParser()
    parser.add_argument("detectors", nargs="*", default=DETECTORS)
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--centres", type=int, default=40)
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    given = parser.parse_args()
    for name in given.detectors:
        levels = ", ".join(str(level) for level in LEVELS)
        print(f"{name}: true, placebo (ratio) at q <= {levels}", flush=True)
        whole = {"centres": [0] * 3, "replicas": [0] * 3, "runs": [0] * 2}
        for family in given.families:
            cell = Cell(detector=name, agents=given.agents, family=family)
            got = counted(cell, given.centres, given.replicas)
            for key, sums in whole.items():
                whole[key] = [a + b for a, b in zip(sums, got[key], strict=True)]
            print(line(family, got), flush=True)
        print(line("all", whole), flush=True)


if __name__ == "__main__":
    main()
