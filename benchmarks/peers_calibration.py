"""How often honest centres are flagged, and how much of an oracle's power is left.

Counts only are simulated. Run `python benchmarks/peers_calibration.py --quick` for two
minutes, without `--quick` for the table in the documentation.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from kpiaudit.stats.dispersion import day_dispersion
from kpiaudit.stats.peers import excess
from kpiaudit.stats.tails import upper_tail

FAMILIES = (
    "same", "normal", "t4", "gamma1.2", "exponential", "novices", "teams", "drifting",
    "days",
)  # fmt: skip
SPREADS = (0.15, 0.3, 0.5)
DAYS = 40


@dataclass(frozen=True, kw_only=True)
class Floor:
    """One simulated floor: rows of counts, true rates, and who was lifted."""

    subject: np.ndarray
    stratum: np.ndarray
    events: np.ndarray
    trials: np.ndarray
    lifted: np.ndarray
    excess: np.ndarray
    phi: np.ndarray | None


def honest_theta(
    family: str, m: int, sd: float, rng: np.random.Generator
) -> np.ndarray:
    """Return honest log-odds of m agents; `sd` is ignored by `same` and `novices`."""
    normal = rng.standard_normal(m)
    if family == "same":
        return 0.0 * normal
    if family == "t4":
        return sd * rng.standard_t(4, m) / np.sqrt(2.0)
    if family in {"gamma1.2", "exponential"}:
        a = 1.0 if family == "exponential" else 4.0 / 1.2**2
        return sd * (rng.gamma(a, 1.0, m) - a) / np.sqrt(a)
    if family == "novices":
        return 0.2 * normal + 0.6 * (rng.random(m) < 0.15)
    if family == "teams":
        team = rng.standard_normal(m // 10 + 1)[np.arange(m) // 10]
        return sd * (normal + team) / np.sqrt(2.0)
    return sd * normal


def floor(
    family: str,
    m: int,
    rng: np.random.Generator,
    *,
    sd: float,
    rate: float,
    trials: int,
    strata: int = 1,
    odds: float = 1.0,
    share: float = 0.0,
    parttime: bool = True,
) -> Floor:
    """Simulate one floor of m agents; a share of them has its odds multiplied."""
    theta = honest_theta(family, m, sd, rng)
    lifted = np.zeros(m, dtype=bool)
    if odds > 1.0:
        count = 1 if share == 0.0 else max(1, round(share * m))
        lifted[rng.choice(m, count, replace=False)] = True
    n_i = np.full(m, trials)
    if parttime:
        n_i[rng.random(m) < 0.2] //= 5
    by_day = family in {"days", "drifting"}
    cells = DAYS if by_day else strata
    subject = np.repeat(np.arange(m), cells)
    cell = np.tile(np.arange(cells), m)
    n = rng.poisson(n_i[subject] / cells) if cells > 1 else n_i.copy()
    base = np.log(rate / (1.0 - rate))
    if not by_day:
        base = base + 0.4 * np.sin(cell * 2.0)
    honest = base + theta[subject]
    if family == "drifting":
        slope = 0.3 * rng.standard_normal(m)
        honest = honest + slope[subject] * (cell / DAYS - 0.5) * 2.0
    own = 1.0 / (1.0 + np.exp(-honest - np.log(odds) * lifted[subject]))
    before = 1.0 / (1.0 + np.exp(-honest))
    true = np.bincount(subject, weights=n * (own - before), minlength=m)
    phi = None
    if family == "days":
        rho = np.repeat(rng.uniform(0.0, 1.0, m) * 1.0, cells) / np.maximum(n - 1, 1)
        rho = np.clip(rho, 1e-4, 0.5)
        own = rng.beta(own * (1 / rho - 1), (1 - own) * (1 / rho - 1))
    k = rng.binomial(n, own)
    if by_day:
        phi = day_dispersion(subject, cell, k, n, n_subjects=m)
    stratum = np.zeros_like(cell) if by_day else cell
    return Floor(
        subject=subject, stratum=stratum, events=k, trials=n,
        lifted=lifted, excess=true, phi=phi,
    )  # fmt: skip


def oracle(f: Floor, *, sd: float, rate: float) -> np.ndarray:
    """Return p-values of a test that knows the normal spread and the rate."""
    m = len(f.lifted)
    k = np.bincount(f.subject, weights=f.events, minlength=m)
    n = np.bincount(f.subject, weights=f.trials, minlength=m)
    x = np.linspace(-6.0, 6.0, 241)
    w = np.exp(-0.5 * x * x)
    p = 1.0 / (1.0 + np.exp(-np.log(rate / (1 - rate)) - sd * x))
    tails = upper_tail(k[:, None], n[:, None] * p, n[:, None] * p * (1.0 - p))
    return tails @ (w / w.sum())


def flagged(p: np.ndarray, q: float = 0.05) -> np.ndarray:
    """Return who is flagged by Benjamini-Hochberg at level q."""
    usable = ~np.isnan(p)
    m = usable.sum()
    order = np.argsort(np.where(usable, p, 2.0))
    passed = np.flatnonzero(p[order][:m] <= q * np.arange(1, m + 1) / m)
    out = np.zeros(len(p), dtype=bool)
    if len(passed):
        out[order[: passed[-1] + 1]] = True
    return out


def run(f: Floor):
    """Return the outcome of the product's test."""
    return excess(
        f.subject, f.stratum, f.events, f.trials, n_subjects=len(f.lifted),
        dispersion=f.phi,
    )  # fmt: skip


