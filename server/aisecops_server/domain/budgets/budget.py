"""Budgets: who may use how much of what, in which time, and how much of it was used.

A budget has no life of its own: it is there as soon as policy names a limit on it. Its periods follow one another by
the UTC calendar, so that everybody can tell when the next one begins. All figures are integers that JSON keeps exactly;
a figure that would grow beyond them stays at the largest one, which no limit lets pass.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from aisecops_server.domain.errors import InvalidRequestError
from aisecops_server.domain.formats.canonical import SAFE_INTEGER, JsonValue

_DAY = 24 * 60 * 60
_DECEMBER = 12


class Subject(StrEnum):
    """Whose use is counted."""

    AGENT = "agent"
    SESSION = "session"
    TEAM = "team"
    TENANT = "tenant"
    TOOL = "tool"


class Metric(StrEnum):
    """What is counted."""

    CALLS = "calls"
    WRITES = "writes"
    TOKENS = "tokens"
    MICRO_USD = "micro_usd"
    WALL_MILLISECONDS = "wall_milliseconds"


class Window(StrEnum):
    """How long one period lasts. Times are UTC; a session's period has no end."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    SESSION = "session"

    def started_at(self, seconds: int) -> int:
        """Return when the period began that holds a moment, in Unix seconds; 0 for a session."""
        if self is Window.SESSION:
            return 0
        if self is Window.MONTH:
            return _month(seconds - seconds % _DAY)[0]
        return seconds - seconds % _SECONDS[self]

    def resets_at(self, started_at: int) -> int:
        """Return when the period that began at ``started_at`` ends, in Unix seconds; 0 for a session: never."""
        if self is Window.SESSION:
            return 0
        if self is Window.MONTH:
            return _month(started_at)[1]
        return started_at + _SECONDS[self]


_SECONDS = {Window.MINUTE: 60, Window.HOUR: 60 * 60, Window.DAY: _DAY}


