"""Whole centres: tables through loading, every shipped rule and the report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from evidence import LOOKALIKES, PLANTS

from calibration.worlds import Cell
from kpiaudit.audit import audit
from kpiaudit.rulebook import read_rules
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import (
    PATTERNS,
    Centre,
    Plant,
    Simulated,
    simulate,
)

if TYPE_CHECKING:
    from kpiaudit.findings import Report

AGENTS, PLANTED, SMALL = 24, 3, 12
SPREADS = ("normal", "heavy", "skewed", "novices", "teams", "drifting")
FALSE = (0.0, 0.5, 0.95)
"""Probability that the fields which agents write hide a contact that they gamed."""


def groups() -> dict[str, list[tuple[Cell, int]]]:
    """Return centres without anything, look-alikes alone, and patterns that hide.

    Look-alikes and planted patterns come with the tables and rules they concern only.
    """

    def cell(mode: str, **settings: Any) -> Cell:
        return Cell(detector="all", path="full", mode=mode, **settings)

    plain = [(cell("honest", agents=AGENTS, family=f), 4) for f in SPREADS]
    alike = [(cell(f"alike {name}", agents=SMALL), 12) for name in LOOKALIKES]
    planted = [
        (
            cell(
                f"plant {name} {false}",
                agents=AGENTS,
                gamers=PLANTED,
                strength=PLANTS[name][1],
            ),
            8,
        )
        for false in FALSE
        for name in PATTERNS
    ]
    return {"honest": plain, "alike": alike, "plant": planted}


def one(cell: Cell, seed: int) -> dict[str, Any]:
    """Simulate, scan and count the findings of every rule."""
    kind, name, false = (*cell.mode.split(" "), "", "0")[:3]
    narrow: dict[str, Any] = {}
    rules: tuple[str, ...] = ()
    if kind == "alike":
        tables, rules = LOOKALIKES[name]
        narrow = {"tables": tables, "lookalikes": (name,)}
    elif kind == "plant":
        tables, _ = PLANTS[name][0]
        rules = (name,)
        plant = Plant(
            pattern=name,
            agents=cell.gamers,
            strength=cell.strength,
            falsify=float(false),
        )
        narrow = {"tables": tables, "plants": (plant,)}
    if narrow:
        narrow |= {"days": 35, "calls_per_day": 30}
    made = simulate(
        Centre(
            seed=seed,
            agents=cell.agents,
            spread=cell.family,
            spread_sd=cell.sd,
            **narrow,
        )
    )
    start = time.process_time()
    data = load(tables={table: [frame] for table, frame in made.tables.items()})
    outcome = audit(data, read_rules((), select=rules) if rules else read_rules(()))
    seconds = round(time.process_time() - start, 3)
    withdrawn = sum(len(each.withdrawn) for each in outcome.runs)
    return {
        "rules": _rules(outcome.report, made),
        "withdrawn": withdrawn,
        "seconds": seconds,
    }


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
