"""Faults of the machine, one test a fault; the table is in docs/reliability.md."""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Run

CLI = [sys.executable, "-m", "kpiaudit"]
ENV = {**os.environ, "KPIAUDIT_SELECT": "short-calls"}
_DROP_A_CAPABILITY = 24
_DAC_OVERRIDE = 1


@pytest.fixture(scope="session")
def calls(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A few calls, in which nothing is found: what ends otherwise was a fault."""
    rows = "".join(
        f"C{i},A000{i % 4},2026-03-{2 + i % 9:02d} 10:{i % 60:02d}:00,{100 + i % 50}\n"
        for i in range(400)
    )
    path = tmp_path_factory.mktemp("few") / "calls.csv"
    path.write_text(f"call_id,agent_id,started_at,talk_s\n{rows}", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="session")
def report(calls: str) -> bytes:
    """The report of a run without faults."""
    done = subprocess.run(
        [*CLI, "scan", calls, "--format", "json"],
        capture_output=True, check=True, env=ENV, cwd=Path(calls).parent,
    )  # fmt: skip
    return done.stdout


def last(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def small_files() -> None:
    """Let no file of the process grow beyond 200 bytes, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))


def without_privileges() -> None:
    """Take from root, if it is root, the right to write where nobody may."""
    ctypes.CDLL(None).prctl(_DROP_A_CAPABILITY, _DAC_OVERRIDE, 0, 0, 0)


def shell(
    text: str, *, before: tuple[str, ...] = (), cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    script = text.replace("kpiaudit ", " ".join([*CLI, ""]))
    return subprocess.run(
        [*before, "bash", "-c", script],
        cwd=cwd, capture_output=True, text=True, check=False, env=ENV,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "CALLS", "-o", "canonical"),
        ("demo", "sample"),
    ],
    ids=lambda words: words[0],
)
def test_a_full_disk_is_4_and_leaves_nothing(
    spawn: Run, calls: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = spawn(*(calls if w == "CALLS" else w for w in words), preexec_fn=small_files)
    assert done.returncode == 4
    assert "can't be written" in last(done)
    assert "Free some space" in last(done)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_full_disk_leaves_the_earlier_report(
    spawn: Run, calls: str, tmp_path: Path
) -> None:
    (tmp_path / "r.txt").write_text("of last month")
    done = spawn("scan", calls, "-o", "r.txt", preexec_fn=small_files)
    assert done.returncode == 4
    assert "r.txt: the report can't be written" in last(done)
    assert "Free some space" in last(done)
    assert (tmp_path / "r.txt").read_text() == "of last month"
    assert names(tmp_path) == ["r.txt"]


def test_a_full_temporary_folder_is_4(spawn: Run, calls: str, tmp_path: Path) -> None:
    env = {"KPIAUDIT_MEMORY_MB": "0.01", "TMPDIR": str(tmp_path)}
    done = spawn("scan", calls, env=env, preexec_fn=small_files)
    assert done.returncode == 4
    assert "temporary files" in last(done)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [
        ("scan", "CALLS", "-o", "closed/r.txt"),
        ("convert", "CALLS", "-o", "closed"),
        ("demo", "closed/sample"),
    ],
    ids=lambda words: words[0],
)
def test_an_unwritable_folder_is_2(
    spawn: Run, calls: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    done = spawn(
        *(calls if w == "CALLS" else w for w in words), preexec_fn=without_privileges
    )
    assert done.returncode == 2
    assert "closed" in last(done)
    assert names(tmp_path / "closed") == []


def test_an_unreadable_export_is_3(spawn: Run, calls: str, tmp_path: Path) -> None:
    shutil.copy(calls, tmp_path / "calls.csv")
    (tmp_path / "calls.csv").chmod(0)

    def powerless() -> None:
        without_privileges()
        ctypes.CDLL(None).prctl(_DROP_A_CAPABILITY, 2, 0, 0, 0)

    done = spawn("scan", "calls.csv", preexec_fn=powerless)
    assert done.returncode == 3
    assert "calls.csv: the file can't be read (Permission denied)" in last(done)


def _may_mount() -> bool:
    try:
        tried = subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return tried.returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="needs the right to mount")
def test_a_read_only_file_system_is_2_and_a_full_one_4(
    calls: str, tmp_path: Path
) -> None:
    script = (
        f"mount -t tmpfs -o size=4k tmpfs {tmp_path} && cd {tmp_path}; "
        "head -c 4096 /dev/zero > full; "
        f"kpiaudit scan {calls} --format html -o r.html; echo $?; ls -A; "
        f"mount -o remount,ro {tmp_path}; "
        f"HOME={tmp_path} kpiaudit scan {calls} -o r.txt; echo $?; ls -A; "
        f"HOME={tmp_path} TMPDIR={tmp_path} kpiaudit scan {calls} >/dev/null; echo $?"
    )
    done = shell(script, before=("unshare", "-m"))
    assert done.stdout.split() == ["4", "full", "2", "full", "0"], done.stderr
    assert "No space left on device" in done.stderr
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize(
    ("closed", "status", "said"),
    [
        ("scan --table calls=- <&-", 3, "Standard input can't be read"),
        ("inspect CALLS >&-", 4, "standard output can't be written"),
        ("scan CALLS <&- 2>&-", 0, None),
        ("demo sample <&- >&-", 0, "Sample exports are in sample"),
    ],
)
def test_closed_streams_are_said(
    calls: str, tmp_path: Path, closed: str, status: int, said: str | None
) -> None:
    done = shell(f"kpiaudit {closed.replace('CALLS', calls)}", cwd=tmp_path)
    assert done.returncode == status, done.stderr
    if said:
        assert said in last(done)
    else:
        assert "No findings" in done.stdout


