"""Results to figures: shares with bounds, per cell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, binom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Rows = list[dict[str, Any]]
LOOKS = (100, 150, 200, 250)
"""Numbers of centres at which a cell of the main table may end."""
ENOUGH = 0.06
"""It ends where the usual upper bound is no higher than this."""


@cache
def _most(n: int) -> int:
    """Return the most findings in n centres with which a cell ends; -1 without."""
    k = -1
    while k + 1 < n and beta.ppf(0.95, k + 2, n - k - 1) <= ENOUGH:
        k += 1
    return k


def ended(known: dict[int, bool], seed: int) -> bool:
    """Say whether a cell had ended before this centre of it, the seeds before known."""
    return any(
        n <= seed
        and all(i in known for i in range(n))
        and sum(known[i] for i in range(n)) <= _most(n)
        for n in LOOKS
    )


def _so_small(p: float, k: int, n: int) -> float:
    """Return the chance to end earlier, or to have k findings or fewer in n centres.

    Ends at a look where the findings are few enough; earlier ends count as smaller.
    """
    open_ways = np.ones(1)
    at, out = 0, 0.0
    for look in (*(m for m in LOOKS if m < n), n):
        step = binom.pmf(np.arange(look - at + 1), look - at, p)
        open_ways = np.convolve(open_ways, step)
        most = k if look == n else _most(look)
        out += float(open_ways[: most + 1].sum())
        open_ways[: most + 1] = 0.0
        at = look
    return out


@dataclass(frozen=True, kw_only=True)
class Share:
    """So many of so many."""

    k: int
    n: int
    staged: bool = False

    @property
    def value(self) -> float:
        """Return the share; nan of nothing."""
        return self.k / self.n if self.n else float("nan")

    @property
    def upper(self) -> float:
        """Return the upper end of the one-sided 95 % interval.

        Clopper & Pearson (1934), Biometrika 26, 404-413; where a cell may have ended
        early, with outcomes ordered by stage: Jennison & Turnbull (1983),
        Technometrics 25, 49-58.
        """
        if self.k >= self.n:
            return 1.0
        if self.staged and self.n > LOOKS[0]:
            return float(brentq(lambda p: _so_small(p, self.k, self.n) - 0.05, 0, 1))
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


def share(
    rows: Rows, test: Callable[[dict[str, Any]], bool], *, staged: bool = False
) -> Share:
    """Count the results that pass a test; `staged` where a cell may end early."""
    return Share(k=sum(bool(test(row)) for row in rows), n=len(rows), staged=staged)


def main(rows: Rows) -> Share:
    """Count alarmed centres of one main cell, up to the look at which it ended."""
    rows = sorted(rows, key=lambda row: row["seed"])
    for n in LOOKS:
        some = share(rows[:n], alarmed)
        if some.n == n and some.k <= _most(n):
            return Share(k=some.k, n=n, staged=True)
    return share(rows, alarmed, staged=True)


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
