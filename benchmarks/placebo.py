"""Does the placebo battery say how often honest centres are really reported?

Per rule and family of honest spread: the share of simulated honest centres with an
agent reported, and what replicas drawn from each centre's own fitted spread say of it.
Run:
`PYTHONPATH=. python benchmarks/placebo.py early-closure --centres 40 --replicas 5`;
`--truths 200` tests centres up to that number without drawing replicas of them, which
is much quicker: alarms are rare, so that what is true takes more centres than what is
told. `--keep` adds centres to a file, so that a later run takes them up, and with
`--write` the rows of that file's rules go into docs/accuracy.md at the next
`accuracy.py --report`; those of other rules stay.
`--gamers 3 --strength 0.4` plants the pattern: replicas should not be reported then.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from calibration.plan import DETECTORS
from calibration.worlds import FAMILIES, Cell

from kpiaudit.evidence.placebo import smallest_q

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = Path(__file__).parent / "calibration" / "placebo.md"
LEVELS = (0.05, 0.2, 0.5)
"""The level in use, and two at which alarms are frequent enough to be compared."""
FIRST = 140_000
"""Of centres that were never looked at while the replicas were built."""
RESAMPLED = 4000
FACTOR = 1.5
"""What is promised: told and true differ by no more than this."""


@dataclass(frozen=True, kw_only=True)
class Centre:
    """Smallest q-value of an agent in a centre, and in each replica that was drawn."""

    detector: str
    family: str
    seed: int
    true: float
    told: tuple[float, ...]


def centre(cell: Cell, seed: int, replicas: int, first: int = FIRST) -> Centre:
    """Simulate one centre, test it, and test its replicas."""
    module = import_module(f"calibration.{cell.detector.replace('-', '_')}")
    made = module.make(cell, cell.rng(first + seed))

    def least(summaries: dict) -> float:
        verdicts = made.detector.test(summaries, made.found, min_effect=made.min_effect)
        return float(np.round(smallest_q(verdicts, ("agent",)), 5))

    drawn = (
        made.detector.replicas(made.summaries, made.found, number=replicas, seed=seed)
        if replicas
        else ()
    )
    return Centre(
        detector=cell.detector,
        family=cell.family,
        seed=seed,
        true=least(made.summaries),
        told=tuple(least(each) for each in drawn),
    )


def shares(some: list[Centre], level: float) -> tuple[int, float]:
    """Return centres with a report, and the mean share of their replicas with one.

    Each family weighs as much in the mean as it does among the centres.
    """
    true = sum(c.true <= level for c in some)
    told, whole = 0.0, 0
    for family in sorted({c.family for c in some if c.told}):
        mine = [c for c in some if c.family == family]
        told += float(_told(mine, level).mean()) * len(mine)
        whole += len(mine)
    return true, told / whole if whole else float("nan")


def _told(some: list[Centre], level: float) -> np.ndarray:
    """Return the share of reported replicas, of each centre that has any."""
    each = [np.mean([q <= level for q in c.told]) for c in some if c.told]
    return np.array(each, dtype=np.float64)


def ratio(some: list[Centre], level: float) -> tuple[float, float, float]:
    """Return told over true with its 90 % interval.

    Centres are resampled whole, family by family; half an alarm is added to both
    counts, so that few true alarms give a wide interval and none no division by zero.
    """
    rng = np.random.default_rng(5)
    true, told = np.zeros(RESAMPLED), np.zeros(RESAMPLED)
    for family in sorted({c.family for c in some if c.told}):
        mine = [c for c in some if c.family == family]
        one = np.array([c.true <= level for c in mine], dtype=float)
        # A Bayesian bootstrap; resampling alone can't tell 0 of 30 from never.
        weight = rng.dirichlet(np.ones(len(mine)), RESAMPLED)
        true += weight @ one * len(mine)
        # Centres without replicas say what is true only.
        drawn = weight[:, [bool(c.told) for c in mine]]
        drawn /= drawn.sum(axis=1, keepdims=True)
        told += drawn @ _told(mine, level) * len(mine)
    half = rng.gamma(0.5, size=(2, RESAMPLED))
    low, high = np.quantile((told + half[1]) / (true + half[0]), [0.05, 0.95])
    number, share = shares(some, level)
    whole = share * len(some)
    return whole / number if number else float("nan"), float(low), float(high)


def line(name: str, some: list[Centre]) -> str:
    """Return alarms among centres and among replicas, per level, and their ratio."""
    parts = []
    for level in LEVELS:
        true, told = shares(some, level)
        parts.append(f"{true}/{len(some)} {true / max(len(some), 1):.3f} {told:.3f}")
    one, low, high = ratio(some, LEVELS[-1])
    return f"{name:10} " + "  ".join(parts) + f"  {one:.2f} ({low:.2f}-{high:.2f})"


def table(kept: list[Centre], had: str = "") -> str:
    """Return a table with a row per detector and family, and one of all families.

    Args:
        kept: The centres.
        had: An earlier table, whose rows of other detectors stay.
    """
    head = [f"q ≤ {100 * level:.0f} %" for level in LEVELS]
    lines = [
        "| Detector | Honest differences | "
        + " | ".join(head)
        + " | Told / true | Within a factor 1.5 |",
        "| --- | --- |" + " --- |" * (len(LEVELS) + 2),
    ]
    for name in DETECTORS:
        mine = [c for c in kept if c.detector == name]
        if not mine:
            lines += [x for x in had.splitlines() if x.startswith(f"| `{name}` |")]
            continue
        rows = [(f, [c for c in mine if c.family == f]) for f in FAMILIES]
        lines += [_row(name, f, some) for f, some in (*rows, ("all", mine)) if some]
    return "\n".join(lines) + "\n"


def _row(name: str, label: str, some: list[Centre]) -> str:
    cells = []
    for level in LEVELS:
        true, told = shares(some, level)
        cells.append(f"{true} of {len(some)}, {100 * told:.1f} %")
    one, low, high = ratio(some, LEVELS[-1])
    told = "-" if np.isnan(one) else f"{one:.2f}"
    cells += [f"{told} ({low:.2f} to {high:.2f})", _said(low, high)]
    return f"| `{name}` | {label} | " + " | ".join(cells) + " |"


def _said(low: float, high: float) -> str:
    """Say what the interval shows of the promise."""
    if low >= 1 / FACTOR and high <= FACTOR:
        return "shown"
    return "missed" if high < 1 / FACTOR or low > FACTOR else "open"


def read(path: Path | None) -> list[Centre]:
    """Return the centres of a file; none if there is no file."""
    if path is None or not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(each) for each in lines]
    return [Centre(**{**row, "told": tuple(row["told"])}) for row in rows]


def _new(
    cell: Cell, had: Iterable[Centre], given: argparse.Namespace
) -> Iterable[Centre]:
    done = {c.seed for c in had if (c.detector, c.family) == _of(cell)}
    for seed in range(max(given.centres, given.truths)):
        if seed not in done:
            replicas = given.replicas if seed < given.centres else 0
            yield centre(cell, seed, replicas, given.first)


def _of(cell: Cell) -> tuple[str, str]:
    return cell.detector, cell.family


def main() -> None:
    """Print one line per family and one for all of them, rule by rule."""
    parser = argparse.ArgumentParser()
    parser.add_argument("detectors", nargs="*", default=DETECTORS)
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--centres", type=int, default=40)
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--truths", type=int, default=0)
    parser.add_argument("--first", type=int, default=FIRST, help="seed")
    parser.add_argument("--families", nargs="*", default=FAMILIES)
    parser.add_argument("--gamers", type=int, default=0)
    parser.add_argument("--strength", type=float, default=0.0)
    parser.add_argument("--keep", type=Path, help="file of centres; read and added to")
    parser.add_argument("--write", action="store_true", help="keep the table")
    given = parser.parse_args()
    kept = read(given.keep)
    for name in given.detectors:
        levels = ", ".join(str(level) for level in LEVELS)
        print(f"{name}: true, placebo at q <= {levels}; told/true", flush=True)
        for family in given.families:
            cell = Cell(
                detector=name,
                agents=given.agents,
                family=family,
                gamers=given.gamers,
                strength=given.strength,
            )
            for each in _new(cell, list(kept), given):
                kept.append(each)
                if given.keep:
                    with given.keep.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(vars(each)) + "\n")
            some = [c for c in kept if (c.detector, c.family) == _of(cell)]
            print(line(family, some), flush=True)
        whole = [c for c in kept if c.detector == name and c.family in given.families]
        print(line("all", whole), flush=True)
    if given.write:
        had = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(table(kept, had), encoding="utf-8")


if __name__ == "__main__":
    main()
