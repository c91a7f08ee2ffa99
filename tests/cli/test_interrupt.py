import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kpiaudit.cli.progress import Progress

BUSY = """
import sys, pathlib
from kpiaudit import leftovers
from kpiaudit.cli.interrupt import run_interruptibly
folder = pathlib.Path(sys.argv[1])
(folder / "half.json").write_text("half")
(folder / "spill").mkdir()
def work():
    try:
        {loop}
    except KeyboardInterrupt:
        return 130, "interrupted"
with leftovers.unfinished(folder / "half.json"):
    leftovers.note(folder / "spill")
    status, message = run_interruptibly(work)
print("kpiaudit:", message, file=sys.stderr)
sys.exit(status)
"""
# One query that polars runs without returning to Python.
QUERY = """
import polars as pl
        many = pl.select(pl.int_range(30_000).alias("x")).lazy()
        every = many.join(many, how="cross").join(many, how="cross", suffix="_3")
        print("busy", flush=True)
        every.select(pl.all().sum()).collect(engine="streaming")
"""
PYTHON = """
print("busy", flush=True)
        while True:
            pass
"""


@pytest.mark.parametrize("loop", [QUERY, PYTHON], ids=["query", "python"])
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"terminated")],
    ids=["ctrl-c", "sigterm"],
)
def test_a_signal_ends_it_at_once_and_takes_what_is_unfinished_along(
    loop: str, number: int, status: int, said: bytes, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY.format(loop=loop.strip()), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "POLARS_MAX_THREADS": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"busy\n"
    time.sleep(0.3)
    began = time.monotonic()
    os.kill(process.pid, number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == status
    assert error.splitlines() == [b"kpiaudit: " + said]
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - began < 5  # a second, on a machine that is not busy


def test_an_end_outside_the_work_is_not_complained_of() -> None:
    code = (
        "import os, signal, threading, time\n"
        "from kpiaudit.cli.interrupt import run_interruptibly\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Timer(0.3, kill).start()\n"
        "def work():\n"
        "    while True:\n"
        "        pass\n"
        "run_interruptibly(work)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, timeout=20, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"kpiaudit: interrupted\n")


def test_progress_says_the_step_and_goes_without_a_trace() -> None:
    stream = io.StringIO()
    line = Progress(stream)
    line("counting 1,000 rows")
    line("")
    shown = stream.getvalue().split("\r\x1b[2K")
    assert shown == ["", "counting 1,000 rows ...", ""]


def test_progress_without_a_terminal_says_nothing() -> None:
    Progress(None)("counting")


def test_a_handler_that_restarts_system_calls_does_not_delay_the_end() -> None:
    code = (
        "import os, signal, threading, time\n"
        "from kpiaudit.cli.interrupt import run_interruptibly\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.siginterrupt(signal.SIGINT, False)\n"
        "kill = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Timer(0.3, kill).start()\n"
        "run_interruptibly(lambda: (time.sleep(20), (0, ''))[1])\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, timeout=10, capture_output=True, check=False)
    assert done.returncode == 130, done.stderr


def test_ctrl_c_while_the_program_is_being_loaded_is_no_traceback(tmp_path):
    early = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    (tmp_path / "click.py").write_text(early)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "kpiaudit", "--version"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stderr) == (130, b"kpiaudit: interrupted\n")
