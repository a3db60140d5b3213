"""Who may start next when there is more work than room: a bounded queue that is fair among tenants and their agents.

Pure: the time is an argument (seconds of one monotonic clock), nothing waits here. Turns go by what has been used
(start-time fair queuing): first to the tenant that used least, in it to the caller that used least, however much the
others have waiting. When the queue is full, who holds most gives way. What could not end in time is refused at once.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from aisecops_server.domain.errors import OverloadedError

# How much of a new measurement counts: some twenty of them are remembered.
_NEW = 0.1
_RETRY_SECONDS = (0.05, 5.0)
_RETRY_STEP = 50
# How many who hold nothing are remembered, so that nobody gains by going away and coming back.
_REMEMBERED = 256


class Place(Enum):
    """Where a ticket is: it waits, it runs, or it is out."""

    WAITING = "waiting"
    RUNNING = "running"
    OUT = "out"


class Refused(Enum):
    """Why work was turned away: no room, no hope to end in time, made to give way, or it waited in vain."""

    FULL = "full"
    HOPELESS = "hopeless"
    GAVE_WAY = "gave_way"
    WAITED = "waited"


_SAID = {
    Refused.FULL: "too many decisions are in flight",
    Refused.HOPELESS: "the queue is longer than the call can wait",
    Refused.GAVE_WAY: "others with less in flight had to have the place",
    Refused.WAITED: "the queue is longer than the call can wait",
}


@dataclass(eq=False, slots=True)
class Ticket:
    """One piece of work of ``weight``, which waits until ``starts_by`` at most."""

    tenant: str
    caller: str
    weight: int
    starts_by: float
    place: Place = Place.WAITING
    began_at: float = 0.0


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """How full a queue is, by weight, and how many tickets were turned away so far, by why and tenant."""

    running: int
    waiting: int
    refused: Mapping[tuple[str, str], int]


@dataclass(slots=True)
class _Line:
    """What one caller has waiting, in its order, what it holds in all, and what it has used."""

    used: float
    held: int = 0
    waiting: int = 0
    tickets: deque[Ticket] = field(default_factory=deque)


@dataclass(slots=True)
class _Tenant:
    """The callers of one tenant, and what they hold and have used together. ``now`` is how far they have come."""

    used: float
    held: int = 0
    waiting: int = 0
    now: float = 0.0
    lines: dict[str, _Line] = field(default_factory=dict)


@dataclass(slots=True)
class FairQueue:
    """At most about ``slots`` of weight runs at once, and at most ``limit`` runs or waits.

    A ticket of weight one waits ``patience`` seconds at most, a heavier one in proportion, and none longer than its
    own deadline. One ticket weighs at most half of ``limit``. Work starts while less than ``slots`` runs, so one heavy
    ticket is never kept out by light ones; what runs is below ``slots`` plus that ticket.
    """

    slots: int
    limit: int
    patience: float
    running: int = 0
    waiting: int = 0
    # By why and tenant.
    refused: Counter[tuple[Refused, str]] = field(default_factory=Counter)
    _pace: float = 0.0
    _moved_at: float = 0.0
    _now: float = 0.0
    _tenants: dict[str, _Tenant] = field(default_factory=dict)

    def offer(
        self, tenant: str, caller: str, weight: int, *, now: float, ends_at: float
    ) -> tuple[Ticket, tuple[Ticket, ...]]:
        """Return a ticket that runs or waits, and those that had to leave for it.

        Raises:
            OverloadedError: there is no room, or no hope to end in time; it says when to come again.
        """
        weight = max(1, min(weight, self.limit // 2))
        ticket = Ticket(tenant, caller, weight, min(ends_at, now + self.patience * weight))
        if self.running < self.slots and not self.waiting:
            self._line_up(ticket)
            self._enter(ticket, now)
            return ticket, ()
        self._require_hope(ticket, now, ends_at)
        left = self._room_for(ticket, now)
        self._line_up(ticket)
        return ticket, left

    def check(self, tenant: str, caller: str, *, now: float, ends_at: float) -> None:
        """Do nothing where the lightest work would get a place.

        Raises:
            OverloadedError: as ``offer`` would.
        """
        if self.running < self.slots and not self.waiting:
            return
        ticket = Ticket(tenant, caller, 1, min(ends_at, now + self.patience))
        self._require_hope(ticket, now, ends_at)
        if self.running + self.waiting >= self.limit and self._gives_way(ticket) is None:
            raise self.refuse(ticket, Refused.FULL, now)

    def _require_hope(self, ticket: Ticket, now: float, ends_at: float) -> None:
        group, line = self._of(ticket)
        pace = self.pace(now)
        wait = _before_in(group, line, self._tenants.values()) * pace
        # Whoever starts when the slots are full is done when they have been worked off once.
        if now + wait > ticket.starts_by or now + wait + self.slots * pace > ends_at:
            raise self.refuse(ticket, Refused.HOPELESS, now)

    def leave(self, ticket: Ticket, *, now: float) -> None:
        """Take a ticket back: its work ended, or whoever waited gave up. One that is out is not counted twice."""
        if ticket.place is Place.RUNNING:
            self._measure(max(0.0, now - ticket.began_at), ticket.weight)
            self.running -= ticket.weight
            self._moved_at = now
        elif ticket.place is Place.WAITING:
            self._take_out(ticket)
        else:
            return
        ticket.place = Place.OUT
        self._release(ticket)

    def next(self, *, now: float) -> tuple[list[Ticket], list[Ticket]]:
        """Return what starts now, in its order, and what is out because it has waited its time."""
        started: list[Ticket] = []
        late: list[Ticket] = []
        while self.waiting and self.running < self.slots:
            group = min((one for one in self._tenants.values() if one.waiting), key=lambda one: one.used)
            ticket = min((one for one in group.lines.values() if one.waiting), key=lambda one: one.used).tickets[0]
            if ticket.starts_by <= now:
                self.leave(ticket, now=now)
                late.append(ticket)
            else:
                self._enter(ticket, now)
                started.append(ticket)
        return started, late

    def refuse(self, ticket: Ticket, why: Refused, now: float) -> OverloadedError:
        """Count that a ticket is turned away and return what its caller is told."""
        self.refused[why, ticket.tenant] += 1
        least, most = _RETRY_SECONDS
        seconds = min(most, max(least, self.waiting * self.pace(now)))
        # In steps, so that a flood of refusals is of a few kinds.
        milliseconds = _RETRY_STEP * math.ceil(1000 * seconds / _RETRY_STEP)
        return OverloadedError(
            _SAID[why],
            hint=f"Retry after {milliseconds} ms",
            limit=str(self.limit),
            why=why.value,
            retry_milliseconds=str(milliseconds),
        )

    def load(self) -> QueueLoad:
        """Return how full it is now."""
        refused = {(why.value, tenant): count for (why, tenant), count in self.refused.items()}
        return QueueLoad(self.running, self.waiting, refused)

    def pace(self, now: float) -> float:
        """Return the seconds in which one unit of weight is worked off, over everything that runs at once.

        When nothing ends any more, it is at least what it would be if all of it ended now.
        """
        standstill = (now - self._moved_at) / self.running if self.running else 0.0
        return max(self._pace, standstill)

    def _enter(self, ticket: Ticket, now: float) -> None:
        group, line = self._take_out(ticket)
        if not self.running:
            self._moved_at = now
        ticket.place, ticket.began_at = Place.RUNNING, now
        self.running += ticket.weight
        self._now = max(self._now, group.used)
        group.now = max(group.now, line.used)
        group.used += ticket.weight
        line.used += ticket.weight

    def _of(self, ticket: Ticket) -> tuple[_Tenant, _Line]:
        """Return whose turns a ticket goes by. Who has nothing waiting begins where the others are by now."""
        group = self._tenants.get(ticket.tenant)
        if group is None:
            self._forget(self._tenants)
            group = self._tenants[ticket.tenant] = _Tenant(self._now)
        elif not group.waiting:
            group.used = max(group.used, self._now)
        line = group.lines.get(ticket.caller)
        if line is None:
            self._forget(group.lines)
            line = group.lines[ticket.caller] = _Line(group.now)
        elif not line.waiting:
            line.used = max(line.used, group.now)
        return group, line

    def _line_up(self, ticket: Ticket) -> None:
        group, line = self._of(ticket)
        line.tickets.append(ticket)
        for share in (group, line):
            share.held += ticket.weight
            share.waiting += ticket.weight
        self.waiting += ticket.weight

    def _take_out(self, ticket: Ticket) -> tuple[_Tenant, _Line]:
        group, line = self._tenants[ticket.tenant], self._tenants[ticket.tenant].lines[ticket.caller]
        if line.tickets[-1] is ticket:
            line.tickets.pop()
        else:
            line.tickets.remove(ticket)
        group.waiting -= ticket.weight
        line.waiting -= ticket.weight
        self.waiting -= ticket.weight
        return group, line

    def _release(self, ticket: Ticket) -> None:
        group = self._tenants[ticket.tenant]
        line = group.lines[ticket.caller]
        group.held -= ticket.weight
        line.held -= ticket.weight
        if not self.running and not self.waiting:
            self._tenants.clear()

    def _forget(self, shares: dict[str, _Line] | dict[str, _Tenant]) -> None:
        """Make room for one more. At most ``limit`` hold something, so this drops half of them and comes seldom."""
        if len(shares) > 2 * self.limit + _REMEMBERED:
            for name in [name for name, share in shares.items() if not share.held]:
                del shares[name]

    def _room_for(self, ticket: Ticket, now: float) -> tuple[Ticket, ...]:
        """Make those leave, youngest first, who hold more than the caller would; nobody leaves in vain."""
        out: list[Ticket] = []
        while self.running + self.waiting + ticket.weight > self.limit:
            other = self._gives_way(ticket)
            if other is None:
                for one in reversed(out):
                    one.place = Place.WAITING
                    self._line_up(one)
                raise self.refuse(ticket, Refused.FULL, now)
            self.leave(other, now=now)
            out.append(other)
        return tuple(out)

    def _gives_way(self, ticket: Ticket) -> Ticket | None:
        group, line = self._of(ticket)
        heaviest = max((one for one in self._tenants.values() if one.waiting), key=lambda one: one.held, default=group)
        if heaviest is not group and heaviest.held > group.held + ticket.weight:
            return _heaviest_line(heaviest).tickets[-1]
        if not group.waiting:
            return None
        beside = _heaviest_line(group)
        return beside.tickets[-1] if beside.held > line.held + ticket.weight else None

    def _measure(self, seconds: float, weight: int) -> None:
        latest = seconds / max(weight, self.running)
        self._pace = latest if not self._pace else (1 - _NEW) * self._pace + _NEW * latest


def _before_in(group: _Tenant, line: _Line, groups: Iterable[_Tenant]) -> float:
    """Return how much weight starts before what the line takes in next."""
    within = line.waiting + _before(line.used + line.waiting, group.lines.values(), line)
    return within + _before(group.used + within, groups, group)


def _before(tag: float, shares: Iterable[_Line] | Iterable[_Tenant], own: _Line | _Tenant) -> float:
    return sum(min(one.waiting, tag - one.used) for one in shares if one is not own and one.waiting and one.used < tag)


def _heaviest_line(group: _Tenant) -> _Line:
    return max((one for one in group.lines.values() if one.waiting), key=lambda one: one.held)
