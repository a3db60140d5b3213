"""Who read what agents and people said and did: told in the log once an hour for each reader, call and subject."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from aisecops_server.domain.formats.canonical import JsonValue

# A page that is loaded again and again fills no log.
QUIET_NS = 3_600 * 1_000_000_000
# So many are remembered; who reads more than that is told of more often.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Reading:
    """Somebody read something. ``subject`` is the id of a trace, decision, replay or approval, empty for a list."""

    principal: str
    call: str
    subject: str

    def facts(self) -> dict[str, JsonValue]:
        """Return it as an event tells it."""
        return {"principal": self.principal, "call": self.call, "subject": self.subject}


@dataclass(slots=True)
class ToldReadings:
    """What was told of late, by when; times are Unix nanoseconds."""

    _told: OrderedDict[Reading, int] = field(default_factory=OrderedDict)

    def is_new(self, reading: Reading, now_ns: int) -> bool:
        """Return whether it is to be told, and remember it as told."""
        if 0 <= now_ns - self._told.get(reading, -QUIET_NS) < QUIET_NS and reading in self._told:
            return False
        self._told[reading] = now_ns
        self._told.move_to_end(reading)
        while len(self._told) > MOST:
            self._told.popitem(last=False)
        return True

    def forget(self, reading: Reading) -> None:
        """Let it be told when it comes again."""
        self._told.pop(reading, None)
