"""What followed flagged records, against what would follow innocent ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kpiaudit.stats.outcome import FloatArray, IntArray

MIN_PEERS = 5
"""Fewer peers than this can't say how much honest ones differ."""

_PRIOR = 20.0
"""Records with which a thin stratum leans on the wider one."""
_ODDS = np.array([1.25, 1.5, 2.0, 3.0, 4.0, 6.0])
"""Odds, against the innocent ones, between which the e-value spreads its bets."""
_USUAL = 0.09
"""Relative variance of honest agents' rates where peers can't show it: sd 0.3."""
_SKEWED = 2.0
"""Honest differences may have a long tail: the e-value must also hold up against a
spread with this many times the variance,"""
_MOST = 20.0
"""and is cut here: no source by itself says more than twenty to one."""
_KEPT_BACK = 0.5
"""Part of every bet that is not staked when e-values weigh p-values."""
MOST_WEIGHT = _KEPT_BACK + (1.0 - _KEPT_BACK) * _MOST
"""By more than this no p-value is ever divided."""
_GRID = (np.arange(100) + 0.5) / 100


@frozen
class Innocent:
    """Share of records followed by something, were the innocent explanation true.

    Args:
        rate: Expected share, in (0, 1).
        weight: Records that a subject's honest share is worth: the beta distribution
            around `rate` holds the spread between honest agents and the error with
            which the peers' own records show it; > 0.
        events: Events among the innocent records.
        records: Innocent records.
    """

    rate: float
    weight: float
    events: float
    records: float


@frozen
class Contrast:
    """How much more often something followed than innocent explanations would have it.

    Args:
        difference: Share among the subject's records less the innocent share.
        low: Lower end of its 95 % interval.
        high: Upper end.
        p_value: That honest records show as many, one-sided.
        e_value: Bet against honesty: at most 1 on average if it is true.
        ratio: Share among the subject's records over the innocent share; nan if that
            is nil.
        ratio_low: Lower end of its 95 % interval.
        ratio_high: Upper end.
    """

    difference: float
    low: float
    high: float
    p_value: float
    e_value: float
    ratio: float
    ratio_low: float
    ratio_high: float


def innocent(
    *,
    stratum: Sequence[IntArray],
    peer: IntArray,
    events: FloatArray,
    records: FloatArray,
    mine: Sequence[IntArray],
    size: FloatArray,
    members: int = 1,
) -> Innocent | None:
    """Learn from peers' equivalent records what honest ones would be followed by.

    The peers' rates are taken stratum by stratum, each leaning on the next wider one,
    and averaged over the subject's own mix. Peers differ by more than chance; that
    spread, with room for not knowing it well, and the error of the peers' own rates
    are held in the weight.

    Args:
        stratum: Number, from 0, of the stratum of each of the peers' cells, an array of
            shape (n,) per level, widest first.
        peer: Number of the peer of each cell, from 0, shape (n,).
        events: Events per cell.
        records: Records per cell.
        mine: Stratum of the subject's cells, an array of shape (m,) per level.
        size: The subject's records per cell, shape (m,).
        members: Agents whom the subject consists of; their spread averages out.

    Returns:
        The honest share, or None if there are too few peers or records.

    Source:
        DerSimonian & Laird (1986), Controlled Clinical Trials 7:177-188 (spread by
        moments); indirect standardisation: Breslow & Day (1987), IARC Sci. Publ. 82.
    """
    peers = Peers.of(stratum=stratum, peer=peer, events=events, records=records)
    if peers is None:
        return None
    return peers.innocent(mine=mine, size=size, members=members)


