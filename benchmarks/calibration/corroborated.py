"""duration-cap by itself, with repeat calls, and with complaints deciding as well.

The same centres are tested three times: with no customer known, with repeat calls
within a day, and with complaints besides. Half of the callers who are shaken off call
again, against 12 % of the others; complaints follow 15 % of those calls, 10 % of other
calls whose customers call again and 2.5 % of all others. Honest agents differ in both,
as in the cells' family, so that one kind of follow-up says something about the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration import duration_cap
from calibration.tally import by, false_share, method, percent, power, share
from calibration.worlds import Cell, Floor, Made, table, tilt
from kpiaudit.detectors.sources import SOURCES
from kpiaudit.evidence import deciding
from kpiaudit.evidence.answers import Cells, Heard
from kpiaudit.evidence.runs import Run
from kpiaudit.rulebook import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from calibration.tally import Rows
    from kpiaudit.detectors.base import Verdicts

MODE = "corroborated"
WAYS = ("alone", "repeat calls", "repeat calls and complaints")
_CUT, _AGAIN, _OTHER = 0.15, 0.1, 0.025
_COMPLAINT = next(s for s in SOURCES if s.id == "complaint")


def cells() -> list[tuple[Cell, int]]:
    """Return honest and planted cells with the number of centres wanted."""
    one = Cell(detector="duration-cap", agents=30, mode=MODE)
    honest = [
        (replace(one, family=family, agents=size), 100)
        for family in ("heavy", "skewed", "linked", "novices")
        for size in (30, 120)
    ]
    planted = [
        (replace(one, gamers=gamers, strength=strength), 30)
        for gamers in (1, 3)
        for strength in (0.05, 0.1, 0.2)
    ]
    return [*planted, *honest]


def one(cell: Cell, seed: int, counted: Callable[..., dict[str, Any]]) -> dict:
    """Test one centre in all ways; the shipped one gives the row its figures."""
    made = duration_cap.make(cell, cell.rng(seed))
    unknown = {k: v for k, v in made.summaries.items() if k != "repeats"}
    alone = _tested(made, unknown)
    with_repeats = _tested(made, made.summaries)
    decided = _decided(made, with_repeats, cell, np.random.default_rng([seed, 77]))
    rows = [counted(made, each) for each in (alone, with_repeats, decided)]
    others = {
        way: [row["true"], row["false"]] for way, row in zip(WAYS, rows, strict=True)
    }
    return rows[1] | {"others": others}


def _tested(made: Made, summaries: dict[str, Any]) -> Verdicts:
    return made.detector.test(summaries, made.found, min_effect=made.min_effect)


def _decided(
    made: Made, verdicts: Verdicts, cell: Cell, rng: np.random.Generator
) -> Verdicts:
    """Let complaints join the decision, through the audit's own code."""
    run = Run(rule=Rule(id="duration-cap", detector=made.detector), data=None)
    run.verdicts = verdicts
    run.q_value = deciding.q_values(verdicts.tested)
    rows = _complaints(made, cell, rng)
    run.heard = Heard(
        sources=(_COMPLAINT,), lacking=(), cells={"followed": Cells.of(rows)}
    )
    deciding.weigh(run)
    return run.verdicts


def _complaints(made: Made, cell: Cell, rng: np.random.Generator):
    """Draw complaints after calls near the cap, and after those below it."""
    repeats = made.summaries["repeats"]
    agent = np.searchsorted(made.ids.astype(str), repeats["agent_id"].astype(str))
    cut = _cut(made, agent, repeats.ints("near"))
    habit = Floor.of(cell, rng, duration_cap.DAYS).habit().mean(axis=1)[agent]

    def drawn(calls: np.ndarray, again: np.ndarray) -> np.ndarray:
        again = np.minimum(again, calls)
        some = rng.binomial(again, tilt(_AGAIN, habit))
        return some + rng.binomial(calls - again, tilt(_OTHER, habit))

    near, rest = repeats.ints("near"), repeats.ints("rest")
    again = np.maximum(repeats.ints("near_again") - cut // 2, 0)
    flagged = drawn(near - cut, again) + rng.binomial(cut, _CUT)
    control = drawn(rest, repeats.ints("rest_again"))
    size = len(agent)
    return table(
        agent_id=np.tile(repeats["agent_id"], 2),
        queue=np.tile(repeats["queue"], 2),
        hour=np.zeros(2 * size),
        control=np.repeat([0, 1], size),
        **{
            f"n_{_COMPLAINT.key}": np.concatenate([near, rest]),
            f"k_{_COMPLAINT.key}": np.concatenate([flagged, control]),
        },
    )


def _cut(made: Made, agent: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Return about how many calls near the cap were cut: those beyond honest agents'.

    A planted agent's calls near the cap are compared with as many as honest agents
    have of all around it.
    """
    rows = made.summaries["repeats"]
    around = near + rows.ints("rest")
    honest = ~made.gamer[agent]
    usual = near[honest].sum() / max(around[honest].sum(), 1)
    beyond = np.round(near - usual * around).astype(np.int64)
    return np.where(made.gamer[agent], np.clip(beyond, 0, near), 0)


def section(rows: Rows) -> str:
    """Return the page's tables: planted agents found, and honest centres."""
    mine = [row for row in rows if row["cell"]["mode"] == MODE]
    planted = [["Agents who do it (centres)", *WAYS, "lift"]]
    honest = [["Honest differences", *WAYS]]
    groups = by(mine, "gamers", "strength", "agents", "family")
    for (gamers, strength, agents, family), group in groups.items():
        ways = [method(group, way) for way in WAYS]
        if not gamers:
            said = [str(share(each, lambda r: r["false"] > 0)) for each in ways]
            honest.append([f"{family}, {agents} agents", *said])
            continue
        found = [power(each) for each in ways]
        said = [
            f"{percent(p)} / {percent(false_share(each))}"
            for p, each in zip(found, ways, strict=True)
        ]
        lift = f"{found[-1] / found[0]:.1f}" if found[0] else "-"
        name = f"{gamers} of {agents}, strength {percent(strength)} ({len(group)})"
        planted.append([name, *said, lift])
    return "\n\n".join(_table(each) for each in (planted, honest))


def _table(lines: list[list[str]]) -> str:
    rule = ["---"] * len(lines[0])
    return "\n".join(f"| {' | '.join(each)} |" for each in [lines[0], rule, *lines[1:]])
