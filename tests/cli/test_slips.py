"""Slips that a new user makes: each is answered with what, where and how to fix it."""

import re
from pathlib import Path

import pytest

from kpiaudit.cli.configuration import KEYS, VARIABLES

from .conftest import ROOT, Run

SUPPRESS = "suppress:\n- finding: x\n  reason: a\n  until: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("untill: 2026-01-01", "Did you mean 'until'?"),
        ("since: 2026-13-40", "a date that does not exist"),
        (f"{SUPPRESS}2026-02-31", "a date that does not exist"),
        (f"{SUPPRESS}soon", "it needs a last day"),
        ("suppress:\n- finding: x\n  until: 2026-01-01", "it needs a reason in words"),
        (f"{SUPPRESS}2026-12-31\n  up_too: 3", "Did you mean 'up_to'?"),
        ("suppress: {x: y}", "is a list of findings"),
        ("fail_on: hi", "kpiaudit.yaml"),
        ("exit_zero: maybe", "It comes from"),
        ("paths: [a]\npaths: [b]", "'paths' stands twice"),
        ("format: [text, jsn=x.json]", "Did you mean 'json'?"),
        ("tables: [calls]", "a file per table"),
        ("- a", "keys and values"),
        ("a: &x [1]\nb: *x", "aliases"),
    ],
    ids=range(14),
)
def test_a_slip_in_the_configuration_is_2(
    text: str, message: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "calls.csv").write_text("call_id,agent_id,talk_s\n1,A1,3\n")
    (tmp_path / "kpiaudit.yaml").write_text(text + "\n")
    done = run("scan")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KPIAUDIT_FAIL_ON", "hi"),
        ("KPIAUDIT_MAX_UNREADABLE", "lots"),
        ("KPIAUDIT_EXIT_ZERO", "maybe"),
        ("KPIAUDIT_ENGINE", "abacus"),
    ],
)
def test_a_bad_value_in_the_environment_is_named(
    name: str, value: str, run: Run
) -> None:
    done = run("scan", env={name: value})
    assert done.returncode == 2
    assert f"It comes from {name}." in done.stderr


def test_an_unknown_variable_is_said(run: Run) -> None:
    done = run("rules", env={"KPIAUDIT_FAILON": "high"})
    assert done.returncode == 0
    assert "Did you mean 'KPIAUDIT_FAIL_ON'?" in done.stderr


def test_every_variable_that_the_code_reads_is_known() -> None:
    sources = [*ROOT.glob("kpiaudit/**/*.py"), *ROOT.glob("docs/*.md")]
    read = {
        name
        for path in sources
        for name in re.findall(r"\bKPIAUDIT_[A-Z_]+\b", path.read_text("utf-8"))
    }
    assert read - {"KPIAUDIT_"} <= VARIABLES
    assert len(VARIABLES) > len(KEYS)


def test_paths_in_the_configuration_are_seen_from_its_folder(
    run: Run, exports: Path, tmp_path: Path
) -> None:
    place = tmp_path / "site"
    place.mkdir()
    (place / "exports").symlink_to(exports)
    (place / "kpiaudit.yaml").write_text(
        "paths: [exports]\nformat: [json=out.json]\nfail_on: none\n"
        "baseline: known.json\n"
    )
    (place / "known.json").write_text(
        '{"schema": "kpiaudit.baseline/1", "end": null, "findings": []}'
    )
    assert run("--config", "site/kpiaudit.yaml", "scan").returncode == 0
    assert (place / "out.json").exists()
    shown = run("--config", "site/kpiaudit.yaml", "config").stdout
    assert "paths = site/exports" in shown
    assert "baseline = site/known.json" in shown


def test_the_settings_of_the_report_stay_with_the_report(
    run: Run, exports: Path, tmp_path: Path
) -> None:
    (tmp_path / "kpiaudit.yaml").write_text("output: report.txt\nfail_on: none\n")
    assert run("convert", str(exports)).returncode == 2
    assert run("scan", str(exports)).stdout == ""
    assert (tmp_path / "report.txt").read_text().startswith("kpiaudit")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "json=no/r.json", "--format", "text"), "no/r.json"),
        (("-o", "."), "Is a directory"),
        (("--format", "json=r", "--format", "csv=r"), "two formats"),
        (("--format", "json", "--format", "csv"), "Only one --format"),
        (("--baseline", "none.json"), "baseline update REPORT"),
    ],
    ids=range(5),
)
def test_what_could_not_be_written_is_said_before_the_scan(
    words: tuple[str, ...], message: str, run: Run, tmp_path: Path
) -> None:
    # The export is broken: that would be status 3, had it been read first.
    (tmp_path / "calls.csv").write_text("call_id\n")
    done = run("scan", *words, "calls.csv")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stdout == ""


def test_a_name_that_would_steer_the_terminal_is_shown_in_errors(run: Run) -> None:
    done = run("scan", "calls\x1b[31m.csv")
    assert done.returncode == 3
    assert "\x1b" not in done.stderr
    assert r"calls\x1b[31m.csv" in done.stderr


@pytest.mark.parametrize("command", [(), ("baseline",)], ids=["kpiaudit", "baseline"])
def test_no_command_shows_the_help_and_a_last_line_that_says_why(
    command: tuple[str, ...], run: Run
) -> None:
    done = run(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:\n" in done.stderr
    assert done.stderr.splitlines()[-1] == "kpiaudit: no command is given."
