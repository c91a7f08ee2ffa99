"""An oracle for detectors that ask several questions: it knows every distribution.

Thousands of honest agents and of agents with the planted pattern at its true strength
are simulated. What a detector would count of each becomes a few figures; the oracle
takes the ratio of the two densities of those figures, normal ones fitted to each side,
full-timers and part-timers apart. How often honest agents reach a ratio is counted, so
its p-values hold whatever the fit is worth. No test of an export can know as much: not
how honest agents differ, nor how strong the pattern is, nor how it shows.

Source:
    Neyman & Pearson (1933), Phil. Trans. R. Soc. A 231, 289-337 (the ratio is the best
    test between two known distributions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.stats.multiplicity import q_values

if TYPE_CHECKING:
    from calibration.worlds import Cell, Made

LEVEL = 0.05
_HONEST, _PLANTED = 6000, 2000
_FULL_TIME = 0.75
"""Share of the busiest agents' work from which an agent counts as a full-timer."""


def flags(made: Made, cell: Cell) -> np.ndarray:
    """Return whom the oracle flags, shape (n_agents,); nobody without a pattern."""
    figures, work = _figures(made)
    strength = cell.strength or _strengths(cell.detector)[-1]
    p = _known(replace(cell, gamers=0, strength=strength, agents=0)).p_values(
        figures, work
    )
    return q_values(p) <= LEVEL


@dataclass(frozen=True, kw_only=True)
class _Half:
    """Full-timers or part-timers: both densities, and honest agents' ratios, sorted."""

    honest: tuple[np.ndarray, np.ndarray]
    planted: tuple[np.ndarray, np.ndarray]
    ratios: np.ndarray

    @classmethod
    def of(cls, honest: np.ndarray, planted: np.ndarray) -> _Half:
        sides = _normal(honest), _normal(planted)
        ratios = _log_density(honest, sides[1]) - _log_density(honest, sides[0])
        return cls(honest=sides[0], planted=sides[1], ratios=np.sort(ratios))

    def p_values(self, figures: np.ndarray) -> np.ndarray:
        """Return the share of honest agents with such a ratio or a larger one."""
        mine = _log_density(figures, self.planted) - _log_density(figures, self.honest)
        above = len(self.ratios) - np.searchsorted(self.ratios, mine, side="left")
        return (above + 1) / (len(self.ratios) + 1)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What the oracle knows of one kind of centre."""

    full: _Half
    part: _Half
    bar: float

    def p_values(self, figures: np.ndarray, work: np.ndarray) -> np.ndarray:
        full = work >= self.bar
        out = np.empty(len(work))
        out[full] = self.full.p_values(figures[full])
        out[~full] = self.part.p_values(figures[~full])
        return out


@lru_cache
def _known(kind: Cell) -> _Known:
    make = import_module(f"calibration.{kind.detector.replace('-', '_')}").make
    cells = (
        replace(kind, agents=_HONEST, strength=0.0),
        replace(kind, agents=_PLANTED, gamers=_PLANTED),
    )
    (honest, h_work), (planted, p_work) = (
        _figures(make(cell, cell.rng(10_000_000))) for cell in cells
    )
    bar = _FULL_TIME * float(np.median(h_work[h_work >= np.median(h_work)]))
    halves = (
        _Half.of(honest[test(h_work)], planted[test(p_work)])
        for test in (lambda w: w >= bar, lambda w: w < bar)
    )
    return _Known(full=next(halves), part=next(halves), bar=bar)


def _normal(figures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spread = np.cov(figures, rowvar=False) + 1e-9 * np.eye(figures.shape[1])
    return figures.mean(axis=0), spread


def _log_density(figures: np.ndarray, side: tuple[np.ndarray, np.ndarray]):
    gap = figures - side[0]
    _, log_size = np.linalg.slogdet(side[1])
    return -0.5 * (np.sum(gap * np.linalg.solve(side[1], gap.T).T, axis=1) + log_size)


def _strengths(detector: str) -> tuple[float, ...]:
    return import_module(f"calibration.{detector.replace('-', '_')}").STRENGTHS


def _figures(made: Made) -> tuple[np.ndarray, np.ndarray]:
    """Return figures, shape (n_agents, n_figures), and how much each agent worked."""
    name = made.detector.id
    total = _Totals(made, "counts" if name == "perfect-scores" else "cells")
    if name == "perfect-scores":
        work = total["answers"]
        pairs = [("top", "answers"), ("fast_top", "top"), ("owned_top", "top")]
        columns = [total.share(*pair) for pair in (*pairs, ("gift_top", "top"))]
    elif name == "survey-selection":
        work = total["contacts"]
        columns = [total.gap(sign, "invited", "contacts") for sign in _SIGNS]
    else:
        all_of, event = {
            "early-closure": ("due", "bounced"),
            "premature-ready": ("orders", "long"),
        }[name]
        work = total[all_of]
        near = total.share("near", "open_late")
        columns = [near, total.rest(f"near_{event}", "near_known", event, "known")]
    return np.column_stack(columns), work


_SIGNS = ("complained", "repeat", "flagged")


class _Totals:
    """Counts per agent, and shares of them on a scale of equal variance."""

    def __init__(self, made: Made, table: str) -> None:
        self.rows = made.summaries[table]
        self.ids = made.ids.astype(str)
        self.agent = np.searchsorted(self.ids, self.rows["agent_id"].astype(str))

    def __getitem__(self, name: str) -> np.ndarray:
        each = self.rows.floats(name)
        return np.bincount(self.agent, weights=each, minlength=len(self.ids))

    def share(self, events: str, trials: str) -> np.ndarray:
        return _scaled(self[events], self[trials])

    def gap(self, sign: str, events: str, trials: str) -> np.ndarray:
        """Return the share among contacts with a sign less that among the others."""
        k, n = self[f"{sign}_{events}"], self[sign]
        return _scaled(k, n) - _scaled(self[events] - k, self[trials] - n)

    def rest(self, events: str, trials: str, all_events: str, all_trials: str):
        """Return the share among some less that among the rest."""
        k, n = self[events], self[trials]
        return _scaled(k, n) - _scaled(self[all_events] - k, self[all_trials] - n)


def _scaled(events: np.ndarray, trials: np.ndarray) -> np.ndarray:
    return np.arcsin(np.sqrt((events + 0.375) / (trials + 0.75)))
