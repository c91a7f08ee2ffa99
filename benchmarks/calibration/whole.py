"""The page's section on whole centres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evidence import LOOKALIKES

from calibration import tally
from calibration.full import FALSE
from calibration.tally import Share, percent
from kpiaudit.tables.simulate import PATTERNS

if TYPE_CHECKING:
    from calibration.tally import Rows


_ALIKE = (
    "One innocent mechanism alone, 12 agents and 35 days, with the rules that could "
    "take it for a pattern; *without the ledger* adds what was set aside because the "
    "data show an innocent explanation:"
)


def section(rows: Rows) -> str:
    """Return what every rule says about whole centres."""
    if not rows:
        return "Not run yet."
    return "\n\n".join((_by_rule(rows), _planted(rows), _alike(rows)))


def _alike(rows: Rows) -> str:
    """Return findings where one innocent mechanism is at work, and nothing else."""
    lines = [
        _ALIKE,
        "",
        "| Mechanism | Centres with a finding | Findings | Without the ledger |",
        "| --- | --- | --- | --- |",
    ]
    for name in ("", *LOOKALIKES):
        test = f"alike {name}" if name else _is_alike
        own = tally.where(rows, mode=test)
        if not own:
            continue
        found = sum(r["false"] + r["other"] for o in own for r in o["rules"].values())
        label = f"`{name}`" if name else "**all**"
        without = found + sum(row["withdrawn"] for row in own)
        lines.append(f"| {label} | {tally.share(own, _any)} | {found} | {without} |")
    return "\n".join(lines)


def _is_alike(mode: str) -> bool:
    return mode.startswith("alike ")


def _any(row, rule: str = "") -> bool:
    each = row["rules"] if not rule else {rule: row["rules"].get(rule, {})}
    return any(r.get("false", 0) + r.get("other", 0) > 0 for r in each.values())


def _by_rule(rows: Rows) -> str:
    plain = tally.where(rows, mode="honest")
    rules = sorted({rule for row in rows for rule in row["rules"]})
    lines = [
        "| Rule | Honest centres with a finding | Agents and floors testable |",
        "| --- | --- | --- |",
    ]
    for rule in ("", *rules):
        own = [row["rules"][rule] for row in plain if rule in row["rules"]]
        able = sum(r["testable"] for r in own)
        total = able + sum(r["untestable"] for r in own)
        got = tally.share(plain, lambda row, rule=rule: _any(row, rule))
        name = f"`{rule}`" if rule else "**any rule**"
        lines.append(f"| {name} | {got} | {percent(able / total) if total else ''} |")
    return "\n".join(lines)


def _planted(rows: Rows) -> str:
    lines = [
        "Planted agents found, by how often the fields that agents write hide it:",
        "",
        "| Pattern, share of what is gamed | "
        + " | ".join(f"{percent(f)} hidden" for f in FALSE)
        + " | Centres with another finding |",
        "| --- |" + " --- |" * (len(FALSE) + 1),
    ]
    for name in PATTERNS:
        groups = [tally.where(rows, mode=f"plant {name} {false}") for false in FALSE]
        found = [_found(some, name) for some in groups]
        every = [row for some in groups for row in some]
        strengths = sorted({row["cell"]["strength"] for row in every})
        of = " or ".join(percent(s) for s in strengths)
        lines.append(
            f"| `{name}`, {of} | "
            + " | ".join(f"{f.k} of {f.n}" for f in found)
            + f" | {tally.share(every, _any)} |"
        )
    return "\n".join(lines)


def _found(rows: Rows, rule: str) -> Share:
    own = [row["rules"][rule] for row in rows if rule in row["rules"]]
    return Share(k=sum(r["true"] for r in own), n=sum(r["planted"] for r in own))
