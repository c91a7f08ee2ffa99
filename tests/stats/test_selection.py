"""Tests of the conditional test of invitations after trouble."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable

from kpiaudit.stats.changing import changed
from kpiaudit.stats.noncentral import corners
from kpiaudit.stats.odds import Tables, odds_ratio, peers_log_odds
from kpiaudit.stats.selection import withheld


def centre(
    rng, agents, *, trouble=150, share=0.15, spread=0.0, gamed=0, game=0.4, odds=0.7
):
    """Draw a centre of two queues: more trouble and fewer invitations in the second."""
    contacts = np.full((agents, 2), int(trouble / share / 2))
    difficult = rng.binomial(contacts, np.array([0.7, 1.3]) * share)
    habit = rng.normal(0, 0.4, (agents, 1)) + np.array([0.3, -0.6])
    after = (
        np.log(odds) + rng.normal(0, spread, (agents, 1)) if spread else np.log(odds)
    )
    after = after + np.where(np.arange(agents)[:, None] < gamed, np.log(game), 0.0)
    both = rng.binomial(difficult, 1 / (1 + np.exp(-habit - after)))
    easy = rng.binomial(contacts - difficult, 1 / (1 + np.exp(-habit)))
    return {
        "subject": np.repeat(np.arange(agents), 2),
        "stratum": np.tile([0, 1], agents),
        "contacts": contacts.ravel(),
        "invited": (both + easy).ravel(),
        "trouble": difficult.ravel(),
        "both": both.ravel(),
        "n_subjects": agents,
    }


@pytest.mark.parametrize(
    ("row", "column", "total"),
    [(5, 7, 30), (40, 300, 800), (150, 200, 500), (900, 1500, 4000), (60, 2000, 4000)],
)
def test_moments_agree_with_scipys_noncentral_hypergeometric(row, column, total):
    points = np.linspace(-3, 3, 7)
    got = corners(
        np.array([0]),
        row=np.array([float(row)]),
        column=np.array([float(column)]),
        total=np.array([float(total)]),
        log_odds=np.array([-0.5]),
        points=points,
        n_subjects=1,
    )
    want = [
        stats.nchypergeom_fisher(total, row, column, np.exp(x - 0.5)) for x in points
    ]
    mean, variance = (
        np.array([getattr(w, m)() for w in want]) for m in ("mean", "var")
    )
    np.testing.assert_allclose(got.mean[0], mean, atol=0.01)
    np.testing.assert_allclose(got.variance[0], variance, rtol=0.003)
    low = max(0, row + column - total)
    at = max(low, int(mean[3]))
    log = at * points - got.log_norm[0]
    expected = np.array([w.logpmf(at) for w in want])
    near = expected > -40
    np.testing.assert_allclose(
        (log - log[3])[near], (expected - expected[3])[near], atol=0.01
    )


def test_sums_over_tables_add_moments():
    margins = {
        "row": np.array([5.0, 8.0]),
        "column": np.array([9.0, 20.0]),
        "total": np.array([40.0, 50.0]),
        "log_odds": np.array([0.0, -1.0]),
    }
    points = np.array([-1.0, 0.0, 2.0])
    apart = corners(np.array([0, 1]), **margins, points=points, n_subjects=2)
    summed = corners(np.array([0, 0]), **margins, points=points, n_subjects=1)
    np.testing.assert_allclose(summed.mean[0], apart.mean.sum(axis=0))
    np.testing.assert_allclose(summed.variance[0], apart.variance.sum(axis=0))


def test_odds_ratio_and_its_interval_agree_with_statsmodels():
    drawn = centre(np.random.default_rng(1), 1, spread=0.0)
    tables = Tables.of(**drawn)
    m, a, r, n = (drawn[k] for k in ("trouble", "both", "invited", "contacts"))
    table = np.array([[a, m - a], [r - a, n - m - r + a]]).astype(float)
    want = StratifiedTable(table)
    got = odds_ratio(tables)
    assert np.exp(got.log[0]) == pytest.approx(want.oddsratio_pooled)
    np.testing.assert_allclose(
        [end[0] for end in got.interval()], want.oddsratio_pooled_confint()
    )


def test_peers_odds_ratio_leaves_the_subject_out():
    drawn = centre(np.random.default_rng(2), 6)
    before, _ = peers_log_odds(Tables.of(**drawn))
    drawn["both"] = np.where(drawn["subject"] == 0, 0, drawn["both"])
    after, _ = peers_log_odds(Tables.of(**drawn))
    np.testing.assert_allclose(before[:2], after[:2], atol=0.2)
    assert (after[2:] < before[2:]).all()


def test_an_agent_who_withholds_after_trouble_is_found():
    drawn = centre(np.random.default_rng(3), 40, spread=0.15, gamed=1, game=0.2)
    got = withheld(Tables.of(**drawn))
    assert int(np.argmin(got.p_value)) == 0
    assert got.p_value[0] < 0.001
    assert got.low[0] > 0
    assert got.ratio[0] < 0.5


def test_inviting_little_in_general_is_no_pattern():
    rng = np.random.default_rng(4)
    drawn = centre(rng, 30)
    # The first agent invites a tenth of everybody, trouble or not.
    first = drawn["subject"] == 0
    easy = drawn["contacts"] - drawn["trouble"]
    both = np.where(first, (0.1 * 0.7 * drawn["trouble"]).round(), drawn["both"])
    rest = np.where(first, (0.1 * easy).round(), drawn["invited"] - drawn["both"])
    drawn |= {"both": both.astype(int), "invited": (both + rest).astype(int)}
    assert withheld(Tables.of(**drawn)).p_value[0] > 0.1


def test_strata_are_compared_within_themselves():
    # Every queue has the odds ratio 1; pooled, trouble and invitation part company.
    n = 12
    drawn = {
        "subject": np.repeat(np.arange(n), 2),
        "stratum": np.tile([0, 1], n),
        "contacts": np.tile([400, 400], n),
        "trouble": np.tile([40, 200], n),
        "invited": np.tile([200, 40], n),
        "both": np.tile([20, 20], n),
        "n_subjects": n,
    }
    got = withheld(Tables.of(**drawn))
    np.testing.assert_allclose(got.extra["odds_ratio"], 1.0)
    np.testing.assert_allclose(got.effect, 0.0, atol=0.5)
    assert (got.p_value > 0.3).all()


def test_strata_without_invitations_say_nothing():
    drawn = centre(np.random.default_rng(5), 10)
    more = {
        k: np.concatenate([v, np.full(10, fill)])
        for (k, v), fill in zip(
            list(drawn.items())[1:6], (2, 500, 0, 300, 0), strict=True
        )
    }
    more["subject"] = np.concatenate([drawn["subject"], np.arange(10)])
    plain = withheld(Tables.of(**drawn))
    silent = withheld(Tables.of(**more, n_subjects=10))
    np.testing.assert_allclose(plain.p_value, silent.p_value)


def test_order_and_splitting_of_rows_do_not_matter():
    drawn = centre(np.random.default_rng(6), 15, spread=0.2)
    want = withheld(Tables.of(**drawn))
    order = np.random.default_rng(7).permutation(30)
    shuffled = {k: v[order] if k != "n_subjects" else v for k, v in drawn.items()}
    got = withheld(Tables.of(**shuffled))
    np.testing.assert_allclose(got.p_value, want.p_value)


def test_too_little_trouble_is_untestable_and_never_clean():
    drawn = centre(np.random.default_rng(8), 10, trouble=150)
    few = drawn["subject"] == 3
    for name in ("contacts", "invited", "trouble", "both"):
        drawn[name] = np.where(few, drawn[name] // 20, drawn[name])
    got = withheld(Tables.of(**drawn))
    assert np.isnan(got.p_value[3])
    assert got.testable.sum() == 9


def test_two_agents_have_no_peers():
    got = withheld(Tables.of(**centre(np.random.default_rng(9), 2)))
    assert not got.testable.any()


def test_the_allowed_excess_is_part_of_the_hypothesis():
    tables = Tables.of(
        **centre(np.random.default_rng(10), 20, spread=0.1, gamed=1, game=0.3)
    )
    plain, allowed = withheld(tables), withheld(tables, min_excess=10.0)
    assert (allowed.p_value >= plain.p_value - 1e-12).all()
    assert allowed.p_value[0] > 2 * plain.p_value[0]
    by_ratio = withheld(tables, min_ratio=1.5)
    assert by_ratio.p_value[0] > plain.p_value[0]


def test_honest_p_values_are_not_too_small():
    rng = np.random.default_rng(11)
    p = np.concatenate(
        [withheld(Tables.of(**centre(rng, 30, spread=0.2))).p_value for _ in range(5)]
    )
    assert (p < 0.05).mean() < 0.08
    assert (p < 0.01).mean() < 0.02


def test_intervals_at_other_levels_nest():
    tables = Tables.of(**centre(np.random.default_rng(12), 12, gamed=1, game=0.3))
    got = withheld(tables)
    assert got.interval is not None
    rows = np.arange(12)
    low, high = got.interval(rows, 0.95)
    wide_low, wide_high = got.interval(rows, 0.999)
    assert (wide_low < low).all()
    assert (wide_high > high).all()
    np.testing.assert_allclose(low, got.low)
    assert got.breaking_point is not None
    assert (got.breaking_point(rows, 1e-9) <= 1.01).all()


def test_a_floor_that_invites_less_after_trouble_than_before_is_found():
    rng = np.random.default_rng(13)
    before = Tables.of(**centre(rng, 20, spread=0.2))
    same = Tables.of(**centre(rng, 20, spread=0.2))
    less = Tables.of(**centre(rng, 20, spread=0.2, gamed=20, game=0.4))
    assert changed(before, same).p_value[0] > 0.2
    got = changed(before, less)
    assert got.p_value[0] < 0.001
    assert 0.3 < got.ratio[0] < 0.55
    assert got.low[0] > 0


def test_a_few_agents_do_not_make_a_floor():
    rng = np.random.default_rng(14)
    before = Tables.of(**centre(rng, 20, spread=0.1))
    some = Tables.of(**centre(rng, 20, spread=0.1, gamed=6, game=0.05))
    assert changed(before, some).p_value[0] > 0.05


def test_seven_agents_are_no_floor():
    rng = np.random.default_rng(15)
    tables = [Tables.of(**centre(rng, 7)) for _ in range(2)]
    assert np.isnan(changed(*tables).p_value[0])
