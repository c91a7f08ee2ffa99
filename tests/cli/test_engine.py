"""`--engine`: the command line on DuckDB."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_what_convert_writes_is_scanned_alike_and_exports_are_refused(
    run: Run, exports: Path, tmp_path: Path
) -> None:
    refused = run("scan", str(exports), "--engine", "duckdb")
    assert refused.returncode == 2
    assert "kpiaudit convert" in refused.stderr
    # The variable may stay set: exports are converted by polars all the same.
    env = {"KPIAUDIT_ENGINE": "duckdb"}
    assert run("convert", str(exports), "-o", "canonical", env=env).returncode == 0
    done = run("scan", "canonical", "--format", "json", env=env)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    plain = json.loads(run("scan", "canonical", "--format", "json").stdout)
    assert report["findings"]
    assert [report[k] for k in ("inputs", "rules", "findings", "notes")] == [
        plain[k] for k in ("inputs", "rules", "findings", "notes")
    ]
