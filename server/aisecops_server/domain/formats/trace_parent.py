"""Where in a distributed trace a request stands: W3C Trace Context, as the header or metadata `traceparent` says it."""

from __future__ import annotations

from dataclasses import dataclass

from aisecops_server.domain.formats.identifiers import is_trace_id

HEADER = "traceparent"
_HEXADECIMAL = frozenset("0123456789abcdef")
_SPAN_DIGITS = 16
_PARTS = 4
_NO_VERSION = "ff"


@dataclass(frozen=True, slots=True)
class TraceParent:
    """The trace, and the span in it under which the request was made. Both are the caller's word."""

    trace_id: str
    span_id: str


NOWHERE = TraceParent("", "")


def read_trace_parent(text: str) -> TraceParent:
    """Return what ``text`` says, or nowhere: what is malformed is as if it were not there, as the standard has it."""
    parts = text.strip().split("-")
    if len(parts) < _PARTS or (parts[0] == "00" and len(parts) > _PARTS):
        return NOWHERE
    version, trace_id, span_id, flags = parts[:_PARTS]
    sound = _is_hex(version, 2) and version != _NO_VERSION and _is_hex(span_id, _SPAN_DIGITS) and _is_hex(flags, 2)
    named = is_trace_id(trace_id) and trace_id.strip("0") and span_id.strip("0")
    return TraceParent(trace_id, span_id) if sound and named else NOWHERE


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and _HEXADECIMAL.issuperset(text)
