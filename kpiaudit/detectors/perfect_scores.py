"""The detector of top scores that were coached or bargained for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import narwhals as nw
import numpy as np

from kpiaudit.detectors import _perfect_scores_answers as answers
from kpiaudit.detectors import _perfect_scores_count as count
from kpiaudit.detectors import _perfect_scores_explain as explain
from kpiaudit.detectors import _perfect_scores_questions as questions
from kpiaudit.detectors import _perfect_scores_words as words
from kpiaudit.detectors import _plant_surveys as planting
from kpiaudit.detectors import _replicas as chains
from kpiaudit.detectors import _replicas_counts as replicas
from kpiaudit.detectors.base import (
    Alternative,
    Detector,
    Explain,
    Tested,
    Verdicts,
    param,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kpiaudit.detectors.base import Account, Found, Row, Summaries
    from kpiaudit.tables.dataset import Dataset, Frame

_MIN_EFFECT = 3.0
_NO_SIGN = (
    "no column for a second sign: give surveys.responded_at with surveys.sent_at, "
    "surveys.device with surveys.customer_id, or outcomes; many top scores alone are "
    "what an excellent agent has"
)

_UNSEEN = {
    "timed_top": "Without surveys.responded_at and surveys.sent_at (or "
    "calls.ended_at) nobody can say how soon top scores came.",
    "placed_top": "Without surveys.device or surveys.address and surveys.customer_id "
    "several customers on one device can't be seen.",
    "asked": "Without calls.complaint, or outcomes together with surveys.customer_id, "
    "top scores in spite of trouble can't be seen.",
    "followed_top": "Without outcomes together with surveys.customer_id discounts "
    "beside an answer can't be seen.",
}
"""What can't be asked where no answer has this count."""


