"""Print how often honest calls are reported, and moved calls found.

    python benchmarks/bunching_calibration.py --quick

Durations are mixtures of four log-normal queues (medians 120 to 420 s, sigma 0.45 to
0.85, random weights), drawn anew in each repetition. Added where said: a normal or
log-normal peak of 10 to 50 % of the calls 20 s below the cutoff (sd 30 to 60 s); a
scripted queue (30 to 100 % of the calls, sigma .12 to .3), its median at the cutoff;
durations rounded to 60 or 6 s. Moved calls end evenly within the 15 s below the cap.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
from scipy import special

from kpiaudit.stats.bunching import excess_below
from kpiaudit.stats.cutoffs import find_cutoffs

N_SECONDS = 2400
EDGES = np.arange(N_SECONDS + 1, dtype=float)
ROUNDING = {"": (1, 0.0), "3% :60": (60, 0.03), "all :60": (60, 1.0)}
ROUNDING |= {"30% :06": (6, 0.3), "all :06": (6, 1.0)}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One line of a table."""

    shape: str
    rounded: str = ""
    calls: int
    cutoff: int
    moved: float


def lognormal(median: float, sigma: float) -> np.ndarray:
    edges = np.maximum(EDGES, 1e-9)
    return np.diff(special.ndtr(np.log(edges / median) / sigma))


