import polars as pl
import pytest

from kpiaudit.tables.textcells import instants_of

MS = 1_772_445_600_000  # 2026-03-02T10:00:00Z


@pytest.mark.parametrize("gap", ["T", " "])
@pytest.mark.parametrize("fraction", ["", ".250"])
def test_stamps_in_utc_and_with_offsets_are_the_same_instants(
    gap: str, fraction: str
) -> None:
    text = f"2026-03-02{gap}10:00:00{fraction}"
    other = f"2026-03-02{gap}12:30:00{fraction}"
    cells = [f"{text}Z", f"{text}+00:00", f"{other}+02:30", None, "soon", f"{text}Z "]
    read = instants_of(pl.Series(cells), "Europe/Berlin").to_list()
    want = MS + (250 if fraction else 0)
    assert read == [want, want, want, None, None, want]


def test_a_stamp_in_utc_outside_the_years_is_none() -> None:
    cells = pl.Series(["2026-03-02T10:00:00Z", "1899-12-31T00:00:00Z"])
    assert instants_of(cells, "UTC").to_list() == [MS, None]
