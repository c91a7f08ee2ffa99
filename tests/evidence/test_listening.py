import csv
import io

import pytest
from scipy.stats import fisher_exact

from kpiaudit.errors import TableError
from kpiaudit.evidence.listening import check_sheet, score_sheet


def _rows(prefix: str, n: int) -> list[dict[str, object]]:
    return [
        {
            "call_id": f"{prefix}{i}",
            "queue": "a" if i % 2 else "b",
            "talk_s": 4.0,
            "started_at": f"2026-03-02T{8 + i % 4:02d}:00:00+00:00",
        }
        for i in range(n)
    ]


def _table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_sheet_is_blind_and_its_key_is_not() -> None:
    sheet = check_sheet(_rows("f", 30), _rows("c", 200), size=10, seed="x")
    assert (sheet.flagged, sheet.control) == (10, 10)
    lines = _table(sheet.blind)
    assert "talk_s" not in lines[0]
    assert lines[0]["pattern_heard"] == ""
    groups = [row["group"] for row in _table(sheet.key)]
    assert sorted(groups) == ["control"] * 10 + ["flagged"] * 10
    assert groups != sorted(groups)
    for line, group in zip(lines, groups, strict=True):
        assert line["call_id"].startswith(group[0])


def test_controls_match_queue_and_hour() -> None:
    sheet = check_sheet(_rows("f", 8), _rows("c", 400), size=8, seed="x")
    groups = [row["group"] for row in _table(sheet.key)]
    by_group: dict[str, list[tuple[str, str]]] = {"flagged": [], "control": []}
    for line, group in zip(_table(sheet.blind), groups, strict=True):
        by_group[group].append((line["queue"], line["started_at"]))
    assert sorted(by_group["flagged"]) == sorted(by_group["control"])


def test_the_same_finding_gives_the_same_sheet() -> None:
    arguments = (_rows("f", 30), _rows("c", 200))
    one = check_sheet(*arguments, size=10, seed="x")
    assert one == check_sheet(*arguments, size=10, seed="x")
    assert one != check_sheet(*arguments, size=10, seed="y")


def test_without_controls_there_is_no_sheet() -> None:
    with pytest.raises(TableError, match="blind"):
        check_sheet(_rows("f", 30), [], size=10, seed="x")


def _filled(heard: dict[str, int], size: int = 20) -> tuple[str, str]:
    sheet = check_sheet(_rows("f", 60), _rows("c", 60), size=size, seed="x")
    left = dict(heard)
    groups = [row["group"] for row in _table(sheet.key)]
    lines = ["line,pattern_heard"]
    for number, group in enumerate(groups, start=1):
        yes = left[group] > 0
        left[group] -= 1
        lines.append(f"{number},{'yes' if yes else 'No'}")
    return "\n".join(lines) + "\n", sheet.key


def test_listening_is_scored_by_fishers_exact_test() -> None:
    score = score_sheet(*_filled({"flagged": 14, "control": 3}), where="s.csv")
    table = [[14, 6], [3, 17]]
    assert (score.flagged_heard, score.control_heard, score.unheard) == (14, 3, 0)
    assert score.p_value == pytest.approx(fisher_exact(table, "greater")[1])


def test_an_answer_that_is_neither_is_named() -> None:
    blind, key = _filled({"flagged": 1, "control": 1})
    with pytest.raises(TableError, match="line 3"):
        score_sheet(blind.replace("\n3,", "\n3,maybe "), key, where="s.csv")


def test_a_key_of_another_sheet_is_refused() -> None:
    blind, _ = _filled({"flagged": 1, "control": 1})
    _, other = _filled({"flagged": 1, "control": 1}, size=12)
    with pytest.raises(TableError, match="different lines"):
        score_sheet(blind, other, where="s.csv")


