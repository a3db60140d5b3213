"""Callers who were turned away, counted so that a flood of them cannot fill the record of it.

The first is told at once. While more come, what is told sums them up, ever more seldom; after a quiet time the next
one is told at once again. Of the many that a flood may name only so many are kept apart; every one is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aisecops_server.domain.formats.canonical import JsonValue

MOST_KINDS = 32
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refusal. ``principal`` is who was authenticated, empty when nobody was.

    ``claimed`` is the subject of a token that did not go with the certificate, and ``peer`` the address that called.
    """

    reason: str
    why: str
    call: str
    peer: str
    principal: str = ""
    claimed: str = ""

    def facts(self, count: int) -> dict[str, JsonValue]:
        """Return it as an event tells it."""
        return {
            "reason": self.reason,
            "why": self.why,
            "call": self.call,
            "peer": self.peer,
            "principal": self.principal,
            "claimed": self.claimed,
            "count": count,
        }


@dataclass(slots=True)
class RefusalTally:
    """Refusals of some time, by kind. Times are Unix nanoseconds."""

    total: int = 0
    counts: dict[Refusal, int] = field(default_factory=dict)
    first_ns: int = 0
    last_ns: int = 0

    def add(self, refusal: Refusal, now_ns: int) -> None:
        """Count one."""
        self.first_ns = self.first_ns if self.total else now_ns
        self.last_ns = now_ns
        self.total += 1
        self._count(refusal, 1)

    def join(self, earlier: RefusalTally) -> None:
        """Count what was counted before."""
        self.last_ns = self.last_ns if self.total else earlier.last_ns
        self.first_ns = earlier.first_ns
        self.total += earlier.total
        for refusal, count in earlier.counts.items():
            self._count(refusal, count)

    def facts(self) -> dict[str, JsonValue]:
        """Return everything that was counted, most frequent first."""
        kinds = sorted(self.counts.items(), key=lambda item: -item[1])
        return {
            "refused": self.total,
            "from_micros": self.first_ns // 1000,
            "to_micros": self.last_ns // 1000,
            "kinds": [refusal.facts(count) for refusal, count in kinds],
            "others": self.total - sum(self.counts.values()),
        }

    def _count(self, refusal: Refusal, count: int) -> None:
        if refusal in self.counts or len(self.counts) < MOST_KINDS:
            self.counts[refusal] = self.counts.get(refusal, 0) + count


@dataclass(slots=True)
class Pause:
    """How long to wait before the next telling: ever longer while there is something to tell each time."""

    seconds: float = _FIRST_PAUSE_SECONDS

    def next(self) -> float:
        """Return how long to wait now."""
        now, self.seconds = self.seconds, min(self.seconds * 2, _LONGEST_PAUSE_SECONDS)
        return now

    def rest(self) -> None:
        """Note that a wait went by in which nothing happened."""
        self.seconds = _FIRST_PAUSE_SECONDS
