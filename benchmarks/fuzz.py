"""Feed the loader damaged exports, and hold what it makes of them against the truth.

    python -m benchmarks.fuzz --quick                 # 2,000 cases
    python -m benchmarks.fuzz --cases 100000 --state fuzz.ndjson
    python -m benchmarks.fuzz --replay 12345          # one case again, kept on disk

A case is made from its number alone. Of twenty cases, six are exports of canonical
tables with known damage, one is a preset's fixture with known damage, and thirteen are
bytes damaged anyhow. What is asked of each is in `tests/tables/oracle.py`: rows read
and rejected are the rows made, unreadable cells are as many as were damaged, every
other cell is as it was made; and of bytes damaged anyhow, that they end in a dataset or
a named error, in time, and never in a dataset if a packed file or Parquet was cut off.

With `--state`, finished pieces are written down and skipped by the next run, unless the
loader or the mutations have changed in the meantime.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # the files are small

from kpiaudit.errors import KpiauditError
from kpiaudit.tables.load import load
from tests.tables.grown import damaged, files, grown_differences
from tests.tables.mutations import mutated, noisy
from tests.tables.oracle import differences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.tables.mutations import Case

ROOT = Path(__file__).resolve().parents[1]
PIECE = 500
SLOW_S = 10.0
_WHOLE_OR_NOT = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK", b"PAR1")


def main() -> None:
    """Run pieces of cases, print what went wrong, and a table of what was done."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_memory()))
    try:
        if options.replay is not None:
            for problem in _replay(options.replay, options.keep):
                print(problem)
            return
        sys.exit(_run(options, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="2,000 cases")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--state", type=Path, help="where finished pieces are kept")
    parser.add_argument("--any-code", action="store_true", help="keep older pieces too")
    parser.add_argument("--replay", type=int, help="run one case")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-case"))
    options = parser.parse_args()
    if options.quick:
        options.cases = 2000
    return options


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a new folder


def _run(options: argparse.Namespace, folder: Path) -> int:
    code = _code()
    done = _finished(options.state, code, any_code=options.any_code)
    total: collections.Counter[str] = collections.Counter()
    failures: list[list[str]] = []
    seconds = 0.0
    for start in range(options.first, options.first + options.cases, PIECE):
        key = f"{start}+{min(PIECE, options.first + options.cases - start)}"
        if key not in done:
            done[key] = _piece(key, folder) | {"code": code}
            if options.state is not None:
                with options.state.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(done[key]) + "\n")
        piece = done[key]
        total.update(piece["counts"])
        seconds += piece["cpu_s"]
        for failure in piece["failures"]:
            failures.append(failure)
            print("FAILED case", *failure, flush=True)
    _print(total, seconds, failures)
    return 1 if failures else 0


def _finished(
    state: Path | None, code: str, *, any_code: bool
) -> dict[str, dict[str, object]]:
    if state is None or not state.exists():
        return {}
    pieces = [json.loads(line) for line in state.read_text("utf-8").splitlines()]
    return {p["key"]: p for p in pieces if any_code or p["code"] == code}


def _code() -> str:
    """Return a hash of everything that a case depends on."""
    digest = hashlib.sha256()
    for folder in ("kpiaudit/tables", "tests/tables", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".yaml"} and not path.name.startswith("test_"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _piece(key: str, folder: Path) -> dict[str, object]:
    start, size = map(int, key.split("+"))
    began = time.process_time()
    counts: collections.Counter[str] = collections.Counter()
    failures = []
    # A crash of the interpreter itself leaves the number of its case here.
    with (folder / "case").open("w+b", buffering=0) as now:
        for number in range(start, start + size):
            os.pwrite(now.fileno(), b"%12d" % number, 0)
            marks, problems = _tried(number, folder)
            counts.update(marks)
            failures += [[str(number), problem] for problem in problems[:3]]
    return {
        "key": key,
        "cpu_s": round(time.process_time() - began, 2),
        "counts": counts,
        "failures": failures,
    }


def _tried(number: int, folder: Path) -> tuple[list[str], list[str]]:
    marks: list[str] = []
    began = time.monotonic()
    try:
        problems = list(_judged(number, folder, marks))
    except KpiauditError as error:
        problems = [f"refused: {error}"]
    except BaseException as error:  # a panic of polars is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        problems = ["".join(traceback.format_exception(error)[-3:])]
    took = time.monotonic() - began
    if took > SLOW_S:
        problems.append(f"took {took:.0f} s")
    return ["cases", *marks], problems


def _judged(number: int, folder: Path, marks: list[str]) -> Iterator[str]:
    """Make a case, load it, and yield what is wrong with the outcome."""
    rng = random.Random(number)  # noqa: S311 - a case, nothing secret
    kind = number % 20
    if kind < 6:
        case = mutated(rng)
        marks += ["known damage", *case.marks]
        path = _written(folder, case.name, case.data)
        yield from differences(
            case, load([path], mapping=_mapping(case, folder), max_unreadable=1)
        )
    elif kind == 6:
        preset = damaged(rng)
        marks += ["known damage", *preset.marks]
        path = _written(folder, preset.name, preset.data)
        yield from grown_differences(preset, load([path], max_unreadable=1))
    else:
        yield from _noise(rng, folder, marks)


def _noise(rng: random.Random, folder: Path, marks: list[str]) -> Iterator[str]:
    if rng.random() < 0.3:
        path = rng.choice(files())
        data, name = path.read_bytes(), path.name
    else:
        case = mutated(rng)
        data, name = case.data, case.name
    noise, kinds = noisy(rng, data)
    marks += ["noise", *(f"noise: {kind}" for kind in kinds)]
    path = _written(folder, name, noise)
    try:
        load([path], max_unreadable=rng.choice((0.05, 1)))
    except KpiauditError:
        marks.append("noise, and refused")
        return
    marks.append("noise, and read")
    if kinds == ("cut",) and data.startswith(_WHOLE_OR_NOT):
        yield f"{name} was cut at {len(noise)} of {len(data)} bytes, and read"


def _written(folder: Path, name: str, data: bytes) -> Path:
    for old in folder.iterdir():
        if old.name != "case":
            old.unlink()
    path = folder / name
    path.write_bytes(data)
    return path


def _mapping(case: Case, folder: Path) -> Path | None:
    if not case.mapping:
        return None
    units = sorted(case.mapping.items())
    columns = "".join(f"  {c}: {{column: {c}, unit: {u}}}\n" for c, u in units)
    path = folder / "units.yaml"
    path.write_text(f"table: {case.table}\ncanonical: true\ncolumns:\n{columns}")
    return path


def _replay(number: int, keep: Path) -> list[str]:
    keep.mkdir(exist_ok=True)
    marks, problems = _tried(number, keep)
    print(f"case {number}: {', '.join(marks)}; its file is in {keep}/")
    return problems or ["nothing is wrong with it"]


def _print(
    total: collections.Counter[str], seconds: float, failures: list[list[str]]
) -> None:
    for mark, count in sorted(total.items(), key=lambda item: (-item[1], item[0])):
        print(f"{count:9,}  {mark}")
    cases = max(total["cases"], 1)
    print(
        f"{total['cases']:,} cases, {seconds / 60:.1f} CPU minutes "
        f"({seconds / cases * 1000:.1f} ms a case), "
        f"{len({number for number, _ in failures})} failed"
    )


if __name__ == "__main__":
    main()