@frozen
class Peers:
    """What peers' equivalent records say, whoever's own mix it is asked for.

    Args:
        events: All events.
        records: All records, > 0.
        strata: Events and records by number of the stratum, a pair per level.
        had: Events per peer, shape (n_peers,).
        due: What the peer's strata lead to expect, shape (n_peers,).
    """

    events: float
    records: float
    strata: tuple[tuple[FloatArray, FloatArray], ...]
    had: FloatArray
    due: FloatArray

    @classmethod
    def of(
        cls,
        *,
        stratum: Sequence[IntArray],
        peer: IntArray,
        events: FloatArray,
        records: FloatArray,
    ) -> Peers | None:
        """Add up the peers' cells, as `innocent` takes them; None if they are few."""
        total, n = float(events.sum()), float(records.sum())
        keep = records > 0
        at = peer[keep]
        there = np.bincount(at) > 0
        if int(there.sum()) < MIN_PEERS or n <= 0:
            return None
        theirs = np.full(len(peer), (total + 0.5) / (n + 1.0))
        strata = []
        for level in stratum:
            k = np.bincount(level, weights=events).astype(np.float64)
            m = np.bincount(level, weights=records).astype(np.float64)
            theirs = (k[level] + _PRIOR * theirs) / (m[level] + _PRIOR)
            strata.append((k, m))
        had, due = (
            np.bincount(at, weights=each[keep])[there].astype(np.float64)
            for each in (events, records * theirs)
        )
        return cls(events=total, records=n, strata=tuple(strata), had=had, due=due)

    def innocent(
        self, *, mine: Sequence[IntArray], size: FloatArray, members: int = 1
    ) -> Innocent | None:
        """Return the honest share at a subject's own mix; None without records."""
        if size.sum() <= 0:
            return None
        ours = np.full(len(size), (self.events + 0.5) / (self.records + 1.0))
        for (k, m), own in zip(self.strata, mine, strict=True):
            ours = (_at(k, own) + _PRIOR * ours) / (_at(m, own) + _PRIOR)
        rate = float(np.clip((ours * size).sum() / size.sum(), 1e-6, 1 - 1e-6))
        spread = _spread(self.had, self.due, rate)
        variance = rate**2 * spread * (1 / members + 1 / len(self.had))
        variance += rate * (1 - rate) / self.records
        weight = max(rate * (1 - rate) / variance - 1.0, 0.5)
        return Innocent(
            rate=rate, weight=weight, events=self.events, records=self.records
        )


def _at(sums: FloatArray, stratum: IntArray) -> FloatArray:
    """Return the sums of strata; nil where the peers have none of it."""
    there = stratum < len(sums)
    return np.where(there, sums[np.where(there, stratum, 0)], 0.0)


def _spread(had: FloatArray, due: FloatArray, rate: float) -> float:
    """Return the relative variance between peers, with one standard error on top.

    What the peers show and what is usual are weighted by how well each is known.
    """
    square = float((due**2).sum())
    noise = due * (1 - rate)
    excess = float(((had - due) ** 2 - noise).sum()) / square
    relative = max(excess, _USUAL)
    variance = 2 * ((noise + relative * due**2) ** 2).sum() + noise.sum()
    precision = square**2 / max(float(variance), 1e-12)
    usual = 1.0 / _USUAL**2
    known = (max(excess, 0.0) * precision + _USUAL * usual) / (precision + usual)
    return float(known + np.sqrt(1.0 / (precision + usual)))


def contrast(events: float, records: float, honest: Innocent) -> Contrast:
    """Hold a subject's records against the honest share.

    Args:
        events: Events among the subject's records.
        records: The subject's records, > 0.
        honest: From `innocent`.

    Source:
        Skellam (1948), JRSS B 10:257-261 (the beta-binomial distribution).
    """
    rate, weight = honest.rate, honest.weight
    own = sp.special.betaincinv(events + 0.5, records - events + 0.5, _GRID)
    theirs = sp.special.betaincinv(rate * weight, (1 - rate) * weight, _GRID)
    low, high = np.quantile(np.subtract.outer(own, theirs), [0.025, 0.975])
    ratios = np.divide.outer(own, np.maximum(theirs, 1e-9))
    ratio_low, ratio_high = np.quantile(ratios, [0.025, 0.975])
    share = events / records
    return Contrast(
        difference=share - rate,
        low=float(low),
        high=float(high),
        p_value=tail(events, records, honest),
        e_value=bet(events, records, honest),
        ratio=share / rate if rate > 0 else float("nan"),
        ratio_low=float(ratio_low),
        ratio_high=float(ratio_high),
    )


def tail(events: float, records: float, honest: Innocent) -> float:
    """Return the one-sided p-value of a subject's records against the honest share."""
    as_many = np.arange(events, records + 1)
    chances = np.exp(_log_pmf(as_many, records, honest.rate, honest.weight))
    return float(np.minimum(chances.sum(), 1.0))