@dataclass(frozen=True, kw_only=True)
class PerfectScores(Detector):
    """Top scores above what peers get, and a second sign of how they came about.

    ## Why it matters
    A survey that is filled in at the agent's desk, or in return for a discount, says
    nothing about the service. Where a bonus hangs on the share of top scores, the
    customers' judgement is the cheapest thing to change, and those who are not paid for
    their answers lose the only voice they have in the figures.

    ## Evidence
    Two questions, and both have to be answered with yes:

    1. More top scores among the answers than peers in the same queue and channel have,
       beyond honest differences between agents and days that cluster; or, where agents
       differ too much for that, more than usual, and gathered among the answers that
       were fast, from a shared device or beside a discount, more than peers' are, or
       among those alone that were from a shared device or beside a discount. Of
       these ways the last counts most and the first least: excellent agents have many.
    2. At least one of four signs, each held against peers' top scores so that good
       service does not bring it about: answers within two minutes of the invitation;
       answers from a device or address that served several of the agent's customers and
       hardly anybody else's; top scores in spite of trouble (a complaint or refund
       soon after, or a complaint noted in the call), against what trouble costs the
       peers; a discount, credit or refund within a day of the answer.

    The larger of the two p-values decides; the second one's combines the signs, of
    which one may tell all or each a little. A share of top scores, however high, is
    never enough. Peers are everybody, and once more the agents who are ordinary in the
    other question, so that many who coach can't hide each other.
    Answers that the agent or a supervisor took down are compared with each other only,
    and a finding that rests on them is weak. The score is restated with the excess top
    scores at the mean of the peers' lower ones.

    ## Innocent explanations
    A truly excellent agent: high everywhere, at normal answering times. An easy queue.
    Few answers. Customers who are asked to answer at once, whatever they say: then
    lower scores come at once as well. A kiosk, a household or one customer's network.
    Credits given whatever the answer: then lower scores have them as well. If everybody
    coaches, peers hide it.

    ## Source
    Wang, Gui, Su, Sabatti & Owen (2022), Annals of Statistics 50(4):1890-1909, for
    asking two questions at once; Spiegelhalter (2005), Quality and Safety in Health
    Care 14:347-351, for honest differences; Liu & Xie (2020), JASA 115:393-402, for
    several answers into one; Schwanhäuser, Sakshaug & Kosyakova (2022),
    Public Opinion Quarterly 86(1), for why signs work in combination.
    """

    # Summaries that `test` reads, for whoever makes them directly:
    #   counts  agent_id, queue, contact (the call's channel), channel, administered_by
    #           (text); answers, top; timed_top, fast_top (top scores with both instants
    #           known, and fast); placed_top, owned_top (with a known device or address,
    #           and one that is the agent's own); asked, known_top (answers, and top
    #           ones, of which trouble could be known), troubled, troubled_top;
    #           followed_top, gift_top (whose customers' credits are known, and with
    #           one); signed, signed_top (answers, and top ones, that are fast, from
    #           the agent's own device or beside a credit); rare, rare_top (likewise
    #           without the fast ones; may be absent). For the wording: milli,
    #           top_milli (scores times 1,000), and timed_other, fast_other,
    #           followed_other, gift_other (lower scores).
    #   days    agent_id, day; the same counts. May be absent.

    id: ClassVar[str] = "perfect-scores"
    kpi: ClassVar[str] = "csat"
    level: ClassVar[int] = 3
    table: ClassVar[str] = "surveys"
    needs: ClassVar[tuple[str, ...]] = (
        "surveys.survey_id",
        "surveys.agent_id",
        "surveys.score",
    )
    uses: ClassVar[tuple[str, ...]] = (
        "surveys.score_max",
        "surveys.responded_at",
        "surveys.sent_at",
        "surveys.voided_at",
        "surveys.call_id",
        "surveys.customer_id",
        "surveys.channel",
        "surveys.device",
        "surveys.address",
        "surveys.administered_by",
        "calls.call_id",
        "calls.agent_id",
        "calls.queue",
        "calls.channel",
        "calls.ended_at",
        "calls.complaint",
        "outcomes.customer_id",
        "outcomes.at",
        "outcomes.kind",
    )
    explanations: ClassVar[tuple[Explain, ...]] = explain.EXPLANATIONS
    blind: ClassVar[str] = (
        "Top scores coached by everybody alike, and coaching that leaves none of the "
        "four signs: both look like a floor, or an agent, whom customers like."
    )
    alternative: ClassVar[Alternative] = Alternative(
        text="peers' top scores with the same signs",
        same_if="these customers had been pleased",
        selected_on=("complaint", "refund", "survey"),
    )
    floor_kpi: ClassVar[tuple[str, str, str, float] | None] = (
        "counts",
        "milli",
        "answers",
        0.001,
    )
    stake: ClassVar[str] = "an agent's answers"
    supposed: ClassVar[str] = (
        "coached answers come at once or, where times are not known, from one device"
    )

    fast_s: float = param(
        120.0, unit="s", doc="An answer within this time of the invitation is fast."
    )
    trouble_days: float = param(
        7.0,
        unit="days",
        doc="A complaint or refund within this time after the contact is trouble.",
        low=0.0,
    )
    gift_days: float = param(
        1.0,
        unit="days",
        doc="A credit or discount within this time of the answer belongs to it.",
        low=0.0,
    )
    shared_by: int = param(
        3,
        unit="customers",
        doc="A device with this many customers of one agent may be the agent's own.",
        low=2,
    )
    min_trouble: int = param(
        10,
        unit="answers",
        doc="Fewer answers after trouble leave that sign unasked.",
        low=1,
    )

    @property
    def _windows(self) -> count.Windows:
        return count.Windows(
            fast_ms=round(self.fast_s * 1000),
            trouble_ms=round(self.trouble_days * count.DAY_MS),
            gift_ms=round(self.gift_days * count.DAY_MS),
            customers=self.shared_by,
        )

    def discover(self, data: Dataset) -> Mapping[str, Frame]:
        return {"scale": count.scale(data)}

    def find(self, summaries: Summaries) -> Found:
        rows = summaries["scale"]
        if not len(rows):
            return {}
        best = rows.floats("best_low")[0], rows.floats("best_high")[0]
        given = bool(np.isfinite(best[0]))
        return {
            "top": float(rows.floats("highest")[0]),
            "levels": int(rows.ints("levels")[0]),
            "given": given,
            "mixed_scales": given and bool(best[0] != best[1]),
        }

    def summarize(self, data: Dataset, found: Found) -> Mapping[str, Frame]:
        return count.summaries(data, self._windows, found)

    def test(
        self, summaries: Summaries, found: Found, *, min_effect: float | None
    ) -> Verdicts:
        said = _sentences(found)
        if not len(summaries["counts"]):
            return Verdicts(skipped="no answered survey with an agent", found=said)
        cells = questions.Cells.of(summaries)
        outcome = answers.ask(
            cells,
            min_excess=_MIN_EFFECT if min_effect is None else min_effect,
            min_trouble=self.min_trouble,
        )
        spots = _blind_spots(cells)
        if outcome is None:
            return Verdicts(
                skipped=_NO_SIGN, untestable=cells.size, found=said, blind_spots=spots
            )
        tested = Tested(kind="agent", ids=cells.ids, outcome=outcome, unit="answers")
        return Verdicts(tested=(tested,), blind_spots=spots, found=said)

    def replicas(
        self, summaries: Summaries, found: Found, *, number: int, seed: int
    ) -> Iterator[Summaries]:
        if not len(summaries["counts"]):
            return
        cells = questions.Cells.of(summaries)
        outside = chains.reported(
            self.test(summaries, found, min_effect=None), cells.ids
        )
        learn = chains.learn_from(outside)
        cells = cells if learn is None else cells.among(learn)
        signs = questions.signs(cells, min_trouble=self.min_trouble)
        rate = questions.rates(cells, min_excess=0.0)[0]
        habits = chains.Habits(outcomes={"rate": rate, **signs}, outside=outside)
        for each in range(number):
            rng = np.random.default_rng([seed, each])
            yield {
                **summaries,
                **replicas.answers(summaries, habits, count.STRATA, rng),
            }

    def plant(
        self, summaries: Summaries, found: Found, agents: Mapping[str, float], seed: int
    ) -> Summaries | None:
        return planting.perfect_scores(summaries, agents, seed)

    def account(self, row: Row) -> Account:
        return words.agent(row, fast_s=self.fast_s)

    def records(
        self, data: Dataset, subject: tuple[str, str], found: Found
    ) -> Mapping[str, Frame]:
        frame = count.answers(data, self._windows, found)
        if subject[0] == "agent":
            frame = frame.filter(nw.col("agent_id") == subject[1])
        told = (
            nw.col("fast") + nw.col("owned") + nw.col("trouble") + nw.col("gift")
        ) * nw.col("is_top")
        columns: list[Any] = sorted(data.columns["surveys"])
        return {
            "flagged": frame.filter(told > 0).select(*columns),
            "control": frame.filter(told == 0).select(*columns),
        }


