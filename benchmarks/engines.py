"""The same report from polars, DuckDB and Spark: equality, time and memory.

    python -m benchmarks.engines [--calls 1000000] [--engines polars duckdb spark]

Makes a centre of about so many calls, converts it to canonical Parquet, scans it with
each engine as a user would, and compares `rules` and `findings` byte for byte. Spark
runs on two cores with 3 GB for its driver unless PYSPARK_SUBMIT_ARGS says otherwise.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kpiaudit.tables.convert import convert
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate

_CALLS_A_DAY = 41  # of an agent, about
_AGENTS = 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--engines", nargs="+", default=["polars", "duckdb", "spark"])
    parser.add_argument("--select", nargs="*", default=[], help="only these rules")
    parser.add_argument("--folder", type=Path, help="made here, and used again")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kpiaudit-engines-"))
    if not (folder / "calls.parquet").exists():
        made(folder, options.calls)
    rules = [word for rule in options.select for word in ("--select", rule)]
    bodies: dict[str, bytes] = {}
    print("| engine | seconds | peak MiB, all processes | as polars |")
    print("| --- | --- | --- | --- |")
    for engine in options.engines:
        seconds, peak, bodies[engine] = scanned(folder, engine, rules)
        same = bodies[engine] == bodies[options.engines[0]]
        print(f"| {engine} | {seconds:.1f} | {peak:.0f} | {'yes' if same else 'NO'} |")
    if len(set(bodies.values())) > 1:
        sys.exit("rules and findings differ between engines")


def made(folder: Path, calls: int) -> None:
    """Write canonical Parquet of a centre with so many calls, nearly."""
    plants = (
        Plant(pattern="short-calls", agents=3, strength=0.2),
        Plant(pattern="duration-cap", agents=3, strength=0.5),
    )
    days = max(round(calls / (_AGENTS * _CALLS_A_DAY) * 7 / 5), 14)
    centre = Centre(seed=1, agents=_AGENTS, days=days, teams=25, plants=plants)
    tables = {name: [frame] for name, frame in simulate(centre).tables.items()}
    data = load(tables=tables)
    print(f"{data.rows['calls']:,} calls, {sum(data.rows.values()):,} rows in all")
    convert(data, folder)


def scanned(folder: Path, engine: str, rules: list[str]) -> tuple[float, float, bytes]:
    """Scan in a process of its own: seconds, peak MiB, rules and findings."""
    report = folder / f"{engine}.json.report"
    words = [sys.executable, "-m", "kpiaudit", "scan", str(folder), "--exit-zero"]
    words += ["--engine", engine, "--format", f"json={report}", "-q", *rules]
    small = "--master local[2] --driver-memory 3g pyspark-shell"
    env = {"PYSPARK_SUBMIT_ARGS": small, **os.environ}
    start = time.perf_counter()
    process = subprocess.Popen(
        words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(map(resident, family(process.pid))))
        time.sleep(0.1)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{engine}: status {process.returncode}\n{process.stderr.read()}")
    text = report.read_bytes()
    return seconds, peak, text[text.index(b'"rules"') : text.index(b'"notes"')]


def family(pid: int) -> list[int]:
    """Return a process and all that it has started (Spark's JVM)."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [c for t in tasks for c in (t / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def resident(pid: int) -> float:
    """Return a process's memory in MiB; 0 once it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