def calibration(sizes: tuple[int, ...], reps: dict[int, int], seed: int) -> None:
    """Print the share of honest floors with anybody flagged, and flags per floor."""
    print("honest floors with anybody flagged at q <= .05, % (floors)")
    print(f"{'family':12s} {'sd':>5s}" + "".join(f"{m:>16d}" for m in sizes))
    settings = [
        (rate, trials, strata)
        for rate in (0.01, 0.05, 0.3, 0.5)
        for trials, strata in ((200, 1), (500, 1), (2000, 1), (1000, 6))
    ]
    for family in FAMILIES:
        spreads = SPREADS if family not in {"same", "novices"} else (0.0,)
        for sd in spreads:
            cells = ""
            for m in sizes:
                key = (seed, m, FAMILIES.index(family), int(100 * sd))
                rng = np.random.default_rng(key)
                bad = people = 0
                for rep in range(reps[m]):
                    rate, trials, strata = settings[rep % len(settings)]
                    f = floor(
                        family, m, rng, sd=sd, rate=rate, trials=trials, strata=strata
                    )
                    hits = int(flagged(run(f).p_value).sum())
                    bad += hits > 0
                    people += hits
                mean = people / reps[m]
                cells += f"{100 * bad / reps[m]:5.1f} ({reps[m]},{mean:4.2f})"
            print(f"{family:12s} {sd:5.2f} {cells}", flush=True)


def power(sizes: tuple[int, ...], reps: dict[int, int], seed: int) -> None:
    """Print power against the oracle, false discoveries and coverage of intervals."""
    print("\nplanted agents found, %: product/oracle, false discovery proportion,")
    print(
        "coverage of the 95 % interval if planted, if flagged, if flagged and adjusted"
    )
    print("columns: one agent, 5 %, 20 %, 40 % of the agents")
    for m in sizes:
        for sd in (0.0, 0.15, 0.3):
            for odds in (1.5, 2.0, 3.0, 5.0):
                line = f"{m:5d} {sd:4.2f} x{odds:3.1f}"
                for share in (0.0, 0.05, 0.2, 0.4):
                    line += "  |" + _power_cell(m, sd, odds, share, reps[m], seed)
                print(line, flush=True)


def _power_cell(
    m: int, sd: float, odds: float, share: float, reps: int, seed: int
) -> str:
    rng = np.random.default_rng((seed, m, int(sd * 100), int(odds * 10)))
    found, known, fdp, inside, chosen, adjusted = [], [], [], [], [], []
    for rep in range(reps):
        rate, trials = ((0.5, 500), (0.05, 2000), (0.3, 1000), (0.02, 1000))[rep % 4]
        f = floor(
            "normal", m, rng, sd=sd, rate=rate, trials=trials, odds=odds, share=share,
            parttime=False,
        )  # fmt: skip
        outcome = run(f)
        mine, best = flagged(outcome.p_value), flagged(oracle(f, sd=sd, rate=rate))
        found.append(mine[f.lifted].mean())
        known.append(best[f.lifted].mean())
        fdp.append((mine & ~f.lifted).sum() / max(mine.sum(), 1))
        covered = (outcome.low <= f.excess) & (f.excess <= outcome.high)
        inside += list(covered[f.lifted])
        chosen += list(covered[mine])
        if mine.any():
            rows = np.flatnonzero(mine)
            low, high = outcome.interval(rows, 1.0 - 0.05 * len(rows) / m)
            adjusted += list((low <= f.excess[rows]) & (f.excess[rows] <= high))
    shares = [f"{100 * np.mean(x):3.0f}" if x else "  -" for x in (chosen, adjusted)]
    return (
        f"{100 * np.mean(found):4.0f}/{100 * np.mean(known):3.0f} {np.mean(fdp):.2f} "
        f"{100 * np.mean(inside):3.0f} {shares[0]} {shares[1]}"
    )


def main() -> None:
    """Read the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about two minutes")
    parser.add_argument("--sizes", type=int, nargs="*", default=None)
    parser.add_argument("--reps", type=int, default=None)
    parser.add_argument("--only", choices=("honest", "power"), default=None)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sizes = tuple(options.sizes or ((30,) if options.quick else (8, 30, 120, 1000)))
    per = {
        m: options.reps or (16 if options.quick else 200 if m < 500 else 64)
        for m in sizes
    }
    few = {
        m: options.reps or (4 if options.quick else 40 if m < 500 else 8) for m in sizes
    }
    start = time.perf_counter()
    if options.only != "power":
        calibration(sizes, per, options.seed)
    if options.only != "honest":
        power(tuple(m for m in sizes if m >= 30), few, options.seed)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
