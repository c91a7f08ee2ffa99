"""Simulated surveys and outcomes: selection, coaching, and what resembles them."""

from __future__ import annotations

from functools import cache

import polars as pl
import pytest

from kpiaudit.tables.simulate import Centre, Plant, Simulated, simulate

SMALL = {"agents": 20, "days": 42, "tables": ("calls", "surveys", "outcomes")}
TROUBLE = ("complaint", "refund", "credit", "churn")


@cache
def centre(*lookalikes: str, plant: Plant | None = None) -> Simulated:
    plants = (plant,) if plant else ()
    return simulate(Centre(seed=11, lookalikes=lookalikes, plants=plants, **SMALL))


def contacts(simulated: Simulated) -> pl.DataFrame:
    """Return contacts that could be invited, with `invited` and later trouble."""
    sent = simulated.tables["surveys"].filter("eligible").select("call_id", "score")
    later = simulated.tables["outcomes"].filter(pl.col("kind").is_in(TROUBLE))
    calls = simulated.tables["calls"].filter(
        pl.col("agent_id").is_not_null(), pl.col("talk_s") + pl.col("hold_s") >= 30
    )
    return calls.with_columns(
        invited=pl.col("call_id").is_in(sent["call_id"]),
        trouble=pl.col("customer_id").is_in(later["customer_id"]),
    ).join(sent, on="call_id", how="left")


def invited_share(frame: pl.DataFrame, *, trouble: bool) -> float:
    return float(frame.filter(pl.col("trouble") == trouble)["invited"].mean())


def test_the_log_holds_every_invitation_answered_or_not() -> None:
    surveys = centre().tables["surveys"]
    assert surveys["survey_id"].n_unique() == len(surveys)
    assert surveys["call_id"].n_unique() == len(surveys)
    answered = surveys["responded_at"].is_not_null()
    assert (answered == surveys["score"].is_not_null()).all()
    assert 0.25 < answered.mean() < 0.4
    said = surveys.filter(answered)
    assert said["score"].is_between(1, 5).all()
    assert (said["responded_at"] > said["sent_at"]).all()
    assert 0.5 < (said["score"] == 5).mean() < 0.68


def test_trouble_leaves_traces_that_others_record() -> None:
    found = contacts(centre())
    flagged = found.filter("complaint")["trouble"].mean()
    assert flagged > 2 * found.filter(~pl.col("complaint"))["trouble"].mean()
    low = found.filter(pl.col("score") <= 2)["complaint"].mean()
    assert low > 2 * found.filter(pl.col("score") == 5)["complaint"].mean()


def test_unhappy_customers_leave_before_the_survey_unless_switched_off() -> None:
    def ratio(simulated: Simulated) -> float:
        found = contacts(simulated)
        shares = found.group_by("complaint").agg(pl.col("invited").mean())
        by_flag = dict(shares.iter_rows())
        return by_flag[True] / by_flag[False]

    assert ratio(centre()) < 0.9
    assert ratio(centre("no-unhappy-leave")) > 0.95


def test_selection_keeps_back_the_asked_share_of_invitations_after_trouble() -> None:
    plant = Plant(pattern="survey-selection", agents=4, strength=0.7)
    made = centre(plant=plant)
    truth = made.truth["survey-selection"]
    assert truth["events"] / truth["eligible"] == pytest.approx(0.7, abs=0.06)
    found = contacts(made)
    assert not found.filter(pl.col("call_id").is_in(truth["records"]))["invited"].any()
    gaming = pl.col("agent_id").is_in(truth["agents"])
    assert invited_share(found.filter(gaming), trouble=True) < (
        invited_share(found.filter(~gaming), trouble=True) - 0.05
    )
    agent = truth["agents"][0]
    csat = truth["kpi"]["csat"]["by_agent"][agent]
    assert csat["reported"] > csat["without"]


