"""docs/cron.md: its examples are taken from the page and run, as a scheduler would."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from kpiaudit.tables.simulate import Centre, Plant, simulate, write

from .conftest import ROOT

# One worker prepares the folder for all of them.
pytestmark = pytest.mark.xdist_group("cron")

PAGE = (ROOT / "docs" / "cron.md").read_text(encoding="utf-8")
HOME, COMMAND = "/srv/kpiaudit", "/usr/local/bin/kpiaudit"
FIELD = r"(\*|\d{1,2})(-\d{1,2})?(/\d{1,2})?(,\d{1,2})*"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def _here(text: str, site: Path, program: Path) -> str:
    return text.replace(COMMAND, str(program)).replace(HOME, str(site))


def _bare(
    command: list[str], cwd: Path, path: str = "/usr/bin:/bin"
) -> subprocess.CompletedProcess[str]:
    """Run without a home, a language or a terminal."""
    return subprocess.run(
        command,
        env={"PATH": path},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _crontab() -> list[str]:
    lines = [line for block in _blocks("crontab") for line in block.splitlines()]
    return [line for line in lines if not re.match(r"#|[A-Z]+=", line)]


@pytest.fixture(scope="module")
def reviewed(
    exports: Path, program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the page after its first part."""
    site = tmp_path_factory.mktemp("srv") / "kpi audit"
    shutil.copytree(exports, site / "exports")
    setup = next(block for block in _blocks("sh") if block.startswith("# setup"))
    script = setup.replace(HOME, shlex.quote(str(site)))
    done = _bare(["sh", "-ec", script], site, f"{program.parent}:/usr/bin:/bin")
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture
def site(reviewed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reviewed, tmp_path / "srv"))


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next month, in which a third agent has begun."""
    folder = tmp_path_factory.mktemp("worse")
    plant = Plant(pattern="short-calls", agents=3, strength=0.35)
    centre = Centre(
        seed=5, agents=12, days=21, teams=2, plants=(plant,), tables=("calls",)
    )
    write(simulate(centre), folder)
    return folder


def test_the_first_part_leaves_what_the_others_need(reviewed: Path) -> None:
    assert yaml.safe_load((reviewed / "kpiaudit.yaml").read_text())["paths"]
    known = json.loads((reviewed / "baseline.json").read_text())["findings"]
    assert len(known) >= 2
    assert "<html" in (reviewed / "reports" / "first.html").read_text()


@pytest.mark.parametrize("place", range(2))
def test_a_crontab_line_is_silent_until_something_is_new(
    place: int, site: Path, worse: Path, program: Path
) -> None:
    line = _crontab()[place]
    assert re.fullmatch(rf"({FIELD} +){{5}}\S.*", line)
    # As cron reads it: five fields, and an escaped percent sign is one.
    command = _here(line.split(maxsplit=5)[5].replace(r"\%", "%"), site, program)
    quiet = _bare(["/bin/sh", "-c", command], Path("/"))
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    shutil.copytree(worse, site / "exports", dirs_exist_ok=True)
    loud = _bare(["/bin/sh", "-c", command], Path("/"))
    said = "kpiaudit: 1 new or worsened finding at or above 'low'\n"
    assert loud.stderr == said
    if place == 0:
        assert (loud.returncode, loud.stdout) == (1, "")
        assert "1 new, " in (site / "reports" / "new.md").read_text()
        _review(site, program)
        known = _bare(["/bin/sh", "-c", command], Path("/"))
        assert (known.returncode, known.stderr) == (0, "")
    else:
        assert "1 new, " in loud.stdout


def _review(site: Path, program: Path) -> None:
    review = next(block for block in _blocks("sh") if block.startswith("# review"))
    path = f"{program.parent}:/usr/bin:/bin"
    done = _bare(["sh", "-ec", review.replace(HOME, str(site))], site, path)
    assert done.returncode == 0, done.stderr


def test_a_crontab_line_says_why_there_is_no_report(site: Path, program: Path) -> None:
    (site / "exports" / "calls.csv").write_text("call_id,agent_id,talk_s\n")
    command = _here(_crontab()[0].split(maxsplit=5)[5], site, program)
    done = _bare(["/bin/sh", "-c", command], Path("/"))
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "calls.csv" in done.stderr
    assert not (site / "reports" / "latest.json").exists()


def _units(site: Path, program: Path) -> dict[str, str]:
    units = {}
    for block in _blocks("ini"):
        head, _, text = block.partition("\n")
        units[head.removeprefix("# ")] = _here(text, site, program)
    return units


def test_the_unit_runs_what_it_starts(site: Path, program: Path) -> None:
    units = _units(site, program)
    assert sorted(units) == ["kpiaudit.service", "kpiaudit.timer"]
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(units["kpiaudit.service"])
    service = parser["Service"]
    assert service["WorkingDirectory"] == str(site)
    done = _bare(shlex.split(service["ExecStart"]), Path(service["WorkingDirectory"]))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (site / "reports" / "latest.json").exists()


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)
def test_systemd_understands_the_units(
    site: Path, program: Path, tmp_path: Path
) -> None:
    for name, text in _units(site, program).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "kpiaudit.timer"],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "kpiaudit" in line]
    assert (done.returncode, ours) == (0, [])
    (when,) = re.findall(r"OnCalendar=(.*)", PAGE)
    checked = subprocess.run(
        ["systemd-analyze", "calendar", when], capture_output=True, check=False
    )
    assert checked.returncode == 0


def _steps() -> dict[str, str]:
    (block,) = _blocks("yaml")
    workflow = yaml.safe_load(block)
    (when,) = workflow[True]["schedule"]  # YAML 1.1 reads 'on' as true; GitHub does not
    assert re.fullmatch(rf"({FIELD} ){{4}}{FIELD}", when["cron"])
    steps = workflow["jobs"]["scan"]["steps"]
    assert all("uses" in step or "run" in step for step in steps)
    return {step["name"]: step["run"] for step in steps if "run" in step}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_workflow_ends_with_the_status_and_a_summary(
    site: Path, worse: Path, program: Path, tmp_path: Path
) -> None:
    steps = _steps()
    assert steps["Install"] == "python -m pip install kpiaudit"
    shutil.copytree(worse, site / "exports", dirs_exist_ok=True)
    script, summary = tmp_path / "step.sh", tmp_path / "summary.md"
    script.write_text(steps["Scan"])
    done = subprocess.run(
        # As GitHub calls it.
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
        env={
            "PATH": f"{program.parent}:/usr/bin:/bin",
            "GITHUB_STEP_SUMMARY": str(summary),
        },
        cwd=site,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert summary.read_text().startswith("# kpiaudit")
    assert {p.name for p in (site / "reports").iterdir()} >= {
        "report.json",
        "report.md",
        "junit.xml",
    }
