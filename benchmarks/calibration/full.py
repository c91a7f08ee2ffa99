"""Whole centres: tables through loading, every shipped rule and the report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from calibration.worlds import Cell
from kpiaudit.audit import scan
from kpiaudit.tables.simulate import (
    LOOKALIKES,
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
DEFAULT = "unhappy-leave"


def cells() -> list[tuple[Cell, int]]:
    """Return centres without anything, with one look-alike, and with one pattern."""

    def cell(mode: str, **settings: Any) -> Cell:
        return Cell(detector="all", agents=AGENTS, path="full", mode=mode, **settings)

    plain = [(cell("honest", family=family), 6) for family in SPREADS]
    alike = [(cell(f"alike {name}"), 3) for name in LOOKALIKES if name != DEFAULT]
    planted = [
        (cell(f"plant {name}", gamers=PLANTED, strength=STRENGTH), 3)
        for name in PATTERNS
    ]
    return plain + planted + alike


def one(cell: Cell, seed: int) -> dict[str, Any]:
    """Simulate, scan and count the findings of every rule."""
    kind, _, name = cell.mode.partition(" ")
    plants = (
        (Plant(pattern=name, agents=cell.gamers, strength=cell.strength),)
        if kind == "plant"
        else ()
    )
    made = simulate(
        Centre(
            seed=seed,
            agents=cell.agents,
            spread=cell.family,
            spread_sd=cell.sd,
            lookalikes=(name,) if kind == "alike" else (),
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
