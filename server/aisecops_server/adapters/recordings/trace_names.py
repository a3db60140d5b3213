"""What a trace is called here: 32 hexadecimal digits, whatever it is called elsewhere."""

from __future__ import annotations

import hashlib

from aisecops_server.adapters.recordings.attributes import MalformedError
from aisecops_server.domain.formats.identifiers import is_trace_id

_DIGITS = 32


def trace_name(given: str) -> str:
    """Return the name: what it is already, a UUID without dashes, or else the beginning of its SHA-256.

    Raises:
        MalformedError: there is none.
    """
    if not given:
        raise MalformedError("a record names no trace")
    plain = given.replace("-", "").lower()
    return plain if is_trace_id(plain) else hashlib.sha256(given.encode()).hexdigest()[:_DIGITS]
