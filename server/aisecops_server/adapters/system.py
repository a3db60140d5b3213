"""The real clock and the real source of identifiers; the only modules that may read either."""

from __future__ import annotations

import os
import time

from aisecops_server.domain.decision import DecisionId
from aisecops_server.domain.event import EventId
from aisecops_server.domain.plan import PlanId, TraceId


class SystemClock:
    """The operating system's clocks."""

    def now_ns(self) -> int:
        """Return Unix time in nanoseconds."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return a time that never goes back."""
        return time.monotonic_ns()


class RandomIds:
    """Identifiers of 48 bits of milliseconds and 80 bits of randomness, like UUID version 7 without its dashes."""

    def trace_id(self) -> TraceId:
        """Return 32 hexadecimal digits."""
        return TraceId(_ordered_hex())

    def plan_id(self) -> PlanId:
        """Return a fresh plan id."""
        return PlanId(f"plan-{_ordered_hex()}")

    def decision_id(self) -> DecisionId:
        """Return a fresh decision id."""
        return DecisionId(f"dec-{_ordered_hex()}")

    def event_id(self) -> EventId:
        """Return a fresh event id."""
        return EventId(f"evt-{_ordered_hex()}")


def _ordered_hex() -> str:
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
