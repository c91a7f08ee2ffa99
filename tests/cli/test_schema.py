"""`kpiaudit schema`: what it prints, and what it says of files."""

import json
from pathlib import Path

import jsonschema
import pytest

from .conftest import Run


def test_it_prints_a_schema_of_each_kind(run: Run) -> None:
    titles = []
    for words in ((), ("report",), ("finding",), ("baseline",)):
        schema = json.loads(run("schema", *words).stdout)
        jsonschema.Draft202012Validator.check_schema(schema)
        titles.append(schema["title"])
    assert titles[0] == titles[1] == "kpiaudit report, version 1"
    assert len(set(titles)) == 3
    assert run("schema", "finding", "more").returncode == 2


def test_it_checks_what_a_scan_wrote(run: Run, exports: Path, tmp_path: Path) -> None:
    run(
        "scan", str(exports), "--format", "json=r.json", "--format", "ndjson=r.ndjson"
    )  # fmt: skip
    run("baseline", "update", "r.json", "-o", "base.json")
    for kind, name in (
        ("report", "r.json"),
        ("finding", "r.ndjson"),
        ("baseline", "base.json"),
    ):
        done = run("schema", kind, "--check", name)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert "version 1" in done.stderr
    wrong = run("schema", "--check", "base.json")
    assert wrong.returncode == 3
    assert "$.schema: 'kpiaudit.baseline/1' should be" in wrong.stderr
    assert "base.json is no kpiaudit report" in wrong.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("", "no JSON"),
        ('{"schema": \n oops}', "line 2, column 2"),
        ("[" * 100_000, "nested too deep"),
        (b"\xff\xfe", "no UTF-8"),
    ],
    ids=["absent", "empty", "broken", "deep", "bytes"],
)
def test_what_is_no_json_is_3(
    content: str | bytes | None, message: str, run: Run, tmp_path: Path
) -> None:
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "r.json").write_bytes(data)
    done = run("schema", "--check", "r.json")
    assert done.returncode == 3
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stream_of_lines_is_checked_line_by_line(run: Run) -> None:
    assert run("schema", "finding", "--check", "-", input="").returncode == 0
    done = run("schema", "finding", "--check", "-", input="{}\n{}\n")
    assert done.returncode == 3
    assert "line 1: $" in done.stderr
    assert "faults, the first 5 above" in done.stderr