def test_nothing_that_came_after_the_act_is_on_the_sheet() -> None:
    row = {
        "ticket_id": "T1",
        "category": "billing",
        "opened_at": "2026-03-02T08:00:00+00:00",
        "reopen_count": 1,
        "sla_met": True,
        "handed_over_at": "2026-03-02T09:00:00+00:00",
        "responded_at": "2026-03-02T09:00:00+00:00",
        "device": "D1",
    }
    sheet = check_sheet([row] * 5, [row] * 5, size=5, seed="x")
    (head, *_) = csv.reader(io.StringIO(sheet.blind))
    shown = ["ticket_id", "category", "opened_at"]
    assert head == ["line", *shown, "pattern_heard", "remarks"]


def test_a_sheet_saved_with_semicolons_is_read() -> None:
    key = "line,group\n1,flagged\n2,control\n"
    blind = "line;pattern_heard\n1;Yes\n2;no\n"
    score = score_sheet(blind, key, where="s")
    assert (score.flagged_heard, score.control_heard) == (1, 0)


def test_a_key_with_other_groups_or_lines_twice_is_refused() -> None:
    blind = "line,pattern_heard\n1,yes\n"
    with pytest.raises(TableError, match="neither flagged nor control"):
        score_sheet(blind, "line,group\n1,both\n", where="s")
    with pytest.raises(TableError, match="twice"):
        score_sheet(blind + "1,no\n", "line,group\n1,flagged\n", where="s")


def test_the_key_of_another_finding_s_sheet_is_refused() -> None:
    one = check_sheet(_rows("f", 30), _rows("c", 200), size=10, seed="x")
    other = check_sheet(_rows("g", 30), _rows("d", 200), size=10, seed="x")
    with pytest.raises(TableError, match="another sheet's: their call_id differ"):
        score_sheet(one.blind, other.key, where="s")
    assert score_sheet(one.blind, one.key, where="s").unheard == 20


def test_ids_that_a_spreadsheet_has_rewritten_are_still_the_same() -> None:
    key = "line,group,call_id\n1,flagged,0012\n2,control,8500000123456789\n"
    blind = "line;call_id;pattern_heard\n1;12;yes\n2;8,5E+15;no\n"
    assert score_sheet(blind, key, where="s").flagged_heard == 1


def test_rows_that_hold_nothing_and_lines_as_numbers_are_read() -> None:
    key = "line,group\n1,flagged\n2,control\n"
    blind = " Line ;Pattern_Heard\r\n1.0;Yes\r\n2.0;no\r\n;\r\n;\r\n"
    score = score_sheet(blind, key, where="s")
    assert (score.flagged_heard, score.control, score.unheard) == (1, 1, 0)


def test_controls_of_several_agents_are_of_the_same_agent() -> None:
    def of(agent: str, rows: list[dict[str, object]]) -> list[dict[str, object]]:
        return [{**row, "agent_id": agent} for row in rows]

    flagged = of("A", _rows("f", 5)) + of("B", _rows("g", 5))
    control = (
        of("A", _rows("c", 50)) + of("B", _rows("d", 50)) + of("C", _rows("e", 99))
    )
    sheet = check_sheet(flagged, control, size=10, seed="x")
    agents = [row["agent_id"] for row in _table(sheet.blind)]
    assert sorted(agents) == ["A"] * 10 + ["B"] * 10


def test_surveys_are_matched_by_the_hour_in_which_they_were_sent() -> None:
    def rows(prefix: str, n: int) -> list[dict[str, object]]:
        return [
            {
                "survey_id": f"{prefix}{i}",
                "channel": "sms",
                "sent_at": f"2026-03-02T{8 + i % 9:02d}:00:00+00:00",
            }
            for i in range(n)
        ]

    sheet = check_sheet(rows("f", 9), rows("c", 90), size=9, seed="x")
    names = [row["survey_id"] for row in _table(sheet.blind)]
    hours = sorted(int(name[1:]) % 9 for name in names)
    assert hours == sorted([*range(9), *range(9)])
    assert "sent_at" not in _table(sheet.blind)[0]
