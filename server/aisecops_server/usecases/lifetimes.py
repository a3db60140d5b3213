"""How long ago something was given, when the wall clock may go back.

Grants and approvals end at a time of the wall clock. Whoever sets that back would make them last longer, so what this
process gave is judged by the time that has really passed as well, and what it did not give (an earlier process did,
or there were too many since) by the latest time that it ever saw.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from aisecops_server.ports import Clock

_MOST = 100_000


@dataclass(slots=True)
class Lifetimes:
    """Remembers when things were given, the newest ``most`` of them; about 200 bytes each."""

    clock: Clock
    most: int = _MOST
    _given: OrderedDict[str, int] = field(default_factory=OrderedDict)
    _latest_ns: int = 0

    def begin(self, thing: str) -> None:
        """Start the life of what is called ``thing``, unless it has begun."""
        self._given.setdefault(thing, self.clock.monotonic_ns())
        if len(self._given) > self.most:
            self._given.popitem(last=False)

    def now_ns(self, thing: str, *, given_at_ns: int) -> int:
        """Return the Unix time in nanoseconds by which ``thing`` is judged; never earlier than the wall clock's."""
        wall = self.clock.now_ns()
        self._latest_ns = max(self._latest_ns, wall)
        begun = self._given.get(thing)
        if begun is None:
            return self._latest_ns
        return max(wall, given_at_ns + self.clock.monotonic_ns() - begun)
