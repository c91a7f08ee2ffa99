"""What a withheld invitation is called: signs, explanations, other sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kpiaudit.detectors import _survey_selection_counts as counting
from kpiaudit.detectors import _survey_selection_restate as restating
from kpiaudit.detectors import _survey_selection_signs as signing
from kpiaudit.detectors.base import Explain
from kpiaudit.findings import Corroboration, Effect, Evidence, Explanation, RestsOn

if TYPE_CHECKING:
    from kpiaudit.detectors.base import Row

SIGNS = {
    "complained": "contacts followed by the customer's complaint to the house",
    "redress": "contacts followed by a refund, credit, discount or return",
    "reopened": "contacts whose ticket was opened again",
    "held": "contacts with a long hold",
    "transferred": "contacts that had been passed on before",
    "repeat": "contacts followed by another contact of the same customer",
    "flagged": "contacts that the agent marked as a complaint",
    "unresolved": "contacts that the agent marked as not resolved",
}
"""What the contacts with a sign are called."""

COLUMNS = {
    "complained": ("outcomes.kind", "calls.customer_id"),
    "redress": ("outcomes.kind", "calls.customer_id"),
    "reopened": ("tickets.reopened_at", "calls.ticket_id"),
    "held": ("calls.hold_s",),
    "transferred": ("calls.call_id", "calls.started_at"),
    "repeat": ("calls.customer_id", "calls.started_at"),
    "flagged": ("calls.complaint",),
    "unresolved": ("calls.resolved",),
}
"""Which columns a sign rests on."""

NO_SURVEY = "Queues or channels without a survey"
FREQUENCY = "A limit on how often a customer is asked"
OPT_OUT = "Customers who opted out"
LEAVING = "Unhappy customers leave before the survey"
SHORT = "Contacts too short for a survey"

EXPLANATIONS = (
    Explain(
        text=NO_SURVEY,
        columns=("calls.queue",),
        asks="Are any contacts of the same queue, channel and direction invited?",
        then="Contacts where nobody is invited count for nothing.",
    ),
    Explain(
        text=FREQUENCY,
        columns=(
            "calls.customer_id",
            "calls.started_at",
        ),
        asks="Within how many days is nobody, of any agent, invited again?",
        then="Contacts within these days are taken out of every count before the test.",
    ),
    Explain(
        text=OPT_OUT,
        columns=(
            "calls.customer_id",
            "calls.started_at",
        ),
        asks="Within the same customers, are contacts with trouble invited less "
        "often than their others, and less so than at other agents?",
        then="The finding is withdrawn.",
    ),
    Explain(
        text=SHORT,
        either=(
            "calls.talk_s",
            "calls.ended_at",
        ),
        asks="Below which length is nobody, of any agent, invited? Rests on a "
        "column that agents steer, so that it is never ruled out.",
        then="Shorter contacts are taken out of every count before the test.",
    ),
    Explain(
        text=LEAVING,
        asks="How much less often are all agents' contacts with trouble invited? "
        "Recordings alone tell whether one agent's customers leave more "
        "readily.",
        then="Taken off by the comparison with peers; stays open.",
    ),
)


def sign_of(row: Row) -> str:
    """Return the sign that a row rests on."""
    return signing.ORDER[int(row.value("sign"))]


def rests_on(row: Row) -> tuple[RestsOn, ...]:
    """Return the columns that a row rests on."""
    roles = [("surveys.call_id", "numerator"), ("calls.agent_id", "subject")]
    roles += [(name, "sign of trouble") for name in COLUMNS[sign_of(row)]]
    return tuple(
        RestsOn(column=name, origin=row.data.origin(name), role=role)
        for name, role in roles
    )


def explanations(row: Row) -> tuple[Explanation, ...]:
    """Return the innocent explanations with what the data say about them."""
    return (
        _no_survey(row),
        _frequency(row),
        _opt_out(row),
        _short(row),
        _leaving(row),
    )


def _missing(row: Row, text: str) -> Explanation | None:
    columns = next(e.columns for e in EXPLANATIONS if e.text == text)
    absent = row.data.missing(columns)
    if not absent:
        return None
    return Explanation(
        text=text, status="uncheckable", detail=f"no column {', '.join(absent)}"
    )


def _no_survey(row: Row) -> Explanation:
    missing = _missing(row, NO_SURVEY)
    if missing is not None:
        return missing
    cells = row.summaries["cells"]
    mine = cells["agent_id"] == row.id
    silent = mine & (cells.ints("invited") == 0)
    left_out = int(cells.ints("contacts")[silent].sum())
    independent = row.data.independent("calls.queue")
    return Explanation(
        text=NO_SURVEY,
        status="ruled_out" if independent else "open",
        detail=(
            f"contacts were compared within queue, channel and direction only; "
            f"{left_out} of the agent's contacts are where none was invited and count "
            "for nothing"
        ),
    )


def _frequency(row: Row) -> Explanation:
    missing = _missing(row, FREQUENCY)
    if missing is not None:
        return missing
    days = row.found.get("gap_days")
    detail = (
        f"nobody is invited again within {days} days: such contacts were left out"
        if days
        else "customers who were invited lately are invited again: no limit is in force"
    )
    # The limit is read from everybody's contacts, if nobody types who called and when.
    sure = all(
        row.data.independent(f"calls.{name}") for name in ("customer_id", "started_at")
    )
    return Explanation(
        text=FREQUENCY,
        status="ruled_out" if sure else "open",
        detail=f"{detail} (calls.customer_id, calls.started_at)",
    )


def _short(row: Row) -> Explanation:
    if not row.data.has("calls.talk_s") and not row.data.has("calls.ended_at"):
        return Explanation(
            text=SHORT,
            status="uncheckable",
            detail="no column calls.talk_s or calls.ended_at",
        )
    found = row.found.get("shortest_s")
    detail = (
        f"nobody is invited after less than {found} s: such contacts were left out"
        if found
        else "short contacts are invited as well"
    )
    # Talk time is the subject's own act: the limit is applied, and clears nothing.
    timed = row.data.has("calls.talk_s")
    sure = bool(found) and row.data.independent("calls.talk_s")
    return Explanation(
        text=SHORT,
        status="ruled_out" if sure else "open",
        detail=f"{detail} ({'calls.talk_s' if timed else 'calls.ended_at'})",
    )


def _opt_out(row: Row) -> Explanation:
    missing = _missing(row, OPT_OUT)
    if missing is not None:
        return missing
    if "pairs" not in row.summaries:
        return Explanation(
            text=OPT_OUT,
            status="open",
            detail="no sign of trouble tells customers apart",
        )
    pairs = row.summaries["pairs"]
    mine = pairs["agent_id"] == row.id
    own, customers = restating.within_customers(pairs, mine)
    rest, _ = restating.within_customers(pairs, ~mine)
    if np.isnan(own.log[0]) or np.isnan(rest.log[0]):
        return Explanation(
            text=OPT_OUT,
            status="open",
            detail=f"too few customers with contacts of both kinds ({customers:.0f})",
        )
    low, high = own.interval()
    gap = float(own.log[0] - rest.log[0])
    sd = float(np.sqrt(own.variance[0] + rest.variance[0]))
    detail = (
        f"within the same customers ({customers:.0f}) the odds of an invitation after "
        f"trouble are {np.exp(own.log[0]):.2f} times ({low[0]:.2f} to {high[0]:.2f}) "
        f"those of the other contacts; {np.exp(rest.log[0]):.2f} with other agents"
    )
    # The whole excess is gone within customers, and there is enough to say so.
    claimed = np.log(row.value("ratio"))
    holds = gap - 1.96 * sd > claimed / 2.0 and gap > claimed / 4.0
    ruled_out = gap + 1.645 * sd < 0.0 and row.data.independent("calls.customer_id")
    return Explanation(
        text=OPT_OUT,
        status="ruled_out" if ruled_out else "open",
        detail=detail,
        holds=bool(holds),
        rests_on=("calls.customer_id", *_pairs_of(row)),
    )


def _pairs_of(row: Row) -> tuple[str, ...]:
    """Return the columns of the sign by which customers' contacts are told apart."""
    sign = counting.signs_of(row.data)[0]
    return tuple(name for name in COLUMNS[sign] if row.data.has(name))


