"""Does the placebo battery say how often honest centres are really reported?

Per rule and family of honest spread: the share of simulated honest centres with an
agent reported, and what replicas drawn from each centre's own fitted spread say of it.
Run:
`PYTHONPATH=. python benchmarks/placebo.py early-closure --centres 40 --replicas 5`;
with `--write` its table goes into docs/accuracy.md at the next `accuracy.py --report`.
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

PAGE = Path(__file__).parent / "calibration" / "placebo.md"
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


def table(of: dict[str, dict[str, dict[str, list[int]]]]) -> str:
    """Return a table of all detectors: families but the novices together, novices."""
    head = [f"q ≤ {100 * level:.0f} %" for level in LEVELS]
    lines = [
        "| Detector | Honest differences | " + " | ".join(head) + " | Told / true |",
        "| --- | --- |" + " --- |" * (len(LEVELS) + 1),
    ]
    for name, families in of.items():
        novices = {k: v for k, v in families.items() if k == "novices"}
        others = {k: v for k, v in families.items() if k != "novices"}
        for label, some in (("without novices", others), ("novices", novices)):
            if some:
                lines.append(_row(name, label, _sums(some)))
    return "\n".join(lines) + "\n"


def _sums(some: dict[str, dict[str, list[int]]]) -> dict[str, list[int]]:
    return {
        key: [sum(each) for each in zip(*(g[key] for g in some.values()), strict=True)]
        for key in ("centres", "replicas", "runs")
    }


def _row(name: str, label: str, got: dict[str, list[int]]) -> str:
    centres, drawn = got["runs"]
    cells = [
        f"{true} of {centres}, {100 * told / max(drawn, 1):.1f} %"
        for true, told in zip(got["centres"], got["replicas"], strict=True)
    ]
    true, told = got["centres"][-1], got["replicas"][-1]
    ratio = f"{told / max(drawn, 1) / (true / centres):.2f}" if true else "-"
    return f"| `{name}` | {label} | " + " | ".join(cells) + f" | {ratio} |"


def main() -> None:
    """Print one line per family and one for all of them, rule by rule."""
    parser = argparse.ArgumentParser()
    parser.add_argument("detectors", nargs="*", default=DETECTORS)
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--centres", type=int, default=40)
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    parser.add_argument("--write", action="store_true", help="keep the table")
    given = parser.parse_args()
    kept: dict[str, dict[str, dict[str, list[int]]]] = {}
    for name in given.detectors:
        levels = ", ".join(str(level) for level in LEVELS)
        print(f"{name}: true, placebo (ratio) at q <= {levels}", flush=True)
        whole = {"centres": [0] * 3, "replicas": [0] * 3, "runs": [0] * 2}
        for family in given.families:
            cell = Cell(detector=name, agents=given.agents, family=family)
            got = counted(cell, given.centres, given.replicas)
            kept.setdefault(name, {})[family] = got
            for key, sums in whole.items():
                whole[key] = [a + b for a, b in zip(sums, got[key], strict=True)]
            print(line(family, got), flush=True)
        print(line("all", whole), flush=True)
    if given.write:
        PAGE.write_text(table(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