def tails(
    events: FloatArray, records: FloatArray, rate: FloatArray, weight: FloatArray
) -> FloatArray:
    """Return `tail` of many subjects at once, each with its own honest share.

    Args:
        events: Events per subject, at most `records`.
        records: Records per subject.
        rate: Innocent shares.
        weight: What they are worth, in records.
    """
    size = (records - events).astype(np.int64) + 1
    start = np.cumsum(size) - size
    a, b = np.maximum(rate * weight, 1e-9), np.maximum((1.0 - rate) * weight, 1e-9)
    fixed = (
        sp.special.gammaln(records + 1.0)
        - sp.special.betaln(a, b)
        - sp.special.gammaln(records + a + b)
    )
    k = np.arange(size.sum()) - np.repeat(start - events, size)
    rest = np.repeat(records, size) - k
    log = sp.special.gammaln(k + np.repeat(a, size)) + sp.special.gammaln(
        rest + np.repeat(b, size)
    )
    log += (
        np.repeat(fixed, size)
        - sp.special.gammaln(k + 1.0)
        - sp.special.gammaln(rest + 1.0)
    )
    chances = np.add.reduceat(np.exp(log), start) if len(start) else np.zeros(0)
    return np.asarray(np.minimum(chances, 1.0), dtype=np.float64)


def bet(events: float, records: float, honest: Innocent) -> float:
    """Return the e-value of a subject's records: a bet against honesty.

    It is a likelihood ratio: odds spread over several multiples of the honest ones
    against the honest ones, both with the same spread between agents, so that its mean
    is at most 1 if the records are honest ones.

    Args:
        events: Events among the subject's records.
        records: The subject's records, > 0.
        honest: From `innocent`.

    Source:
        Shafer (2021), JRSS A 184:407-431 (betting).
    """
    rate, weight = honest.rate, honest.weight
    odds = _ODDS * rate / (1 - rate)
    seen = np.array([events])
    wide = max((weight + 1) / _SKEWED - 1, 0.25)
    null = max(float(_log_pmf(seen, records, rate, w)[0]) for w in (weight, wide))
    bets = [_log_pmf(seen, records, r, weight)[0] for r in odds / (1 + odds)]
    against = np.clip(np.array(bets) - null, -700, 700)
    return float(np.minimum(np.mean(np.exp(against)), _MOST))


def weighed(p_value: FloatArray, e_value: FloatArray) -> FloatArray:
    """Let e-values of other sources add to p-values.

    Half of each bet is kept back: where nothing follows the records, which is no sign
    of honesty with everybody, a p-value at most doubles.

    Args:
        p_value: Shape (n,); nan stays nan.
        e_value: Independent of the p-values if the subject is honest; shape (n,), 1
            where no source was asked.

    Returns:
        p-values, shape (n,): a uniform p divided by an independent e-value of mean at
        most 1 is again at least uniform on average, which is what Benjamini-Hochberg
        needs.

    Source:
        Ignatiadis, Wang & Ramdas (2024), E-values as unnormalized weights in multiple
        testing, Biometrika 111:417-439.

    >>> weighed(np.array([0.01, 0.01]), np.array([19.0, 0.0]))
    array([0.001, 0.02 ])
    """
    return np.asarray(np.minimum(p_value / _stake(e_value), 1.0), dtype=np.float64)


def needed(p_value: float, e_value: float) -> float:
    """Return the largest p-value that `weighed` turns into this one."""
    return min(p_value * float(_stake(np.array(e_value))), 1.0)


def _stake(e_value: FloatArray) -> FloatArray:
    kept = np.minimum(e_value, _MOST)
    return np.asarray(_KEPT_BACK + (1.0 - _KEPT_BACK) * kept)


def _log_pmf(k: FloatArray, n: float, rate: float, weight: float) -> FloatArray:
    """Return log P(K = k) of a beta-binomial count."""
    a, b = max(rate * weight, 1e-9), max((1 - rate) * weight, 1e-9)
    ways = (
        sp.special.gammaln(n + 1)
        - sp.special.gammaln(k + 1)
        - sp.special.gammaln(n - k + 1)
    )
    out: FloatArray = (
        ways + sp.special.betaln(k + a, n - k + b) - sp.special.betaln(a, b)
    )
    return out


def together(e_values: Iterable[tuple[str, float]]) -> float:
    """Combine e-values: average those with one voice, multiply independent voices.

    Args:
        e_values: Voice and e-value of each source; sources about one customer episode
            or from one recorder share a voice.

    Returns:
        Their combination; 1 if there is none.

    Source:
        Vovk & Wang (2021), Annals of Statistics 49:1736-1754 (the mean of dependent
        e-values and the product of independent ones are e-values).

    >>> together([("customer", 8.0), ("customer", 2.0), ("observer", 3.0)])
    15.0
    """
    voices: dict[str, list[float]] = {}
    for voice, value in e_values:
        voices.setdefault(voice, []).append(value)
    return float(np.prod([np.mean(values) for values in voices.values()]))
