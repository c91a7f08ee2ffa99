"""How long a scan takes, and how much memory, beside reading the file and peers.

`python benchmarks/speed.py --quick` ends within three minutes; without it ten million
calls are made and scanned as well, with `--large` a hundred million. Every process is
run in turn with the others, several times; the median of the ratios is what counts,
since machines are shared. Where rddensity is installed it tests 20 agents one by one:
take off what it takes for nobody before you extrapolate. Data go to benchmarks/data/,
results to benchmarks/results/speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "speed.json"
PACE = HERE / "pace"
ENV = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
ENV.pop("PYTHONDONTWRITEBYTECODE", None)


@dataclass(frozen=True, kw_only=True)
class Took:
    """What one process cost."""

    wall_s: float
    cpu_s: float
    peak_mib: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """Processes that are run in turn; the first is what the others are divided by."""

    name: str
    processes: dict[str, list[str]]


def took(command: list[str]) -> Took:
    """Run a process to its end; `show` a failure rather than time it."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as child:
        error = child.stderr.read() if child.stderr else b""
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{shlex.join(command)}: {error.decode()[-500:]}")
    return Took(
        wall_s=time.perf_counter() - began,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_mib=used.ru_maxrss / 1024,
    )


def made(calls: int, agents: int, form: str, *tables: str) -> Path:
    """Make the data of a centre unless they are there; return their folder."""
    script = [sys.executable, str(PACE / "data.py"), str(calls), str(agents), form]
    subprocess.run([*script, *(tables or ("calls",))], check=True, env=ENV)
    return HERE / "data" / f"{calls // 1_000_000}m-{agents}-{form}"


def work(name: str, path: Path) -> list[str]:
    """Return the command of a peer."""
    return [sys.executable, str(PACE / "work.py"), name, str(path)]


def scan(*paths: Path) -> list[str]:
    """Return the command of a scan."""
    command = [sys.executable, "-m", "kpiaudit", "scan", *map(str, paths)]
    return [*command, "--format", "json", "--exit-zero", "-q"]


def cases(size: str) -> list[Case]:
    """Return what is measured at a size: quick, usual or large."""
    python = [sys.executable, "-c"]
    small = HERE / "data" / "small" / "calls.csv"
    one = made(1_000_000, 2_000, "parquet", "calls", "surveys", "tickets", "handovers")
    csv = made(1_000_000, 2_000, "csv")
    small.parent.mkdir(parents=True, exist_ok=True)
    with (csv / "calls.csv").open() as whole:
        small.write_text("".join(next(whole) for _ in range(1_001)))
    calls = "calls.parquet"
    found = [
        Case(
            name="--help",
            processes={
                "import click": [*python, "import click"],
                "kpiaudit --help": [sys.executable, "-m", "kpiaudit", "--help"],
            },
        ),
        Case(
            name="1,000 calls, CSV",
            processes={
                "import polars": [*python, "import polars"],
                "scan": scan(small),
            },
        ),
        Case(name="1M calls, Parquet", processes=_beside(one / calls)),
        Case(
            name="1M calls, CSV",
            processes={
                "polars, text and instants": work("csv", csv / "calls.csv"),
                "scan": scan(csv / "calls.csv"),
            },
        ),
        Case(
            name="1M calls, surveys, tickets, handovers",
            processes={"floor": work("floor", one / calls), "scan": scan(one)},
        ),
    ]
    if size == "quick":
        return found
    ten, many = made(10_000_000, 2_000, "parquet"), made(10_000_000, 10_000, "parquet")
    csv = made(10_000_000, 2_000, "csv")
    found += [
        Case(name="10M calls, Parquet", processes=_beside(ten / calls)),
        Case(
            name="10M calls, 10,000 agents, Parquet",
            processes={
                "floor": work("floor", many / calls),
                "scan": scan(many / calls),
            },
        ),
        Case(
            name="10M calls, CSV",
            processes={
                "polars, text and instants": work("csv", csv / "calls.csv"),
                "scan": scan(csv / "calls.csv"),
            },
        ),
    ]
    if size == "large":
        path = made(100_000_000, 2_000, "parquet") / calls
        found.append(
            Case(
                name="100M calls, Parquet",
                processes={"floor": work("floor", path), "scan": scan(path)},
            )
        )
    return found


def _beside(path: Path) -> dict[str, list[str]]:
    found = {
        "floor": work("floor", path),
        "scan": scan(path),
        "DuckDB by hand": work("duckdb", path),
        "pandas by hand": work("pandas", path),
    }
    if find_spec("rddensity"):
        found["rddensity, 20 agents"] = work("rddensity", path)
        found["rddensity, nobody"] = work("rddensity-none", path)
    return found


def measured(case: Case, runs: int) -> dict[str, list[Took]]:
    """Run the processes of a case in turn."""
    found: dict[str, list[Took]] = {name: [] for name in case.processes}
    for _ in range(runs):
        for name, command in case.processes.items():
            found[name].append(took(command))
    return found


def lines(case: str, found: dict[str, list[Took]]) -> list[str]:
    """Return a case's rows of the table; ratios are medians of ratios run by run."""
    base = next(iter(found.values()))
    rows = []
    for name, runs in found.items():
        cells = [
            f"{statistics.median(getattr(run, what) for run in runs):,.2f}"
            for what in ("wall_s", "cpu_s")
        ]
        ratios = [
            statistics.median(
                getattr(a, what) / getattr(b, what)
                for a, b in zip(runs, base, strict=True)
            )
            for what in ("wall_s", "cpu_s")
        ]
        cells.append(f"{max(run.peak_mib for run in runs):,.0f}")
        cells += [f"{ratio:.1f}" for ratio in ratios]
        rows.append(f"| {case} | {name} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Measure, print the table, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three minutes at most")
    parser.add_argument("--large", action="store_true", help="a hundred million, too")
    parser.add_argument("--runs", type=int, default=3, help="of each process")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    given = parser.parse_args()
    size = "quick" if given.quick else "large" if given.large else "usual"
    print("| case | process | wall s | CPU s | peak MiB | wall ratio | CPU ratio |")
    print("|---|---|---|---|---|---|---|")
    kept: dict[str, object] = {}
    for case in cases(size):
        if given.only not in case.name:
            continue
        found = measured(case, given.runs)
        kept[case.name] = {n: [asdict(r) for r in runs] for n, runs in found.items()}
        print("\n".join(lines(case.name, found)), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
