"""Formats that are no table: code makes rows of their records, presets map these."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """How rows come about.

    Args:
        takes: Source columns that are read.
        gives: Columns of the rows that are made, by table.
    """

    takes: tuple[str, ...]
    gives: Mapping[str, tuple[str, ...]]


ASSEMBLIES: Mapping[str, Assembly] = MappingProxyType(
    {
        "asterisk-queue-log": Assembly(
            takes=(*QUEUE_LOG, *PARAMETERS),
            gives={"calls": QUEUE_CALLS, "agent_states": QUEUE_SPELLS},
        )
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
