"""Genesys Cloud's conversation details: nested records, of which legs are made.

A conversation has participants, a participant sessions, and a session segments (what
happened when) and metrics (in milliseconds). A leg is the session of an agent; who
waits in a queue is another participant, `acd`, before it. The fields are those of the
vendor's software development kits (AnalyticsConversation and following).
"""

from __future__ import annotations

from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_AGENTS = ("agent", "user")
_SPANS = (("held", "tHeldComplete", "hold"), ("wrapped", "tAcw", "wrapup"))


def rows_of_conversation(
    record: dict[str, Any],
) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Yield the table and the cells of each leg, lost caller and survey.

    Args:
        record: A conversation; numbers in it are text.
    """
    sessions = list(_sessions(record))
    queues = [s for p, s in sessions if p.get("purpose") == "acd"]
    legs = [(p, s) for p, s in sessions if p.get("purpose") in _AGENTS]
    answered = False
    for participant, session in legs:
        row = _leg(record, participant, session, _queue_before(session, queues))
        answered |= row["connected"] is not None or row["talked"] is not None
        yield "calls", row
    for session in queues:
        lost = _metrics(session).get("tAbandon")
        if lost is not None and not answered:
            yield "calls", _lost(record, session, lost)
    for survey in _dicts(record.get("surveys")):
        cells = {name: _text(survey.get(name)) for name in survey}
        yield "surveys", cells | {"conversationId": _text(record.get("conversationId"))}


def _sessions(
    record: dict[str, Any],
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for participant in _dicts(record.get("participants")):
        for session in _dicts(participant.get("sessions")):
            yield participant, session


def _dicts(items: Any) -> list[dict[str, Any]]:
    return [i for i in items if isinstance(i, dict)] if isinstance(items, list) else []


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, (dict, list)):
        return None
    return {True: "true", False: "false"}.get(value, str(value))


def _metrics(session: dict[str, Any]) -> dict[str, float]:
    """Return the sum of each metric; infinity, which is unreadable, for no number."""
    found: dict[str, float] = {}
    for metric in _dicts(session.get("metrics")):
        try:
            value = float(metric.get("value") or 0)
        except (TypeError, ValueError):
            value = inf  # counted among the cells that can't be read
        name = str(metric.get("name"))
        found[name] = found.get(name, 0.0) + value
    return found


def _start(session: dict[str, Any]) -> str:
    starts = [str(s.get("segmentStart") or "") for s in _dicts(session.get("segments"))]
    return min((s for s in starts if s), default="")


def _queue_before(
    session: dict[str, Any], queues: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the waiting that came before a leg: stamps are ISO 8601, and compare."""
    start = _start(session)
    before = [q for q in queues if not start or _start(q) <= start]
    return max(before, key=_start, default={})


def _leg(
    record: dict[str, Any],
    participant: dict[str, Any],
    session: dict[str, Any],
    queue: dict[str, Any],
) -> dict[str, str | None]:
    metrics = _metrics(session)
    parts = _dicts(session.get("segments"))
    waits = _dicts(queue.get("segments"))
    talks = [s for s in parts if s.get("segmentType") == "interact"]
    row = _shared(record, session)
    row |= {
        "userId": _text(participant.get("userId")),
        "teamId": _text(participant.get("teamId")),
        "queueId": _last(parts, "queueId") or _last(waits, "queueId"),
        "entered": _start(queue) or _start(session) or row["conversationStart"],
        "connected": min((str(s.get("segmentStart")) for s in talks), default=None),
        "ended": _end(parts),
        "talked": _ms(metrics.get("tTalkComplete"), parts, "interact"),
        "disconnectType": _last(
            [s for s in parts if s.get("segmentType") != "wrapup"], "disconnectType"
        ),
        "wrapUpCode": _last(parts, "wrapUpCode"),
        "notResponding": "true" if metrics.get("tNotResponding") else None,
        "blind": "true" if metrics.get("nBlindTransferred") else None,
        "consult": "true" if metrics.get("nConsultTransferred") else None,
    }
    row |= {n: _ms(metrics.get(metric), parts, kind) for n, metric, kind in _SPANS}
    if talks or row["talked"] is not None:
        row["waited"] = _ms(_metrics(queue).get("tAcd"), waits, None)
    return row


def _shared(record: dict[str, Any], session: dict[str, Any]) -> dict[str, str | None]:
    names = ("conversationId", "originatingDirection", "conversationStart")
    found = {name: _text(record.get(name)) for name in names}
    found |= {name: _text(session.get(name)) for name in ("mediaType", "ani", "dnis")}
    addresses = session.get("destinationAddresses")
    some = addresses if isinstance(addresses, list) else []
    return found | {"destination": _text(some[0]) if some else None}


def _lost(
    record: dict[str, Any], session: dict[str, Any], lost: float
) -> dict[str, str | None]:
    parts = _dicts(session.get("segments"))
    return _shared(record, session) | {
        "queueId": _last(parts, "queueId"),
        "entered": _start(session) or _text(record.get("conversationStart")),
        "ended": _end(parts),
        "waited": str(lost),
        "abandoned": "true",
    }


def _last(parts: list[dict[str, Any]], name: str) -> str | None:
    found = [s for s in parts if s.get(name)]
    latest = max(found, key=lambda s: str(s.get("segmentEnd") or ""), default={})
    return _text(latest.get(name))


def _end(parts: list[dict[str, Any]]) -> str | None:
    ends = [
        str(s["segmentEnd"])
        for s in parts
        if s.get("segmentEnd") and s.get("segmentType") != "wrapup"
    ]
    return max(ends, default=None)


def _ms(
    told: float | None, parts: list[dict[str, Any]], kind: str | None
) -> str | None:
    """Return milliseconds: as the metric says, or the length of the segments."""
    if told is not None:
        return str(told)
    own = [s for s in parts if kind is None or s.get("segmentType") == kind]
    try:
        spans = [
            datetime.fromisoformat(str(s["segmentEnd"]))
            - datetime.fromisoformat(str(s["segmentStart"]))
            for s in own
            if s.get("segmentStart") and s.get("segmentEnd")
        ]
    except ValueError:
        return "times of segments"  # counted among the cells that can't be read
    return str(sum(s.total_seconds() for s in spans) * 1000) if spans else None
