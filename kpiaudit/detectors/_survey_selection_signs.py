"""One test per sign of trouble, combined by who recorded the sign."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy as sp

from kpiaudit.detectors import _survey_selection_hidden as hidden
from kpiaudit.detectors._survey_selection_counts import INDEPENDENT, OWN, STRATA
from kpiaudit.frozen import frozen
from kpiaudit.stats import peers, selection
from kpiaudit.stats.many import Many, log_odds, many
from kpiaudit.stats.multiplicity import cauchy
from kpiaudit.stats.odds import Tables
from kpiaudit.stats.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from kpiaudit.detectors.base import Summary
    from kpiaudit.stats.outcome import FloatArray, IntArray

    Interval = Callable[[IntArray, float], tuple[FloatArray, FloatArray]]

ORDER = (*INDEPENDENT, *OWN)
_OTHERS, _OWN, _EVERY = 0.4, 0.3, 0.3
"""Weights of an agent's answers: signs that others recorded, notes, and all."""
_TOGETHER = 0.9
"""Correlation of honest agents' answers by two signs: one habit, and some contacts.

On the whole they are seen to go together by .3 to .5, but more closely far out, where
it matters: of those whose answer by one sign is below .01 a third are so by another, as
with .75, if some agents differ much (t with 4 degrees of freedom), and more where
honest differences lean to invitations that stay away.
"""
_USUAL = 0.3
"""How much honest agents' log odds usually differ; a prior of their spread.

With .2 here and .7 above, 12 of 120 honest centres of eight agents with newcomers named
somebody, and 5 of 120 of thirty whose differences are skewed; now it is 7 and 6 of 250,
for about a seventh of the agents found who withhold 80 % (seeds of their own).
"""
# One answer among several: a false alarm by one shape of the spread needs the others.
SUPPOSED = selection.Supposed(averaged=True, usual_spread=_USUAL)
_HABIT = 0.2
"""Honest differences on the log-odds scale, beside which the noise of counts weighs."""
_CARRIED = 0.05
"""The signs that others recorded carry a finding if they reach this level alone."""

_FAR = 3.0
"""Odds, as a multiple of calm agents', from which agents may hide each other."""
_FIELDS = ("trials", "observed", "expected", "effect")
_RATIOS = ("ratio", "ratio_low", "ratio_high")
_OWN_FIELDS = ("odds_ratio", "odds_low", "odds_high")


@frozen
class Cells:
    """The summary of cells with agents and strata numbered.

    Args:
        counts: The summary.
        ids: Agents, sorted, shape (n_agents,).
        agent: Index of the agent per row.
        stratum: Index of the stratum per row.
    """

    counts: Summary
    ids: NDArray[Any]
    agent: IntArray
    stratum: IntArray

    @classmethod
    def of(cls, counts: Summary) -> Cells:
        """Number agents and strata of a summary."""
        ids, agent = np.unique(counts["agent_id"].astype(str), return_inverse=True)
        names = [*STRATA, "after"]
        parts = [counts[name].astype(str) for name in names if name in counts]
        label = parts[0] if parts else np.full(len(counts), "", dtype=str)
        for part in parts[1:]:
            label = np.char.add(np.char.add(label, "\x1f"), part)
        stratum = np.unique(label, return_inverse=True)[1]
        return cls(
            counts=counts,
            ids=ids.astype(object),
            agent=agent.astype(np.int64),
            stratum=stratum.astype(np.int64),
        )

    def tables(self, sign: str, rows: NDArray[np.bool_] | None = None) -> Tables:
        """Return the 2 x 2 tables of one sign, of some rows only if they are given."""
        part = slice(None) if rows is None else rows
        names = ("contacts", "invited", sign, f"{sign}_invited")
        contacts, invited, trouble, both = (self.counts.ints(n)[part] for n in names)
        return Tables.of(
            self.agent[part],
            self.stratum[part],
            contacts=contacts,
            invited=invited,
            trouble=trouble,
            both=both,
            n_subjects=len(self.ids),
        )

    def signs(self) -> tuple[str, ...]:
        """Return the signs that the summary has, in order."""
        return tuple(name for name in ORDER if name in self.counts)


@frozen
class Question:
    """How much trouble a test needs, and which excess is still allowed."""

    min_trouble: float
    min_excess: float


