"""A blind sheet for listening, and what listening said."""

from __future__ import annotations

import csv
import io
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy as sp

from kpiaudit.errors import TableError
from kpiaudit.frozen import frozen
from kpiaudit.outputs.csv import cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LISTENER = ("pattern_heard", "remarks")
_YES = {"1", "y", "yes", "true", "x", "confirmed"}
_NO = {"0", "n", "no", "false", "not confirmed"}
_SHOWN = {
    "call_id",
    "survey_id",
    "ticket_id",
    "order_id",
    "customer_id",
    "agent_id",
    "team_id",
    "site_id",
    "queue",
    "category",
    "priority",
    "channel",
    "direction",
    "wait_s",
    "station",
    "trunk",
    "started_at",
    "answered_at",
    "opened_at",
    "assigned_at",
    "due_at",
    "placed_at",
    "promised_at",
}
"""What finds a record again, or was fixed before the agent could act. Whatever came
later (a length, a stamp, a score, a reopening) may tell which records were flagged."""
_RECORD = ("call_id", "survey_id", "ticket_id", "order_id")
"""What names a record; the key repeats it, so that another sheet's is noticed."""
_KINDS = ("queue", "category", "channel")
_TIMES = ("started_at", "opened_at", "placed_at", "sent_at")


@frozen
class Sheet:
    """A blind sheet, and the key that stays with whoever asked for it.

    Args:
        blind: CSV for the listener.
        key: CSV that says which lines were flagged.
        flagged: Flagged records on the sheet.
        control: Control records on it.
    """

    blind: str
    key: str
    flagged: int
    control: int


@frozen
class Score:
    """What listening said.

    Args:
        flagged: Flagged records that were listened to.
        flagged_heard: Those in which the pattern was heard.
        control: Control records that were listened to.
        control_heard: Those in which the pattern was heard.
        unheard: Lines without an answer.
        p_value: Fisher's exact test, one-sided: the pattern is no more frequent among
            the flagged ones.
    """

    flagged: int
    flagged_heard: int
    control: int
    control_heard: int
    unheard: int
    p_value: float


def check_sheet(
    flagged: Sequence[Mapping[str, Any]],
    control: Sequence[Mapping[str, Any]],
    *,
    size: int,
    seed: str,
) -> Sheet:
    """Mix flagged records with matched controls, in an order that tells nothing.

    Controls are of the same subject, and of the same agent where the subject is more
    than one; those of the same queue and hour are taken first.

    Args:
        flagged: Readable rows behind the finding.
        control: Readable rows of the same subject that it does not rest on.
        size: Flagged records wanted, and as many controls.
        seed: Fixes the choice and the order, such as the finding's id.

    Raises:
        TableError: There are no control records: nothing to compare with.
    """
    if not flagged or not control:
        raise TableError(
            "There are no control records of the same subject, so listening could "
            "not be blind. Take a longer period."
        )
    chance = random.Random(seed)  # noqa: S311 - a reproducible order, no secret
    chosen = chance.sample(list(flagged), min(size, len(flagged)))
    matched = _matched(chosen, list(control), chance)
    lines = [(row, "flagged") for row in chosen] + [(row, "control") for row in matched]
    chance.shuffle(lines)
    names = [name for name in chosen[0] if name in _SHOWN]
    blind: list[list[Any]] = [
        ["line", *names, *LISTENER],
        *(
            [n, *(cell(row.get(name)) for name in names), "", ""]
            for n, (row, _) in enumerate(lines, start=1)
        ),
    ]
    record = [name for name in _RECORD if name in names][:1]
    key: list[list[Any]] = [
        ["line", "group", *record],
        *(
            [n, group, *(cell(row.get(name)) for name in record)]
            for n, (row, group) in enumerate(lines, start=1)
        ),
    ]
    return Sheet(
        blind=_csv(blind), key=_csv(key), flagged=len(chosen), control=len(matched)
    )


def _matched(
    chosen: list[Mapping[str, Any]],
    control: list[Mapping[str, Any]],
    chance: random.Random,
) -> list[Mapping[str, Any]]:
    chance.shuffle(control)
    taken: list[Mapping[str, Any]] = []
    for row in chosen:
        if not control:
            break
        best = max(range(len(control)), key=lambda i: _likeness(row, control[i]))
        taken.append(control.pop(best))
    return taken