def test_no_home_and_a_broken_locale_change_nothing(calls: str, report: bytes) -> None:
    odd = {"LC_ALL": "xx_YY.nonsense", "LANG": "xx", "PYTHONIOENCODING": "ascii"}
    bare = {k: v for k, v in ENV.items() if k not in {"HOME", "USER", "LOGNAME"}}
    done = subprocess.run(
        [*CLI, "scan", calls, "--format", "json"],
        capture_output=True, check=True, env={**bare, **odd}, cwd=Path(calls).parent,
    )  # fmt: skip
    assert done.stdout == report


def test_letters_of_all_alphabets_survive_a_broken_locale(
    spawn: Run, calls: str, tmp_path: Path
) -> None:
    shutil.copy(calls, tmp_path / "Zoë-佐藤.csv")
    done = spawn("inspect", "Zoë-佐藤.csv", env={"LC_ALL": "xx"})
    assert done.returncode == 0, done.stderr
    assert "Zoë-佐藤.csv" in done.stdout


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start scans that wait in the middle of reading, since a pipe has no end."""
    started: list[tuple[subprocess.Popen[bytes], int]] = []

    def start() -> subprocess.Popen[bytes]:
        read, write = os.pipe()
        process = subprocess.Popen(
            [*CLI, "scan", "--table", "calls=-", "-o", "r.json", "--format", "json"],
            stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
            env={**ENV, "TMPDIR": str(tmp_path)},
        )  # fmt: skip
        os.close(read)
        started.append((process, write))
        os.write(write, b"call_id,agent_id,talk_s\n1,A,5\n")
        _until_it_reads(process.pid)
        return process

    yield start
    for process, write in started:
        os.close(write)
        process.kill()
        process.communicate()


def _until_it_reads(pid: int) -> None:
    """Wait until one of the program's threads sits in a read of standard input."""
    for _ in range(300):
        time.sleep(0.05)
        for thread in Path(f"/proc/{pid}/task").iterdir():
            syscall = (thread / "syscall").read_text(encoding="utf-8").split()
            if syscall[:2] == ["0", "0x0"]:
                return
            if "pipe" in (thread / "wchan").read_text(encoding="utf-8"):
                return


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"terminated")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_scan_that_is_stopped_ends_at_once_and_leaves_nothing(
    busy: Callable[[], subprocess.Popen[bytes]],
    tmp_path: Path,
    number: int,
    status: int,
    said: bytes,
) -> None:
    (tmp_path / "r.json").write_text("of last month")
    process = busy()
    began = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert process.returncode == status
    assert said in error
    assert b"Traceback" not in error
    assert time.monotonic() - began < 5  # 1 s is promised; test machines are busy
    assert names(tmp_path) == ["r.json"]
    assert (tmp_path / "r.json").read_text() == "of last month"


def test_two_runs_may_write_the_same_file(calls: str, tmp_path: Path) -> None:
    command = [*CLI, "scan", calls, "--format", "json", "-o", "r.json"]
    both = [subprocess.Popen(command, cwd=tmp_path, env=ENV) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert names(tmp_path) == ["r.json"]
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert text.startswith("{")
    assert text.rstrip().endswith("}")


def test_a_reader_that_leaves_is_no_fault(calls: str) -> None:
    done = shell(f"set -o pipefail; kpiaudit scan {calls} --format html | head -c 1")
    assert done.stdout == "<"
    assert "Broken" not in done.stderr
    assert done.returncode in {0, 1}


def test_the_clock_has_no_say(calls: str, tmp_path: Path, report: bytes) -> None:
    """A clock that jumps by decades between two runs changes no byte."""
    (tmp_path / "sitecustomize.py").write_text(
        "import datetime, time\n"
        "time.time = lambda: 4e9\n"
        "class Late(datetime.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None):\n"
        "        return cls(2096, 10, 2, tzinfo=tz)\n"
        "class Day(datetime.date):\n"
        "    @classmethod\n"
        "    def today(cls):\n"
        "        return cls(2096, 10, 2)\n"
        "datetime.datetime, datetime.date = Late, Day\n"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [*CLI, "scan", calls, "--format", "json"],
        cwd=tmp_path, capture_output=True, check=True, env={**ENV, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.stdout == report
