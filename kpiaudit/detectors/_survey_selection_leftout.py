"""How many were not invited after any sign of trouble, and what they would have said.

One sign shows a part of the trouble only, and several overlap: what each of them misses
can't be added up. Contacts with at least one sign are therefore counted once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np

from kpiaudit.detectors._survey_selection_counts import STRATA, signs_of
from kpiaudit.detectors._survey_selection_log import flag, total
from kpiaudit.frozen import frozen
from kpiaudit.stats import odds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kpiaudit.detectors.base import Found, Row, Summary
    from kpiaudit.stats.outcome import BoolArray, FloatArray, IntArray
    from kpiaudit.tables.dataset import Dataset, Frame

_Z = 1.959964
_PARTS = ("invited", "answers", "score")
_CALM = 0.05
"""Agents with a smaller p-value are nobody's yardstick here."""
_LEAN = 20.0
"""So many answers of the agent count as much as what all agents have in common."""
_LEAST, _FEWEST = 5.0, 20.0
"""Fewest answers of the agent's customers without trouble, and of all agents'."""
_USUAL_SPREAD = 0.2
"""Honest differences in the log odds, where the test gives none."""
_BOTH = {
    "invited": "some_invited",
    "answers": "some_answers",
    "score_milli": "some_score",
}
"""Counts of all contacts, and of those with a sign of trouble."""


@frozen
class LeftOut:
    """Contacts that peers would have invited, and their answers.

    Args:
        invitations: Number withheld, and the ends of its 95 % interval.
        sign: The sign after which customers are least content.
        rate: Share of them that would have answered, and its error.
        score: Their mean score, in thousandths, and its error.
        scatter: Standard deviation of one such score.
    """

    invitations: tuple[float, float, float]
    sign: str
    rate: tuple[float, float]
    score: tuple[float, float]
    scatter: float


def needed(frame: Frame, data: Dataset) -> Frame:
    """Keep the columns that anything is counted by: these rows are stored."""
    keys = ("agent_id", "customer_id", "day", *STRATA)
    names = {*keys, *_BOTH, "score_sq", "flagged", *signs_of(data)}
    return frame.select(n for n in frame.collect_schema().names() if n in names)


def troubled(frame: Frame, data: Dataset) -> Frame:
    """Count per agent and stratum contacts with a sign or more, and the invited.

    Args:
        frame: Eligible contacts with their signs.
        data: The dataset.
    """
    keys = ["agent_id", *(name for name in STRATA if data.has(f"calls.{name}"))]
    if keys[1:]:
        frame = frame.with_columns(*(nw.col(k).fill_null("") for k in keys[1:]))
    none = nw.lit(0).cast(nw.Int64)
    some = flag(sum((nw.col(sign) for sign in signs_of(data)), start=none) > 0)
    frame = frame.with_columns(some=some)
    both = {new: nw.col("some") * nw.col(old) for old, new in _BOTH.items()}
    counts: dict[str, Any] = {"contacts": nw.len().cast(nw.Int64)}
    counts |= {name: total(name) for name in (*_BOTH, "some", *_BOTH.values())}
    frame = frame.with_columns(**both)
    return frame.group_by(*keys).agg(**counts).sort(*keys)


def left_out(row: Row, sign: str) -> LeftOut | None:
    """Say what an agent's withheld invitations would have brought.

    Args:
        row: The agent.
        sign: The sign that the finding shows; stands for all of them without a summary
            `troubled`.

    Returns:
        None without enough answers of customers with and without trouble.

    Source:
        Mantel & Haenszel (1959), JNCI 22:719-748; Robins, Breslow & Greenland (1986),
        Biometrics 42:311-323 (peers' odds ratio and its variance).
    """
    cells = row.summaries["cells"]
    p = np.nan_to_num(row.outcome.p_value, nan=1.0)
    calm = row.tested.ids[(p > _CALM) & (row.tested.ids != row.id)].astype(str)
    if len(calm) < 3:
        calm = row.tested.ids[row.tested.ids != row.id].astype(str)
    worst = _plainest(cells, np.isin(cells["agent_id"].astype(str), calm))
    if worst is None:
        return None
    name, peers = worst
    rows, kind = cells, sign
    if "troubled" in row.summaries:
        rows, kind = row.summaries["troubled"], "some"
    who = rows["agent_id"].astype(str)
    mine, alike = (
        _Answers.without(rows, own, kind) for own in (who == row.id, np.isin(who, calm))
    )
    if mine.answers < _LEAST or alike.answers < _FEWEST:
        return None
    weight = mine.answers / (mine.answers + _LEAN)
    score = peers.mean + weight * (mine.mean - alike.mean)
    habit = (mine.answers + _LEAN * alike.rate) / (mine.invited + _LEAN) / alike.rate
    rate = float(np.clip(peers.rate * habit, 0.0, 1.0))
    off = rate * (1.0 - rate)
    value, low, high = (row.value(n) for n in ("effect", "low", "high"))
    spread = row.outcome.facts.get("spread", _USUAL_SPREAD)
    spread = spread if np.isfinite(spread) else _USUAL_SPREAD
    if "troubled" in row.summaries:
        told = _withheld(row.summaries["troubled"], row.id, calm, spread)
        # After any sign it can't be fewer than after the one shown; it would seem so
        # where the agent notes trouble that was none on contacts that are invited.
        value, low, high = np.fmax((value, low, high), told or 0.0).tolist()
    scatter = _scatter(cells, score, row.found)
    error = scatter * np.sqrt(1.0 / (mine.answers + _LEAN) + 1.0 / peers.answers)
    return LeftOut(
        invitations=(max(value, 0.0), max(low, 0.0), max(high, 0.0)),
        sign=name,
        rate=(rate, float(np.sqrt(off / (mine.invited + _LEAN) + off / peers.invited))),
        score=(score, float(error)),
        scatter=scatter,
    )


