"""The same rule where nothing is to be found: how often would it have been reported?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np
from scipy.special import bdtrc

from kpiaudit.detectors.base import Summary, Tested, Verdicts
from kpiaudit.evidence import power
from kpiaudit.findings import PlaceboRuns
from kpiaudit.stats import multiplicity, peers
from kpiaudit.tables.engine import collect, flag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kpiaudit.detectors.base import Detector
    from kpiaudit.evidence.runs import Run
    from kpiaudit.tables.dataset import Dataset, Frame

REPLICAS = 40
RELIABLE = 0.05
"""Share of placebo runs that may be reported; a rule far above it is not relied on."""
SURE = 0.05
_WAITED_S = 30.0
_KINDS = ("agent", "floor", "queue")


def reported(verdicts: Verdicts, level: float, kinds: tuple[str, ...] = _KINDS) -> bool:
    """Say whether anybody would have been reported at this q-value."""
    tested = verdicts.tested
    if verdicts.skipped is not None or not tested:
        return False
    sizes = [int(t.outcome.testable.sum()) for t in tested]
    if not sum(sizes):
        return False
    weights = multiplicity.kind_weights(sizes, [t.share for t in tested])
    p = np.concatenate([t.outcome.p_value[t.outcome.testable] for t in tested])
    of = np.concatenate(
        [np.full(n, t.kind) for n, t in zip(sizes, tested, strict=True)]
    )
    hit = multiplicity.q_values(p, weights) <= level
    return bool(np.any(hit & np.isin(of, kinds)))


def cheap(run: Run) -> dict[str, PlaceboRuns]:
    """Run what needs neither a read nor much time; part of every scan."""
    level = power.level_of(run)
    got = [
        reported(verdicts, level)
        for verdicts in run.rule.detector.elsewhere(run.summaries, run.found)
        if any(t.outcome.testable.any() for t in verdicts.tested)
    ]
    return {"cutoffs": _runs(got)} if got else {}


def full(run: Run, tell: Callable[[str], None]) -> dict[str, PlaceboRuns]:
    """Run the whole battery: cutoffs, before it paid, a negative control, replicas."""
    name, level = run.rule.id, power.level_of(run)
    out = cheap(run)
    tell(f"{name}: placebo cutoffs")
    detector = run.rule.detector
    others = [(other, run.data) for other in detector.variants(run.found)]
    others += [(detector, data) for data in detector.moved(run.data)]
    got = []
    for other, data in others:
        verdicts = _through(other, data, run.rule.min_effect)
        if any(t.outcome.testable.any() for t in verdicts.tested):
            got.append(reported(verdicts, level))
    if got:
        out["cutoffs"] = _runs(got)
    tell(f"{name}: before it paid")
    before = _before(run)
    if before is not None:
        verdicts = _through(before[0], before[1], run.rule.min_effect)
        if any(t.outcome.testable.any() for t in verdicts.tested):
            out["before"] = _runs([reported(verdicts, level)])
    tell(f"{name}: negative control")
    control = _waited(run)
    if control is not None:
        out["negative_control"] = _runs([reported(control, level)])
    got = []
    honest = run.rule.detector.replicas(
        run.summaries, run.found, number=REPLICAS, seed=17
    )
    for number, summaries in enumerate(honest):
        tell(f"{name}: replica {number + 1} of {REPLICAS}")
        verdicts = run.rule.detector.test(
            summaries, run.found, min_effect=run.rule.min_effect
        )
        got.append(reported(verdicts, level, ("agent",)))
    if got:
        out["replicas"] = _runs(got)
    run.unplaced = _unplaced(run, out)
    return out


def _unplaced(run: Run, ran: Mapping[str, PlaceboRuns]) -> tuple[str, ...]:
    """Name the placebos of the battery that this rule can't be asked in these data."""
    why = {
        "negative_control": "no column that no agent can move, such as calls.wait_s, "
        "goes with its records",
        "cutoffs": "no cutoff of the same roundness at which nothing is paid is "
        "counted for it",
        "before": "no `since` says when it began to pay, or nothing lies before it",
        "replicas": "its counts are too few, or not of a kind that can be drawn anew",
    }
    absent = [
        f"{name.replace('_', ' ')} ({because})"
        for name, because in why.items()
        if name not in ran
    ]
    return (f"Placebos that can't be run: {'; '.join(absent)}.",) if absent else ()


