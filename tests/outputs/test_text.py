from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

from kpiaudit.findings import (
    Compared,
    Evidence,
    Gone,
    Histogram,
    PlaceboRuns,
    Report,
    SmallestDetectable,
    Subject,
)
from kpiaudit.outputs import text
from kpiaudit.outputs.chart import characters, svg
from kpiaudit.outputs.overview import overview
from kpiaudit.outputs.rule_words import placebo_line
from kpiaudit.outputs.words import amount, restatement


def test_no_line_is_wider_than_asked(report: Report) -> None:
    for width in (60, 80, 100):
        lines = text.render(report, width=width, verbose=1).splitlines()
        assert max(map(len, lines)) <= width


def test_harm_and_evidence_stand_apart(report: Report) -> None:
    said = text.render(report)
    assert "harm: high · evidence: strong" in said
    assert "harm: low · evidence: moderate" in said


def test_seconds_are_restated_as_clock_times(report: Report) -> None:
    assert "Reported 6:12, restated 6:48 [6:41, 6:55]" in text.render(report)


def test_a_finding_at_its_breaking_point_is_said_to_hold_only_just(
    report: Report,
) -> None:
    first = replace(report.findings[0], breaking_point=1.02)
    said = text.render(replace(report, findings=(first,)))
    assert "this only just holds" in said
    assert "differed 1" not in said


def test_an_assumption_that_is_a_sentence_begins_one(report: Report) -> None:
    given = replace(report.findings[0].restated, kpi="calls_handled")
    clause = restatement(replace(given, assumption="the rest resolved nothing"))
    assert "(calls handled; the rest resolved nothing)" in clause
    whole = restatement(replace(given, assumption="Short calls were not handled."))
    assert "(calls handled. Short calls were not handled.)" in whole


def test_p_and_q_are_told_only_when_asked(report: Report) -> None:
    assert "p < 1e-12" not in text.render(report)
    assert "p < 1e-12" in text.render(report, verbose=1)


def test_no_findings_is_said_to_be_no_certificate(empty: Report) -> None:
    said = " ".join(text.render(empty).split())
    assert "No findings" in said
    assert "Looked for: duration-cap; up to 120 subjects" in said
    assert "means less than 6% of calls: that much would have been seen" in said
    assert "with 80% probability: duration-cap less than 6% of calls." in said
    assert "This is no certificate." in said


def test_what_a_search_through_all_would_show_is_not_said_of_a_person(
    empty: Report,
) -> None:
    ran, *skipped = empty.rules
    calls = SmallestDetectable(value=35.8, unit="calls", power=0.8)
    rules = (replace(ran, smallest_detectable=calls), *skipped)
    said = " ".join(text.render(replace(empty, rules=rules)).split())
    assert "one person" not in said
    assert "would have been seen in all: duration-cap 35.8 calls." in said


def test_nobody_tested_is_not_called_looked_for(empty: Report) -> None:
    ran, *skipped = empty.rules
    said = text.render(replace(empty, rules=(replace(ran, tested=0), *skipped)))
    assert "nobody had enough data to be tested" in " ".join(said.split())
    assert "up to 0" not in said


def test_what_could_not_be_found_at_all_is_plain(empty: Report) -> None:
    ran, *skipped = empty.rules
    unit = "share of an agent's orders"
    nothing = SmallestDetectable(value=None, unit=unit, power=0.8)
    rules = (replace(ran, smallest_detectable=nothing), *skipped)
    said = " ".join(text.render(replace(empty, rules=rules)).split())
    plain = "a pattern in all of an agent's orders could still have been missed"
    assert plain in said


def test_units_that_say_nothing_are_left_out() -> None:
    assert amount(5.78, "ratio") == "5.78 times"
    assert amount(0.004, "probability") == "0.004"


def test_no_rule_that_ran_is_not_called_clean(empty: Report) -> None:
    only_skipped = replace(empty, rules=empty.rules[1:])
    assert "because no rule could run" in text.render(only_skipped)


def test_the_short_text_names_what_is_settled_and_tells_what_is_open(
    report: Report,
) -> None:
    short, whole = (text.render(report, verbose=v, width=200) for v in (0, 1))
    assert "ruled out: The switch cuts calls at the cap" in short
    assert "2 of 220 ended by the system" not in short
    assert "2 of 220 ended by the system" in whole
    assert "open, and the data point to it: Short queue" in short
    assert "supports: repeat contact within 24 h" in short
    assert "silent, not clearly more than after innocent records: survey score" in short
    assert "2 further figures: -v, or --format html" in short
    assert len(short.splitlines()) < len(whole.splitlines())


def test_figures_with_plain_words_are_told_in_short_and_no_others(
    report: Report,
) -> None:
    figures = (
        Evidence(name="of own", value=9.6, text="All of it.", plain="9.6 times as own"),
        Evidence(name="of peers", value=1.2),
    )
    finding = replace(report.findings[0], evidence=figures)
    short, whole = (
        text.render(replace(report, findings=(finding,)), verbose=v, width=200)
        for v in (0, 1)
    )
    assert "Figures          9.6 times as own" in short
    assert "1 further figure: -v" in short
    assert "of own: 9.6. All of it." in whole
    assert "9.6 times as own" not in whole