def tested(cells: Cells, question: Question) -> Outcome:
    """Test every agent by every sign and combine the signs.

    Signs tell of the same habit by different contacts, so that several weak answers
    are a clear one: their normal scores are added, weighted by what each sign can tell,
    as answers that go together; Simes' rule stands beside it where one sign tells all.
    The signs that others recorded, what the agent noted
    down (the complaint flag, or "not resolved" where there are too few flags), and all
    of them are three answers, combined so that little is lost where they agree and
    false notes can't hide what others recorded. An agent with one kind only is judged
    by that.

    Args:
        cells: Counts per agent and stratum.
        question: What each test needs.

    Returns:
        The outcome of each agent's most telling sign, with the combined p-value. Its
        interval allows for the choice: with m signs it is that at 1 - (1 - level) / m.
        `extra` holds `sign` (index into `ORDER`), `independent` (1 where the signs that
        others recorded reach the 5 % level by themselves), and per sign `p.<sign>`,
        `ratio.<sign>`, `low.<sign>`, `high.<sign>`, `trials.<sign>`.

    Source:
        Simes (1986), Biometrika 73:751-754; Hartung (1999), Biometrical Journal
        41:849-855 (adding normal scores that go together); Liu & Xie (2020), JASA
        115:393-402 (answers that depend on each other in an unknown way); Benjamini &
        Yekutieli (2005), JASA 100:71-81 (intervals of what was chosen).
    """
    tables = {sign: cells.tables(sign) for sign in cells.signs()}
    by_sign = {
        sign: selection.withheld(
            each,
            min_trouble=question.min_trouble,
            min_excess=question.min_excess,
            learn=withholding(each, question).learn,
            supposed=SUPPOSED,
        )
        for sign, each in tables.items()
    }
    by_sign = hidden.allowed_for(by_sign, tables)
    size = len(cells.ids)
    p = {sign: outcome.p_value for sign, outcome in by_sign.items()}
    if "flagged" in p and "unresolved" in p:
        # Two notes of one person are one voice: the plainer one speaks if it can.
        silent = np.isnan(p["flagged"])
        p["unresolved"] = np.where(silent, p["unresolved"], np.nan)
    told = {sign: outcome.extra["information"] for sign, outcome in by_sign.items()}
    named = [s for s in INDEPENDENT if s in p]
    # One sign may tell all and the rest nothing, or each of them a little.
    ways = [_added(named, p, told, size), _simes([p[s] for s in named], size)]
    others = cauchy(np.array(ways), np.array([0.5, 0.5]))
    own = _added([s for s in OWN if s in p], p, told, size)
    every = _added([s for s in ORDER if s in p], p, told, size)
    every = np.where(np.isnan(others) | np.isnan(own), np.nan, every)
    asked = np.array([others, own, every])
    combined = cauchy(asked, np.array([_OTHERS, _OWN, _EVERY]))
    ahead = np.nan_to_num(others / _OTHERS, nan=np.inf) <= np.fmin(
        np.nan_to_num(own / _OWN, nan=np.inf), np.nan_to_num(every / _EVERY, nan=np.inf)
    )
    independent = (others <= _CARRIED) | (ahead & ~np.isnan(others))
    driver = _driver(p, independent, size)
    factor = combined / np.maximum(_picked(p, driver), 1e-300)
    return _gathered(by_sign, driver, combined, independent, factor)


def withholding(tables: Tables, question: Question) -> Many:
    """Return who withholds far more than calm agents; many of them hide each other."""
    contacts, invited, trouble, both = (
        tables.per_subject(each)
        for each in (tables.contacts, tables.invited, tables.trouble, tables.both)
    )
    ratio = log_odds(trouble - both, trouble)
    ratio -= log_odds(contacts - trouble - invited + both, contacts - trouble)
    used = trouble >= question.min_trouble
    return many(ratio, ratio, used, ratios=(_FAR, _FAR))


def _simes(values: Sequence[FloatArray], size: int) -> FloatArray:
    """Return Simes' combined p-value per agent; nan where no sign was testable."""
    if not values:
        return np.full(size, np.nan)
    p = np.sort(np.array(values), axis=0)  # nan last
    count = (~np.isnan(p)).sum(axis=0)
    ranks = np.arange(1, len(p) + 1)[:, None]
    scaled = np.where(np.isnan(p), np.inf, p * count / ranks)
    return np.where(count > 0, np.minimum(scaled.min(axis=0), 1.0), np.nan)


def _added(
    signs: Sequence[str],
    p: dict[str, FloatArray],
    information: dict[str, FloatArray],
    size: int,
) -> FloatArray:
    """Add up the signs' normal scores; nan where no sign was testable."""
    total, squares, weights = np.zeros(size), np.zeros(size), np.zeros(size)
    for sign in signs:
        tested = ~np.isnan(p[sign])
        noise = 1.0 / np.maximum(np.nan_to_num(information[sign]), 1e-9)
        # What a sign can tell is known from its margins, whoever was invited.
        weight = np.where(tested, 1.0 / np.sqrt(noise + _HABIT**2), 0.0)
        score = -sp.special.ndtri(
            np.clip(np.where(tested, p[sign], 0.5), 1e-300, 1.0 - 1e-12)
        )
        total += weight * score
        squares += weight**2
        weights += weight
    spread = np.sqrt((1.0 - _TOGETHER) * squares + _TOGETHER * weights**2)
    some = weights > 0.0
    added = sp.special.ndtr(-total / np.where(some, spread, 1.0))
    return np.asarray(np.where(some, added, np.nan), dtype=np.float64)


