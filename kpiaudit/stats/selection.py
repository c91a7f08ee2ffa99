"""Whether being chosen depends on what the answer was likely to be.

Contacts with a sign of trouble are invited to a survey less often than others almost
everywhere. The question is whether one subject's odds ratio lies below its peers', by
more than honest subjects differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats import held, planted, predictive
from kpiaudit.stats.noncentral import corners
from kpiaudit.stats.odds import odds_ratio, peers_log_odds
from kpiaudit.stats.outcome import Outcome
from kpiaudit.stats.scale import Standing
from kpiaudit.stats.shapes import Grid
from kpiaudit.stats.spread import fit_spread
from kpiaudit.stats.surplus import Surplus
from kpiaudit.stats.yardstick import without_each

if TYPE_CHECKING:
    from kpiaudit.stats.odds import Tables
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray
    from kpiaudit.stats.predictive import Model
    from kpiaudit.stats.spread import Spread

_START = 0.2
_MIN_INFORMATION = 1.0
_MIN_PEERS = 3
_FIT_AT_MOST = 1000
_EXTRA = ("odds_ratio", "odds_low", "odds_high", "lifted", "information", "within")
_DOUBTFUL = 0.3
_BLUR = 0.012
"""Nobody's log-odds are taken as known better than this (the grid's resolution)."""


@frozen
class Supposed:
    """What is supposed of the honest spread before it is learnt.

    Args:
        averaged: Average the shapes that an honest spread may have by how credible they
            are. Otherwise the least favourable credible one decides.
        usual_spread: How much honest subjects' log odds ratios usually differ, as the
            sd of a half-normal prior of their spread; many subjects overrule it.
    """

    averaged: bool = False
    usual_spread: float = 0.2


def withheld(
    tables: Tables,
    *,
    min_trouble: float = 20.0,
    min_excess: float = 0.0,
    min_ratio: float = 1.0,
    dispersion: FloatArray | None = None,
    learn: BoolArray | None = None,
    supposed: Supposed | None = None,
    least_known: float = _MIN_INFORMATION,
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
        learn: From whom to learn what is honest, shape (n_subjects,): the others are
            measured by them but count as nobody's peers. None stands for all.
        supposed: Of the honest spread; None stands for the defaults.
        least_known: Conditional variance of the count from which a subject is tested
            and others learn from it. Where events are rare, most honest subjects lie
            below the usual one, and the few above it are no fair sample of them.

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
    n = tables.n_subjects
    phi = np.ones(n) if dispersion is None else dispersion
    honest = Supposed() if supposed is None else supposed
    question = _Question(
        phi=np.maximum(phi, 1.0),
        least=min_trouble,
        events=min_excess,
        ratio=min_ratio,
        peers=np.ones(n, dtype=np.bool_) if learn is None else learn,
        supposed=honest,
        known=least_known,
    )
    if not (tables.per_subject(tables.trouble) >= min_trouble).any():
        return _nothing(tables)
    settings = ("withheld", min_trouble, min_ratio, least_known, honest)
    counts = (tables.contacts, tables.invited, tables.trouble, tables.both)
    per_subject = [tables.per_subject(each) for each in counts]
    sums = held.sums([*per_subject, question.peers * per_subject[0].mean()])
    measure = held.look_up(settings, sums)
    if measure is not None:
        return measure(tables, sums, question)
    fit = _fit(tables, question, None if learn is None else learn.astype(np.float64))
    if fit is None:
        return _nothing(tables)
    if len(np.unique(tables.stratum)) > 1 and (fit.lifted > _DOUBTFUL).any():
        # Strong patterns lower the peers' odds ratios and hide each other: out.
        fit = _fit(tables, question, question.peers * (1.0 - fit.lifted)) or fit
    outcome, last = _outcome(fit, tables), fit

    def again(other: Tables, new: FloatArray, question: _Question) -> Outcome:
        # All but the last column, which says who is a peer.
        rows = np.flatnonzero((new != sums)[:, :-1].any(axis=1))
        return _measured(outcome, last, other, rows, question)

    held.keep(settings, sums, again)
    return outcome


def _measured(
    outcome: Outcome, fit: _Fit, tables: Tables, rows: IntArray, question: _Question
) -> Outcome:
    """Measure the subjects whose tables have changed by the yardstick of the others."""
    if not len(rows):
        return outcome
    some = planted.part_of_tables(tables, rows)
    offset = fit.rates.at(rows[some.subject], some.stratum)
    old = fit.model
    moments = _moments(
        some, offset, replace(question, phi=question.phi[rows]), old.grid
    )
    model = predictive.Model(
        grid=old.grid,
        peers=old.peers[rows],
        likelihood=old.likelihood[rows],
        yardstick=planted.some_rows(old.yardstick, rows),
        **moments.along,
    )
    surplus = _surplus(some, offset, model)
    testable = moments.information >= question.known
    out = planted.measured(
        outcome,
        model,
        rows,
        testable=testable & (surplus.trials >= question.least),
        forced=surplus.trials - model.n,
    )
    out.expected[rows] = surplus.expected
    out.effect[rows] = surplus.missing - surplus.expected
    within = out.extra["within"].copy()
    within[rows] = _within(model)
    return replace(out, extra={**out.extra, "within": within})


@frozen
class _Question:
    """How noisy the counts are, which excess is allowed, and what honest peers are."""

    phi: FloatArray
    least: float
    events: float
    ratio: float
    peers: BoolArray
    supposed: Supposed
    known: float


@frozen
class _Fit:
    """The honest spread, every subject on the grid, and who may be tested."""

    spread: Spread
    model: Model
    lifted: FloatArray
    testable: BoolArray
    information: FloatArray
    rates: planted.Rates


@frozen
class _Moments:
    """What subjects' tables say along the grid.

    Args:
        log_norm: Log of the conditional distribution's norm.
        information: Conditional variance at the grid's centre.
        along: Fields of `predictive.Model`.
    """

    log_norm: FloatArray
    information: FloatArray
    along: dict[str, FloatArray]


def _moments(
    tables: Tables, offset: FloatArray, question: _Question, grid: Grid
) -> _Moments:
    """Return moments of the missing invitations, honest and with the allowed excess."""
    log_norm, mean, variance = _along(tables, offset, grid.points)
    information = variance[:, int(np.argmin(np.abs(grid.points)))]
    # Counted from the fewest missing invitations that the margins allow.
    reach = tables.per_subject(np.minimum(tables.trouble, tables.invited))
    mean = np.maximum(reach[:, None] - mean, 1e-9)
    null = (mean, variance)
    if question.ratio > 1.0:
        _, more, wide = _along(tables, offset, grid.points + np.log(question.ratio))
        null = (np.maximum(reach[:, None] - more, 1e-9), wide)
    raised = np.minimum(mean + question.events, reach[:, None] * (1.0 - 1e-9))
    return _Moments(
        log_norm=log_norm,
        information=information,
        along={
            "k": reach - tables.per_subject(tables.both),
            "n": reach,
            "phi": np.maximum(question.phi, information * _BLUR**2),
            "mean": mean,
            "variance": variance,
            "null_mean": np.maximum(null[0], raised),
            "null_variance": null[1],
        },
    )


def _fit(tables: Tables, question: _Question, trust: FloatArray | None) -> _Fit | None:
    """Fit the honest spread; None where there are too few subjects to compare."""
    offset, unsure = peers_log_odds(tables, trust)
    grid = Grid.around(0.0)
    invited = tables.per_subject(tables.both)
    moments = _moments(tables, offset, question, grid)
    information = moments.information
    known = information >= question.known
    learn = known & question.peers
    if learn.sum() <= _MIN_PEERS:
        return None
    share = (
        _information(tables)
        / np.maximum(tables.per_subject(_information(tables)), 1e-300)[tables.subject]
    )
    peers = tables.per_subject(share**2 * unsure)
    noise = moments.along["phi"] + peers * information
    log = (-invited[:, None] * grid.points - moments.log_norm) / noise[:, None]
    likelihood = np.exp(log - log.max(axis=1, keepdims=True))
    rows = np.flatnonzero(learn)
    sample = rows[:: -(-len(rows) // _FIT_AT_MOST)]
    spread = fit_spread(likelihood[sample], grid, start=_START)
    spread = _expected(spread, question.supposed.usual_spread)
    yardstick = without_each(spread, likelihood, question.peers)
    if question.supposed.averaged:
        yardstick = replace(yardstick, demanding=yardstick.honest[:, None, :])
    model = predictive.Model(
        grid=grid,
        peers=peers,
        likelihood=likelihood,
        yardstick=yardstick,
        **moments.along,
    )
    trouble = tables.per_subject(tables.trouble)
    return _Fit(
        spread=spread,
        model=model,
        lifted=yardstick.lifted,
        testable=known & (trouble >= question.least),
        information=information,
        rates=planted.Rates(
            subject=tables.subject, stratum=tables.stratum, log_odds=offset
        ),
    )


def _expected(spread: Spread, usual: float) -> Spread:
    """Weigh the posterior by how wide honest log odds ratios usually are.

    Rates of honest agents may differ threefold; whether they treat contacts with
    trouble otherwise than those without differs less, and a half-normal prior says so.
    It matters where few subjects can't show their spread.
    """
    weight = spread.weight * np.exp(-0.5 * (spread.sd / usual) ** 2)[:, None]
    return replace(spread, weight=weight / weight.sum())


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
    surplus = _surplus(tables, fit.rates.log_odds, model)
    low, high = surplus.interval(rows, 0.95)
    ratio, ratio_low, ratio_high = predictive.odds_ratio(spread, model)
    raw = odds_ratio(tables)
    raw_low, raw_high = raw.interval()

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        return predictive.spread_to_break(spread, model, rows, threshold)

    return Outcome(
        trials=surplus.trials,
        observed=surplus.missing,
        expected=surplus.expected,
        p_value=p,
        effect=surplus.missing - surplus.expected,
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
            "within": _within(model),
        },
        interval=surplus.interval,
        breaking_point=breaking_point,
        standing=Standing(spread=spread, likelihood=model.likelihood, place=rows),
    )


def _surplus(tables: Tables, offset: FloatArray, model: Model) -> Surplus:
    """Return the excess over what the subjects' contacts without trouble would give."""
    return Surplus.of(
        tables,
        offset,
        grid=model.grid,
        honest=model.yardstick.honest,
        phi=model.phi,
        unsure=model.peers,
    )


def _within(model: Model) -> FloatArray:
    """Return the excess within the margins, part of which the pattern itself made."""
    rows = np.arange(len(model.k))
    base = np.sum(model.weights(rows) * model.mean, axis=1)
    return np.asarray(model.k - base, dtype=np.float64)


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
    trouble = tables.per_subject(tables.trouble)
    missing = trouble - tables.per_subject(tables.both)
    return Outcome.untestable(trouble, missing, _EXTRA)
