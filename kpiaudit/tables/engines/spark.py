"""Spark: the session at hand, one on this machine, or a cluster's."""

from __future__ import annotations

import atexit
import os
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpiaudit.errors import RuleError, TableError
from kpiaudit.tables.engines.backend import lacking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SETTINGS = {
    # Standard error belongs to notes; Spark's own log stays at errors.
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # Summaries travel as Arrow.
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}


class Spark:
    """Reads Parquet files and tables of the catalogue with Spark.

    Args:
        session: A Spark session; None takes the active one, that of `SPARK_REMOTE` or
            `spark-submit`, or starts one on this machine.
    """

    name = "spark"

    def __init__(self, session: Any = None) -> None:
        self._given = session

    @property
    def session(self) -> Any:
        """Return the session, and start one if there is none.

        Raises:
            RuleError: pyspark or Java is not installed, or the cluster is out of reach.
        """
        if self._given is None:
            self._given = _session()
        return self._given

    def parquet(self, files: Sequence[str]) -> Any:
        """Return Parquet files of one schema as a Spark DataFrame.

        Raises:
            TableError: Spark can't see one of them.
        """
        reader = self.session.read.option("recursiveFileLookup", "true")
        plain = [_literal(f) if Path(f).exists() else f for f in files]
        return _checked(lambda: reader.parquet(*plain), ", ".join(files[:3]))

    def table(self, name: str) -> Any:
        """Return a table of the session's catalogue.

        Raises:
            TableError: There is no such table.
        """
        return _checked(lambda: self.session.table(name), f"spark:{name}")

    def select(self, native: Any, columns: Mapping[str, str]) -> Any:
        """Return a DataFrame of SQL expressions by name."""
        return native.selectExpr(
            *(f"{sql} AS {self.quoted(name)}" for name, sql in columns.items())
        )

    def quoted(self, name: str) -> str:
        """Return a column's name as SQL writes it."""
        return "`" + name.replace("`", "``") + "`"

    def text(self, name: str) -> str:
        """Return SQL for a column of whole numbers as text."""
        return f"CAST({self.quoted(name)} AS STRING)"

    def millis(self, name: str, *, zoned: bool) -> str:
        """Return SQL for a timestamp's milliseconds since 1970 in UTC."""
        column = self.quoted(name)
        if zoned:
            return f"unix_millis({column})"
        # A cast to a zoned timestamp would take the session's zone.
        start = "TIMESTAMP_NTZ '1970-01-01 00:00:00'"
        return f"timestampdiff(MILLISECOND, {start}, {column})"

    def hashed(self, names: Sequence[str]) -> str:
        """Return SQL for a 64-bit hash of columns; nulls count as well."""
        parts: list[str] = []
        for name in map(self.quoted, names):
            # xxhash64 passes over nulls: ('a', null) would equal (null, 'a').
            parts += [name, f"isnull({name})"]
        return f"xxhash64({', '.join(parts)})"

    def kept(self, native: Any) -> Any:
        """Hold a DataFrame on the executors' disks once it is computed."""
        level = import_module("pyspark").StorageLevel.DISK_ONLY
        return native.persist(level)


def on_executors(native: Any) -> Any:
    """Compute a DataFrame of any session now, and hold it on the executors' disks.

    What is made of it is planned from there, not from the files on. Where the cluster
    holds nothing (Databricks' serverless one), it stays as it was.
    """
    level = import_module("pyspark").StorageLevel.DISK_ONLY
    try:
        return native.localCheckpoint(storageLevel=level)
    except Exception as error:
        if "NOT_SUPPORTED" not in str(error):
            raise
        return native


def _session() -> Any:
    try:
        with warnings.catch_warnings():
            # pyspark warns of versions of pandas, which nothing here uses.
            warnings.simplefilter("ignore")
            import_module("pyarrow")
            sql = import_module("pyspark.sql")
    except ModuleNotFoundError as error:
        raise lacking(str(error.name), "spark") from error
    active = sql.SparkSession.getActiveSession()
    if active is not None:
        return active
    builder = sql.SparkSession.builder.appName("kpiaudit")
    if "SPARK_REMOTE" not in os.environ:
        for key, value in _SETTINGS.items():
            builder = builder.config(key, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            session = builder.getOrCreate()
    except Exception as error:  # whatever the JVM, Java's absence or a server says
        where = os.environ.get("SPARK_REMOTE", "this machine (Java 17 or later)")
        raise RuleError(
            f"--engine spark: no Spark session could be started on {where}: "
            f"{_short(error)}. See docs/spark.md."
        ) from error
    atexit.register(session.stop)
    return session


def _checked(read: Any, display: str) -> Any:
    try:
        frame = read()
        _ = frame.columns  # looks the schema up, at once even on a remote session
    except import_module("pyspark.errors").PySparkException as error:
        raise TableError(
            f"{display}: Spark can't read it ({_short(error)}). On a cluster give a "
            "path that its workers see, or a table as spark:database.table."
        ) from error
    return frame


def _literal(path: str) -> str:
    """Return a path whose marks are no pattern's."""
    return "".join(f"\\{c}" if c in "{}[]*?\\" else c for c in path)


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(". ")
