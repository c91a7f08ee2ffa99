"""CPU seconds and peak memory of each stage of one scan, in one process.

`python benchmarks/pace/stages.py PATH` reads the resident size fifty times a second.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpiaudit import audit
from kpiaudit.evidence import assemble, corroborate, counting, placebo, power, restating
from kpiaudit.rulebook import columns_of, read_rules
from kpiaudit.tables.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PAGE_MIB = 4096 / 2**20
STAGES = (
    (counting, "discover"),
    (counting, "summarize"),
    (audit, "_test"),
    (assemble, "add_findings"),
    (power, "smallest_of"),
    (placebo, "cheap"),
    (corroborate, "corroborate"),
    (restating, "restate"),
)


class Watch:
    """What each stage has cost so far."""

    def __init__(self) -> None:
        self.stage = "import"
        self.cpu: dict[str, float] = defaultdict(float)
        self.peak: dict[str, float] = defaultdict(float)
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.peak[self.stage] = max(self.peak[self.stage], pages * PAGE_MIB)
            time.sleep(0.02)

    @contextmanager
    def over(self, stage: str) -> Iterator[None]:
        """Charge what happens inside to a stage."""
        before, self.stage, began = self.stage, stage, time.process_time()
        yield
        self.cpu[stage] += time.process_time() - began
        self.stage = before

    def wrap(self, module: ModuleType, name: str) -> None:
        """Charge every call of a function to the stage of its name."""
        function = getattr(module, name)

        def watched(*given: Any, **named: Any) -> Any:
            with self.over(name):
                return function(*given, **named)

        setattr(module, name, watched)


def main() -> None:
    """Scan, and print a line per stage."""
    watch, book = Watch(), read_rules()
    for module, name in STAGES:
        watch.wrap(module, name)
    with watch.over("load"):
        data = load(sys.argv[1:], only=columns_of(book))
    with watch.over("audit, all of it"):
        audit.audit(data, book)
    for stage, spent in watch.cpu.items():
        print(f"{stage:18s} {spent:7.2f} CPU s, at most {watch.peak[stage]:6,.0f} MiB")


if __name__ == "__main__":
    main()
