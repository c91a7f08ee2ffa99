"""Hold restated KPIs against what they would truly have been in a simulated centre.

What is compared is the change: the restated value less the reported one.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import polars as pl

from kpiaudit.evidence.restating import IN_TIME_S, RESOLVED_DAYS
from kpiaudit.tables.simulate import Centre, Simulated, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kpiaudit.findings import Restated

COUNTED = {
    "short-calls": "calls",
    "duration-cap": "calls",
    "early-closure": "tickets",
    "premature-ready": "handovers",
    "survey-selection": "surveys",
    "perfect-scores": "surveys",
}
"""Table whose records weigh an agent's mean in the floor's."""
HEAD = (
    "| Planted pattern | KPI, restated for | Findings | True change inside the 95 % "
    "interval | Median change stated, by the true one | Mean one by the mean true one "
    "| Median width, by the true change |"
)


@dataclass(frozen=True, kw_only=True)
class World:
    """A centre with a planted pattern, and what is true of it.

    Args:
        made: The centre.
        pattern: Id of the pattern.
        honest: The same centre without the pattern.
    """

    made: Simulated
    pattern: str
    honest: Simulated

    @property
    def gamed(self) -> list[str]:
        """Return the ids of the gamed records."""
        return list(self.made.truth[self.pattern]["records"])

    def gain(self, kpi: str, who: Sequence[str]) -> float | None:
        """Return the true change of a KPI over some agents' records; None if unknown.

        Args:
            kpi: Its name, as restated.
            who: Agents whose pattern is taken out.
        """
        ways: dict[str, Callable[[Sequence[str]], float | None]] = {
            "calls_handled": self._calls,
            "service_level": self._in_time,
            "first_contact_resolution": self._quiet,
            "response_rate": self._answers,
        }
        return ways.get(kpi, self._mean)(who)

    def share(self, who: Sequence[str], kpi: str = "") -> float:
        """Return the agents' share of all records that a KPI counts."""
        frame = self.made.tables[COUNTED[self.pattern]]
        if kpi == "response_rate":
            frame = frame.filter(pl.col("sent_at").is_not_null())
        elif "responded_at" in frame.columns:
            frame = frame.filter(pl.col("score").is_not_null())
        known = frame.filter(pl.col("agent_id").is_not_null())
        return known.filter(pl.col("agent_id").is_in(who)).height / known.height

    def _calls(self, who: Sequence[str]) -> float:
        by = self.made.truth[self.pattern]["by_agent"]
        return -float(sum(by.get(agent, 0) for agent in who))

    def _mean(self, who: Sequence[str]) -> float | None:
        parts = []
        for told in self.made.truth[self.pattern]["kpi"].values():
            for agent in who:
                own = told.get("by_agent", {}).get(agent)
                if own and None not in (own["reported"], own["without"]):
                    change = own["without"] - own["reported"]
                    parts.append((self.share([agent]), change))
        whole = sum(n for n, _ in parts)
        return sum(n * x for n, x in parts) / whole if whole else None

    def _in_time(self, who: Sequence[str]) -> float:
        calls = self._of(who).filter(pl.col("wait_s").is_not_null())
        lost = pl.col("call_id").is_in(self.gamed) & (pl.col("wait_s") <= IN_TIME_S)
        return -float(calls.select(lost.mean()).item())

    def _quiet(self, who: Sequence[str]) -> float:
        span = pl.duration(days=RESOLVED_DAYS)
        at = pl.col("started_at")
        calls = self.made.tables["calls"].with_columns(at=at).sort("customer_id", "at")
        calls = calls.with_columns(
            later=pl.col("at").shift(-1).over("customer_id") - pl.col("at")
        )
        known = calls.filter(
            pl.col("agent_id").is_in(who)
            & pl.col("customer_id").is_not_null()
            & (pl.col("at") <= pl.col("at").max() - span)
        )
        quiet = pl.col("later").is_null() | (pl.col("later") > span)
        lost = pl.col("call_id").is_in(self.gamed) & quiet
        return -float(known.select(lost.mean()).item())

    def _answers(self, who: Sequence[str]) -> float:
        mine = pl.col("agent_id").is_in(who)
        asked = self.made.tables["surveys"].filter(
            mine & pl.col("sent_at").is_not_null()
        )
        left_out = self.honest.tables["surveys"].filter(
            mine & pl.col("call_id").is_in(self.gamed)
        )
        answered = pl.col("responded_at").is_not_null()
        n, k = asked.height, asked.filter(answered).height
        m, j = left_out.height, left_out.filter(answered).height
        return (k + j) / (n + m) - k / n

    def _of(self, who: Sequence[str]) -> pl.DataFrame:
        return self.made.tables["calls"].filter(pl.col("agent_id").is_in(who))


