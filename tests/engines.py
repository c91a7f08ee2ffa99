"""Polars frames on the other engines, for tests that compare them."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

if TYPE_CHECKING:
    import polars as pl

OTHERS = ("duckdb", pytest.param("spark", marks=pytest.mark.spark))
"""The engines beside polars; Spark's tests are run by `make test-spark`."""


def missing_for_spark() -> str:
    """Say what a Spark test lacks here; empty if nothing."""
    try:
        import pyspark  # noqa: F401, PLC0415
    except ModuleNotFoundError:
        return "pyspark is not installed (make test-spark installs it)"
    return "" if shutil.which("java") else "there is no Java (default-jre-headless)"


@functools.cache
def spark() -> Any:
    """Return a small local session, which every test shares."""
    # Workers must not look for another Python, and little memory must do.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession  # noqa: PLC0415

    settings = {
        "spark.log.level": "ERROR",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "2g",
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
    }
    builder = SparkSession.builder.master("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def native(frame: pl.DataFrame, engine: str) -> Any:
    """Return a frame on an engine, ready for narwhals."""
    if engine == "polars":
        return frame.lazy()
    if engine == "duckdb":
        return duckdb.connect(config={"threads": 1}).from_arrow(frame.to_arrow())
    return spark().createDataFrame(frame.to_arrow())


def natives(frames: dict[str, pl.DataFrame], engine: str) -> dict[str, Any]:
    """Return several frames that can be joined: on one connection."""
    if engine != "duckdb":
        return {name: native(frame, engine) for name, frame in frames.items()}
    connection = duckdb.connect(config={"threads": 1})
    return {n: connection.from_arrow(f.to_arrow()) for n, f in frames.items()}