# Every decision asks for the months of a day or two.
@functools.lru_cache(maxsize=64)
def _month(day: int) -> tuple[int, int]:
    """Return when the month began that holds a day, and when the next one does."""
    moment = datetime.fromtimestamp(day, tz=UTC)
    year, month = (moment.year + 1, 1) if moment.month == _DECEMBER else (moment.year, moment.month + 1)
    return day - (moment.day - 1) * _DAY, int(datetime(year, month, 1, tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True, eq=False)
class Budget:
    """What one limit is about: somebody's use of something within a window.

    ``key`` is its name, such as ``agent:spiffe://corp.example/agent/a/calls/day``; ``owner`` is whose it is, the part
    before the metric. Two budgets of one name are one budget.
    """

    subject: Subject
    id: str
    metric: Metric
    window: Window
    key: str = field(init=False, repr=False)
    owner: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the names, which every look-up needs, once."""
        owner = f"{self.subject.value}:{self.id}"
        object.__setattr__(self, "owner", owner)
        object.__setattr__(self, "key", f"{owner}/{self.metric.value}/{self.window.value}")

    def __eq__(self, other: object) -> bool:
        """Return whether both have one name."""
        return isinstance(other, Budget) and self.key == other.key

    def __hash__(self) -> int:
        """Return the hash of the name."""
        return hash(self.key)

    @classmethod
    def named(cls, key: str) -> Budget:
        """Return the budget of a name.

        Raises:
            InvalidRequestError: it is no such name.
        """
        subject, _, rest = key.partition(":")
        rest, _, window = rest.rpartition("/")
        name, _, metric = rest.rpartition("/")
        try:
            budget = cls(Subject(subject), name, Metric(metric), Window(window))
        except ValueError as error:
            raise _no_name() from error
        if not name:
            raise _no_name()
        return budget


@dataclass(frozen=True, slots=True)
class Counter:
    """One period of one budget.

    ``used`` is all that was used; ``overrun`` is the part of it for which there was no room when it was used.
    ``reserved`` is promised to calls that were allowed and are not settled.
    """

    used: int = 0
    reserved: int = 0
    overrun: int = 0

    @property
    def spent(self) -> int:
        """Return what nobody else can have."""
        return _capped(self.used + self.reserved)

    def takes(self, amount: int, *, limit: int) -> bool:
        """Return whether there is room for ``amount``."""
        return self.spent + amount <= limit

    def reserve(self, amount: int) -> Counter:
        """Promise ``amount``."""
        return Counter(self.used, _capped(self.reserved + amount), self.overrun) if amount else self

    def use(self, amount: int, *, limit: int) -> Counter:
        """Count what was used without asking: how much of it is beyond the limit is overrun."""
        if amount == 0:
            return self
        used = _capped(self.used + amount)
        beyond = min(amount, max(0, used + self.reserved - limit))
        return Counter(used, self.reserved, min(used, self.overrun + beyond))

    def settle(self, reserved: int, actual: int, *, limit: int) -> Counter:
        """Count what a promise came to; ``actual`` may be less, and what is more is overrun.

        Where nothing was promised there was no estimate to be wrong, and only what is beyond the limit is overrun.
        """
        kept = Counter(self.used, max(0, self.reserved - reserved), self.overrun)
        if reserved == 0:
            return kept.use(actual, limit=limit)
        used = _capped(kept.used + actual)
        return Counter(used, kept.reserved, min(used, kept.overrun + max(0, actual - reserved)))

    def late(self, more: int) -> Counter:
        """Count what a call came to beyond what was charged for it when nobody had reported it."""
        used = _capped(self.used + more)
        return Counter(used, self.reserved, min(used, self.overrun + more))

    def adjust(self, by: int) -> Counter:
        """Raise or lower what was used, as a person says. It never falls below nothing."""
        used = _capped(max(0, self.used + by))
        return Counter(used, self.reserved, min(self.overrun, used))


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget as it stands in one period. ``limit`` is the one that policy named last."""

    budget: Budget
    period: int
    counter: Counter
    limit: int
    frozen: bool

    def counted(self, counter: Counter, *, frozen: bool) -> BudgetState:
        """Return it with other figures."""
        return BudgetState(self.budget, self.period, counter, self.limit, frozen)

    @property
    def resets_at(self) -> int:
        """Return when the period ends, 0 for never."""
        return self.budget.window.resets_at(self.period)

    @property
    def remaining(self) -> int:
        """Return how much there is room for now."""
        return 0 if self.frozen else max(0, self.limit - self.counter.spent)

    def exhausted_at(self, now: int) -> int:
        """Return when it will be used up if it goes on as since the period began; 0 when that is not in this period."""
        spent, elapsed = self.counter.spent, now - self.period
        if self.budget.window is Window.SESSION or spent == 0 or elapsed <= 0 or spent >= self.limit:
            return 0
        at = self.period + elapsed * self.limit // spent
        return at if at < self.resets_at else 0

    def fact(self) -> dict[str, JsonValue]:
        """Return what policy is told of it."""
        return {
            "used": self.counter.used,
            "reserved": self.counter.reserved,
            "overrun": self.counter.overrun,
            "frozen": self.frozen,
            "resets_at_seconds": self.resets_at,
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """What the control plane counted of those that a plan concerns.

    ``subjects`` names whom it looked up, by kind; the tools of the plan are always among them. A budget that is not
    in ``states`` was not used.
    """

    subjects: Mapping[str, str] = field(default_factory=dict)
    states: tuple[BudgetState, ...] = ()

    def facts(self) -> dict[str, JsonValue]:
        """Return what policy is told of it."""
        return {
            "subjects": dict(self.subjects),
            "counters": {state.budget.key: state.fact() for state in self.states},
        }


@dataclass(frozen=True, slots=True)
class BudgetFilter:
    """Narrows a list of budgets; what is empty does not narrow. ``only_of`` leaves one agent and its sessions."""

    subject: str = ""
    id: str = ""
    metric: str = ""
    window: str = ""
    frozen: bool = False
    only_of: str = ""

    def includes(self, budget: Budget) -> bool:
        """Return whether a budget may be told to whom the list is for."""
        owners = (f"{Subject.AGENT.value}:{self.only_of}", f"{Subject.SESSION.value}:{session_id(self.only_of, '')}")
        return not self.only_of or budget.owner == owners[0] or budget.owner.startswith(owners[1])


@dataclass(frozen=True, slots=True)
class BudgetPage:
    """A page of budgets by name; ``next_token`` is empty on the last one."""

    states: tuple[BudgetState, ...]
    next_token: str


@dataclass(frozen=True, slots=True)
class PeriodPage:
    """A page of the periods of one budget, newest first; ``next_token`` is empty on the last one."""

    periods: tuple[BudgetState, ...]
    next_token: str


def session_id(agent_id: str, session: str) -> str:
    """Return the name under which an agent's session is counted: no agent can spend what another's session may."""
    return f"{agent_id}#{session}"


def _capped(amount: int) -> int:
    return min(amount, SAFE_INTEGER)


def _no_name() -> InvalidRequestError:
    return InvalidRequestError(
        "name: is not the name of a budget",
        hint="A name is SUBJECT:ID/METRIC/WINDOW, as 'aisecops budget list' shows it",
        field="name",
    )