def density(shape: str, cutoff: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the share of calls per second of duration."""
    weights = rng.dirichlet(np.full(4, 2.0))
    base = sum(
        w * lognormal(rng.uniform(120, 420), rng.uniform(0.45, 0.85)) for w in weights
    )
    part, sd = rng.uniform(0.1, 0.5), rng.uniform(30, 60)
    mode = cutoff - 20
    if shape == "normal peak":
        peak = np.diff(special.ndtr((EDGES - mode) / sd))
    elif shape == "log-normal peak":
        sigma = sd / mode
        peak = lognormal(mode * np.exp(sigma**2), sigma)
    elif shape == "scripted":
        part, peak = rng.uniform(0.3, 1), lognormal(cutoff, rng.uniform(0.12, 0.3))
    elif shape == "one queue":
        part, peak = 1.0, lognormal(rng.uniform(120, 420), rng.uniform(0.45, 0.85))
    else:
        part, peak = 0.0, base
    mixed = (1 - part) * base + part * peak
    return mixed / mixed.sum()


def moved(honest: np.ndarray, cutoff: int, share: float) -> np.ndarray:
    """Let a share of the calls beyond the cutoff end in the 15 s below it."""
    shifted = honest.copy()
    shifted[cutoff:] *= 1 - share
    shifted[cutoff - 15 : cutoff] += share * honest[cutoff:].sum() / 15
    return shifted


def draw(
    shares: np.ndarray, calls: float, rounded: str, rng: np.random.Generator
) -> np.ndarray:
    counts = rng.poisson(calls * shares)
    unit, part = ROUNDING[rounded]
    heaped = rng.binomial(counts, part)
    target = (np.arange(N_SECONDS) + unit // 2) // unit * unit
    target = np.minimum(target, N_SECONDS - 1)
    return counts - heaped + np.bincount(target, heaped, N_SECONDS).astype(np.int64)


def known_cutoff(cell: Cell, reps: int) -> str:
    rng = np.random.default_rng(5)
    tables: dict[str, list[np.ndarray]] = {"honest": [], "moved": []}
    truth = []
    for _ in range(reps):
        shares = density(cell.shape, cell.cutoff, rng)
        tables["honest"].append(draw(shares, cell.calls, cell.rounded, rng))
        shifted = moved(shares, cell.cutoff, cell.moved)
        tables["moved"].append(draw(shifted, cell.calls, cell.rounded, rng))
        truth.append(cell.calls * cell.moved * shares[cell.cutoff :].sum())
    honest = excess_below(np.array(tables["honest"]), cell.cutoff)
    tolerant = excess_below(np.array(tables["honest"]), cell.cutoff, min_relative=0.03)
    gamed = excess_below(np.array(tables["moved"]), cell.cutoff)
    actual = np.array(truth)
    covered = (gamed.low <= actual) & (actual <= gamed.high)
    return (
        f"{np.mean(honest.p_value < 0.05):8.3f}{np.mean(honest.p_value < 0.001):8.3f}"
        f"{np.mean(tolerant.p_value < 0.05):8.3f}"
        f"{np.mean(gamed.p_value < 0.001):8.2f}{np.mean(covered):8.2f}"
        f"{np.median(gamed.excess / actual):8.2f}"
    )


def searched_cutoff(cell: Cell, reps: int) -> str:
    rng = np.random.default_rng(7)
    wrong = hit = near = 0
    start = time.perf_counter()
    for _ in range(reps):
        cutoff = cell.cutoff or int(rng.choice([300, 420, 437, 600]))
        shares = density(cell.shape, cutoff, rng)
        shifted = moved(shares, cutoff, cell.moved)
        found = [
            find_cutoffs(
                draw(s, cell.calls / 2, cell.rounded, rng),
                draw(s, cell.calls / 2, cell.rounded, rng),
            )
            for s in (shares, shifted)
        ]
        wrong += len(found[0]) > 0
        distance = min((abs(c.cutoff_s - cutoff) for c in found[1]), default=9999)
        hit += distance <= 3
        near += distance <= 15
    each = (time.perf_counter() - start) / reps / 2
    return f"{wrong / reps:8.3f}{hit / reps:8.2f}{near / reps:8.2f}{each:8.2f}"


def known_cells(sizes: dict[int, float]) -> list[Cell]:
    shapes = {"mixture": 420, "normal peak": 420, "log-normal peak": 420}
    shapes |= {"scripted": 180}
    cells = [
        Cell(shape=shape, calls=calls, cutoff=cutoff, moved=share)
        for shape, cutoff in shapes.items()
        for calls, share in sizes.items()
    ]
    cells += [
        Cell(shape="mixture", rounded=r, calls=200_000, cutoff=420, moved=0.05)
        for r in ("3% :60", "30% :06", "all :06")
    ]
    return cells


def searched_cells(sizes: dict[int, float], *, quick: bool) -> list[Cell]:
    mixed = ["", "3% :60", "30% :06", "all :06", "all :60"]
    kinds = [("mixture", r, 0) for r in mixed]
    kinds += [("one queue", "", 0), ("normal peak", "", 0)]
    kinds += [("log-normal peak", "", 0), ("scripted", "", 180)]
    if quick:
        sizes = {n: s for n, s in sizes.items() if n in (20_000, 1_000_000)}
    cells = [
        Cell(shape=shape, rounded=r, calls=calls, cutoff=cutoff, moved=share)
        for shape, r, cutoff in kinds
        for calls, share in sizes.items()
    ]
    # 5 % of the agents move 20, 10 or 5 % of their calls
    cells += [
        Cell(shape="mixture", calls=1_000_000, cutoff=0, moved=0.05 * s)
        for s in (0.1, 0.05)
    ]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    quick = parser.parse_args().quick
    # share of the calls beyond the cap that are moved; 1 % = 5 % of agents, a fifth
    sizes = {5000: 0.1, 20_000: 0.1, 200_000: 0.05, 1_000_000: 0.01}
    print("Known cutoff: honest rejected at 5 % and .1 %, at 5 % beyond 3 %;")
    print("moved: found at .1 %, interval covers, estimate / truth")
    head = f"{'shape':16}{'rounded':>8}{'calls':>9}{'moved':>7}"
    print(
        f"{head}{'5 %':>8}{'.1 %':>8}{'min 3%':>8}{'power':>8}{'cover':>8}{'bias':>8}"
    )
    for cell in known_cells(sizes):
        line = known_cutoff(cell, 100 if quick else 400)
        print(f"{_label(cell)}{line}", flush=True)
    print(
        "\nSearched: any reported in honest calls (nominal 5 %); found within 3, 15 s"
    )
    print(f"{head}{'wrong':>8}{'3 s':>8}{'15 s':>8}{'seconds':>8}")
    for cell in searched_cells(sizes, quick=quick):
        line = searched_cutoff(cell, 5 if quick else 100)
        print(f"{_label(cell)}{line}", flush=True)


def _label(cell: Cell) -> str:
    return f"{cell.shape:16}{cell.rounded:>8}{cell.calls:9d}{cell.moved:7.2%}"


if __name__ == "__main__":
    main()
