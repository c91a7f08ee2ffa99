"""Rule files to rules: a detector, its parameters, its severity and thresholds."""

from __future__ import annotations

import dataclasses
import datetime
import math
import types
import typing
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kpiaudit.detectors import catalogue, sources
from kpiaudit.errors import RuleError, guess
from kpiaudit.findings import Severity
from kpiaudit.frozen import frozen
from kpiaudit.tables import schema
from kpiaudit.tables.plain_yaml import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kpiaudit.detectors.base import Detector

_KEYS = ("rule", "detector", "severity", "params", "where", "since", "report", "doc")
_REPORT_KEYS = ("max_q", "min_effect")
_MAX_BYTES = 1_000_000
_Fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@frozen
class Rule:
    """A detector, tuned.

    Args:
        id: Id of the rule.
        detector: The detector with its parameters.
        severity: Ceiling that the measured harm lowers.
        where: Rows to look at: allowed values per column of the detector's table.
        max_q: Findings need a q-value no larger than this.
        min_effect: The hypothesis is an effect no larger than this, in the detector's
            unit; None stands for the detector's default.
        source: The file that it came from.
    """

    id: str
    detector: Detector
    severity: Severity = Severity.MEDIUM
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_q: float = 0.05
    min_effect: float | None = None
    source: str = ""

    @property
    def asked(self) -> str:
        """The rows that `where` asks for: a slip there looks like missing data."""
        each = [f"{name} {' or '.join(values)}" for name, values in self.where.items()]
        return f" where {', '.join(each)}" if each else ""


def shipped_folder() -> Path:
    """Return the folder of the shipped rules, in a wheel or in a checkout."""
    here = Path(__file__).parent
    packed = here / "_rules"
    return packed if packed.is_dir() else here.parent / "rules"


