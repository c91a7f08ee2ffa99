"""Calls and unanswered offers out of the events of an Asterisk `queue_log`.

Parameters of the events are as documented at docs.asterisk.org, "Queue Logs". Older
versions write fewer of them; what is missing then comes from the times of the events.
"""

from __future__ import annotations

import polars as pl

from kpiaudit.tables.assembly import QUEUE_CALLS
from kpiaudit.tables.columns import ROW

_ENDS = (
    *("COMPLETEAGENT", "COMPLETECALLER", "BLINDTRANSFER", "ATTENDEDTRANSFER"),
    *("TRANSFER", "SYSCOMPAT"),
)
_EXITS = ("ABANDON", "EXITWITHTIMEOUT", "EXITWITHKEY", "EXITEMPTY")
CALL_EVENTS = (
    *("ENTERQUEUE", "CONNECT", "RINGNOANSWER", "AGENTDUMP"),
    *(*_ENDS, *_EXITS),
)
"""Events that belong to a caller."""
_NO_CALL = ("REALTIME", "MANAGER")
_VISIT = ("callid", "visit")
_OPEN = "answered calls have no end in the log: the talk time is unknown"
_WAITING = (
    "callers entered a queue, and the log does not say what became of them; they were "
    "left out"
)
_REBUILT = (
    "calls began before the log; the beginning is worked out from what the end says of "
    "waiting and talking"
)
_LOST = (
    "ends without a beginning in the log were left out, since it is not known how "
    "long the call lasted"
)
_SURPLUS = "ends were left out, since the call had ended already"
_MUTE = (
    "offers did not ring at all (the device was busy or out of reach), which counts "
    "for nobody"
)


def calls_of(
    events: pl.DataFrame,
) -> tuple[pl.DataFrame, list[tuple[str, int, str]]]:
    """Put calls together: one row per visit of a queue, one per offer not answered.

    Args:
        events: Sorted by time, with the columns `at` (ms) and `data` (list of text).

    Returns:
        The rows as text, and notes on events that fit no call.
    """
    own = events.filter(
        pl.col("event").is_in(list(CALL_EVENTS))
        & pl.col("callid").is_not_null()
        & ~pl.col("callid").is_in(list(_NO_CALL))
    )
    # A call that goes on to another queue, or comes back, enters again.
    entered = (pl.col("event") == "ENTERQUEUE").cast(pl.Int64)
    own = own.with_columns(visit=entered.cum_sum().over("callid"))
    last = (*_ENDS, *_EXITS)
    enters = _first(own, ("ENTERQUEUE",), "enter")
    connects = _first(own, ("CONNECT",), "connect")
    ends = _first(own, last, "end")
    visits = (
        own.group_by(_VISIT, maintain_order=True)
        .agg(pl.col(ROW).first(), pl.col("queuename").drop_nulls().first())
        .join(enters, on=_VISIT, how="left")
        .join(connects, on=_VISIT, how="left")
        .join(ends, on=_VISIT, how="left")
    )
    calls = _timed(_told(visits))
    found = pl.concat([_whole(calls), _offers(own, enters)], how="diagonal").sort(
        "began", ROW
    )
    return _as_text(found), _notes(calls, own, last)


def _first(own: pl.DataFrame, names: tuple[str, ...], prefix: str) -> pl.DataFrame:
    """Return the first of these events of each visit."""
    return (
        own.filter(pl.col("event").is_in(list(names)))
        .group_by(_VISIT, maintain_order=True)
        .agg(pl.col("at", "agent", "event", "data").first())
        .select(
            *_VISIT,
            pl.col("at", "agent", "event", "data").name.prefix(f"{prefix}_"),
        )
    )


def _part(event: str, place: int) -> pl.Expr:
    return pl.col(f"{event}_data").list.get(place, null_on_oob=True)


def _told(visits: pl.DataFrame) -> pl.DataFrame:
    """Add waiting, talking and the extension as the parameters of the events say it."""
    end = pl.col("end_event")
    passed = end.is_in(["BLINDTRANSFER", "TRANSFER"])
    completed = end.is_in(["COMPLETEAGENT", "COMPLETECALLER"])
    # Its method takes two parameters or three: the others are counted from the end.
    attended = (end == "ATTENDEDTRANSFER") & (pl.col("end_data").list.len() >= 5)
    hold = (
        pl.when(completed)
        .then(_part("end", 0))
        .when(passed)
        .then(_part("end", 2))
        .when(attended)
        .then(_part("end", -3))
        .when(end == "EXITWITHKEY")
        .then(_part("end", 3))
        .when(end.is_in(list(_EXITS)))
        .then(_part("end", 2))
    )
    talk = (
        pl.when(completed)
        .then(_part("end", 1))
        .when(passed)
        .then(_part("end", 3))
        .when(attended)
        .then(_part("end", -2))
    )
    connect_hold = _part("connect", 0)
    first = pl.when(connect_hold != "").then(connect_hold).otherwise(hold)
    return visits.with_columns(
        holdtime=pl.when(first != "").then(first),
        calltime=pl.when(talk != "").then(talk),
        extension=pl.when(passed).then(_part("end", 0)),
    )