def _likeness(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    kind = next((name for name in _KINDS if name in one), "queue")
    time = next((name for name in _TIMES if name in one), "started_at")
    hour = slice(11, 13)
    same_agent = one.get("agent_id") == other.get("agent_id")
    same_kind = one.get(kind) == other.get(kind)
    same_hour = str(one.get(time))[hour] == str(other.get(time))[hour]
    return 4 * same_agent + 2 * same_kind + same_hour


def _csv(rows: list[list[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def score_sheet(blind: str, key: str, *, where: str) -> Score:
    """Read a filled sheet and its key, and say whether listening bore the finding out.

    Args:
        blind: The filled sheet.
        key: The key.
        where: How messages name the sheet.

    Raises:
        TableError: A column is missing, an answer is neither yes nor no, or the two
            files do not belong together.
    """
    sheet, told = _lines(blind, where), _lines(key, f"the key of {where}")
    answers = _column(sheet, "pattern_heard", where)
    groups = _column(told, "group", f"the key of {where}")
    if set(answers) != set(groups):
        raise TableError(
            f"{where}: the sheet and the key have different lines "
            f"({_few(set(answers) ^ set(groups))})."
        )
    _same_records(sheet, told, where)
    heard = {"flagged": [0, 0], "control": [0, 0]}
    if not set(groups.values()) <= set(heard):
        raise TableError(f"the key of {where}: a group is neither flagged nor control.")
    unheard = 0
    for line, answer in answers.items():
        said = answer.strip().lower()
        if not said:
            unheard += 1
        elif said not in _YES | _NO:
            raise TableError(
                f"{where}, line {line}: '{answer}' is neither yes nor no. Write yes, "
                "no, or leave it empty."
            )
        else:
            tally = heard[groups[line]]
            tally[0] += 1
            tally[1] += said in _YES
    (flagged, flagged_heard), (control, control_heard) = heard.values()
    return Score(
        flagged=flagged,
        flagged_heard=flagged_heard,
        control=control,
        control_heard=control_heard,
        unheard=unheard,
        p_value=_fisher(flagged_heard, flagged, control_heard, control),
    )


def _lines(text: str, where: str) -> dict[str, dict[str, str]]:
    """Read a sheet as spreadsheets save it; rows that hold nothing are none."""
    text = text.lstrip("\ufeff")
    head = text.partition("\n")[0]
    # Spreadsheets save with what their country takes for a separator.
    mark = max(",;\t", key=head.count)
    out: dict[str, dict[str, str]] = {}
    for given in csv.DictReader(io.StringIO(text, newline=""), delimiter=mark):
        row = {
            name.strip().lower(): (value or "").strip()
            for name, value in given.items()
            if isinstance(name, str)
        }
        if not any(row.values()):
            continue
        if "line" not in row:
            raise TableError(f"{where}: it needs the column 'line'.")
        line = row["line"].removesuffix(".0")
        if line in out:
            raise TableError(
                f"{where}: line {line or 'without a number'} stands there twice."
            )
        out[line] = row
    return out


def _column(
    rows: Mapping[str, dict[str, str]], name: str, where: str
) -> dict[str, str]:
    if not rows or any(name not in row for row in rows.values()):
        raise TableError(f"{where}: it needs the columns 'line' and '{name}'.")
    return {line: row[name] for line, row in rows.items()}


def _few(lines: set[str]) -> str:
    ordered = sorted(lines, key=lambda line: (len(line), line))
    more = f" and {len(ordered) - 5} more" if len(ordered) > 5 else ""
    return f"{', '.join(ordered[:5])}{more}"


def _same_records(
    sheet: Mapping[str, dict[str, str]], key: Mapping[str, dict[str, str]], where: str
) -> None:
    """Refuse the key of another sheet, whose lines have the same numbers."""
    for name in _RECORD:
        pairs = [
            (sheet[line][name], row[name])
            for line, row in key.items()
            if name in row and name in sheet[line]
        ]
        if sum(not _same_id(*pair) for pair in pairs) > len(pairs) / 2:
            raise TableError(
                f"{where}: the key is another sheet's: their {name} differ."
            )


def _same_id(one: str, other: str) -> bool:
    """Compare ids as a spreadsheet leaves them: without zeros, or as 8,5E+15."""
    if one.lstrip("'0") == other.lstrip("'0"):
        return True
    try:
        a, b = (float(text.replace(",", ".")) for text in (one, other))
    except ValueError:
        return False
    return "e" in (one + other).lower() and abs(a - b) <= 0.01 * abs(b)


def _fisher(a: int, n: int, b: int, m: int) -> float:
    """Return P(A >= a), A hypergeometric with n of n + m drawn, a + b marked.

    Source:
        Fisher (1935), J. R. Stat. Soc. 98(1), 39-82.
    """
    if not n or not m:
        return float("nan")
    marked = a + b
    counts = np.arange(max(a, marked - m), min(n, marked) + 1, dtype=np.float64)

    def log_choose(top: float, low: Any) -> Any:
        return (
            sp.special.gammaln(top + 1)
            - sp.special.gammaln(low + 1)
            - sp.special.gammaln(top - low + 1)
        )

    logs = log_choose(n, counts) + log_choose(m, marked - counts)
    return float(min(1.0, np.exp(logs - log_choose(n + m, marked)).sum()))
