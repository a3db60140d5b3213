"""The real clock and the real source of identifiers; the only modules that may read either."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

from aisecops_server.domain.approvals.approval import ApprovalId
from aisecops_server.domain.decisions.decision import DecisionId
from aisecops_server.domain.events.event import EventId
from aisecops_server.domain.plans.plan import PlanId, TraceId

_RANDOM_BYTES = 10
_DRAWN_AT_ONCE = 256
_NONCE_BYTES = 16
_KEY_BYTES = 32


class SystemClock:
    """The operating system's clocks."""

    def now_ns(self) -> int:
        """Return Unix time in nanoseconds."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return a time that never goes back."""
        return time.monotonic_ns()


class RandomIds:
    """Identifiers of 48 bits of milliseconds and 80 bits of randomness, like UUID version 7 without its dashes.

    Randomness is drawn for many identifiers at once, because every decision needs eight.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawn: Iterator[str] = iter(())

    def trace_id(self) -> TraceId:
        """Return 32 hexadecimal digits."""
        return TraceId(self._fresh())

    def plan_id(self) -> PlanId:
        """Return a fresh plan id."""
        return PlanId(f"plan-{self._fresh()}")

    def decision_id(self) -> DecisionId:
        """Return a fresh decision id."""
        return DecisionId(f"dec-{self._fresh()}")

    def event_id(self) -> EventId:
        """Return a fresh event id."""
        return EventId(f"evt-{self._fresh()}")

    def approval_id(self) -> ApprovalId:
        """Return a fresh approval id."""
        return ApprovalId(f"apr-{self._fresh()}")

    def notice_id(self) -> str:
        """Return a fresh id of a message."""
        return f"msg-{self._fresh()}"

    def nonce(self) -> str:
        """Return 128 bits of randomness."""
        return os.urandom(_NONCE_BYTES).hex()

    def _fresh(self) -> str:
        with self._lock:
            drawn = next(self._drawn, None)
            if drawn is None:
                pool = os.urandom(_RANDOM_BYTES * _DRAWN_AT_ONCE).hex()
                width = 2 * _RANDOM_BYTES
                self._drawn = iter([pool[at : at + width] for at in range(0, len(pool), width)])
                drawn = next(self._drawn)
        return f"{time.time_ns() // 1_000_000:012x}{drawn}"


class RandomChance:
    """Chance that nobody can predict."""

    def fraction(self) -> float:
        """Return a number from 0 up to, and not including, 1."""
        return int.from_bytes(os.urandom(6)) / (1 << 48)

    def key(self) -> bytes:
        """Return 256 bits that are kept nowhere."""
        return os.urandom(_KEY_BYTES)
