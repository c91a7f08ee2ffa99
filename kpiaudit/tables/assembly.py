"""Formats that are no table: code makes rows of their records, presets map these."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from kpiaudit.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kpiaudit.tables.textfile import RawTable

QUEUE_LOG = ("time", "callid", "queuename", "agent", "event", "data")
"""Columns of Asterisk's queue log, which has no header; the parameters are one text."""
PARAMETERS = ("data1", "data2", "data3", "data4", "data5")
"""The parameters, where the log is kept in a table."""
QUEUE_CALLS = (
    *("callid", "queuename", "agent", "callerid", "entered", "connected", "ended"),
    *("holdtime", "calltime", "ending", "extension"),
)
"""Columns of a call: three instants, two durations in seconds, and its last event."""
QUEUE_SPELLS = ("agent", "state", "reason", "since", "until", "changed")
"""Columns of a spell: `changed` is `system` where Asterisk itself paused the agent."""

_SEGMENT = "participants[].sessions[].segments[]."
GENESYS = (
    *("conversationId", "conversationStart", "originatingDirection"),
    *("participants[].purpose", "participants[].userId", "participants[].teamId"),
    *(f"participants[].sessions[].{n}" for n in ("mediaType", "ani", "dnis")),
    "participants[].sessions[].destinationAddresses",
    *(f"participants[].sessions[].metrics[].{n}" for n in ("name", "value")),
    *(_SEGMENT + n for n in ("segmentType", "segmentStart", "segmentEnd")),
    *(_SEGMENT + n for n in ("disconnectType", "queueId", "wrapUpCode")),
    *(f"surveys[].{n}" for n in ("surveyId", "userId", "eventTime", "surveyStatus")),
    *(f"surveys[].{n}" for n in ("surveyCompletedDate", "oSurveyTotalScore")),
    "surveys[].surveyPromoterScore",
)
"""Paths into a conversation of Genesys Cloud."""
GENESYS_LEGS = (
    *("conversationId", "originatingDirection", "mediaType", "ani", "dnis"),
    *("destination", "userId", "teamId", "queueId", "entered", "connected", "ended"),
    *("talked", "held", "wrapped", "waited", "disconnectType", "wrapUpCode"),
    *("notResponding", "abandoned", "blind", "consult"),
)
"""Columns of a leg: three instants, four durations in ms, and marks that are `true`."""
GENESYS_SURVEYS = (
    *("conversationId", "surveyId", "userId", "queueId", "eventTime", "surveyStatus"),
    *("surveyCompletedDate", "oSurveyTotalScore", "surveyPromoterScore"),
)
"""Columns of a survey, named as in the conversation."""


@frozen
class Assembly:
    """How rows come about.

    Args:
        takes: Source columns that are read.
        gives: Columns of the rows that are made, by table.
        nested: Whether rows are made of each JSON record by itself, not of all events.
    """

    takes: tuple[str, ...]
    gives: Mapping[str, tuple[str, ...]]
    nested: bool = False


ASSEMBLIES: Mapping[str, Assembly] = MappingProxyType(
    {
        "asterisk-queue-log": Assembly(
            takes=(*QUEUE_LOG, *PARAMETERS),
            gives={"calls": QUEUE_CALLS, "agent_states": QUEUE_SPELLS},
        ),
        "genesys-cloud-conversations": Assembly(
            takes=GENESYS,
            gives={"calls": GENESYS_LEGS, "surveys": GENESYS_SURVEYS},
            nested=True,
        ),
    }
)
"""What a mapping may name with `assemble`."""


def assembled(name: str, raw: RawTable, timezone: str) -> dict[str, RawTable]:
    """Make the rows of a file's records.

    Args:
        name: One of `ASSEMBLIES`.
        raw: The records as text; those that can't be read become broken ones.
        timezone: Zone of instants without an offset.

    Returns:
        Rows as text, by table.
    """
    # Mappings are checked without data frames: the code comes when it is needed.
    from kpiaudit.tables.queuelog import rows_of_events  # noqa: PLC0415

    return rows_of_events(raw, timezone)
