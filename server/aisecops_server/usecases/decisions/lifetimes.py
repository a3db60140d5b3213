"""How long ago something was given, when the wall clock may go back.

Grants and approvals end at a time of the wall clock. Whoever sets that back would make them last longer, so what this
process gave is judged by the time that has really passed as well, and what it did not give (an earlier process did,
or there were too many since) by the latest time that it ever saw. What has ended is forgotten, and the time of its end
is then one that was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush

from aisecops_server.ports import Clock

_MOST = 100_000


@dataclass(slots=True)
class Lifetimes:
    """Remembers when things were given until they end, at most ``most`` of them; some 300 bytes each."""

    clock: Clock
    most: int = _MOST
    _given: dict[str, int] = field(default_factory=dict)
    # The same things, that which ends first before the others: by the time that passes, and the end in Unix time.
    _ends: list[tuple[int, int, str]] = field(default_factory=list)
    _latest_ns: int = 0

    def begin(self, thing: str, *, given_at_ns: int, ends_at_ns: int) -> None:
        """Start the life of what is called ``thing``, unless it has begun; both times are Unix nanoseconds."""
        now = self.clock.monotonic_ns()
        self._forget(now)
        if thing in self._given:
            return
        self._given[thing] = now
        heappush(self._ends, (now + ends_at_ns - given_at_ns, ends_at_ns, thing))
        if len(self._given) > self.most:
            del self._given[heappop(self._ends)[2]]

    def now_ns(self, thing: str, *, given_at_ns: int) -> int:
        """Return the Unix time in nanoseconds by which ``thing`` is judged; never earlier than the wall clock's."""
        wall = self.clock.now_ns()
        self._latest_ns = max(self._latest_ns, wall)
        begun = self._given.get(thing)
        if begun is None:
            return self._latest_ns
        return max(wall, given_at_ns + self.clock.monotonic_ns() - begun)

    def _forget(self, now: int) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, ended_at_ns, thing = heappop(self._ends)
            del self._given[thing]
            self._latest_ns = max(self._latest_ns, ended_at_ns)
