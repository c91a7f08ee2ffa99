"""The detector of calls that are hung up at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import narwhals as nw
import numpy as np

from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors import _incentives_schemes as schemes
from kpiaudit.detectors import _lengths as written
from kpiaudit.detectors import _plant_calls as planting
from kpiaudit.detectors import _short_calls_answers as answers
from kpiaudit.detectors import _short_calls_count as count
from kpiaudit.detectors import _short_calls_explain as explain
from kpiaudit.detectors import _short_calls_find as finds
from kpiaudit.detectors import _short_calls_floor as floors
from kpiaudit.detectors import _short_calls_look as look
from kpiaudit.detectors import _short_calls_placebo as placebo
from kpiaudit.detectors import _short_calls_questions as questions
from kpiaudit.detectors import _short_calls_words as words
from kpiaudit.detectors.base import (
    Alternative,
    Detector,
    Explain,
    Tested,
    Verdicts,
    param,
)
from kpiaudit.detectors.sources import SCHEMES
from kpiaudit.tables.dataset import ROW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kpiaudit.detectors.base import Account, Found, Row, Summaries
    from kpiaudit.tables.dataset import Dataset, Frame

_AGENT_SHARE, _FLOOR_SHARE = 0.8, 0.2


@dataclass(frozen=True, kw_only=True)
class ShortCalls(Detector):
    """Many calls that are over within seconds, whose callers ring again at once.

    ## Why it matters
    A caller who is hung up on counts as a call handled and lowers the average handle
    time. The agent gains calls per shift, or a rest; the caller has to dial again, and
    the second call is counted as well.

    ## Evidence
    Three questions of each agent, each among what the one before selects, so that
    honest answers don't depend on each other:

    1. Calls of less than half a minute, of all calls on the same queue.
    2. Calls of less than ten seconds, of those: whoever works where calls are brief by
       nature has many of 10 to 30 seconds as well.
    3. Calls that the same customer followed with another one within minutes, of the
       short calls, against peers' short calls. (Against the agent's own longer calls it
       would only show that the call failed.) Wrong numbers and silent callers don't
       ring again.

    All allow for honest differences between agents and for days that cluster. Peers in
    one question are agents who are ordinary in another, so that many who hang up can't
    hide each other. The three answers are added up, with room for some dependence, and
    none counts for more than four standard deviations: no single figure, however
    extreme, makes a finding. Short calls of one customer within half an hour count
    once, with whomever they were.

    Where a table says what was paid for (`incentives`, or targets in `kpis`) on calls
    handled or handle time, a fourth question is asked: does the agent have more short
    calls while the threshold is in reach than once it is met or lost? Habits, seats,
    novices and hard queues don't know the score.

    Beside the agents stands the whole floor: if everybody does it, peers hide it. The
    median agent's calls of 0 to 9 seconds are held against an extrapolation of the
    floor's own calls of 10 to 59 seconds. The excess includes innocent short calls that
    longer ones don't foretell: its lower end takes `floor_share` of calls off for them,
    and its upper end is all short calls.

    ## Innocent explanations
    - Dropped lines that follow the equipment: others at the same seat or on the same
      trunk have them too. That "the system" ended a call clears nobody by itself.
    - Wrong numbers and silent callers: nobody rings again.
    - One number calling again and again over several agents: found and taken out.
    - Calls answered automatically while the agent is away: they come in bursts.
    - An outage: most agents have short calls at once; found and taken out.

    ## Source
    Brown, Gans, Mandelbaum, Sakov, Shen, Zeltyn & Zhao (2005), Statistical analysis of
    a telephone call center, JASA 100(469), 36-50, section 4.1.
    """

    # Summaries that `test` reads, for whoever makes them directly:
    #   counts   agent_id, queue (text); calls, short, next (talk of max_talk_s to
    #            next_talk_s), short_known (short ones with a known customer and the
    #            whole redial window inside the export), short_redialled (of those),
    #            long_known, long_redialled: the same for calls of max_talk_s or more.
    #   days     agent_id, day; the same counts. May be absent.
    #   density  agent_id, second (0 to 59), calls: every call under a minute.
    # For explanations only: station and trunk (that column, agent_id, counts), lines
    # (trunk, queue, counts), ended_by and monitored (agent_id, that column, counts),
    # bursts (agent_id, short, burst).

    id: ClassVar[str] = "short-calls"
    kpi: ClassVar[str] = "calls_handled"
    level: ClassVar[int] = 1
    table: ClassVar[str] = "calls"
    needs: ClassVar[tuple[str, ...]] = ("calls.agent_id", "calls.talk_s")
    uses: ClassVar[tuple[str, ...]] = (
        "calls.queue",
        "calls.started_at",
        "calls.ended_at",
        "calls.customer_id",
        "calls.outcome",
        "calls.direction",
        "calls.ended_by",
        "calls.station",
        "calls.trunk",
        "calls.site_id",
        "calls.monitored",
        "calls.call_id",
        "calls.hold_s",
        "calls.wrap_s",
        *SCHEMES,
    )
    explanations: ClassVar[tuple[Explain, ...]] = explain.EXPLANATIONS
    blind: ClassVar[str] = (
        "Hanging up on callers after the first ten seconds, and a floor whose median "
        "agent hangs up on fewer callers than lines and wrong numbers can account for."
    )
    alternative: ClassVar[Alternative] = Alternative(
        text="peers' short calls",
        same_if="the line had dropped",
        counted=("contact",),
        decides=True,
    )
    stake: ClassVar[str] = "an agent's calls"
    supposed: ClassVar[str] = (
        "half of the callers who are got rid of ring again within minutes"
    )
    restates: ClassVar[tuple[str, ...]] = (
        "handle_time",
        "service_level",
        "first_contact_resolution",
    )
    floor_kpi: ClassVar[tuple[str, str, str, float] | None] = (
        "counts",
        "calls",
        "",
        1.0,
    )
    floor_planted: ClassVar[bool] = True
    unit_cost: ClassVar[str] = "contact"

    max_talk_s: float = param(
        10.0, unit="s", doc="A call with less talk than this is short.", low=1.0
    )
    next_talk_s: float = param(
        30.0, unit="s", doc="Calls from max_talk_s up to here are the next longer ones."
    )
    redial_s: float = param(
        900.0, unit="s", doc="A customer's next call within this time is a redial."
    )
    episode_s: float = param(
        1800.0, unit="s", doc="Short calls of one customer this near count once."
    )
    floor_share: float = param(
        0.04,
        unit="share",
        doc="Share of calls that may be over at once at the median agent for innocent "
        "reasons; the floor is tested against it.",
    )
    floor_share_alone: float = param(
        0.1,
        unit="share",
        doc="The same where nobody knows whether callers rang again: silent callers "
        "and wrong numbers then look like callers who were cut off.",
    )
    silent_calls: int = param(
        5, unit="contacts", doc="Short calls from which a number may count as silent."
    )

    @property
    def _windows(self) -> count.Windows:
        return count.Windows(
            short_s=self.max_talk_s,
            next_s=self.next_talk_s,
            redial_ms=round(self.redial_s * 1000),
            episode_ms=round(self.episode_s * 1000),
        )

    def discover(self, data: Dataset) -> Mapping[str, Frame]:
        out = {
            "whole": look.whole(data, self._windows),
            "lengths": written.lengths(data, outbound=False),
        }
        if data.has("calls.at_ms"):
            kinds = ["site_id", "trunk"]
            kinds = ["", *(kind for kind in kinds if data.has(f"calls.{kind}"))]
            out |= look.blocks(data, self._windows, kinds)
        if data.has("calls.customer_id"):
            out["numbers"] = look.numbers(
                data, self._windows, least=self.silent_calls, most=500
            )
        return out | schemes.discover(data)

    def find(self, summaries: Summaries) -> Found:
        # Calls cut short raise the one and lower the other.
        paid = schemes.CALLS_HANDLED | schemes.HANDLE_TIME
        found = finds.read(summaries) | schemes.find(summaries, kpis=paid)
        if "lengths" in summaries:
            found |= written.coarse(summaries["lengths"])
            calls = int(summaries["whole"].ints("calls").sum())
            found["hours"] = written.in_hours(summaries["lengths"], calls)
        return found

    def summarize(self, data: Dataset, found: Found) -> Mapping[str, Frame]:
        return count.summaries(data, self._windows, found)

    def test(
        self, summaries: Summaries, found: Found, *, min_effect: float | None
    ) -> Verdicts:
        said = (
            *finds.sentences(found, max_talk_s=self.max_talk_s),
            *incentives.sentences(found),
        )
        if found.get("hours"):
            return Verdicts(skipped=written.HOURS, found=said)
        if found.get("all_coarse"):
            return Verdicts(
                skipped="calls.talk_s is rounded to ten seconds or more, so calls of a "
                "few seconds can't be told apart",
                found=said,
            )
        if not len(summaries["counts"]):
            return Verdicts(skipped="no answered call with an agent", found=said)
        asked = questions.ask(summaries, min_excess=min_effect or 0.0)
        score = incentives.ask(summaries, found, asked.ids)
        outcome = answers.combine(asked, score)
        tested = [
            Tested(
                kind="agent",
                ids=asked.ids,
                outcome=outcome,
                share=_AGENT_SHARE,
                unit="calls",
            )
        ]
        floor = floors.test(
            summaries, short_s=self.max_talk_s, min_share=self._floor_share(summaries)
        )
        if floor is not None:
            ids = np.array(["all"], dtype=object)
            tested.insert(
                0,
                Tested(
                    kind="floor",
                    ids=ids,
                    outcome=floor,
                    share=_FLOOR_SHARE,
                    unit="calls",
                ),
            )
        unseen = count.only_elsewhere(summaries)
        return Verdicts(
            tested=tuple(tested),
            untestable=unseen,
            blind_spots=(
                *finds.unseen(found, unseen),
                *self._blind_spots(summaries, floor is None),
            ),
            found=(*said, *answers.unanswered(outcome, asked.ids)),
        )

    def _floor_share(self, summaries: Summaries) -> float:
        known = floors.redials_known(summaries)
        return self.floor_share if known else self.floor_share_alone

    def _blind_spots(self, summaries: Summaries, no_floor: bool) -> tuple[str, ...]:
        share = self._floor_share(summaries)
        small = (
            f"A floor on which everybody ends up to {share:.0%} of calls at "
            "once looks like one with bad lines and wrong numbers."
        )
        few = (
            "Too few agents or calls to ask whether everybody does it; if they do, "
            "peers hide it."
        )
        out = [few if no_floor else small]
        if not floors.redials_known(summaries):
            out.append(
                "No column calls.customer_id (or no instants): whether the callers "
                "rang again can't be asked; findings rest on rate and shape alone."
            )
        if not any(summaries["counts"]["queue"]):
            out.append(
                "No column calls.queue: agents with different kinds of calls are "
                "compared as if they had the same."
            )
        if "days" not in summaries:
            out.append(
                "No column calls.started_at: outages, bursts and clustered days can't "
                "be seen."
            )
        return tuple(out)

    def plant(
        self, summaries: Summaries, found: Found, agents: Mapping[str, float], seed: int
    ) -> Summaries | None:
        return planting.short_calls(summaries, agents, seed)

    def elsewhere(self, summaries: Summaries, found: Found) -> Iterator[Verdicts]:
        return placebo.windows(summaries)

    def replicas(
        self, summaries: Summaries, found: Found, *, number: int, seed: int
    ) -> Iterator[Summaries]:
        verdicts = self.test(summaries, found, min_effect=None)
        return placebo.replicas(summaries, verdicts, number, seed)

    def account(self, row: Row) -> Account:
        if row.kind == "floor":
            return words.floor(row, max_talk_s=self.max_talk_s)
        return words.agent(
            row, max_talk_s=self.max_talk_s, next_talk_s=self.next_talk_s
        )

    def records(
        self, data: Dataset, subject: tuple[str, str], found: Found
    ) -> Mapping[str, Frame]:
        kind, who = subject
        frame = count.followed(data, self._windows, found)
        if kind == "agent":
            frame = frame.filter(nw.col("agent_id") == who)
        columns: list[Any] = sorted(data.columns["calls"])
        if data.orders.get("calls"):
            columns.append(ROW)
        flagged = frame.filter((nw.col("short") == 1) & (nw.col("again") == 0))
        control = frame.filter(nw.col("short") == 0)
        return {
            "flagged": flagged.select(*columns),
            "control": control.select(*columns),
        }