def test_falsified_selection_hides_the_complaint() -> None:
    plain = Plant(pattern="survey-selection", agents=4, strength=0.7)
    hidden = Plant(pattern="survey-selection", agents=4, strength=0.7, falsify=0.95)
    shares = []
    for plant in (plain, hidden):
        made = centre(plant=plant)
        records = made.truth["survey-selection"]["records"]
        calls = made.tables["calls"].filter(pl.col("call_id").is_in(records))
        shares.append((calls["complaint"].mean(), calls["resolved"].mean()))
    assert 0.55 < shares[0][0] < 0.85
    assert shares[1][0] < 0.1
    assert shares[1][1] > 0.9


@pytest.mark.parametrize("how", ["device", "gift"])
def test_coached_answers_are_perfect_quick_and_leave_a_second_sign(how: str) -> None:
    plant = Plant(pattern="perfect-scores", agents=3, strength=0.6, how=how)
    made = centre(plant=plant)
    truth = made.truth["perfect-scores"]
    assert truth["events"] / truth["eligible"] == pytest.approx(0.6, abs=0.06)
    surveys = made.tables["surveys"].filter(pl.col("call_id").is_in(truth["records"]))
    assert (surveys["score"] == 5).all()
    calls = made.tables["calls"].select("call_id", "ended_at", "complaint")
    coached = surveys.join(calls, on="call_id")
    gap = (coached["responded_at"] - coached["ended_at"]).dt.total_seconds()
    assert gap.is_between(60, 121).all()
    assert coached["complaint"].any()
    if how == "device":
        assert coached["device"].n_unique() == 3
    else:
        given = made.tables["outcomes"].filter(
            pl.col("kind").is_in(["discount", "credit"])
        )
        assert coached["customer_id"].is_in(given["customer_id"].implode()).all()
    csat = truth["kpi"]["csat"]["by_agent"][truth["agents"][0]]
    assert csat["reported"] > csat["without"] + 0.1


def test_a_contact_cap_marks_whom_it_keeps_out() -> None:
    surveys = centre("contact-cap").tables["surveys"]
    out = surveys.filter(~pl.col("eligible"))
    assert len(out) > 50
    assert set(out["suppressed_by"]) == {"contact_cap"}
    assert out["sent_at"].is_null().all()
    sent = surveys.filter("eligible").sort("customer_id", "sent_at")
    gap = pl.col("sent_at").diff().over("customer_id").dt.total_days()
    assert sent.select(gap.min()).item() >= 29


def test_queues_with_more_trouble_invite_less_for_everybody() -> None:
    found = contacts(centre("simpson-queues"))
    first = pl.col("queue") == "billing"
    assert found.filter(first)["invited"].mean() < 0.35
    assert found.filter(~first)["invited"].mean() > 0.5
    assert found.filter(first)["complaint"].mean() > 0.15


def test_channels_differ_in_scores_and_invitations() -> None:
    found = contacts(centre("channel-scores"))
    chat = pl.col("channel") == "chat"
    assert 0.1 < found.select(chat.mean()).item() < 0.6
    for column in ("invited", "score"):
        mean = pl.col(column).mean()
        assert found.filter(chat).select(mean).item() > (
            found.filter(~chat).select(mean).item() + 0.05
        )


def test_excellent_agents_are_better_by_every_source() -> None:
    made = centre("excellent-agents")
    known = pl.col("agent_id").is_in(
        made.truth["lookalikes"]["excellent-agents"]["agents"]
    )
    found = contacts(made)
    best, rest = found.filter(known), found.filter(~known)
    assert best["score"].mean() > rest["score"].mean() + 0.2
    assert best["complaint"].mean() < rest["complaint"].mean()
    shops = made.tables["outcomes"].filter(pl.col("kind") == "mystery_shop")
    assert shops.filter(known)["value"].mean() > shops.filter(~known)["value"].mean()


def test_satisfaction_is_correlated_within_teams() -> None:
    def between(simulated: Simulated) -> float:
        scores = simulated.tables["surveys"].drop_nulls("score")
        teams = simulated.tables["calls"].select("call_id", "team_id")
        joined = scores.join(teams, on="call_id")
        return float(
            joined.group_by("team_id").agg(pl.col("score").mean())["score"].std()
        )

    assert between(centre("team-satisfaction")) > 2 * between(centre())
