"""Many flagged agents under one team: a finding about the team as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen
from kpiaudit.stats import multiplicity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.stats.outcome import FloatArray

MIN_FLAGGED = 3
CLUSTERED = 0.01
"""Largest chance that flagged agents fall so unevenly on teams by themselves."""


@frozen
class Cluster:
    """A team in which flagged agents pile up.

    Args:
        team: Its id.
        flagged: Positions of its flagged agents.
        tested: Its agents with enough data.
        p_value: That none of its agents shows the pattern (Simes).
        q_value: The same, adjusted for the number of teams.
        chance: That flagged agents pile up so by themselves (hypergeometric).
    """

    team: str
    flagged: tuple[int, ...]
    tested: int
    p_value: float
    q_value: float
    chance: float


def clusters(
    p_value: FloatArray, flagged: set[int], team_of: Mapping[int, str]
) -> tuple[Cluster, ...]:
    """Find the teams in which flagged agents pile up.

    Nothing new is tested here: only agents that are findings already count, so a team
    finding never appears in a scan that has no finding without it.

    Args:
        p_value: Of all agents, shape (n_agents,); nan where untestable.
        flagged: Positions of the agents with a finding.
        team_of: Team by position; agents without one are left out.

    Returns:
        Clusters, sorted by team.
    """
    members: dict[str, list[int]] = {}
    for index, team in team_of.items():
        if not np.isnan(p_value[index]):
            members.setdefault(team, []).append(index)
    teams = sorted(members)
    if len(teams) < 2:
        return ()
    together = np.array([multiplicity.simes(p_value[members[t]]) for t in teams])
    adjusted = multiplicity.q_values(together)
    total = sum(len(m) for m in members.values())
    hits = sum(1 for m in members.values() for i in m if i in flagged)
    found = []
    for position, team in enumerate(teams):
        own = tuple(i for i in members[team] if i in flagged)
        if len(own) < MIN_FLAGGED:
            continue
        chance = _hypergeometric_tail(len(own), len(members[team]), hits, total)
        if chance <= CLUSTERED:
            found.append(
                Cluster(
                    team=team,
                    flagged=own,
                    tested=len(members[team]),
                    p_value=float(together[position]),
                    q_value=float(adjusted[position]),
                    chance=chance,
                )
            )
    return tuple(found)


def _hypergeometric_tail(k: int, size: int, hits: int, total: int) -> float:
    """Return P(at least k of `hits` fall on a team of `size` among `total`)."""

    def log_choose(n: FloatArray | float, r: FloatArray | float) -> FloatArray:
        top = np.asarray(n, dtype=np.float64)
        low = np.asarray(r, dtype=np.float64)
        value: FloatArray = (
            sp.special.gammaln(top + 1)
            - sp.special.gammaln(low + 1)
            - sp.special.gammaln(top - low + 1)
        )
        return value

    ks = np.arange(k, min(size, hits) + 1, dtype=np.float64)
    ks = ks[hits - ks <= total - size]
    logs = (
        log_choose(size, ks)
        + log_choose(total - size, hits - ks)
        - log_choose(total, hits)
    )
    return float(min(np.exp(logs).sum(), 1.0))
