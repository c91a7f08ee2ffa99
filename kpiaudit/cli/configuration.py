"""`kpiaudit.yaml`: found upward from here, checked, made into defaults."""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import Any

import click

from kpiaudit.cli.writing import say
from kpiaudit.errors import RuleError, guess
from kpiaudit.frozen import frozen

FILE = "kpiaudit.yaml"
_WITHOUT = {
    *("init", "explain", "presets", "demo", "schema", "score-sheet", "completion"),
}
_OF_SCAN = {
    "formats",
    "output",
    "fail_on",
    "exit_zero",
    "baseline",
    "costs",
    "new_only",
    "placebo",
}
"""Other commands have an --output of their own: the report's is not meant for them."""
_LIST = ("paths", "rules", "select", "ignore", "format")
_PATHS = ("paths", "rules", "mapping", "output", "baseline")
KEYS = {
    "paths": "files, folders or globs to scan",
    "tables": "a file per table: {calls: cdr.csv}",
    "mapping": "which columns are which",
    "preset": "a mapping that ships with kpiaudit",
    "timezone": "zone of instants without an offset",
    "since": "first day",
    "until": "last day",
    "max_unreadable": "how damaged a file may be (share)",
    "engine": "what runs the aggregations",
    "rules": "more rule files or folders",
    "select": "only these rules or detectors",
    "ignore": "without these rules or detectors",
    "format": "text, json, ..., or json=FILE",
    "output": "file instead of standard output",
    "fail_on": "none, low, medium or high",
    "exit_zero": "turn exit status 1 into 0",
    "baseline": "a baseline file or an earlier JSON report",
    "costs": "unit costs: contact, reopened_ticket, lost_customer, currency",
    "placebo": "ask every rule where nothing is to be found",
    "new_only": "only new and worsened findings count",
    "suppress": "accepted findings: finding, reason, until, up_to",
}
_WITHOUT_VARIABLE = {"costs", "paths", "tables", "suppress"}
VARIABLES = {
    *(f"KPIAUDIT_{key.upper()}" for key in KEYS if key not in _WITHOUT_VARIABLE),
    "KPIAUDIT_CONFIG",
    "KPIAUDIT_COST",
    "KPIAUDIT_MAX_FIELD_MB",
    "KPIAUDIT_MAX_INFLATE_RATIO",
    "KPIAUDIT_MAX_JSON_DEPTH",
    "KPIAUDIT_MAX_JSON_MB",
    "KPIAUDIT_MEMORY_MB",
    "KPIAUDIT_TRACEBACK",
}
"""What the environment may say; another name with our prefix is most likely a slip."""


@frozen
class Configuration:
    """What a configuration file says; empty if there is none.

    Args:
        path: The file, or None.
        values: Its keys, paths made relative to the current folder.
    """

    path: Path | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def defaults(self) -> dict[str, Any]:
        """Return click's defaults by parameter name, the same for every command."""
        named = {k: v for k, v in self.values.items() if k != "suppress"}
        if "format" in named:
            named["formats"] = named.pop("format")
        return named


def find() -> Path | None:
    """Return the nearest `kpiaudit.yaml`, from the current folder upward."""
    try:
        here = Path.cwd()
    except OSError:
        return None
    for folder in (here, *here.parents):
        path = folder / FILE
        if path.is_file():
            return path
    return None


def read(path: Path) -> Configuration:
    """Read and check a configuration file.

    Raises:
        RuleError: It is absent, no YAML, or has a key or value that means nothing.
    """
    import yaml

    from kpiaudit.rulebook import load_yaml
    from kpiaudit.tables.plain_yaml import read_yaml

    try:
        text = path.read_text(encoding="utf-8")
        content = load_yaml(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(
            f"{path}: the configuration can't be read ({error}). Check --config."
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise RuleError(f"{path}: no valid YAML: {said}") from error
    read_yaml(text, where=str(path))  # refuses a key that stands twice, which is lost
    if content is None:
        return Configuration(path=path)
    if not isinstance(content, dict):
        raise RuleError(f"{path}: a configuration holds keys and values ('key: ...').")
    for key in content:
        if key not in KEYS:
            raise RuleError(
                f"{path}: unknown key '{key}'.{guess(str(key), KEYS)} "
                f"Known: {', '.join(KEYS)}."
            )
    values = {k: _value(k, v, path) for k, v in content.items() if v is not None}
    return Configuration(path=path, values=values)


def _value(key: str, value: Any, path: Path) -> Any:
    if key == "suppress":
        return value
    if key == "costs":
        if not isinstance(value, dict):
            raise RuleError(f"{path}: 'costs' holds an amount per name.")
        return [f"{name}={amount}" for name, amount in value.items()]
    if key == "tables":
        if not isinstance(value, dict):
            raise RuleError(f"{path}: 'tables' holds a file per table.")
        return [
            f"{table}={_relative(str(entry), path)}"
            for table, entries in value.items()
            for entry in (entries if isinstance(entries, list) else [entries])
        ]
    if key in _LIST:
        entries = value if isinstance(value, list) else [value]
        return [_located(key, str(entry), path) for entry in entries]
    if isinstance(value, dict | list):
        raise RuleError(f"{path}: '{key}' is one value, not several.")
    if isinstance(value, bool | float | int):
        return value
    return _located(key, str(value), path)


def _located(key: str, value: str, path: Path) -> str:
    if key == "format":
        name, separator, target = value.partition("=")
        return f"{name}={_relative(target, path)}" if separator else value
    return _relative(value, path) if key in _PATHS else value


def _relative(value: str, path: Path) -> str:
    """Return a path of the configuration file as seen from the current folder."""
    if value == "-" or Path(value).is_absolute():
        return value
    place = path.parent / value
    try:
        return str(place.relative_to(Path.cwd()))
    except ValueError:
        return str(place)


def install(ctx: click.Context, given: str | None) -> None:
    """Make the configuration file's values the defaults of every command.

    A file that nobody named is not read for commands that make no use of one: a slip
    in it must not stop `init --force` from writing another.
    """
    if ctx.invoked_subcommand in _WITHOUT and not given:
        return
    for name in sorted(os.environ):
        if name.startswith("KPIAUDIT_") and name not in VARIABLES:
            say(f"note: {name} means nothing to kpiaudit.{guess(name, VARIABLES)}")
    path = Path(given) if given else find()
    configuration = Configuration() if path is None else read(path)
    ctx.obj = configuration
    defaults = configuration.defaults()
    group = ctx.command
    commands = group.list_commands(ctx) if isinstance(group, click.Group) else []
    reading = {key: value for key, value in defaults.items() if key not in _OF_SCAN}
    ctx.default_map = {
        name: defaults if name == "scan" else reading for name in commands
    }
