"""DuckDB: a connection that spills to disk under a memory limit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kpiaudit.errors import TableError
from kpiaudit.tables.engines.backend import lacking
from kpiaudit.tables.source import limit
from kpiaudit.tables.spill import spill_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MEMORY_MB = 1_500
_SUM = "HUGEINT"


def settings() -> dict[str, str]:
    """Return DuckDB's settings: the one place where its memory is bounded.

    `KPIAUDIT_MEMORY_MB` (1500) is the limit above which it writes what it works on to a
    temporary folder, which goes when the program ends; `TMPDIR` says where that is.
    """
    return {
        "memory_limit": f"{limit('KPIAUDIT_MEMORY_MB', _MEMORY_MB):.0f}MiB",
        "temp_directory": str(spill_folder()),
        # Every summary is sorted: the order of the rows in between costs memory only.
        "preserve_insertion_order": "false",
    }


class Duck:
    """Reads Parquet files with DuckDB, and works on relations that were given."""

    name = "duckdb"

    def __init__(self) -> None:
        self._connection: Any = None

    def _open(self) -> Any:
        if self._connection is None:
            try:
                duckdb = import_module("duckdb")
                import_module("pyarrow")  # what narwhals collects a relation with
            except ModuleNotFoundError as error:
                raise lacking(str(error.name), self.name) from error
            self._connection = duckdb.connect(config=settings())
        return self._connection

    def parquet(self, files: Sequence[str]) -> Any:
        """Return Parquet files of one schema as a relation."""
        # A path is a pattern to DuckDB; brackets are how it writes a mark itself.
        plain = [_literal(f) for f in files]
        return self._open().read_parquet(plain, hive_partitioning=False)

    def table(self, name: str) -> Any:
        """Refuse: there is no catalogue.

        Raises:
            TableError: Always.
        """
        raise TableError(
            f"spark:{name}: tables by name are read with --engine spark only."
        )

    def select(self, native: Any, columns: Mapping[str, str]) -> Any:
        """Return a relation of SQL expressions by name."""
        return native.project(
            ", ".join(f"{sql} AS {self.quoted(name)}" for name, sql in columns.items())
        )

    def quoted(self, name: str) -> str:
        """Return a column's name as SQL writes it."""
        return _name(name)

    def text(self, name: str) -> str:
        """Return SQL for a column of whole numbers as text."""
        return f"CAST({self.quoted(name)} AS VARCHAR)"

    def millis(self, name: str, *, zoned: bool) -> str:
        """Return SQL for a timestamp's milliseconds since 1970 in UTC."""
        del zoned  # a timestamp without a zone counts from 1970 all the same
        return f"epoch_ms({self.quoted(name)})"

    def hashed(self, names: Sequence[str]) -> str:
        """Return SQL for a 64-bit hash of columns, nulls included."""
        return f"hash({', '.join(map(self.quoted, names))})"

    def kept(self, native: Any) -> Any:
        """Write a relation to a temporary Parquet file and read it from there."""
        return on_disk(native)


def on_disk(native: Any) -> Any:
    """Write any connection's relation to a temporary file and read it from there."""
    path = spill_folder() / "rest.parquet"
    # Sums of whole numbers have 128 bits, which Parquet would round to floats.
    types = dict(zip(map(_name, native.columns), native.types, strict=True))
    cells = (f"{n}::BIGINT AS {n}" if t == _SUM else n for n, t in types.items())
    native.project(", ".join(cells)).write_parquet(str(path), compression="lz4")
    return native.query("rest", f"SELECT * FROM read_parquet({_quoted(str(path))})")  # noqa: S608  # our own path


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _literal(path: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