def _sentences(found: Found) -> tuple[str, ...]:
    out = []
    if found and not found["given"]:
        out.append(
            f"No column surveys.score_max: the largest score found, {found['top']:g}, "
            "is taken for the top score."
        )
    if found and found["levels"] <= 2:
        out.append(
            f"Only {found['levels']} different scores occur: on such a scale the top "
            "score says little, and every finding is weak."
        )
    return tuple(out)


def _blind_spots(cells: questions.Cells) -> tuple[str, ...]:
    counts = cells.counts
    out = [PerfectScores.blind]
    for column, sentence in _UNSEEN.items():
        if not counts.ints(column).sum():
            out.append(sentence)
    if not any(counts["queue"]):
        out.append(
            "No column calls.queue reached by surveys.call_id: agents in easy and hard "
            "queues are compared as if these were one."
        )
    own = np.isin(counts["administered_by"].astype(str), words.NOT_INDEPENDENT)
    taken, n = counts.ints("answers")[own].sum(), counts.ints("answers").sum()
    if taken:
        out.append(
            f"{taken} of {n} answers were taken down by the agent or a supervisor: no "
            "independent judgement; they are compared with each other only."
        )
    if cells.days is None:
        out.append("No instants in surveys: clustered days can't be seen.")
    return tuple(out)
