"""A clock that stands still until it is moved."""

from __future__ import annotations

from dataclasses import dataclass

START_NS = 1_800_000_000_000_000_000


@dataclass
class FakeClock:
    """Starts in January 2027."""

    at_ns: int = START_NS
    elapsed_ns: int = 0

    def now_ns(self) -> int:
        return self.at_ns

    def monotonic_ns(self) -> int:
        return self.elapsed_ns

    def set_back(self, seconds: float) -> None:
        """Move the wall clock back; no time passes."""
        self.at_ns -= int(seconds * 1e9)

    def advance(self, seconds: float) -> None:
        self.at_ns += int(seconds * 1e9)
        self.elapsed_ns += int(seconds * 1e9)
