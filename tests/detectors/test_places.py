import numpy as np

from kpiaudit.detectors._places import place
from kpiaudit.detectors.base import Summary


def rows(*each: tuple[str, str, int, int]) -> Summary:
    """Build rows of seat, agent, events and trials."""
    seat, agent, events, trials = zip(*each, strict=True)
    return Summary(
        columns={
            "seat": np.array(seat, dtype=object),
            "agent_id": np.array(agent, dtype=object),
            "events": np.array(events),
            "trials": np.array(trials),
        }
    )


def asked(table: Summary, agent: str = "A"):
    return place(table, "seat", agent, events="events", trials="trials")


def test_a_bad_seat_explains_what_others_have_there_and_nowhere_else():
    table = rows(
        ("S1", "A", 30, 100),
        ("S2", "A", 5, 100),
        ("S1", "B", 28, 100),
        ("S2", "B", 5, 100),
        ("S1", "C", 31, 100),
        ("S3", "C", 5, 100),
    )
    assert asked(table).explains


def test_colleagues_who_do_the_same_everywhere_make_no_bad_seat():
    table = rows(
        ("S1", "A", 30, 100),
        ("S2", "A", 30, 100),
        ("S1", "B", 30, 100),
        ("S3", "B", 30, 100),
        *((f"S{seat}", name, 5, 100) for seat in (4, 5) for name in "CDEFGH"),
    )
    at = asked(table)
    assert at.refuted
    assert not at.explains


def test_a_seat_that_nobody_else_used_tells_nothing():
    table = rows(("S1", "A", 30, 100), ("S2", "B", 5, 100))
    at = asked(table)
    assert not at.explains
    assert not at.refuted


def test_an_agent_without_events_has_no_place():
    assert asked(rows(("S1", "A", 0, 100), ("S1", "B", 5, 100))) is None


def test_one_colleague_with_the_same_habit_makes_no_bad_line():
    table = rows(
        ("T1", "A", 126, 923),
        ("T2", "A", 20, 158),
        ("T1", "B", 165, 1000),
        ("T2", "B", 3, 20),
        *(("T1", name, 25, 480) for name in "CDEFG"),
        *((f"T{line}", name, 14, 480) for line in (2, 3) for name in "CDEFGH"),
    )
    at = asked(table)
    assert not at.explains


def test_an_agent_who_has_as_many_elsewhere_is_not_explained_by_the_place():
    table = rows(
        ("S1", "A", 40, 200),
        ("S2", "A", 40, 200),
        *(("S1", name, 30, 200) for name in "BCD"),
        *((f"S{seat}", name, 6, 200) for seat in (3, 4) for name in "BCDEFG"),
    )
    at = asked(table)
    assert at.odds > at.along
    assert not at.explains
