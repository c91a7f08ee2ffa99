"""Write docs/accuracy.md from the results."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from math import prod
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from calibration import corroborated, coverage, rivals, run, tally, whole
from calibration.plan import DETECTORS, MODES, SIZES, TRIES
from calibration.tally import percent
from calibration.worlds import FAMILIES
from kpiaudit.evidence.power import ALL_RULES

if TYPE_CHECKING:
    from calibration.tally import Rows

PAGE = Path(__file__).parent.parent.parent / "docs" / "accuracy.md"
PROSE = Path(__file__).parent / "accuracy.md.txt"
_LEVEL_ALONE = ALL_RULES / len(DETECTORS)
TARGET = 0.05
HALF = 0.5
"""Power as a share of the oracle's is given where the oracle finds half or more."""


def write() -> None:
    """Write the page."""
    rows = _newest(list(run.read()))
    counts = tally.where(rows, path="counts")
    parts = {
        "summary": _summary(counts),
        "missed": _missed(counts),
        "counts": _counts(counts),
        "honest": _honest(counts, 0.2),
        "wide": _brief(tally.where(counts, gamers=0, sd=0.3)),
        "together": _together(counts),
        "coverage": _table(*coverage.section(counts)),
        "intervals": _section("intervals.md"),
        "short_of": _short_of(counts),
        "large": _large(counts),
        "power": _power(counts),
        "others_honest": _others_honest(counts),
        "others_power": _others_power(counts),
        "others_slow": _others_slow(counts),
        "corroborated": corroborated.section(counts),
        "whole": whole.section(tally.where(rows, path="full")),
        "evidence": _section("evidence.md"),
        "placebo": _section("placebo.md"),
        "versions": _versions(rows),
    }
    text = Template(PROSE.read_text(encoding="utf-8")).substitute(parts)
    PAGE.write_text(text, encoding="utf-8")
    print(f"{PAGE}: {len(rows)} centres")


def _section(name: str) -> str:
    """Return a section that another benchmark has written."""
    path = Path(__file__).parent / name
    return path.read_text("utf-8").strip() if path.exists() else "Not run yet."


def _newest(rows: Rows) -> Rows:
    """Keep the last result of every cell and seed."""
    return list(
        {(repr(sorted(r["cell"].items())), r["seed"]): r for r in rows}.values()
    )


def _table(head: list[str], body: list[list[str]]) -> str:
    if not body:
        return "Not run yet."
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(rows: Rows) -> tally.Share:
    """Count a cell's alarms; main cells may have ended early."""
    plain = rows[0]["cell"]
    staged = plain["agents"] in (30, 120) and plain["sd"] == 0.2 and not plain["mode"]
    return tally.main(rows) if staged else tally.share(rows, tally.alarmed)


def _together(rows: Rows) -> str:
    """Return how many honest centres get a finding of any of the six rules."""
    lines = []
    for size in SIZES:
        mine = tally.where(rows, gamers=0, sd=0.2, mode="", agents=size)
        cells = [
            tally.share(tally.where(mine, detector=name), tally.alarmed)
            for name in DETECTORS
        ]
        alone = [
            tally.share(tally.where(mine, detector=name), _alone) for name in DETECTORS
        ]
        if all(each.n for each in cells):
            value, upper = (
                1 - prod(1 - getattr(each, which) for each in cells)
                for which in ("value", "upper")
            )
            scan = 1 - prod(1 - each.value for each in alone)
            lines.append(
                f"- {size} agents: {percent(value)}, and {percent(upper)} if every "
                f"rule were at its upper bound; as a scan reads six rules of which "
                f"one shows anything (q ≤ {percent(_LEVEL_ALONE)}): {percent(scan)}"
            )
    return "\n".join(lines) or "Not run yet."


def _alone(row: dict[str, Any]) -> bool:
    """Say whether a centre would get a finding where no other rule shows anything."""
    return float(row.get("smallest_q", 1.0)) <= _LEVEL_ALONE


def _summary(rows: Rows) -> str:
    body = []
    for name in DETECTORS:
        honest = tally.where(
            rows, detector=name, gamers=0, sd=0.2, mode="", agents=SIZES.__contains__
        )
        if not honest:
            body.append([f"`{name}`", "not run", "", "", ""])
            continue
        cells = tally.by(honest, "family", "agents", "mode")
        worst, of = max(
            ((_cell(r), key) for key, r in cells.items()),
            key=lambda pair: (pair[0].value, pair[0].upper),
        )
        tested = sum(r["testable"] for r in honest)
        body.append(
            [
                f"`{name}`",
                f"{worst} {_named(of)}",
                str(tally.share(honest, tally.alarmed)),
                percent(tested / sum(r["cell"]["agents"] for r in honest)),
                f"{sum(r['seconds'] for r in honest) / len(honest):.2f} s",
            ]
        )
    head = [
        "Detector",
        "Worst kind of honest centre",
        "All honest centres",
        "Agents testable",
        "CPU time of a test",
    ]
    return _table(head, body)


