"""What a summary remembers of its texts is what numpy says of them each time."""

from __future__ import annotations

import numpy as np
import pytest

from kpiaudit.detectors.base import Summary

TEXTS = {
    "sorted": ["a", "a", "b", "d", "d"],
    "mixed": ["d", "a", "d", "b", "a"],
    "unknown": ["b", None, "a", None, "b"],
    "numbers": [10, 9, 10, 9, 2],
    "none": [],
}


@pytest.fixture(params=TEXTS, ids=str)
def rows(request: pytest.FixtureRequest) -> Summary:
    texts = TEXTS[request.param]
    kind = np.int64 if request.param == "numbers" else object
    return Summary(
        columns={"who": np.array(texts, dtype=kind), "n": np.arange(len(texts))}
    )


def told(rows: Summary) -> tuple[list[str], list[int]]:
    names, index = np.unique(rows["who"].astype(str), return_inverse=True)
    return names.tolist(), index.tolist()


def known(rows: Summary) -> tuple[list[str], list[int]]:
    names, index = rows.coded("who")
    return names.tolist(), index.tolist()


def test_texts_are_numbered_as_numpy_does(rows: Summary) -> None:
    assert known(rows) == told(rows)
    assert known(rows) == told(rows)


def test_a_part_numbers_its_own_texts(rows: Summary) -> None:
    part = rows.where(np.arange(len(rows)) % 2 == 0)
    assert known(part) == told(part)
    assert known(part.where(part.ints("n") > 0)) == told(part.where(part.ints("n") > 0))


def test_rows_of_a_text_keep_their_order(rows: Summary) -> None:
    for text in ("a", "b", "c", "None", "10", ""):
        mine = rows["who"].astype(str) == text
        assert rows.having("who", text)["n"].tolist() == rows["n"][mine].tolist()
        assert rows.same("who", text).tolist() == mine.tolist()


def test_places_are_those_of_a_search(rows: Summary) -> None:
    among = np.array(["10", "a", "b", "d"], dtype=object)
    expected = np.searchsorted(among.astype(str), rows["who"].astype(str))
    assert rows.places("who", among).tolist() == expected.tolist()


def test_other_counts_leave_texts_and_not_sums() -> None:
    rows = Summary(
        columns={"who": np.array(["b", "a"], dtype=object), "n": np.array([1, 2])}
    )
    assert rows.total("n") == 3
    rows.coded("who")
    more = rows.with_counts(n=np.array([5, 5]))
    assert more.total("n") == 10
    assert known(more) == (["a", "b"], [1, 0])
    other = rows.with_counts(who=np.array(["c", "c"], dtype=object))
    assert known(other) == (["c"], [0, 0])