def _scatter(cells: Summary, mean: float, found: Found) -> float:
    """Return how single scores scatter about a mean, in thousandths.

    As much of what the scale allows about that mean as all scores do about theirs:
    those that nearly all are at the top can't scatter much.
    """
    n = max(float(cells.floats("answers").sum()), 1.0)
    usual = float(cells.floats("score_milli").sum()) / n
    variance = max(float(cells.floats("score_sq").sum()) / n - usual**2, 0.0)
    ends = [1000.0 * found.get(name, np.nan) for name in ("score_low", "score_high")]
    room, own = ((x - ends[0]) * (ends[1] - x) for x in (usual, mean))
    ratio = own / room if room > 0.0 and own > 0.0 else 1.0
    return float(np.sqrt(variance * ratio))


@frozen
class _Answers:
    """Invited contacts of one kind, how many answered, and their mean score."""

    invited: float
    answers: float
    mean: float

    @property
    def rate(self) -> float:
        return self.answers / max(self.invited, 1.0)

    @classmethod
    def of(cls, cells: Summary, rows: BoolArray, names: Sequence[str]) -> _Answers:
        """Sum what these columns count."""
        invited, answers, milli = (float(cells.floats(n)[rows].sum()) for n in names)
        return cls(invited=invited, answers=answers, mean=milli / max(answers, 1.0))

    @classmethod
    def without(cls, cells: Summary, rows: BoolArray, sign: str) -> _Answers:
        """Sum contacts without a sign."""
        whole = cls.of(cells, rows, tuple(_BOTH))
        part = cls.of(cells, rows, [f"{sign}_{name}" for name in _PARTS])
        answers = whole.answers - part.answers
        milli = whole.answers * whole.mean - part.answers * part.mean
        return cls(
            invited=whole.invited - part.invited,
            answers=answers,
            mean=milli / max(answers, 1.0),
        )


def _plainest(cells: Summary, rows: BoolArray) -> tuple[str, _Answers] | None:
    """Return the sign after which these agents' customers are the least content.

    Other signs also mark contacts without trouble, which are seldom held back. Means
    of few answers lean on those of all signs, so that none is low by chance.
    """
    names = [n.removesuffix("_score") for n in cells.columns if n.endswith("_score")]
    known = {
        n: _Answers.of(cells, rows, [f"{n}_{part}" for part in _PARTS]) for n in names
    }
    known = {n: each for n, each in known.items() if each.answers >= _FEWEST}
    if not known:
        return None
    n = sum(each.answers for each in known.values())
    usual = sum(each.answers * each.mean for each in known.values()) / n

    def leaning(each: _Answers) -> float:
        return (each.answers * each.mean + _LEAN * usual) / (each.answers + _LEAN)

    name = min(known, key=lambda sign: leaning(known[sign]))
    return name, known[name]


def _withheld(
    troubled: Summary, agent: str, calm: Sequence[str], spread: float
) -> tuple[float, float, float] | None:
    """Return how many contacts with any sign were not invited as peers' odds would.

    Held against the agent's own contacts without a sign, within strata; the interval
    holds the noise of both counts and how much honest agents differ.
    """
    who = troubled["agent_id"].astype(str)
    label = np.full(len(who), "", dtype=object)
    for name in (name for name in STRATA if name in troubled):
        label = label + "\x1f" + troubled[name].astype(str).astype(object)
    stratum = np.unique(label.astype(str), return_inverse=True)[1].astype(np.int64)
    peers, mine = np.isin(who, calm), who == agent
    columns = ("contacts", "invited", "some", "some_invited")
    counts = [troubled.ints(name) for name in columns]
    n, r, m, a = (each[peers] for each in counts)
    tables = odds.Tables.of(
        np.zeros(len(n), dtype=np.int64),
        stratum[peers],
        contacts=n,
        invited=r,
        trouble=m,
        both=a,
        n_subjects=1,
    )
    ratio = odds.odds_ratio(tables)
    log, variance = float(ratio.log[0]), float(ratio.variance[0])
    if not np.isfinite(log):
        return None

    def of(rows: BoolArray) -> list[FloatArray]:
        return [_per(stratum, each, rows) for each in counts]

    every, invited, some, both = of(peers)
    usual = (invited - both + 0.5) / (every - some + 1.0)
    every, invited, some, both = of(mine)
    easy, asked = every - some, invited - both
    own = (asked + 2.0 * usual) / (easy + 2.0)
    due = own / np.maximum(1.0 - own, 1e-9) * np.exp(log)
    rate = due / (1.0 + due)
    slope = some * rate * (1.0 - rate)
    noise = slope**2 / np.maximum((easy + 2.0) * own * (1.0 - own), 0.5)
    error = np.sqrt(
        slope.sum() + noise.sum() + slope.sum() ** 2 * (variance + spread**2)
    )
    value = float((some * rate - both).sum())
    return value, value - _Z * float(error), value + _Z * float(error)


def _per(stratum: IntArray, counts: IntArray, rows: BoolArray) -> FloatArray:
    size = int(stratum.max()) + 1
    return np.asarray(
        np.bincount(stratum[rows], counts[rows], minlength=size), dtype=np.float64
    )
