"""The detector of orders marked as ready or delivered before they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import narwhals as nw
import numpy as np

from kpiaudit.detectors import _placebo_deadlines as deadlines
from kpiaudit.detectors import _plant_clocks as planting
from kpiaudit.detectors import _premature_ready_count as count
from kpiaudit.detectors import _premature_ready_explain as explain
from kpiaudit.detectors import _premature_ready_find as finds
from kpiaudit.detectors import _premature_ready_floor as floors
from kpiaudit.detectors import _premature_ready_pairs as witnesses
from kpiaudit.detectors import _premature_ready_questions as questions
from kpiaudit.detectors import _premature_ready_words as words
from kpiaudit.detectors import _replicas as chains
from kpiaudit.detectors import _replicas_clocks as replicas
from kpiaudit.detectors.base import (
    Alternative,
    Detector,
    Explain,
    Summary,
    Tested,
    Verdicts,
    param,
)
from kpiaudit.stats import held

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kpiaudit.detectors.base import Account, Found, Row, Summaries
    from kpiaudit.stats.outcome import Outcome
    from kpiaudit.tables.dataset import Dataset, Frame

_AGENT_SHARE, _FLOOR_SHARE = 0.8, 0.2
_DEFAULT_EXCESS = 1.0


@dataclass(frozen=True, kw_only=True)
class PrematureReady(Detector):
    """Orders marked as ready or delivered just before the promise, which then wait.

    ## Why it matters
    A promise is kept once the screen says so. Whoever marks an order as ready, or as
    delivered, while it is not there yet stops the clock; the courier stands at the
    counter, the customer at the door, and the report shows an order on time.

    ## Evidence
    Two questions of each agent, and both must be answered with yes:

    1. Of the orders not yet stamped when the last minutes before the promise began,
       more are stamped within them than at peers with promises of the same length.
    2. Exactly these orders then wait longer until somebody else shows that they are
       there: the customer's signature, code, door or payment, or else the handover to
       the courier. Where the courier's arrival is known, the wait is also counted from
       then on, since whatever was ready early waits for its courier. A wait is long if
       it is among the longest tenth of its site and hour of the day. The agent's odds
       ratio of a long wait, stamps near the promise against all others, is compared
       with the peers' odds ratio, so that couriers who are late for everybody and
       agents who are slow everywhere cancel out. How many long waits are in excess is
       counted by the agent's own other orders and that odds ratio.

    The weaker answer decides, or, where the first at least leans to yes, the sum of
    both; either alone never does. Effort before a promise gives the first answer as
    well: the more agents give it, the more is asked of the second, up to what would be
    asked if there were no first. Of 1,440 simulated centres in which a tenth to all of
    the agents have 10 to 60 % of their late orders ready in time, 5 had a finding
    (docs/accuracy.md). Both questions allow for honest differences between agents,
    whose shape is learnt from all, and for days that cluster. Hours in which most
    others at the site waited long are left out. Several later instants of one stamp are
    witnesses of the second question, and their p-values' harmonic mean answers it; with
    both stamps the p-value is multiplied, less for the one that the promise is about.

    Many agents who do it hide each other. Where it is beyond doubt that more than a
    tenth of the agents show both, those are left out of everybody's yardstick, once.
    And the whole floor is asked: either stamps pile up before the promise against a
    smooth curve **and** the median agent's orders show the longer wait, or more than a
    tenth of the agents show both, far beyond what the calmer third has in common.
    People hurry before a promise; a pile-up by itself is no finding. Without any later
    instant only the pile-up of the floor is left: it has to be large, and its grade is
    weak. If everybody does it, nobody stands out and only the floor can be named.

    Agents who stamp the handover early as well can hide it. Where three of 24 stamped
    60 % of their late orders early, 22 of 24 were found with true handovers, 4 of 24
    with half of these handovers false, and 2 of 24 with 95 % (docs/accuracy.md, whole
    centres): more than half is lost.

    ## Innocent explanations
    - Couriers who come late or take several orders at once: they do so at everybody.
    - Times rounded to five minutes: windows of whole five minutes hold one mark each,
      and rounding is the same far from the promise.
    - Scanning in batches: many stamps in a minute, far from the promise as well.
    - A device that was offline: the server writes later, far from the promise as well.

    ## Source
    Mantel & Haenszel (1959), Journal of the National Cancer Institute 22, 719-748 (the
    odds ratio over strata); Chetty, Friedman, Olsen & Pistaferri (2011), Quarterly
    Journal of Economics 126(2), 749-804 (bunching at a threshold).
    """

    # Summaries that `test` reads, for whoever makes them directly. `pair` is stamp and
    # later instant: "ready>received", "ready>handed", "ready>courier",
    # "delivered>received", or "ready>" and "delivered>" where there is no later one.
    # All are counts of stamped orders unless said otherwise (int64):
    #   cells      pair, agent_id, clock (stratum: class of promise less order) |
    #              orders; met (stamped by the promise); open_late (not stamped when the
    #              last window began, = orders - those stamped earlier); near (stamped
    #              in the window, 0 <= promise - stamp < window); just_after (in the
    #              same time after the promise); then orders whose wait from the stamp
    #              to the later instant is known: known, long (the wait is among the
    #              longest tenth of its site and hour), near_known, near_long;
    #              near_wait_ms, far_wait_ms (sums of waits, near and others).
    #              For the wording only, 0 if unknown: {near,far}_{there,burst,offline}
    #              with and without `_long` (courier already there when stamped; three
    #              or more records written in that minute; record written by the server
    #              much later than stamped),
    #              near_five, far_five (stamp on a five-minute mark), jammed.
    #              known and long include near_known and near_long.
    #   days       pair, agent_id, day | open_late, near, near_known, near_long
    #   positions  pair, position (whole minutes of stamp less promise, plus 60: 59 is
    #              the last minute before it, the instant itself included) |
    #              n, known, long
    #   offsets    pair, agent_id, parity (of the day), tick (wait in units of 15 s,
    #              0 to 119) | n; for the wording only.
    # found: pairs (tuple of such pairs), columns (share filled, by name), rounded
    # (stamps rounded to five minutes), actors_known; an empty one is enough if the
    # summaries have the pairs.

    id: ClassVar[str] = "premature-ready"
    version: ClassVar[int] = 2
    kpi: ClassVar[str] = "on_time"
    level: ClassVar[int] = 1
    table: ClassVar[str] = "handovers"
    needs: ClassVar[tuple[str, ...]] = (
        "handovers.order_id",
        "handovers.agent_id",
        "handovers.promised_at",
    )
    uses: ClassVar[tuple[str, ...]] = (
        "handovers.ready_at",
        "handovers.delivered_at",
        "handovers.received_at",
        "handovers.handed_over_at",
        "handovers.courier_arrived_at",
        "handovers.recorded_at",
        "handovers.placed_at",
        "handovers.actor_id",
        "handovers.site_id",
    )
    explanations: ClassVar[tuple[Explain, ...]] = explain.EXPLANATIONS
    blind: ClassVar[str] = (
        "Stamps that are early but not near the promise, agents with fewer than about "
        "50 orders near the promise, which agents do it where nearly all do, and a "
        "handover that is always falsified where neither the courier nor the customer "
        "leaves a trace."
    )
    alternative: ClassVar[Alternative] = Alternative(
        text="peers' orders stamped before the promise that waited long as well",
        same_if="the courier had come late",
        decides=True,
    )
    floor_kpi: ClassVar[tuple[str, str, str, float] | None] = (
        "cells",
        "met",
        "orders",
        1.0,
    )
    stake: ClassVar[str] = "an agent's orders that would be late"
    supposed: ClassVar[str] = (
        "two in three orders that are stamped for the clock are among the "
        "longest waits, half as long again as usual"
    )

    stamp: str | None = param(
        None,
        unit="name",
        doc="Which stamp stops the clock: ready or delivered; null tests those that "
        "the export has.",
    )
    near_min: int = param(
        5,
        unit="min",
        doc="Stamps this long before the promise are near it; use whole multiples of "
        "five where times are rounded to five minutes.",
        low=1,
    )
    long_percent: int = param(
        90,
        unit="percent",
        doc="Waits beyond this percentile of their site and hour of the day are long.",
        low=50,
    )
    min_extra_s: float = param(
        60.0,
        unit="s",
        doc="A wait that is longer by less, for each order in excess, is no finding.",
        low=0,
    )
    min_near: int = param(
        20, unit="orders", doc="Fewest orders stamped near the promise.", low=5
    )
    min_days: float = param(
        10.0, unit="days", doc="Fewest days of an agent with such orders.", low=1
    )
    min_ratio: float = param(
        1.0,
        unit="1",
        doc="The hypothesis is odds of a long wait, near the promise, of at most this "
        "multiple of an honest agent's.",
        low=1.0,
    )
    min_near_ratio: float = param(
        1.05,
        unit="1",
        doc="The same for the odds of stamping before the promise what is open then.",
        low=1.0,
    )
    floor_ratio: float = param(
        1.5,
        unit="1",
        doc="Odds of a long wait before the promise against elsewhere, at the median "
        "agent, that haste alone may give.",
        low=1.0,
    )
    many_ratio: float = param(
        2.0,
        unit="1",
        doc="An agent shows the longer wait, for the floor, from this multiple of the "
        "odds that the calmer agents have in common.",
        low=1.0,
    )
    min_pile: float = param(
        0.03,
        unit="share",
        doc="Pile-up of the floor before the promise that does not count, as a share "
        "of what a smooth curve expects there.",
        low=0,
    )
    min_pile_alone: float = param(
        0.5,
        unit="share",
        doc="The same where no later instant says whether the orders were there.",
        low=0,
    )
    burst: int = param(
        3, unit="orders", doc="Stamps in one minute that count as a batch.", low=2
    )
    offline_s: float = param(
        600.0,
        unit="s",
        doc="A record that the server writes this much after the stamp is late.",
        low=60,
    )

    @property
    def _windows(self) -> count.Windows:
        return count.Windows(
            near_ms=self.near_min * count.MINUTE_MS,
            long_percent=self.long_percent,
            burst=self.burst,
            offline_ms=round(self.offline_s * 1000),
            since_day=self.since_day,
        )

    def discover(self, data: Dataset) -> Mapping[str, Frame]:
        return count.given(data)

    def find(self, summaries: Summaries) -> Found:
        return finds.read(summaries, self.stamp)

    def summarize(self, data: Dataset, found: Found) -> Mapping[str, Frame]:
        return count.summaries(data, self._windows, found.get("pairs", ()), found)

    def test(
        self, summaries: Summaries, found: Found, *, min_effect: float | None
    ) -> Verdicts:
        said = finds.sentences(found)
        if "cells" not in summaries:
            return Verdicts(
                skipped="no column handovers.ready_at or handovers.delivered_at that "
                "is filled",
                found=said,
            )
        if not len(summaries["cells"]):
            return Verdicts(skipped="no stamped order with an agent", found=said)
        ids = questions.all_agents(summaries)
        pairs = questions.pairs_of(summaries)
        counted = {p: questions.Counted.of(summaries, p, ids) for p in pairs}
        floor = None
        if not held.measuring():
            floor = self._floor(summaries, counted, found)
        tested = []
        if floor is not None:
            one = np.array(["all"], dtype=object)
            tested.append(
                Tested(
                    kind="floor",
                    ids=one,
                    outcome=floor,
                    share=_FLOOR_SHARE,
                    unit="orders",
                )
            )
        if not pairs[0].endswith(">"):
            limits = self._limits(min_effect)
            answers = {
                pair: questions.ask(
                    each, limits, floors.showing(each, self.many_ratio).learn
                )
                for pair, each in counted.items()
            }
            near = {p: float(c.total("near").sum()) for p, c in counted.items()}
            tested.append(
                Tested(
                    kind="agent",
                    ids=ids,
                    outcome=witnesses.together(answers, near),
                    share=_AGENT_SHARE,
                    unit="orders",
                )
            )
        if not tested:
            return Verdicts(
                skipped="no later instant to compare the stamps with, and too few "
                "orders to see whether they pile up before the promise",
                found=said,
            )
        return Verdicts(
            tested=tuple(tested),
            blind_spots=words.blind_spots(found, pairs, no_floor=floor is None),
            found=said,
        )

    def _limits(self, min_effect: float | None) -> questions.Limits:
        return questions.Limits(
            events=_DEFAULT_EXCESS if min_effect is None else min_effect,
            wait_ratio=self.min_ratio,
            near_ratio=self.min_near_ratio,
            extra_ms=self.min_extra_s * 1000.0,
            min_near=self.min_near,
            min_days=round(self.min_days),
        )

    def _step(self, pair: str, found: Found) -> int:
        """Return the width of the floor's bins, in minutes."""
        stamp = pair.partition(">")[0]
        return self.near_min if stamp in found.get("rounded", ()) else 1

    def _floor(
        self,
        summaries: Summaries,
        counted: Mapping[str, questions.Counted],
        found: Found,
    ) -> Outcome | None:
        """Test the whole floor at each pair; None if no pair has enough orders."""
        outcomes: dict[int, Outcome] = {}
        for index, (pair, rows) in enumerate(counted.items()):
            near = questions.of_pair(summaries["positions"], pair)
            step = self._step(pair, found)
            if not pair.endswith(">"):
                outcome = floors.test(
                    rows,
                    near,
                    window=self.near_min,
                    step=step,
                    min_pile=self.min_pile,
                    min_ratio=self.floor_ratio,
                    many_ratio=self.many_ratio,
                    extra_ms=self.min_extra_s * 1000.0,
                )
            else:
                outcome = floors.alone(
                    rows,
                    near,
                    window=self.near_min,
                    step=step,
                    min_pile=self.min_pile_alone,
                )
            if outcome is not None:
                outcomes[index] = outcome
        return witnesses.strongest(outcomes) if outcomes else None

    def plant(
        self, summaries: Summaries, found: Found, agents: Mapping[str, float], seed: int
    ) -> Summaries | None:
        return planting.premature_ready(summaries, agents, seed)

    def replicas(
        self, summaries: Summaries, found: Found, *, number: int, seed: int
    ) -> Iterator[Summaries]:
        if not len(summaries.get("cells", ())):
            return
        ids = questions.all_agents(summaries)
        pairs = questions.pairs_of(summaries)
        if pairs[0].endswith(">"):
            return
        counted = {p: questions.Counted.of(summaries, p, ids) for p in pairs}
        outside = chains.reported(self.test(summaries, found, min_effect=None), ids)
        habits = {}
        for p, own in counted.items():
            learn = chains.learn_from(outside)
            if learn is None:
                learn = floors.showing(own, self.many_ratio).learn
            answers = questions.ask(own, self._limits(None), learn)
            both = answers.near, answers.waited
            habits[p] = replicas.fitted(own, both, "long", outside)
        for each in range(number):
            # The same habits show in every later instant of the same orders.
            drawn = [
                replicas.of(
                    counted[p],
                    habits[p],
                    "long",
                    counted[p].cells.ints("clock"),
                    np.random.default_rng([seed, each]),
                )
                for p in pairs
            ]
            yield {
                **summaries,
                "cells": Summary.together([cells for cells, _ in drawn]),
                "days": Summary.together([days for _, days in drawn]),
            }

    def moved(self, data: Dataset) -> Iterator[Dataset]:
        return deadlines.handovers(data, self._windows.near_ms)

    def account(self, row: Row) -> Account:
        if row.kind == "floor":
            return words.floor(row, self.near_min)
        return words.agent(row, self.near_min)

    def records(
        self, data: Dataset, subject: tuple[str, str], found: Found
    ) -> Mapping[str, Frame]:
        kind, who = subject
        table = data.table("handovers")
        if kind == "agent":
            table = table.filter(nw.col("agent_id") == who)
        flagged, near, known = (
            nw.concat(parts, how="vertical").unique("order_id")
            for parts in self._order_ids(data, found)
        )
        by: dict[str, Any] = {"on": "order_id", "how": "semi"}
        control = table.join(known, **by).join(near, on="order_id", how="anti")
        return {
            "flagged": table.join(flagged, **by),
            "control": control,
        }

    def _order_ids(
        self, data: Dataset, found: Found
    ) -> tuple[list[Frame], list[Frame], list[Frame]]:
        """Return ids of orders behind a finding, near the promise, and countable.

        Whichever pair of stamp and later instant shows it; several may.
        """
        out: tuple[list[Frame], list[Frame], list[Frame]] = ([], [], [])
        for pair in found.get("pairs", ()):
            frame = count.orders(data, self._windows, pair, found)
            alone = pair.endswith(">")
            flags = ("near" if alone else "near_long", "near")
            for ids, name in zip(out, flags, strict=False):
                ids.append(frame.filter(nw.col(name) == 1).select("order_id"))
            some = nw.col("orders" if alone else "known") == 1
            out[2].append(frame.filter(some).select("order_id"))
        return out