def _counts(rows: Rows) -> str:
    lines = []
    for name in DETECTORS:
        mine = tally.where(
            rows, detector=name, gamers=0, sd=0.2, mode="", agents=SIZES.__contains__
        )
        sizes = sorted(
            {len(some) for some in tally.by(mine, "family", "agents").values()}
        )
        if sizes:
            span = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
            lines.append(f"- `{name}`: {span}")
    return "\n".join(lines)


def _named(key: tuple[object, ...]) -> str:
    family, agents, mode = key
    return f"({family}{MODES[str(mode)]}, {agents} agents)"


def _missed(rows: Rows) -> str:
    lines = []
    for (name, family, agents, sd, mode), some in tally.by(
        tally.where(rows, gamers=0, mode=MODES.__contains__),
        "detector",
        "family",
        "agents",
        "sd",
        "mode",
    ).items():
        got = tally.share(some, tally.alarmed)
        if got.value > TARGET:
            lines.append(
                (
                    got.value,
                    f"- `{name}` {_named((family, agents, mode))}, sd {sd}: {got}",
                )
            )
    if not lines:
        return "No kind of honest centre that was run has a share above the target."
    lines.sort(reverse=True)
    return (
        "Above 5 % as measured (with few centres that may be chance; see the "
        "bounds):\n\n" + "\n".join(line for _, line in lines)
    )


def _honest(rows: Rows, sd: float) -> str:
    out = []
    for name in DETECTORS:
        mine = tally.where(rows, detector=name, gamers=0, sd=sd)
        body = []
        for family in FAMILIES:
            for mode, words in MODES.items():
                some = tally.where(mine, family=family, mode=mode)
                if not some:
                    continue
                each = [
                    _cell(own) if own else tally.Share(k=0, n=0)
                    for own in (tally.where(some, agents=n) for n in SIZES)
                ]
                worst = max((s.value for s in each if s.n), default=0.0)
                label = family + words
                body.append((worst, [label, *map(str, each)]))
        body.sort(key=lambda pair: -pair[0])
        for label, modes in (("shapes", {""}), ("efforts", TRIES)):
            some = tally.where(mine, mode=modes.__contains__)
            row = [
                tally.share(tally.where(some, agents=n), tally.alarmed) for n in SIZES
            ]
            if some:
                body.append((0.0, [f"**all {label}**", *map(str, row)]))
        head = ["Honest differences", *(f"{n} agents" for n in SIZES)]
        out.append(f"#### {name}\n\n{_table(head, [line for _, line in body])}")
    return "\n\n".join(out)


def _brief(rows: Rows) -> str:
    """Return one line per detector: all shapes, and the worst."""
    body = []
    for (name,), own in tally.by(rows, "detector").items():
        cells = tally.by(own, "family", "agents", "mode")
        worst, of = max(
            ((tally.share(r, tally.alarmed), key) for key, r in cells.items()),
            key=lambda pair: (pair[0].value, pair[0].upper),
        )
        every = str(tally.share(own, tally.alarmed))
        body.append([f"`{name}`", every, f"{worst} {_named(of)}"])
    return _table(["Detector", "All shapes", "Worst kind"], body)


def _large(rows: Rows) -> str:
    body = [
        [f"`{name}`", family, str(tally.share(some, tally.alarmed))]
        for (name, family), some in tally.by(
            tally.where(rows, gamers=0, agents=1000), "detector", "family"
        ).items()
    ]
    head = ["Detector", "Honest differences", "1,000 agents"]
    return _table(head, body)


def _power(rows: Rows) -> str:
    out = []
    for name in DETECTORS:
        mine = tally.where(rows, detector=name, gamers=lambda g: g > 0, mode="")
        strengths = _strengths(name)
        body = []
        for (agents, gamers), some in tally.by(mine, "agents", "gamers").items():
            line = [f"{gamers} of {agents}"]
            for strength in strengths:
                cell = tally.where(some, strength=strength)
                line.append(_found(cell) if cell else "-")
            body.append(line)
        head = ["Agents who do it", *(f"strength {percent(s)}" for s in strengths)]
        out.append(f"#### {name}\n\n{_table(head, body)}")
    return "\n\n".join(out)


def _found(rows: Rows) -> str:
    """Return power beside the oracle's, wrong findings, the floor's, and n."""
    best = tally.power(_as("oracle", rows))
    parts = [f"{percent(tally.power(rows))} (oracle {percent(best)})"]
    wrong = tally.false_share(rows)
    if wrong:
        parts.append(f"wrong {percent(wrong)}")
    floor = sum(row["other"] > 0 for row in rows)
    if floor:
        parts.append(f"floor in {floor}")
    planted = sum(row["planted"] for row in rows)
    missing = planted - sum(row["planted_testable"] for row in rows)
    if missing:
        parts.append(f"untestable {percent(missing / planted)}")
    return ", ".join([*parts, f"n = {len(rows)}"])


