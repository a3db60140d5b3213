"""Events as the API sends them, read whole."""

from __future__ import annotations

from typing import Any

from aisecops.v1.event_pb2 import Event
from aisecops_server.domain.events.event import details_in


def details_of(event: Event) -> dict[str, Any]:
    """What an event tells, with its payload."""
    return details_in(event.type, event.body_json, event.payload)
