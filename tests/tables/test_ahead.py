import threading

import pytest

from kpiaudit.tables import source, textfile
from kpiaudit.tables.ahead import ahead
from kpiaudit.tables.load import load


def _numbers(seen, stop=None):
    for number in range(5):
        seen.append(number)
        if number == stop:
            raise ValueError("no more")
        yield number


def test_all_parts_come_in_their_order():
    assert list(ahead(_numbers([]))) == [0, 1, 2, 3, 4]


def test_an_error_comes_after_the_parts_before_it():
    got = []
    with pytest.raises(ValueError, match="no more"):
        got.extend(iter(ahead(_numbers([], stop=3))))
    assert got == [0, 1, 2]


def test_a_reader_that_is_left_early_ends():
    seen = []
    parts = ahead(ahead(_numbers(seen)))
    assert next(parts) == 0
    before = threading.active_count()
    parts.close()
    assert threading.active_count() < before
    assert len(seen) < 6


def test_a_large_csv_reads_as_a_small_one(tmp_path, monkeypatch):
    path = tmp_path / "calls.csv"
    rows = [
        f"C{i},A{i % 7},2025-01-{1 + i % 28:02d}T10:00:00Z,{i % 300}"
        for i in range(3_000)
    ]
    head = "call_id,agent_id,started_at,talk_s"
    path.write_text("\n".join([head, *rows, head, ",,,", "Total,,,9"]) + "\n")
    small = load([str(path)])
    monkeypatch.setattr(textfile, "_LARGE", 0)
    monkeypatch.setattr(source, "BLOCK", 8_192)
    large = load([str(path)])
    frames = [d.frames["calls"].to_native().collect() for d in (small, large)]
    assert frames[0].equals(frames[1])
    assert small.rows == large.rows
