"""duration-cap: planted agents and floors are found, look-alikes are not."""

from __future__ import annotations

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.detectors.base import Row, Summary
from kpiaudit.detectors.duration_cap import DurationCap
from kpiaudit.stats import multiplicity
from kpiaudit.tables import schema
from kpiaudit.tables.dataset import Dataset
from kpiaudit.tables.engine import collect
from kpiaudit.tables.simulate import Centre, Plant, simulate

DAY_MS = 86_400_000
CAP = DurationCap(cap_s=420.0)


def dataset(calls, *, without=()):
    """Turn a simulated table into a dataset as the loader would."""
    frame = calls.drop(without)
    instants = [name for name in frame.columns if name.endswith("_at")]
    frame = frame.with_columns(pl.col(name).dt.epoch("ms") for name in instants)
    period = {}
    if "started_at" in frame.columns:
        at = pl.col("started_at")
        frame = frame.with_columns(at_ms=at, day=at // DAY_MS)
        period = {"calls": (frame["at_ms"].min(), frame["at_ms"].max())}
    return of_frame(frame.lazy(), frame.columns, period)


def of_frame(native, columns, period):
    origins = {
        f"{table}.{column.name}": column.origin
        for table, known in schema.TABLES.items()
        for column in known
    }
    return Dataset(
        frames={"calls": nw.from_native(native)},
        columns={"calls": frozenset(columns)},
        origins=origins,
        period=period,
    )


def collected(frames):
    return {name: Summary.of(frame) for name, frame in collect(frames).items()}


def audit(data, detector=CAP):
    found = detector.find(collected(detector.discover(data)))
    summaries = collected(detector.summarize(data, found))
    return found, summaries, detector.test(summaries, found, min_effect=None)


def flagged(verdicts, level=0.05):
    """Pool all kinds as the scan does; return the flagged ids per kind."""
    sizes = [int(t.outcome.testable.sum()) for t in verdicts.tested]
    p = np.concatenate([t.outcome.p_value for t in verdicts.tested])
    weight = np.ones_like(p)
    weight[~np.isnan(p)] = multiplicity.kind_weights(
        sizes, [t.share for t in verdicts.tested]
    )
    q = np.split(
        multiplicity.q_values(p, weight),
        np.cumsum([len(t.ids) for t in verdicts.tested])[:-1],
    )
    return {
        t.kind: {str(t.ids[i]) for i in np.flatnonzero(own <= level)}
        for t, own in zip(verdicts.tested, q, strict=True)
    }


def accounts(detector, data, found, summaries, verdicts):
    hits = flagged(verdicts)
    return [
        detector.account(
            Row(
                kind=tested.kind,
                id=name,
                index=tested.ids.tolist().index(name),
                tested=tested,
                q_value=0.001,
                summaries=summaries,
                found=found,
                data=data,
            )
        )
        for tested in verdicts.tested
        for name in sorted(hits[tested.kind])
    ]


def centre(**settings):
    return simulate(
        Centre(**({"seed": 5, "agents": 24, "tables": ("calls",)} | settings))
    )


def planted(**settings):
    return centre(plants=(Plant(pattern="duration-cap", **settings),))


@pytest.fixture(scope="module")
def gamed():
    return planted(agents=3, strength=0.3)


@pytest.fixture(scope="module")
def everybody():
    return planted(agents=1.0, strength=0.3, falsify=0.8)


def test_planted_agents_are_found_and_nobody_else(gamed):
    _, _, verdicts = audit(dataset(gamed.tables["calls"]))
    assert flagged(verdicts)["agent"] == set(gamed.truth["duration-cap"]["agents"])


def test_a_floor_on_which_everybody_does_it_is_found(everybody):
    _, _, verdicts = audit(dataset(everybody.tables["calls"]))
    assert flagged(verdicts)["floor"] == {"all"}


def test_honest_agents_are_not_accused():
    _, _, verdicts = audit(dataset(centre().tables["calls"]))
    assert not any(flagged(verdicts).values())