def held(report: Any, made: Simulated, pattern: str, centre: Centre) -> list[Any]:
    """Return every restated KPI of agents and of the floor, with its true change.

    Args:
        report: Of the centre.
        made: The centre.
        pattern: What was planted.
        centre: Its settings without the pattern.
    """
    needed = pattern == "survey-selection"
    world = World(
        made=made, pattern=pattern, honest=simulate(centre) if needed else made
    )
    found = [f for f in report.findings if f.subject.kind == "agent"]
    out: list[Any] = []
    for f in found:
        for item in ((f.restated,) if f.restated else ()) + f.also_restated:
            true = world.gain(item.kpi, [f.subject.id])
            out += _one(item, "agent", true)
    who = [f.subject.id for f in found]
    for rule in report.rules if who else ():
        for item in rule.restated:
            true = world.gain(item.kpi, who)
            weight = 1.0 if item.kpi == "calls_handled" else world.share(who, item.kpi)
            out += _one(item, "floor", None if true is None else true * weight)
    return out


def _one(item: Restated, kind: str, true: float | None) -> list[Any]:
    if true is None or None in (item.reported, item.low, item.high):
        return []
    low, high = sorted((item.low - item.reported, item.high - item.reported))  # type: ignore[operator]
    point = (item.restated or 0.0) - item.reported  # type: ignore[operator]
    told = {"low": low, "high": high, "point": point, "true": true}
    own = {name: float(x) for name, x in told.items()}
    return [{"kpi": item.kpi, "for": kind, **own}]


_RENAMED = {
    "mean talk and hold time": "average_handle_time",
    "csat (mean score)": "csat",
}
"""What KPIs were called in earlier results."""


def table(rows: list[dict[str, Any]], patterns: Sequence[str]) -> list[str]:
    """Return the lines of a table: how often the truth lay inside the interval.

    Shares are rounded down, so that 100 % means all of them.
    """
    lines = [HEAD, "| --- | --- | --- | --- | --- | --- | --- |"]
    for name in patterns:
        told = [
            {**x, "kpi": _RENAMED.get(x["kpi"], x["kpi"].replace(" ", "_"))}
            for r in rows
            if r["name"] == name
            for x in r["restated"]
        ]
        kinds = dict.fromkeys((x["for"], x["kpi"]) for x in told)
        for kind, kpi in sorted(kinds, key=lambda key: key[0]):
            own = [x for x in told if (x["for"], x["kpi"]) == (kind, kpi)]
            inside = sum(x["low"] - 1e-9 <= x["true"] <= x["high"] + 1e-9 for x in own)
            sizes = [max(abs(x["true"]), 1e-12) for x in own]
            widths = [
                (x["high"] - x["low"]) / size
                for x, size in zip(own, sizes, strict=True)
            ]
            stated = [
                x["point"] * (1.0 if x["true"] > 0 else -1.0) / size
                for x, size in zip(own, sizes, strict=True)
            ]
            # Of a change smaller than its noise, the median ratio says nothing.
            mean = sum(x["point"] for x in own) / sum(x["true"] for x in own)
            lines.append(
                f"| `{name}` | {kpi.replace('_', ' ')}, {kind} | {len(own)} | "
                f"{inside} ({100 * inside // len(own)}%) | "
                f"{median(stated):.2f} | {mean:.2f} | {median(widths):.1f} |"
            )
    return lines
