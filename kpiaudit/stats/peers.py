"""A subject's events against what honest peers would give, over strata.

Honest subjects differ from each other, and nobody knows beforehand by how much or in
which shape. The test therefore asks how often an honest subject would show as many
events, averaged over everything that the peers leave open about the honest spread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.frozen import frozen
from kpiaudit.stats import held, planted
from kpiaudit.stats.alike import Alike
from kpiaudit.stats.asymmetry import asymmetry
from kpiaudit.stats.outcome import Outcome
from kpiaudit.stats.predictive import (
    Model,
    excess_interval,
    log_odds_ratio,
    odds_ratio,
    p_values,
    quantile,
    spread_to_break,
)
from kpiaudit.stats.reference import Counts, peer_log_odds
from kpiaudit.stats.response import Response
from kpiaudit.stats.scale import Standing
from kpiaudit.stats.shapes import Grid
from kpiaudit.stats.spread import fit_spread
from kpiaudit.stats.yardstick import without_each

if TYPE_CHECKING:
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray
    from kpiaudit.stats.spread import Spread
    from kpiaudit.stats.yardstick import Yardstick

_MIN_PEERS = 3
_FIT_AT_MOST = 1000
_BLUR = 0.012
"""Nobody's log-odds are taken as known better than this (the grid's resolution)."""


def excess(  # noqa: PLR0913 - one call with everything known about the counts
    subject: IntArray,
    stratum: IntArray,
    events: IntArray,
    trials: IntArray,
    *,
    n_subjects: int,
    dispersion: FloatArray | None = None,
    min_excess: float = 0.0,
    min_ratio: float = 1.0,
    expected_offset: FloatArray | None = None,
    min_trials: int = 20,
    learn: BoolArray | None = None,
    about: BoolArray | None = None,
    tested: bool = True,
) -> Outcome:
    """Say for every subject whether its events exceed what honest peers would give.

    Args:
        subject: Index of the subject per row, in [0, n_subjects).
        stratum: Any integer label of the stratum per row.
        events: Events per row, 0 <= events <= trials.
        trials: Trials per row; rows without trials are passed over.
        n_subjects: How many subjects there are, with rows or without.
        dispersion: Variance of a subject's events over the binomial one, >= 1, shape
            (n_subjects,); None stands for 1.
        min_excess: The hypothesis is an excess of at most this many events, >= 0.
        min_ratio: The hypothesis is odds of at most this multiple of an honest
            subject's, >= 1; if both are given, both have to be exceeded.
        expected_offset: Log-odds known beforehand, per row, such as that of tenure.
        min_trials: Subjects with fewer trials are untestable.
        learn: From whom to learn what is honest, shape (n_subjects,): the others are
            measured by them but count as nobody's peers. None stands for all.
        about: Who is asked about, shape (n_subjects,); of others nothing but counts
            has to be said, where there are many. None stands for all.
        tested: Whether p-values are wanted, and not only sizes; they are nan if not.

    Returns:
        One entry per subject. Untestable (nan) is a subject with too few trials, with
        fewer than three usable peers, or for whom not even events in every trial
        would give p <= .05.

    Source:
        Spiegelhalter (2005), Quality and Safety in Health Care 14:347-351 (honest
        differences inside the limits); Box (1980), JRSS A 143:383-430 (predictive
        p-values); Zou & Donner (2008), Statistics in Medicine 27:1693-1702 (interval
        of a difference from two separate intervals).
    """
    counts = _counts(subject, stratum, events, trials, expected_offset, n_subjects)
    usable = counts.per_subject(counts.n) >= max(min_trials, 1)
    peers = usable if learn is None else usable & learn
    if peers.sum() <= _MIN_PEERS:
        return _untestable(counts)
    phi = np.ones(n_subjects) if dispersion is None else np.maximum(dispersion, 1.0)
    question = _Question(
        peers=peers, phi=phi, events=min_excess, ratio=min_ratio, about=about
    )
    labels = stratum[trials > 0].astype(np.int64)
    # Not the allowed excess events, which may follow from the counts themselves.
    settings = ("excess", min_ratio, min_trials, tested)
    per_subject = [counts.per_subject(each) for each in (counts.k, counts.n)]
    sums = held.sums([*per_subject, peers * per_subject[1].mean()])
    measure = held.look_up(settings, sums)
    if measure is not None:
        return measure(counts, labels, question, usable)
    twice = counts.n_strata > 1
    fit = _fit(counts, question, peers.astype(np.float64), width=0.2, rough=twice)
    if twice:
        # Strong patterns raise the peers' rates and hide each other: take them out.
        trust = peers * (1.0 - fit.yardstick.lifted)
        width, near = fit.spread.mean_sd, fit.spread
        fit = _fit(counts, question, trust, width=width, near=near)
    kinds, asked = fit.alike, fit.alike.only(about)
    spread, model = fit.spread, _model(fit, question, kinds.place[asked.first])
    able = usable[asked.first]
    p = p_values(model) if tested else np.full(len(able), np.nan)
    p[~able] = np.nan
    outcome = asked.spread_out(_outcome(spread, model, p))
    outcome = replace(
        outcome,
        trials=per_subject[1],
        observed=per_subject[0],
        standing=Standing(spread=spread, likelihood=fit.likelihood, place=kinds.place),
    )
    if asked is kinds:
        outcome = replace(outcome, facts=_facts(spread, model, kinds.place[peers]))
    rates = planted.Rates(subject=counts.subject, stratum=labels, log_odds=fit.odds)

    def again(
        other: Counts, labels: IntArray, question: _Question, usable: BoolArray
    ) -> Outcome:
        k, n = other.per_subject(other.k), other.per_subject(other.n)
        changed = (k != per_subject[0]) | (n != per_subject[1])
        now = np.ones_like(changed) if question.about is None else question.about
        rows = np.flatnonzero(changed | (now & (asked.place < 0)))
        if not len(rows):
            return outcome
        some, mine = planted.part_of_counts(other, rows)
        log_odds = rates.at(other.subject[mine], labels[mine]) + some.offset
        phi = question.phi[rows]
        at = kinds.place[rows]
        moved = fit.shared.moved(
            some, log_odds, rows, fit.spread, phi=phi, peers=fit.peers[at]
        )
        log_odds = log_odds - moved * changed[rows][some.subject]
        fresh = _measured(fit, some, log_odds, replace(question, phi=phi), at)
        return planted.measured(
            outcome,
            fresh,
            rows,
            testable=usable[rows],
            forced=np.zeros(len(rows)),
        )

    held.keep(settings, sums, again)
    return outcome


def _measured(
    fit: _Fit,
    counts: Counts,
    log_odds: FloatArray,
    question: _Question,
    rows: IntArray,
) -> Model:
    """Return the model of other counts of some fitted rows, by their yardstick.

    `question` and `counts` are about these rows only.
    """
    response = Response.of(counts, log_odds)
    k, n = counts.per_subject(counts.k), counts.per_subject(counts.n)
    honest, null = planted.null_moments(
        response,
        fit.spread.grid.points,
        n=n,
        ratio=question.ratio,
        events=question.events,
    )
    v0 = response.at(np.zeros(1))[1][:, 0]
    return Model(
        grid=fit.spread.grid,
        k=k,
        n=n,
        phi=np.maximum(question.phi, v0 * _BLUR**2),
        peers=fit.peers[rows],
        mean=honest[0],
        variance=honest[1],
        null_mean=null[0],
        null_variance=null[1],
        likelihood=fit.likelihood[rows],
        yardstick=planted.some_rows(fit.yardstick, rows),
    )


@frozen
class _Question:
    """Who the peers are, how noisy all are, and which excess is still allowed."""

    peers: BoolArray
    phi: FloatArray
    events: float
    ratio: float
    about: BoolArray | None


@frozen
class _Fit:
    """The honest spread, and what it was learnt from; `odds` are peers', per row.

    Subjects with the same counts in the only stratum share a row: `alike` tells which.
    `shared` is what each adds to the others' rates.
    """

    alike: Alike
    spread: Spread
    yardstick: Yardstick
    response: Response
    likelihood: FloatArray
    k: FloatArray
    n: FloatArray
    phi: FloatArray
    peers: FloatArray
    odds: FloatArray
    shared: planted.Shared


def _counts(
    subject: IntArray,
    stratum: IntArray,
    events: IntArray,
    trials: IntArray,
    offset: FloatArray | None,
    n_subjects: int,
) -> Counts:
    """Drop empty rows, number the strata from 0."""
    keep = trials > 0
    labels, index = np.unique(stratum[keep], return_inverse=True)
    zero = np.zeros(len(trials))
    return Counts(
        subject=subject[keep].astype(np.int64),
        stratum=index.astype(np.int64),
        k=events[keep].astype(np.float64),
        n=trials[keep].astype(np.float64),
        offset=(zero if offset is None else offset)[keep].astype(np.float64),
        n_subjects=n_subjects,
        n_strata=max(len(labels), 1),
    )


def _untestable(counts: Counts) -> Outcome:
    return Outcome.untestable(
        counts.per_subject(counts.n), counts.per_subject(counts.k)
    )


def _fit(
    counts: Counts,
    question: _Question,
    trust: FloatArray,
    *,
    width: float,
    near: Spread | None = None,
    rough: bool = False,
) -> _Fit:
    """Fit the honest spread, with peers weighed by how far they are trusted."""
    learn = question.peers
    log_odds, peers, own_rate = peer_log_odds(counts, trust, spread=width)
    k, n = counts.per_subject(counts.k), counts.per_subject(counts.n)
    alike = Alike.of(counts, k, n, question.phi)
    first, place = alike.first, alike.place
    some, mine = counts, np.ones(len(log_odds), dtype=np.bool_)
    if len(first) < len(place):
        some, mine = planted.part_of_counts(counts, first)
    response = Response.of(some, log_odds[mine])
    m0, v0 = (a[place, 0] for a in response.at(np.zeros(1)))
    y = log_odds_ratio(k, n, m0)
    # The blur keeps every likelihood wider than the grid's step.
    phi = np.maximum(question.phi, v0 * _BLUR**2)
    noise = phi + peers * v0
    centre, start = _guess(y[learn], (noise / np.maximum(v0, 1e-9))[learn])
    grid = Grid.around(centre)
    likelihood = response.likelihood(k[first], noise[first], grid.points)
    chosen = place[_chosen(learn, y, n)]
    spread = fit_spread(likelihood[chosen], grid, start=start, near=near, rough=rough)
    return _Fit(
        alike=alike,
        spread=spread,
        yardstick=without_each(spread, likelihood, learn[first], subjects=len(place)),
        response=response,
        likelihood=likelihood,
        k=k[first],
        n=n[first],
        phi=phi[first],
        peers=peers[first],
        odds=log_odds - counts.offset,
        shared=planted.Shared(
            excess=trust * (k - m0),
            trust=trust,
            information=float(trust @ v0),
            own_rate=own_rate,
        ),
    )


def _model(fit: _Fit, question: _Question, rows: IntArray) -> Model:
    """Return moments of fitted rows along the grid, beside what was fitted."""
    grid = fit.spread.grid
    n, every = fit.n[rows], len(rows) == len(fit.n)
    (mean, variance), null = planted.null_moments(
        fit.response if every else fit.response.of_rows(rows),
        grid.points,
        n=n,
        ratio=question.ratio,
        events=question.events,
    )
    return Model(
        grid=grid,
        k=fit.k[rows],
        n=n,
        phi=fit.phi[rows],
        peers=fit.peers[rows],
        mean=mean,
        variance=variance,
        null_mean=null[0],
        null_variance=null[1],
        likelihood=fit.likelihood if every else fit.likelihood[rows],
        yardstick=planted.some_rows(fit.yardstick, rows),
    )


def _guess(y: FloatArray, noise: FloatArray) -> tuple[float, float]:
    """Return first guesses of location and width, from the lower half only."""
    q10, q25, q50 = np.quantile(y, [0.1, 0.25, 0.5])
    wide = ((q50 - q10) / 1.2816 + (q50 - q25) / 0.6745) / 2.0
    left = max(wide**2 - float(np.median(noise)), 0.05**2)
    return float(np.clip(q50, -3.0, 3.0)), float(np.clip(np.sqrt(left), 0.05, 1.0))


def _chosen(peers: BoolArray, y: FloatArray, n: FloatArray) -> IntArray:
    """Return at most a thousand peers, evenly spaced by their rate."""
    rows = np.flatnonzero(peers)
    if len(rows) <= _FIT_AT_MOST:
        return rows
    order = rows[np.lexsort((n[rows], y[rows]))]
    at = np.linspace(0.0, len(rows) - 1.0, _FIT_AT_MOST)
    return order[np.round(at).astype(np.int64)]


def _outcome(spread: Spread, model: Model, p: FloatArray) -> Outcome:
    """Put everything that is known about every row of the model into one Outcome."""
    rows = np.arange(len(model.k))
    expected = np.sum(model.weights(rows) * model.mean, axis=1)
    low, high = excess_interval(model, rows, 0.95)
    ratio, ratio_low, ratio_high = odds_ratio(spread, model)
    none = model.n <= 0.0
    for array in (expected, low, high, ratio, ratio_low, ratio_high):
        array[none] = np.nan

    def interval(rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
        return excess_interval(model, rows, level)

    def breaking_point(rows: IntArray, p_threshold: float) -> FloatArray:
        return spread_to_break(spread, model, rows, p_threshold)

    return Outcome(
        trials=model.n,
        observed=model.k,
        expected=expected,
        p_value=p,
        effect=model.k - expected,
        low=low,
        high=high,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        interval=interval,
        breaking_point=breaking_point,
    )


def _facts(spread: Spread, model: Model, peers: IntArray) -> dict[str, float]:
    """Return the scalars about the whole family; `peers` are their rows."""
    low, high = spread.sd_quantile(0.025), spread.sd_quantile(0.975)
    facts = {
        "spread": spread.mean_sd,
        "spread_low": low,
        "spread_high": high,
        "location": float(quantile(spread.grid, spread.honest[None, :], 0.5)[0]),
        "dispersion": float(np.median(model.phi[peers])),
        "n_subjects_used": float(len(peers)),
    }
    middle = int(np.argmin(np.abs(model.grid.points)))
    y = log_odds_ratio(model.k[peers], model.n[peers], model.mean[peers, middle])
    g, g_low, g_high = asymmetry(y)
    facts |= {"asymmetry": g, "asymmetry_low": g_low, "asymmetry_high": g_high}
    return facts | {"asymmetric": float(g_low > 1.0 or g_high < 1.0)}
