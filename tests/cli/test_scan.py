import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

import kpiaudit
from kpiaudit.outputs.schema import report_schema

from .conftest import Run


def test_findings_are_status_1_and_the_report_is_valid(run: Run, exports: Path) -> None:
    done = run("scan", str(exports), "--format", "json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    jsonschema.validate(report, report_schema())
    subjects = {f["subject"]["id"] for f in report["findings"]}
    assert subjects
    last = done.stderr.strip().splitlines()[-1]
    assert "at or above 'low'" in last


def test_an_honest_centre_is_status_0(run: Run, honest: Path) -> None:
    done = run("scan", str(honest))
    assert done.returncode == 0, done.stdout
    assert "No findings" in done.stdout


def test_exit_zero_turns_1_into_0_only(run: Run, exports: Path) -> None:
    assert run("scan", str(exports), "--exit-zero").returncode == 0
    assert run("scan", "nowhere", "--exit-zero").returncode == 3


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("scan", "nowhere.csv"), 3, "nowhere.csv"),
        (("scan", "--rules", "none.yaml", "."), 2, "none.yaml"),
        (("scan", "--format", "yson", "."), 2, "json"),
        (("scan", "--nonsense"), 2, "--nonsense"),
        (("scan", "--timezone", "Mars/Base", "."), 2, "Mars/Base"),
        (("scan", "--select", "short-cals", "."), 2, "short-calls"),
        (("scan", "--table", "calls", "."), 2, "TABLE=PATH"),
        (("scan", "--mapping", "none.yaml", "."), 2, "none.yaml"),
        (("scan", "--new-only", "."), 2, "--baseline"),
        (("scan", "."), 3, ""),
        (("explain", "short-cals"), 2, "short-calls"),
        (("frobnicate",), 2, "frobnicate"),
    ],
)
def test_bad_usage_is_2_and_bad_input_is_3(
    run: Run, words: tuple[str, ...], status: int, message: str
) -> None:
    done = run(*words)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("calls.csv", b""),
        ("calls.csv", b"call_id,agent_id,talk_s\n"),
        ("calls.csv", b"alpha,beta\n1,2\n"),
        ("calls.parquet", b"PAR1 this is no parquet PAR1"),
        ("calls.csv.gz", b"\x1f\x8b\x08\x00 broken"),
    ],
)
def test_a_broken_export_never_passes_as_clean(
    run: Run, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    done = run("scan", name)
    assert done.returncode == 3, done.stderr
    assert name in done.stderr


def test_standard_input_is_a_table(run: Run, exports: Path, reported: str) -> None:
    text = (exports / "calls.csv").read_text(encoding="utf-8")
    done = run("scan", "--table", "calls=-", "--format", "json", input=text)
    assert done.returncode == 1, done.stderr
    keys = ("rules", "findings")
    one, other = json.loads(done.stdout), json.loads(reported)
    assert {k: one[k] for k in keys} == {k: other[k] for k in keys}


def test_the_same_bytes_twice_and_shuffled_rows_the_same_findings(
    run: Run, spawn: Run, exports: Path, reported: str, tmp_path: Path
) -> None:
    assert spawn("scan", str(exports), "--format", "json").stdout == reported
    header, *rows = (exports / "calls.csv").read_text(encoding="utf-8").splitlines()
    rows = rows[1::2] + rows[::2][::-1]
    (tmp_path / "calls.csv").write_text("\n".join([header, *rows]) + "\n")
    mixed = json.loads(run("scan", "calls.csv", "--format", "json").stdout)
    assert mixed["findings"] == json.loads(reported)["findings"]
    assert mixed["rules"] == json.loads(reported)["rules"]


def test_python_says_the_same_as_the_command_line(run: Run, exports: Path) -> None:
    path = str(exports / "calls.csv")
    report = kpiaudit.scan(calls=path, select=["short-calls"])
    assert report.to_json() == run("scan", path, "--format", "json").stdout


def test_output_goes_to_a_file_whole(run: Run, exports: Path, tmp_path: Path) -> None:
    done = run("scan", str(exports), "--format", "json", "-o", "r.json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert json.loads((tmp_path / "r.json").read_text())["findings"]
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_several_formats_at_once(run: Run, exports: Path, tmp_path: Path) -> None:
    words = ("--format", "json=r.json", "--format", "csv=r.csv", "--format", "text")
    done = run("scan", str(exports), *words)
    assert "findings" in done.stdout or "finding" in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())
    assert (tmp_path / "r.csv").read_text().startswith("rank,")


def test_an_unwritable_output_is_2(run: Run, exports: Path) -> None:
    done = run("scan", str(exports), "-o", "no/such/folder/r.txt")
    assert done.returncode == 2
    assert "no/such/folder" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(run: Run, spawn: Run, exports: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = spawn(
            "scan", str(exports), stdout=full, stderr=subprocess.PIPE,
            capture_output=False,
        )  # fmt: skip
    assert done.returncode == 4
    assert "standard output" in done.stderr
    assert run("scan", str(exports), "-o", "/dev/full").returncode == 4


def test_a_reader_that_leaves_is_no_error(exports: Path) -> None:
    command = f"{sys.executable} -m kpiaudit scan {exports} --format ndjson | head -c 1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_an_interrupt_is_130(exports: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kpiaudit", "scan", "--table", "calls=-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(3)
    os.kill(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"interrupted" in error


def test_a_baseline_leaves_only_what_is_new(
    run: Run, exports: Path, reported: str, tmp_path: Path
) -> None:
    (tmp_path / "march.json").write_text(reported, encoding="utf-8")
    again = run("scan", str(exports), "--baseline", "march.json", "--new-only")
    assert again.returncode == 0, again.stderr
    assert "known" in again.stdout
    run("baseline", "update", "march.json", "-o", "base.json")
    short = run("scan", str(exports), "--baseline", "base.json", "--new-only")
    assert short.returncode == 0
    assert run("scan", str(exports), "--baseline", "base.json").returncode == 1


def test_a_configuration_sets_defaults_and_the_command_line_wins(
    run: Run, exports: Path, tmp_path: Path
) -> None:
    (tmp_path / "kpiaudit.yaml").write_text(
        f"paths: [{exports}]\nfail_on: none\nformat: json\n"
    )
    done = run("scan")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["findings"]
    assert run("scan", "--fail-on", "low").returncode == 1
    assert run("scan", env={"KPIAUDIT_FAIL_ON": "low"}).returncode == 1
    shown = run("config", "--fail-on", "high").stdout
    assert "fail_on = high  (command line)" in shown
    assert "kpiaudit.yaml" in shown


def test_an_unknown_key_is_answered_with_a_guess(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kpiaudit.yaml").write_text("fail-on: none\n")
    done = run("scan", ".")
    assert done.returncode == 2
    assert "fail_on" in done.stderr


def test_a_suppressed_finding_does_not_count(
    run: Run, exports: Path, reported: str, tmp_path: Path
) -> None:
    found = json.loads(reported)
    accepted = "".join(
        f"  - {{finding: {f['id']}, reason: known, until: 2030-01-01}}\n"
        for f in found["findings"]
    )
    (tmp_path / "kpiaudit.yaml").write_text(f"suppress:\n{accepted}")
    done = run("scan", str(exports))
    assert done.returncode == 0, done.stderr
    assert "accepted until 2030-01-01: known" in done.stdout


def test_show_prints_the_records_and_a_blind_sheet(
    run: Run, exports: Path, reported: str, tmp_path: Path
) -> None:
    found = json.loads(reported)
    finding = next(f for f in found["findings"] if f["subject"]["kind"] == "agent")
    shown = json.loads(
        run("show", finding["id"], str(exports), "--format", "json").stdout
    )
    rows = shown["records"]
    assert shown["finding"] == finding["id"]
    assert 0 < len(rows) <= 20
    assert len(rows) == min(shown["total"], 20)
    assert {row["agent_id"] for row in rows} == {finding["subject"]["id"]}
    assert all(row["talk_s"] < 10 for row in rows)
    assert list(rows[0])[:2] == ["call_id", "agent_id"]
    kept = run("show", finding["id"], str(exports), "--format", "json", "-o", "r.json")
    assert kept.stdout == ""
    assert json.loads((tmp_path / "r.json").read_text()) == shown
    run("show", finding["id"], str(exports), "--check-sheet", "10")
    assert (tmp_path / "check-sheet.csv").exists()
    scored = run("score-sheet", "check-sheet.csv")
    assert scored.returncode == 0
    assert "without an answer: 20" in scored.stdout
    sheet = (tmp_path / "check-sheet.csv").read_text()
    heard = sheet.replace(",,\n", ",yes,g\u00e9n\u00e9ral\n")
    (tmp_path / "check-sheet.csv").write_text(heard, encoding="cp1252")
    scored = run("score-sheet", "check-sheet.csv")
    assert "flagged records: pattern heard in 10 of 10 (100%)" in scored.stdout
    assert run("show", "short-calls-000000000000", str(exports)).returncode == 2


def test_convert_gives_the_same_findings(
    run: Run, exports: Path, reported: str
) -> None:
    assert run("convert", str(exports), "-o", "canonical").returncode == 0
    one = json.loads(reported)
    other = json.loads(run("scan", "canonical", "--format", "json").stdout)
    assert one["findings"] == other["findings"]
    assert one["rules"] == other["rules"]


def test_every_command_answers_help(run: Run) -> None:
    listed = run("--help").stdout
    for name in ("scan", "inspect", "rules", "explain", "show", "convert", "demo"):
        assert name in listed
        assert run(name, "--help").returncode == 0
    assert run("--version").stdout.strip().endswith(kpiaudit.__version__)


def test_inspect_says_what_a_file_was_taken_for(run: Run, exports: Path) -> None:
    done = run("inspect", str(exports))
    assert done.returncode == 0
    assert "taken for:     calls: one row per" in done.stdout
    assert "yes  short-calls" in done.stdout
    assert run("inspect", "nowhere.csv").returncode == 3
