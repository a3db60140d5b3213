"""Who may start next when there is more work than room: a bounded queue that is fair among callers.

Pure: the time is an argument (seconds of one monotonic clock), nothing waits here. Callers take turns by what they have
used (start-time fair queuing): whoever has little under way or waiting starts before somebody with much, however much
that is. When the queue is full, the caller with the most in it gives way. What could not begin in time is refused.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from aisecops_server.domain.errors import OverloadedError

# How much of a new measurement counts: some twenty of them are remembered.
_NEW = 0.1
_RETRY_SECONDS = (0.05, 5.0)
_REMEMBERED = 64


class Place(Enum):
    """Where a ticket is: it waits, it runs, or it was made to leave while it waited."""

    WAITING = "waiting"
    RUNNING = "running"
    LEFT = "left"


@dataclass(eq=False, slots=True)
class Ticket:
    """One piece of work of ``weight``, of use until ``ends_at``. ``tag`` orders what waits."""

    caller: str
    weight: int
    ends_at: float
    tag: float
    place: Place = Place.WAITING
    began_at: float = 0.0
    retry_seconds: float = _RETRY_SECONDS[0]


@dataclass(slots=True)
class FairQueue:
    """At most about ``slots`` of weight runs at once, at most ``limit`` runs or waits, nothing waits ``patience``.

    One ticket weighs at most half of ``limit``. Work starts while less than ``slots`` runs, so one heavy ticket is
    never kept out by light ones; what runs is below ``slots`` plus that ticket.
    """

    slots: int
    limit: int
    patience: float
    running: int = 0
    waiting: int = 0
    # Seconds in which one unit of weight has been worked off lately, over everything that ran beside it.
    pace: float = 0.0
    _now: float = 0.0
    _last_tag: dict[str, float] = field(default_factory=dict)
    _lines: dict[str, deque[Ticket]] = field(default_factory=dict)
    _held: dict[str, int] = field(default_factory=dict)

    def offer(self, caller: str, weight: int, *, now: float, ends_at: float) -> tuple[Ticket, tuple[Ticket, ...]]:
        """Return a ticket that runs or waits, and those that had to leave for it.

        Raises:
            OverloadedError: there is no room, or no hope to begin in time; it says when to come again.
        """
        weight = max(1, min(weight, self.limit // 2))
        tag = max(self._now, self._last_tag.get(caller, 0.0))
        ticket = Ticket(caller, weight, ends_at, tag)
        if self.running < self.slots and not self.waiting:
            self._enter(ticket, now)
            return ticket, ()
        wait = self._ahead(ticket) * self.pace
        if wait > min(self.patience, max(0.0, ends_at - now)):
            raise self._refusal("the queue is longer than the call can wait", wait)
        left = self._room_for(ticket, wait)
        self._lines.setdefault(caller, deque()).append(ticket)
        self.waiting += weight
        self._count(ticket)
        return ticket, left

    def leave(self, ticket: Ticket, *, now: float) -> None:
        """Take a ticket back: its work ended, or whoever waited gave up. One that left already is not counted twice."""
        if ticket.place is Place.RUNNING:
            self.running -= ticket.weight
            self._measure(max(0.0, now - ticket.began_at), ticket.weight)
        elif ticket.place is Place.WAITING:
            self._unqueue(ticket)
        else:
            return
        ticket.place = Place.LEFT
        self._uncount(ticket)

    def next(self, *, now: float) -> tuple[list[Ticket], list[Ticket]]:
        """Return what starts now, in its order, and what leaves because its time is over."""
        started: list[Ticket] = []
        late: list[Ticket] = []
        while self.waiting and self.running < self.slots:
            ticket = min((line[0] for line in self._lines.values()), key=lambda first: first.tag)
            self._unqueue(ticket)
            if ticket.ends_at <= now:
                self._dismiss(ticket)
                late.append(ticket)
            else:
                self._uncount(ticket)
                self._enter(ticket, now)
                started.append(ticket)
        return started, late

    def _enter(self, ticket: Ticket, now: float) -> None:
        ticket.place, ticket.began_at = Place.RUNNING, now
        self._now = max(self._now, ticket.tag)
        self.running += ticket.weight
        self._count(ticket)

    def _ahead(self, ticket: Ticket) -> int:
        """Return how much weight starts before ``ticket`` would."""
        return sum(other.weight for line in self._lines.values() for other in line if other.tag <= ticket.tag)

    def _room_for(self, ticket: Ticket, wait: float) -> tuple[Ticket, ...]:
        """Make those leave, youngest first, who hold more than the caller would; nobody leaves in vain."""
        own = self._held.get(ticket.caller, 0) + ticket.weight
        missing = self.running + self.waiting + ticket.weight - self.limit
        held, lines = dict(self._held), {name: list(line) for name, line in self._lines.items()} if missing > 0 else {}
        out: list[Ticket] = []
        while missing > 0:
            heaviest = max((name for name in lines if lines[name]), key=lambda name: held[name], default="")
            if not heaviest or held[heaviest] <= own:
                raise self._refusal("too many decisions are in flight", wait)
            out.append(lines[heaviest].pop())
            held[heaviest] -= out[-1].weight
            missing -= out[-1].weight
        for other in out:
            self._unqueue(other)
            self._dismiss(other)
            # It is the last of its caller's line: what it would have used is owed to nobody.
            self._last_tag[other.caller] = min(other.tag, self._last_tag.get(other.caller, other.tag))
        return tuple(out)

    def _dismiss(self, ticket: Ticket) -> None:
        ticket.place = Place.LEFT
        ticket.retry_seconds = self._retry(self.waiting * self.pace)
        self._uncount(ticket)

    def _unqueue(self, ticket: Ticket) -> None:
        line = self._lines[ticket.caller]
        line.remove(ticket)
        if not line:
            del self._lines[ticket.caller]
        self.waiting -= ticket.weight

    def _count(self, ticket: Ticket) -> None:
        self._held[ticket.caller] = self._held.get(ticket.caller, 0) + ticket.weight
        self._last_tag[ticket.caller] = max(self._last_tag.get(ticket.caller, 0.0), ticket.tag + ticket.weight)

    def _uncount(self, ticket: Ticket) -> None:
        held = self._held[ticket.caller] - ticket.weight
        if held:
            self._held[ticket.caller] = held
        else:
            del self._held[ticket.caller]
            self._forget()

    def _forget(self) -> None:
        """Remember nobody who holds nothing and is not ahead of the others: that would be owed for being away."""
        if not self._held:
            self._last_tag.clear()
        elif len(self._last_tag) > 2 * len(self._held) + _REMEMBERED:
            self._last_tag = {
                name: tag for name, tag in self._last_tag.items() if name in self._held or tag > self._now
            }

    def _measure(self, seconds: float, weight: int) -> None:
        beside = max(weight, min(self.slots, self.running + weight))
        latest = seconds / beside
        self.pace = latest if not self.pace else (1 - _NEW) * self.pace + _NEW * latest

    def _retry(self, wait: float) -> float:
        least, most = _RETRY_SECONDS
        return min(most, max(least, wait))

    def _refusal(self, why: str, wait: float) -> OverloadedError:
        return overloaded(why, self._retry(wait))


def overloaded(why: str, retry_seconds: float) -> OverloadedError:
    """Return the refusal of a call for which there is no room, with when to come again."""
    milliseconds = round(retry_seconds * 1000)
    return OverloadedError(why, hint=f"Retry after {milliseconds} ms", retry_milliseconds=str(milliseconds))
