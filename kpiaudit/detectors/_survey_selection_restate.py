"""The score that all contacts would have given, and how far it can be known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.findings import Evidence, Restated
from kpiaudit.frozen import frozen
from kpiaudit.stats.odds import OddsRatio, Tables, odds_ratio

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Found, Summary
    from kpiaudit.stats.outcome import BoolArray


@frozen
class Score:
    """The mean score as answered and weighted to the mix of all contacts."""

    reported: float
    restated: float
    low: float
    high: float
    floor: float
    ceiling: float


def score(cells: Summary, mine: BoolArray, sign: str, found: Found) -> Score | None:
    """Weight a subject's scores to the share of trouble among all its contacts.

    Args:
        cells: Counts per agent and stratum.
        mine: Rows of the subject.
        sign: Sign of trouble.
        found: Holds the lowest and highest score of the log.

    Returns:
        The scores with a 95 % interval (`low`, `high`) and the bounds that hold
        whatever those who were never asked would have said (`floor`, `ceiling`); None
        without enough answers.

    Source:
        Holt & Smith (1979), JRSS A 142:33-46 (post-stratification and its variance);
        Manski (1990), American Economic Review 80:319-323 (bounds without assumption).
    """
    if "score_low" not in found or f"{sign}_answers" not in cells:
        return None
    answers, hard = cells.floats("answers"), cells.floats(f"{sign}_answers")
    milli, hard_milli = cells.floats("score_milli"), cells.floats(f"{sign}_score")
    contacts, trouble = cells.floats("contacts"), cells.floats(sign)
    n, n_hard = answers[mine].sum(), hard[mine].sum()
    if n - n_hard < 5 or hard.sum() < 20:
        return None
    mean = milli[mine].sum() / n
    variance = max(cells.floats("score_sq")[mine].sum() / n - mean**2, 0.0)
    easy = (milli - hard_milli)[mine].sum() / (n - n_hard)
    everybody = hard_milli.sum() / hard.sum()
    drop = everybody - (milli - hard_milli).sum() / max((answers - hard).sum(), 1.0)
    # Few of the subject's customers with trouble were asked: lean on all agents' ones.
    prior = 10.0
    worse = (hard_milli[mine].sum() + prior * (easy + drop)) / (n_hard + prior)
    share = trouble[mine].sum() / contacts[mine].sum()
    value = (1.0 - share) * easy + share * worse
    sd = np.sqrt(
        variance * ((1.0 - share) ** 2 / (n - n_hard) + share**2 / (n_hard + prior))
    )
    # Who was left out may be worse off than the sign shows: trouble leaves other signs.
    short = max(_short_of_peers(cells, mine), 0.0)
    hidden = short / max(cells.floats("invited")[mine].sum() + short, 1.0)
    worst = hidden * max(easy - worse, 0.0)
    asked = n / contacts[mine].sum()
    ends = [
        asked * mean / 1000.0 + (1.0 - asked) * found[name]
        for name in ("score_low", "score_high")
    ]
    return Score(
        reported=mean / 1000.0,
        restated=value / 1000.0,
        low=(value - 1.96 * sd - worst) / 1000.0,
        high=(value + 1.96 * sd) / 1000.0,
        floor=ends[0],
        ceiling=ends[1],
    )


def restated(value: Score | None) -> Restated | None:
    """Return the restated score as a finding carries it."""
    if value is None:
        return None
    return Restated(
        kpi="csat",
        reported=value.reported,
        restated=value.restated,
        low=value.low,
        high=value.high,
        unit="points",
        assumption=(
            "Customers with trouble who were not asked would have answered like those "
            "with trouble who did; without any assumption the mean score of all "
            f"contacts is between {value.floor:.2f} and {value.ceiling:.2f}."
        ),
    )


def bounds(value: Score | None) -> tuple[Evidence, ...]:
    """Return the bounds without assumption as figures."""
    if value is None:
        return ()
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


def within_customers(pairs: Summary, mine: BoolArray) -> tuple[OddsRatio, float]:
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
    tables = Tables(
        subject=np.zeros(len(repeated), dtype=np.int64),
        stratum=repeated.astype(np.int64),
        contacts=(a + b + c + d)[repeated],
        invited=(a + c)[repeated],
        trouble=(a + b)[repeated],
        both=a[repeated],
        n_subjects=1,
    )
    return odds_ratio(tables), float(count.sum())


def response_rate(
    cells: Summary, mine: BoolArray, sign: str, withheld: tuple[float, float, float]
) -> tuple[Restated, ...]:
    """Restate the share of the invited who answer, had nobody been left out.

    Args:
        cells: Counts per agent and stratum.
        mine: Rows of the subject.
        sign: Sign of trouble.
        withheld: Invitations withheld, and the interval of that number.

    Returns:
        One item; none without invitations of contacts with trouble, over all agents.
    """
    if f"{sign}_answers" not in cells or f"{sign}_invited" not in cells:
        return ()
    invited, answers = (float(cells.floats(n)[mine].sum()) for n in _ASKED)
    hard = float(cells.floats(f"{sign}_invited").sum())
    told = float(cells.floats(f"{sign}_answers").sum())
    value, low, high = (max(x, 0.0) for x in withheld)
    if hard < 20.0 or invited < 20.0:
        return ()
    rate, usual = told / hard, answers / invited
    # Trouble without this sign is withheld as well: all invitations below peers' share.
    high = max(high, _short_of_peers(cells, mine))
    # How many of those left out would have answered is a draw, and the rate a guess.
    noise = 1.96 * np.sqrt(rate * (1.0 - rate) * (high + high**2 / hard))

    def at(x: float, rate: float = rate) -> float:
        return (answers + x * rate) / (invited + x)

    again = at(value)
    side = float(noise) / (invited + high)
    ends = sorted((at(low), at(high), at(high, usual), again))
    return (
        Restated(
            kpi="response_rate",
            reported=answers / invited,
            restated=again,
            low=max(again - float(np.hypot(again - ends[0], side)), 0.0),
            high=min(again + float(np.hypot(ends[-1] - again, side)), 1.0),
            unit="share",
            assumption="those left out would have answered like others with trouble "
            f"({100 * rate:.0f}%); without any assumption it is between "
            f"{100 * answers / (invited + high):.0f}% and "
            f"{100 * (answers + high) / (invited + high):.0f}%",
        ),
    )


_ASKED = ("invited", "answers")


def _short_of_peers(cells: Summary, mine: BoolArray) -> float:
    """Return by how many invitations, at most, a subject falls short of its peers."""
    if "contacts" not in cells or mine.all():
        return 0.0
    contacts, invited = cells.floats("contacts"), cells.floats("invited")
    share = invited[~mine].sum() / max(contacts[~mine].sum(), 1.0)
    n = contacts[mine].sum()
    return float(
        n * share - invited[mine].sum() + 1.96 * np.sqrt(n * share * (1.0 - share))
    )
