"""How often the effects' 95 % intervals hold the excess that was really planted.

`python benchmarks/intervals.py --minutes 20` makes centres on counts, with seeds of
their own, one result a line in benchmarks/results/intervals/, so that a run can be
stopped and continued; `--report` writes the section of docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from calibration.coverage import PLAIN, beyond, shown
from calibration.plan import DETECTORS
from calibration.run import flagged
from calibration.worlds import Cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results" / "intervals"
SECTION = Path(__file__).parent / "calibration" / "intervals.md"
FIRST_SEED = 4_000_000
WANTED = {
    (8, 1): 60,
    (30, 1): 30,
    (30, 12): 6,
    (30, 18): 3,
    (30, 24): 3,
    (120, 6): 12,
    (8, 8): 4,
    (30, 30): 2,
}
"""Agents and how many of them do it: centres of this kind at every strength."""
BRIEFLY = {
    (30, 1): 12,
    (30, 12): 2,
    (30, 18): 2,
    (30, 24): 2,
    (8, 8): 3,
    (30, 30): 2,
}
"""The same for `coverage.PLAIN`, whose centres in the power table are many."""


def wanted(detector: str) -> dict[tuple[int, int], int]:
    """Return how many centres of each kind a detector gets."""
    return BRIEFLY if detector in PLAIN else WANTED


def cells(detector: str) -> list[Cell]:
    """Return the kinds of centre: few, many and all who do it, at every strength."""
    module = import_module(f"calibration.{detector.replace('-', '_')}")
    return [
        Cell(detector=detector, agents=agents, gamers=gamers, strength=strength)
        for agents, gamers in wanted(detector)
        for strength in module.STRENGTHS
    ]


def one(cell: Cell, seed: int) -> dict[str, Any]:
    """Test one centre; returns each planted, testable agent's interval and truth."""
    module = import_module(f"calibration.{cell.detector.replace('-', '_')}")
    made = module.make(cell, cell.rng(seed))
    verdicts = made.detector.test(
        made.summaries, made.found, min_effect=made.min_effect
    )
    out: dict[str, Any] = {"cell": json.loads(cell.key), "seed": seed, "agents": []}
    for tested, hit in zip(verdicts.tested, flagged(verdicts), strict=True):
        if tested.kind != "agent":
            continue
        outcome = tested.outcome
        place = np.searchsorted(made.ids.astype(str), tested.ids.astype(str))
        true = shown(made, tested)
        figures = np.column_stack(
            [
                hit,
                true,
                outcome.effect,
                outcome.low,
                outcome.high,
                beyond(tested, true),
            ]
        ).astype(np.float64)
        out["agents"] += figures[outcome.testable & made.gamer[place]].tolist()
    return out


def run(detectors: list[str], minutes: float) -> None:
    """Work through the cells in turn until all are done or the time is over."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    end = time.process_time() + 60 * minutes
    paths = {name: RESULTS / f"{name}.jsonl" for name in detectors}
    done = {
        (json.dumps(row["cell"], sort_keys=True), row["seed"])
        for path in paths.values()
        for row in read(path)
    }
    for seed, cell in _order(detectors):
        if (cell.key, seed) in done:
            continue
        if time.process_time() > end:
            return
        with paths[cell.detector].open("a", encoding="utf-8") as out:
            print(json.dumps(one(cell, seed)), file=out)


def _order(detectors: list[str]) -> Iterator[tuple[int, Cell]]:
    """Yield seeds and cells so that a run which is cut short is a balanced one."""
    most = max(WANTED.values())
    for number in range(most):
        for detector in detectors:
            for cell in cells(detector):
                some = wanted(detector)[cell.agents, cell.gamers]
                # Spread over the run: a kind of few centres does not end at once.
                if number * some // most != (number - 1) * some // most:
                    yield FIRST_SEED + number, cell


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the results of one file; a line that was cut short is passed over."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def report() -> str:
    """Return both tables: by strength and size, and by how many agents do it."""
    rows = [row for name in DETECTORS for row in read(RESULTS / f"{name}.jsonl")]
    lines = [
        "| Detector | Centres of | Strength | Planted | Reported | Width / effect |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in DETECTORS:
        if name in PLAIN:
            continue
        mine = [r for r in rows if r["cell"]["detector"] == name and _share(r) < _MANY]
        for strength in sorted({r["cell"]["strength"] for r in mine}):
            own = [r for r in mine if r["cell"]["strength"] == strength]
            lines.append(f"| `{name}` | all sizes | {strength:.0%} | {_figures(own)} |")
        for agents in sorted({r["cell"]["agents"] for r in mine}):
            own = [r for r in mine if r["cell"]["agents"] == agents]
            lines.append(f"| `{name}` | {agents} agents | all | {_figures(own)} |")
    head = ["Detector", *_PARTS, "reported ones", "all: beyond honest"]
    head.append("all: beyond peers")
    lines += ["", "By how many of the agents do it, all strengths and sizes:", ""]
    lines += [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name in DETECTORS:
        mine = [r for r in rows if r["cell"]["detector"] == name]
        parts = [
            _agents([r for r in mine if low <= _share(r) < high])
            for low, high in _PARTS.values()
        ]
        some = np.concatenate(parts)
        everybody = _agents([r for r in mine if _share(r) == 1.0])
        figures = [*map(_held, parts), _held(some[some[:, 0] > 0]), _held(everybody)]
        figures.append(_held(everybody, _BEYOND))
        lines.append(f"| `{name}` | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


_MANY = 0.5
_PARTS = {
    "one or few": (0.0, 0.3),
    "40 %": (0.3, 0.5),
    "60 %": (0.5, 0.7),
    "80 %": (0.7, 0.9),
}
"""Shares of the agents, from and below."""


def _share(row: dict[str, Any]) -> float:
    return float(row["cell"]["gamers"] / row["cell"]["agents"])


def _figures(rows: list[dict[str, Any]]) -> str:
    own = _agents(rows)
    hit = own[own[:, 0] > 0]
    wide = "-"
    if len(hit):
        wide = f"{np.median((hit[:, 4] - hit[:, 3]) / np.maximum(hit[:, 2], 1)):.2f}"
    return f"{_held(own)} | {_held(hit)} | {wide}"


def _agents(rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    return np.array([a for r in rows for a in r["agents"]]).reshape(-1, 6)


_TRUE, _BEYOND = 1, 5


def _held(agents: NDArray[np.float64], truth: int = _TRUE) -> str:
    """Return the share of intervals that hold the truth, of how many."""
    if not len(agents):
        return "-"
    true, low, high = agents[:, truth], agents[:, 3], agents[:, 4]
    return f"{np.mean((low <= true) & (true <= high)):.0%} of {len(agents)}"


def main() -> None:
    """Run, or write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", action="append", choices=DETECTORS)
    parser.add_argument("--minutes", type=float, default=20.0, help="of CPU time")
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if given.report:
        SECTION.write_text(report(), encoding="utf-8")
        print(SECTION)
        return
    run(given.detector or list(DETECTORS), given.minutes)


if __name__ == "__main__":
    main()