def _strengths(name: str) -> tuple[float, ...]:
    module = import_module(f"calibration.{name.replace('-', '_')}")
    return tuple(module.STRENGTHS)


_WORDS = {
    "kpiaudit": "kpiaudit",
    "binomial": "binomial test with Benjamini-Hochberg",
    "z3": "z-score above 3",
    "funnel": "funnel plot with overdispersion",
    "oracle": "oracle",
    "rddensity": "rddensity per agent",
    "forest": "isolation forest",
}


def _as(name: str, rows: Rows) -> Rows:
    return rows if name == "kpiaudit" else tally.method(rows, name)


def _others_honest(rows: Rows) -> str:
    out = []
    names = ("kpiaudit", *rivals.NAMES)
    for detector in ("short-calls", "duration-cap"):
        mine = tally.where(rows, detector=detector, gamers=0, mode="")
        body = []
        for sd in (0.2, 0.3):
            for n in SIZES:
                some = tally.where(mine, agents=n, sd=sd)
                if some:
                    shares = [
                        tally.share(_as(m, some), tally.alarmed).value for m in names
                    ]
                    body.append([f"{n}, sd {sd} ({len(some)})", *map(percent, shares)])
        head = ["Agents (honest centres)", *(_WORDS[m] for m in names)]
        out.append(f"#### {detector}\n\n{_table(head, body)}")
    return "\n\n".join(out)


def _others_power(rows: Rows) -> str:
    out = []
    names = ("kpiaudit", *rivals.NAMES)
    for detector in ("short-calls", "duration-cap"):
        mine = tally.where(
            rows, detector=detector, gamers=lambda g: g > 0, mode="", agents=30
        )
        mine = [row for row in mine if "others" in row]
        body = [
            [
                f"{gamers} of 30, {percent(strength)} ({len(some)})",
                *(
                    f"{percent(tally.power(_as(m, some)))} / "
                    f"{percent(tally.false_share(_as(m, some)))}"
                    for m in names
                ),
            ]
            for (gamers, strength), some in tally.by(mine, "gamers", "strength").items()
        ]
        head = ["Who, strength (centres)", *(_WORDS[m] for m in names)]
        out.append(f"#### {detector}\n\n{_table(head, body)}")
    return "\n\n".join(out)


def _short_of(rows: Rows) -> str:
    """Return where power stays below nine tenths of an oracle that finds half."""
    body = []
    some = tally.where(rows, gamers=lambda g: g > 0, mode="")
    some = [row for row in some if "oracle" in row.get("others", {})]
    cells = tally.by(some, "detector", "agents", "gamers", "strength")
    able = whole = 0
    for (name, agents, gamers, strength), own in cells.items():
        best, found = tally.power(_as("oracle", own)), tally.power(own)
        if best < HALF:
            continue
        able += 1
        told = sum(row["other"] > 0 for row in own)
        if agents == gamers and told >= 0.9 * len(own):
            whole += 1  # nobody can stand out from peers: the floor is the answer
        elif found < 0.9 * best:
            who = f"{gamers} of {agents}, {percent(strength)}"
            body.append([f"`{name}`", who, percent(found / best), _floor_in(own)])
    head = ["Detector", "Who, strength", "Found, of the oracle's", "Floor reported in"]
    return (
        f"The oracle finds half or more in {able} kinds of centre. In {whole} of them "
        "everybody does it and the floor is reported in nine of ten centres or more. "
        "In "
        f"{len(body)} others a test finds less than nine tenths of the oracle's:\n\n"
        f"{_table(head, body)}"
    )


def _floor_in(rows: Rows) -> str:
    return f"{sum(row['other'] > 0 for row in rows)} of {len(rows)} centres"


def _others_slow(rows: Rows) -> str:
    names = ("kpiaudit", "rddensity", "forest", "oracle")
    mine = tally.where(rows, detector="duration-cap", mode="rivals")
    body = []
    for (gamers, strength), some in tally.by(mine, "gamers", "strength").items():
        each = [_as(m, some) for m in names]
        if gamers:
            label = f"3 of 30, strength {percent(strength)} ({len(some)})"
            cells = [
                f"{percent(tally.power(r))} / {percent(tally.false_share(r))}"
                for r in each
            ]
        else:
            label = f"nobody: centres with anybody flagged ({len(some)})"
            cells = [percent(tally.share(r, tally.alarmed).value) for r in each]
        body.append([label, *cells])
    head = ["Agents who do it (centres)", *(_WORDS[m] for m in names)]
    return _table(head, body)


def _versions(rows: Rows) -> str:
    lines = []
    for (name,), some in tally.by(rows, "detector").items():
        seen = Counter(row["version"] for row in some)
        each = ", ".join(f"{v} ({n})" for v, n in seen.most_common())
        lines.append(f"- {name}: {each}")
    return "\n".join(lines)
