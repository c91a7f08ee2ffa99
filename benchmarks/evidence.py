"""How often innocent mechanisms are blamed, and how well KPIs are restated.

`python benchmarks/evidence.py --minutes 10` runs centres (planted patterns, then
look-alikes alone), one result a line in benchmarks/results/evidence.jsonl, so that a
run can be stopped and continued; `--report` writes the section of docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import restated

from kpiaudit.audit import audit
from kpiaudit.rulebook import read_rules
from kpiaudit.tables.load import load
from kpiaudit.tables.simulate import Centre, Plant, simulate

RESULTS = Path(__file__).parent / "results" / "evidence.jsonl"
SECTION = Path(__file__).parent / "calibration" / "evidence.md"

CALLS = (("calls", "agents"), ("short-calls", "duration-cap"))
SURVEYS = (
    ("calls", "surveys", "outcomes", "agents"),
    ("survey-selection", "perfect-scores"),
)
TICKETS = (("tickets", "ticket_events", "agents"), ("early-closure",))
HANDOVERS = (("handovers", "agents"), ("premature-ready",))
LOOKALIKES = {
    "peak-below-cap": CALLS,
    "rounding-6s": CALLS,
    "rounding-60s": CALLS,
    "dropped-lines": CALLS,
    "short-queue": CALLS,
    "outage": CALLS,
    "silent-callers": CALLS,
    "auto-cut-cap": CALLS,
    "scripted-close": CALLS,
    "angry-callers": CALLS,
    "thank-you": TICKETS,
    "auto-close": TICKETS,
    "hard-tickets": TICKETS,
    "month-end-cleanup": TICKETS,
    "round-5min": HANDOVERS,
    "batch-scan": HANDOVERS,
    "late-couriers": HANDOVERS,
    "offline-device": HANDOVERS,
    "excellent-agents": SURVEYS,
    "simpson-queues": SURVEYS,
    "contact-cap": SURVEYS,
    "channel-scores": SURVEYS,
}
PLANTS = {
    "short-calls": (CALLS, 0.15),
    "duration-cap": (CALLS, 0.5),
    "early-closure": (TICKETS, 0.6),
    "premature-ready": (HANDOVERS, 0.6),
    "survey-selection": (SURVEYS, 0.8),
    "perfect-scores": (SURVEYS, 0.5),
}
GAMING = {"early-closure": 5, "survey-selection": 5, "premature-ready": 4}
"""Agents planted where fewer than three of three are found."""
FIRST_SEED = 9100
_ALIKE = (
    "| Innocent mechanism, alone | Centres | Findings, with the ledger | Without it "
    "| Subjects tested |"
)
SIZE: dict[str, Any] = {"agents": 24, "days": 35, "calls_per_day": 30}
SMALLER: dict[str, Any] = {"agents": 20, "days": 30, "calls_per_day": 25}
"""Of look-alikes; every mechanism's rules can still test their agents there."""


def main() -> None:
    """Run centres, or write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of CPU time")
    parser.add_argument("--seeds", type=int, default=30, help="centres per pattern")
    parser.add_argument("--alike", type=int, default=10, help="per look-alike")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--only", default="", help="name of one pattern or look-alike")
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if given.report:
        SECTION.write_text(section(_rows()), encoding="utf-8")
        return
    done = {(r["kind"], r["name"], r["seed"]) for r in _rows()}
    RESULTS.parent.mkdir(exist_ok=True)
    todo = [
        (seed, kind, name)
        for seed in range(given.first, given.first + max(given.seeds, given.alike))
        for kind, names, most in (
            ("plant", PLANTS, given.seeds),
            ("alike", LOOKALIKES, given.alike),
        )
        for name in names
        if seed < given.first + most
        and given.only in ("", name)
        and (kind, name, seed) not in done
    ]
    for seed, kind, name in todo:
        if time.process_time() > 60 * given.minutes:
            return
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_one(kind, name, seed)) + "\n")


def _one(kind: str, name: str, seed: int) -> dict[str, Any]:
    planted = kind == "plant"
    tables, rules = PLANTS[name][0] if planted else LOOKALIKES[name]
    centre = Centre(
        seed=FIRST_SEED + seed,
        lookalikes=() if planted else (name,),
        tables=tables,
        **(SIZE if planted else SMALLER),
    )
    agents = GAMING.get(name, 3)
    plants = (
        (Plant(pattern=name, agents=agents, strength=PLANTS[name][1]),)
        if planted
        else ()
    )
    made = simulate(replace(centre, plants=plants))
    data = load(tables={table: [frame] for table, frame in made.tables.items()})
    outcome = audit(data, read_rules((), select=(name,) if planted else rules))
    told = restated.held(outcome.report, made, name, centre) if planted else []
    return {
        "kind": kind,
        "name": name,
        "seed": seed,
        "findings": len(outcome.report.findings),
        "withdrawn": sum(len(run.withdrawn) for run in outcome.runs),
        "tested": sum(rule.tested for rule in outcome.report.rules),
        "restated": told,
    }


def section(rows: list[dict[str, Any]]) -> str:
    """Return both tables."""
    alike = [r for r in rows if r["kind"] == "alike"]
    lines = [_ALIKE, "| --- | --- | --- | --- | --- |"]
    for name in LOOKALIKES:
        own = [r for r in alike if r["name"] == name]
        if own:
            lines.append(_line(f"`{name}`", own))
    lines.append(_line("**all**", alike))
    plants = [r for r in rows if r["kind"] == "plant"]
    lines += ["", *restated.table(plants, tuple(PLANTS))]
    return "\n".join(lines) + "\n"


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    found = sum(r["findings"] for r in rows)
    without = found + sum(r["withdrawn"] for r in rows)
    tested = sum(r["tested"] for r in rows)
    return f"| {name} | {len(rows)} | {found} | {without} | {tested} |"


def _rows() -> list[dict[str, Any]]:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]


if __name__ == "__main__":
    main()
