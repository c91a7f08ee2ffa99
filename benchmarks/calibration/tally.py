"""Results to figures: shares with bounds, per cell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import beta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Share:
    """So many of so many."""

    k: int
    n: int

    @property
    def value(self) -> float:
        """Return the share; nan of nothing."""
        return self.k / self.n if self.n else float("nan")

    @property
    def upper(self) -> float:
        """Return the upper end of the one-sided 95 % interval.

        Clopper & Pearson (1934), Biometrika 26, 404-413.
        """
        if self.k >= self.n:
            return 1.0
        return float(beta.ppf(0.95, self.k + 1, self.n - self.k))

    def __str__(self) -> str:
        """Return `k of n (<= bound)`."""
        return f"{self.k} of {self.n} (≤ {percent(self.upper)})" if self.n else "-"


def percent(value: float) -> str:
    """Return a share as text; a dash for nan."""
    if np.isnan(value):
        return "-"
    return f"{100 * value:.1f} %" if value < 0.1 else f"{100 * value:.0f} %"


def by(rows: Iterable[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], Rows]:
    """Group results by settings of their cells, sorted."""
    out: dict[tuple[Any, ...], Rows] = defaultdict(list)
    for row in rows:
        out[tuple(row["cell"][name] for name in names)].append(row)
    return dict(sorted(out.items()))


def where(rows: Rows, **settings: Any) -> Rows:
    """Keep results whose cell has these settings; a function is asked."""

    def fits(row: dict[str, Any]) -> bool:
        return all(
            test(row["cell"][name]) if callable(test) else row["cell"][name] == test
            for name, test in settings.items()
        )

    return [row for row in rows if fits(row)]


def share(rows: Rows, test: Callable[[dict[str, Any]], bool]) -> Share:
    """Count the results that pass a test."""
    return Share(k=sum(bool(test(row)) for row in rows), n=len(rows))


def alarmed(row: dict[str, Any]) -> bool:
    """Say whether an honest centre has any finding, of whatever kind."""
    return row["false"] + row["other"] > 0


def power(rows: Rows) -> float:
    """Return planted agents found, of all planted ones."""
    return sum(r["true"] for r in rows) / max(sum(r["planted"] for r in rows), 1)


def false_share(rows: Rows) -> float:
    """Return the mean share of wrong ones among each centre's agent findings."""
    return float(np.mean([r["false"] / max(r["false"] + r["true"], 1) for r in rows]))


def method(rows: Rows, name: str) -> Rows:
    """Return results as if another method had given them; without it if unknown."""
    return [
        row
        | {"true": row["others"][name][0], "false": row["others"][name][1], "other": 0}
        for row in rows
        if name in row.get("others", {})
    ]
