"""How old a confirmed policy is, counted so that no clock that goes back makes it younger.

Pure. Two clocks are read: the machine's, which people and attackers set, and one that only goes forward while the
process runs. Of both the one counts that moved further. What was counted is carried over a restart; what went by while
nothing ran is what the machine's clock says, and a machine's clock that went back says nothing, for good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

# Clocks are corrected by less than this all the time.
STEP_NS = 5_000_000_000


@dataclass(frozen=True, slots=True)
class Instant:
    """Both clocks at one moment. ``monotonic_ns`` is ``None`` for a moment of an earlier process."""

    wall_ns: int
    monotonic_ns: int | None


@dataclass(frozen=True, slots=True)
class Reckoning:
    """How much time was counted until ``at``, and whether the machine's clock can be believed since."""

    at: Instant
    counted_ns: int = 0
    sound: bool = True

    def until(self, now: Instant) -> Reckoning:
        """Return the reckoning continued to ``now``."""
        wall = now.wall_ns - self.at.wall_ns
        ran = 0
        if now.monotonic_ns is not None and self.at.monotonic_ns is not None:
            ran = max(0, now.monotonic_ns - self.at.monotonic_ns)
        went_back = ran - wall > STEP_NS
        return replace(self, at=now, counted_ns=self.counted_ns + max(wall, ran, 0), sound=self.sound and not went_back)

    def after_restart(self, *, latest_wall_ns: int) -> Reckoning:
        """Return it as a new process finds it; ``latest_wall_ns`` is the newest time that anything durable tells of."""
        known = max(self.at.wall_ns, latest_wall_ns)
        return replace(self, at=Instant(known, None), counted_ns=self.counted_ns + known - self.at.wall_ns)
