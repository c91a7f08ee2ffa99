import os
import subprocess
import sys

import click
import pytest

from kpiaudit.cli.run import COMMANDS, cli
from kpiaudit.cli.starting import tuned_polars

HEAVY = {"polars", "numpy", "scipy", "narwhals", "duckdb", "pandas", "rich", "yaml"}


def _loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import kpiaudit",
        (
            "from kpiaudit.cli.run import cli\n"
            "cli.main(['--help'], 'kpiaudit', standalone_mode=False)"
        ),
        (
            "from kpiaudit.cli.run import cli\n"
            "cli.main(['scan', '--help'], 'kpiaudit', standalone_mode=False)"
        ),
    ],
)
def test_help_and_import_load_nothing_heavy(code: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _loaded_by(code) & HEAVY == set()


@pytest.mark.parametrize("command", [["rules"], ["explain", "short-calls"]])
def test_listing_and_explaining_load_no_engine_and_no_statistics(
    command: list[str], tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = (
        "import contextlib, io\n"
        "from kpiaudit.cli.run import cli\n"
        "with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):\n"
        f"    cli.main({command!r}, 'kpiaudit', standalone_mode=False)"
    )
    assert _loaded_by(code) & {"polars", "scipy", "duckdb", "pandas", "rich"} == set()


def test_the_list_of_commands_says_what_the_commands_say() -> None:
    for name, (_, said) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.help is not None
        assert " ".join(command.help.splitlines()[0].split()) == said


def test_a_scan_loads_the_statistics_of_rules_that_run_and_of_no_other(
    tmp_path,
) -> None:
    calls = tmp_path / "calls.csv"
    calls.write_text(
        "call_id,agent_id,talk_s\n"
        + "".join(f"{i},A{i % 5},{i % 90 + 1}\n" for i in range(200))
    )
    code = (
        "import kpiaudit, sys\n"
        "from kpiaudit.later import put_off\n"
        "put_off()\n"
        f"kpiaudit.scan({str(calls)!r})\n"
        "mine = [n for n, m in sys.modules.items()"
        " if n.startswith('kpiaudit.detectors._') and type(m).__name__ == 'module']\n"
        "assert not any('early_closure_floor' in n for n in mine), mine\n"
        "assert any('short_calls_count' in n for n in mine), mine"
    )
    assert "rich" not in _loaded_by(code)


def test_a_scan_never_loads_scipy_stats() -> None:
    code = (
        "import kpiaudit.audit, kpiaudit.outputs.text\n"
        "from kpiaudit.detectors import catalogue\n"
        "catalogue.detectors()\n"
        "import pkgutil, sys\n"
        "from importlib import import_module\n"
        "for package in ('stats', 'evidence', 'detectors'):\n"
        "    path = import_module(f'kpiaudit.{package}').__path__\n"
        "    for one in pkgutil.iter_modules(path):\n"
        "        vars(import_module(f'kpiaudit.{package}.{one.name}'))\n"
        "assert 'scipy.stats' not in sys.modules"
    )
    assert "scipy" in _loaded_by(code)


def test_what_no_test_and_no_finding_asks_for_is_not_loaded(tmp_path) -> None:
    calls = tmp_path / "calls.csv"
    calls.write_text(
        "call_id,agent_id,talk_s\n"
        + "".join(f"{i},A{i % 50},{i % 90 + 1}\n" for i in range(200))
    )
    code = (
        "import kpiaudit, sys\n"
        "from kpiaudit.later import put_off\n"
        "put_off()\n"
        f"report = kpiaudit.scan({str(calls)!r})\n"
        "assert 'short-calls' in {r.id for r in report.rules if r.status == 'ran'}\n"
        "assert 'scipy.special' not in sys.modules\n"
        "mine = {n for n, m in sys.modules.items() if type(m).__name__ == 'module'}\n"
        "assert 'kpiaudit.audit' in mine\n"
        "unused = {'evidence.corroborate', 'evidence.restating', 'stats.gradient'}\n"
        "assert not mine & {f'kpiaudit.{name}' for name in unused}\n"
        "import numpy as np\n"
        "from kpiaudit.stats.tails import upper_tail\n"
        "assert upper_tail(*np.array([[1.0], [1.0], [1.0]])).round(3) == [0.632]\n"
        "assert 'scipy.special' in sys.modules"
    )
    assert "scipy" in _loaded_by(code)


def test_the_command_puts_off_spare_parts_of_numpy_until_they_are_asked_for() -> None:
    code = (
        "import sys\n"
        "from kpiaudit.cli.starting import without_spare_numpy\n"
        "without_spare_numpy()\n"
        "import scipy.special\n"
        "spare = ('f2py.crackfortran', 'testing._private', 'polynomial.polynomial')\n"
        "assert not {f'numpy.{n}' for n in spare} & set(sys.modules)\n"
        "import numpy.f2py\n"
        "from numpy.testing import assert_array_equal\n"
        "assert numpy.f2py.get_include()\n"
        "assert_array_equal(numpy.strings.upper(['a']), ['A'])\n"
        "assert numpy.polynomial.polynomial.polyval(2, [1, 3]) == 7\n"
    )
    assert "scipy" in _loaded_by(code)


@pytest.mark.parametrize(("name", "rows"), [("calls.csv", 10), ("many.csv", 300_000)])
def test_small_files_are_counted_without_room_for_many_groups(
    name: str, rows: int, tmp_path, monkeypatch
) -> None:
    setting = "POLARS_HOT_TABLE_SIZE"
    for each in (
        setting,
        "POLARS_MAX_HOT_TABLE_SIZE",
        "POLARS_ROW_GROUP_PREFETCH_SIZE",
        "_RJEM_MALLOC_CONF",
    ):
        monkeypatch.setenv(each, "")
        monkeypatch.delenv(each)
    (tmp_path / name).write_text("a,b,c,d\n" * rows)
    tuned_polars([str(tmp_path)])
    assert (setting in os.environ) == (rows > 10)
    monkeypatch.delenv(setting, raising=False)
    tuned_polars([str(tmp_path / name)])
    assert (setting in os.environ) == (rows > 10)
    monkeypatch.delenv(setting, raising=False)
    tuned_polars([str(tmp_path / "*.csv"), "-"])
    assert setting in os.environ


def test_threads_may_scan_side_by_side_from_the_first_time_on(tmp_path) -> None:
    calls = tmp_path / "calls.csv"
    rows = "".join(f"{i},A{i % 20},{i % 90 + 1}\n" for i in range(4_000))
    calls.write_text("call_id,agent_id,talk_s\n" + rows)
    code = (
        "import kpiaudit, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "sys.setswitchinterval(1e-5)\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        f"    reports = list(pool.map(kpiaudit.scan, [{str(calls)!r}] * 4))\n"
        "assert all(each.rules == reports[0].rules for each in reports)"
    )
    assert "polars" in _loaded_by(code)
