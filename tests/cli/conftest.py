import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kpiaudit.cli.run import _say, _status_of
from kpiaudit.tables.simulate import Centre, Plant, simulate, write

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small centre in which two agents hang up at once."""
    folder = tmp_path_factory.mktemp("exports")
    plant = Plant(pattern="short-calls", agents=2, strength=0.35)
    centre = Centre(
        seed=5, agents=12, days=21, teams=2, plants=(plant,), tables=("calls",)
    )
    write(simulate(centre), folder)
    return folder


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small centre in which nobody does anything."""
    folder = tmp_path_factory.mktemp("honest")
    write(simulate(Centre(seed=6, agents=12, days=21, tables=("calls",))), folder)
    return folder


def _options(given: Mapping[str, str] | None) -> dict[str, str]:
    # One rule is enough to see what becomes of a scan, and saves minutes.
    return {"KPIAUDIT_SELECT": "short-calls", **(given or {})}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty folder, inside this process: quick."""
    monkeypatch.chdir(tmp_path)

    def command(
        *words: str, env: Mapping[str, str] | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        streams = CliRunner().isolation(**more, env=_options(env))
        with streams as (out, err, _):
            status, message = _status_of(list(words))
            _say(message)
            sys.stdout.flush()
            sys.stderr.flush()
        said = (stream.getvalue().decode() for stream in (out, err))
        return subprocess.CompletedProcess(words, status, *said)

    return command


@pytest.fixture
def spawn(tmp_path: Path) -> Run:
    """Run the installed command in an empty folder, as a process of its own."""

    def command(
        *words: str, env: Mapping[str, str] | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {"capture_output": True, **more}
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        given = {**os.environ, **_options(env)}
        if "preexec_fn" in more:
            # A limit on the size of files would cut off compiled modules, for good.
            given["PYTHONDONTWRITEBYTECODE"] = "1"
        return subprocess.run(
            [sys.executable, "-m", "kpiaudit", *words],
            cwd=tmp_path,
            text=True,
            check=False,
            env=given,
            **options,
        )

    return command


@pytest.fixture(scope="session")
def reported(exports: Path) -> str:
    """What a scan of `exports` prints as JSON."""
    with CliRunner().isolation(env=_options(None)) as (out, _, _):
        _status_of(["scan", str(exports), "--format", "json"])
        sys.stdout.flush()
    return out.getvalue().decode()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A command `kpiaudit` that needs nothing of its environment, for shells."""
    path = tmp_path_factory.mktemp("bin") / "kpiaudit"
    path.write_text(
        "#!/bin/sh\n"
        # One rule is enough here as well; the checkout comes before what is installed.
        f"KPIAUDIT_SELECT=short-calls PYTHONPATH='{ROOT}' "
        f'exec "{sys.executable}" -m kpiaudit "$@"\n'
    )
    path.chmod(0o755)
    return path
