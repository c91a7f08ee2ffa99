"""docs/pipes.md: each example is taken from the page and run on real exports."""

import csv
import email
import email.policy
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

# One worker prepares the folder for all of them.
pytestmark = pytest.mark.xdist_group("pipes")

PAGE = (ROOT / "docs" / "pipes.md").read_text(encoding="utf-8")
BLOCKS = {
    name: (language, code)
    for language, name, code in re.findall(
        r"```(sh|python)\n# ([^\n]+)\n(.*?)```", PAGE, re.DOTALL
    )
}
# Programs that may come with the test environment stand before the machine's.
TOOLS = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
# Instead of a network and of a mail system: what they were given is kept.
RECORDER = '#!/bin/sh\nprintf "%s\\n" "$@" > "{log}.arguments"\ncat > "{log}.input"\n'


def _needs(name: str) -> None:
    if shutil.which(name, path=TOOLS) is None:
        pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module")
def kept(
    exports: Path, program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the page: exports, a baseline with less in it, kept reports."""
    folder = tmp_path_factory.mktemp("pipes")
    shutil.copytree(exports, folder / "exports")
    (folder / "known.json").write_text(
        '{"schema": "kpiaudit.baseline/1", "end": "2026-03-22", "findings": []}\n'
    )
    done = _sh(BLOCKS["keep"][1], folder, program)
    assert done.returncode == 1, done.stderr
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "here"))


def _sh(
    code: str, folder: Path, program: Path, shell: str = "sh"
) -> subprocess.CompletedProcess[str]:
    fakes = folder / "fakes"
    fakes.mkdir(exist_ok=True)
    for name in ("mail", "sendmail", "curl"):
        (fakes / name).write_text(RECORDER.format(log=folder / name))
        (fakes / name).chmod(0o755)
    (fakes / "python3").unlink(missing_ok=True)
    (fakes / "python3").symlink_to(sys.executable)
    return subprocess.run(
        [shell, "-c", code],
        env={
            "PATH": f"{program.parent}:{fakes}:{TOOLS}",
            "SLACK_WEBHOOK_URL": "https://hooks.example.com/x",
        },
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _said(name: str, folder: Path, program: Path) -> str:
    language, code = BLOCKS[name]
    if language == "python":
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    else:
        done = _sh(code, folder, program)
    assert done.returncode == 0, done.stderr
    # With -q the reason for the status is all that is said.
    assert [n for n in done.stderr.splitlines() if "at or above" not in n] == []
    return done.stdout


def _findings(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "findings.ndjson").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_example_on_the_page_is_tried() -> None:
    assert len(BLOCKS) == len(re.findall(r"^```\w", PAGE, re.MULTILINE))
    tried = Path(__file__).read_text(encoding="utf-8")
    for name in BLOCKS:
        assert f'"{name}"' in tried, name


def test_what_is_kept_is_the_same_in_each_format(kept: Path) -> None:
    report = json.loads((kept / "report.json").read_text())
    assert report["findings"] == _findings(kept)
    with (kept / "findings.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f["id"] for f in report["findings"]]


def test_jq_reads_the_stream(folder: Path, program: Path) -> None:
    _needs("jq")
    said = _said("jq: one line a finding", folder, program).splitlines()
    ranks = [json.loads(line)[0] for line in said]
    assert ranks == [f["rank"] for f in _findings(folder)]


def test_jq_asks_what_was_kept(folder: Path, program: Path) -> None:
    _needs("jq")
    ids = _said("jq: ids of what is new or worse", folder, program).split()
    assert ids == [f["id"] for f in _findings(folder)]
    name = "jq: strong evidence with an explanation that is still open"
    open_ones = [json.loads(line) for line in _said(name, folder, program).splitlines()]
    assert {entry["id"] for entry in open_ones} <= set(ids)
    assert open_ones
    gone = {"id": "short-calls-000000000000", "rule": "short-calls"}
    report = json.loads((folder / "report.json").read_text())
    report["compared"]["gone"] = [gone]
    report["rules"][0] |= {"status": "skipped", "reason": "no column calls.talk_s"}
    (folder / "report.json").write_text(json.dumps(report))
    name = "jq: what nobody looked at, and what is gone since the baseline"
    assert _said(name, folder, program).splitlines() == [
        "short-calls: no column calls.talk_s",
        "gone: short-calls-000000000000",
    ]


def test_python_does_without_jq(folder: Path, program: Path) -> None:
    said = _said("python: harm and id", folder, program).splitlines()
    assert said == [f"{f['severity']} {f['id']}" for f in _findings(folder)]


def test_head_takes_one_line_and_the_rest_is_quiet(folder: Path, program: Path) -> None:
    _needs("bash")
    code = BLOCKS["head: the one that ranks first"][1]
    done = _sh(f"{code.rstrip()}; echo ${{PIPESTATUS[0]}}", folder, program, "bash")
    line, status = done.stdout.splitlines()
    assert json.loads(line)["rank"] == 1
    assert status == "1"
    assert done.stderr.startswith("kpiaudit: ")
    assert len(done.stderr.splitlines()) == 1


def test_duckdb_reads_the_stream(folder: Path, program: Path) -> None:
    _needs("duckdb")
    said = _said("duckdb: findings by harm and evidence", folder, program)
    rows = list(csv.DictReader(io.StringIO(said)))
    assert sum(int(row["findings"]) for row in rows) == len(_findings(folder))
    assert float(rows[0]["largest"]) > 0


def test_duckdb_and_pandas_read_the_files(folder: Path, program: Path) -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("pandas")
    for name in (
        "duckdb: the same in Python, joined with anything else",
        "pandas: a table of the findings",
    ):
        said = _said(name, folder, program)
        assert said.count(" new") == len(_findings(folder)), said


def test_slack_gets_plain_text_and_nothing_when_nothing_is_new(
    folder: Path, program: Path
) -> None:
    _needs("jq")
    report = json.loads((folder / "report.json").read_text())
    report["findings"][0]["headline"] = "<!channel> *A* <http://x|y> " + "x" * 4000
    (folder / "report.json").write_text(json.dumps(report))
    _said("slack: what is new or worse", folder, program)
    sent = (folder / "curl.arguments").read_text().splitlines()
    assert sent[-2:] == ["@payload.json", "https://hooks.example.com/x"]
    payload = json.loads((folder / "payload.json").read_text())
    texts = [
        part
        for block in payload["blocks"]
        for part in block.get("elements", [block.get("text")])
    ]
    assert {part["type"] for part in texts} == {"plain_text"}
    assert max(len(part["text"]) for part in texts) <= 3000
    assert texts[-1]["text"] == report["notice"]
    assert "<" not in payload["text"]
    (folder / "curl.arguments").unlink()
    for finding in report["findings"]:
        finding["state"] = "known"
    (folder / "report.json").write_text(json.dumps(report))
    _said("slack: what is new or worse", folder, program)
    assert not (folder / "curl.arguments").exists()


def test_mail_is_sent_only_when_there_is_something(folder: Path, program: Path) -> None:
    _said("mail: the report as text", folder, program)
    assert "something new" in (folder / "mail.arguments").read_text()
    assert "no proof" in (folder / "mail.input").read_text()
    (folder / "exports" / "calls.csv").write_text("call_id,agent_id,talk_s\n")
    done = _sh(BLOCKS["mail: the report as text"][1], folder, program)
    assert "calls.csv" in done.stderr
    assert "operator@example.com" in (folder / "mail.arguments").read_text()
    assert (folder / "mail.input").read_text() == "the scan failed\n"


def test_sendmail_gets_a_page_that_any_reader_shows(
    folder: Path, program: Path
) -> None:
    _needs("base64")
    _said("sendmail: the report as a page", folder, program)
    message = email.message_from_bytes(
        (folder / "sendmail.input").read_bytes(), policy=email.policy.default
    )
    assert message["To"] == "quality@example.com"
    assert message.get_content_type() == "text/html"
    assert message.get_content() == (folder / "new.html").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_with_status_4(folder: Path, program: Path) -> None:
    (command,) = re.findall(r"`(kpiaudit scan [^`]* > /dev/full)`", PAGE)
    done = _sh(command, folder, program)
    assert done.returncode == 4
    assert "standard output can't be written" in done.stderr.splitlines()[-1]
