"""Odds ratios of invitation given trouble, over subjects and strata."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy as sp

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import FloatArray, IntArray


def _sums(index: IntArray, values: FloatArray, size: int) -> FloatArray:
    return np.asarray(np.bincount(index, values, minlength=size), dtype=np.float64)


@frozen
class Tables:
    """A 2 x 2 table per subject and stratum: trouble against invitation.

    Args:
        subject: Index of the subject per table.
        stratum: Index of the stratum per table.
        contacts: All contacts, shape (n_tables,).
        invited: Contacts that were invited, <= contacts.
        trouble: Contacts with the sign of trouble, <= contacts.
        both: Contacts with the sign that were invited.
        n_subjects: How many subjects there are.
    """

    subject: IntArray
    stratum: IntArray
    contacts: FloatArray
    invited: FloatArray
    trouble: FloatArray
    both: FloatArray
    n_subjects: int

    @classmethod
    def of(
        cls,
        subject: IntArray,
        stratum: IntArray,
        *,
        contacts: IntArray,
        invited: IntArray,
        trouble: IntArray,
        both: IntArray,
        n_subjects: int,
    ) -> Tables:
        """Add up the rows of one subject and stratum; drop tables that say nothing.

        A table in which nobody or everybody was invited, or had trouble, carries no
        information on the odds ratio. Queues and channels without any survey leave the
        comparison that way.
        """
        width = int(stratum.max()) + 1 if len(stratum) else 1
        cells, cell = np.unique(subject * width + stratum, return_inverse=True)
        sums = [
            _sums(cell.astype(np.int64), each.astype(np.float64), len(cells))
            for each in (contacts, invited, trouble, both)
        ]
        n, r, m, _ = sums
        says = (r > 0) & (r < n) & (m > 0) & (m < n)
        n, r, m, a = (each[says] for each in sums)
        return cls(
            subject=(cells // width)[says].astype(np.int64),
            stratum=(cells % width)[says].astype(np.int64),
            contacts=n,
            invited=r,
            trouble=m,
            both=a,
            n_subjects=n_subjects,
        )

    def per_subject(self, values: FloatArray) -> FloatArray:
        """Sum values per table over each subject's tables, shape (n_subjects,)."""
        return _sums(self.subject, values, self.n_subjects)


@frozen
class OddsRatio:
    """Logged Mantel-Haenszel odds ratios and their variances; nan where undefined."""

    log: FloatArray
    variance: FloatArray

    def interval(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the odds ratio's interval at this level."""
        half = float(sp.special.ndtri(0.5 + level / 2.0)) * np.sqrt(self.variance)
        return np.exp(self.log - half), np.exp(self.log + half)


def odds_ratio(tables: Tables, by: IntArray | None = None, n: int = 0) -> OddsRatio:
    """Return the odds ratio of invitation given trouble, over strata.

    Args:
        tables: The tables.
        by: Index of the group per table; the subject if None.
        n: How many groups; the subjects if `by` is None.

    Returns:
        Shape (n,): below 0 where trouble goes with fewer invitations.

    Source:
        Mantel & Haenszel (1959), JNCI 22:719-748; Robins, Breslow & Greenland (1986),
        Biometrics 42:311-323 (variance).
    """
    group = tables.subject if by is None else by
    size = tables.n_subjects if by is None else n
    return _combine(*(_sums(group, t, size) for t in _mh_terms(tables)))


def _mh_terms(tables: Tables) -> tuple[FloatArray, ...]:
    a, m, r, n = tables.both, tables.trouble, tables.invited, tables.contacts
    b, c = m - a, r - a
    d = n - m - c
    p, q = (a + d) / n, (b + c) / n
    s, t = a * d / n, b * c / n
    return s, t, p * s, p * t + q * s, q * t


def _combine(
    s: FloatArray, t: FloatArray, ps: FloatArray, mixed: FloatArray, qt: FloatArray
) -> OddsRatio:
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(s) - np.log(t)
        variance = ps / (2 * s**2) + mixed / (2 * s * t) + qt / (2 * t**2)
    ok = (s > 1e-9) & (t > 1e-9)
    return OddsRatio(
        log=np.where(ok, log, np.nan), variance=np.where(ok, variance, np.nan)
    )


def peers_log_odds(
    tables: Tables, trust: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the log odds ratio that the others show in each table's stratum.

    Each stratum's own value is shrunken towards that of all strata, the more the less
    the strata differ and the less is known of it; the subject itself is left out.

    Args:
        tables: The tables.
        trust: Weight of each subject as a peer, in [0, 1], shape (n_subjects,).

    Returns:
        Shape (n_tables,), finite, and how uncertain a stratum's distance from all
        strata remains (a variance), same shape.

    Source:
        DerSimonian & Laird (1986), Controlled Clinical Trials 7:177-188 (variance
        between strata).
    """
    weights = 1.0 if trust is None else trust[tables.subject]
    terms = [weights * t for t in _mh_terms(tables)]
    n_strata = int(tables.stratum.max()) + 1 if len(tables.stratum) else 1
    strata = [_sums(tables.stratum, t, n_strata) for t in terms]
    own = [tables.per_subject(t) for t in terms]
    everybody = _combine(*(np.array([t.sum()]) for t in terms))
    centre = float(np.nan_to_num(everybody.log[0]))
    others = _combine(*(t.sum() - mine for t, mine in zip(terms, own, strict=True)))
    overall = np.where(np.isnan(others.log), centre, others.log)[tables.subject]
    between = _between(_combine(*strata)) if n_strata > 1 else 0.0
    local = _combine(
        *(all_[tables.stratum] - mine for all_, mine in zip(strata, terms, strict=True))
    )
    variance = np.nan_to_num(local.variance, nan=1e9)
    weight = between / (between + variance)
    gap = np.where(np.isnan(local.log), 0.0, np.nan_to_num(local.log) - overall)
    return overall + weight * gap, weight * variance


def _between(strata: OddsRatio) -> float:
    ok = ~np.isnan(strata.log)
    if ok.sum() < 2:
        return 0.0
    y, w = strata.log[ok], 1.0 / strata.variance[ok]
    q = float(w @ (y - np.average(y, weights=w)) ** 2)
    scale = float(w.sum() - (w**2).sum() / w.sum())
    return max(0.0, (q - float(ok.sum() - 1)) / max(scale, 1e-12))
