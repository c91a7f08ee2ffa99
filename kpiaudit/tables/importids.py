"""What Qualtrics says of its columns in the third header row."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

_ZONE = re.compile(r'"timeZone"+\s*:\s*"+([A-Za-z][\w+/-]*)"', re.IGNORECASE)


def stated_zone(head: str) -> str | None:
    """Return the time zone that a file's header rows name, if there is such a zone.

    Args:
        head: The lines above the first data row.

    >>> stated_zone('"{""ImportId"":""startDate"",""timeZone"":""America/Denver""}"')
    'America/Denver'
    """
    found = _ZONE.search(head) if "importid" in head.lower() else None
    if found is None:
        return None
    try:
        return ZoneInfo("UTC" if found[1] == "Z" else found[1]).key
    except (OSError, ValueError, KeyError):
        return None
