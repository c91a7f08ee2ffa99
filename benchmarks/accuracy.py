"""How often honest centres are flagged, and how many planted patterns are found.

`python benchmarks/accuracy.py` takes at most 45 minutes on two cores, `--quick` three.
Results go to benchmarks/results/, one line per centre, so that a run can be stopped and
continued; `--report` writes docs/accuracy.md from all of them, and `--pack` keeps them
in benchmarks/calibration/centres.jsonl.gz, to which a later run of the same tests adds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from calibration import plan, run


def main() -> None:
    """Run cells, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few centres of each kind")
    parser.add_argument("--minutes", type=float, default=44.0, help="by the clock")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--detector", action="append", default=[], help="only these")
    parser.add_argument("--part", choices=plan.PARTS, action="append", default=[])
    parser.add_argument("--family", action="append", default=[], help="only these")
    parser.add_argument("--report", action="store_true", help="write docs/accuracy.md")
    parser.add_argument("--pack", action="store_true", help="keep the results")
    given = parser.parse_args()
    if given.pack:
        print(f"{run.pack()} centres")
        return
    if given.report:
        from calibration import page  # noqa: PLC0415 - not needed for a run

        page.write()
        return
    minutes = min(given.minutes, 2.7) if given.quick else given.minutes
    cells = plan.cells(
        given.detector,
        given.part or plan.PARTS,
        quick=given.quick,
        families=given.family,
    )
    name = "-".join([*(given.detector or ["all"]), *given.part])
    run.run(cells, minutes, name, given.workers)


if __name__ == "__main__":
    main()
