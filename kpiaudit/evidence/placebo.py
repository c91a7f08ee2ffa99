"""The same rule where nothing is to be found: how often would it have been reported?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np
import scipy as sp

from kpiaudit.detectors.base import Summary, Tested, Verdicts
from kpiaudit.evidence import minimum, power
from kpiaudit.findings import PlaceboRuns
from kpiaudit.stats import multiplicity, peers
from kpiaudit.tables.engine import collect, flag
from kpiaudit.tables.neighbours import legs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kpiaudit.detectors.base import Detector
    from kpiaudit.evidence.runs import Run
    from kpiaudit.tables.dataset import Dataset, Frame

REPLICAS = 40
RELIABLE = 0.05
"""Share of placebo runs that may be reported; a rule far above it is not relied on."""
SURE = 0.05
_WAITED_S = 30.0
_WEEK_MS = 7 * 24 * 3600 * 1000
_KINDS = ("agent", "floor", "queue")


def smallest_q(verdicts: Verdicts, kinds: tuple[str, ...] = _KINDS) -> float:
    """Return the smallest q-value of a subject of these kinds; 1 if none was tested."""
    tested = verdicts.tested
    if verdicts.skipped is not None or not tested:
        return 1.0
    sizes = [int(t.outcome.testable.sum()) for t in tested]
    if not sum(sizes):
        return 1.0
    weights = multiplicity.kind_weights(sizes, [t.share for t in tested])
    p = np.concatenate([t.outcome.p_value[t.outcome.testable] for t in tested])
    of = np.concatenate(
        [np.full(n, t.kind) for n, t in zip(sizes, tested, strict=True)]
    )
    mine = np.isin(of, kinds)
    return float(multiplicity.q_values(p, weights)[mine].min(initial=1.0))


def reported(verdicts: Verdicts, level: float, kinds: tuple[str, ...] = _KINDS) -> bool:
    """Say whether anybody would have been reported at this q-value."""
    return smallest_q(verdicts, kinds) <= level


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
    controls = _controls(run)
    if controls:
        out["negative_control"] = held(controls, level)
    got = []
    honest = run.rule.detector.replicas(
        run.summaries, run.found, number=REPLICAS, seed=17
    )
    for number, summaries in enumerate(honest):
        tell(f"{name}: replica {number + 1} of {REPLICAS}")
        verdicts = minimum.tested(
            detector, summaries, run.found, least=run.rule.min_effect
        )
        got.append(reported(verdicts, level, ("agent",)))
    if got:
        out["replicas"] = _runs(got)
    run.unplaced = _unplaced(run, out)
    return out


def _unplaced(run: Run, ran: Mapping[str, PlaceboRuns]) -> tuple[str, ...]:
    """Name the placebos of the battery that this rule can't be asked in these data."""
    why = {
        "negative_control": "no column that no agent can move, such as calls.wait_s "
        "or calls.customer_id, goes with its records",
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


def held(controls: Sequence[Verdicts], level: float) -> PlaceboRuns:
    """Ask a few negative controls, so strictly that one of them is enough.

    They share the chance that honest data show anybody in any of them; at a rule's own
    level for each, two would do so too often for a single one to mean anything.
    """
    share = RELIABLE / len(controls)
    got = [reported(each, min(level / len(controls), share)) for each in controls]
    return replace(_runs(got), luck=share)


def _runs(reports: list[bool]) -> PlaceboRuns:
    return PlaceboRuns(runs=len(reports), flagged=sum(reports))


def fires(placebo: Mapping[str, PlaceboRuns]) -> tuple[str, ...]:
    """Return the kinds of placebo that were reported more often than luck allows."""
    return tuple(
        name
        for name, item in placebo.items()
        if item.flagged
        # One run in one is exactly at the level, but for the last bit.
        and float(sp.special.bdtrc(item.flagged - 1, item.runs, item.luck))
        <= SURE + 1e-9
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
    return minimum.tested(detector, summaries, found, least=least)


def _before(run: Run) -> tuple[Detector, Dataset] | None:
    """Return the rule without its beginning, on the days before it."""
    detector, table = run.rule.detector, run.rule.detector.table
    day = detector.since_day
    if day is None or not run.data.has(f"{table}.day"):
        return None
    frame = run.data.table(table).filter(nw.col("day") < day)
    frames = {**run.data.frames, table: frame}
    return replace(detector, since=None), replace(run.data, frames=frames)


def _controls(run: Run) -> list[Verdicts]:
    """Ask of each agent's calls what no agent can move, against peers as the rules do.

    Whether the caller had waited long before the call reached the agent, and whether
    the caller had spoken with somebody else in the week before.
    """
    data = run.data
    if run.rule.detector.table != "calls" or not data.has("calls.agent_id"):
        return []
    calls = data.table("calls")
    asked = []
    if data.has("calls.wait_s"):
        waited = calls.filter(~nw.col("wait_s").is_null())
        late = flag(nw.col("wait_s") >= _WAITED_S)
        asked.append(waited.with_columns(event=late))
    if data.has("calls.customer_id", "calls.call_id", "calls.at_ms"):
        asked.append(_after_others(_taken(data), legs(data)))
    strata = [c for c in ("queue", "hour") if data.has(f"calls.{c}")]
    by = ["agent_id", *strata]
    frames = {
        str(place): frame.filter(~nw.col("agent_id").is_null())
        .group_by(*by)
        .agg(calls=nw.len(), events=nw.col("event").sum())
        .sort(*by)
        for place, frame in enumerate(asked)
    }
    rows = [Summary.of(each) for each in collect(frames).values()] if frames else []
    return [_against_peers(each, strata) for each in rows if len(each)]


def _taken(data: Dataset) -> Frame:
    """Return known customers' calls that agents took; whom they ring they choose."""
    calls = data.table("calls").filter(~nw.col("customer_id").is_null())
    for name, kept in (("outcome", ("answered",)), ("direction", ("inbound",))):
        if data.has(f"calls.{name}"):
            calls = calls.filter(nw.col(name).is_null() | nw.col(name).is_in(kept))
    return calls


def _after_others(calls: Frame, then: tuple[str, ...]) -> Frame:
    """Mark calls whose customer's call before was with another agent, in a week.

    Another leg of the same call is no call before: it says who is passed on to whom.
    """

    def before(name: str) -> nw.Expr:
        order = ("at_ms", "call_id", *then)
        return nw.col(name).shift(1).over("customer_id", order_by=order)

    calls = calls.with_columns(
        other=before("agent_id"), then=before("at_ms"), call=before("call_id")
    )
    recent = nw.col("at_ms") - nw.col("then") <= _WEEK_MS
    other = nw.col("other") != nw.col("agent_id")
    event = recent & other & (nw.col("call") != nw.col("call_id"))
    return calls.with_columns(event=flag(event.fill_null(value=False)))


def _against_peers(rows: Summary, strata: list[str]) -> Verdicts:
    ids, agent = np.unique(rows["agent_id"].astype(str), return_inverse=True)
    keys = ["\x1f".join(map(str, key)) for key in zip(*(rows[c] for c in strata))]  # noqa: B905 - no strata, no keys
    stratum = (
        np.unique(keys, return_inverse=True)[1] if keys else np.zeros(len(rows), int)
    )
    outcome = peers.excess(
        agent.astype(np.int64),
        stratum.astype(np.int64),
        rows.ints("events"),
        rows.ints("calls"),
        n_subjects=len(ids),
    )
    told = Tested(kind="agent", ids=ids.astype(object), outcome=outcome)
    return Verdicts(tested=(told,))
