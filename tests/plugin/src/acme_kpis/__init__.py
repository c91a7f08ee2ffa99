"""An example of a plugin: one detector, complete, in one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np

from kpiaudit.detectors.base import (
    Account,
    Detector,
    Found,
    Row,
    Summaries,
    Tested,
    Verdicts,
    param,
)
from kpiaudit.findings import Effect, Explanation, RestsOn
from kpiaudit.stats import peers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.tables.dataset import Dataset, Frame


@dataclass(frozen=True, kw_only=True)
class WeekendCalls(Detector):
    """Far more calls on Saturdays and Sundays than the peers have.

    ## Why it matters
    Where weekend calls are paid extra, calls may be saved up for the weekend.

    ## Evidence
    Calls on weekend days against the peers' share, allowing for honest differences.

    ## Innocent explanations
    - The roster puts the agent on weekends.

    ## Source
    None; an example.
    """

    id = "weekend-calls"
    kpi = "calls_per_shift"
    level = 1
    table = "calls"
    needs = ("calls.agent_id", "calls.started_at")
    uses = ()

    first_day: int = param(5, unit="1", doc="First weekend day, Monday is 0.", low=0)

    def summarize(self, data: Dataset, found: Found) -> Mapping[str, Frame]:
        # 1970-01-01 was a Thursday, day 3 of a week that begins on Monday.
        weekend = (nw.col("day") + 3) % 7 >= self.first_day
        return {
            "agent": data.table("calls")
            .filter(~nw.col("agent_id").is_null())
            .with_columns(weekend=nw.when(weekend).then(1).otherwise(0))
            .group_by("agent_id")
            .agg(n=nw.len(), k=nw.col("weekend").cast(nw.Int64).sum())
            .sort("agent_id")
        }

    def test(
        self, summaries: Summaries, found: Found, *, min_effect: float | None
    ) -> Verdicts:
        counts = summaries["agent"]
        index = np.arange(len(counts))
        outcome = peers.excess(
            index,
            np.zeros_like(index),
            counts.ints("k"),
            counts.ints("n"),
            n_subjects=len(counts),
            min_excess=min_effect or 0.0,
        )
        return Verdicts(
            tested=(Tested(kind="agent", ids=counts["agent_id"], outcome=outcome),)
        )

    def account(self, row: Row) -> Account:
        effect = Effect(
            name="weekend calls beyond the peers' share",
            value=row.value("effect"),
            low=row.value("low"),
            high=row.value("high"),
            unit="calls",
        )
        return Account(
            headline=f"Agent {row.id} has far more weekend calls than the peers.",
            effect=effect,
            n=int(row.value("trials")),
            observed=row.value("observed"),
            expected=row.value("expected"),
            harm=row.value("effect") / max(row.value("trials"), 1.0),
            explanations=(
                Explanation(
                    text="The roster puts the agent on weekends.",
                    status="uncheckable",
                    detail="no roster among the tables",
                ),
            ),
            rests_on=(
                RestsOn(
                    column="calls.started_at",
                    origin=row.data.origin("calls.started_at"),
                    role="numerator",
                ),
            ),
            peers="all other agents",
            next_step="Compare with the roster.",
        )

    def records(
        self, data: Dataset, subject: tuple[str, str], found: Found
    ) -> Mapping[str, Frame]:
        own = data.table("calls").filter(nw.col("agent_id") == subject[1])
        weekend = (nw.col("day") + 3) % 7 >= self.first_day
        return {"flagged": own.filter(weekend), "control": own.filter(~weekend)}
