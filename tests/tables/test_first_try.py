"""What is read at first try is what patience would have read."""

import pytest

from kpiaudit.errors import TableError
from kpiaudit.tables import source
from kpiaudit.tables.load import load

ROWS = 400


def calls(tmp_path, *, late, stamp="2026-03-02T10:{:02d}:{:02d}Z", separator=","):
    head = separator.join(("call_id", "agent_id", "started_at", "talk_s"))
    lines = [head]
    for i in range(ROWS):
        at, talk = stamp.format(i // 60, i % 60), str(100 + i)
        if i >= ROWS // 2:
            at, talk = late(i, at, talk)
        lines.append(separator.join((f"C{i}", f"A{i % 3}", at, talk)))
    path = tmp_path / "calls.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def both(path, monkeypatch):
    """Load in one block and in many; the first of these are read at first try."""
    whole = load([path])
    monkeypatch.setattr(source, "BLOCK", 1500)
    parts = load([path])
    one, two = (d.table("calls").collect().to_native() for d in (whole, parts))
    assert one.equals(two)
    assert whole.notes == parts.notes
    return two


@pytest.mark.parametrize(
    ("talk", "value"),
    [('"1,234.5"', 1234.5), ('"12,5"', 12.5), ("00:02:05", 125.0), ("n/a", None)],
)
def test_a_cell_that_comes_late_decides_for_the_column(
    tmp_path, monkeypatch, talk, value
):
    path = calls(tmp_path, late=lambda i, at, _: (at, talk if i == 300 else "7"))
    read = both(path, monkeypatch)
    assert read["talk_s"].to_list() == [
        *range(100, 300),
        *[7] * 100,
        value,
        *[7] * 99,
    ]


def test_points_before_a_late_decimal_comma_part_thousands(tmp_path, monkeypatch):
    # 1.250 reads as a plain number at first; ten thousand cells with commas say no.
    def late(i, at, _):
        return at, '"1.250,5"'

    path = calls(tmp_path, late=late)
    text = path.read_text().replace(",105\n", ",1.250\n", 1)
    path.write_text(text)
    read = both(path, monkeypatch)
    assert read["talk_s"][5] == 1250
    assert read["talk_s"][-1] == 1250.5


@pytest.mark.parametrize(
    "stamp",
    ["25/03/2026 10:{:02d}:{:02d}", "2026-03-02T11:{:02d}:{:02d}+01:00", "2026-03-02"],
)
def test_stamps_of_another_kind_are_read_when_they_come(tmp_path, monkeypatch, stamp):
    def late(i, _, talk):
        return stamp.format(i // 60, i % 60), talk

    read = both(calls(tmp_path, late=late), monkeypatch)
    assert read["started_at"].null_count() == 0


def test_an_order_that_can_not_be_told_is_still_refused(tmp_path, monkeypatch):
    path = calls(
        tmp_path, late=lambda i, _, t: (f"03/04/2026 10:{i // 60:02d}:{i % 60:02d}", t)
    )
    monkeypatch.setattr(source, "BLOCK", 1500)
    with pytest.raises(TableError, match="day and month can't be told apart"):
        load([path])