def test_every_restated_kpi_is_told(report: Report) -> None:
    more = replace(report.findings[0].restated, kpi="service_level", unit="share",
                   reported=0.81, restated=0.79, low=0.78, high=0.8)  # fmt: skip
    finding = replace(report.findings[0], also_restated=(more,))
    said = text.render(replace(report, findings=(finding,)), width=200)
    assert "Reported 81.0%, restated 79.0% [78.0%, 80.0%] (service level" in said


def test_skipped_rules_blind_spots_and_notes_are_told(report: Report) -> None:
    said = text.render(report)
    assert "no column surveys.eligible" in said
    assert "could not see: Calls without calls.ended_by" in said
    assert "calls: duplicate ids (12)" in said


def test_long_ids_are_shortened_also_in_the_headline(report: Report) -> None:
    long = "A" * 90
    finding = replace(
        report.findings[1],
        subject=Subject(kind="agent", id=long),
        headline=f"Agent {long} ended 41 calls.",
    )
    said = text.render(replace(report, findings=(finding,)))
    assert long not in said
    assert f"Agent {'A' * 39}… ended 41 calls." in said


def test_colour_adds_nothing_but_escapes(report: Report) -> None:
    coloured = text.render(report, colour=True)
    assert "\x1b[1m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text.render(report)


def test_ascii_is_ascii(report: Report) -> None:
    said = text.render(report, unicode=False, verbose=1)
    assert said.isascii()
    assert "harm: high . evidence: strong" in said


def test_wide_characters_are_counted_as_two_columns(report: Report) -> None:
    finding = replace(report.findings[0], headline="通話 " * 60)
    lines = text.render(replace(report, findings=(finding,)), width=60).splitlines()
    assert max(len(line) + line.count("通") * 2 for line in lines) <= 60


def test_the_chart_marks_the_cutoff_and_the_excess() -> None:
    item = Histogram(
        start=400, width=10, counts=(5, 10, 1), expected=(5, 5, 5), mark=420
    )
    *bars, axis, legend = characters(item, width=60)
    assert axis == "──^"
    assert bars[0] == " ▒"
    assert bars[-1] == "███"
    assert bars[-2] == "██·"
    assert "^ cutoff" in legend


def test_a_chart_of_nothing_is_no_chart() -> None:
    for counts in ((), (0.0, 0.0), (float("nan"),)):
        item = Histogram(start=0, width=1, counts=counts)
        assert characters(item, width=60) == []
        assert svg(item) == ""


def test_a_chart_of_many_bins_fits() -> None:
    item = Histogram(start=0, width=1, counts=tuple(range(1, 1001)))
    assert max(map(len, characters(item, width=70))) <= 70


def test_a_cutoff_outside_the_chart_is_not_drawn() -> None:
    item = Histogram(start=0, width=1, counts=(1, 2), mark=99)
    assert "^" not in "".join(characters(item, width=60))
    assert 'class="mark"' not in svg(item)


def test_a_gone_finding_is_no_all_clear_where_the_data_are_thin(report: Report) -> None:
    gone = Gone(
        id="duration-cap-1", rule="duration-cap", subject="agent A1", tested=True
    )
    compared = Compared(baseline="march.json", gone=(gone,))
    thin, *others = report.rules
    for untestable, said in ((0, False), (12, True)):
        rules = (replace(thin, untestable=untestable), *others)
        shown = text.render(replace(report, rules=rules, compared=compared), width=200)
        assert ("among the 12 with too little data" in shown) is said


def test_findings_are_listed_first_and_columns_that_do_not_fit_are_left_out(
    report: Report,
) -> None:
    wide, narrow = overview(report, 200), overview(report, 40)
    assert len(wide) == len(narrow) == len(report.findings) > 1
    assert "restated 6:48" in wide[0]
    assert max(map(len, narrow)) <= 40
    assert overview(replace(report, findings=report.findings[:1]), 200) == ()


def test_a_placebo_that_fires_beyond_luck_is_told_so() -> None:
    runs = {"before": (2, 1), "replicas": (40, 3), "cutoffs": (5, 4)}
    placebo = {name: PlaceboRuns(runs=n, flagged=k) for name, (n, k) in runs.items()}
    control = PlaceboRuns(runs=2, flagged=1, luck=0.025)
    told = placebo_line(
        SimpleNamespace(placebo=placebo | {"negative_control": control})
    )
    assert "before 1 of 2 (by luck in 10% of scans of honest data)" in told
    assert "negative control 1 of 2 (by luck in 5% of scans" in told
    assert "replicas 3 of 40, cutoffs 4 of 5 (by luck in less than 1% of" in told