def _timed(visits: pl.DataFrame) -> pl.DataFrame:
    """Add the beginning and the answer, and durations that no parameter says."""

    def ms(name: str) -> pl.Expr:
        return (pl.col(name).cast(pl.Float64, strict=False) * 1000).cast(pl.Int64)

    answered = pl.coalesce("connect_at", pl.col("end_at") - ms("calltime"))
    left = pl.coalesce(answered, "end_at")
    timed = visits.with_columns(
        answered=answered,
        left=left,
        began=pl.coalesce("enter_at", left - ms("holdtime"), "connect_at"),
    )
    waited = (pl.col("left") - pl.col("enter_at")) / 1000
    talked = (pl.col("end_at") - pl.col("answered")) / 1000
    return timed.with_columns(
        holdtime=pl.coalesce("holdtime", waited.cast(pl.String)),
        calltime=pl.coalesce("calltime", talked.cast(pl.String)),
    )


def _is_call() -> pl.Expr:
    """Say whether a visit is told well enough to be a row: beginning and course."""
    ended = pl.col("end_at").is_not_null()
    return pl.col("began").is_not_null() & (pl.col("connect_at").is_not_null() | ended)


def _whole(calls: pl.DataFrame) -> pl.DataFrame:
    caller = pl.col("enter_data").list.get(1, null_on_oob=True)
    return calls.filter(_is_call()).select(
        ROW,
        *("callid", "queuename", "began", "holdtime", "calltime", "extension"),
        callerid=caller,
        agent=pl.coalesce("connect_agent", "end_agent"),
        entered="began",
        connected="answered",
        ended="end_at",
        ending="end_event",
    )


def _offers(own: pl.DataFrame, enters: pl.DataFrame) -> pl.DataFrame:
    """Return offers that an agent let ring, or ended during the announcement.

    No ringing at all is a device that could not be reached: nobody let it ring.
    """
    rang = pl.col("data").list.get(0, null_on_oob=True).cast(pl.Float64, strict=False)
    rang = pl.when(pl.col("event") == "RINGNOANSWER").then(rang)
    offers = own.with_columns(rang=rang.fill_null(0.0)).filter(
        (pl.col("event") == "AGENTDUMP") | (pl.col("rang") > 0)
    )
    began = pl.col("at") - pl.col("rang").cast(pl.Int64)
    return offers.join(enters, on=_VISIT, how="left").select(
        ROW,
        *("callid", "queuename", "agent"),
        began=began,
        callerid=pl.col("enter_data").list.get(1, null_on_oob=True),
        entered=began,
        ended="at",
        ending="event",
    )


def _as_text(rows: pl.DataFrame) -> pl.DataFrame:
    stamps = [
        pl.from_epoch(name, time_unit="ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        for name in ("entered", "connected", "ended")
    ]
    return rows.with_columns(stamps).select(
        pl.col(ROW).cast(pl.Int64), *(pl.col(n).cast(pl.String) for n in QUEUE_CALLS)
    )


def _notes(
    calls: pl.DataFrame, own: pl.DataFrame, last: tuple[str, ...]
) -> list[tuple[str, int, str]]:
    began, connect, end = (
        pl.col(f"{name}_at").is_not_null() for name in ("enter", "connect", "end")
    )
    headless = calls.filter(end & ~began & ~connect)
    ends = own.filter(pl.col("event").is_in(list(last))).height
    mute = (pl.col("event") == "RINGNOANSWER") & (
        pl.col("data").list.get(0, null_on_oob=True) == "0"
    )
    found = [
        _note("calls-without-an-end", calls.filter(connect & ~end), _OPEN),
        _note("calls-without-an-end", calls.filter(began & ~connect & ~end), _WAITING),
        _note("ends-without-a-beginning", headless.filter(_is_call()), _REBUILT),
        _note("ends-without-a-beginning", headless.filter(~_is_call()), _LOST),
        ("events-that-fit-no-call", ends - calls.filter(end).height, _SURPLUS),
        _note("unreachable-devices", own.filter(mute), _MUTE),
    ]
    return [note for note in found if note[1]]


def _note(kind: str, rows: pl.DataFrame, text: str) -> tuple[str, int, str]:
    some = ", ".join(rows["callid"].head(3).to_list())
    return kind, rows.height, f"{text} (such as {some})"