def _leaving(row: Row) -> Explanation:
    facts = row.outcome.facts
    odds = facts.get("peers_odds", float("nan"))
    return Explanation(
        text=LEAVING,
        status="open",
        detail=(
            f"that holds for all agents (odds ratio {odds:.2f} over all) and is taken "
            "off; that this agent's customers leave more readily than others' is seen "
            "on recordings only"
        ),
    )


def other_signs(row: Row) -> tuple[Corroboration, ...]:
    """Return what the other signs of trouble say of the same agent."""
    out = []
    extra = row.outcome.extra
    for sign in signing.ORDER:
        if sign == sign_of(row) or f"p.{sign}" not in extra:
            continue
        p = row.value(f"p.{sign}")
        if np.isnan(p):
            continue
        ratio, low, high = (row.value(f"{k}.{sign}") for k in ("ratio", "low", "high"))
        supports = p <= 0.05
        others = sign in counting.INDEPENDENT
        # As often as peers is silence, and an alibi of one's own speaks for nobody.
        against = others and low > 1.0
        who = "others" if others else "the agent"
        out.append(
            Corroboration(
                source=f"{SIGNS[sign]} (recorded by {who})",
                verdict="supports"
                if supports
                else "contradicts"
                if against
                else "silent",
                effect=Effect(
                    name="odds ratio of invitation against peers",
                    value=ratio,
                    low=low,
                    high=high,
                ),
                p_value=p,
                detail=f"{row.value(f'trials.{sign}'):.0f} contacts",
            )
        )
    return (*out, *_notes(row))


