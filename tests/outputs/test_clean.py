from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from kpiaudit.outputs.clean import cleaned, shortened, visible

if TYPE_CHECKING:
    from kpiaudit.findings import Report


def test_an_escape_sequence_is_shown_and_not_obeyed() -> None:
    assert visible("\x1b[2J\x9b1m\x07") == r"\x1b[2J\x9b1m\x07"


def test_a_line_break_in_an_id_is_shown() -> None:
    assert visible("A\nB\r\tC\u2028D") == r"A\nB\r\tC\u2028D"


def test_bidi_and_invisible_characters_are_shown() -> None:
    assert visible("\u202eA\u2066\u200b\ufeff") == r"\u202eA\u2066\u200b\ufeff"
    assert visible("\U000e0041") == r"\U000e0041"


def test_half_a_character_becomes_the_replacement_character() -> None:
    assert visible("\udce4") == "\ufffd"


def test_names_of_all_the_world_stay_as_they_are() -> None:
    for name in ("Zoë Müller", "Łukasz", "محمد", "佐藤", "🙂", "O'Neil-Smith"):
        assert visible(name) == name


@settings(derandomize=True)
@given(st.text())
def test_clean_text_is_clean_for_good(text: str) -> None:
    once = visible(text)
    assert visible(once) == once
    assert "\x1b" not in once


def test_every_string_of_a_report_is_cleaned(report: Report) -> None:
    assert "\x1b" in repr(report).replace("\\x1b", "\x1b")
    cleaner = cleaned(report)
    assert "\x1b" not in cleaner.findings[1].subject.id
    assert "\x1b" not in cleaner.findings[1].headline
    assert cleaner.findings[0] == report.findings[0]
    assert cleaner.inputs == report.inputs


def test_shortened_text_has_at_most_the_limit() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
