"""Whole centres: tables through loading, every shipped rule and the report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from calibration.worlds import Cell
from kpiaudit.audit import scan
from kpiaudit.tables.simulate import (
    PATTERNS,
    Centre,
    Plant,
    Simulated,
    simulate,
)

if TYPE_CHECKING:
    from kpiaudit.findings import Report

AGENTS, PLANTED, STRENGTH = 24, 3, 0.4
SPREADS = ("normal", "heavy", "skewed", "novices", "teams", "drifting")
FALSE = (0.0, 0.5, 0.95)
"""Probability that the fields which agents write hide a contact that they gamed."""


def cells() -> list[tuple[Cell, int]]:
    """Return centres without anything, and with one pattern and fields that hide it.

    Look-alikes, one a centre, are run by `benchmarks/evidence.py`.
    """

    def cell(mode: str, **settings: Any) -> Cell:
        return Cell(detector="all", agents=AGENTS, path="full", mode=mode, **settings)

    plain = [(cell("honest", family=family), 4) for family in SPREADS]
    planted = [
        (cell(f"plant {name} {false}", gamers=PLANTED, strength=STRENGTH), 5)
        for false in FALSE
        for name in PATTERNS
    ]
    return plain + planted


def one(cell: Cell, seed: int) -> dict[str, Any]:
    """Simulate, scan and count the findings of every rule."""
    plants = ()
    if cell.gamers:
        _, name, false = cell.mode.split(" ")
        plants = (
            Plant(
                pattern=name,
                agents=cell.gamers,
                strength=cell.strength,
                falsify=float(false),
            ),
        )
    made = simulate(
        Centre(
            seed=seed,
            agents=cell.agents,
            spread=cell.family,
            spread_sd=cell.sd,
            plants=plants,
        )
    )
    start = time.process_time()
    report = scan(**made.tables)
    seconds = round(time.process_time() - start, 3)
    return {"rules": _rules(report, made), "seconds": seconds}


def _rules(report: Report, made: Simulated) -> dict[str, dict[str, int]]:
    out = {}
    for status in report.rules:
        found = [f for f in report.findings if f.rule == status.id]
        agents = {f.subject.id for f in found if f.subject.kind == "agent"}
        planted = set(made.truth[status.detector]["agents"])
        out[status.id] = {
            "true": len(agents & planted),
            "false": len(agents - planted),
            "other": sum(f.subject.kind not in {"agent", "team"} for f in found),
            "planted": len(planted),
            "testable": status.tested,
            "untestable": status.untestable,
            "withdrawn": sum("set aside, since" in s for s in status.found),
        }
    return out
