"""Whether being chosen depends on what the answer was likely to be.

Contacts with a sign of trouble are invited to a survey less often than others almost
everywhere. The question is whether one subject's odds ratio lies below its peers', by
more than honest subjects differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from kpiaudit.stats import predictive
from kpiaudit.stats.noncentral import corners
from kpiaudit.stats.outcome import Outcome
from kpiaudit.stats.spread import Grid, fit_spread, without_each

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray
    from kpiaudit.stats.predictive import Model
    from kpiaudit.stats.spread import Spread

_START = 0.2
_MIN_INFORMATION = 1.0
_MIN_PEERS = 3
_FIT_AT_MOST = 1000
_EXTRA = ("odds_ratio", "odds_low", "odds_high", "lifted", "information")
_BLUR = 0.012
"""Nobody's log-odds are taken as known better than this (the grid's resolution)."""


def _sums(index: IntArray, values: FloatArray, size: int) -> FloatArray:
    return np.asarray(np.bincount(index, values, minlength=size), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True, kw_only=True)
class OddsRatio:
    """Logged Mantel-Haenszel odds ratios and their variances; nan where undefined."""

    log: FloatArray
    variance: FloatArray

    def interval(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the odds ratio's interval at this level."""
        half = float(ndtri(0.5 + level / 2.0)) * np.sqrt(self.variance)
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


def withheld(
    tables: Tables,
    *,
    min_trouble: float = 20.0,
    min_excess: float = 0.0,
    min_ratio: float = 1.0,
    dispersion: FloatArray | None = None,
) -> Outcome:
    """Test whether each subject's contacts with trouble were invited less than peers'.

    Given the margins of every table, the number of invited contacts with trouble tells
    nothing about how often the subject invites or meets trouble in general; it is
    compared with what the peers' odds ratio would give, averaged over how much honest
    subjects' odds ratios differ. That spread is estimated from all other subjects, a
    share of whom may withhold invitations themselves.

    Args:
        tables: The tables.
        min_trouble: Fewest contacts with trouble in tables that say something.
        min_excess: The hypothesis is an excess no larger than this, in invitations.
        min_ratio: The hypothesis is odds of not being invited, given trouble, of at
            most this multiple of an honest subject's, >= 1.
        dispersion: Variance over the conditional one, >= 1, shape (n_subjects,).

    Returns:
        `trials` are contacts with trouble, `observed` those that were not invited,
        `effect` the invitations withheld in excess of peers', `ratio` the odds ratio of
        invitation against the honest centre, shrunken. `extra` has the subject's own
        Mantel-Haenszel `odds_ratio` with `odds_low` and `odds_high`, `lifted`, the
        probability of standing outside the honest spread, and `information`, the
        conditional variance of the count.

    Source:
        Cornfield (1956), Proc. 3rd Berkeley Symp. 4:135-148 (the conditional test
        against an odds ratio other than 1); Breslow & Day (1980), Statistical Methods
        in Cancer Research I, section 4.4; Spiegelhalter (2005), Quality and Safety in
        Health Care 14:347-351 (honest differences inside the limits).
    """
    phi = np.ones(tables.n_subjects) if dispersion is None else dispersion
    question = _Question(
        phi=np.maximum(phi, 1.0),
        least=min_trouble,
        events=min_excess,
        ratio=min_ratio,
    )
    fit = _fit(tables, question, None)
    if fit is not None and len(np.unique(tables.stratum)) > 1:
        # Strong patterns lower the peers' odds ratios and hide each other: out.
        fit = _fit(tables, question, 1.0 - fit.lifted) or fit
    return _nothing(tables) if fit is None else _outcome(fit, tables)


@dataclass(frozen=True, kw_only=True)
class _Question:
    """How noisy the counts are, and which excess is still allowed."""

    phi: FloatArray
    least: float
    events: float
    ratio: float


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """The honest spread, every subject on the grid, and who may be tested."""

    spread: Spread
    model: Model
    lifted: FloatArray
    testable: BoolArray
    information: FloatArray


