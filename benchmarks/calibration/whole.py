"""The page's section on whole centres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibration import tally
from calibration.full import DEFAULT
from calibration.tally import Share, percent
from kpiaudit.tables.simulate import LOOKALIKES

if TYPE_CHECKING:
    from calibration.tally import Rows


def section(rows: Rows) -> str:
    """Return what every rule says about whole centres."""
    if not rows:
        return "Not run yet."
    return "\n\n".join((_by_rule(rows), _alike(rows), _planted(rows)))


def _any(row, rule: str = "") -> bool:
    each = row["rules"] if not rule else {rule: row["rules"].get(rule, {})}
    return any(r.get("false", 0) + r.get("other", 0) > 0 for r in each.values())


def _by_rule(rows: Rows) -> str:
    plain = tally.where(rows, mode="honest")
    alike = tally.where(rows, mode=lambda m: m.startswith("alike"))
    rules = sorted({rule for row in rows for rule in row["rules"]})
    lines = [
        "| Rule | Honest centres | Look-alikes | Agents and floors testable |",
        "| --- | --- | --- | --- |",
    ]
    for rule in ("", *rules):
        own = [row["rules"][rule] for row in rows if rule in row["rules"]]
        able = sum(r["testable"] for r in own)
        total = able + sum(r["untestable"] for r in own)
        shares = (
            tally.share(some, lambda row, rule=rule: _any(row, rule))
            for some in (plain, alike)
        )
        lines.append(
            "| "
            + " | ".join(
                [
                    f"`{rule}`" if rule else "**any rule**",
                    *map(str, shares),
                    percent(able / total) if total else "",
                ]
            )
            + " |"
        )
    return "\n".join(lines)


def _alike(rows: Rows) -> str:
    lines = []
    groups = tally.by(tally.where(rows, mode=lambda m: m.startswith("alike")), "mode")
    for (mode,), some in groups.items():
        for rule in sorted({rule for row in some for rule in row["rules"]}):
            got = tally.share(some, lambda row, rule=rule: _any(row, rule))
            if got.k:
                lines.append(f"- `{mode.removeprefix('alike ')}`: `{rule}` in {got}")
    run = {mode.removeprefix("alike ") for (mode,) in groups}
    left = [name for name in LOOKALIKES if name not in run and name != DEFAULT]
    head = f"{len(groups)} look-alikes were run. "
    if left:
        head += f"Not run yet: {', '.join(left)}. "
    if not lines:
        return head + "None of them led to a finding."
    return (
        head
        + "Those that led to a finding, in how many centres:\n\n"
        + "\n".join(lines)
    )


def _planted(rows: Rows) -> str:
    lines = [
        "| Pattern | Planted agents found | Centres with another finding |",
        "| --- | --- | --- |",
    ]
    groups = tally.by(tally.where(rows, mode=lambda m: m.startswith("plant")), "mode")
    for (mode,), some in groups.items():
        rule = mode.removeprefix("plant ")
        own = [row["rules"][rule] for row in some if rule in row["rules"]]
        found = Share(k=sum(r["true"] for r in own), n=sum(r["planted"] for r in own))
        lines.append(
            f"| `{rule}` | {found.k} of {found.n} | {tally.share(some, _any)} |"
        )
    return "\n".join(lines) if groups else "Planted patterns: not run yet."
