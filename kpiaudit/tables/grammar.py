"""Mapping files and presets from YAML to `SourceMapping`, each slip answered."""

from __future__ import annotations

import difflib
import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpiaudit.errors import RuleError, guess
from kpiaudit.tables import schema
from kpiaudit.tables import yamlvalues as yv
from kpiaudit.tables.assembly import ASSEMBLIES
from kpiaudit.tables.cellgrammar import groups, read_cell
from kpiaudit.tables.mapping import Cell, Keep, SourceMapping, Target
from kpiaudit.tables.plain_yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOP = (
    *("name", "about", "confidence", "evidence", "notes", "headers", "tables"),
    *("header", "skip_rows", "encoding", "separator", "timezone", "null"),
    *("records", "explode", "assemble", "complete", "optional"),
)
_BODY = (
    *("table", "columns", "values", "units", "drop", "only", "keep", "origin"),
    *("canonical", "fill"),
)
_KEEP = re.compile(r"newest by (?P<by>.+?)(?: per (?P<per>.+))?", re.IGNORECASE)


def read_mappings(path: str | Path) -> tuple[SourceMapping, ...]:
    """Read a mapping file: one mapping, a list, or several YAML documents.

    Raises:
        RuleError: The file is absent, no YAML, or not in the grammar.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise RuleError(
            f"{path}: there is no such mapping file. Check --mapping."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(
            f"{path}: the mapping file can't be read ({error}). Save it as UTF-8 text."
        ) from error
    found = tuple(
        read_mapping(item, where=str(path), fallback=path.stem)
        for item in read_yaml(text, where=str(path))
    )
    if not found:
        raise RuleError(f"{path}: the mapping file is empty. See docs/mapping.md.")
    return found


@cache
def read_presets() -> tuple[SourceMapping, ...]:
    """Read the presets that ship with kpiaudit, once a process, sorted by name."""
    folder = resources.files("kpiaudit.tables").joinpath("presets")
    if not folder.is_dir():
        return ()
    found: list[SourceMapping] = []
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith((".yaml", ".yml")):
            where = f"preset {file.name}"
            items = read_yaml(
                file.read_text(encoding="utf-8"), where=where, shipped=True
            )
            stem = file.name.rsplit(".", 1)[0]
            found += [
                read_mapping(item, where=where, fallback=stem, shipped=True)
                for item in items
            ]
    return tuple(sorted(found, key=lambda m: m.name))


def preset_text(name: str) -> str:
    """Return the file of a preset, to be saved as a mapping and changed.

    A mapping's columns have to be there unless it says otherwise, so that no slip of
    the pen goes unnoticed; a preset's own may be absent. They are named at its end.

    Raises:
        RuleError: There is no such preset.
    """
    known = {preset.name: preset for preset in read_presets()}
    if name not in known:
        raise no_preset(name, list(known))
    folder = resources.files("kpiaudit.tables").joinpath("presets")
    text = folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    needed = [n for n in known[name].needs() if n not in known[name].headers]
    if known[name].assemble or not needed:
        return text
    return (
        f"{text}\n# Columns that the file may lack; those that you add have to be "
        f"there.\noptional: {json.dumps(needed, ensure_ascii=False)}\n"
    )


def no_preset(name: str, names: Sequence[str]) -> RuleError:
    """Return what is to be said of the name of a preset that does not exist."""
    platform = {n.partition("-")[0]: n for n in names}
    start = next(iter(difflib.get_close_matches(name.lower(), platform, n=1)), name)
    alike = [n for n in names if n.startswith(start.partition("-")[0].lower())]
    near = f" Those for it are {', '.join(alike)}." if alike else guess(name, names)
    if len(alike) == 1:
        near = f" Did you mean '{alike[0]}'?"
    return RuleError(
        f"There is no preset '{name}'.{near} 'kpiaudit presets' lists all {len(names)}."
    )


def read_mapping(
    item: Any, *, where: str, fallback: str, shipped: bool = False
) -> SourceMapping:
    """Read one mapping from parsed YAML.

    Args:
        item: A map in the grammar of docs/mapping.md.
        where: How messages name the file.
        fallback: Name of the mapping unless it has one.
        shipped: Whether it is a preset.

    Raises:
        RuleError: A key, table, column, unit or value is not in the grammar.
    """
    yv.known_keys(item, (*_TOP, *_BODY), where)
    name = str(item.get("name", fallback))
    where = f"{where}, mapping '{name}'"
    targets = _targets(item, where)
    assemble = _assemble(item, targets, where) or None
    header = yv.texts(item.get("header"), f"{where}, 'header'")
    zone = yv.zone(item.get("timezone"), where)
    separator = item.get("separator")
    if separator is not None:
        separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
        if len(separator) != 1:
            raise RuleError(
                f"{where}: 'separator' is '{separator}'. Give one character, or 'tab'."
            )
    return SourceMapping(
        name=name,
        targets=targets,
        headers=yv.texts(item.get("headers"), f"{where}, 'headers'"),
        where=where,
        header=header,
        optional=yv.texts(item.get("optional"), f"{where}, 'optional'"),
        skip_rows=yv.whole(item.get("skip_rows"), f"{where}, 'skip_rows'"),
        encoding=item.get("encoding"),
        separator=separator,
        timezone=zone,
        null=yv.texts(item.get("null"), f"{where}, 'null'"),
        records=item.get("records"),
        explode=yv.texts(item.get("explode"), f"{where}, 'explode'"),
        complete=groups(item.get("complete"), f"{where}, 'complete'"),
        assemble=assemble,
        takes=ASSEMBLIES[assemble].takes if assemble else (),
        about=str(item.get("about", "")),
        confidence=str(item.get("confidence", "")),
        notes=yv.texts(item.get("notes"), f"{where}, 'notes'"),
        shipped=shipped,
    )


def _assemble(item: dict[str, Any], targets: tuple[Target, ...], where: str) -> str:
    """Return the name of the code that makes the rows, or nothing.

    Raises:
        RuleError: There is no such code, or it makes no such column.
    """
    name = str(item.get("assemble") or "")
    if name and name not in ASSEMBLIES:
        raise RuleError(
            f"{where}: 'assemble' is '{name}'.{guess(name, ASSEMBLIES)} It may be "
            f"{' or '.join(ASSEMBLIES)}."
        )
    for target in targets if name else ():
        made = ASSEMBLIES[name].gives.get(target.table, ())
        for column in target.needs():
            if column not in made:
                raise RuleError(
                    f"{where}: '{name}' makes no column '{column}' for "
                    f"{target.table}.{guess(column, made)} It makes "
                    f"{', '.join(made) or 'no such table'}."
                )
    return name


def _targets(item: dict[str, Any], where: str) -> tuple[Target, ...]:
    if ("table" in item) == ("tables" in item):
        raise RuleError(
            f"{where}: give either 'table' with its 'columns', or 'tables' with one "
            "block a table."
        )
    if "table" in item:
        body = {k: v for k, v in item.items() if k in _BODY}
        return (_target(str(item["table"]), body, where),)
    tables = item["tables"]
    if not isinstance(tables, dict) or not tables:
        raise RuleError(f"{where}: 'tables' must map a table to its block.")
    stray = [k for k in _BODY if k in item and k != "table"]
    if stray:
        raise RuleError(
            f"{where}: '{stray[0]}' stands beside 'tables'; move it into the block of "
            "the table that it belongs to."
        )
    return tuple(_target(str(k), v, where) for k, v in tables.items())


def _target(table: str, body: Any, where: str) -> Target:
    where = f"{where}, table '{table}'"
    if table not in schema.TABLES:
        raise RuleError(
            f"{where}: there is no such table.{guess(table, schema.TABLES)} "
            f"Tables are {', '.join(schema.TABLES)}."
        )
    yv.known_keys(body, _BODY, where)
    columns = body.get("columns") or {}
    canonical = yv.truth(body.get("canonical"), f"{where}, 'canonical'")
    if not isinstance(columns, dict) or not (columns or canonical):
        raise RuleError(f"{where}: 'columns' must map canonical to source columns.")
    cells, origins = _cells(columns, body, table, where)
    return Target(
        table=table,
        cells=cells,
        drop=groups(body.get("drop"), f"{where}, 'drop'"),
        only=groups(body.get("only"), f"{where}, 'only'"),
        keep=_keep(body.get("keep"), table, where),
        fill=yv.truth(body.get("fill"), f"{where}, 'fill'"),
        canonical=canonical,
        origins=origins,
    )


def _cells(
    columns: dict[str, Any], body: dict[str, Any], table: str, where: str
) -> tuple[dict[str, Cell], dict[str, str]]:
    """Read the cells of a table, and who wrote them where that is said."""
    values = _blocks(body.get("values"), table, f"{where}, 'values'")
    units = _blocks(body.get("units"), table, f"{where}, 'units'")
    origins = _blocks(body.get("origin"), table, f"{where}, 'origin'")
    for block, named in (("values", values), ("units", units)):
        for name in named:
            if name not in columns:
                raise RuleError(
                    f"{where}: '{block}' names '{name}', which 'columns' does not map."
                )
    cells: dict[str, Cell] = {}
    for name, spec in columns.items():
        _column(table, name, where)
        full = dict(spec) if isinstance(spec, dict) else {"column": spec}
        full |= {"values": values[name]} if name in values else {}
        full |= {"unit": units[name]} if name in units else {}
        if "origin" in full:
            origins[name] = full.pop("origin")
        cells[name] = read_cell(full, f"{where}, column '{name}'")
    for name, origin in origins.items():
        if origin not in schema.ORIGINS:
            raise RuleError(
                f"{where}, origin of '{name}': '{origin}' is none."
                f"{guess(str(origin), schema.ORIGINS)} Origins are "
                f"{', '.join(schema.ORIGINS)}."
            )
    return cells, origins


def _keep(text: Any, table: str, where: str) -> Keep | None:
    if text is None:
        return None
    match = _KEEP.fullmatch(str(text).strip())
    if not match:
        raise RuleError(
            f"{where}: 'keep' is '{text}'. Write 'newest by COLUMN', or 'newest by "
            "COLUMN per call_id, agent_id'."
        )
    per = tuple(p.strip() for p in (match["per"] or "").split(",") if p.strip())
    if len(per) == 1 and per[0] not in schema.names(table):
        return Keep(column=match["by"].strip(), record=per[0])
    for name in per:
        _column(table, name, f"{where}, 'keep'")
    if not per and schema.key(table) is None:
        raise RuleError(f"{where}: 'keep' needs 'per COLUMNS': {table} has no key.")
    return Keep(column=match["by"].strip(), per=per)


def _blocks(block: Any, table: str, where: str) -> dict[str, Any]:
    if block is None:
        return {}
    if not isinstance(block, dict):
        raise RuleError(f"{where} must map canonical columns to their entries.")
    found = {str(k).removeprefix(f"{table}."): v for k, v in block.items()}
    for name in found:
        _column(table, name, where)
    return found


def _column(table: str, name: str, where: str) -> None:
    known = schema.names(table)
    if name not in known:
        raise RuleError(
            f"{where}: {table} has no column '{name}'.{guess(str(name), known)}"
        )