def _driver(
    p: dict[str, FloatArray], independent: NDArray[np.bool_], size: int
) -> IntArray:
    """Return the sign that each agent's p-value rests on; 0 where there is none."""
    best, out = np.full(size, np.inf), np.zeros(size, dtype=np.int64)
    for index, sign in enumerate(ORDER):
        if sign not in p:
            continue
        allowed = independent == (sign in INDEPENDENT)
        better = allowed & (np.nan_to_num(p[sign], nan=np.inf) < best)
        best = np.where(better, p[sign], best)
        out = np.where(better, index, out)
    # An untestable agent is described by the first sign that there is.
    there = [i for i, sign in enumerate(ORDER) if sign in p]
    return np.where(np.isfinite(best), out, there[0] if there else 0)


def _picked(of: dict[str, FloatArray], driver: IntArray) -> FloatArray:
    out = np.full(len(driver), np.nan)
    for index, sign in enumerate(ORDER):
        if sign in of:
            out = np.where(driver == index, of[sign], out)
    return out


def _gathered(
    by_sign: dict[str, Outcome],
    driver: IntArray,
    combined: FloatArray,
    independent: NDArray[np.bool_],
    factor: FloatArray,
) -> Outcome:
    def pick(name: str) -> FloatArray:
        return _picked({s: getattr(o, name) for s, o in by_sign.items()}, driver)

    def pick_extra(name: str) -> FloatArray:
        return _picked({s: o.extra[name] for s, o in by_sign.items()}, driver)

    def breaking_point(rows: IntArray, threshold: float) -> FloatArray:
        out = np.full(len(rows), np.nan)
        for mine, outcome in _by_driver(rows, driver, by_sign):
            if outcome.breaking_point is not None:
                # The combined p-value is the sign's own times a factor.
                level = threshold / float(np.median(factor[rows[mine]]))
                out[mine] = outcome.breaking_point(rows[mine], level)
        return out

    interval = _chosen(by_sign, driver)
    low, high = interval(np.arange(len(driver)), 0.95)
    extra = {name: pick_extra(name) for name in _OWN_FIELDS}
    extra["sign"] = driver.astype(np.float64)
    extra["independent"] = independent.astype(np.float64)
    for sign, outcome in by_sign.items():
        extra |= {
            f"p.{sign}": outcome.p_value,
            f"ratio.{sign}": outcome.ratio,
            f"low.{sign}": outcome.ratio_low,
            f"high.{sign}": outcome.ratio_high,
            f"trials.{sign}": outcome.trials,
        }
    usual = _main(by_sign, driver, combined)
    return Outcome(
        **{name: pick(name) for name in (*_FIELDS, *_RATIOS)},
        p_value=combined,
        low=low,
        high=high,
        facts=usual.facts if usual is not None else {},
        extra=extra,
        interval=interval,
        standing=None,
        breaking_point=breaking_point,
        smallest_detectable=usual.smallest_detectable if usual else float("nan"),
    )


def _chosen(by_sign: dict[str, Outcome], driver: IntArray) -> Interval:
    """Return the interval of the sign shown, which is the clearest of several."""
    asked = np.sum([outcome.testable for outcome in by_sign.values()], axis=0)

    def interval(rows: IntArray, level: float) -> tuple[FloatArray, FloatArray]:
        low, high = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        for mine, outcome in _by_driver(rows, driver, by_sign):
            for count in np.unique(asked[rows[mine]]).tolist():
                some = mine & (asked[rows] == count)
                if outcome.interval is not None:
                    each = 1.0 - (1.0 - level) / max(count, 1)
                    low[some], high[some] = outcome.interval(rows[some], each)
        return low, high

    return interval


def _by_driver(
    rows: IntArray, driver: IntArray, by_sign: dict[str, Outcome]
) -> list[tuple[NDArray[np.bool_], Outcome]]:
    split = [(driver[rows] == ORDER.index(s), o) for s, o in by_sign.items()]
    return [(mine, outcome) for mine, outcome in split if mine.any()]


def _main(
    by_sign: dict[str, Outcome], driver: IntArray, combined: FloatArray
) -> Outcome | None:
    """Return the outcome of the sign that most tested agents rest on."""
    used = np.bincount(driver[~np.isnan(combined)], minlength=len(ORDER))
    name = ORDER[int(used.argmax())]
    return by_sign.get(name)


def unrecorded(cells: Cells) -> tuple[str, Outcome] | None:
    """Test whether trouble that others recorded is missing from the agent's notes.

    Returns:
        The sign with most contacts and its outcome, whose events are contacts with that
        sign and without the agent's complaint flag; None without such columns.
    """
    counts = cells.counts
    signs = [s for s in INDEPENDENT if f"{s}_flagged" in counts]
    if not signs:
        return None
    sign = max(signs, key=lambda s: _told(counts, s))
    trials = counts.ints(sign)
    return sign, peers.excess(
        cells.agent,
        cells.stratum,
        trials - counts.ints(f"{sign}_flagged"),
        trials,
        n_subjects=len(cells.ids),
    )


def _told(counts: Summary, sign: str) -> float:
    """Return how much a sign tells of the flag: its contacts times the flag's rate."""
    n, k = counts.floats(sign).sum(), counts.floats(f"{sign}_flagged").sum()
    return float(k * k / max(n, 1.0))
