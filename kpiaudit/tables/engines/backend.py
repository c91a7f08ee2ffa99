"""What an engine beside polars must be able to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from kpiaudit.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENGINES = ("polars", "duckdb", "spark")


class NotCanonicalError(RuleError):
    """The input has to be converted before DuckDB or Spark can read it."""

    def __init__(self, display: str, why: str, engine: str) -> None:
        super().__init__(
            f"{display}: {why}. --engine {engine} reads canonical Parquet: run "
            "'kpiaudit convert PATH -o FOLDER' first, with the mapping and the zone "
            f"that belong to it, then scan FOLDER with --engine {engine}. A table or a "
            "frame is made canonical by a view (docs/spark.md)."
        )


class Backend(Protocol):
    """The few things that narwhals does not say for an engine; the rest is shared."""

    name: str

    def parquet(self, files: Sequence[str]) -> Any:
        """Return Parquet files of one schema as a native lazy frame.

        Folders that are named `column=value` give no columns, as with polars.
        """

    def table(self, name: str) -> Any:
        """Return a table of the catalogue as a native lazy frame.

        Raises:
            TableError: There is no such table, or the engine has no catalogue.
        """

    def select(self, native: Any, columns: Mapping[str, str]) -> Any:
        """Return a native frame of SQL expressions by name."""

    def quoted(self, name: str) -> str:
        """Return a column's name as SQL writes it."""

    def text(self, name: str) -> str:
        """Return SQL for a column of whole numbers as text."""

    def millis(self, name: str, *, zoned: bool) -> str:
        """Return SQL for a timestamp's milliseconds since 1970 in UTC."""

    def hashed(self, names: Sequence[str]) -> str:
        """Return SQL for a 64-bit hash of columns, nulls included."""

    def kept(self, native: Any) -> Any:
        """Return the frame computed once, held on disk rather than in memory."""


def lacking(package: str, engine: str) -> RuleError:
    """Return the error for an engine whose package is not installed."""
    return RuleError(
        f"--engine {engine} needs the package '{package}', which is not installed. Run "
        f"pip install 'kpiaudit[{engine}]'."
    )
