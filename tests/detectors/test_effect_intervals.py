"""Tests of how many invitations went missing, and of the interval of that number."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from kpiaudit.detectors import _survey_selection_signs as signing
from kpiaudit.detectors.base import Summary
from kpiaudit.stats.odds import Tables
from kpiaudit.stats.selection import withheld

GAMERS = 4


def stamped(rng, *, near, strength, agents=16):
    """Draw orders of which some more are near the promise, and wait long there.

    Returns the tables and the long waits that the pattern added, shape (agents,).
    """
    game = strength * (np.arange(agents) < GAMERS)
    own, more = rng.normal(0, 0.2, (2, agents))
    total = rng.poisson(700, agents)
    early = rng.binomial(total, near * game)
    close = rng.binomial(total - early, near)
    chance, usual = expit(-2.2 + own), expit(-2.2 + own + more)
    extra = rng.binomial(early, np.clip(0.6 - usual, 0, 1))
    long_close = rng.binomial(close, usual) + rng.binomial(early - extra, usual)
    far = total - early - close
    tables = Tables.of(
        np.arange(agents),
        np.zeros(agents, dtype=np.int64),
        contacts=total,
        invited=total - long_close - extra - rng.binomial(far, chance),
        trouble=early + close,
        both=early + close - long_close - extra,
        n_subjects=agents,
    )
    return tables, extra


@pytest.mark.parametrize(("near", "strength"), [(0.1, 0.8), (0.35, 0.6)])
def test_what_a_pattern_adds_is_not_expected_of_it(near, strength):
    rng = np.random.default_rng([round(100 * near), round(10 * strength)])
    inside, ratio = [], []
    for _ in range(6):
        tables, true = stamped(rng, near=near, strength=strength)
        got, some = withheld(tables), slice(GAMERS)
        inside += ((got.low <= true) & (true <= got.high))[some].tolist()
        ratio += (got.effect[some] / true[some]).tolist()
        # Given the margins, a good part of it would be.
        assert got.extra["within"][some].sum() < got.effect[some].sum()
    assert np.mean(inside) >= 0.92
    assert np.median(ratio) == pytest.approx(1.0, abs=0.15)


def test_the_interval_widens_with_the_level_and_holds_the_effect():
    tables, _ = stamped(np.random.default_rng(3), near=0.3, strength=0.5)
    got, rows = withheld(tables), np.arange(16)
    low, high = got.interval(rows, 0.95)
    np.testing.assert_allclose(low, got.low)
    np.testing.assert_allclose(high, got.high)
    lower, higher = got.interval(rows, 0.99)
    assert (lower < low).all()
    assert (higher > high).all()
    assert ((got.low < got.effect) & (got.effect < got.high)).all()
    np.testing.assert_allclose(got.effect, got.observed - got.expected)


def test_few_other_contacts_say_little():
    rng = np.random.default_rng(4)
    tables, _ = stamped(rng, near=0.3, strength=0.0)
    many = withheld(tables)
    cut = {"contacts": tables.contacts.copy(), "invited": tables.invited.copy()}
    easy = cut["contacts"][0] - tables.trouble[0]
    kept = cut["invited"][0] - tables.both[0]
    # The first agent keeps a twentieth of the contacts without trouble.
    cut["contacts"][0] -= easy - round(easy / 20)
    cut["invited"][0] -= kept - round(kept / 20)
    few = withheld(Tables(**{**vars(tables), **cut}))
    assert few.high[0] - few.low[0] > 1.5 * (many.high[0] - many.low[0])


SIGNS = {"complained": (0.15, 0.005), "repeat": (0.5, 0.05), "flagged": (0.4, 0.01)}


def withholding(rng, agents=20):
    """Draw contacts whose trouble three signs show in part; some agents withhold."""
    ids = np.array([f"A{i:02d}" for i in range(agents)], dtype=object)
    n = rng.poisson(1600, agents)
    trouble = rng.binomial(n, 0.15)
    base = expit(rng.normal(0, 0.2, agents))
    after = expit(np.log(base / (1 - base)) - 0.3 + rng.normal(0, 0.2, agents))
    game = 0.8 * (np.arange(agents) < GAMERS)
    invited = rng.binomial(trouble, after)
    kept_back = rng.binomial(invited, game)
    easy = rng.binomial(n - trouble, base)
    counts = {"contacts": n, "invited": invited - kept_back + easy}
    true = np.zeros((agents, len(signing.ORDER)))
    for sign, (often, seldom) in SIGNS.items():
        gone = rng.binomial(kept_back, often)
        asked = rng.binomial(invited - kept_back, often) + rng.binomial(easy, seldom)
        rest = rng.binomial(trouble - invited, often)
        rest += rng.binomial(n - trouble - easy, seldom)
        counts |= {sign: gone + asked + rest, f"{sign}_invited": asked}
        true[:, signing.ORDER.index(sign)] = gone
    columns = {name: each.astype(np.int64) for name, each in counts.items()}
    return Summary(columns={"agent_id": ids, **columns}), true


def test_trouble_that_a_sign_does_not_show_is_allowed_for():
    rng = np.random.default_rng(5)
    question = signing.Question(min_trouble=20.0, min_excess=1.0)
    inside, width = [], []
    for _ in range(4):
        counts, true = withholding(rng)
        got = signing.tested(signing.Cells.of(counts), question)
        mine = true[np.arange(20), got.extra["sign"].astype(int)]
        found = (np.arange(20) < GAMERS) & (got.p_value < 0.01)
        inside += ((got.low <= mine) & (mine <= got.high))[found].tolist()
        width += ((got.high - got.low) / got.effect)[found].tolist()
    assert len(inside) >= 12
    assert np.mean(inside) >= 0.92
    assert np.median(width) < 1.6
