"""The score that all contacts would have given, and how far it can be known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.findings import Evidence, Restated
from kpiaudit.frozen import frozen
from kpiaudit.stats import odds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.detectors._survey_selection_leftout import LeftOut
    from kpiaudit.detectors.base import Found, Row, Summary
    from kpiaudit.stats.outcome import BoolArray

LEFT_OUT = "invitations withheld after any sign of trouble"
"""Name of the figure by which the restated response rate was computed."""
_Z = 1.959964
_UNSEEN = 1.5
"""For every two who were left out after a sign of trouble, at most one after none.

Where nothing is hidden one in fourteen had no sign, where half of the notes are false
one in four (seeds 20000 to 20059 and 20390 to 20419): only the far end counts them.
"""


@frozen
class Score:
    """The mean score as answered, and with those who were left out."""

    reported: float
    restated: float
    low: float
    high: float
    floor: float
    ceiling: float


@frozen
class Said:
    """What a finding says of the KPIs; empty where too few answered."""

    evidence: tuple[Evidence, ...] = ()
    score: Restated | None = None
    rate: tuple[Restated, ...] = ()

    @classmethod
    def of(cls, row: Row, left: LeftOut | None, kinds: Mapping[str, str]) -> Said:
        """Restate the score and the response rate of an agent.

        Args:
            row: The agent.
            left: Whose invitations were withheld.
            kinds: What contacts with a sign are called.
        """
        if left is None:
            return cls()
        cells = row.summaries["cells"]
        mine = cells.same("agent_id", row.id)
        value = score(cells, mine, left, row.found)
        rate = response_rate(cells, mine, left)
        number, low, high = left.invitations
        known = Evidence(
            name=LEFT_OUT,
            value=number,
            unit="invitations",
            text=f"95 % interval {low:.0f} to {high:.0f}, each contact once",
        )
        if value is None:
            return cls(evidence=(known,), rate=rate)
        return cls(
            evidence=(known, *bounds(value)),
            score=restated(value, left, kinds[left.sign]),
            rate=rate,
        )


def score(cells: Summary, mine: BoolArray, left: LeftOut, found: Found) -> Score | None:
    """Add the answers of those who were left out to a subject's scores.

    Args:
        cells: Counts per agent and stratum.
        mine: Rows of the subject.
        left: Whose invitations were withheld.
        found: Holds the lowest and highest score of the log.

    Returns:
        The scores with a 95 % interval (`low`, `high`) and the bounds that hold
        whatever those who were never asked would have said (`floor`, `ceiling`); None
        without enough answers.

    Source:
        Holt & Smith (1979), JRSS A 142:33-46 (post-stratification: contacts with
        trouble get the weight that they have among what peers invite);
        Manski (1990), American Economic Review 80:319-323 (bounds without assumption).
    """
    if "score_low" not in found:
        return None
    n = cells.floats("answers")[mine].sum()
    mean = cells.floats("score_milli")[mine].sum() / max(n, 1.0)
    if n < 5.0:
        return None
    rate, rate_error = left.rate
    gap = left.score[0] - mean

    def at(invitations: float) -> float:
        more = invitations * rate
        return float(more * gap / (n + more))

    number, least, most = left.invitations
    value, low, high = (at(x) for x in (number, least, _UNSEEN * most))
    more = (number + most) / 2.0 * rate
    # Who of them would have answered, and what, is a draw; the rest are guesses.
    draw = more * (left.scatter**2 + (1.0 - rate) * gap**2)
    guess = (more * left.score[1]) ** 2 + (number * rate_error * gap) ** 2
    noise = _Z * np.sqrt(draw + guess) / (n + more)
    asked = n / cells.floats("contacts")[mine].sum()
    ends = [
        asked * mean / 1000.0 + (1.0 - asked) * found[name]
        for name in ("score_low", "score_high")
    ]
    sides = sorted((value, low, high))
    return Score(
        reported=mean / 1000.0,
        restated=(mean + value) / 1000.0,
        low=(mean + value - float(np.hypot(value - sides[0], noise))) / 1000.0,
        high=(mean + value + float(np.hypot(sides[2] - value, noise))) / 1000.0,
        floor=ends[0],
        ceiling=ends[1],
    )


def restated(value: Score, left: LeftOut, kind: str) -> Restated:
    """Return the restated score as a finding carries it.

    Args:
        value: The score.
        left: Whose invitations were withheld.
        kind: What contacts with the sign of `left` are called.
    """
    return Restated(
        kpi="csat",
        reported=value.reported,
        restated=value.restated,
        low=value.low,
        high=value.high,
        unit="points",
        assumption=(
            f"T{_those(left.invitations[0])[1:]} would have answered as peers' "
            f"customers did after {kind} ({left.score[0] / 1000.0:.2f} on average); "
            "others whose trouble left no sign are in the lower end only; without any "
            "assumption the mean score of all contacts is between "
            f"{value.floor:.2f} and {value.ceiling:.2f}."
        ),
    )


def bounds(value: Score) -> tuple[Evidence, ...]:
    """Return the bounds without assumption as figures."""
    return (
        Evidence(
            name="lowest mean score of all contacts, whatever the unasked would say",
            value=value.floor,
            unit="points",
        ),
        Evidence(
            name="highest mean score of all contacts, whatever the unasked would say",
            value=value.ceiling,
            unit="points",
        ),
    )


def within_customers(pairs: Summary, mine: BoolArray) -> tuple[odds.OddsRatio, float]:
    """Return the odds ratio within customers and how many customers it rests on.

    Each customer is a stratum of its own, so that whatever belongs to the customer
    (an opt-out, a language, a channel) can't make the difference.

    Args:
        pairs: Customers by how their contacts fell.
        mine: Rows of the subject.

    Source:
        Maclure (1991), American Journal of Epidemiology 133:144-153 (case-crossover);
        Mantel & Haenszel (1959), JNCI 22:719-748.
    """
    some = pairs.where(mine)
    count = some.floats("customers")
    a, b, c, d = (some.floats(name) for name in "abcd")
    repeated = np.repeat(np.arange(len(some)), count.astype(np.int64))
    tables = odds.Tables(
        subject=np.zeros(len(repeated), dtype=np.int64),
        stratum=repeated.astype(np.int64),
        contacts=(a + b + c + d)[repeated],
        invited=(a + c)[repeated],
        trouble=(a + b)[repeated],
        both=a[repeated],
        n_subjects=1,
    )
    return odds.odds_ratio(tables), float(count.sum())


def response_rate(
    cells: Summary, mine: BoolArray, left: LeftOut
) -> tuple[Restated, ...]:
    """Restate the share of the invited who answer, had nobody been left out.

    Args:
        cells: Counts per agent and stratum.
        mine: Rows of the subject.
        left: Whose invitations were withheld.

    Returns:
        One item; none with fewer than twenty invitations.
    """
    invited, answers = (float(cells.floats(n)[mine].sum()) for n in _ASKED)
    if invited < 20.0:
        return ()
    rate, error = left.rate
    value, least, most = left.invitations
    reported = answers / invited

    def at(x: float) -> float:
        return (answers + x * rate) / (invited + x)

    again = at(value)
    # How many of those left out would have answered is a draw, and the rate a guess.
    drawn = rate * (1.0 - rate) * (value + most) / 2.0
    noise = _Z * np.sqrt(drawn + (value * error) ** 2)
    side = float(noise) / (invited + value)
    ends = sorted((again, at(least), at(_UNSEEN * most)))
    low = max(again - float(np.hypot(again - ends[0], side)), 0.0)
    high = min(again + float(np.hypot(ends[-1] - again, side)), 1.0)
    way = (
        "; whether it would have been higher or lower can't be told"
        if low < reported < high
        else ""
    )
    return (
        Restated(
            kpi="response_rate",
            reported=reported,
            restated=again,
            low=low,
            high=high,
            unit="share",
            assumption=f"{_those(value)} would have answered like others with trouble "
            f"({100 * rate:.0f}%){way}; without any assumption it is between "
            f"{100 * answers / (invited + most):.0f}% and "
            f"{100 * (answers + most) / (invited + most):.0f}%",
        ),
    )


_ASKED = ("invited", "answers")


def _those(number: float) -> str:
    return f"the {number:.0f} customers with trouble who were not asked"