def _fit(tables: Tables, question: _Question, trust: FloatArray | None) -> _Fit | None:
    """Fit the honest spread; None where there are too few subjects to compare."""
    offset, unsure = peers_log_odds(tables, trust)
    grid = Grid.around(0.0)
    invited = tables.per_subject(tables.both)
    log_norm, mean, variance = _along(tables, offset, grid.points)
    centre = int(np.argmin(np.abs(grid.points)))
    information = variance[:, centre]
    known = information >= _MIN_INFORMATION
    if known.sum() <= _MIN_PEERS:
        return None
    share = (
        _information(tables)
        / np.maximum(tables.per_subject(_information(tables)), 1e-300)[tables.subject]
    )
    peers = tables.per_subject(share**2 * unsure)
    phi = np.maximum(question.phi, information * _BLUR**2)
    noise = phi + peers * information
    log = (-invited[:, None] * grid.points - log_norm) / noise[:, None]
    likelihood = np.exp(log - log.max(axis=1, keepdims=True))
    rows = np.flatnonzero(known)
    sample = rows[:: -(-len(rows) // _FIT_AT_MOST)]
    spread = fit_spread(likelihood[sample], grid, start=_START)
    honest, lifted = without_each(spread, likelihood)
    # Counted from the fewest missing invitations that the margins allow.
    reach = tables.per_subject(np.minimum(tables.trouble, tables.invited))
    mean = np.maximum(reach[:, None] - mean, 1e-9)
    null = (mean, variance)
    if question.ratio > 1.0:
        _, more, wide = _along(tables, offset, grid.points + np.log(question.ratio))
        null = (np.maximum(reach[:, None] - more, 1e-9), wide)
    raised = np.minimum(mean + question.events, reach[:, None] * (1.0 - 1e-9))
    model = predictive.Model(
        grid=grid,
        k=reach - invited,
        n=reach,
        phi=phi,
        peers=peers,
        mean=mean,
        variance=variance,
        null_mean=np.maximum(null[0], raised),
        null_variance=null[1],
        likelihood=likelihood,
        honest=honest,
    )
    trouble = tables.per_subject(tables.trouble)
    return _Fit(
        spread=spread,
        model=model,
        lifted=lifted,
        testable=known & (trouble >= question.least),
        information=information,
    )


def _along(
    tables: Tables, offset: FloatArray, points: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return log norm, mean and variance of invited trouble; upwards is withheld."""
    sums = corners(
        tables.subject,
        row=tables.trouble,
        column=tables.invited,
        total=tables.contacts,
        log_odds=offset,
        points=-points,
        n_subjects=tables.n_subjects,
    )
    return sums.log_norm, sums.mean, sums.variance


def _information(tables: Tables) -> FloatArray:
    """Return the variance of each table's corner where the odds ratio is 1."""
    m, r, n = tables.trouble, tables.invited, tables.contacts
    return m * r * (n - m) * (n - r) / (n**2 * np.maximum(n - 1.0, 1.0))


def _outcome(fit: _Fit, tables: Tables) -> Outcome:
    model, spread = fit.model, fit.spread
    rows = np.arange(tables.n_subjects)
    p = predictive.p_values(model)
    p[~fit.testable] = np.nan
    forced = tables.per_subject(tables.trouble) - model.n
    base = np.sum(model.weights(rows) * model.mean, axis=1)
    low, high = predictive.excess_interval(model, rows, 0.95)
    ratio, ratio_low, ratio_high = predictive.odds_ratio(spread, model)
    raw = odds_ratio(tables)
    raw_low, raw_high = raw.interval()

    def interval(rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
        return predictive.excess_interval(model, rows, level)

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        return predictive.spread_to_break(spread, model, rows, threshold)

    return Outcome(
        trials=tables.per_subject(tables.trouble),
        observed=model.k + forced,
        expected=base + forced,
        p_value=p,
        effect=model.k - base,
        low=low,
        high=high,
        # The model's odds are those of a missing invitation.
        ratio=1.0 / ratio,
        ratio_low=1.0 / ratio_high,
        ratio_high=1.0 / ratio_low,
        facts=_facts(fit, tables),
        extra={
            "odds_ratio": np.exp(raw.log),
            "odds_low": raw_low,
            "odds_high": raw_high,
            "lifted": fit.lifted,
            "information": fit.information,
        },
        interval=interval,
        breaking_point=breaking_point,
        smallest_detectable=predictive.smallest_excess(model, ~np.isnan(p)),
    )


def _facts(fit: _Fit, tables: Tables) -> dict[str, float]:
    everybody = odds_ratio(tables, np.zeros_like(tables.subject), 1)
    low, high = everybody.interval()
    return {
        "spread": fit.spread.mean_sd,
        "spread_low": fit.spread.sd_quantile(0.025),
        "spread_high": fit.spread.sd_quantile(0.975),
        "peers_odds": float(np.exp(everybody.log[0])),
        "peers_low": float(low[0]),
        "peers_high": float(high[0]),
        "n_subjects_used": float(fit.testable.sum()),
    }


def _nothing(tables: Tables) -> Outcome:
    nan = np.full(tables.n_subjects, np.nan)
    trouble = tables.per_subject(tables.trouble)
    return Outcome(
        trials=trouble,
        observed=trouble - tables.per_subject(tables.both),
        expected=nan,
        p_value=nan,
        effect=nan,
        low=nan,
        high=nan,
        ratio=nan,
        ratio_low=nan,
        ratio_high=nan,
        facts={"n_subjects_used": 0.0},
        extra=dict.fromkeys(_EXTRA, nan),
    )
