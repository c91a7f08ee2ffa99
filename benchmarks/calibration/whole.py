"""The page's section on whole centres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibration import tally
from calibration.full import FALSE
from calibration.tally import Share, percent
from kpiaudit.tables.simulate import PATTERNS

if TYPE_CHECKING:
    from calibration.tally import Rows


def section(rows: Rows) -> str:
    """Return what every rule says about whole centres."""
    if not rows:
        return "Not run yet."
    return "\n\n".join((_by_rule(rows), _planted(rows)))


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
        own = [row["rules"][rule] for row in rows if rule in row["rules"]]
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
        "| Pattern | "
        + " | ".join(f"{percent(f)} hidden" for f in FALSE)
        + " | Centres with another finding |",
        "| --- |" + " --- |" * (len(FALSE) + 1),
    ]
    for name in PATTERNS:
        groups = [tally.where(rows, mode=f"plant {name} {false}") for false in FALSE]
        found = [_found(some, name) for some in groups]
        every = [row for some in groups for row in some]
        lines.append(
            f"| `{name}` | "
            + " | ".join(f"{f.k} of {f.n}" for f in found)
            + f" | {tally.share(every, _any)} |"
        )
    return "\n".join(lines)


def _found(rows: Rows, rule: str) -> Share:
    own = [row["rules"][rule] for row in rows if rule in row["rules"]]
    return Share(k=sum(r["true"] for r in own), n=sum(r["planted"] for r in own))