def _notes(row: Row) -> tuple[Corroboration, ...]:
    """Return whether trouble that others saw is missing from the agent's notes."""
    extra = row.outcome.extra
    if "notes.p" not in extra or np.isnan(row.value("notes.p")):
        return ()
    p, k = row.value("notes.p"), row.value("notes.observed")
    n, e = row.value("notes.trials"), row.value("notes.expected")
    sign = signing.ORDER[int(row.value("notes.sign"))]
    return (
        Corroboration(
            source="complaints missing from the agent's own notes",
            verdict="supports" if p <= 0.05 else "silent",
            p_value=p,
            detail=(
                f"{k:.0f} of {n:.0f} {SIGNS[sign]} carry no complaint flag; peers' "
                f"notes would leave out {e:.0f}"
            ),
        ),
    )


def figures(row: Row) -> tuple[Evidence, ...]:
    """Return the figures behind a finding."""
    cells = row.summaries["cells"]
    mine = cells["agent_id"] == row.id
    sign = sign_of(row)
    hard = float(cells.ints(sign)[mine].sum())
    asked_hard = float(cells.ints(f"{sign}_invited")[mine].sum())
    n, asked = (float(cells.ints(c)[mine].sum()) for c in ("contacts", "invited"))
    share = asked_hard / hard if hard else float("nan")
    rest = (asked - asked_hard) / (n - hard) if n > hard else float("nan")
    low, high = row.value("odds_low"), row.value("odds_high")
    odds = row.value("odds_ratio")
    text = (
        ""
        if np.isnan(odds)
        else f"95% interval {low:.2f} to {high:.2f}, within queue and channel"
    )
    return (
        Evidence(
            name=f"share of {SIGNS[sign]} that was invited", value=share, unit="share"
        ),
        Evidence(
            name="share of the other contacts that was invited",
            value=rest,
            unit="share",
        ),
        Evidence(
            name="the agent's own odds ratio of invitation", value=odds, text=text
        ),
        Evidence(
            name="odds ratio of invitation over all agents",
            value=row.outcome.facts.get("peers_odds"),
        ),
        Evidence(
            name="odds ratio against honest peers, shrunken",
            value=row.value("ratio"),
            text=(
                f"95% interval {row.value('ratio_low'):.2f} to "
                f"{row.value('ratio_high'):.2f}"
            ),
        ),
        Evidence(
            name="spread of the log odds ratio between honest agents",
            value=row.outcome.facts.get("spread"),
        ),
    )
