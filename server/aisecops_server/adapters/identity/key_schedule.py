"""When published keys are fetched again, and until when the ones at hand count. Pure: it is told the time.

Times are those of a clock that never goes back, so that nobody keeps old keys alive by turning the clock back.
"""

from __future__ import annotations

from dataclasses import dataclass

REFRESH_SECONDS = 300.0
_FIRST_RETRY_SECONDS = 1.0
# A key that nobody knows may have been published a moment ago; tokens that name one must not become a flood of fetches.
_LEAST_SECONDS = 30.0


@dataclass(slots=True)
class KeySchedule:
    """The schedule of one place where keys are published. ``max_age_seconds``: how long they count unrefreshed."""

    max_age_seconds: float
    _fetched_at: float | None = None
    _tried_at: float | None = None
    _failures: int = 0
    _wanted: bool = False

    def due_in(self, now: float) -> float:
        """Return in how many seconds to fetch; 0 for now."""
        if self._tried_at is None:
            return 0.0
        wait = REFRESH_SECONDS
        if self._failures:
            wait = min(_FIRST_RETRY_SECONDS * 2 ** (self._failures - 1), REFRESH_SECONDS)
        elif self._wanted:
            wait = _LEAST_SECONDS
        return max(0.0, self._tried_at + wait - now)

    def want(self) -> None:
        """Note that somebody named a key that is not known."""
        self._wanted = True

    def succeeded(self, now: float) -> None:
        """Note that the keys were fetched."""
        self._fetched_at, self._tried_at, self._failures, self._wanted = now, now, 0, False

    def failed(self, now: float) -> None:
        """Note that they could not be; each time the next try waits longer."""
        self._tried_at, self._failures = now, min(self._failures + 1, 16)

    def is_stale(self, now: float) -> bool:
        """Return whether the keys at hand are too old to count."""
        return self._fetched_at is None or now - self._fetched_at >= self.max_age_seconds
