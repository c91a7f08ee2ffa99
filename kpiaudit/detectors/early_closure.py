"""The detector of tickets closed to meet the deadline and then opened again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import narwhals as nw
import numpy as np

from kpiaudit.detectors import _early_closure_count as count
from kpiaudit.detectors import _early_closure_explain as explain
from kpiaudit.detectors import _early_closure_find as finds
from kpiaudit.detectors import _early_closure_floor as floors
from kpiaudit.detectors import _early_closure_questions as questions
from kpiaudit.detectors import _early_closure_score as scores
from kpiaudit.detectors import _early_closure_words as words
from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors import _incentives_schemes as schemes
from kpiaudit.detectors import _placebo_deadlines as deadlines
from kpiaudit.detectors import _plant_clocks as planting
from kpiaudit.detectors import _replicas as chains
from kpiaudit.detectors import _replicas_clocks as replicas
from kpiaudit.detectors.base import (
    Alternative,
    Detector,
    Explain,
    Tested,
    Verdicts,
    param,
)
from kpiaudit.detectors.sources import SCHEMES
from kpiaudit.stats import held

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kpiaudit.detectors.base import Account, Found, Row, Summaries
    from kpiaudit.tables.dataset import Dataset, Frame

_AGENT_SHARE, _FLOOR_SHARE = 0.8, 0.2
_DEFAULT_EXCESS = 1.0


@dataclass(frozen=True, kw_only=True)
class EarlyClosure(Detector):
    """Tickets marked as resolved just before they are due, which then come back.

    ## Why it matters
    A ticket that is marked as resolved before its deadline counts as solved in time. If
    the work was not done, the customer opens it again or writes anew, waits twice, and
    the second ticket may start with a fresh clock.

    ## Evidence
    Two questions of each agent, and both must be answered with yes:

    1. Of the tickets still open when the last tenth of the clock began, more are closed
       before the deadline than at peers with clocks of the same length, due in the same
       part of the day.
    2. These closures bounce: work on them goes on within 72 hours, or the same customer
       opens another ticket (of the same category, where the customer opens many). Hard
       tickets are late and come back as well, so the agent's odds ratio of bouncing,
       near the deadline against elsewhere, is compared with the peers' odds ratio. How
       many bounces are in excess is counted by the agent's own closures elsewhere and
       that odds ratio.

    Both allow for honest differences between agents and for days that cluster. The
    weaker answer decides, or, where the first at least leans to yes, the sum of both:
    who is unusual in one respect seldom is in the other. Effort before a deadline gives
    the first answer as well, however well the work is done. The more agents give it,
    the more is therefore asked of the second, up to what would be asked of them if
    there were no first. Of 1,440 simulated centres in which a tenth to all of the
    agents bring 10 to 60 % of their late tickets in, well done, 20 had a finding
    (docs/accuracy.md). Effort for hard tickets is harder to tell: where what is late
    comes back with twice the odds, and one agent in ten brings 30 % of it in, 3 of 15
    centres had one.

    Where it is beyond doubt that more than a tenth of the agents show both, those are
    taken out of everybody's yardstick. Beside the agents stands the whole floor:
    closures that pile up before the deadline against a smooth curve **and** bounce more
    than the same agents' closures on both sides of it, at the median agent or at many
    agents, each alone.

    Where a table says what was paid for (`incentives`, or targets in `kpis`) on tickets
    closed or on the share resolved in time, a further question is added: does the agent
    have more of these closures, of all closures, while the threshold is in reach than
    once it is met, safe or lost? Habits and hard tickets don't know the score. The
    answer supports the other two and never stands for them.

    Without `due_at` the signature is weaker: more tickets are reported as in time than
    at peers, and more of those come back, which a hasty habit gives as well. Without
    `sla_met` too, only the second question is left. Such findings are weak.

    ## Innocent explanations
    - "Thank you" replies that open a ticket again: resolved at once, without work.
    - Automatic closing after some days: the same delay at everybody, found and said.
    - Month-end clean-up: many tickets closed within minutes, taken out.
    - Hard tickets, which are late and come back at everybody.

    ## Source
    Mantel & Haenszel (1959), Journal of the National Cancer Institute 22, 719-748 (the
    odds ratio over strata); Chetty, Friedman, Olsen & Pistaferri (2011), Quarterly
    Journal of Economics 126(2), 749-804 (bunching at a threshold).
    """

    # Summaries that `test` reads, for whoever makes them directly; counts of tickets:
    #   cells      agent_id, clock (stratum: length of the clock), due_part (0 to 2:
    #              part of the day in which it is due); due (with a deadline inside the
    #              export), met (resolved by then), open_late (still open when the last
    #              tenth of the clock began), near (of those, resolved by the deadline),
    #              just_after (resolved within a tenth of the clock after it); then
    #              closures whose 72 hours lie inside the export: known, bounced;
    #              near_known, near_bounced, near_reopened, near_followed: those near;
    #              side_known, side_bounced: those in the second half of the clock
    #              before `near`, or after the deadline (up to three clocks).
    #              known and bounced include near_known and near_bounced.
    #   days       agent_id, due_day; open_late, near, near_known, near_bounced.
    #   positions  position (hundredths of the clock, 0 to 299; 99 is just before the
    #              deadline); n closures, known, bounced. Only with due_at.
    #   leads      lead (minutes from the deadline, -480 to 479; -1 is just before it);
    #              n closures. Only with due_at.
    #   standing   agent_id, day, hour (local, of the closure), clock; contacts
    #              (closures), of_mean (with a deadline), met (of those in time); trials
    #              (closures with known), events (near_bounced). Only where anything is
    #              paid.
    # Without due_at, `near` are tickets with sla_met; without both, near is 0. The key
    # `mode` of what the first stage found says which: due (if absent), sla or none.

    id: ClassVar[str] = "early-closure"
    version: ClassVar[int] = 2
    kpi: ClassVar[str] = "resolved_in_time"
    level: ClassVar[int] = 1
    table: ClassVar[str] = "tickets"
    needs: ClassVar[tuple[str, ...]] = (
        "tickets.ticket_id",
        "tickets.agent_id",
        "tickets.opened_at",
        "tickets.resolved_at",
    )
    uses: ClassVar[tuple[str, ...]] = (
        "tickets.due_at",
        "tickets.sla_met",
        "tickets.reopened_at",
        "tickets.reopen_count",
        "tickets.customer_id",
        "tickets.category",
        "tickets.closed_at",
        "ticket_events.ticket_id",
        "ticket_events.at",
        "ticket_events.actor_id",
        "ticket_events.field",
        "ticket_events.old_value",
        "ticket_events.new_value",
        *SCHEMES,
    )
    explanations: ClassVar[tuple[Explain, ...]] = explain.EXPLANATIONS
    blind: ClassVar[str] = (
        "Closing early long before the deadline, agents with fewer than about 20 "
        "closures near the deadline, which agents do it where nearly all do, and "
        "bounces of closures that the customer never takes up again."
    )
    alternative: ClassVar[Alternative] = Alternative(
        text="peers' closures before the deadline that came back as well",
        same_if="the case had been a hard one",
        selected_on=("ticket", "reopened"),
        decides=True,
    )
    floor_kpi: ClassVar[tuple[str, str, str, float] | None] = (
        "cells",
        "met",
        "due",
        1.0,
    )
    stake: ClassVar[str] = "an agent's tickets that would be late"
    supposed: ClassVar[str] = (
        "half of the tickets that are closed for the deadline come back"
    )
    unit_cost: ClassVar[str] = "reopened_ticket"

    near_share: float = param(
        0.1,
        unit="share",
        doc="The last share of the clock is near the deadline.",
        low=0.01,
    )
    bounce_h: float = param(
        72.0, unit="h", doc="A closure bounces within this time.", low=1.0
    )
    quick_s: float = param(
        1800.0,
        unit="s",
        doc="A reopened ticket that is resolved again this fast saw no work.",
    )
    sweep: int = param(
        8,
        unit="closures",
        doc="Closures of one agent in ten minutes that count as a month-end sweep.",
    )
    min_near: int = param(
        10, unit="closures", doc="Fewest closures near the deadline to test.", low=5
    )
    min_ratio: float = param(
        1.0,
        unit="1",
        doc="The hypothesis is odds of bouncing, near the deadline, of at most this "
        "multiple of an honest agent's; without due_at of at least 1.5 of it.",
        low=1.0,
    )
    min_near_ratio: float = param(
        1.0,
        unit="1",
        doc="The same for the odds of closing before the deadline what is open late; "
        "without due_at at least 1.1.",
        low=1.0,
    )
    floor_ratio: float = param(
        2.0,
        unit="1",
        doc="Odds of bouncing before the deadline against beside it, at the median "
        "agent, that haste alone may give.",
        low=1.0,
    )

    @property
    def _windows(self) -> count.Windows:
        return count.Windows(
            near_per_mille=round(self.near_share * 1000),
            bounce_ms=round(self.bounce_h * count.HOUR_MS),
            quick_ms=round(self.quick_s * 1000),
            bulk=self.sweep,
            since_day=self.since_day,
        )

    def discover(self, data: Dataset) -> Mapping[str, Frame]:
        return {**finds.frames(data), **schemes.discover(data, "tickets")}

    def find(self, summaries: Summaries) -> Found:
        found = finds.read(summaries)
        return {**found, **scores.find(summaries, str(found.get("mode", "due")))}

    def summarize(self, data: Dataset, found: Found) -> Mapping[str, Frame]:
        return count.summaries(data, self._windows, found)

    def test(
        self, summaries: Summaries, found: Found, *, min_effect: float | None
    ) -> Verdicts:
        said = (
            *finds.sentences(found),
            *incentives.sentences(found, incentives.CLOSURES),
        )
        if "cells" not in summaries:
            return Verdicts(
                skipped="no column tickets.reopened_at, tickets.reopen_count or "
                "tickets.customer_id, so that what became of a closure can't be seen",
                found=said,
            )
        if not len(summaries["cells"]):
            return Verdicts(skipped="no ticket with an agent to count", found=said)
        counted = questions.Counted.of(summaries)
        how = str(found.get("mode", "due"))
        limits = self._limits(min_effect)
        learn = floors.showing(counted).learn
        outcome = questions.ask(counted, limits, how, learn)
        score = scores.ask(summaries, found, counted.ids, outcome)
        tested = [
            Tested(
                kind="agent",
                ids=counted.ids,
                outcome=scores.followed(outcome, score),
                share=_AGENT_SHARE,
                unit="closures",
            )
        ]
        floor = None
        if not held.measuring() and "positions" in summaries and "leads" in summaries:
            floor = floors.test(
                counted,
                summaries,
                near=max(round(self.near_share * 100), 1),
                min_ratio=self.floor_ratio,
            )
        if floor is not None:
            tested.insert(
                0,
                Tested(
                    kind="floor",
                    ids=np.array(["all"], dtype=object),
                    outcome=floor,
                    share=_FLOOR_SHARE,
                    unit="closures",
                ),
            )
        return Verdicts(
            tested=tuple(tested),
            blind_spots=words.blind_spots(found, no_floor=floor is None),
            found=said,
        )

    def _limits(self, min_effect: float | None) -> questions.Limits:
        return questions.Limits(
            events=_DEFAULT_EXCESS if min_effect is None else min_effect,
            bounce_ratio=self.min_ratio,
            near_ratio=self.min_near_ratio,
            min_near=self.min_near,
        )

    def plant(
        self, summaries: Summaries, found: Found, agents: Mapping[str, float], seed: int
    ) -> Summaries | None:
        if found.get("mode", "due") == "none":
            return None
        return planting.early_closure(summaries, agents, seed)

    def replicas(
        self, summaries: Summaries, found: Found, *, number: int, seed: int
    ) -> Iterator[Summaries]:
        if found.get("mode", "due") != "due" or not len(summaries.get("cells", ())):
            return
        counted = questions.Counted.of(summaries)
        cells = counted.cells
        stratum = cells.ints("clock") * 3 + cells.ints("due_part")
        outside = chains.reported(
            self.test(summaries, found, min_effect=None), counted.ids
        )
        learn = chains.learn_from(outside)
        if learn is None:
            learn = floors.showing(counted).learn
        answers = questions.both(counted, self._limits(None), learn)
        habits = replicas.fitted(counted, answers, "bounced", outside)
        for each in range(number):
            rng = np.random.default_rng([seed, each])
            new, days = replicas.of(counted, habits, "bounced", stratum, rng)
            # What follows the score in the real counts must not vouch for drawn ones.
            kept = {n: s for n, s in summaries.items() if n != incentives.CELLS}
            yield {**kept, "cells": new, "days": days}

    def moved(self, data: Dataset) -> Iterator[Dataset]:
        return deadlines.tickets(data)

    def account(self, row: Row) -> Account:
        if row.kind == "floor":
            return words.floor(row, self.near_share, self.bounce_h)
        return words.agent(row, self.near_share, self.bounce_h)

    def records(
        self, data: Dataset, subject: tuple[str, str], found: Found
    ) -> Mapping[str, Frame]:
        kind, who = subject
        frame = count.closures(data, self._windows, found)
        if kind == "agent":
            frame = frame.filter(nw.col("agent_id") == who)
        columns: list[Any] = sorted(data.columns["tickets"])
        flagged = nw.col("near_bounced") == 1
        if found.get("mode") == "none":
            flagged = nw.col("bounced") == 1
        control = (nw.col("known") == 1) & ~flagged
        if found.get("mode", "due") != "none":
            control = control & (nw.col("near") == 0)
        return {
            "flagged": frame.filter(flagged).select(*columns),
            "control": frame.filter(control).select(*columns),
        }
