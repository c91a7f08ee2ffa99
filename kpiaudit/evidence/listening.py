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
_KINDS = ("queue", "category", "channel")
_TIMES = ("started_at", "opened_at", "placed_at")


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

    Controls are of the same subject; those of the same queue and hour are taken first.

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
    key: list[list[Any]] = [
        ["line", "group"],
        *([n, group] for n, (_, group) in enumerate(lines, start=1)),
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
    same_kind = one.get(kind) == other.get(kind)
    return 2 * same_kind + (str(one.get(time))[hour] == str(other.get(time))[hour])


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
    answers = _column(blind, "pattern_heard", where)
    groups = _column(key, "group", f"the key of {where}")
    if set(answers) != set(groups):
        raise TableError(f"{where}: the sheet and the key have different lines.")
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


def _column(text: str, name: str, where: str) -> dict[str, str]:
    text = text.lstrip("\ufeff")
    head = text.partition("\n")[0]
    # Spreadsheets save with what their country takes for a separator.
    mark = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=mark)
    if not {"line", name} <= set(reader.fieldnames or ()):
        raise TableError(f"{where}: it needs the columns 'line' and '{name}'.")
    rows = [(row["line"] or "", row[name] or "") for row in reader]
    if len(dict(rows)) < len(rows):
        raise TableError(f"{where}: a line stands there twice.")
    return dict(rows)


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
