"""The grammar of one mapped column, and of conditions on rows."""

from __future__ import annotations

from typing import Any

from kpiaudit.errors import RuleError, guess
from kpiaudit.tables import yamlvalues as yv
from kpiaudit.tables.mapping import UNITS, Case, Cell, Condition, When

_CELL = (
    *("column", "constant", "template", "date", "time", "absent_time", "after"),
    *("plus", "plus_unit", "cases", "values", "default", "null", "extract", "unit"),
    *("format", "timezone", "when", "optional", "origin"),
)
_TESTS = ("not", "above", "below", "present")


def read_cell(spec: dict[str, Any], where: str) -> Cell:
    """Read how one canonical column comes about.

    Raises:
        RuleError: A key, unit or value is not in the grammar.
    """
    yv.known_keys(spec, _CELL, where)
    ways = [k for k in ("column", "constant", "template", "date", "cases") if k in spec]
    if len(ways) != 1:
        raise RuleError(
            f"{where}: say where it comes from with exactly one of column, constant, "
            f"template, date (and time) or cases; {len(ways)} were given."
        )
    unit = spec.get("unit")
    templates = yv.texts(spec.get("template"), f"{where}, 'template'")
    for name in (unit, spec.get("plus_unit")):
        if name is not None and name not in UNITS:
            raise RuleError(
                f"{where}: there is no unit '{name}'.{guess(str(name), UNITS)} "
                f"Units are {', '.join(UNITS)}."
            )
    values, default, has_default = _values(spec, where)
    return Cell(
        columns=yv.texts(spec.get("column"), f"{where}, 'column'"),
        constant=yv.text(spec.get("constant"), where),
        template=templates[0] if templates else None,
        instead=templates[1:],
        date=yv.text(spec.get("date"), where),
        time=yv.text(spec.get("time"), where),
        absent_time=yv.texts(spec.get("absent_time"), f"{where}, 'absent_time'"),
        after=yv.text(spec.get("after"), where),
        plus=yv.texts(spec.get("plus"), f"{where}, 'plus'"),
        plus_unit=spec.get("plus_unit"),
        cases=_cases(spec.get("cases"), f"{where}, 'cases'"),
        values=values,
        default=default,
        has_default=has_default,
        null=yv.texts(spec.get("null"), f"{where}, 'null'"),
        extract=yv.pattern(spec.get("extract"), where),
        unit=unit,
        format=yv.texts(spec.get("format"), f"{where}, 'format'"),
        timezone=yv.zone(spec.get("timezone"), where),
        when=_when(spec.get("when"), f"{where}, 'when'"),
        optional=yv.truth(spec.get("optional"), f"{where}, 'optional'"),
    )


def _values(
    spec: dict[str, Any], where: str
) -> tuple[dict[str, str | None], str | None, bool]:
    block = spec.get("values") or {}
    if not isinstance(block, dict):
        raise RuleError(f"{where}: 'values' must map source codes to canonical ones.")
    values = {
        str(k).strip().casefold(): None if v is None else str(v)
        for k, v in block.items()
        if k != "*"
    }
    if "*" in block:
        return values, yv.text(block["*"], where), True
    return values, yv.text(spec.get("default"), where), "default" in spec


def _cases(block: Any, where: str) -> tuple[Case, ...]:
    if block is None:
        return ()
    if not isinstance(block, list) or not block:
        raise RuleError(f"{where} must be a list of 'when' with 'value' or 'column'.")
    found: list[Case] = []
    for item in block:
        yv.known_keys(item, ("when", "value", "column"), where)
        if ("value" in item) == ("column" in item):
            raise RuleError(f"{where}: each case has either a 'value' or a 'column'.")
        found.append(
            Case(
                when=_when(item.get("when"), where),
                value=yv.text(item.get("value"), where),
                column=yv.text(item.get("column"), where),
            )
        )
    return tuple(found)


def groups(block: Any, where: str) -> tuple[When, ...]:
    """Read `drop` or `only`: one block of conditions, or a list of them."""
    if block is None:
        return ()
    items = block if isinstance(block, list) else [block]
    return tuple(_when(item, where) for item in items)


def _when(block: Any, where: str) -> When:
    if block is None:
        return ()
    if not isinstance(block, dict) or not block:
        raise RuleError(f"{where} must map source columns to what they hold.")
    return tuple(_condition(str(k), v, where) for k, v in block.items())


def _condition(column: str, test: Any, where: str) -> Condition:
    where = f"{where}, '{column}'"
    if not isinstance(test, dict):
        return Condition(column=column, any_of=yv.folded(test, where))
    yv.known_keys(test, _TESTS, where)
    return Condition(
        column=column,
        none_of=yv.folded(test["not"], where) if "not" in test else None,
        above=yv.number(test.get("above"), where),
        below=yv.number(test.get("below"), where),
        present=yv.truth(test["present"], where) if "present" in test else None,
    )
