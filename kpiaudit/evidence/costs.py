"""Harm in money, for a team, a site, a queue or the floor; never for a person."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from kpiaudit.errors import RuleError, guess
from kpiaudit.findings import Cost
from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kpiaudit.evidence.runs import Run
    from kpiaudit.findings import Finding

KINDS = ("team", "site", "queue", "floor")
"""Subjects whose harm may be put into money."""

_REPEATS = ("repeat contact within 7 days", "repeat contact within 24 h")
_LEAVING = ("churn within 14 days", "cancellation within 14 days")

_Range = tuple[float, float, float]
"""Value, lower and upper end."""


@frozen
class UnitCosts:
    """What one of each costs the company; None where that is not said.

    Args:
        contact: A customer's contact that had to be handled once more.
        reopened_ticket: A ticket that had to be taken up again.
        lost_customer: A customer who left.
        currency: Of all three, as a code of three letters.
    """

    contact: float | None = None
    reopened_ticket: float | None = None
    lost_customer: float | None = None
    currency: str = ""


_AMOUNTS = tuple(f.name for f in fields(UnitCosts) if f.name != "currency")


def read_costs(given: Mapping[str, object], *, where: str) -> UnitCosts | None:
    """Check unit costs as the configuration or the command line gives them.

    Args:
        given: Amounts by name, and `currency`.
        where: How messages name the place.

    Returns:
        The costs; None if there are none.

    Raises:
        RuleError: An unknown name, an amount that is none, or no currency.
    """
    if not given:
        return None
    names = (*_AMOUNTS, "currency")
    for name in given:
        if name not in names:
            raise RuleError(
                f"{where}: unknown cost '{name}'.{guess(str(name), names)} "
                f"Known: {', '.join(names)}."
            )
    currency = str(given.get("currency", ""))
    if not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise RuleError(
            f"{where}: 'currency' is a code of three capital letters, such as EUR."
        )
    amounts = {n: _amount(n, given[n], where) for n in _AMOUNTS if n in given}
    return UnitCosts(**amounts, currency=currency)


def _amount(name: str, value: object, where: str) -> float:
    try:
        amount = float(str(value))
    except ValueError:
        amount = math.nan
    if not (math.isfinite(amount) and amount >= 0) or isinstance(value, bool):
        raise RuleError(
            f"{where}: '{name}' is an amount of money of 0 or more, not '{value}'."
        )
    return amount


def add_costs(runs: Iterable[Run], costs: UnitCosts | None) -> None:
    """Put the harm of findings into money, where unit costs are known.

    What counts is what the records in excess caused: the second contact of a caller
    who was hung up on, the ticket that came back, contacts and departures beyond those
    that follow innocent records.

    Args:
        runs: Rules with their findings, corroborated.
        costs: Unit costs; None for none.
    """
    if costs is None:
        return
    for run in runs:
        direct = run.rule.detector.unit_cost
        days = run.rule.detector.days_each(run.found)
        run.findings[:] = [_costed(f, direct, costs, days) for f in run.findings]


def _costed(finding: Finding, direct: str, costs: UnitCosts, days: float) -> Finding:
    if finding.subject.kind not in KINDS:
        return finding
    effect = finding.effect
    if effect.value is None or effect.low is None or effect.high is None:
        return finding
    excess = (
        days * max(effect.value, 0.0),
        days * max(effect.low, 0.0),
        days * max(effect.high, 0.0),
    )
    parts: list[tuple[_Range, str]] = []
    if direct:
        unit = getattr(costs, direct)
        if unit is not None:
            parts.append((_scaled(excess, unit), f"one more {direct} each"))
    elif costs.contact is not None:
        parts += _followed(finding, excess, _REPEATS, costs.contact)
    if costs.lost_customer is not None:
        parts += _followed(finding, excess, _LEAVING, costs.lost_customer)
    if not parts:
        return finding
    value, low, high = _sum([amount for amount, _ in parts])
    return replace(
        finding,
        cost=Cost(
            value=value,
            low=low,
            high=high,
            currency=costs.currency,
            basis="; ".join(words for _, words in parts),
        ),
    )


def _scaled(excess: _Range, unit: float) -> _Range:
    return excess[0] * unit, excess[1] * unit, excess[2] * unit


def _followed(
    finding: Finding, excess: _Range, names: tuple[str, ...], unit: float
) -> list[tuple[_Range, str]]:
    """Cost the records in excess that were followed by something beyond innocence."""
    heard = {c.source: c.effect for c in finding.corroboration}
    for name in names:
        effect = heard.get(name)
        if effect is None or None in (effect.value, effect.low, effect.high):
            continue
        share = tuple(
            max(x or 0.0, 0.0) for x in (effect.value, effect.low, effect.high)
        )
        return [(_scaled(_product(excess, share), unit), name)]  # type: ignore[arg-type]
    return []


def _product(one: _Range, other: _Range) -> _Range:
    """Multiply two independent estimates; half-widths add up in squares.

    Source:
        Ku (1966), J. Res. NBS 70C:263-273 (propagation of error).
    """
    value = one[0] * other[0]
    down = math.hypot((one[0] - one[1]) * other[0], (other[0] - other[1]) * one[0])
    up = math.hypot((one[2] - one[0]) * other[0], (other[2] - other[0]) * one[0])
    return value, max(value - down, 0.0), value + up


def _sum(amounts: list[_Range]) -> _Range:
    """Add amounts; both rest on the same excess, so their half-widths are added too."""
    value, low, high = (sum(a[i] for a in amounts) for i in range(3))
    return value, low, high
