"""Times as exports write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from aisecops_server.adapters.recordings.attributes import MalformedError

_NANOSECONDS = 1_000_000_000
_FRACTION = re.compile(r"\.(\d{1,9})\d*")


def nanoseconds(text: str) -> int:
    """Return a time as Unix nanoseconds; one without a zone is UTC.

    Raises:
        MalformedError: it is no time.
    """
    fraction = _FRACTION.search(text)
    try:
        whole = datetime.fromisoformat(_FRACTION.sub("", text, count=1))
    except ValueError as error:
        raise MalformedError(f"'{text[:40]}' is no time") from error
    seconds = int((whole if whole.tzinfo else whole.replace(tzinfo=UTC)).timestamp())
    return seconds * _NANOSECONDS + (int(fraction[1].ljust(9, "0")) if fraction else 0)
