"""How often innocent mechanisms are blamed, and how well KPIs are restated.

`python benchmarks/evidence.py --minutes 10` runs centres (look-alikes alone, then
planted patterns), one result a line in benchmarks/results/evidence.jsonl, so that a run
can be stopped and continued; `--report` writes the section of docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

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
_ALIKE = (
    "| Innocent mechanism, alone | Centres | Findings, with the ledger | Without it "
    "| Subjects tested |"
)
_PLANTED = (
    "| Planted pattern | Agents' findings with a restated KPI | True value inside the "
    "95 % interval |"
)
SIZE: dict[str, Any] = {"agents": 24, "days": 35, "calls_per_day": 30}


def main() -> None:
    """Run centres, or write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of CPU time")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if given.report:
        SECTION.write_text(section(_rows()), encoding="utf-8")
        return
    done = {(r["kind"], r["name"], r["seed"]) for r in _rows()}
    RESULTS.parent.mkdir(exist_ok=True)
    for seed in range(given.seeds):
        for kind, names in (("alike", LOOKALIKES), ("plant", PLANTS)):
            for name in names:
                if time.process_time() > 60 * given.minutes:
                    return
                if (kind, name, seed) not in done:
                    with RESULTS.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(_one(kind, name, seed)) + "\n")


def _one(kind: str, name: str, seed: int) -> dict[str, Any]:
    (tables, rules), strength = (
        (LOOKALIKES[name], 0.0) if kind == "alike" else PLANTS[name]
    )
    plants = (Plant(pattern=name, agents=3, strength=strength),) if strength else ()
    made = simulate(
        Centre(
            seed=9000 + seed,
            lookalikes=(name,) if kind == "alike" else (),
            plants=plants,
            tables=tables,
            **SIZE,
        )
    )
    data = load(tables={table: [frame] for table, frame in made.tables.items()})
    outcome = audit(data, read_rules((), select=rules if not strength else (name,)))
    return {
        "kind": kind,
        "name": name,
        "seed": seed,
        "findings": len(outcome.report.findings),
        "withdrawn": sum(len(run.withdrawn) for run in outcome.runs),
        "tested": sum(rule.tested for rule in outcome.report.rules),
        "restated": _restated(outcome.report.findings, made.truth, name)
        if strength
        else [],
    }


def _restated(findings: Any, truth: Any, pattern: str) -> list[dict[str, Any]]:
    """Return, per finding of an agent, the restated gain and the true one."""
    out = []
    for f in findings:
        if f.subject.kind != "agent" or f.restated is None:
            continue
        true = _gain(truth[pattern], pattern, f.subject.id)
        r = f.restated
        if true is not None and None not in (r.reported, r.low, r.high):
            gains = sorted((r.low - r.reported, r.high - r.reported))
            out.append({"low": gains[0], "high": gains[1], "true": true})
    return out


def _gain(truth: Any, pattern: str, agent: str) -> float | None:
    """Return the KPI without the pattern less the KPI as reported."""
    if pattern == "short-calls":
        return -float(truth["by_agent"].get(agent, 0))
    for told in truth["kpi"].values():
        own = told.get("by_agent", {}).get(agent)
        if own and None not in (own["reported"], own["without"]):
            return float(own["without"] - own["reported"])
    return None


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
    lines += ["", _PLANTED, "| --- | --- | --- |"]
    for name in PLANTS:
        told = [x for r in plants if r["name"] == name for x in r["restated"]]
        held = sum(x["low"] <= x["true"] <= x["high"] for x in told)
        lines.append(f"| `{name}` | {len(told)} | {held} |")
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
