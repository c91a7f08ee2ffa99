"""Calls that leave the agent just before a cap on their length."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import narwhals as nw
import numpy as np

from kpiaudit.detectors import _duration_cap_agents as peers
from kpiaudit.detectors import _duration_cap_counts as counts
from kpiaudit.detectors import _duration_cap_explain as explain
from kpiaudit.detectors import _duration_cap_find as first
from kpiaudit.detectors import _duration_cap_floor as floor
from kpiaudit.detectors import _duration_cap_near as around
from kpiaudit.detectors import _duration_cap_score as score
from kpiaudit.detectors import _duration_cap_search as search
from kpiaudit.detectors import _duration_cap_unclear as unclear
from kpiaudit.detectors import _duration_cap_words as words
from kpiaudit.detectors import _incentives as incentives
from kpiaudit.detectors import _incentives_schemes as schemes
from kpiaudit.detectors import _lengths as written
from kpiaudit.detectors import _plant_calls as planting
from kpiaudit.detectors import _replicas as chains
from kpiaudit.detectors import _replicas_counts as replicas
from kpiaudit.detectors.base import (
    Alternative,
    Detector,
    Explain,
    Summary,
    Tested,
    Verdicts,
    param,
)
from kpiaudit.detectors.sources import SCHEMES
from kpiaudit.stats import held
from kpiaudit.stats.outcome import Outcome
from kpiaudit.tables.sharing import once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from kpiaudit.detectors.base import Account, Found, Row, Summaries
    from kpiaudit.stats.outcome import FloatArray
    from kpiaudit.tables.dataset import Dataset, Frame

_OTHER_MINUTES = (-3, -2, 2, 3, 4)
"""Whole minutes from the cap at which nothing is paid, for the placebo."""
_EARLIEST_S = 90


@dataclass(frozen=True, kw_only=True)
class DurationCap(Detector):
    """Calls that leave the agent in the last seconds before a cap on their length.

    ## Why it matters
    Where calls longer than a limit cost a bonus, the cheapest way to keep it is to get
    rid of the caller just before: to hang up, to pass the call on blindly, or to hold
    it until the caller gives up. The mean handle time falls, and the customer has to
    call again.

    ## Evidence
    Calls that end within a window just below the cap, out of those around it, against
    peers of the same queue and recorder, allowing for the spread between honest
    agents and between their days. All ways of leaving count, since the field that
    says who ended a call can be steered. The agent's own calls have to drop at the cap
    by more than they slope on both sides of it.

    Where customers are known, two thirds of the error budget go to both questions
    together: more such calls than peers have, and customers who call again within a
    day more than after the agent's other calls of about that length and more than
    after peers' calls that end there. A settled call is not followed by another. If
    that holds for several agents, who hide each other, peers are also chosen among
    those with whom it holds least.

    Where a table says what was paid for (`incentives`, or targets in `kpis`) on handle
    time or calls handled, a further question is added: does the agent have more of
    these calls while the threshold is in reach than once it is met or lost?

    Queues and the whole floor are measured against a smooth curve through all
    durations, because comparing peers sees nothing once most of them do it. Such a
    finding needs a pile-up larger than the rule's minimum, a sharp edge at the cap,
    a median agent who shows it, and, where customers are known, more repeat calls
    after these calls than after slightly shorter ones.

    Without a given cap every second from 60 to 1,139 is searched in all calls together,
    and every half minute agent by agent, since a few who do it hardly show among all
    calls. What one half of the days proposes is tested on the other. Where one agent's
    calls proposed the cap, and in small centres, what honest agents differ by is
    learned at the other half minutes, and the p-values are multiplied by their number.
    At most two cutoffs are tested.

    ## Innocent explanations
    - The platform ends calls at the limit: they all end on one second, and none above.
    - The recorder rounds durations: the windows are laid in whole units of it.
    - A queue whose calls naturally last a little less than the cap: a smooth hump.
    - A scripted close or a reminder for everybody: no sharp edge, and no repeat calls.
    - Faulty equipment: the same calls end early at that seat or line, whoever has it.

    ## Source
    Chetty, Friedman, Olsen & Pistaferri (2011), Quarterly Journal of Economics 126(2),
    749-804, and Kleven & Waseem (2013), QJE 128(2), 669-723 (excess mass at a cutoff);
    Spiegelhalter (2005), Quality and Safety in Health Care 14, 347-351 (comparing
    subjects who honestly differ).
    """

    # Summaries that `test` reads, one row per combination of the keys before the bar;
    # all integers but the ids, null queues and sites as "":
    #   discover: seconds  measure period site_id queue second | even odd
    #     (measure "talk" or "talk+hold"; period 0 before `since`, else 1; calls per
    #     whole second 0..3600 on even and odd days since 1970-01-01)
    #   discover, where a cap is looked for and there are days:
    #     blocks  agent_id block_s | even odd  (block_s: 0, 15, ... 1155)
    #   summarize, each with the key cap_s (the cap in seconds, Cap.cap_s):
    #     agents   period agent_id queue layout | below near over beyond
    #       (layout: index into found["layouts"]; calls in [c-4w, c-w), [c-w, c),
    #       [c, c+w), [c+w, c+4w), where the recorder rounds: `Layout.windows`)
    #     totals   agent_id | calls ms past past_ms  (all calls; those at or past c)
    #     days     agent_id day | near trials  (optional; trials: below, near and over)
    #     repeats  agent_id queue | near near_again rest rest_again  (optional; calls of
    #       known customers near the cap, and below, over and beyond it together)
    #     causes, places, bins: for the wording only, optional in `test`.

    id: ClassVar[str] = "duration-cap"
    version: ClassVar[int] = 1
    kpi: ClassVar[str] = "average_handle_time"
    level: ClassVar[int] = 1
    table: ClassVar[str] = "calls"
    needs: ClassVar[tuple[str, ...]] = ("calls.agent_id", "calls.talk_s")
    uses: ClassVar[tuple[str, ...]] = (
        "calls.queue",
        "calls.site_id",
        "calls.started_at",
        "calls.outcome",
        "calls.hold_s",
        "calls.ended_by",
        "calls.transfer_type",
        "calls.customer_id",
        "calls.call_id",
        "calls.station",
        "calls.trunk",
        "calls.wrap_s",
        *SCHEMES,
    )
    explanations: ClassVar[tuple[Explain, ...]] = explain.EXPLAIN
    blind: ClassVar[str] = (
        "Calls shaken off well before the cap, or spread over minutes, are not seen."
    )
    alternative: ClassVar[Alternative] = Alternative(
        text="peers' calls that end in the same seconds",
        same_if="the call had come to its own end there",
        counted=("contact",),
        control=True,
        decides=True,
    )
    restates: ClassVar[tuple[str, ...]] = ("first_contact_resolution",)
    later_only: ClassVar[bool] = True
    floor_kpi: ClassVar[tuple[str, str, str, float] | None] = (
        "totals",
        "ms",
        "calls",
        0.001,
    )
    stake: ClassVar[str] = "an agent's calls that pass the cap"
    supposed: ClassVar[str] = (
        "half of the customers whose calls are cut call again within a day"
    )

    cap_s: float | None = param(
        None, unit="s", doc="The cap on a call's length; null looks for it.", low=30
    )
    window_s: float = param(
        15.0, unit="s", doc="How far below the cap calls count as near it.", low=2
    )
    measure: str | None = param(
        None,
        unit="name",
        doc="Which length is capped: talk, or talk+hold; null takes talk+hold where "
        "hold is recorded, unless calls pile up clearly more in talk alone.",
    )
    min_days: float = param(
        10.0, unit="days", doc="Fewest days of an agent near the cap.", low=1
    )
    min_pile: float = param(
        0.2,
        unit="share",
        doc="Pile-up of a queue or the floor that does not count, as a share of what a "
        "smooth curve expects there.",
        low=0,
    )
    min_pile_alone: float = param(
        1.0,
        unit="share",
        doc="The same where it can't be checked whether customers call again.",
        low=0,
    )
    min_searched: float = param(
        0.03,
        unit="share",
        doc="Pile-up that the search for a cap passes over, as a share likewise.",
        low=0,
    )
    repeat_hours: float = param(
        24.0, unit="h", doc="A next contact within this time is a repeat.", low=1
    )

    def discover(self, data: Dataset) -> Mapping[str, Frame]:
        measures = ["talk"]
        if self.measure is not None:
            measures = [self.measure]
        elif data.has("calls.hold_s"):
            measures = ["talk", "talk+hold"]
        frames = {
            f"seconds:{measure}": counts.seconds(data, measure, self.since_day)
            for measure in measures
        }
        frames["lengths"] = written.lengths(data, since_day=self.since_day)
        if self.cap_s is None and data.has("calls.day"):
            frames["blocks"] = counts.blocks(data, measures[-1], self.since_day)
        return frames | schemes.discover(data)

    def find(self, summaries: Summaries) -> Found:
        found = first.found(
            Summary.together(
                [rows for name, rows in summaries.items() if name.startswith("seconds")]
            ),
            search.Blocks.of(summaries["blocks"]) if "blocks" in summaries else None,
            cap_s=self.cap_s,
            window=self.window,
            min_relative=self.min_searched,
        )
        known = found and "lengths" in summaries
        if known and written.in_hours(summaries["lengths"], found["calls"]):
            return {**found, "unsearched": written.HOURS}
        if not found or not found["caps"]:
            return found
        return {**found, **schemes.find(summaries, kpis=score.PAID)}

    @property
    def window(self) -> int:
        """Return the window in whole seconds."""
        return round(self.window_s)

    def summarize(self, data: Dataset, found: Found) -> Mapping[str, Frame]:
        if not found or not found["caps"]:
            return {}
        calls = self._usable(data, found)
        known = data.has("calls.customer_id", "calls.at_ms")

        def placed(frame: Frame) -> Frame:
            parts = [
                around.placed(
                    self._usable(data, found, frame),
                    cap,
                    found["layouts"],
                    self.window,
                    data.has("calls.day"),
                )
                for cap in found["caps"]
            ]
            return _stacked(parts)

        near, followed = around.calls_around(
            data, data.table("calls"), placed, self.repeat_hours if known else None
        )
        frames = self._around(data, near, found)
        frames["bins"] = _stacked(
            counts.bins(calls, cap, words.BIN_S, words.BINS) for cap in found["caps"]
        )
        if followed is not None:
            last = data.period.get("calls", (0, 0))[1]
            frames["repeats"] = counts.repeats(followed, last, self.repeat_hours)
        cutoffs = {cap.cap_s: cap.halves[0][1] for cap in found["caps"]}
        frames["totals"] = counts.totals(calls, cutoffs)
        if found.get("schemes"):
            frames |= score.every_call(calls, data, found)
        return {
            name: frame.sort(*{**_KEYS, **score.KEYS}[name])
            for name, frame in frames.items()
        }

    def _usable(self, data: Dataset, found: Found, frame: Frame | None = None) -> Frame:
        return counts.usable_calls(data, found["measure"], self.since_day, frame)

    def _around(self, data: Dataset, near: Frame, found: Found) -> dict[str, Frame]:
        """Count the calls around the cutoffs, not sorted yet."""
        out = {
            "agents": counts.zone_counts(near, _KEYS["agents"]),
            "causes": counts.causes(near, data),
        }
        if data.has("calls.day"):
            out["days"] = counts.day_counts(near)
        if found.get("schemes"):
            out[score.NEAR_CELLS] = score.near_cap(near, data, found)
        equipment = [c for c in ("station", "trunk") if data.has(f"calls.{c}")]
        if equipment:
            out["places"] = _stacked(counts.places(near, c) for c in equipment)
        return out

    def test(
        self, summaries: Summaries, found: Found, *, min_effect: float | None
    ) -> Verdicts:
        if not found:
            return Verdicts(skipped="there is no answered call of a known agent")
        caps = found["caps"]
        if found["unsearched"]:
            return Verdicts(
                skipped=found["unsearched"],
                blind_spots=words.blind_spots({}, found),
                found=found["sentences"],
            )
        if not caps:
            return self._nothing(found)
        least = 5.0 if min_effect is None else min_effect
        each = [self._agents(summaries, found, cap, least) for cap in caps]
        ids = peers.all_agents(summaries)
        piles = [
            None
            if held.measuring()
            else self._pile(summaries, found, cap, (ids, own.p_value))
            for cap, own in zip(caps, each, strict=True)
        ]
        agents = Tested(
            kind="agent",
            ids=ids,
            outcome=peers.strongest(each),
            share=0.7,
            unit="calls",
        )
        tested = (*_together([p for p in piles if p is not None]), agents)
        return Verdicts(
            tested=tested,
            blind_spots=(
                *words.blind_spots(summaries, found),
                *unclear.sentences(found, piles, tested),
            ),
            found=(*found["sentences"], *incentives.sentences(found)),
        )

    def _agents(
        self, summaries: Summaries, found: Found, cap: first.Cap, least: float
    ) -> Outcome:
        return peers.agents(
            summaries,
            cap,
            min_excess=least,
            min_days=round(self.min_days),
            score=score.ask(summaries, found, cap, peers.all_agents(summaries)),
            blocks=search.yardstick(found["blocks"], cap, summaries.get("moved")),
        )

    def replicas(
        self, summaries: Summaries, found: Found, *, number: int, seed: int
    ) -> Iterator[Summaries]:
        caps = found.get("caps", ())
        if not caps or found["unsearched"]:
            return
        ids = peers.all_agents(summaries)
        outside = chains.reported(self.test(summaries, found, min_effect=None), ids)
        fitted = [
            peers.fitted(summaries, cap, chains.learn_from(outside)) for cap in caps
        ]
        if any(near.standing is None for near, _ in fitted):
            return
        at_caps = [
            replicas.AtCap.of(summaries, cap.cap_s, own, ids, outside)
            for cap, own in zip(caps, fitted, strict=True)
        ]
        kept = {name: s for name, s in summaries.items() if name != score.NEAR_CELLS}
        for each in range(number):
            rng = np.random.default_rng([seed, each])
            drawn = [replicas.calls_at_cap(at_cap, rng) for at_cap in at_caps]
            yield {
                **kept,
                **{n: Summary.together([d[n] for d in drawn]) for n in drawn[0]},
            }

    def _pile(
        self,
        summaries: Summaries,
        found: Found,
        cap: first.Cap,
        agents: tuple[NDArray[Any], FloatArray],
    ) -> floor.Pile | None:
        return floor.piles(
            summaries,
            found,
            cap,
            agents,
            window=self.window,
            min_relative=self.min_pile
            if "repeats" in summaries
            else self.min_pile_alone,
        )

    def _nothing(self, found: Found) -> Verdicts:
        """Say that the search found no cutoff: tested once, with nothing to report."""
        outcome = replace(
            Outcome.untestable(np.array([float(found["calls"])])),
            p_value=np.ones(1),
            facts={},
            smallest_detectable=found["smallest"],
        )
        ids = np.array(["all"], dtype=object)
        return Verdicts(
            tested=(Tested(kind="floor", ids=ids, outcome=outcome, unit="calls"),),
            blind_spots=words.blind_spots({}, found),
            found=found["sentences"],
        )

    def plant(
        self, summaries: Summaries, found: Found, agents: Mapping[str, float], seed: int
    ) -> Summaries | None:
        if "agents" not in summaries or not len(summaries["agents"]):
            return None
        return planting.duration_cap(summaries, agents, seed)

    def variants(self, found: Found) -> tuple[Self, ...]:
        paid = [cap.cap_s for cap in found.get("caps", ())]
        others = [
            cap + 60 * step
            for cap in paid[:1]
            for step in _OTHER_MINUTES
            if cap + 60 * step >= _EARLIEST_S
        ]
        far = 5 * self.window
        return tuple(
            replace(self, cap_s=float(other), since=None)
            for other in others
            if all(abs(other - cap) > far for cap in paid)
        )

    def account(self, row: Row) -> Account:
        cap = words.cap_of(row)
        near = explain.Near(
            row=row, cap=cap, window=self.window, hours=self.repeat_hours
        )
        if row.kind == "agent":
            return words.agent(near)
        nobody = (np.empty(0, dtype=object), np.empty(0))
        pile = self._pile(row.summaries, row.found, cap, nobody)
        if pile is None:
            raise ValueError("a floor without room for a curve can't be flagged")
        return words.floor(near, pile)

    def days_each(self, found: Found) -> float:
        """Return two where only every second day is tested, whichever the cap is."""
        days = {words.days_each(cap) for cap in found.get("caps", ())}
        return min(days, default=1.0)

    def records(
        self, data: Dataset, subject: tuple[str, str], found: Found
    ) -> Mapping[str, Frame]:
        kind, name = subject
        calls = self._usable(data, found)
        if kind == "agent":
            calls = calls.filter(nw.col("agent_id") == name)
        if kind == "queue":
            calls = calls.filter(nw.col("queue") == name)
        extra = ["second", "ms", "period", "parity", "cap_s", "zone", "layout"]
        absent = [c for c in ("queue", "site_id") if not data.has(f"calls.{c}")]
        days = data.has("calls.day")
        parts = [
            around.placed(calls, cap, found["layouts"], self.window, days)
            for cap in found["caps"]
        ]
        frame = _stacked(parts)
        frame = once(frame.filter(nw.col("period") == 1))
        zones = {"flagged": counts.NEAR, "control": counts.BELOW}
        return {
            label: frame.filter(nw.col("zone") == zone).drop(*extra, *absent)
            for label, zone in zones.items()
        }


def _stacked(frames: Iterable[Frame]) -> Frame:
    parts = list(frames)
    return parts[0] if len(parts) == 1 else nw.concat(parts, how="vertical")


def _together(piles: list[floor.Pile]) -> list[Tested]:
    """Split the floor from its queues; a single queue is the floor."""
    if not piles:
        return []
    merged = peers.strongest([pile.outcome for pile in piles])
    names = piles[0].ids
    parts = [("floor", slice(0, 1), 0.2)]
    if len(names) > 2:
        parts.append(("queue", slice(1, None), 0.1))
    return [
        Tested(
            kind=kind,
            ids=names[rows],
            outcome=peers.part(merged, rows),
            share=share,
            unit="calls",
        )
        for kind, rows, share in parts
    ]


_KEYS: Mapping[str, tuple[str, ...]] = {
    "agents": ("cap_s", "period", "agent_id", "queue", "layout"),
    "totals": ("cap_s", "agent_id"),
    "days": ("cap_s", "agent_id", "day"),
    "causes": ("cap_s", "agent_id", "cause"),
    "bins": ("cap_s", "agent_id", "offset_s"),
    "repeats": ("cap_s", "agent_id", "queue"),
    "places": ("cap_s", "kind", "place", "agent_id"),
}
