"""duration-cap: agents who game a cap don't hide each other, at the level of counts."""

from __future__ import annotations

import numpy as np
import pytest

from kpiaudit.detectors import _duration_cap_masked as masked
from kpiaudit.detectors import _duration_cap_repeats as repeats
from kpiaudit.detectors.base import Summary

AGENTS = 30


def counts(rng, honest, planted=()):
    """Draw a centre with few calls near the cap; some agents game it hard."""
    size = rng.gamma(4.0, 3.0, AGENTS)
    near = rng.poisson(size * np.exp(0.3 * honest(rng)))
    below = rng.poisson(3.3 * size)
    over = rng.poisson(0.93 * size)
    near[: len(planted)] = planted
    over[: len(planted)] = rng.integers(1, 4, len(planted))
    return masked.Counts(
        subject=np.arange(AGENTS),
        stratum=np.zeros(AGENTS, dtype=np.int64),
        near=near,
        over=over,
        trials=below + near + over,
        n_subjects=AGENTS,
        dispersion=None,
        min_excess=4.0,
    )


HONEST = {
    "heavy": lambda rng: rng.standard_t(3, AGENTS) / np.sqrt(3),
    "skewed": lambda rng: rng.gamma(1.0, 1.0, AGENTS) - 1,
}


@pytest.mark.parametrize("honest", HONEST.values(), ids=HONEST.keys())
def test_three_who_game_a_cap_hard_do_not_hide_each_other(honest):
    centre = counts(np.random.default_rng(1), honest, (86, 120, 163))
    outcome = masked.excess(centre)
    level = 0.05 * 3 / AGENTS
    assert (outcome.p_value[:3] <= level).all()
    assert not (outcome.p_value[3:] <= level).any()
    assert (outcome.p_value[:3] < centre.ask().p_value[:3]).all()
    rows = np.arange(3)
    low, high = outcome.interval(rows, 0.95)
    np.testing.assert_allclose(low, outcome.low[:3], rtol=1e-6)
    np.testing.assert_allclose(high, outcome.high[:3], rtol=1e-6)
    assert (outcome.breaking_point(rows, level) > 1).all()


@pytest.mark.parametrize("honest", HONEST.values(), ids=HONEST.keys())
def test_honest_agents_are_hardly_ever_asked_twice(honest):
    rng = np.random.default_rng(2)
    raised = [masked.raised_agents(counts(rng, honest)).sum() for _ in range(60)]
    assert sum(n >= 2 for n in raised) == 0


def test_a_queue_whose_calls_end_at_the_cap_raises_nobody():
    rng = np.random.default_rng(3)
    centre = counts(rng, HONEST["heavy"])
    queue = (np.arange(AGENTS) < 6).astype(np.int64)
    near = np.where(queue == 1, 100 + rng.integers(0, 20, AGENTS), centre.near)
    over = np.where(queue == 1, 2, centre.over)
    other = masked.Counts(
        subject=centre.subject,
        stratum=queue,
        near=near,
        over=over,
        trials=near + over + 50,
        n_subjects=AGENTS,
        dispersion=None,
        min_excess=4.0,
    )
    assert not masked.raised_agents(other).any()


def test_two_of_twelve_with_few_long_calls_do_not_hide_each_other():
    near = np.array([70, 33, 2, 3, 5, 3, 7, 5, 2, 7, 13, 3])
    over = np.array([1, 0, 3, 2, 4, 9, 1, 5, 3, 2, 7, 3])
    below = np.array([14, 12, 19, 23, 12, 16, 18, 27, 19, 19, 18, 19])
    few = masked.Counts(
        subject=np.arange(12),
        stratum=np.zeros(12, dtype=np.int64),
        near=near,
        over=over,
        trials=below + near + over,
        n_subjects=12,
        dispersion=None,
        min_excess=4.0,
    )
    assert masked.raised_agents(few).tolist() == [True, True] + [False] * 10
    p = masked.excess(few).p_value
    assert (p[:2] < few.ask().p_value[:2]).all()
    assert p[0] < 0.01
    assert p[2:].min() > 0.1


def followed(again, *, agents=30, calls=60):
    """Return repeat calls after 60 calls near the cap and 240 around it."""
    ids = np.array([f"A{i:02d}" for i in range(agents)], dtype=object)
    columns = {
        "agent_id": ids,
        "queue": np.array(["q"] * agents, dtype=object),
        "near": np.full(agents, calls),
        "near_again": np.asarray(again),
        "rest": np.full(agents, 4 * calls),
        "rest_again": np.full(agents, calls // 2),
    }
    return repeats.Repeats.of(Summary(columns=columns), ids)


def test_peers_are_chosen_by_repeat_calls_where_several_agents_have_more():
    usual = np.full(30, 8)
    assert followed(usual).ordinary() is None
    alone, several = usual.copy(), usual.copy()
    alone[0], several[:6] = 35, 35
    assert followed(alone).ordinary() is None
    chosen = followed(several).ordinary()
    assert chosen.sum() >= 15
    assert not chosen[:6].any()
    # Too few are left to measure the others by.
    assert followed(several[:12], agents=12).ordinary() is None


def test_repeat_calls_are_asked_about_only_of_those_who_stand_out():
    several = np.full(30, 8)
    several[:6] = 35
    p = np.where(np.arange(30) < 3, 0.05, 0.6)
    again = followed(several).ask(p)
    assert (again[:3] < 0.01).all()
    assert (again[3:] == 1.0).all()


def test_two_choices_of_peers_that_agree_lose_nothing_for_looking_twice():
    plain = np.array([0.01, 0.6, 0.001, np.nan])
    chosen = np.array([0.01, 0.001, 0.6, 0.001])
    got = repeats.looked(plain, chosen)
    np.testing.assert_allclose(got[:3], [0.01, 0.002, 0.002], rtol=0.02)
    assert repeats.looked(plain, None) is plain


@pytest.mark.parametrize("again", [np.nan, 0.5, 0.01, 1e-6])
@pytest.mark.parametrize("chosen", [True, False])
def test_what_is_needed_against_peers_is_what_is_kept(again, chosen):
    alone, kept = repeats.needed(0.001, again)
    for p, second in [(alone, np.nan), repeats.shares(kept, chosen=chosen)]:
        for factor, within in ((0.99, True), (1.01, False)):
            plain = np.array([max(p, 1e-12) * factor])
            other = np.array([second * factor]) if chosen else None
            best = repeats.looked(plain, other)
            got = repeats.combined(plain, np.array([again]), best)[0]
            if within and p > 0.0:
                assert got <= 0.001
            if p >= max(alone, kept):
                assert (got <= 0.001) == within