def _runs(reports: list[bool]) -> PlaceboRuns:
    return PlaceboRuns(runs=len(reports), flagged=sum(reports))


def fires(placebo: Mapping[str, PlaceboRuns]) -> tuple[str, ...]:
    """Return the kinds of placebo that were reported more often than luck allows."""
    return tuple(
        name
        for name, item in placebo.items()
        if item.flagged and float(bdtrc(item.flagged - 1, item.runs, RELIABLE)) <= SURE
    )


def take_account(run: Run) -> None:
    """Mark a rule whose placebo fires as unreliable here, and its findings as weak."""
    fired = fires(run.placebo)
    if not fired:
        return
    names = ", ".join(name.replace("_", " ") for name in fired)
    run.unreliable = (
        f"unreliable here: it reports where nothing was to be found ({names}), more "
        "often than luck allows; its findings are weak"
    )
    run.findings = [replace(f, evidence_grade="weak") for f in run.findings]


def _through(detector: Detector, data: Dataset, least: float | None) -> Verdicts:
    """Take one detector through its stages on its own."""

    def collected(frames: Mapping[str, Frame]) -> dict[str, Summary]:
        if not frames:
            return {}
        return {name: Summary.of(frame) for name, frame in collect(frames).items()}

    found = detector.find(collected(detector.discover(data)))
    summaries = collected(detector.summarize(data, found))
    return detector.test(summaries, found, min_effect=least)


def _before(run: Run) -> tuple[Detector, Dataset] | None:
    """Return the rule without its beginning, on the days before it."""
    detector, table = run.rule.detector, run.rule.detector.table
    day = detector.since_day
    if day is None or not run.data.has(f"{table}.day"):
        return None
    frame = run.data.table(table).filter(nw.col("day") < day)
    frames = {**run.data.frames, table: frame}
    return replace(detector, since=None), replace(run.data, frames=frames)


def _waited(run: Run) -> Verdicts | None:
    """Ask whose callers had waited long before the call reached them.

    No agent can move that; the comparison with peers is the rules' own.
    """
    wanted = ("calls.agent_id", "calls.wait_s")
    if run.rule.detector.table != "calls" or not run.data.has(*wanted):
        return None
    strata = [c for c in ("queue", "hour") if run.data.has(f"calls.{c}")]
    frame = run.data.table("calls").filter(
        ~nw.col("agent_id").is_null() & ~nw.col("wait_s").is_null()
    )
    by = ["agent_id", *strata]
    frame = (
        frame.with_columns(late=flag(nw.col("wait_s") >= _WAITED_S))
        .group_by(*by)
        .agg(calls=nw.len(), late=nw.col("late").sum())
        .sort(*by)
    )
    rows = Summary.of(collect({"waited": frame})["waited"])
    if not len(rows):
        return None
    ids, agent = np.unique(rows["agent_id"].astype(str), return_inverse=True)
    keys = ["\x1f".join(map(str, key)) for key in zip(*(rows[c] for c in strata))]  # noqa: B905 - no strata, no keys
    stratum = (
        np.unique(keys, return_inverse=True)[1] if keys else np.zeros(len(rows), int)
    )
    outcome = peers.excess(
        agent.astype(np.int64),
        stratum.astype(np.int64),
        rows.ints("late"),
        rows.ints("calls"),
        n_subjects=len(ids),
    )
    told = Tested(kind="agent", ids=ids.astype(object), outcome=outcome)
    return Verdicts(tested=(told,))
