"""Which cells are run, and how many centres of each."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from calibration.tally import LOOKS
from calibration.worlds import EFFORT, FAMILIES, Cell

DETECTORS = (
    "short-calls",
    "duration-cap",
    "survey-selection",
    "early-closure",
    "premature-ready",
    "perfect-scores",
)
PARTS = ("honest", "effort", "wide", "large", "power", "rivals", "corroborated", "full")
SIZES = (8, 30, 120)
TRIES = {
    f"{EFFORT} {share} {of}": f", effort: {share} % of late work at {of} % of agents"
    for share in (10, 30, 60)
    for of in (10, 25, 50, 100)
}
"""Honest centres in which late work is brought in just in time, and well done."""
MODES = {
    "": "",
    "search": ", cap looked for",
    "level": ", no habit near the promise",
    "excellent": ", one in three is excellent",
    **TRIES,
}
"""Variants of honest centres, and how the page calls them."""


def cells(
    detectors: list[str],
    parts: tuple[str, ...] | list[str],
    *,
    quick: bool,
    families: list[str] | None = None,
) -> dict[str, list[tuple[Cell, int]]]:
    """Return cells with the number of centres wanted of each, by detector and part."""
    out = {
        f"{name} {part}": [
            (cell, min(wanted, 3) if quick else wanted)
            for cell, wanted in _PLANS[part](name)
            if not families or cell.family in families
        ]
        for name in detectors or DETECTORS
        for part in parts
        if part != "full"
    }
    if "full" in parts and not detectors:
        from calibration import full  # noqa: PLC0415 - polars is slow to import

        for group, some in full.groups().items():
            out[f"{group} full"] = [(c, 1 if quick else n) for c, n in some]
    return out


def _honest(name: str) -> list[tuple[Cell, int]]:
    """Return the main cells: up to 250 centres, ended early as `tally.ended` says."""
    found = [
        (Cell(detector=name, agents=size, family=family), LOOKS[-1])
        for family in FAMILIES
        for size in (30, 120)
    ]
    return found + [
        (Cell(detector=name, agents=8, family=family), 60) for family in FAMILIES
    ]


def _wide(name: str) -> list[tuple[Cell, int]]:
    """Return centres whose agents differ more, and variants of one detector."""
    found = [
        # Novices are the hardest: three standard deviations off in everything.
        (
            Cell(detector=name, agents=size, family=family, sd=0.3),
            100 if family == "novices" else 25,
        )
        for family in FAMILIES
        for size in (30, 120)
    ]
    if name == "duration-cap":
        found += [(Cell(detector=name, agents=s, mode="search"), 60) for s in SIZES]
    if name == "perfect-scores":
        found += [(Cell(detector=name, agents=s, mode="excellent"), 20) for s in SIZES]
    if name == "premature-ready":
        found += [
            (Cell(detector=name, agents=s, family=f, mode="level"), 40)
            for f in ("novices", "heavy", "skewed")
            for s in (30, 120)
        ]
    return found


def _effort(name: str) -> list[tuple[Cell, int]]:
    """Return centres where the first of two questions is answered by honest effort."""
    if name not in {"early-closure", "premature-ready"}:
        return []
    return [
        (Cell(detector=name, agents=size, mode=mode), 40)
        for mode in TRIES
        for size in SIZES
    ]


def _large(name: str) -> list[tuple[Cell, int]]:
    families = ("normal", "heavy", "skewed")
    return [(Cell(detector=name, agents=1000, family=f), 20) for f in families]


GAMERS = ((8, 1), (30, 1), (30, 12), (30, 30), (120, 6), (120, 48), (120, 1), (8, 8))
"""Agents and how many of them do it: one, about one in twenty, 40 %, all."""


def _power(name: str) -> list[tuple[Cell, int]]:
    return [
        (Cell(detector=name, agents=size, gamers=gamers, strength=strength), 20)
        for size, gamers in GAMERS
        for strength in _strengths(name)
    ]


def _rivals(name: str) -> list[tuple[Cell, int]]:
    """Return the centres that methods for single calls are tried on as well."""
    if name != "duration-cap":
        return []
    missing = [m for m in ("pyod", "rddensity") if find_spec(m) is None]
    if missing:
        print(f"no rivals: pip install {' '.join(missing)}")
        return []
    some = [Cell(detector=name, agents=30, mode="rivals")]
    some += [
        Cell(detector=name, agents=30, gamers=3, strength=strength, mode="rivals")
        for strength in _strengths(name)
    ]
    return [(cell, 20) for cell in some]


def _corroborated(name: str) -> list[tuple[Cell, int]]:
    """Return centres in which other sources are asked, see that module."""
    if name != "duration-cap":
        return []
    return import_module("calibration.corroborated").cells()


def _strengths(name: str) -> tuple[float, ...]:
    module = import_module(f"calibration.{name.replace('-', '_')}")
    return tuple(module.STRENGTHS)


_PLANS = {
    "honest": _honest,
    "effort": _effort,
    "wide": _wide,
    "large": _large,
    "power": _power,
    "rivals": _rivals,
    "corroborated": _corroborated,
}
