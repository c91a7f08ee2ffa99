"""Spells in which an agent was available or paused, out of an Asterisk `queue_log`.

An agent may be a member of several queues. Paused is who is paused in all of them, gone
who left the last one. Members that are written in Asterisk's configuration never join:
whoever is paused, or leaves, before having joined was there from the beginning.
"""

from __future__ import annotations

import polars as pl

from kpiaudit.tables.assembly import QUEUE_SPELLS
from kpiaudit.tables.columns import ROW

_IN = ("ADDMEMBER", "AGENTLOGIN", "AGENTCALLBACKLOGIN")
_OUT = ("REMOVEMEMBER", "AGENTLOGOFF", "AGENTCALLBACKLOGOFF")
_LOGIN = (*_IN[1:], *_OUT[1:])
_EVERYWHERE = ("PAUSEALL", "UNPAUSEALL")
STATE_EVENTS = (*_IN, *_OUT, "PAUSE", "UNPAUSE", *_EVERYWHERE)
"""Events that change the state of an agent."""
_AUTO = "Auto-Pause"
_AUTO_MS = 1_000  # the pause follows the offer that was let ring at once


def states_of(
    events: pl.DataFrame,
) -> tuple[pl.DataFrame, list[tuple[str, int, str]]]:
    """Put the spells of each agent together.

    Args:
        events: Sorted by time, with the columns `at` (ms) and `data` (list of text).

    Returns:
        The rows as text, and notes.
    """
    own = events.filter(
        pl.col("event").is_in(list(STATE_EVENTS)) & pl.col("agent").is_not_null()
    )
    # With a pause of all queues Asterisk writes one for each, too.
    if own["event"].is_in(["PAUSE", "UNPAUSE"]).any():
        own = own.filter(~pl.col("event").is_in(list(_EVERYWHERE)))
    changes = _changes(_signals(own))
    changes = _by_system(changes, events)
    spells = (
        changes.with_columns(until=pl.col("at").shift(-1).over("agent"))
        .filter(pl.col("state") != "offline")
        .sort("at", ROW)
    )
    open_spells = spells.filter(pl.col("until").is_null()).height
    notes = []
    if open_spells:
        text = "spells have no end in the log: the agent was still in that state"
        notes.append(("open-spells", open_spells, text))
    return _as_text(spells), notes


def _signals(own: pl.DataFrame) -> pl.DataFrame:
    """Say of each event whether the agent is a member and paused, before and after."""
    event = pl.col("event")
    login = event.is_in(list(_LOGIN))
    paused = event.is_in(["PAUSE", "PAUSEALL"])
    first = pl.col("data").list.get(0, null_on_oob=True)
    paused |= (event == "ADDMEMBER") & (first == "PAUSED").fill_null(value=False)
    place = ["agent", "place"]
    return own.with_columns(
        login=login,
        place=pl.when(login)
        .then(pl.lit("\x00login"))
        .otherwise(pl.col("queuename").fill_null("")),
        member=(~event.is_in(list(_OUT))).cast(pl.Int64),
        paused=(paused & ~event.is_in(list(_OUT))).cast(pl.Int64),
        reason=pl.when(event.is_in(["PAUSE", "PAUSEALL"]) & (first != "")).then(first),
        was_in=(~event.is_in(list(_IN))).cast(pl.Int64),
        was_paused=event.is_in(["UNPAUSE", "UNPAUSEALL"]).cast(pl.Int64),
    ).with_columns(
        nth=pl.int_range(pl.len()).over(place),
        before=pl.coalesce(pl.col("member").shift(1).over(place), "was_in"),
        before_paused=pl.coalesce(pl.col("paused").shift(1).over(place), "was_paused"),
    )


def _changes(signals: pl.DataFrame) -> pl.DataFrame:
    """Return the events at which the state of an agent changes, with the new state."""

    def now(after: str, before: str, of: pl.Expr) -> pl.Expr:
        start = pl.when((pl.col("nth") == 0) & of).then(pl.col(before)).otherwise(0)
        step = pl.when(of).then(pl.col(after) - pl.col(before)).otherwise(0)
        return start.sum().over("agent") + step.cum_sum().over("agent")

    queues, login = ~pl.col("login"), pl.col("login")
    counted = signals.with_columns(
        members=now("member", "before", queues),
        pauses=now("paused", "before_paused", queues),
        logins=now("member", "before", login),
        logs_in=login.any().over("agent"),
    )
    gone = (
        pl.when(pl.col("logs_in"))
        .then(pl.col("logins") <= 0)
        .otherwise(pl.col("members") <= 0)
    )
    everywhere = (pl.col("members") > 0) & (pl.col("pauses") >= pl.col("members"))
    state = (
        pl.when(gone)
        .then(pl.lit("offline"))
        .when(everywhere)
        .then(pl.lit("paused"))
        .otherwise(pl.lit("available"))
    )
    # Events of one instant are one act: what holds after the last of them counts.
    last = (pl.col("at") != pl.col("at").shift(-1).over("agent")).fill_null(value=True)
    counted = counted.with_columns(state=state).filter(last)
    before = pl.col("state").shift(1).over("agent")
    return counted.filter(before.is_null() | (pl.col("state") != before))


def _by_system(changes: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Mark the pauses that Asterisk gave to an agent who let a phone ring."""
    rang = (
        events.filter(
            (pl.col("event") == "RINGNOANSWER") & pl.col("agent").is_not_null()
        )
        .select("agent", "at", rang="at")
        .sort("at")
    )
    changes = changes.sort("at", ROW, maintain_order=True)
    changes = changes.join_asof(
        rang, on="at", by="agent", strategy="backward", check_sortedness=False
    )
    just = (pl.col("at") - pl.col("rang") <= _AUTO_MS) & pl.col("reason").is_null()
    auto = (pl.col("state") == "paused") & (
        (pl.col("reason") == _AUTO).fill_null(value=False) | just.fill_null(value=False)
    )
    return changes.with_columns(changed=pl.when(auto).then(pl.lit("system")))


def _as_text(spells: pl.DataFrame) -> pl.DataFrame:
    def stamp(name: str) -> pl.Expr:
        at = pl.from_epoch(name, time_unit="ms")
        return at.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")

    rows = spells.with_columns(
        since=stamp("at"),
        until=stamp("until"),
        reason=pl.when(pl.col("state") == "paused").then(pl.col("reason")),
    )
    return rows.select(
        pl.col(ROW).cast(pl.Int64), *(pl.col(n).cast(pl.String) for n in QUEUE_SPELLS)
    )
