import subprocess
import sys

import pytest

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


def test_a_scan_never_loads_scipy_stats() -> None:
    code = (
        "import kpiaudit.audit, kpiaudit.outputs.text\n"
        "from kpiaudit.detectors import catalogue\n"
        "catalogue.detectors()\n"
        "import sys\nassert 'scipy.stats' not in sys.modules"
    )
    assert "scipy" in _loaded_by(code)
