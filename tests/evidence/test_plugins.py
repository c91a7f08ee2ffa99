"""A plugin that fails is named, in whatever step it fails."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from kpiaudit.audit import audit
from kpiaudit.detectors import base
from kpiaudit.detectors.base import Account, Detector, Row, Verdicts
from kpiaudit.errors import RunError, TableError
from kpiaudit.rulebook import Rule
from kpiaudit.stats import peers
from kpiaudit.tables.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from kpiaudit.tables.dataset import Dataset

STEPS = ("discover", "find", "summarize", "test", "account")


@dataclass(frozen=True, kw_only=True)
class Fails(Detector):
    """Fails where it is told to."""

    id = "fails"
    kpi = "calls_per_shift"
    level = 1
    table = "calls"
    needs = ("calls.agent_id",)
    uses = ()

    where: str = ""

    def _fail(self, step: str) -> None:
        if step == self.where:
            raise ZeroDivisionError(f"in {step}")

    def discover(self, data):
        self._fail("discover")
        return {"agent": self.summarize(data, {})["agent"]}

    def find(self, summaries):
        self._fail("find")
        return {}

    def summarize(self, data, found):
        self._fail("summarize")
        counts = (
            data.table("calls")
            .group_by("agent_id")
            .agg(n=nw.len(), k=(nw.col("talk_s") < 5).cast(nw.Int64).sum())
            .sort("agent_id")
        )
        if self.where == "a frame":
            counts = counts.with_columns(wrong=nw.col("agent_id").cast(nw.Int64))
        return {"agent": counts}

    def test(self, summaries, found, *, min_effect):
        self._fail("test")
        counts = summaries["agent"]
        index = np.arange(len(counts))
        outcome = peers.excess(
            index,
            np.zeros_like(index),
            counts.ints("k"),
            counts.ints("n"),
            n_subjects=len(counts),
            min_excess=0.0,
        )
        tested = base.Tested(kind="agent", ids=counts["agent_id"], outcome=outcome)
        return Verdicts(tested=(tested,))

    def account(self, row: Row) -> Account:
        self._fail("account")
        raise NotImplementedError

    def records(self, data, subject, found):
        return {}


@pytest.fixture(scope="module")
def calls() -> pl.DataFrame:
    """Calls of 20 agents, of whom one has nothing but short ones."""
    n = 4000
    agent = [f"A{i % 20:02d}" for i in range(n)]
    short = [a == "A03" or i % 50 < 2 for i, a in enumerate(agent)]
    return pl.DataFrame(
        {
            "call_id": [f"C{i}" for i in range(n)],
            "agent_id": agent,
            "talk_s": [2.0 if s else 200.0 for s in short],
            "started_at": [1_772_445_600 + 300 * i for i in range(n)],
        }
    )


@pytest.fixture
def data(calls: pl.DataFrame) -> Dataset:
    return load(tables={"calls": calls})


@pytest.mark.parametrize("step", STEPS)
def test_the_plugin_and_its_step_are_named(data: Dataset, step: str) -> None:
    rule = Rule(id="their-rule", detector=Fails(where=step))
    with pytest.raises(RunError, match=f"'fails' failed in .*in {step}") as caught:
        audit(data, (rule,))
    assert "test_plugins" in str(caught.value)
    assert "--ignore their-rule" in str(caught.value)
    assert caught.value.exit_status == 4


def test_a_frame_that_fails_only_when_it_is_collected_is_named(data: Dataset) -> None:
    rule = Rule(id="their-rule", detector=Fails(where="a frame"))
    with pytest.raises(RunError, match="'fails' failed in "):
        audit(data, (rule,))


def test_our_own_errors_are_not_put_on_a_plugin(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpiaudit.audit._select", operator.neg)
    rule = Rule(id="their-rule", detector=Fails())
    with pytest.raises(TypeError):
        audit(data, (rule,))


@pytest.mark.parametrize("change", ["replaced", "removed", "cut"])
def test_a_file_that_changes_before_its_last_reading_is_refused(
    calls: pl.DataFrame, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "calls.parquet"
    calls.write_parquet(path)
    data = load([path])
    if change == "replaced":
        calls.with_columns(talk_s=pl.lit(300.0)).write_parquet(tmp_path / "new")
        (tmp_path / "new").replace(path)
    elif change == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:900])
    rule = Rule(id="their-rule", detector=Fails())
    with pytest.raises(TableError, match=r"changed while it was read|can't be read"):
        audit(data, (rule,))
