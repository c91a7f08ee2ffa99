"""The detector of surveys that go out only after contacts without trouble."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import narwhals as nw
import numpy as np

from kpiaudit.detectors import _plant_surveys as planting
from kpiaudit.detectors import _replicas as chains
from kpiaudit.detectors import _replicas_counts as replicas
from kpiaudit.detectors import _survey_selection_counts as counting
from kpiaudit.detectors import _survey_selection_find as finding
from kpiaudit.detectors import _survey_selection_floor as flooring
from kpiaudit.detectors import _survey_selection_leftout as leaving_out
from kpiaudit.detectors import _survey_selection_replicas as redrawing
from kpiaudit.detectors import _survey_selection_restate as restating
from kpiaudit.detectors import _survey_selection_signs as signing
from kpiaudit.detectors import _survey_selection_words as words
from kpiaudit.detectors.base import (
    Account,
    Alternative,
    Detector,
    Explain,
    Tested,
    Verdicts,
    param,
)
from kpiaudit.findings import Effect
from kpiaudit.tables.sharing import once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kpiaudit.detectors.base import Found, Row, Summaries
    from kpiaudit.findings import Grade
    from kpiaudit.stats.outcome import Outcome
    from kpiaudit.tables.dataset import Dataset, Frame

_MIN_DAYS = 10
_MIN_EFFECT = 1.0


@dataclass(frozen=True, kw_only=True)
class SurveySelection(Detector):
    """Invitations to the survey that stay away after contacts with trouble.

    ## Why it matters
    A satisfaction score is an average over those who were asked. Whoever decides who is
    asked decides the score: leave out the customers who had trouble, and the number
    rises while the service stays as it was.

    ## Evidence
    For each agent, contacts with a sign of trouble and contacts without, invited and
    not, within queue, channel and direction. Agents may invite much or little and may
    meet much or little trouble: only the odds ratio between the two counts, and it is
    held against the odds ratio of the other agents, allowing for how much honest agents
    differ in it. Each sign is tested by itself: a complaint to the house, a refund or
    credit, a ticket opened again, a long hold, a caller passed on, a repeat contact;
    these were not written by the agent. Their answers are added up, as answers that go
    together. The agent's own complaint flag and "not resolved" are tested apart, and
    together with the others; the three answers are combined with weights of four, three
    and three tenths, and a finding that the others' signs do not carry by
    themselves is weak. Contacts that a system rule keeps from the survey (marked so in
    the log, within the contact limit of a customer, too short, on a day without
    surveys) are left out before anything is counted. Whether trouble that
    others recorded is missing from the agent's notes is reported beside it. How many
    invitations are missing is counted by the agent's own contacts without the sign; the
    interval allows for trouble that only other signs show, and for the choice of the
    clearest sign.

    Agents who leave trouble out of their notes can hide it where nobody else recorded
    any. Where three of 24 withheld 80 % of the invitations after trouble and all
    columns were there, 17 of 24 were found with true notes, 6 of 24 with half of these
    notes false, and 3 of 24 with 95 % (docs/accuracy.md, whole centres): more than half
    is lost.

    ## Innocent explanations
    Queues or channels without surveys; a limit on how often a customer is asked;
    customers who opted out; contacts too short for a survey; unhappy customers who
    leave before the survey, as they do with every agent. If all agents withhold alike,
    or a rule of the system does, nothing in these tables tells that from customers
    leaving; only with the day on which a target began (`since`) is the floor compared
    with itself before that day.

    ## Source
    Cornfield (1956) for the conditional test; Mantel & Haenszel (1959) and Robins,
    Breslow & Greenland (1986) for the odds ratios; Hartung (1999) for adding up signs
    that go together; Liu & Xie (2020) for combining the answers; Maclure (1991) for
    comparisons within customers; Manski (1990) for the bounds of the score.
    """

    id: ClassVar[str] = "survey-selection"
    version: ClassVar[int] = 2
    kpi: ClassVar[str] = "csat"
    level: ClassVar[int] = 3
    table: ClassVar[str] = "calls"
    needs: ClassVar[tuple[str, ...]] = (
        "calls.agent_id",
        "calls.call_id",
        "surveys.survey_id",
        "surveys.call_id",
    )
    uses: ClassVar[tuple[str, ...]] = (
        "calls.queue",
        "calls.channel",
        "calls.direction",
        "calls.customer_id",
        "calls.started_at",
        "calls.talk_s",
        "calls.hold_s",
        "calls.complaint",
        "calls.resolved",
        "calls.ticket_id",
        "surveys.responded_at",
        "surveys.score",
        "surveys.eligible",
        "surveys.suppressed_by",
        "outcomes.customer_id",
        "outcomes.kind",
        "tickets.reopened_at",
    )
    explanations: ClassVar[tuple[Explain, ...]] = words.EXPLANATIONS
    blind: ClassVar[str] = (
        "Invitations withheld by all agents alike: customers who leave early and rules "
        "of the system look the same."
    )
    alternative: ClassVar[Alternative] = Alternative(
        text="peers' contacts with trouble that were not invited either",
        same_if="these customers had left before the survey",
        selected_on=("contact", "complaint", "refund", "reopened", "survey"),
    )
    floor_rate: ClassVar[tuple[str, str, str, str] | None] = (
        *("response_rate", "cells", "answers", "invited"),
    )
    rate_adds: ClassVar[str] = restating.LEFT_OUT
    floor_kpi: ClassVar[tuple[str, str, str, float] | None] = (
        "cells",
        "score_milli",
        "answers",
        0.001,
    )
    stake: ClassVar[str] = "an agent's invitations after trouble"
    supposed: ClassVar[str] = "each sign of trouble keeps invitations back alike"

    repeat_hours: float = param(
        24.0,
        unit="h",
        doc="Another contact of the customer within this time is a sign of trouble.",
        low=0.0,
    )
    hold_long_s: float = param(
        120.0, unit="s", doc="A longer hold is a sign of trouble.", low=0.0
    )
    outcome_days: float = param(
        14.0,
        unit="days",
        doc="A complaint or refund within this time belongs to the contact.",
        low=0.0,
    )
    min_trouble: int = param(
        20,
        unit="contacts",
        doc="Fewer contacts with a sign leave an agent untested by it.",
        low=1,
    )

    @property
    def _windows(self) -> counting.Windows:
        return counting.Windows(
            repeat_hours=self.repeat_hours,
            hold_long_s=self.hold_long_s,
            outcome_days=self.outcome_days,
        )

    def discover(self, data: Dataset) -> Mapping[str, Frame]:
        return counting.discovery(data, self._windows)

    def find(self, summaries: Summaries) -> Found:
        return finding.rules(summaries)

    def _contacts(self, data: Dataset, found: Found) -> Frame:
        frame = counting.contacts(data, self._windows)
        return counting.eligible(frame, data, found, self._windows)

    def summarize(self, data: Dataset, found: Found) -> Mapping[str, Frame]:
        """Count per agent and stratum.

        `cells` has one row per `agent_id` and, where the columns exist, `queue`,
        `channel`, `direction` (and `after`, 0 or 1, if `since` is set), with the counts
        `contacts`, `invited`, `answers`, `score_milli`, `score_sq` and, per sign of
        trouble, `<sign>` (contacts with it), `<sign>_invited`, `<sign>_answers`,
        `<sign>_score` and, if the complaint flag exists, `<sign>_flagged`. The test
        itself needs only `contacts`, `invited`, `<sign>` and `<sign>_invited`. `agents`
        has `days` per agent; `pairs` how customers' contacts fell; `patterns`
        `contacts` by which signs (0 or 1 each) they have; `troubled` those with any.
        """
        frame = once(leaving_out.needed(self._contacts(data, found), data))
        troubled = leaving_out.troubled(frame, data)
        return {**counting.summaries(frame, data, self.since_day), "troubled": troubled}

    def test(
        self, summaries: Summaries, found: Found, *, min_effect: float | None
    ) -> Verdicts:
        if "no_log" in found:
            return Verdicts(skipped=str(found["no_log"]))
        counts = summaries["cells"]
        if not len(counts):
            return Verdicts(skipped="no contact could be matched with the survey log")
        cells = signing.Cells.of(counts)
        if not cells.signs():
            return Verdicts(
                skipped="no sign of trouble can be read from the tables: give "
                "calls.customer_id with calls.started_at, calls.hold_s, outcomes, "
                "tickets or calls.complaint"
            )
        question = signing.Question(
            min_trouble=float(self.min_trouble),
            min_excess=_MIN_EFFECT if min_effect is None else min_effect,
        )
        outcome = _with_notes(
            _long_enough(signing.tested(cells, question), cells, summaries), cells
        )
        agents = Tested(
            kind="agent",
            ids=cells.ids,
            outcome=outcome,
            share=1.0 - flooring.SHARE,
            unit="invitations",
        )
        floor = flooring.floor(cells)
        return Verdicts(
            tested=(agents,) if floor is None else (floor, agents),
            blind_spots=_blind(cells, found, alone=floor is None),
            found=(
                *_sentences(found),
                *flooring.described(summaries, found, cells.signs()[0]),
            ),
        )

    def replicas(
        self, summaries: Summaries, found: Found, *, number: int, seed: int
    ) -> Iterator[Summaries]:
        if "no_log" in found or not len(summaries["cells"]):
            return
        cells = signing.Cells.of(summaries["cells"])
        outside = chains.reported(
            self.test(summaries, found, min_effect=None), cells.ids
        )
        habits = redrawing.habits(summaries, outside, float(self.min_trouble))
        for each in range(number):
            rng = np.random.default_rng([seed, each])
            drawn = replicas.invitations(cells.counts, cells.agent, habits, rng)
            yield {**summaries, "cells": drawn}

    def plant(
        self, summaries: Summaries, found: Found, agents: Mapping[str, float], seed: int
    ) -> Summaries | None:
        signs = signing.Cells.of(summaries["cells"]).signs()
        return planting.survey_selection(summaries, agents, seed, signs=signs)

    def account(self, row: Row) -> Account:
        if row.kind == "floor":
            return flooring.account(row, str(self.since))
        sign = words.sign_of(row)
        trials, observed = row.value("trials"), row.value("observed")
        expected, excess = row.value("expected"), row.value("effect")
        cells = row.summaries["cells"]
        mine = cells["agent_id"] == row.id
        invited = float(cells.ints("invited")[mine].sum())
        left = leaving_out.left_out(row, sign)
        said = restating.Said.of(row, left, words.SIGNS)
        independent = row.value("independent") > 0.5
        cap: Grade = "strong" if independent else "weak"
        if independent and "answers_known" not in row.found:
            cap = "moderate"
        return Account(
            headline=(
                f"Agent {row.id}: {observed:.0f} of {trials:.0f} {words.SIGNS[sign]} "
                "were not invited to the survey; "
                f"{expected:.0f} would be usual among peers."
            ),
            effect=Effect(
                name="invitations withheld after trouble",
                value=excess,
                low=row.value("low"),
                high=row.value("high"),
                unit="invitations",
            ),
            n=int(trials),
            observed=observed,
            expected=expected,
            harm=float(np.clip(excess / max(invited + excess, 1.0), 0.0, 1.0)),
            evidence=(*words.figures(row), *said.evidence),
            explanations=words.explanations(row),
            rests_on=words.rests_on(row),
            peers=(
                "The other agents in the same queue, channel and direction, by their "
                "odds of inviting after trouble against otherwise."
            ),
            next_step=(
                "Listen to twenty of these contacts and to twenty invited ones: was "
                "the survey announced, by whom is it sent, who can stop it? Then ask a "
                "random sample of those who were not asked."
            ),
            corroboration=words.other_signs(row),
            restated=said.score,
            also_restated=said.rate,
            grade_cap=cap,
        )

    def records(
        self, data: Dataset, subject: tuple[str, str], found: Found
    ) -> Mapping[str, Frame]:
        frame = self._contacts(data, found)
        if subject[0] == "agent":
            frame = frame.filter(nw.col("agent_id") == subject[1])
        signs = counting.signs_of(data)
        trouble = nw.col(signs[0])
        for sign in signs[1:]:
            trouble = trouble + nw.col(sign)
        frame = frame.with_columns(trouble=trouble).select(
            "call_id", "agent_id", "trouble", "invited"
        )
        hard = nw.col("trouble") > 0
        kept_back = frame.filter(hard & (nw.col("invited") == 0))
        calls = data.table("calls")
        return {
            name: calls.join(
                part.select("call_id", "agent_id"),
                on=["call_id", "agent_id"],
                how="inner",
            )
            for name, part in (("flagged", kept_back), ("control", frame.filter(~hard)))
        }


def _long_enough(
    outcome: Outcome, cells: signing.Cells, summaries: Summaries
) -> Outcome:
    """Leave agents with too few days untested."""
    if "agents" not in summaries:
        return outcome
    agents = summaries["agents"]
    days = dict(zip(agents["agent_id"], agents.ints("days"), strict=True))
    short = np.array([days.get(str(agent), 0) < _MIN_DAYS for agent in cells.ids])
    return replace(outcome, p_value=np.where(short, np.nan, outcome.p_value))


def _with_notes(outcome: Outcome, cells: signing.Cells) -> Outcome:
    """Add whether trouble is missing from the agents' own notes."""
    notes = signing.unrecorded(cells)
    if notes is None:
        return outcome
    sign, missing = notes
    extra = {
        "notes.p": missing.p_value,
        "notes.observed": missing.observed,
        "notes.expected": missing.expected,
        "notes.trials": missing.trials,
        "notes.sign": np.full(len(outcome), float(signing.ORDER.index(sign))),
    }
    return replace(outcome, extra={**outcome.extra, **extra})


def _blind(cells: signing.Cells, found: Found, *, alone: bool) -> tuple[str, ...]:
    out = [SurveySelection.blind] if alone else []
    if alone:
        out.append(
            "Whether the floor changed when a target or bonus began: the rule does not "
            "name that day (since)."
        )
    signs = cells.signs()
    if not any(sign in counting.INDEPENDENT for sign in signs):
        out.append(
            "Trouble is known from the agents' own notes only: what they did not write "
            "down can't be seen."
        )
    if found and "answers_known" not in found:
        out.append(
            "Without surveys.responded_at or surveys.score nobody can check that the "
            "table holds all invitations and not answers only."
        )
    return tuple(out)


def _sentences(found: Found) -> tuple[str, ...]:
    out = []
    if found.get("gap_days"):
        out.append(f"Customers are not invited again within {found['gap_days']} days.")
    if found.get("shortest_s"):
        out.append(f"Contacts of less than {found['shortest_s']} s are not invited.")
    if found.get("outage_days"):
        days = len(found["outage_days"])
        out.append(f"On {days} day{'s' * (days > 1)} hardly any survey went out.")
    return tuple(out)
