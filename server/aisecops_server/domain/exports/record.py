"""One event of the log on its way to another system: what stands in it for good, and its payload only when asked for.

Owns what leaves: the details of an event without its payload (texts of agents and people, and digests from which they
could be guessed) unless whoever asks may see it and does. Where payload is left out the fields stay, and are empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from aisecops_server.domain.events.event import StoredEvent, details_in


class ExportFormat(StrEnum):
    """What another system reads."""

    OCSF = "ocsf"
    CLOUDEVENTS = "cloudevents"
    NDJSON = "ndjson"
    OTLP = "otlp"
    SARIF = "sarif"

    @property
    def is_of_events(self) -> bool:
        """Return whether each event makes its own lines; the others are about whole traces."""
        return self in (ExportFormat.OCSF, ExportFormat.CLOUDEVENTS, ExportFormat.NDJSON)


@dataclass(frozen=True, slots=True)
class Exported:
    """An event with what may leave of it. ``origin`` is the log's name, and ``producer`` our version."""

    stored: StoredEvent
    details: Mapping[str, Any]
    origin: str
    producer: str

    @property
    def time(self) -> str:
        """Return when it happened, as RFC 3339 in UTC with microseconds."""
        seconds, rest = divmod(self.stored.event.occurred_at_ns, 1_000_000_000)
        return datetime.fromtimestamp(seconds, tz=UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{rest // 1000:06d}Z")

    @property
    def principal(self) -> str:
        """Return who acted, or an empty string where the event is nobody's."""
        said = self.details.get("principal", self.details.get("agent_id", ""))
        return str(said.get("id", "")) if isinstance(said, Mapping) else str(said)


def exported(stored: StoredEvent, *, origin: str, producer: str, with_payload: bool) -> Exported:
    """Return what may leave of an event."""
    event = stored.event
    details = details_in(event.type, event.body, event.payload if with_payload else None)
    return Exported(stored, details, origin, producer)
