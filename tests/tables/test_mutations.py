"""What `benchmarks/fuzz.py` asks of 100,000 exports, asked here of some dozens."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpiaudit.errors import KpiauditError
from kpiaudit.tables.load import load
from tests.tables.grown import damaged, grown, grown_differences
from tests.tables.mutations import mutated, noisy
from tests.tables.oracle import differences

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from kpiaudit.tables.dataset import Dataset
    from tests.tables.mutations import Case

_SOME = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
CHANCE = st.randoms(use_true_random=False)


def read(folder: Path, name: str, data: bytes, case: Case | None = None) -> Dataset:
    path = folder / name
    path.write_bytes(data)
    mapping = None
    if case and case.mapping:
        mapping = folder / "units.yaml"
        columns = "".join(
            f"  {c}: {{column: {c}, unit: {u}}}\n" for c, u in case.mapping.items()
        )
        mapping.write_text(f"table: {case.table}\ncanonical: true\ncolumns:\n{columns}")
    return load([path], mapping=mapping, max_unreadable=1)


@_SOME
@given(CHANCE)
def test_known_damage_is_counted_and_nothing_else_changes(
    tmp_path: Path, chance: Random
):
    case = mutated(chance)
    assert not list(differences(case, read(tmp_path, case.name, case.data, case)))


@settings(_SOME, max_examples=10)
@given(CHANCE)
def test_a_damaged_export_of_a_platform_loses_its_damaged_rows_only(
    tmp_path: Path, chance: Random
):
    case = damaged(chance)
    assert not list(grown_differences(case, read(tmp_path, case.name, case.data)))


@_SOME
@given(CHANCE)
def test_bytes_damaged_anyhow_end_in_a_dataset_or_a_message(
    tmp_path: Path, chance: Random
):
    case = mutated(chance)
    with suppress(KpiauditError):
        read(tmp_path, case.name, noisy(chance, case.data)[0])


def test_several_presets_take_part():
    assert len(grown()) >= 8
