"""`kpiaudit schema`: the JSON Schemas, printed or applied to a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from kpiaudit.cli.ending import Failed
from kpiaudit.cli.writing import say, write
from kpiaudit.errors import TableError

KINDS = ("report", "finding", "baseline")
_SHOWN = 5


@click.command("schema")
@click.argument("kind", type=click.Choice(KINDS), default="report", metavar="[KIND]")
@click.option(
    "--check",
    "file",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="Instead of printing it, say whether FILE keeps to it (- is standard input). "
    "A file of findings may have one on each line, as ndjson has. Exit status 0 if it "
    "does, 3 if it does not.",
)
def command(kind: str, file: str | None) -> None:
    """Print a JSON Schema, or check a file against it.

    KIND is `report` (what --format json prints; the default), `finding` (a line of
    --format ndjson) or `baseline` (what `kpiaudit baseline update` writes).
    """
    schema = _schema(kind)
    if file is None:
        write(json.dumps(schema, indent=2) + "\n", None)
        return
    from kpiaudit.outputs.conform import faults

    documents = _documents(file, lines=kind == "finding")
    found = [
        f"{place}{fault}"
        for place, document in documents
        for fault in faults(document, schema)
    ]
    for fault in found[:_SHOWN]:
        say(fault)
    if found:
        more = f", the first {_SHOWN} above" if len(found) > _SHOWN else ""
        raise Failed(3, f"{file} is no {schema['title']}: {len(found)} faults{more}")
    what = f"{len(documents)} times " if kind == "finding" else ""
    say(f"{file}: {what}{schema['title']}")


def _schema(kind: str) -> dict[str, Any]:
    if kind == "baseline":
        from kpiaudit.history.baseline import baseline_schema

        return baseline_schema()
    from kpiaudit.outputs.schema import line_schema, report_schema

    return line_schema() if kind == "finding" else report_schema()


def _documents(file: str, *, lines: bool) -> list[tuple[str, Any]]:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = data.decode()
    except OSError as error:
        raise TableError(f"{file}: it can't be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise TableError(f"{file}: no UTF-8 text ({error.reason}).") from error
    pieces = text.removesuffix("\n").split("\n") if lines else [text]
    if lines and not text:
        return []  # ndjson without findings is empty
    return [
        (f"line {number}: " if lines else "", _parsed(piece, file, number))
        for number, piece in enumerate(pieces, 1)
    ]


def _parsed(text: str, file: str, line: int) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise TableError(f"{file}: nested too deep for a report.") from error
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno - 1}, column {error.colno}"
        raise TableError(f"{file}: no JSON ({error.msg}; {where}).") from error