def read_rules(
    more: Iterable[str | Path] = (),
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> tuple[Rule, ...]:
    """Read the shipped rules and more; a rule with a known id replaces that rule.

    Args:
        more: Rule files or folders of them.
        select: Ids of rules or detectors to keep; empty keeps all.
        ignore: Ids of rules or detectors to leave out.

    Returns:
        The rules that are left, sorted by id.

    Raises:
        RuleError: A file is absent or wrong, an id is unknown, or nothing is left.
        DetectorError: A rule names a detector that there is not.
    """
    rules = {rule.id: rule for rule in _read_path(shipped_folder(), {}, ours=True)}
    shipped = {rule.detector.id: rule for rule in rules.values()}
    for path in more:
        rules |= {rule.id: rule for rule in _read_path(Path(path), shipped)}
    known = {*rules, *(rule.detector.id for rule in rules.values())}
    for name in (*select, *ignore):
        if name not in known:
            raise RuleError(
                f"There is no rule or detector '{name}'.{guess(name, known)} "
                "'kpiaudit rules' lists them."
            )
    kept = [
        rule
        for _, rule in sorted(rules.items())
        if (not select or {rule.id, rule.detector.id} & set(select))
        and not {rule.id, rule.detector.id} & set(ignore)
    ]
    if not kept:
        raise RuleError("No rule is left to run. Loosen --select or --ignore.")
    return tuple(kept)


def columns_of(rules: Iterable[Rule]) -> frozenset[str]:
    """Return every column (`table.column`) that rules may read."""
    found: set[str] = set()
    for rule in rules:
        detector = rule.detector
        found |= {*detector.needs, *detector.uses}
        for one in detector.explanations:
            found |= {*one.columns, *one.either}
        if detector.restates:
            found |= {f"calls.{name}" for name in ("wait_s", "hold_s", "wrap_s")}
        # Whom a finding is about, and where that person belongs.
        found |= sources.columns_of(detector.table)
        mine = ("agent_id", "team_id", "site_id", *rule.where)
        found |= {f"{detector.table}.{name}" for name in mine}
    # By these, legs are ordered that began at one instant.
    found |= {"calls.answered_at", "calls.ended_at"}
    for table in sources.ROSTERS:
        found |= {f"{table}.agent_id", f"{table}.team_id"}
    return frozenset(found)


def _read_path(
    path: Path, shipped: Mapping[str, Rule], *, ours: bool = False
) -> list[Rule]:
    if path.is_dir():
        files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        if not files:
            raise RuleError(f"{path}: no rule file (*.yaml) in this folder.")
        return [rule for file in files for rule in read_file(file, shipped, ours=ours)]
    return read_file(path, shipped)


def read_file(
    path: Path, shipped: Mapping[str, Rule] | None = None, *, ours: bool = False
) -> list[Rule]:
    """Read one rule file.

    Args:
        path: The file.
        shipped: The shipped rule of each detector, which says what a rule leaves out:
            its severity and thresholds.
        ours: Whether the file is a part of kpiaudit: read by the faster parser.

    Raises:
        RuleError: It is absent, no YAML, too large, or says something unknown.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(
            f"{path}: the rule file can't be read ({error}). Check --rules."
        ) from error
    if len(text) > _MAX_BYTES:
        raise RuleError(f"{path}: larger than 1 MB. Split the rule file.")
    try:
        content = yaml.load(text, Loader=_Fast) if ours else load_yaml(text)  # noqa: S506 - a safe loader, of libyaml
    except yaml.YAMLError as error:
        raise RuleError(f"{path}: no valid YAML: {_first_line(error)}") from error
    if not isinstance(content, list):
        raise RuleError(f"{path}: a rule file is a list of rules ('- rule: ...').")
    # Values to compare ids with are read as text: 007 is not 7, and NO is not false.
    as_text = read_yaml(text, where=str(path), shipped=ours)
    rules = [
        _rule(entry, plain, path, shipped or {})
        for entry, plain in zip(content, as_text, strict=True)
    ]
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise RuleError(f"{path}: the rule '{rule.id}' stands there twice.")
        seen.add(rule.id)
    return rules


def load_yaml(text: str) -> Any:
    """Read YAML without aliases: a few of them can fill a machine's memory."""
    try:
        return _load_plain(text)
    except RecursionError as error:
        raise yaml.YAMLError("nested too deep") from error


def _load_plain(text: str) -> Any:
    # An alias is written with an asterisk: without one there is nothing to look for.
    for token in yaml.scan(text, Loader=yaml.SafeLoader) if "*" in text else ():
        if isinstance(token, yaml.AliasToken):
            raise yaml.YAMLError(
                f"aliases (*{token.value}) are not allowed, line "
                f"{token.start_mark.line + 1}"
            )
    try:
        return yaml.safe_load(text)
    except ValueError as error:  # what looks like a date and is none: 2026-13-40
        raise yaml.YAMLError(f"a date that does not exist ({error})") from error


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _rule(entry: Any, plain: Any, path: Path, shipped: Mapping[str, Rule]) -> Rule:
    if not isinstance(entry, dict) or not isinstance(entry.get("rule"), str):
        raise RuleError(f"{path}: every entry needs 'rule: its-id' (text).")
    where = f"{path}, rule '{entry['rule']}'"
    _check_keys(entry, _KEYS, where, "key")
    report = _mapping(entry, "report", where)
    _check_keys(report, _REPORT_KEYS, f"{where}, report", "key")
    kind = catalogue.detector(str(entry.get("detector", entry["rule"])), where=where)
    params = dict(_mapping(entry, "params", where))
    since = _since(entry.get("since"), where)
    if since is not None:
        params["since"] = since
    detector = _build(kind, params, where)
    usual = shipped.get(kind.id, Rule(id=kind.id, detector=detector))
    return Rule(
        id=entry["rule"],
        detector=detector,
        severity=_severity(entry.get("severity", usual.severity.word), where),
        where=_conditions(_mapping(plain, "where", where), detector.table, where),
        max_q=_number(report.get("max_q"), f"{where}, max_q", 0, 1) or usual.max_q,
        min_effect=_number(
            report.get("min_effect", usual.min_effect), f"{where}, min_effect", 0, None
        ),
        source=str(path),
    )


def _mapping(entry: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = entry.get(key) or {}
    if not isinstance(value, dict):
        raise RuleError(f"{where}: '{key}' holds names and values ('{key}: {{...}}').")
    return value


def _check_keys(
    entry: Mapping[str, Any], known: Sequence[str], where: str, what: str
) -> None:
    for key in entry:
        if key not in known:
            raise RuleError(
                f"{where}: unknown {what} '{key}'.{guess(str(key), known)} "
                f"Known: {', '.join(known)}."
            )


def _since(value: Any, where: str) -> str | None:
    if value is None:
        return None
    try:
        day = (
            value
            if isinstance(value, datetime.date)
            else datetime.date.fromisoformat(str(value))
        )
    except ValueError as error:
        raise RuleError(
            f"{where}: 'since: {value}' is no day. Write it as 2026-04-01."
        ) from error
    return day.isoformat()[:10]


def _severity(value: Any, where: str) -> Severity:
    try:
        return Severity[str(value).upper()]
    except KeyError:
        raise RuleError(
            f"{where}: severity is low, medium or high, not '{value}'."
        ) from None


def _number(
    value: Any, where: str, low: float | None, high: float | None
) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RuleError(f"{where}: '{value}' is no number.")
    _check_finite(value, where)
    if (low is not None and value < low) or (high is not None and value > high):
        raise RuleError(f"{where}: {value} is out of range.")
    return float(value)


def _check_finite(value: Any, where: str) -> None:
    """Refuse nan and inf, which no comparison with a bound refuses."""
    if isinstance(value, float) and not math.isfinite(value):
        raise RuleError(f"{where}: {value} is out of range. Write a finite number.")


def _conditions(
    entry: Mapping[str, Any], table: str, where: str
) -> dict[str, tuple[str, ...]]:
    known = [column.name for column in schema.TABLES[table]]
    _check_keys(entry, known, f"{where}, where", f"column of '{table}'")
    return {
        column: tuple(str(v) for v in (value if isinstance(value, list) else [value]))
        for column, value in entry.items()
    }


def _build(kind: type[Detector], params: dict[str, Any], where: str) -> Detector:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    _check_keys(params, tuple(fields), where, "parameter")
    hints = typing.get_type_hints(kind)
    for name, value in params.items():
        params[name] = _typed(value, hints[name], f"{where}, {name}")
        _check_finite(params[name], f"{where}, {name}")
        low = fields[name].metadata.get("low")
        if low is not None and params[name] is not None and params[name] < low:
            raise RuleError(f"{where}, {name}: {value} is below {low}.")
    return kind(**params)


_TYPE_WORDS = {
    "float": "number",
    "int": "whole number",
    "str": "text",
    "bool": "true or false",
    "tuple": "list",
    "NoneType": "null",
}


def _typed(value: Any, hint: Any, where: str) -> Any:
    allowed = typing.get_args(hint) if _is_union(hint) else (hint,)
    if value is None and type(None) in allowed:
        return None
    if float in allowed and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        value = tuple(value)
    plain = tuple(typing.get_origin(kind) or kind for kind in allowed)
    if not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain):
        names = [getattr(kind, "__name__", str(kind)) for kind in plain]
        said = " or ".join(_TYPE_WORDS.get(name, name) for name in names)
        raise RuleError(f"{where}: '{value}' is no {said}.")
    return value


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in {typing.Union, types.UnionType}
