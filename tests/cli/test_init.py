"""`kpiaudit init`: the file that it writes says the truth, loads and scans."""

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from kpiaudit.cli.configuration import KEYS, read
from kpiaudit.cli.template import quoted
from kpiaudit.history.suppressions import read_suppressions

from .conftest import Run

ROOT = Path(__file__).parents[2]
CALLS = "call_id,agent_id,queue,talk_s\n" + "".join(
    f"{i},A{i % 5},Q1,{i % 97 + 20}\n" for i in range(400)
)
NASTY = [
    "with space",
    "a: b # c",
    "- dash",
    "no",
    "007",
    "{x}, [y]",
    'it\'s "quoted"',
    "tab\tand\nnew line",
    "bell\x07 next\x85line \u2028 sep",
    "żółć 呼叫 😀",
    "*anchor &alias !tag %x @y `z",
    "not utf-8 \udcff",
]


@pytest.mark.parametrize("name", [*NASTY, "", " ", "~", "null", "=", "1e3"])
def test_any_name_survives_as_a_yaml_scalar(name: str) -> None:
    line = quoted(name)
    assert "\n" not in line
    assert yaml.safe_load(f"- {line}\n") == [name]


def test_it_writes_a_file_that_loads_and_scans(
    run: Run, exports: Path, tmp_path: Path
) -> None:
    shutil.copytree(exports, tmp_path / "exports")
    done = run("init", "exports")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "kpiaudit scan" in done.stderr.splitlines()[-1]
    text = (tmp_path / "kpiaudit.yaml").read_text()
    assert "exports/calls.csv: calls, " in text
    assert re.search(r"can run on these files:(\n#   .*)*\n#   short-calls", text)
    assert re.search(r"skipped.*\n(#   .*\n)*#   early-closure: tickets\.", text)
    assert read(tmp_path / "kpiaudit.yaml").values["paths"]
    scanned = run("scan", "--format", "csv")
    assert scanned.returncode == 1, scanned.stderr
    assert scanned.stdout.count("short-calls-") >= 2


def test_it_works_on_the_sample_data(run: Run, tmp_path: Path) -> None:
    done = run("init", str(ROOT / "sample_data"))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "kpiaudit.yaml").read_text()
    assert "are skipped" not in text
    assert "survey-selection (would see more with calls.ticket_id (ticket that" in text


def test_every_setting_stands_in_it_and_every_example_is_valid(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "calls.csv").write_text(CALLS)
    text = run("init", "-o", "-").stdout
    keys = "|".join(KEYS)
    active = re.sub(rf"^# (({keys}):.*)$", r"\1", text, flags=re.MULTILINE)
    below = re.compile(r"^# ((  - finding|    \w+):.*)$", re.MULTILINE)
    active = below.sub(r"\1", active)
    (tmp_path / "all.yaml").write_text(active)
    values = read(tmp_path / "all.yaml").values
    assert set(values) == set(KEYS)
    (accepted,) = read_suppressions(values["suppress"], "all.yaml")
    assert accepted.up_to == 0.1


def test_what_was_said_is_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cdr.csv").write_text(CALLS)
    (tmp_path / "conf").mkdir()
    done = run(
        "init", "--table", "calls=cdr.csv", "--timezone", "Europe/Warsaw",
        "--since", "2026-03-01", "--max-unreadable", "0.2", "-o", "conf/k.yaml",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "kpiaudit --config conf/k.yaml scan" in done.stderr
    values = yaml.safe_load((tmp_path / "conf" / "k.yaml").read_text())
    assert values["tables"] == {"calls": [str(tmp_path / "cdr.csv")]}
    assert values["timezone"] == "Europe/Warsaw"
    assert values["max_unreadable"] == 0.2
    assert "paths" not in values
    assert run("--config", "conf/k.yaml", "scan").returncode in {0, 1}


def test_it_overwrites_nothing_unless_forced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "calls.csv").write_text(CALLS)
    (tmp_path / "kpiaudit.yaml").write_text("nonsense: [")
    done = run("init")
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert (tmp_path / "kpiaudit.yaml").read_text() == "nonsense: ["
    assert run("init", "--force").returncode == 0
    assert yaml.safe_load((tmp_path / "kpiaudit.yaml").read_text())["paths"] == ["."]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no data file in this folder"),
        ({"calls.csv": "call_id,agent_id\n"}, "calls.csv"),
        ({"agents.csv": "agent_id,team_id\nA1,T1\n"}, "No rule could run"),
    ],
    ids=["empty-folder", "no-rows", "no-rule"],
)
def test_what_could_not_be_scanned_is_3_and_nothing_is_written(
    files: dict[str, str], message: str, run: Run, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    done = run("init")
    assert done.returncode == 3, done.stderr
    assert message in done.stderr
    assert not (tmp_path / "kpiaudit.yaml").exists()


def test_names_with_special_characters_come_through(run: Run, tmp_path: Path) -> None:
    for name in NASTY:
        folder = os.fsencode(tmp_path) + b"/" + os.fsencode(name)
        os.mkdir(folder)  # noqa: PTH102  # a name that is no text
        (Path(os.fsdecode(folder)) / "calls.csv").write_text(CALLS)
    done = run("init", *(f"./{name}" for name in NASTY))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "kpiaudit.yaml").read_text()
    assert yaml.safe_load(text)["paths"] == [f"./{name}" for name in NASTY]
    assert all(line.startswith("#") for line in text.splitlines() if "400 rows" in line)
    assert run("inspect").returncode == 0
