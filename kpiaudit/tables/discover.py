"""Paths, folders, globs and archives to the files that are to be read."""

from __future__ import annotations

import glob
import signal
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from kpiaudit.errors import RuleError, TableError, guess
from kpiaudit.tables import schema
from kpiaudit.tables.source import Source, zip_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

_DATA = (
    *(".csv", ".tsv", ".txt", ".psv", ".dat", ".json", ".ndjson", ".jsonl"),
    *(".parquet", ".pq", ".arrow", ".feather", ".xlsx", ".xls", ".zip"),
    *(".gz", ".zst", ".bz2", ".xz", ".cdr"),
)
_LOG = "queue_log"  # of Asterisk; older files end in .1 or -20260301


def discover(paths: Sequence[str | Path]) -> list[Source]:
    """Return the files behind paths, folders and globs, each once, sorted per path.

    Args:
        paths: As given; none stands for the current folder.

    Raises:
        TableError: A path does not exist, or a glob or folder holds no data file.
    """
    found: dict[tuple[Path, str | None], Source] = {}
    for path in paths or (".",):
        for source in _sources(str(path)):
            where = (source.path or Path()).resolve()
            known = found.get((where, source.member))
            if known is None or (source.named and not known.named):
                found[where, source.member] = source
    return list(found.values())


def _sources(given: str) -> Iterator[Source]:
    path = Path(given)
    if path.is_dir():
        yield from _folder(path, given)
    elif path.exists():
        yield from _file(path, given, named=True)
    elif any(mark in given for mark in "*?["):
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207  # as given
        files = [m for m in matches if Path(m).is_file()]
        if not files:
            raise TableError(f"{given}: no file matches. Check the path.")
        for match in files:
            yield from _file(Path(match), match, named=False)
    else:
        near = guess(path.name, _siblings(path))
        raise TableError(f"{given}: there is no such file or folder.{near}")


def _siblings(path: Path) -> list[str]:
    return [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []


def _folder(folder: Path, given: str) -> Iterator[Source]:
    files = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "_")))
    count = 0
    for path in files:
        shown = str(Path(given) / path.name)
        if path.is_file() and _is_data(path):
            count += 1
            yield from _file(path, shown, named=False, held=True)
        elif path.is_dir() and named_table(path.name):
            inner = sorted(p for p in path.rglob("*") if p.is_file())
            for part in inner:
                if _is_data(part) and not part.name.startswith((".", "_")):
                    count += 1
                    below = str(Path(shown) / part.relative_to(path))
                    yield Source(display=below, path=part, hint=path.name)
    if not count:
        folders = [p.name for p in files if p.is_dir()]
        more = f" Folders in it are not searched: name them ({', '.join(folders[:3])})."
        raise TableError(
            f"{given}: there is no data file in this folder (CSV, NDJSON, JSON or "
            f"Parquet). {'Check the path.' if not folders else more.strip()}"
        )


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in _DATA or path.name.startswith(_LOG)


def _file(
    path: Path, shown: str, *, named: bool, held: bool = False
) -> Iterator[Source]:
    if path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
        members = _members(path, shown)
        if not members:
            raise TableError(f"{shown}: the archive is empty. Export it again.")
        if members != ["xl/workbook.xml"] and "[Content_Types].xml" not in members:
            single = len(members) == 1
            for name in members:
                # An archive of several files is a folder; one of one file is a file.
                told = named_table(Path(name).name)
                told = told or (named_table(path.name) if single else None)
                yield Source(
                    display=shown if single else f"{shown}/{name}",
                    path=path,
                    member=name,
                    hint=Path(name).name,
                    named=named and single,
                    stray=(held or not single) and told is None,
                )
            return
    yield Source(
        display=shown,
        path=path,
        hint=path.name,
        named=named,
        stray=held and named_table(path.name) is None,
    )


def _members(path: Path, shown: str) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return zip_members(archive)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise TableError(
            f"{shown}: the archive is cut off or damaged ({error}). Copy or export it "
            "again."
        ) from error


def named_table(name: str) -> str | None:
    """Return the table that a file's or folder's name tells, or None.

    >>> named_table("calls-2026-03.csv.gz"), named_table("Agent_States.parquet")
    ('calls', 'agent_states')
    >>> named_table("recalls.csv") is None
    True
    """
    stem = name.lower().split(".", 1)[0].replace("-", "_").replace(" ", "_")
    fits = [t for t in schema.TABLES if stem == t or stem.startswith(f"{t}_")]
    return max(fits, key=len) if fits else None


def meant_as(name: str) -> str | None:
    """Return the table whose very name, with a date or number at most, a file bears.

    >>> meant_as("calls.csv"), meant_as("calls-2026-03.csv.gz")
    ('calls', 'calls')
    >>> meant_as("calls_per_agent.csv") is None
    True
    """
    table = named_table(name)
    stem = name.lower().split(".", 1)[0].replace("-", "_").replace(" ", "_")
    rest = stem.removeprefix(table or "")
    return table if not rest.replace("_", "").strip("0123456789") else None


def named_sources(
    tables: Mapping[str, Sequence[Any] | Any] | None, stdin: BinaryIO | None
) -> Iterator[tuple[str, Source | Any]]:
    """Yield table and file, or table and frame, for what was named by its table.

    Raises:
        RuleError: There is no such table.
        TableError: There is no such file.
    """
    for table, given in (tables or {}).items():
        if table not in schema.TABLES:
            raise RuleError(
                f"There is no table '{table}'.{guess(table, schema.TABLES)} Tables "
                f"are {', '.join(schema.TABLES)}."
            )
        for item in _items(given):
            if not isinstance(item, (str, Path)):
                yield table, item
            elif str(item) == "-":
                yield table, _standard_input(table, stdin)
            else:
                for source in _sources(str(item)):
                    yield (
                        table,
                        Source(
                            display=source.display,
                            path=source.path,
                            member=source.member,
                            table=table,
                            hint=source.hint,
                            named=True,
                        ),
                    )


def _items(given: Any) -> Iterable[Any]:
    return given if isinstance(given, (list, tuple)) else (given,)


def _standard_input(table: str, stdin: BinaryIO | None) -> Source:
    if stdin is None:
        import sys  # noqa: PLC0415  # looked up when asked for, not at import

        stdin = sys.stdin.buffer
    # polars lets reads go on after Ctrl-C: an interrupt would wait for the next byte.
    signal.siginterrupt(signal.SIGINT, True)
    try:
        data = stdin.read()
    except OSError as error:
        raise TableError(
            f"Standard input can't be read ({error.strerror}). Pipe an export into it."
        ) from error
    if not data:
        raise TableError("Standard input is empty. Pipe an export into it.")
    return Source(display="-", data=data, table=table, named=True)
